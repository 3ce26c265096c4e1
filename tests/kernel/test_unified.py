# SPDX-License-Identifier: MIT
"""The life of a group in the v2 hierarchy, be it all that there is or the one beside v1 on a hybrid host."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidNameError,
    InvalidValueError,
    UnavailableError,
    UnsupportedSettingError,
    _tasks,
)
from pycgroup.controllers import CPUACCT
from pycgroup.hierarchy import V2
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


@needs("pids", version=2)
@needs("memory", version=2)
def test_an_inner_block_of_another_controller_leaves_the_group_to_the_outer(name: str) -> None:
    """The kernel has no memory files there before the inner entry enables the controller; but there is the group."""
    UNIFIED(name).create()
    with Cgroup.PIDS(f"{name}/below") as outer, processes.idle(outer.path) as child:
        with Cgroup.MEMORY(f"{name}/below", limit_in_bytes="64M") as inner:
            assert machine.read(f"{inner.path}/memory.max") == f"{64 << 20}\n"
        assert pids(UNIFIED(f"{name}/below")) == {child.pid}
        child.kill()
        child.wait(60)
    assert not os.path.exists(outer.path)


@needs("pids", version=2)
def test_a_process_does_not_make_a_group_threaded(name: str) -> None:
    """The kernel would take it as long as the child with the controller is empty, which then would be invalid."""
    above, below = Cgroup.PIDS(name).create(), Cgroup.PIDS(f"{name}/below").create()
    with processes.idle() as other:
        for refused in (
            lambda: above.attach(other.pid),
            lambda: Cgroup(name).popen(["true"]),
            lambda: Cgroup(name).wrap(["true"]),
        ):
            with pytest.raises(GroupBusyError, match="attach to one of its children"):
                refused()
        assert machine.read(f"{above.path}/cgroup.type") == "domain\n"
        third = Cgroup.PIDS(f"{name}/third").create()
        third.attach(other.pid)
        third.delete()  # moves it, but not up
        assert pids(UNIFIED(name)) == set()
        below.attach(other.pid)
        assert pids(UNIFIED(f"{name}/below")) == {other.pid}
        below.detach(other.pid)


THREADS = "import os, threading; threading.Thread(target=input).start(); print(os.getpid(), flush=True)"


def threaded_below(name: str) -> UNIFIED:
    group = UNIFIED(f"{name}/threads").create()
    group.cgroup_type = "threaded"
    return group


def test_threaded_groups_below_do_not_keep_a_group_from_being_deleted(name: str) -> None:
    for end in ("refuse", "move", "kill"):
        above = UNIFIED(name).create()
        assert threaded_below(name).pids() == []
        above.delete(end, recursive=True)
        assert not os.path.exists(above.path)


def test_processes_with_threads_below_are_refused_moved_or_killed(name: str) -> None:
    above = UNIFIED(name).create()
    group = threaded_below(name)
    with processes.python(THREADS, above.path) as child:
        tid = max(int(thread) for thread in os.listdir(f"/proc/{child.pid}/task"))
        group.attach_thread(tid)
        assert group.threads() == [tid]
        assert group.pids() == above.pids() == [child.pid]
        with pytest.raises(GroupBusyError, match=str(child.pid)):
            above.delete("refuse", recursive=True)
        above.delete("move", recursive=True)
        assert child.poll() is None
    assert not os.path.exists(above.path)


def test_threads_in_other_groups_stay_where_they_are(name: str) -> None:
    above = UNIFIED(name).create()
    one, other = (UNIFIED(f"{name}/{below}").create() for below in ("one", "other"))
    one.cgroup_type = other.cgroup_type = "threaded"
    with processes.python(THREADS, above.path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{child.pid}\n"
        first, second = sorted(map(int, os.listdir(f"/proc/{child.pid}/task")))
        one.attach_thread(first)
        other.attach_thread(second)
        with pytest.raises(GroupBusyError, match="tasks='move' deletes it"):
            one.delete("refuse")
        one.delete()
        assert machine.read(f"{above.path}/cgroup.threads").split() == [str(first)]
        assert machine.read(f"{other.path}/cgroup.threads").split() == [str(second)]
        other.delete()


def test_what_the_kernel_says_of_other_things_than_the_file(name: str) -> None:
    below = UNIFIED(f"{name}/below").create()
    with pytest.raises(InvalidValueError, match="a controller that the group above lacks"):
        below.cgroup_subtree_control = "+memory"
    with processes.idle(below.path), pytest.raises(InvalidValueError, match="it has processes"):
        below.cgroup_type = "threaded"
    below.delete("kill")
    threads = threaded_below(name)
    with pytest.raises(UnsupportedSettingError, match="Operation not supported"):
        threads["cgroup.procs"]


@needs("pids", version=2)
@needs("memory", version=2)
def test_a_directory_that_somebody_else_has_made(name: str) -> None:
    """On v2 it may be there without the controller, as if no group were there."""
    directory = UNIFIED(f"{name}/below").path
    os.makedirs(directory)
    pids = Cgroup.PIDS(f"{name}/below")
    assert not pids.exists()
    pids.max = 7
    pids.create()
    assert machine.read(f"{directory}/pids.max") == "7\n"
    with pytest.raises(GroupExistsError):
        Cgroup.PIDS(f"{name}/below").create()
    with Cgroup.MEMORY(f"{name}/below", limit_in_bytes="8M"):
        assert machine.read(f"{directory}/memory.max") == "8388608\n"
    assert os.path.isdir(directory)


def test_a_group_that_another_thread_is_making_exists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between mkdir and the enabling of the controller the directory is there, and its files are not."""
    asked, granted = threading.Event(), threading.Event()

    def enable(*_: object) -> None:
        asked.set()
        assert granted.wait(60)

    monkeypatch.setattr(V2, "enable", enable)
    monkeypatch.setattr(V2, "offers", lambda *_: granted.is_set())
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(UNIFIED(name).create)
        assert asked.wait(60)
        try:
            with pytest.raises(GroupExistsError):
                UNIFIED(name).create()
        finally:
            granted.set()
        first.result(60)
    monkeypatch.undo()
    UNIFIED(name).delete()


class CpuTime(CPUACCT, v2="cgroup"):
    """The class as it is where no cpuacct is on v1."""

    __slots__ = ()


def test_cpu_time_is_counted_without_a_controller(name: str) -> None:
    with CpuTime(f"{name}/below") as group:
        assert "cpu" not in machine.read(f"{group.path}/cgroup.controllers").split()
        assert group.usage == 0
        with processes.python("print(sum(range(1_000_000)))", group.path) as child:
            assert child.wait(60) == 0
        assert group.usage > 1_000_000


@needs("memory", version=2)
def test_the_killer_is_on_for_who_may_not_write_events_too(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory"), oom_control=False) as memory:
        memory.oom_control = False
        assert not memory.oom_control.oom_kill_disable


@needs("memory.swap.max", version=2)
@pytest.mark.parametrize("names", ["memsw_limit_in_bytes limit_in_bytes", "limit_in_bytes memsw_limit_in_bytes"])
def test_memory_and_swap_are_set_together_in_any_order(unique: Unique, names: str) -> None:
    values = {"memsw_limit_in_bytes": "20M", "limit_in_bytes": "10M"}
    with Cgroup.MEMORY(unique("memory"), limit_in_bytes="5M") as memory:
        memory.modify(**{name: values[name] for name in names.split()})
        assert machine.read(f"{memory.path}/memory.max") == "10485760\n"
        assert machine.read(f"{memory.path}/memory.swap.max") == "10485760\n"


@needs("pids", version=2)
def test_what_was_started_is_killed_though_it_has_made_threaded_groups(name: str) -> None:
    with Cgroup(name, pids=50) as group:
        child = group.popen(["sleep", "1000"])
        threaded_below(name)
    assert child.wait(60) == -signal.SIGKILL
    assert not os.path.exists(UNIFIED(name).path)


@needs("memory", version=2)
def test_a_controller_that_a_threaded_group_cannot_have(name: str) -> None:
    above = Cgroup.MEMORY(name).create()
    threaded_below(name)
    with pytest.raises(UnavailableError, match="a threaded group offers no other controllers"):
        Cgroup.MEMORY(f"{name}/other").create()
    assert not os.path.exists(f"{above.path}/other")


@pytest.mark.parametrize("file", ["cgroup.max.depth", "cgroup.max.descendants"])
def test_limits_of_the_tree_are_named(name: str, file: str) -> None:
    above = UNIFIED(name).create()
    machine.write(f"{above.path}/{file}", "0")
    with pytest.raises(CgroupError, match=r"cgroup\.max\.depth of a group above"):
        UNIFIED(f"{name}/below").create()


def test_a_group_below_that_goes_meanwhile_does_not_end_a_delete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    above, below = UNIFIED(name).create(), UNIFIED(f"{name}/below").create()
    read = _tasks.pids

    def removed_before(groups: list[str]) -> list[int]:
        if os.path.isdir(below.path):
            os.rmdir(below.path)
        return read(groups)

    monkeypatch.setattr(_tasks, "pids", removed_before)
    with processes.idle(above.path) as child:
        with pytest.raises(GroupBusyError, match=str(child.pid)):
            above.delete("refuse", recursive=True)
        assert pids(above) == {child.pid}


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
