# SPDX-License-Identifier: MIT
"""attach, attach_thread and detach: where the kernel says that processes and threads are, before and after."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupNotFoundError,
    InvalidValueError,
    NoSuchProcessError,
    PermissionDeniedError,
)
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("memory")

Unique = Callable[..., str]


def groups_of_threads(pid: int | str = "self") -> dict[int, str]:
    """Return the memory group of every thread of a process."""
    return {int(each): oracle.group_of("memory", f"{pid}/task/{each}") for each in os.listdir(f"/proc/{pid}/task")}


def dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_process_of_one_thread_attaches_itself(made: str) -> None:
    def attach() -> tuple[str, list[int]]:
        memory = Cgroup.MEMORY(made)
        memory.attach()
        return oracle.group_of("memory"), memory.pids()

    group, pids = forked(attach)
    assert group == made
    assert len(pids) == 1
    assert oracle.pids("memory", made) == set()


def test_a_process_of_many_threads_attaches_itself_whole(made: str) -> None:
    def attach() -> dict[int, str]:
        go = threading.Event()
        threads = [threading.Thread(target=go.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        Cgroup.MEMORY(made).attach()
        found = groups_of_threads()
        go.set()
        for thread in threads:
            thread.join()
        return found

    found = forked(attach)
    assert len(found) == 4
    assert set(found.values()) == {made}


def test_a_thread_attaches_the_whole_process(made: str) -> None:
    def attach() -> dict[int, str]:
        found: dict[int, str] = {}

        def run() -> None:
            Cgroup.MEMORY(made).attach()
            found.update(groups_of_threads())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found

    found = forked(attach)
    assert len(found) == 2
    assert set(found.values()) == {made}


@pytest.mark.parametrize("start", [processes.idle, processes.threaded])
def test_a_process_is_attached_by_pid_with_all_its_threads(made: str, start: Callable[..., processes.Running]) -> None:
    with start() as child:
        Cgroup.MEMORY(made).attach(child.pid)
        assert set(groups_of_threads(child.pid).values()) == {made}


@pytest.mark.parametrize("explicit", [True, False])
@needs("memory", version=1)
def test_one_thread_is_attached_alone(made: str, explicit: bool) -> None:
    def attach() -> tuple[dict[int, str], int]:
        threads = []

        def run() -> None:
            Cgroup.MEMORY(made).attach_thread(threading.get_native_id() if explicit else None)
            threads.append((groups_of_threads(), threading.get_native_id()))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return threads[0]

    before = oracle.group_of("memory")
    found, inside = forked(attach)
    assert found.pop(inside) == made
    assert set(found.values()) == {before}


@needs("memory", version=1)
def test_a_thread_of_another_process_is_attached_alone(made: str) -> None:
    with processes.threaded() as child:
        outside, *threads = sorted(groups_of_threads(child.pid))
        Cgroup.MEMORY(made).attach_thread(threads[0])
        found = groups_of_threads(child.pid)
        assert found[threads[0]] == made
        assert found[outside] == found[threads[1]] != made
        assert Cgroup.MEMORY(made).threads() == [threads[0]]


def test_attach_to_the_group_that_one_is_in(made: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        Cgroup.MEMORY(made).attach(child.pid)
        assert oracle.group_of("memory", child.pid) == made


BAD_PIDS = [0, -1, 2**31, 2**63, 2**64, -(2**63), "1", 1.0, True, b"1", [1], "1\n2"]


@pytest.mark.parametrize("method", ["attach", "attach_thread", "detach"])
@pytest.mark.parametrize("pid", BAD_PIDS, ids=repr)
def test_what_is_no_process_id(made: str, method: str, pid: object) -> None:
    before = oracle.group_of("memory")
    with pytest.raises((InvalidValueError, NoSuchProcessError)):
        getattr(Cgroup.MEMORY(made), method)(pid)
    assert oracle.group_of("memory") == before
    assert oracle.pids("memory", made) == set()


@pytest.mark.parametrize("method", ["attach", "attach_thread", pytest.param("detach", marks=needs("root"))])
def test_a_process_that_has_ended(made: str, method: str) -> None:
    pid = dead_pid()
    with pytest.raises(NoSuchProcessError, match=str(pid)) as caught:
        getattr(Cgroup.MEMORY(made), method)(pid)
    assert isinstance(caught.value, ProcessLookupError)
    assert caught.value.errno == errno.ESRCH


@pytest.mark.parametrize("method", ["attach", "attach_thread"])
def test_a_group_that_does_not_exist(unique: Unique, method: str) -> None:
    name = unique("memory")
    with processes.idle() as child:
        before = oracle.group_of("memory", child.pid)
        with pytest.raises(GroupNotFoundError, match=name):
            getattr(Cgroup.MEMORY(name), method)(child.pid)
        assert oracle.group_of("memory", child.pid) == before
    assert not oracle.exists("memory", name)


@needs("root")
@pytest.mark.parametrize("method", ["attach", "attach_thread"])
def test_attach_without_permission(made: str, method: str) -> None:
    with pytest.raises(PermissionDeniedError):
        forked(getattr(Cgroup.MEMORY(made), method), NOBODY)
    with processes.idle() as child:
        with pytest.raises(PermissionDeniedError):
            forked(lambda: getattr(Cgroup.MEMORY(made), method)(child.pid), NOBODY)
        assert oracle.group_of("memory", child.pid) != made


@needs("cpuset", version=1)
def test_a_cpuset_without_cpus_says_what_it_lacks(unique: Unique) -> None:
    cpuset = Cgroup.CPUSET(unique("cpuset"))
    cpuset.create()
    with processes.idle() as child:
        for attach in (cpuset.attach, cpuset.attach_thread):
            with pytest.raises(CgroupError, match="cpus and mems") as caught:
                attach(child.pid)
            assert caught.value.errno == errno.ENOSPC
        cpuset.modify(cpus="0", mems="0")
        cpuset.attach(child.pid)
        assert os.sched_getaffinity(child.pid) == {0}
    cpuset.delete()


def test_detach_goes_back_to_where_the_process_was(made: str) -> None:
    oracle.make("memory", f"{made}/home")
    oracle.make("memory", f"{made}/away")
    with processes.idle(oracle.directory("memory", f"{made}/home")) as child:
        away = Cgroup.MEMORY(f"{made}/away")
        away.attach(child.pid)
        assert oracle.group_of("memory", child.pid) == f"{made}/away"
        away.detach(child.pid)
        assert oracle.group_of("memory", child.pid) == f"{made}/home"


def test_attaching_twice_does_not_forget_where_the_process_was(made: str) -> None:
    oracle.make("memory", f"{made}/home")
    away = Cgroup.MEMORY(f"{made}/away")
    away.create()
    with processes.idle(oracle.directory("memory", f"{made}/home")) as child:
        away.attach(child.pid)
        away.attach(child.pid)
        away.detach(child.pid)
        assert oracle.group_of("memory", child.pid) == f"{made}/home"


def test_detach_leaves_a_process_that_is_elsewhere_by_now(made: str) -> None:
    for name in ("home", "away", "elsewhere"):
        oracle.make("memory", f"{made}/{name}")
    with processes.idle(oracle.directory("memory", f"{made}/home")) as child:
        away = Cgroup.MEMORY(f"{made}/away")
        away.attach(child.pid)
        oracle.write("memory", f"{made}/elsewhere", "cgroup.procs", str(child.pid))
        away.detach(child.pid)
        assert oracle.group_of("memory", child.pid) == f"{made}/elsewhere"


def test_the_calling_process_detaches_itself(made: str) -> None:
    def there_and_back() -> list[str]:
        memory = Cgroup.MEMORY(made)
        found = [oracle.group_of("memory")]
        memory.attach()
        found.append(oracle.group_of("memory"))
        memory.detach()
        return [*found, oracle.group_of("memory")]

    before, inside, after = forked(there_and_back)
    assert before == after
    assert inside == made


@needs("root")
@needs("true-root")
@pytest.mark.parametrize("gone", [True, False])
def test_detach_goes_to_the_root_where_that_is_not_known(made: str, gone: bool) -> None:
    home = oracle.make("memory", f"{made}/home")
    memory = Cgroup.MEMORY(made)
    with processes.idle(home if gone else oracle.directory("memory", made)) as child:
        if gone:
            memory.attach(child.pid)
            os.rmdir(home)
        memory.detach(child.pid)
        assert oracle.group_of("memory", child.pid) == ""


@needs("root")
@needs("true-root")
def test_a_forked_child_is_not_taken_for_its_parent(made: str) -> None:
    """What the parent knows of where it was does not lead the child astray."""
    oracle.make("memory", f"{made}/home")
    oracle.make("memory", f"{made}/away")

    def parent() -> list[str]:
        oracle.write("memory", f"{made}/home", "cgroup.procs", "0")
        away = Cgroup.MEMORY(f"{made}/away")
        away.attach()

        def child() -> str:
            away.detach()
            return oracle.group_of("memory")

        return [forked(child), oracle.group_of("memory")]

    child, still = forked(parent)
    assert still == f"{made}/away"
    assert child in ("", f"{made}/home")
