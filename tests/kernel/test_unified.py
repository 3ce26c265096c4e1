# SPDX-License-Identifier: MIT
"""The life of a group in the v2 hierarchy, be it all that there is or the one beside v1 on a hybrid host."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from pycgroup import Cgroup, CgroupError, GroupBusyError, GroupExistsError, GroupNotFoundError, InvalidNameError
from tests.support import machine, processes
from tests.support.capabilities import needs
from tests.support.unified import UNIFIED

pytestmark = needs("cgroup-v2")
Unique = Callable[..., str]


@pytest.fixture
def name(unique: Unique) -> Iterator[str]:
    """Return the name of a group that does not exist, below a place where groups may be made."""
    name = unique("freezer").rpartition("/")[2]
    yield name
    group = UNIFIED(name)
    if os.path.isdir(group.path):
        group.delete("kill", recursive=True)


def pids(group: UNIFIED) -> set[int]:
    return {int(line) for line in machine.read(f"{group.path}/cgroup.procs").split()}


def test_it_is_made_with_what_is_missing_above_and_removed(name: str) -> None:
    with UNIFIED(f"{name}/a/b") as group:
        assert group.version == 2
        assert os.path.isdir(group.path)
        with pytest.raises(GroupExistsError):
            UNIFIED(f"{name}/a/b").create()
    assert not os.path.exists(UNIFIED(name).path)


def test_what_is_above_stays_where_another_uses_it(name: str) -> None:
    with UNIFIED(f"{name}/a/b"):
        os.mkdir(UNIFIED(f"{name}/other").path)
    assert not os.path.exists(UNIFIED(f"{name}/a").path)
    os.rmdir(UNIFIED(f"{name}/other").path)


def test_a_name_that_is_taken_by_a_file_leaves_nothing_above(name: str) -> None:
    with pytest.raises(InvalidNameError, match="control file"):
        UNIFIED(f"{name}/cgroup.procs").create()
    assert not os.path.exists(UNIFIED(name).path)


def test_delete_moves_kills_or_refuses(name: str) -> None:
    above, group = UNIFIED(name).create(), UNIFIED(f"{name}/below").create()
    with processes.idle(group.path) as child:
        with pytest.raises(GroupBusyError, match=str(child.pid)):
            group.delete("refuse")
        assert pids(group) == {child.pid}
        group.delete()
        assert pids(above) == {child.pid}
        assert not os.path.exists(group.path)
        above.delete("kill")
        assert child.wait(60) == -signal.SIGKILL
    assert not os.path.exists(above.path)


@needs("pids", version=2)
def test_processes_go_to_the_callers_group_where_none_may_be_above(name: str) -> None:
    """Where the children of the group above have controllers it takes no process."""
    above = Cgroup.PIDS(name).create()
    machine.write(f"{above.path}/cgroup.subtree_control", "+pids")
    group = UNIFIED(f"{name}/below").create()
    with processes.idle(group.path) as child:
        group.delete()
        mine, its = (machine.read(f"/proc/{pid}/cgroup").rpartition("0::")[2] for pid in ("self", child.pid))
        assert its == mine


@needs("pids", version=2)
def test_a_group_with_processes_is_not_made_threaded(name: str) -> None:
    """The kernel would take this controller; but the group's new children would be invalid."""
    above, below = Cgroup.PIDS(name).create(), Cgroup.PIDS(f"{name}/below")
    with processes.idle(above.path) as child:
        with pytest.raises(GroupBusyError, match=rf"it holds the processes {child.pid}\b.*a child group"):
            below.create()
        assert not os.path.exists(below.path)
        assert machine.read(f"{above.path}/cgroup.type") == "domain\n"
        assert machine.read(f"{above.path}/cgroup.subtree_control").split() == []
        with UNIFIED(f"{name}/leaf") as leaf:
            leaf.attach(child.pid)
            with below:
                below.attach(child.pid)
                assert machine.read(f"/proc/{child.pid}/cgroup").rstrip().endswith(f"{name}/below")
                leaf.attach(child.pid)


@needs("pids", version=2)
def test_who_made_a_group_threaded_is_left_to_it(name: str) -> None:
    above, below = Cgroup.PIDS(name).create(), Cgroup.PIDS(f"{name}/below")
    with processes.idle(above.path) as child:
        machine.write(f"{above.path}/cgroup.subtree_control", "+pids")
        assert machine.read(f"{above.path}/cgroup.type") == "domain threaded\n"
        below.create()
        with pytest.raises(CgroupError, match="'domain invalid'"):
            below.attach(child.pid)
        below.cgroup_type = "threaded"
        below.max = 5
        below.attach_thread(child.pid)
        assert machine.read(f"{below.path}/cgroup.threads").split() == [str(child.pid)]
        machine.write(f"{above.path}/cgroup.threads", str(child.pid))
        below.delete()


def test_recursive_delete(name: str) -> None:
    UNIFIED(f"{name}/a/b").create()
    with processes.idle(UNIFIED(f"{name}/a/b").path) as child:
        with pytest.raises(GroupBusyError):
            UNIFIED(name).delete()
        UNIFIED(name).delete("kill", recursive=True)
        assert child.wait(60) == -signal.SIGKILL
    assert not os.path.exists(UNIFIED(name).path)


def test_kill(name: str) -> None:
    group = UNIFIED(name).create()
    UNIFIED(f"{name}/below").create()
    with processes.idle(group.path) as one, processes.idle(f"{group.path}/below") as two:
        group.kill()
        assert one.wait(60) == two.wait(60) == -signal.SIGKILL
    assert os.path.isdir(group.path)


def test_attach_and_detach(name: str) -> None:
    group = UNIFIED(name).create()
    with processes.idle() as child:
        before = machine.read(f"/proc/{child.pid}/cgroup")
        group.attach(child.pid)
        assert pids(group) == {child.pid}
        group.detach(child.pid)
        assert machine.read(f"/proc/{child.pid}/cgroup") == before


def test_what_does_not_exist_says_so(name: str) -> None:
    for use in (UNIFIED(name).delete, UNIFIED(name).kill, UNIFIED(name).attach, UNIFIED(name).pids):
        with pytest.raises(GroupNotFoundError, match=name):
            use()


def test_a_directory_is_no_name(name: str) -> None:
    path = UNIFIED(name).path
    with pytest.raises(InvalidNameError, match="is a directory"):
        UNIFIED(path).create()
    with pytest.raises(CgroupError):
        UNIFIED(f"{path}/below").create()
    assert not os.path.exists(path + path)
