# SPDX-License-Identifier: MIT
"""run(): subprocess.run, and what the kernel counted meanwhile."""

from __future__ import annotations

import gc
import pickle
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from pycgroup import Cgroup, MemoryLimitExceeded, spawn
from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.hogs import PATIENCE

pytestmark = [needs("memory"), needs("cpuacct")]

MIB = 1 << 20
EAT = [sys.executable, "-S", "-c", "block = bytearray(96 << 20)"]


def test_it_returns_a_completed_process() -> None:
    with Cgroup(memory="64M") as group:
        done = group.run(["sh", "-c", "cat; echo err >&2; exit 3"], input="in", capture_output=True, text=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.returncode, done.stdout, done.stderr) == (3, "in", "err\n")
    assert done.oom_killed is False
    assert 0 < done.wall_time < 60


def test_memory_peak() -> None:
    with Cgroup(memory="64M") as group:
        done = group.run([sys.executable, "-S", "-c", "block = bytearray(32 << 20)"])
    assert done.memory_peak is not None
    assert 32 * MIB <= done.memory_peak <= 64 * MIB


def test_an_oom_kill_is_told_from_another_sigkill() -> None:
    with Cgroup(memory="32M", swap=0) as group:
        killed = group.run(EAT)
        other = group.run(["sh", "-c", "kill -9 $$"])
    assert (killed.returncode, killed.oom_killed) == (-9, True)
    assert (other.returncode, other.oom_killed) == (-9, False)
    assert killed.memory_peak == 32 * MIB


def test_an_oom_kill_of_a_grandchild_shows() -> None:
    with Cgroup(memory="32M", swap=0) as group:
        done = group.run(["sh", "-c", '"$@" || exit 5', "sh", *EAT], stderr=subprocess.DEVNULL)
    assert (done.returncode, done.oom_killed) == (5, True)


def test_check_raises_for_an_oom_kill(unique: Callable[..., str]) -> None:
    with Cgroup(unique("memory"), memory="32M", swap=0) as group, pytest.raises(MemoryLimitExceeded) as caught:
        group.run(EAT, check=True)
    error = caught.value
    assert (error.limit, error.peak) == (32 * MIB, 32 * MIB)
    assert error.victim is not None
    assert "python" in error.victim
    assert error.result.returncode == -9
    assert isinstance(error, MemoryError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.limit, again.victim, again.result.oom_killed) == (error.limit, error.victim, True)


@needs("kernel-log")
def test_a_victim_below_the_program_is_named() -> None:
    def exceeded() -> MemoryLimitExceeded:
        with Cgroup(memory="32M", swap=0) as group, pytest.raises(MemoryLimitExceeded) as caught:
            group.run(["sh", "-c", '"$@" || exit 5', "sh", *EAT], stderr=subprocess.DEVNULL, check=True)
        return caught.value

    deadline, error = time.monotonic() + PATIENCE, exceeded()
    while error.victim is None:  # the kernel logs ten victims in five seconds, and earlier tests may have had theirs
        assert time.monotonic() < deadline
        error = exceeded()
    assert error.result.returncode == 5
    assert re.fullmatch(r"\d+ \(python.*\)", error.victim)
    assert error.victim in str(error)


def test_check_raises_for_another_failure() -> None:
    with Cgroup(memory="32M", swap=0) as group, pytest.raises(subprocess.CalledProcessError) as caught:
        group.run(["sh", "-c", "echo out; exit 7"], stdout=subprocess.PIPE, check=True)
    assert (caught.value.returncode, caught.value.output) == (7, b"out\n")


SPIN = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.mark.parametrize("limits", [{}, pytest.param({"cpus": 2}, marks=needs("cpu"))])
def test_cpu_time_is_of_this_run(limits: dict[str, Any]) -> None:
    """Be it counted by the group or, as on v1 without limits of the CPU, by wait4()."""
    with Cgroup(memory="64M", **limits) as group:
        group.run([sys.executable, "-S", "-c", SPIN])
        before = _children_s_time()
        done = group.run(["true"])
        alone = _children_s_time() - before
        spun = group.run([sys.executable, "-S", "-c", SPIN])
    assert done.cpu_time is not None
    assert spun.cpu_time is not None
    assert done.cpu_time.total == pytest.approx(alone, abs=0.05)  # and the first took four times that
    assert 0.2 <= spun.cpu_time.total < 5
    assert spun.cpu_time.user + spun.cpu_time.system == pytest.approx(spun.cpu_time.total)


def _children_s_time() -> float:
    """Return seconds of CPU time of the children that were waited for, as the kernel counts it without groups."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@needs("cpu")
def test_throttled_time() -> None:
    with Cgroup(cpus=0.2) as group:
        done = group.run([sys.executable, "-S", "-c", SPIN])
    assert done.throttled_time is not None
    assert done.throttled_time > 0.1


@needs("pids")
@needs("pids.peak")
def test_pids_peak() -> None:
    with Cgroup(pids=20) as group:
        done = group.run(["sh", "-c", "sleep 0 & sleep 0 & sleep 0 & wait"])
    assert done.pids_peak is not None
    assert 2 <= done.pids_peak <= 4


def test_what_is_not_counted_is_none(unique: Callable[..., str]) -> None:
    name = unique("cpuacct")
    oracle.make("cpuacct", name)
    done = Cgroup(name).run(["true"])
    assert done.cpu_time is not None
    counted = {"memory_peak": "memory", "oom_killed": "memory", "pids_peak": "pids", "throttled_time": "cpu"}
    missing = [figure for figure, controller in counted.items() if not oracle.exists(controller, name)]
    assert [figure for figure in missing if getattr(done, figure) is not None or figure in repr(done)] == []


def test_repr_shows_the_figures() -> None:
    with Cgroup(memory="64M") as group:
        done = group.run(["true"])
    assert repr(done).startswith("Result(args=['true'], returncode=0, oom_killed=False, memory_peak=")


def test_a_result_can_be_pickled() -> None:
    with Cgroup(memory="64M") as group:
        done = group.run(["true"])
    again = pickle.loads(pickle.dumps(done))
    assert repr(again) == repr(done)
    assert again.cpu_time == done.cpu_time


def popens() -> int:
    """Return how many Popen objects there are."""
    gc.collect()
    return sum(type(each) is spawn.Popen for each in gc.get_objects())


def test_a_result_has_what_was_written_once() -> None:
    """A Popen object has it a second time."""
    before = popens()
    with Cgroup(memory="64M") as group:
        done = group.run(["echo", "text"], capture_output=True)
    assert done.cpu_time is not None
    assert done.stdout == b"text\n"
    assert popens() == before


def test_a_timeout_kills_the_whole_group(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, memory="64M", pids=50) as group:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            group.run(["sh", "-c", "(setsid sleep 1000 &); echo some; sleep 1000"], stdout=subprocess.PIPE, timeout=0.3)
        assert caught.value.output == b"some\n"
        assert oracle.pids("pids", name) == set()


@pytest.mark.parametrize(
    "options", [{"input": b"", "stdin": subprocess.PIPE}, {"capture_output": True, "stdout": subprocess.PIPE}]
)
def test_options_that_contradict_each_other(options: dict[str, Any]) -> None:
    with Cgroup(memory="64M") as group, pytest.raises(ValueError, match="may not"):
        group.run(["true"], **options)


def test_an_exception_while_waiting_kills_the_program() -> None:
    with Cgroup(memory="64M") as group:
        with pytest.raises(TypeError):
            group.run(["sleep", "1000"], input=5)
        assert group.processes() == []
