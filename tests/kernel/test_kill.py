# SPDX-License-Identifier: MIT
"""kill(), freeze() and thaw(): what becomes of the processes, as the kernel tells it."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupBusyError,
    GroupNotFoundError,
    InvalidValueError,
    PermissionDeniedError,
    UnsupportedSettingError,
    _tasks,
    _waiting,
    hierarchy,
    hosts,
)
from tests.support import machine, oracle, processes
from tests.support.capabilities import needs
from tests.support.hogs import bound, until

Unique = Callable[..., str]
EVERY = ["cpu", "cpuacct", "cpuset", "blkio", "memory", "pids", "freezer", "devices", "hugetlb", "perf_event"]

# Counts to its end as long as it runs.
COUNTING = """
import time
print("counting", flush=True)
number = 0
while True:
    number += 1
    with open({path!r}, "w") as file:
        file.write(str(number))
"""
# Forks without end: each generation lives for a moment only, and there are some of them at a time.
FORKING = """
import os, sys, time
print("forking", flush=True)
for line in range(3):
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
sys.stdin.read()
"""
MANY = """
import os, sys
for number in range(250):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print("go", flush=True)
sys.stdin.read()
"""


def made(controller: str, unique: Unique) -> tuple[str, str]:
    """Make a group that takes processes; return its name and directory."""
    name = unique(controller)
    getattr(Cgroup, controller.upper())(name).create()
    directory = oracle.directory(controller, name)
    if os.path.exists(f"{directory}/cpuset.mems") and os.path.exists(f"{directory}/tasks"):  # v1 takes none without
        for file in ("cpuset.cpus", "cpuset.mems"):
            text = machine.read(f"{os.path.dirname(directory)}/{file}").strip()
            if text:
                oracle.write(controller, name, file, text)
    return name, directory


def cls(controller: str) -> Any:
    return getattr(Cgroup, controller.upper())


# kill


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in EVERY])
def test_kill_ends_every_process(controller: str, unique: Unique) -> None:
    name, directory = made(controller, unique)
    with processes.idle(directory) as one, processes.threaded(directory) as two:
        cls(controller)(name).kill()
        assert oracle.pids(controller, name) == set()
        assert {one.wait(10), two.wait(10)} == {-signal.SIGKILL}
    assert oracle.exists(controller, name)


@needs("memory")
def test_kill_of_an_empty_group(unique: Unique) -> None:
    name, _ = made("memory", unique)
    Cgroup.MEMORY(name).kill()
    assert oracle.exists("memory", name)


@needs("pids", version=1)
def test_kill_of_more_processes_than_there_are_descriptors_for(unique: Unique) -> None:
    name, directory = made("pids", unique)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        children = [stack.enter_context(processes.idle(directory)) for _ in range(12)]
        with ExitStack() as fillers:
            highest = max(map(int, os.listdir("/proc/self/fd")))
            while (filler := os.dup(0)) <= highest:
                fillers.callback(os.close, filler)
            fillers.callback(os.close, filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (filler + 9, hard))
            fillers.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            Cgroup.PIDS(name).kill()
        assert oracle.pids("pids", name) == set()
        assert {child.wait(60) for child in children} == {-signal.SIGKILL}


@needs("memory")
def test_kill_reaches_the_groups_below(unique: Unique) -> None:
    name, directory = made("pids", unique)
    os.makedirs(f"{directory}/a/b")
    with processes.idle(f"{directory}/a/b") as deep, processes.idle(f"{directory}/a") as inner:
        Cgroup.PIDS(name).kill()
        assert deep.wait(10) == inner.wait(10) == -signal.SIGKILL


@needs("pids")
def test_kill_spares_other_groups(unique: Unique) -> None:
    name, directory = made("pids", unique)
    other, beside = made("pids", unique)
    with processes.idle(directory), processes.idle(beside) as neighbour:
        Cgroup.PIDS(name).kill()
        assert oracle.pids("pids", other) == {neighbour.pid}


@needs("pids")
def test_kill_of_many(unique: Unique) -> None:
    name, directory = made("pids", unique)
    with processes.python(MANY, directory) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "go\n"
        assert len(oracle.pids("pids", name)) == 251
        Cgroup.PIDS(name).kill()
        assert oracle.pids("pids", name) == set()


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in ("pids", "freezer")])
def test_kill_catches_those_that_fork_meanwhile(controller: str, unique: Unique) -> None:
    name, directory = made(controller, unique)
    with processes.python(FORKING, directory) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forking\n"
        cls(controller)(name).kill(timeout=60)
        assert oracle.pids(controller, name) == set()


@needs("pids")
def test_kill_spares_the_calling_process(unique: Unique) -> None:
    name, directory = made("pids", unique)
    with processes.idle(directory) as child:

        def kill() -> tuple[int, set[int]]:
            oracle.write("pids", name, "cgroup.procs", "0")
            Cgroup.PIDS(name).kill()
            return os.getpid(), oracle.pids("pids", name)

        caller, left = processes.forked(kill)
        assert left == {caller}
        assert child.wait(10) == -signal.SIGKILL


@needs("pids")
def test_kill_of_a_missing_group(unique: Unique) -> None:
    with pytest.raises(GroupNotFoundError, match="cannot kill its processes"):
        Cgroup.PIDS(unique("pids")).kill()


@needs("freezer", version=1)
@needs("pids", version=1)
def test_kill_names_who_does_not_end(unique: Unique) -> None:
    """On v1 a frozen process ends when it is thawed, and a pids group cannot thaw it."""
    name, directory = made("pids", unique)
    frozen, freezer = made("freezer", unique)
    with processes.idle(directory, freezer) as child:
        oracle.write("freezer", frozen, "freezer.state", "FROZEN")
        with pytest.raises(GroupBusyError, match=f"{child.pid} did not end within 0.1 s"):
            Cgroup.PIDS(name).kill(timeout=0.1)
        oracle.write("freezer", frozen, "freezer.state", "THAWED")
        assert child.wait(10) == -signal.SIGKILL


@needs("freezer")
def test_kill_ends_what_is_frozen(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    with processes.idle(directory) as child:
        freezer = Cgroup.FREEZER(name)
        freezer.freeze()
        freezer.kill()
        assert child.wait(10) == -signal.SIGKILL


@needs("freezer")
def test_delete_kills_what_is_frozen(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    with processes.idle(directory) as child:
        freezer = Cgroup.FREEZER(name)
        freezer.freeze()
        freezer.delete(tasks="kill")
        assert child.wait(10) == -signal.SIGKILL
    assert not oracle.exists("freezer", name)


@needs("freezer-on-v2")
def test_kill_of_a_threaded_group_says_whom_to_kill(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    os.mkdir(f"{directory}/threads")
    with open(f"{directory}/threads/cgroup.type", "w") as file:
        file.write("threaded")
    with pytest.raises(Exception, match="head of its threaded subtree"):
        Cgroup.FREEZER(f"{name}/threads").kill()
    os.rmdir(f"{directory}/threads")


# freeze and thaw


@contextmanager
def counter(directory: str, path: str) -> Iterator[Callable[[], str]]:
    """Run what counts; give a function that returns how far it is."""
    with processes.python(COUNTING.format(path=path), directory) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "counting\n"
        yield lambda: machine.read(f"/proc/{process.pid}/schedstat").split()[0]


def goes_on(count: Callable[[], str]) -> bool:
    """Tell whether it counts, within a minute."""
    start, deadline = count(), time.monotonic() + 60
    while count() == start:
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def spend(seconds: float) -> None:
    """Use the processor for a while, as what has been frozen would if it ran."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def is_at_rest(count: Callable[[], str]) -> bool:
    """Tell whether it does not count any more: the kernel says so a moment before it has left its processor."""
    spend(0.2)
    stopped = count()
    spend(0.2)
    return count() == stopped


def says_frozen(name: str) -> bool:
    """Ask the kernel whether a group is frozen."""
    try:
        return oracle.read("freezer", name, "freezer.state") == "FROZEN"
    except FileNotFoundError:
        return "frozen 1" in oracle.read("freezer", name, "cgroup.events")


@needs("freezer")
def test_freeze_stops_and_thaw_resumes(unique: Unique, tmp_path: os.PathLike[str]) -> None:
    name, directory = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    with counter(directory, os.path.join(tmp_path, "count")) as count:
        assert goes_on(count)
        freezer.freeze()
        assert (says_frozen(name), freezer.state) == (True, "FROZEN")
        assert is_at_rest(count)
        freezer.thaw()
        assert (says_frozen(name), freezer.state) == (False, "THAWED")
        assert goes_on(count)


@needs("freezer")
def test_freeze_of_an_empty_group(unique: Unique) -> None:
    name, _ = made("freezer", unique)
    Cgroup.FREEZER(name).freeze()
    assert says_frozen(name)
    Cgroup.FREEZER(name).thaw()
    assert not says_frozen(name)


@needs("freezer")
def test_freeze_reaches_many_and_those_below(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    os.mkdir(f"{directory}/below")
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(processes.idle(f"{directory}/below"))
        Cgroup.FREEZER(name).freeze()
        assert says_frozen(f"{name}/below")
        Cgroup.FREEZER(name).thaw()


@needs("freezer")
def test_freeze_twice_and_thaw_twice(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    with processes.idle(directory):
        for step in (freezer.thaw, freezer.freeze, freezer.freeze, freezer.thaw, freezer.thaw):
            step()
        assert not says_frozen(name)


@needs("freezer")
def test_freeze_refuses_to_stop_its_caller(unique: Unique) -> None:
    name, _ = made("freezer", unique)

    def freeze() -> str:
        oracle.write("freezer", name, "cgroup.procs", "0")
        with pytest.raises(GroupBusyError) as refused:
            Cgroup.FREEZER(name).freeze()
        return str(refused.value)

    assert "would stop itself" in processes.forked(freeze)


@needs("freezer")
def test_thaw_says_which_group_above_is_frozen(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    os.mkdir(f"{directory}/below")
    Cgroup.FREEZER(name).freeze()
    with pytest.raises(GroupBusyError, match=f"{name} above it is frozen"):
        Cgroup.FREEZER(f"{name}/below").thaw()
    Cgroup.FREEZER(name).thaw()
    Cgroup.FREEZER(f"{name}/below").thaw()


@needs("freezer")
def test_freeze_of_a_missing_group(unique: Unique) -> None:
    with pytest.raises(GroupNotFoundError):
        Cgroup.FREEZER(unique("freezer")).freeze()
    with pytest.raises(GroupNotFoundError):
        Cgroup.FREEZER(unique("freezer")).thaw()


@needs("freezer")
def test_freeze_that_is_interrupted_leaves_nothing_frozen(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _ = made("freezer", unique)

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(_waiting, "until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cgroup.FREEZER(name).freeze()
    assert not says_frozen(name)


@needs("freezer")
@pytest.mark.parametrize("timeout", ["1", None, float("nan"), []])
def test_what_is_no_timeout_is_refused_before_anything_is_done(unique: Unique, timeout: Any) -> None:
    name, directory = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    with processes.idle(directory) as child:
        for method in (freezer.freeze, freezer.thaw, freezer.kill):
            with pytest.raises(InvalidValueError, match="timeout"):
                method(timeout)
        assert not says_frozen(name)
        assert child.poll() is None


@needs("freezer")
@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_any_length_of_time_may_be_waited(unique: Unique, timeout: float) -> None:
    name, directory = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    with processes.idle(directory) as child:
        freezer.freeze(timeout)
        freezer.thaw(timeout)
        freezer.kill(timeout)
        assert child.wait(10) == -signal.SIGKILL


@needs("freezer")
def test_kill_reaches_groups_below_that_are_frozen_themselves(unique: Unique) -> None:
    name, directory = made("freezer", unique)
    os.makedirs(f"{directory}/a/b")
    with processes.idle(f"{directory}/a/b") as deep, processes.idle(f"{directory}/a") as inner:
        Cgroup.FREEZER(f"{name}/a/b").freeze()
        Cgroup.FREEZER(f"{name}/a").freeze()
        Cgroup.FREEZER(name).kill()
        assert deep.wait(10) == inner.wait(10) == -signal.SIGKILL


def test_freeze_is_of_the_freezer_alone() -> None:
    assert not hasattr(Cgroup.MEMORY, "freeze")


@needs("memory", version=1)
@needs("freezer", version=1)
def test_freeze_gives_up_where_a_process_waits_for_memory(unique: Unique) -> None:
    """With the OOM killer off a v1 process waits for memory where the freezer cannot stop it: it stays FREEZING."""
    frozen, freezer = made("freezer", unique)
    memory, directory = made("memory", unique)
    bound(Cgroup.MEMORY(memory), "16M")
    oracle.write("memory", memory, "memory.oom_control", "1")
    with processes.python("print('go', flush=True)\nx = b'x' * (64 << 20)", freezer, directory) as eater:
        until(lambda: "under_oom 1" in oracle.read("memory", memory, "memory.oom_control"))
        with pytest.raises(GroupBusyError, match=r"more than 0.2 s, and was thawed again.*OOM killer is off"):
            Cgroup.FREEZER(frozen).freeze(timeout=0.2)
        assert oracle.read("freezer", frozen, "freezer.state") == "THAWED"
        Cgroup.FREEZER(frozen).kill()
        assert eater.wait(10) == -signal.SIGKILL


@needs("freezer")
def test_state_takes_its_words_on_either_version(unique: Unique) -> None:
    name, _ = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    freezer.state = "FROZEN"
    assert says_frozen(name)
    freezer.state = "THAWED"
    assert freezer.state == "THAWED"
    with pytest.raises(ValueError, match="FREEZING"):
        freezer.state = "FREEZING"


@needs("freezer")
def test_state_of_a_group_to_be(unique: Unique) -> None:
    name = unique("freezer")
    with Cgroup.FREEZER(name, state="FROZEN") as freezer:
        assert says_frozen(name)
        freezer.thaw()


@needs("freezer")
@needs("true-root")
def test_the_root_has_no_state() -> None:
    with pytest.raises(UnsupportedSettingError):
        Cgroup.FREEZER("/").state  # noqa: B018 - it is what raises


# v2, also where v1 has the freezer: on a hybrid host pycgroup is shown the v2 hierarchy alone


@pytest.fixture
def on_v2(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the name and the directory of a group of v2, while pycgroup sees nothing of v1."""
    host = hosts.Host.read()
    tree = next(each for each in host.hierarchies if isinstance(each, hierarchy.V2))
    monkeypatch.setattr(hosts, "_here", hosts.Host("/", (tree,), {}))
    mounted = machine.hierarchy_of("freezer", 2)
    assert mounted is not None
    name = f"/{machine.base(mounted)}/{unique('freezer').rpartition('/')[2]}".replace("//", "/")
    os.makedirs(mounted.directory(name))
    return name, mounted.directory(name)


@needs("freezer", version=2)
def test_v2_kills_at_once(on_v2: tuple[str, str]) -> None:
    name, directory = on_v2
    os.mkdir(f"{directory}/below")
    with processes.idle(directory) as one, processes.threaded(f"{directory}/below") as two:
        Cgroup.FREEZER(name).kill()
        assert "populated 0" in machine.read(f"{directory}/cgroup.events")
        assert {one.wait(10), two.wait(10)} == {-signal.SIGKILL}


@needs("freezer", version=2)
def test_v2_kills_what_is_frozen(on_v2: tuple[str, str]) -> None:
    name, directory = on_v2
    with processes.idle(directory) as child:
        freezer = Cgroup.FREEZER(name)
        assert freezer.state == "THAWED"
        freezer.freeze()
        assert "frozen 1" in machine.read(f"{directory}/cgroup.events")
        assert freezer.state == "FROZEN"
        freezer.delete(tasks="kill")
        assert child.wait(10) == -signal.SIGKILL
    assert not os.path.exists(directory)


@needs("freezer", version=2)
def test_v2_freezes_and_thaws(on_v2: tuple[str, str], tmp_path: os.PathLike[str]) -> None:
    name, directory = on_v2
    freezer = Cgroup.FREEZER(name)
    with counter(directory, os.path.join(tmp_path, "count")) as count:
        freezer.freeze()
        assert is_at_rest(count)
        freezer.thaw()
        assert goes_on(count)


@needs("freezer", version=2)
def test_v2_says_who_is_frozen_above(on_v2: tuple[str, str]) -> None:
    name, directory = on_v2
    os.mkdir(f"{directory}/below")
    Cgroup.FREEZER(name).freeze()
    with pytest.raises(GroupBusyError, match="above it is frozen"):
        Cgroup.FREEZER(f"{name}/below").thaw()
    Cgroup.FREEZER(name).thaw()


@needs("freezer", version=2)
def test_v2_kills_a_threaded_group_by_its_head(on_v2: tuple[str, str]) -> None:
    name, directory = on_v2
    threads = f"{directory}/threads"
    os.mkdir(threads)
    with open(f"{threads}/cgroup.type", "w") as file:
        file.write("threaded")
    try:
        with pytest.raises(CgroupError, match="head of its threaded subtree"):
            Cgroup.FREEZER(f"{name}/threads").kill()
        Cgroup.FREEZER(name).kill()
    finally:
        os.rmdir(threads)


@needs("freezer", version=2)
@needs("root")
def test_a_user_kills_where_the_kernels_file_is_not_delegated(on_v2: tuple[str, str]) -> None:
    name, directory = on_v2
    user = processes.NOBODY
    with processes.running(["setpriv", "--reuid", str(user), "--clear-groups", "cat"], directory) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("here\n")
        child.stdin.flush()
        assert child.stdout.readline() == "here\n"  # from here on it is that user's
        processes.forked(Cgroup.FREEZER(name).kill, user)
        assert child.wait(10) == -signal.SIGKILL


@needs("root")
@needs("pids")
def test_a_user_cannot_kill_what_is_another_users(unique: Unique) -> None:
    name, directory = made("pids", unique)
    with processes.idle(directory), pytest.raises(PermissionDeniedError, match="another user"):
        processes.forked(Cgroup.PIDS(name).kill, processes.NOBODY)


@needs("pids")
def test_kill_spares_whom_it_is_told_to(unique: Unique) -> None:
    _, directory = made("pids", unique)
    with processes.idle(directory) as one, processes.idle(directory) as two:
        assert _tasks.kill(directory, lambda pids: [pid for pid in pids if pid != one.pid]) == []
        assert two.wait(10) == -signal.SIGKILL
        assert one.poll() is None


@needs("freezer")
def test_thaw_gives_up_in_time(unique: Unique) -> None:
    name, _ = made("freezer", unique)
    freezer = Cgroup.FREEZER(name)
    freezer.state = "FROZEN"
    # The words as of another state, so that the wait is for what does not come.
    assert not _waiting.until(f"{freezer.path}/cgroup.procs", lambda: freezer.state == "THAWED", 0.05, 0.01)
    freezer.thaw()
