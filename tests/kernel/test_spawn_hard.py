# SPDX-License-Identifier: MIT
"""Groups, and what runs in them, where it is hard: two owners, strangers, forks, no descriptors, reapers at once."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from pycgroup import (
    Cgroup,
    GroupBusyError,
    GroupNotFoundError,
    InvalidValueError,
    MemoryLimitExceeded,
    UnavailableError,
    _native,
    _tasks,
    calming,
    owners,
    reap,
    spawn,
)
from tests.support import machine, oracle
from tests.support.capabilities import needs
from tests.support.descriptors import all_taken_but
from tests.support.hogs import PATIENCE, hogs
from tests.support.interrupts import interrupt, interrupted
from tests.support.processes import choose_pid, forked, idle, script
from tests.support.whereabouts import made_by_cgroup

pytestmark = [needs("memory"), needs("pids")]

Unique = Callable[..., str]
VIEWS = {"memory": Cgroup.MEMORY, "pids": Cgroup.PIDS}
METHODS = pytest.mark.parametrize("method", ["spawn", "forkserver"])


def places(name: str) -> list[str]:
    """Return the directories of a group in all hierarchies."""
    return [each for each in machine.groups() if os.path.basename(each) == os.path.basename(name)]


def runs(pid: int) -> bool:
    """Tell whether a process has not ended."""
    try:
        return machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def bring(pid: int, directories: tuple[str, ...]) -> None:
    """Move a process into groups, as somebody else would."""
    for directory in directories:
        machine.write(f"{directory}/cgroup.procs", str(pid))


# One name, several owners.


def test_who_has_not_made_the_group_does_not_remove_it(unique: Unique) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, memory="64M", pids=50) as maker:
        started = maker.popen(["sleep", "1000"])
        with Cgroup(name, memory="64M", pids=60) as guest:
            own = guest.popen(["sleep", "1000"])
        assert own.wait(timeout=60) == -9
        assert started.poll() is None
        assert oracle.pids("pids", name) == oracle.pids("memory", name) == {started.pid}
    assert started.wait(timeout=60) == -9
    assert places(name) == []


@needs("group-attributes")
def test_the_first_who_leaves_leaves_the_group_to_the_other(unique: Unique) -> None:
    name = unique("memory", "pids")
    with ExitStack() as guest:
        with Cgroup(name, pids=50) as maker:
            started = maker.popen(["sleep", "1000"])
            orphan = int(maker.run(["sh", "-c", DAEMON], stdout=PIPE, text=True).stdout)
            other = guest.enter_context(Cgroup(name, pids=40))
            own = other.popen(["sleep", "1000"])
        assert started.wait(timeout=60) == -9
        assert own.poll() is None
        assert own.pid in oracle.pids("pids", name)
        assert oracle.pids("pids", name) <= {own.pid, orphan}, "of the orphan nobody can tell whose it is"
        assert oracle.read("pids", name, "pids.max") == "40"
    assert own.wait(timeout=60) == -9
    assert places(name) == []
    os.kill(orphan, signal.SIGKILL)


@needs("group-attributes")
def test_a_forked_child_that_enters_again_shares_the_group(unique: Unique) -> None:
    name = unique("memory", "pids")
    answers, questions = os.pipe(), os.pipe()
    with ExitStack() as stack:
        group = stack.enter_context(Cgroup(name, pids=50))
        started = group.popen(["sleep", "1000"])
        child = os.fork()
        if child == 0:
            _enter_again(group, answers[1], questions)
        os.close(answers[1])
        pid = int(os.read(answers[0], 20))
        stack.close()
        assert started.wait(timeout=60) == -9
        assert oracle.pids("pids", name) == {pid}, "it is in its group as long as its block is open"
        for end in questions:
            os.close(end)
        assert os.waitpid(child, 0)[1] == 0
        assert not runs(pid)
    assert places(name) == []
    os.close(answers[0])


def _enter_again(group: Cgroup, answer: int, questions: tuple[int, int]) -> None:
    status = 1
    try:
        os.close(questions[1])
        with group:
            os.write(answer, str(group.popen(["sleep", "1000"]).pid).encode())
            os.read(questions[0], 1)  # until the other end is closed
        status = 0
    finally:
        os._exit(status)


FORKED = """
import os, sys
from pycgroup import Cgroup
name, how = sys.argv[1:]
group = Cgroup(name, pids=50) if how == "attached" else Cgroup(name, pids=50).create()
if how == "attached":
    group.__enter__()
    group.attach()
process = group.popen(["sleep", "1000"])
before = open("/proc/self/cgroup").read()
child = os.fork()
if not child:
    with group:
        pass
    os._exit(before != open("/proc/self/cgroup").read())
print(os.waitpid(child, 0)[1], process.poll())
process.kill()
process.wait()
group.__exit__(None, None, None) if how == "attached" else group.delete()
"""


@needs("group-attributes")
@pytest.mark.parametrize("how", ["attached", "created"])
def test_a_block_in_a_forked_child_leaves_what_its_parent_did(unique: Unique, how: str) -> None:
    name = unique("memory", "pids")
    assert script(FORKED, name, how) == "0 None\n"
    assert places(name) == []


EXECUTED = """
import os, sys
from pycgroup import Cgroup
before = sys.argv[1:]
with Cgroup(pids=5) as group:
    if not before:
        os.execv(sys.executable, [sys.executable, sys.argv[0], *group.paths])
    print(*sorted({*group.paths} & {*before}), group.run(["true"]).returncode)
print(all(map(os.path.isdir, before)), any(map(os.path.isdir, group.paths)))
"""


def test_another_program_of_the_process_has_a_group_of_its_own(tmp_path: Path) -> None:
    """Its unnamed groups are counted from 0 again, and the group of the first program is still there."""
    file = tmp_path / "program.py"
    file.write_text(EXECUTED)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "0\nTrue False\n"
    reap()


@needs("group-attributes")
@needs("cpuset")
def test_a_refused_entry_changes_nothing_of_a_shared_group(unique: Unique) -> None:
    name = unique("memory", "pids", "cpuset")
    with Cgroup(name, pids=50, memory="64M") as group:
        marks = {path: os.listxattr(path) for path in group.paths}
        with pytest.raises(InvalidValueError), Cgroup(name, memory="32M", cpuset="0-4000"):
            pass
        assert oracle.memory_limit(name) == 64 << 20, "it is set before the other is refused"
        assert {path: os.listxattr(path) for path in group.paths} == marks
    assert places(name) == []


@needs("group-attributes")
@needs("cpuset")
@pytest.mark.parametrize("below", ["", "/below"])
def test_what_a_dead_user_has_left_is_found_though_others_came_and_went(unique: Unique, below: str) -> None:
    name = unique("memory", "pids", "cpuset")
    with sharing(name, idle=bool(below)) as (maker, pid):
        maker.kill()
        maker.wait()
        if below:
            with Cgroup(name + below, pids=5):
                pass
        else:
            with pytest.raises(InvalidValueError), Cgroup(name, cpuset="0-4000"):
                pass
    reap()
    assert places(name) == []
    assert not pid or not runs(pid)


def test_two_threads_may_enter_one_object(unique: Unique) -> None:
    """Whoever leaves first, the other's programs go on."""
    name = unique("memory", "pids")
    group = Cgroup(name, pids=50)
    inside, left = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)

    def leave_first() -> int | None:
        with group:
            process = group.popen(["sleep", "1000"])
            inside.wait()
        left.wait()
        return process.wait(timeout=60)

    def leave_last() -> int | None:
        with group:
            process = group.popen(["sleep", "1000"])
            inside.wait()
            left.wait()
            before = process.poll()
        assert process.wait(timeout=60) == -9
        return before

    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            first, last = threads.submit(leave_first), threads.submit(leave_last)
            assert (first.result(), last.result()) == (-9, None)
    assert places(name) == []


BY_TURNS = """
import sys
from subprocess import PIPE
from pycgroup import Cgroup
name = sys.argv[1]
seen = []
for _ in range(30):
    with Cgroup(name, pids=50) as group:
        process = group.popen(["cat"], stdin=PIPE)
        memberships = open(f"/proc/{process.pid}/cgroup").read()
        if memberships.count(name + "\\n") < len(group.paths):
            seen.append(memberships)
        group.run(["true"])
        if memberships != open(f"/proc/{process.pid}/cgroup").read():
            seen.append(memberships)
        process.communicate()
print(seen)
"""


@needs("group-attributes")
def test_many_enter_and_leave_by_turns(unique: Unique) -> None:
    """Each of their programs is inside as long as its own block is open, and in the end nothing is left."""
    name = unique("memory", "pids")
    command = [sys.executable, "-c", BY_TURNS, name]
    several = [subprocess.Popen(command, stdout=PIPE) for _ in range(3)]
    assert [each.communicate(timeout=300)[0] for each in several] == [b"[]\n"] * 3
    assert places(name) == []


def test_ends_that_overlap_leave_the_limits_as_they_were(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> None:
    name = unique("memory", "pids")
    monkeypatch.setattr(_tasks, "AT_ONCE", -1)
    with Cgroup(name, pids=300) as group:
        freeze = Path(group.pids.path, "cgroup.freeze")

        def state() -> tuple[str, str]:
            return oracle.read("pids", name, "pids.max"), freeze.read_text() if freeze.exists() else ""

        before = state()
        first, second = calming.Calm(list(group.paths)), calming.Calm(list(group.paths))
        first.__enter__()
        second.__enter__()
        assert state() != before
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert state() == before
        assert group.run(["true"]).returncode == 0


# Whoever cannot fork tries again, but leaves the tests of this machine a CPU meanwhile.
BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""


@pytest.mark.parametrize("at_once", [20, pytest.param(_tasks.AT_ONCE, marks=pytest.mark.slow)])
def test_a_timeout_ends_a_fork_bomb_and_changes_no_limit(
    unique: Unique, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes are more than are killed at once, and fork as soon as the first of them have died."""
    monkeypatch.setattr(_tasks, "AT_ONCE", at_once)
    name, most = unique("memory", "pids"), at_once + 30
    with Cgroup(name, pids=most) as group:
        with pytest.raises(subprocess.TimeoutExpired):
            group.run([sys.executable, "-c", BOMB], timeout=5)
        assert oracle.pids("pids", name) == set()
        assert oracle.read("pids", name, "pids.max") == str(most)
        freeze = Path(group.pids.path, "cgroup.freeze")
        assert not freeze.exists() or freeze.read_text() == "0\n"
        assert group.run(["true"]).returncode == 0
    assert places(name) == []


def test_a_fork_bomb_that_this_process_is_in_ends_too(unique: Unique) -> None:
    name = unique("memory", "pids")
    done = script(INSIDE_BOMB, name, BOMB)
    assert done == "50\n"
    assert places(name) == []


INSIDE_BOMB = """
import os, sys
from pycgroup import Cgroup, _tasks
_tasks.AT_ONCE = 30  # hundreds beside this one would leave it no CPU on an emulated machine
with Cgroup(sys.argv[1], pids=50) as group:
    group.attach()
    process = group.popen([sys.executable, "-c", sys.argv[2]])
    while group.pids.current < 45:
        pass
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    assert group.end_started() == [] and group.processes() == [os.getpid()]
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
    print(group.pids.max)
"""


@needs("freezer")
@pytest.mark.parametrize("above", ["", "/below"])
def test_nothing_starts_where_it_would_be_stopped(unique: Unique, above: str) -> None:
    """Else this process would wait for it, deaf to signals, until somebody thaws the group."""
    name = unique("freezer")
    oracle.make("freezer", name)
    frozen = Cgroup.FREEZER(name)
    if above:
        oracle.make("freezer", name + above)
    group = Cgroup(name + above)
    frozen.freeze()
    for start in (group.popen, group.run):
        with pytest.raises(GroupBusyError, match=r"frozen: thaw\(\) it first"):
            start(["true"])
    assert oracle.pids("freezer", name + above) == set()
    frozen.thaw()
    assert group.run(["true"]).returncode == 0
    frozen.delete(recursive=True)


SHARING = """
import sys
from pycgroup import Cgroup
with Cgroup(sys.argv[1], pids=50) as group:
    process = group.popen(["sleep", "1000"]) if sys.argv[2:] else None
    print(process.pid if process else 0, flush=True)
    sys.stdin.read()
"""


@contextmanager
def sharing(name: str, *, idle: bool = False) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Have another process in a block of its own; yield it and what it has started there, 0 for nothing."""
    command = [sys.executable, "-c", SHARING, name, *([] if idle else ["start"])]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


@needs("group-attributes")
def test_an_inner_block_leaves_this_process_where_the_outer_one_has_brought_it(unique: Unique) -> None:
    name = unique("memory", "pids")
    code = f"""
from pycgroup import Cgroup
def inside():
    return {name!r} in open("/proc/self/cgroup").read()
with Cgroup({name!r}, pids=50) as outer:
    outer.attach()
    with Cgroup({name!r}, pids=50) as inner:
        inner.run(["true"])
    print(inside())
    with Cgroup({name!r}, pids=50) as inner:
        inner.attach()
    print(inside())
print(inside())
"""
    assert script(code).split() == ["True", "True", "False"]
    assert places(name) == []


@needs("group-attributes")
@pytest.mark.parametrize("below", ["", "/below"])
def test_another_process_keeps_the_group_that_it_shares(unique: Unique, below: str) -> None:
    name = unique("memory", "pids")
    with ExitStack() as stack:
        with Cgroup(name, pids=50) as group:
            # On v2 a group has either processes or groups with controllers below it.
            started = None if below else group.popen(["sleep", "1000"])
            _, pid = stack.enter_context(sharing(name + below))
        assert started is None or started.wait(timeout=60) == -9
        assert oracle.pids("pids", name + below) == {pid}
    assert not runs(pid)
    assert places(name) == []


@needs("group-attributes")
def test_another_process_keeps_a_group_without_a_name_that_it_shares() -> None:
    with ExitStack() as stack:
        with Cgroup(memory="64M", pids=50) as group:
            processes, process = f"{group.pids.path}/cgroup.procs", group.popen(["sleep", "1000"])
            _, pid = stack.enter_context(sharing(group.name))
        assert process.wait(timeout=60) == -9
        assert machine.read(processes).split() == [str(pid)]
        reap()
        assert machine.read(processes).split() == [str(pid)]
    assert places(group.name) == []


@needs("group-attributes")
@pytest.mark.parametrize("below", ["", "/below"])
def test_reap_spares_a_group_as_long_as_one_of_its_users_lives(unique: Unique, below: str) -> None:
    name = unique("memory", "pids")
    with sharing(name, idle=bool(below)) as (maker, first), sharing(name + below) as (_, pid):
        maker.kill()
        maker.wait()
        reap()
        assert oracle.pids("pids", name + below) == {pid, first} - {0}
        assert runs(pid)
    assert not runs(pid)
    reap()
    assert places(name) == []
    if first:
        os.kill(first, signal.SIGKILL)


def test_who_shares_nothing_as_there_are_no_marks_does_not_mind_that_it_is_removed(
    unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "_SPACES", ())
    name = unique("memory", "pids")
    with ExitStack() as guest:
        with Cgroup(name, pids=50):
            guest.enter_context(Cgroup(name, pids=50))
        assert places(name) == []


def test_what_create_made_without_a_name_stays_when_its_maker_has_ended() -> None:
    code = "from pycgroup import Cgroup; print(*Cgroup(pids=50).create().paths)"
    made = script(code).split()
    try:
        assert not {*reap()} & {*made}
        assert all(map(os.path.isdir, made))
    finally:
        for directory in made:
            os.rmdir(directory)


@needs("pids", version=1)
@needs("cpu", version=1)
def test_each_of_two_removes_what_it_has_made(unique: Unique) -> None:
    name = unique("memory", "pids", "cpu", "cpuacct")
    with Cgroup(name, pids=50):
        with Cgroup(name, pids=50, cpus=0.5):
            assert oracle.exists("cpu", name)
        assert not oracle.exists("cpu", name)
        assert oracle.exists("pids", name)
    assert places(name) == []


def test_a_group_of_somebody_else_may_be_deleted_in_the_block(unique: Unique) -> None:
    name = unique("memory", "pids")
    for directory in {oracle.directory(controller, name) for controller in VIEWS}:
        os.mkdir(directory)
    with Cgroup(name, pids=50) as group:
        group.delete()
    assert places(name) == []


def test_the_end_of_an_inner_block_of_the_same_object_changes_nothing(unique: Unique) -> None:
    name = unique("pids")
    with Cgroup(name, pids=50) as group:
        with group:
            process = group.popen(["sleep", "1000"])
        assert oracle.pids("pids", name) == {process.pid}
        assert process.poll() is None
    assert process.wait(timeout=60) == -9
    assert places(name) == []


DAEMON = "setsid sleep 1000 >/dev/null 2>&1 & echo $!"


def test_a_stranger_is_moved_out_alive_while_what_was_started_is_killed(unique: Unique) -> None:
    name = unique("pids")
    with ExitStack() as stack:
        with Cgroup(name, pids=50) as group:
            daemon = int(group.run(["sh", "-c", DAEMON], stdout=PIPE, text=True).stdout)
            process = group.popen(["sleep", "1000"])
            stranger = stack.enter_context(idle())
            bring(stranger.pid, group.paths)
            assert oracle.pids("pids", name) == {daemon, process.pid, stranger.pid}
        assert process.wait(timeout=60) == -9
        assert not runs(daemon)
        assert stranger.poll() is None
        assert oracle.group_of("pids", stranger.pid) != name
    assert places(name) == []


SUBREAPER = """
import ctypes, sys
from subprocess import PIPE
from pycgroup import Cgroup
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
code = sys.argv[2]
with Cgroup(sys.argv[1], pids=50) as group:
    print(group.run(["sh", "-c", code], stdout=PIPE, text=True).stdout)
"""


def test_orphans_that_go_to_the_caller_are_killed_too(unique: Unique) -> None:
    name = unique("pids")
    daemon = int(script(SUBREAPER, name, DAEMON))
    assert not runs(daemon)
    assert places(name) == []


def test_orphans_that_go_to_somebody_above_the_caller_are_killed_too(unique: Unique) -> None:
    """As in a container or below a runner of jobs."""
    name = unique("pids")
    above = SUBREAPER.partition("code =")[0] + "import subprocess; subprocess.run([sys.executable, *sys.argv[3:]])"
    inner = SUBREAPER.replace("ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)", "")
    daemon = int(script(above, name, DAEMON, "-c", inner, name, DAEMON))
    assert not runs(daemon)
    assert places(name) == []


INTERRUPTED = """
import os, random, signal, sys
from pycgroup import Cgroup

class Interrupted(Exception):
    pass

def interrupt(number, frame):
    raise Interrupted

OPTIONS = {}, {"start_new_session": True}
with Cgroup(sys.argv[1], pids=50) as group:
    group.run(["true"])  # all is imported now: Python ignores what a handler raises in some steps of an import
signal.signal(signal.SIGALRM, interrupt)
count = 0
for _ in range(100):
    try:
        with Cgroup(sys.argv[1], pids=50) as group:
            try:
                # Again, as one that comes right before C waits is noticed only with the next.
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.002), 5)
                group.run(["sleep", "85"], **random.choice(OPTIONS))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        count += 1
with Cgroup(sys.argv[1], pids=50) as group:
    for options in OPTIONS:
        group.run(["true"], **options)  # which buries those before
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(count)  # none is left, not even as a zombie
"""


def test_what_a_signal_handler_interrupts_leaves_no_program(unique: Unique) -> None:
    """The handler runs as soon as C has started the child, before Python knows of it."""
    name = unique("pids")
    with processes_of(["sleep", "85"]) as running:
        assert int(script(INTERRUPTED, name)) > 0
        assert running() == []


def test_a_start_that_is_interrupted_when_it_is_noted() -> None:
    with Cgroup(pids=9) as group, processes_of(["sleep", "87"]) as running:
        before = len(os.listdir("/proc/self/fd"))
        with interrupted("started", interrupt), pytest.raises(InterruptedError):
            group.popen(["sleep", "87"], stdout=PIPE)
        assert running() == []
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # not even a zombie
        assert len(os.listdir("/proc/self/fd")) == before
        assert group.run(["true"]).returncode == 0


@pytest.mark.parametrize("function", ["Ending.started", "Counters.__init__", "Child.finish", "wait_and_read"])
def test_a_run_that_is_interrupted_right_behind_its_start(function: str) -> None:
    seen: list[int] = []
    with Cgroup(pids=9) as group:

        def handler() -> None:
            seen.extend(group.processes())
            interrupt()

        before = len(os.listdir("/proc/self/fd"))
        with interrupted(function, handler), pytest.raises(InterruptedError):
            group.run(["sleep", "1000"])
        assert len(os.listdir("/proc/self/fd")) == before
    with Cgroup(pids=9) as group:
        group.run(["true"])
    with pytest.raises(ChildProcessError):
        os.waitpid(seen[0], os.WNOHANG)  # not even a zombie


@needs("chosen-pids")
def test_a_run_that_is_interrupted_right_behind_its_end_kills_no_other(tmp_path: Path) -> None:
    """C has waited for the child, and its number is another's by now."""
    others: list[subprocess.Popen[bytes]] = []

    def handler() -> None:
        pid = int((tmp_path / "pid").read_text())
        while not (others and others[-1].pid == pid):  # somebody else may have been faster
            choose_pid(pid)
            others.append(subprocess.Popen(["sleep", "1000"]))
        interrupt()

    try:
        with Cgroup(pids=9) as group:
            before = len(os.listdir("/proc/self/fd"))
            with interrupted("Counts.__init__", handler), pytest.raises(InterruptedError):
                group.run(["sh", "-c", f"echo $$ > {tmp_path}/pid"])
            assert len(os.listdir("/proc/self/fd")) == before
            assert group.run(["false"]).returncode == 1
        assert [other.poll() for other in others] == [None] * len(others)
    finally:
        for other in others:
            other.kill()
            other.wait()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


IN_THE_CONSTRUCTOR = """
from pycgroup import Cgroup, spawn
from tests.support.interrupts import interrupt, interrupted
with Cgroup(pids=9) as group:
    group.run(["true"])
    for kind, options in ((spawn.Child, {}), (spawn.Popen, {"cwd": "/"})):
        try:
            with interrupted(f"{kind.__name__}.__init__", interrupt):
                group.run(["true"], **options)
        except InterruptedError:
            print("interrupted")
"""


def test_an_interrupt_at_the_very_beginning_is_all_that_is_heard_of() -> None:
    assert script(IN_THE_CONSTRUCTOR).split() == ["interrupted"] * 2


@contextmanager
def on_alarm(handler: Callable[..., object]) -> Iterator[None]:
    """Have a handler of SIGALRM."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("function", ["bide", "bury"])
def test_a_second_interrupt_kills_at_once(function: str, unique: Unique) -> None:
    group = Cgroup(unique("pids"), pids=9).create()
    seen: list[int] = []
    with ExitStack() as stack:

        def handler(*_: object) -> None:
            seen.extend(group.processes())
            stack.enter_context(interrupted(function, interrupt))
            raise KeyboardInterrupt

        stack.enter_context(on_alarm(handler))
        with pytest.raises(InterruptedError):
            group.run(["sh", "-c", "kill -s ALRM $PPID; exec sleep 1000"])
    with suppress(ChildProcessError):  # it may have been waited for
        assert os.waitpid(seen[0], 0)[1] == signal.SIGKILL
    group.delete()
    assert places(group.name) == []


CLEANS_UP = "trap 'sleep 0.05; echo clean > {file}; exit' TERM; kill -s ALRM $PPID; while :; do sleep 0.01; done"


def test_who_is_interrupted_with_this_process_has_a_moment_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "_MOMENT", PATIENCE)  # on a loaded machine it is too short
    with Cgroup(pids=9) as group:

        def handler(*_: object) -> None:
            for pid in group.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)  # a job in the background ignores SIGINT
            raise KeyboardInterrupt

        with on_alarm(handler), pytest.raises(KeyboardInterrupt):
            group.run(["sh", "-c", CLEANS_UP.format(file=tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "clean\n"


def test_an_interrupt_where_nobody_has_to_wait() -> None:
    def child() -> str:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with Cgroup(pids=9) as group:
            try:
                with interrupted("wait_and_read", interrupt):
                    group.run(["sleep", "1000"])
            except OSError as error:
                return type(error).__name__
        raise AssertionError

    assert forked(child) == "InterruptedError"


STOPS = "import ctypes, os; ctypes.CDLL(None).ptrace(0, 0, 0, 0); os.kill(os.getpid(), 10)"


def test_a_traced_program_that_stops_is_told_as_subprocess_tells_it() -> None:
    with Cgroup(pids=9) as group:
        assert group.run([sys.executable, "-c", STOPS]).returncode == -signal.SIGUSR1
    os.waitpid(-1, 0)


def test_a_child_of_which_python_does_not_know_is_another_owner() -> None:
    """Whoever forks in C need not tell Python of it."""
    before = owners.owner()
    reader, writer = os.pipe()
    if not (pid := ctypes.CDLL(None).fork()):
        os.write(writer, owners.owner().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    os.close(writer)
    assert told.split("-")[1] == str(pid)
    assert owners.owner() == before


def test_a_limit_that_is_staged_is_not_told() -> None:
    name = f"{machine.PREFIX}staged"
    group = Cgroup(name, memory="32M", swap=0)
    group.memory.limit_in_bytes = "500M"
    with group, pytest.raises(MemoryLimitExceeded) as caught:
        group.run([sys.executable, "-S", "-c", "block = bytearray(96 << 20)"], check=True)
    assert caught.value.limit == 32 << 20


def test_one_descriptor_is_enough_to_know_what_became_of_a_run() -> None:
    with Cgroup(memory="32M", swap=0) as group:
        group.run(["true"], check=True)
        with all_taken_but(1), pytest.raises(MemoryLimitExceeded):
            group.run([sys.executable, "-S", "-c", "block = bytearray(96 << 20)"], check=True)


def test_what_was_counted_is_read_without_the_compiled_part_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def child() -> int | None:
        monkeypatch.setattr(_native, "_module", None)
        monkeypatch.setitem(sys.modules, "pycgroup._libcgroup", None)
        with Cgroup(memory="64M") as group:
            return group.run(["true"], preexec_fn=str).memory_peak

    assert 0 < (forked(child) or 0) < 64 << 20


def test_an_interrupt_while_a_refused_entry_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    group, rmdir = Cgroup(memory="64M", pids=2**22 + 1), os.rmdir

    def once(_path: str) -> None:
        monkeypatch.setattr(os, "rmdir", rmdir)
        raise InterruptedError

    monkeypatch.setattr(os, "rmdir", once)
    with pytest.raises(InterruptedError), group:
        raise AssertionError
    assert places(group.name) == []


def test_a_program_with_preexec_fn_ends_with_the_block() -> None:
    with Cgroup(pids=9) as group:
        process = group.popen(["sleep", "1000"], preexec_fn=str)
    assert process.poll() == -signal.SIGKILL


IMPORTS_NO_MORE = """
import subprocess, sys
from pycgroup import Cgroup
with Cgroup(memory="64M") as group:
    group.run(["true"])
    sys.meta_path.clear()
    for options in ({}, {"preexec_fn": str}, {"stdout": subprocess.PIPE}, {"cwd": "/", "env": {}}):
        print(group.run(["/bin/true"], **options).returncode)
"""


def test_only_the_first_start_imports() -> None:
    """A program may have given up what it could read."""
    assert script(IMPORTS_NO_MORE).split() == ["0"] * 4


STARTS_WHILE_IT_ENDS = """
import sys, threading
from pycgroup import Cgroup, CgroupError
for _ in range(20):
    with Cgroup(sys.argv[1], pids=500) as group:
        def go_on():
            try:
                while True:
                    group.popen(["sleep", "86"])
                    begun.release()
            except CgroupError as error:
                said.append(error)
        begun, said = threading.Semaphore(0), []
        threads = [threading.Thread(target=go_on) for _ in range(3)]
        for thread in threads:
            thread.start()
            begun.acquire()
    for thread in threads:
        thread.join()
    assert len(said) == 3, said
"""


def test_threads_start_nothing_that_outlives_the_block(unique: Unique) -> None:
    name = unique("pids")
    with processes_of(["sleep", "86"]) as running:
        script(STARTS_WHILE_IT_ENDS, name)
        assert running() == []
    assert places(name) == []


@contextmanager
def processes_of(args: list[str]) -> Iterator[Callable[[], list[int]]]:
    """Give what lists the processes with these arguments; none is there before, and those left are killed."""

    def running() -> list[int]:
        found = subprocess.run(["pgrep", "-xf", " ".join(args)], stdout=PIPE, text=True, check=False)
        return [int(pid) for pid in found.stdout.split() if runs(int(pid))]

    assert running() == []
    try:
        yield running
    finally:
        for pid in running():
            os.kill(pid, signal.SIGKILL)


# What stays, and what is reaped.


CREATE = """
import sys
from pycgroup import Cgroup
Cgroup(sys.argv[1], pids=5).create()
"""


def reap_by_command() -> None:
    subprocess.run([sys.executable, "-m", "pycgroup", "reap"], check=True, timeout=PATIENCE, stdout=DEVNULL)


@pytest.mark.parametrize("reaping", [reap, reap_by_command])
def test_what_create_has_made_outlives_its_maker_and_may_be_entered(
    unique: Unique, reaping: Callable[[], object]
) -> None:
    name = unique("memory", "pids")
    script(CREATE, name)
    reaping()
    assert oracle.read("pids", name, "pids.max") == "5"
    with Cgroup(name, pids=6):
        assert oracle.read("pids", name, "pids.max") == "6"
    assert oracle.exists("pids", name)
    Cgroup(name).delete()
    assert places(name) == []


ENTER_AND_DIE = """
import os, signal, sys
from subprocess import DEVNULL
from pycgroup import Cgroup
name, count = sys.argv[1], int(sys.argv[2])
groups = [Cgroup(f"{name}-{number}", pids=50).__enter__() for number in range(count)]
for group in groups:
    group.popen(["sleep", "1000"], stdout=DEVNULL)
    print(*group.paths, sep="\\n", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def abandoned(name: str, count: int) -> list[str]:
    """Have a process die that has entered groups NAME-0, NAME-1 ...; return their directories."""
    command = [sys.executable, "-c", ENTER_AND_DIE, name, str(count)]
    done = subprocess.run(command, stdout=PIPE, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == -9
    return done.stdout.splitlines()


def test_who_enters_what_a_dead_owner_has_left_is_its_owner(unique: Unique) -> None:
    name = f"{unique('pids')}-0"
    paths = set(abandoned(name.removesuffix("-0"), 1))
    (left,) = oracle.pids("pids", name)
    pidfd = os.pidfd_open(left)
    try:
        with Cgroup(name, pids=50) as group:
            assert not paths & set(reap())
            assert group.run(["true"]).returncode == 0
        assert not any(map(os.path.exists, paths))
        assert runs(left), "it is nothing that the new owner has started"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


REAPERS = 4
ORPHANS = 20


def test_threads_may_reap_at_once(unique: Unique) -> None:
    paths = abandoned(unique("pids"), ORPHANS)
    barrier = threading.Barrier(REAPERS)

    def act(_: int) -> list[str]:
        barrier.wait()
        return reap()

    with ThreadPoolExecutor(REAPERS) as threads:
        removed = [path for found in threads.map(act, range(REAPERS)) for path in found]
    assert set(paths) <= set(removed)
    assert not any(map(os.path.exists, paths))


def test_processes_may_reap_at_once(unique: Unique) -> None:
    paths = abandoned(unique("pids"), ORPHANS)
    command = [sys.executable, "-m", "pycgroup", "reap"]
    reapers = [subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) for _ in range(REAPERS)]
    said = [reaper.communicate(timeout=PATIENCE) for reaper in reapers]
    assert [(reaper.returncode, errors) for reaper, (_, errors) in zip(reapers, said, strict=True)] == [(0, "")] * 4
    lines = {line for output, _ in said for line in output.splitlines()}
    assert {f"removed {path}" for path in paths} <= lines
    assert not any(map(os.path.exists, paths))


# Where this process is, and whom it moves.


@pytest.mark.parametrize("order", [("memory",), ("pids",), ("memory", "pids"), ("pids", "memory")])
def test_current_is_where_the_kernel_says_in_each_hierarchy(unique: Unique, order: tuple[str, ...]) -> None:
    names = {controller: unique(controller) for controller in order}
    for controller, name in names.items():
        oracle.make(controller, name)

    def look() -> tuple[dict[str, str], dict[str, str]]:
        for controller, name in names.items():
            VIEWS[controller](name).attach()
        current = Cgroup.current()
        assert os.getpid() in current.processes()
        seen = {controller: current.view(view).path for controller, view in VIEWS.items()}
        return seen, {controller: oracle.directory(controller, oracle.group_of(controller)) for controller in VIEWS}

    seen, true = forked(look)
    assert seen == true
    assert true[order[-1]] == oracle.directory(order[-1], names[order[-1]])


def test_a_group_that_is_moved_into_itself_stays_as_it_is(unique: Unique) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, pids=50) as group:
        process = group.popen(["sleep", "1000"])
        for same in (group, group.pids, Cgroup(name), Cgroup.of(process.pid).view(Cgroup.PIDS)):
            group.move(tasks_from=same)
        assert oracle.pids("pids", name) == oracle.pids("memory", name) == {process.pid}
    assert process.wait(timeout=60) == -9


def test_this_process_is_moved_from_one_group_to_another_and_comes_back(unique: Unique) -> None:
    names = [unique("pids"), unique("pids")]

    def moved() -> list[str]:
        with Cgroup(names[0], pids=50) as one:
            with Cgroup(names[1], pids=50) as two:
                one.attach()
                two.move(tasks_from=one)
                two.attach()  # it is there already
                within = oracle.group_of("pids")
            after = oracle.group_of("pids")
        return [within, after, oracle.group_of("pids")]

    assert forked(moved) == [names[1], names[0], oracle.group_of("pids")]
    assert places(names[0]) == places(names[1]) == []


def test_this_process_in_a_group_of_somebody_else(unique: Unique) -> None:
    name = unique("pids")
    oracle.make("pids", name)

    def there_and_back() -> list[str]:
        group = Cgroup(name)
        with group:
            group.attach()
            group.attach()
            within = oracle.group_of("pids")
        after = oracle.group_of("pids")
        group.attach()
        group.detach()
        return [within, after, oracle.group_of("pids")]

    home = oracle.group_of("pids")
    assert forked(there_and_back) == [name, home, home]
    assert oracle.exists("pids", name)
    Cgroup(name).delete()


@needs("pids", version=1)
@needs("cpu", version=1)
def test_what_cannot_be_moved_everywhere_is_moved_nowhere(unique: Unique) -> None:
    names = [unique("memory", "pids"), unique("memory", "pids", "cpu", "cpuacct")]
    with Cgroup(names[0], pids=50) as narrow, Cgroup(names[1], pids=50, cpus=0.5) as wide:
        process = wide.popen(["sleep", "1000"])
        for source in (wide, wide.cpu):
            with pytest.raises(UnavailableError, match="not in that hierarchy"):
                narrow.move(tasks_from=source)
        assert oracle.pids("pids", names[0]) == set()
        assert oracle.pids("pids", names[1]) == oracle.pids("cpu", names[1]) == {process.pid}
    assert process.wait(timeout=60) == -9


def test_move_out_of_a_group_that_does_not_exist(unique: Unique) -> None:
    with Cgroup(unique("pids"), pids=50) as group, pytest.raises(GroupNotFoundError):
        group.move(tasks_from=Cgroup(unique("pids")))


# delete() is of all or of nothing.

both_on_v1 = [needs("memory", version=1), needs("pids", version=1)]


@pytest.mark.parametrize("inside", [pytest.param(each, marks=both_on_v1) for each in ("memory", "pids")])
def test_a_process_in_one_hierarchy_keeps_the_group_in_all(unique: Unique, inside: str) -> None:
    name = unique("memory", "pids")
    group = Cgroup(name, memory="64M", pids=50).create()
    before = places(name)
    with idle(oracle.directory(inside, name)) as stranger:
        with pytest.raises(GroupBusyError, match=str(stranger.pid)):
            group.delete("refuse")
        assert places(name) == before
        assert oracle.pids(inside, name) == {stranger.pid}
    group.delete("refuse")
    assert places(name) == []


@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
@pytest.mark.parametrize("controller", [pytest.param(each, marks=both_on_v1) for each in ("memory", "pids")])
def test_a_group_below_in_one_hierarchy_keeps_the_group_in_all(unique: Unique, controller: str, tasks: str) -> None:
    name = unique("memory", "pids")
    group = Cgroup(name, memory="64M", pids=50).create()
    before = places(name)
    oracle.make(controller, f"{name}/below")
    process = group.popen(["sleep", "1000"])
    with pytest.raises(GroupBusyError, match="below"):
        group.delete(tasks)  # type: ignore[arg-type]  # each of the three
    assert places(name) == before
    assert oracle.pids("memory", name) == oracle.pids("pids", name) == {process.pid}
    group.delete("kill", recursive=True)
    assert process.wait(timeout=60) == -9
    assert places(name) == []


# run(): whom a timeout kills, and what the result counts.


def test_a_timeout_kills_what_was_started_and_spares_strangers(unique: Unique) -> None:
    name = unique("memory", "pids")
    with ExitStack() as stack:
        with Cgroup(name, memory="64M", pids=50) as group:
            stranger = stack.enter_context(idle())
            bring(stranger.pid, group.paths)
            with pytest.raises(subprocess.TimeoutExpired):
                group.run(["sh", "-c", "(setsid sleep 1000 &); sleep 1000"], timeout=0.5)
            assert oracle.pids("pids", name) == {stranger.pid}
        assert stranger.poll() is None


_freezer = machine.hierarchy_of("freezer")
_on_v1 = _freezer is not None and _freezer.version == 1
STATE, FROZEN, THAWED = ("freezer.state", "FROZEN", "THAWED") if _on_v1 else ("cgroup.freeze", "1", "0")


@needs("freezer")
def test_a_timeout_ends_what_is_frozen(unique: Unique) -> None:
    name = unique("freezer")
    directory = oracle.make("freezer", name)

    def time_out() -> None:
        with pytest.raises(subprocess.TimeoutExpired):
            Cgroup(name).run(["sh", "-c", f"echo {FROZEN} > {directory}/{STATE}; sleep 1000"], timeout=1)

    try:
        forked(time_out)
        assert oracle.pids("freezer", name) == set()
    finally:
        oracle.write("freezer", name, STATE, THAWED)


@pytest.mark.parametrize("fresh", [False, True])
def test_an_oom_kill_before_the_run_is_not_the_run_s(unique: Unique, fresh: bool) -> None:
    name = unique("memory")
    with ExitStack() as stack:
        maker = stack.enter_context(Cgroup(name, memory="16M", swap=0))
        with hogs() as hog:
            hog.be_killed(oracle.directory("memory", name))
        group = maker if fresh else stack.enter_context(Cgroup(name, memory="16M", swap=0))
        assert group.run(["true"]).oom_killed is False
        assert group.run(["true"]).oom_killed is False


EAT_BELOW = """
import os, sys
below = sys.argv[1] + "/below"
os.makedirs(below, exist_ok=True)
with open(below + "/cgroup.procs", "w") as file:
    file.write("0")
block = bytearray(96 << 20)
"""


@needs("memory", version=1)
def test_an_oom_kill_in_a_group_that_the_program_has_made_below(unique: Unique) -> None:
    name = unique("memory")
    eat = [sys.executable, "-S", "-c", EAT_BELOW, oracle.directory("memory", name)]
    with Cgroup(name, memory="32M", swap=0) as group:
        outcomes = [(done.returncode, done.oom_killed) for done in map(group.run, (eat, ["true"], eat, ["true"]))]
        assert "oom_kill 2" in oracle.read("memory", f"{name}/below", "memory.oom_control")
    assert outcomes == [(-9, True), (0, False), (-9, True), (0, False)]
    assert places(name) == []


@needs("cpu")
@needs("cpuacct")
def test_cpu_times_are_never_negative_and_each_of_its_run(unique: Unique) -> None:
    name = unique("memory", "cpu", "cpuacct")
    with Cgroup(name, cpus=2) as group:
        times = [group.run(["true"]).cpu_time for _ in range(30)]
        usage = seconds_used(name)
    known = [time for time in times if time is not None]
    assert len(known) == len(times)
    assert all(min(time) >= 0 for time in known)
    assert 0 < sum(time.total for time in known) <= usage + 1e-6


def seconds_used(name: str) -> float:
    """Return the CPU time that a group has used, by its files."""
    try:
        return int(oracle.read("cpuacct", name, "cpuacct.usage")) / 1e9
    except FileNotFoundError:
        return int(dict(map(str.split, oracle.read("cpu", name, "cpu.stat").splitlines()))["usage_usec"]) / 1e6


# Forks.


def leave(group: Cgroup) -> None:
    group.__exit__(None, None, None)


def enter_and_leave(group: Cgroup) -> None:
    with group:
        pass


def reap_all(_: Cgroup) -> None:
    reap()


@pytest.mark.parametrize("act", [leave, enter_and_leave, reap_all])
def test_a_forked_child_leaves_alone_what_is_its_parent_s(unique: Unique, act: Callable[[Cgroup], None]) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, memory="64M", pids=50) as group:
        process = group.popen(["sleep", "1000"])
        before = places(name)
        forked(lambda: act(group))
        assert places(name) == before
        assert process.poll() is None
        assert oracle.pids("pids", name) == {process.pid}
    assert process.wait(timeout=60) == -9
    assert places(name) == []


FORK_BESIDE_A_POOL = """
import os, sys
from multiprocessing import resource_tracker
from pycgroup import CgroupProcessPoolExecutor
method, ending = sys.argv[1:]
pool = CgroupProcessPoolExecutor(1, pids=50, start_method=method)
worker = pool.submit(os.getpid).result()
pid = os.fork()
if pid == 0:
    if ending == "shutdown":
        pool.shutdown()
    # Python 3.13.5 itself would wait here for this process of the parent's, and say on stderr that it cannot.
    resource_tracker._resource_tracker._pid = None
    sys.exit()
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(status, pool.submit(os.getpid).result() == worker)
pool.shutdown()
"""


@METHODS
@pytest.mark.parametrize("ending", ["shutdown", "exit"])
def test_the_end_of_a_forked_child_leaves_the_pool_alone(method: str, ending: str) -> None:
    before = made_by_cgroup()
    assert script(FORK_BESIDE_A_POOL, method, ending, forks=True) == "0 True\n"
    assert made_by_cgroup() <= before


# Functions, and pools of them.


PRINTING = """
import sys
from pycgroup import Cgroup, CgroupProcessPoolExecutor
print("buffered before")
with Cgroup(pids=50) as group, CgroupProcessPoolExecutor(1, pids=50, start_method=sys.argv[1]) as pool:
    answers = [group.call(print, "called"), group.call(exec, "import os; os.write(1, b'written\\\\n')")]
    answers += [pool.submit(print, "pooled").result(), pool.submit(divmod, 7, 2).result()]
print(answers)
"""


@METHODS
def test_what_functions_print_comes_once_and_beside_their_answers(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    said = Counter(script(PRINTING, method).splitlines())
    assert said == Counter(["buffered before", "called", "written", "pooled", "[None, None, None, (3, 1)]"])


KILL_IDLE = """
import os, signal, sys
from multiprocessing.connection import wait
from pycgroup import CgroupProcessPoolExecutor
with CgroupProcessPoolExecutor(1, pids=50, start_method=sys.argv[1]) as pool:
    before = pool.submit(os.getpid).result()
    (place,) = pool._places
    (directory, *_) = place._group.paths
    os.kill(before, signal.SIGKILL)
    wait([place.worker._process.sentinel])
    after = pool.submit(os.getpid).result()
    print(before != after, os.path.exists(directory), len(pool._places))
"""


@METHODS
def test_an_idle_worker_that_was_killed_is_replaced(method: str) -> None:
    assert script(KILL_IDLE, method) == "True False 1\n"


SHUT_DOWN_AGAIN = """
import os, sys
from pycgroup import CgroupProcessPoolExecutor
pool = CgroupProcessPoolExecutor(2, pids=50)
print(*[future.result() for future in [pool.submit(os.getpid) for _ in range(4)]])
pool.shutdown(wait=sys.argv[1] == "wait")
pool.shutdown()
pool.shutdown()
for use in (lambda: pool.submit(os.getpid), lambda: pool.map(abs, [1]), lambda: pool.__enter__().submit(os.getpid)):
    try:
        use()
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize("first", ["wait", "go on"])
def test_a_pool_may_be_shut_down_again_and_takes_nothing_more(first: str) -> None:
    before = made_by_cgroup()
    try:
        workers, *refusals = script(SHUT_DOWN_AGAIN, first).splitlines()
        assert refusals == ["cannot schedule new futures after shutdown"] * 3
        assert not any(map(runs, map(int, workers.split())))
        assert made_by_cgroup() <= before
    finally:
        reap()  # what a pool has left that fails


UNGUARDED = {
    "call": "with Cgroup(pids=50) as group: group.call(os.getpid)",
    "limited": "@limited(pids=50)\ndef function(): pass\nfunction()",
    "spawn": "with CgroupProcessPoolExecutor(1, pids=50) as pool: pool.submit(os.getpid).result()",
    "forkserver": (
        "with CgroupProcessPoolExecutor(1, pids=50, start_method='forkserver') as pool: pool.submit(os.getpid).result()"
    ),
}


@pytest.mark.parametrize("statement", UNGUARDED.values(), ids=UNGUARDED)
def test_a_script_without_a_guard_is_told_that_it_lacks_it(tmp_path: Path, statement: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import os\nfrom pycgroup import *\nfrom pycgroup import limited\n{statement}\n")
    before = made_by_cgroup()
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pycgroup.errors.WorkerDiedError: ")
    assert made_by_cgroup() <= before


# Starting where it is hard.


EXHAUSTED = """
import os, resource, subprocess, sys
from errno import EMFILE
from pycgroup import Cgroup

name = sys.argv[1]

def scarce(spare, act):
    "Return whether something can be done with so few descriptors."
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    for _ in range(spare):
        os.close(held.pop())
    try:
        act()
    except Exception as error:
        assert error.errno == EMFILE, error
        return False
    else:
        return True
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

def left():
    try:
        child = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        child = None
    inside = [line for path in group.paths for line in open(f"{path}/cgroup.procs").read().split()]
    return sorted(os.listdir("/proc/self/fd")), child, inside

def whole():
    with Cgroup(f"{name}/below", memory="32M", pids=20) as below:
        below.run(["true"])

with Cgroup(name, memory="64M", pids=50) as group:
    acts = {
        "popen": lambda: group.popen(["true"]).wait(),
        # One pipe: of two Python before 3.11.4 leaves the first one open where the second cannot be made.
        "run": lambda: group.run(["true"], stdout=subprocess.PIPE),
        "call": lambda: group.call(abs, -1),
        "whole": whole,
    }
    chosen = acts[sys.argv[2]]
    chosen()
    before = left()
    able = []
    for spare in range(16):
        able.append(scarce(spare, chosen))
        assert left() == before, (spare, before, left())
        assert not any(os.path.exists(f"{path}/below") for path in group.paths), spare
print(able[0], able[-1], able == sorted(able))
"""


@pytest.mark.parametrize("act", ["popen", "run", "call", "whole"])
def test_without_descriptors_nothing_is_left_behind(unique: Unique, act: str) -> None:
    name = unique("memory", "pids")
    assert script(EXHAUSTED, name, act) == "False True True\n"
    assert places(name) == []


PATH_ENTRIES = ["missing", "file", "directory", "plain"]


@pytest.fixture
def search(tmp_path: Path) -> str:
    """Return a PATH on which a program is a directory, may not be executed, and is executable in 'last' alone."""
    (tmp_path / "file").touch()
    for name in ("plain", "last"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pycgroup-tool").write_text(f"#!/bin/sh\necho {name}\n")
    (tmp_path / "last" / "pycgroup-tool").chmod(0o755)
    (tmp_path / "directory" / "pycgroup-tool").mkdir(parents=True)
    return ":".join(str(tmp_path / entry) for entry in PATH_ENTRIES)


@pytest.mark.parametrize("given", [True, False])
def test_the_search_goes_on_past_what_cannot_be_executed(
    search: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{search}:{os.path.dirname(search.rpartition(':')[2])}/last"
    if not given:
        monkeypatch.setenv("PATH", path)
    with Cgroup(pids=50) as group:
        done = group.run(["pycgroup-tool"], stdout=PIPE, text=True, env={"PATH": path} if given else None)
    assert (done.returncode, done.stdout) == (0, "last\n")


@pytest.mark.parametrize("count", range(1, len(PATH_ENTRIES) + 1))
def test_a_search_in_vain_fails_as_subprocess_does(search: str, count: int) -> None:
    env = {"PATH": ":".join(search.split(":")[:count])}
    with pytest.raises(OSError, match="pycgroup-tool") as wanted:
        subprocess.run(["pycgroup-tool"], env=env, check=False)
    with Cgroup(pids=50) as group, pytest.raises(OSError, match="pycgroup-tool") as caught:
        group.run(["pycgroup-tool"], env=env)
    assert type(caught.value) is type(wanted.value)
    assert (caught.value.errno, caught.value.filename) == (wanted.value.errno, wanted.value.filename)
