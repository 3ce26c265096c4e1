# SPDX-License-Identifier: MIT
"""Functions in groups: call(), @limited and the executor that outlives the OOM killer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from pycgroup import (
    Cgroup,
    CgroupProcessPoolExecutor,
    GroupNotFoundError,
    InvalidValueError,
    MemoryLimitExceeded,
    WorkerDiedError,
    limited,
)
from pycgroup.functions import Worker
from tests.support import examples
from tests.support.capabilities import needs
from tests.support.whereabouts import made_by_cgroup, outside

pytestmark = [needs("memory"), needs("pids")]

MIB = 1 << 20
METHODS: tuple[Literal["spawn", "forkserver"], ...] = ("spawn", "forkserver")


def eat(mebibytes: int) -> int:
    return len(bytearray(mebibytes * MIB))


def where() -> str:
    return Path("/proc/self/cgroup").read_text()


def pid() -> int:
    return os.getpid()


def fail() -> None:
    raise LookupError("no such thing")


def die(status: int) -> None:
    os._exit(status)


def shoot() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def unpicklable_value() -> object:
    return threading.Lock()


class OddError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail_oddly() -> None:
    raise OddError("o", "dd")


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("it has no text")

    def __reduce__(self) -> str:
        raise pickle.PicklingError("nor can it be pickled")


def fail_silently() -> None:
    raise SilentError


def close_output() -> None:
    sys.stdout.close()


def fork_one_that_stays() -> int:
    child = os.fork()
    while not child:
        signal.pause()
    return child


def remember(path: str) -> None:
    Path(path).write_text("initialized")


@limited(memory="96M", swap=0, pids=30)
def limited_eat(mebibytes: int) -> int:
    """Eat."""
    return len(bytearray(mebibytes * MIB))


@limited(memory="96M", swap=0, start_method="forkserver")
def forked_eat(mebibytes: int) -> int:
    return len(bytearray(mebibytes * MIB))


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with Cgroup(memory="96M", swap=0, pids=50) as group:
        yield group


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One process for the tests that do not end it."""
    with Cgroup(memory="96M", swap=0, pids=50) as group, Worker(group) as worker:
        yield worker


def test_call_returns_the_value_from_inside(group: Cgroup) -> None:
    assert outside(group.call(where), group.paths) == []


def test_an_exception_comes_back_with_where_it_was_raised(worker: Worker) -> None:
    with pytest.raises(LookupError, match="no such thing") as caught:
        worker.call(fail, (), {})
    assert "test_spawn_functions.py" in caught.value.__notes__[0]
    assert worker.call(eat, (1,), {}) == MIB


def test_an_exception_that_cannot_be_made_again_is_described(worker: Worker) -> None:
    with pytest.raises(RuntimeError, match="OddError: odd"):
        worker.call(fail_oddly, (), {})


def test_an_exception_without_a_text_is_named(worker: Worker) -> None:
    with pytest.raises(RuntimeError, match="SilentError: its text cannot be had: ValueError"):
        worker.call(fail_silently, (), {})
    assert worker.call(eat, (1,), {}) == MIB


def test_a_function_may_close_the_output(group: Cgroup) -> None:
    assert group.call(close_output) is None


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_a_dead_worker_keeps_nobody_waiting(group: Cgroup, method: str) -> None:
    """Not with a question that is larger than what the kernel buffers, though the child has not ended."""
    with Worker(group, method) as worker:
        worker.call(fork_one_that_stays, (), {})
        os.kill(worker.call(pid, (), {}), signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            worker.call(len, (bytes(10 * MIB),), {})


def test_a_value_that_cannot_be_pickled(worker: Worker) -> None:
    with pytest.raises(TypeError, match="pickle"):
        worker.call(unpicklable_value, (), {})


def test_what_cannot_be_pickled_is_refused_here(worker: Worker) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        worker.call(lambda: 1, (), {})
    assert worker.call(eat, (), {"mebibytes": 1}) == MIB


def test_an_oom_kill_is_told(group: Cgroup) -> None:
    with pytest.raises(MemoryLimitExceeded) as caught:
        group.call(eat, 200)
    assert (caught.value.task, caught.value.limit) == ("eat", 96 * MIB)
    assert caught.value.peak == 96 * MIB


@pytest.mark.parametrize(("function", "args", "how"), [(die, (3,), "exit status 3"), (shoot, (), "SIGTERM")])
def test_another_end_is_told(group: Cgroup, function: object, args: tuple[int, ...], how: str) -> None:
    with pytest.raises(WorkerDiedError, match=how):
        group.call(function, *args)  # type: ignore[arg-type]


def test_a_start_method_that_does_not_exist(group: Cgroup) -> None:
    with pytest.raises(InvalidValueError, match="'spawn' or 'forkserver'"):
        Worker(group, "fork")


@pytest.mark.parametrize("method", METHODS)
def test_a_group_that_is_gone(method: str) -> None:
    with Cgroup(pids=5) as group:
        group.delete()
        with pytest.raises(GroupNotFoundError):
            Worker(group, method)


@pytest.mark.parametrize("function", [limited_eat, forked_eat])
def test_a_limited_function(function: object) -> None:
    assert function(2) == 2 * MIB  # type: ignore[operator]
    with pytest.raises(MemoryLimitExceeded) as caught:
        function(200)  # type: ignore[operator]
    assert caught.value.task in ("limited_eat", "forked_eat")


def test_a_limited_function_is_still_itself() -> None:
    assert (limited_eat.__name__, limited_eat.__doc__) == ("limited_eat", "Eat.")
    assert limited_eat.__wrapped__(1) == MIB  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_outlives_oom_kills(method: Literal["spawn", "forkserver"]) -> None:
    with CgroupProcessPoolExecutor(2, memory="96M", swap=0, start_method=method) as pool:
        futures = [pool.submit(eat, size) for size in (1, 200, 2, 200, 3)]
        outcomes = [future.exception() or future.result() for future in futures]
        places = {line for _ in range(4) for line in pool.submit(where).result().splitlines() if "memory" in line}
    assert outcomes[::2] == [MIB, 2 * MIB, 3 * MIB]
    assert [type(outcome) for outcome in outcomes[1::2]] == [MemoryLimitExceeded] * 2
    assert all("pycgroup-" in place for place in places)


WITH_THREADS = """
import os, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()  # as some libraries do when they are imported
from pycgroup import CgroupProcessPoolExecutor

def groups():
    return {open(f"/proc/self/task/{thread}/cgroup").read() for thread in os.listdir("/proc/self/task")}

if __name__ == "__main__":
    with CgroupProcessPoolExecutor(1, memory="256M", pids=50, start_method=sys.argv[1]) as pool:
        print(len(pool.submit(groups).result()), len(pool.submit(os.listdir, "/proc/self/task").result()))
"""


@pytest.mark.parametrize("method", METHODS)
def test_threads_of_the_main_module_are_inside_too(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITH_THREADS)
    command = [sys.executable, str(program), method]
    done = subprocess.run(command, env=examples.environment(), stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_each_worker_has_a_group_of_its_own_and_stays() -> None:
    barrier_free = CgroupProcessPoolExecutor(1, pids=50)
    with barrier_free as pool:
        assert len({pool.submit(pid).result() for _ in range(5)}) == 1
        before = pool.submit(pid).result()
        with pytest.raises(WorkerDiedError):
            pool.submit(die, 1).result()
        assert pool.submit(pid).result() != before


def test_an_exception_of_a_task_keeps_the_worker() -> None:
    with CgroupProcessPoolExecutor(1, pids=50) as pool:
        before = pool.submit(pid).result()
        with pytest.raises(LookupError):
            pool.submit(fail).result()
        assert pool.submit(pid).result() == before
        assert list(pool.map(eat, [0, 1])) == [0, MIB]


def test_the_initializer_runs_in_each_worker(tmp_path: Path) -> None:
    path = tmp_path / "called"
    with CgroupProcessPoolExecutor(1, pids=50, initializer=remember, initargs=(str(path),)) as pool:
        pool.submit(pid).result()
    assert path.read_text() == "initialized"


def test_an_initializer_that_fails_leaves_no_group() -> None:
    before = made_by_cgroup()
    with CgroupProcessPoolExecutor(1, pids=50, initializer=fail) as pool:
        with pytest.raises(LookupError):
            pool.submit(pid).result()
        assert made_by_cgroup() <= before


def test_a_limit_that_is_refused_fails_the_task() -> None:
    with CgroupProcessPoolExecutor(1, memory="64M", pids=2**40) as pool, pytest.raises(InvalidValueError):
        pool.submit(pid).result()


def test_after_shutdown_nothing_is_left_and_nothing_is_taken() -> None:
    before = made_by_cgroup()
    pool = CgroupProcessPoolExecutor(1, pids=50)
    worker = pool.submit(pid).result()
    pool.shutdown()
    assert made_by_cgroup() <= before
    assert not os.path.exists(f"/proc/{worker}")
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pid)


def test_shutdown_without_waiting_cancels_and_removes_in_the_end() -> None:
    others = set(threading.enumerate())
    pool = CgroupProcessPoolExecutor(1, pids=50)
    futures = [pool.submit(pid) for _ in range(5)]
    futures[0].result()
    pool.shutdown(wait=False, cancel_futures=True)
    for thread in set(threading.enumerate()) - others:
        thread.join()
    for future in futures[1:]:
        try:
            future.result()
        except CancelledError:
            continue


def test_a_pool_that_is_never_shut_down_leaves_nothing_behind(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom pycgroup import CgroupProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    pool = CgroupProcessPoolExecutor(1, pids=50)\n"
        "    print(pool.submit(open, '/proc/self/cgroup').exception() and pool.submit(os.getpid).result())\n"
    )
    before = made_by_cgroup()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) > 0
    assert made_by_cgroup() <= before


@pytest.fixture(scope="module", autouse=True)
def _no_server_afterwards() -> Iterator[None]:
    """End multiprocessing's server, that a later test does not take it for its own child."""
    yield
    from multiprocessing import forkserver, resource_tracker

    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_a_worker_that_cannot_be_started_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the group ends at once, though it was another thread that tried."""
    from multiprocessing.context import ForkServerProcess

    def refused(_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(ForkServerProcess, "start", refused)
    with Cgroup(pids=50) as group:
        with ThreadPoolExecutor(1) as thread, pytest.raises(BlockingIOError):
            thread.submit(Worker, group, "forkserver").result()
        assert not group._ending.is_under_way()
