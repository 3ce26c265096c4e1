# SPDX-License-Identifier: MIT
"""delete: what becomes of the processes and the groups below, also of those that are hard to be rid of."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

import pytest

from pycgroup import (
    Cgroup,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidNameError,
    PermissionDeniedError,
)
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("memory")

Unique = Callable[..., str]
MIB = 1 << 20


def test_delete_of_an_empty_group(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.delete()
    assert not oracle.exists("memory", made)
    assert not memory.exists()


def test_delete_moves_processes_to_the_parent(made: str) -> None:
    inner = oracle.make("memory", f"{made}/inner")
    with processes.idle(inner) as one, processes.threaded(inner) as four:
        Cgroup.MEMORY(f"{made}/inner").delete()
        assert oracle.pids("memory", made) == {one.pid, four.pid}
        assert one.poll() is None
        for thread in os.listdir(f"/proc/{four.pid}/task"):
            assert oracle.group_of("memory", f"{four.pid}/task/{thread}") == made
    assert not oracle.exists("memory", f"{made}/inner")


def test_delete_kills_when_asked(made: str) -> None:
    directory = oracle.directory("memory", made)
    with processes.idle(directory) as one, processes.threaded(directory) as four:
        Cgroup.MEMORY(made).delete(tasks="kill")
        assert not oracle.exists("memory", made)
        assert (one.wait(60), four.wait(60)) == (-9, -9)


def test_delete_refuses_when_asked(made: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises(GroupBusyError, match=str(child.pid)) as caught:
            Cgroup.MEMORY(made).delete(tasks="refuse")
        assert caught.value.errno == errno.EBUSY
        assert oracle.pids("memory", made) == {child.pid}
        assert child.poll() is None


def test_delete_refuses_nothing_when_there_are_no_processes(made: str) -> None:
    Cgroup.MEMORY(made).delete(tasks="refuse")
    assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_delete_leaves_a_group_with_children_as_it_was(made: str, tasks: str) -> None:
    # libcgroup moves the tasks away first and fails then.
    oracle.make("memory", f"{made}/a")
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises(GroupBusyError, match="recursive"):
            Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
        assert child.poll() is None
        assert oracle.pids("memory", made) == {child.pid}
    assert oracle.exists("memory", f"{made}/a")


def test_recursive_delete_moves_all_processes_to_the_parent(made: str) -> None:
    deep = oracle.make("memory", f"{made}/top/a/b")
    with processes.idle(deep) as below, processes.idle(oracle.directory("memory", f"{made}/top")) as above:
        Cgroup.MEMORY(f"{made}/top").delete(recursive=True)
        assert oracle.pids("memory", made) == {below.pid, above.pid}
    assert not oracle.exists("memory", f"{made}/top")


def test_recursive_delete_kills_below_too(made: str) -> None:
    with processes.idle(oracle.make("memory", f"{made}/a/b")) as child:
        Cgroup.MEMORY(made).delete(tasks="kill", recursive=True)
        assert child.wait(60) == -9
    assert not oracle.exists("memory", made)


def test_recursive_delete_refuses_for_processes_below(made: str) -> None:
    with processes.idle(oracle.make("memory", f"{made}/a/b")) as child:
        with pytest.raises(GroupBusyError):
            Cgroup.MEMORY(made).delete(tasks="refuse", recursive=True)
        assert oracle.pids("memory", f"{made}/a/b") == {child.pid}


def test_delete_of_a_missing_group(name: str) -> None:
    with pytest.raises(GroupNotFoundError, match=name) as caught:
        Cgroup.MEMORY(name).delete()
    assert isinstance(caught.value, FileNotFoundError)


def test_delete_of_a_group_that_another_has_deleted(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    os.rmdir(oracle.directory("memory", name))
    memory.delete()


def test_delete_twice(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    memory.delete()
    with pytest.raises(GroupNotFoundError):
        memory.delete()


def test_create_delete_create(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    for _ in range(3):
        memory.create()
        assert oracle.exists("memory", name)
        memory.delete()
        assert not oracle.exists("memory", name)


def test_delete_of_the_root() -> None:
    with pytest.raises(InvalidNameError, match="root"):
        Cgroup.MEMORY("/").delete()
    with pytest.raises((InvalidNameError, GroupExistsError)):
        Cgroup.MEMORY("/").create()


@pytest.mark.parametrize("tasks", ["ignore", "", None, 1])
def test_delete_knows_three_ways(made: str, tasks: object) -> None:
    with pytest.raises(ValueError, match="'move', 'kill' or 'refuse'"):
        Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
    assert oracle.exists("memory", made)


@needs("root")
@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_delete_without_permission(made: str, tasks: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises((PermissionDeniedError, GroupBusyError)):
            forked(lambda: Cgroup.MEMORY(made).delete(tasks=tasks), NOBODY)  # type: ignore[arg-type]
        assert oracle.pids("memory", made) == {child.pid}
    with pytest.raises(PermissionDeniedError):
        forked(lambda: Cgroup.MEMORY(made).delete(), NOBODY)
    assert oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill"])
def test_a_process_may_delete_the_group_that_it_is_in(made: str, tasks: str) -> None:
    def delete_own() -> str:
        oracle.write("memory", f"{made}/own", "cgroup.procs", "0")
        Cgroup.MEMORY(f"{made}/own").delete(tasks=tasks)  # type: ignore[arg-type]
        return oracle.group_of("memory")

    oracle.make("memory", f"{made}/own")
    assert forked(delete_own) != f"{made}/own"
    assert not oracle.exists("memory", f"{made}/own")


@needs("memory", version=1)  # v2 keeps the threads of a process together
def test_killing_a_process_of_which_one_thread_is_inside(made: str) -> None:
    oracle.make("memory", f"{made}/inner")
    with processes.threaded() as child:
        thread = next(each for each in os.listdir(f"/proc/{child.pid}/task") if int(each) != child.pid)
        oracle.write("memory", f"{made}/inner", "tasks", thread)
        forked(lambda: Cgroup.MEMORY(f"{made}/inner").delete(tasks="kill"))
        assert child.wait(60) == -9
    assert not oracle.exists("memory", f"{made}/inner")


FORKING = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
else:
    print("forked", flush=True)
signal.pause()
"""


def test_kill_reaches_grandchildren_in_sessions_of_their_own(made: str) -> None:
    with processes.python(FORKING, oracle.directory("memory", made)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "forked\n"
        assert len(oracle.pids("memory", made)) > 1
        Cgroup.MEMORY(made).delete(tasks="kill")
        assert child.wait(60) == -9
    assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_a_process_that_nobody_has_waited_for_is_not_in_the_way(made: str, tasks: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
        assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill"])
def test_a_stopped_process_is_moved_and_killed(made: str, tasks: str) -> None:
    inner = oracle.make("memory", f"{made}/inner")
    with processes.idle(inner) as child:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        Cgroup.MEMORY(f"{made}/inner").delete(tasks=tasks)  # type: ignore[arg-type]
        assert oracle.pids("memory", made) == ({child.pid} if tasks == "move" else set())
    assert not oracle.exists("memory", f"{made}/inner")


@needs("freezer", version=1)
def test_a_frozen_group_is_deleted_and_its_process_goes_on(unique: Unique) -> None:
    freezer = Cgroup.FREEZER(unique("freezer")).create()
    with processes.idle(str(freezer.path)) as child:
        freezer.state = "FROZEN"
        freezer.delete()
        child.communicate("", timeout=60)  # it runs again, to its end
        assert child.returncode == 0


@needs("freezer", version=1)
def test_a_frozen_group_is_killed_or_says_what_is_in_the_way(unique: Unique) -> None:
    freezer = Cgroup.FREEZER(unique("freezer")).create()
    with processes.idle(str(freezer.path)) as child:
        freezer.state = "FROZEN"
        try:
            freezer.delete(tasks="kill")
        except GroupBusyError as error:
            assert str(child.pid) in str(error)  # noqa: PT017  # killed or said, either will do
            freezer.state = "THAWED"
            freezer.delete(tasks="kill")
        assert child.wait(60) == -9
    assert not freezer.exists()


# Deletes a group as one who cannot see the process that is in it, and says where that has left himself.
UNSEEN = """
import sys
from pycgroup import Cgroup, GroupBusyError
try:
    Cgroup.MEMORY(sys.argv[1]).delete(tasks=sys.argv[2])
except GroupBusyError:
    print("busy")
with open("/proc/self/cgroup") as file:
    print(file.read())
"""


# The kernel itself can kill it: v2 since Linux 5.14.
WAYS = ["move", "refuse", pytest.param("kill", marks=needs("memory", version=1))]


@needs("root")
@needs("mount-namespace")
@pytest.mark.parametrize("tasks", WAYS)
def test_a_process_of_another_pid_namespace_is_in_the_way(made: str, tasks: str) -> None:
    for name in ("home", "theirs"):
        oracle.make("memory", f"{made}/{name}")
    home, theirs = (oracle.directory("memory", f"{made}/{name}") for name in ("home", "theirs"))
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", UNSEEN, f"{made}/theirs", tasks]
    with processes.idle(theirs) as child:
        with processes.running(inside, home) as deleting:
            said = deleting.communicate(timeout=processes.PATIENCE)[0]
        assert said.startswith("busy\n")
        assert f"{made}/home\n" in said
        assert oracle.group_of("memory", child.pid) == f"{made}/theirs"
