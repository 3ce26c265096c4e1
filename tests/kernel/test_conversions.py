# SPDX-License-Identifier: MIT
"""One script, two versions of cgroup: what a v1 setting does there, what it is converted to does on v2."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pycgroup import Cgroup
from tests.support import examples, processes
from tests.support.capabilities import needs
from tests.support.examples import counter
from tests.support.hogs import KILLED, MIB, Hogs

Unique = Callable[..., str]
BUSY = """
import os
os.sched_setaffinity(0, {{{cpu}}})
print("busy", flush=True)
while True:
    pass
"""


def cpu_time(pid: int) -> float:
    """Return the seconds of CPU time that a process has used, as /proc tells."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def busy(*directories: str) -> Iterator[list[int]]:
    """Run a busy loop inside each group, all of them on one CPU."""
    code = BUSY.format(cpu=max(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        running = [stack.enter_context(processes.python(code, directory)) for directory in directories]
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == "busy\n"
        yield [each.pid for each in running]


@needs("memory")
def test_a_limit_that_is_hit_counts_in_its_own_group(unique: Unique, hog: Hogs) -> None:
    with Cgroup.MEMORY(unique("memory")) as above, Cgroup.MEMORY(f"{above.group_name}/below") as below:
        below.limit_in_bytes = "4M"
        hog.take(below.path)
        assert below.failcnt > 0
        assert above.failcnt == 0


@needs("cpu")
@pytest.mark.parametrize(("first", "second"), [(4096, 1024), (512, 2048)])
def test_shares_divide_a_cpu(unique: Unique, first: int, second: int) -> None:
    with ExitStack() as stack:
        top = stack.enter_context(Cgroup.CPU(unique("cpu"))).group_name
        examples.prefer(top)
        groups = [stack.enter_context(Cgroup.CPU(f"{top}/{name}", shares=name)) for name in (first, second)]
        pids = stack.enter_context(busy(*(group.path for group in groups)))
        before = [cpu_time(pid) for pid in pids]
        used = [0.0, 0.0]
        while sum(used) < 1:
            select.select([], [], [], 0.01)
            used = [cpu_time(pid) - start for pid, start in zip(pids, before, strict=True)]
    assert used[0] / used[1] == pytest.approx(first / second, rel=0.35)


@needs("cpu")
@pytest.mark.parametrize(("quota", "period"), [(20_000, 100_000), (20_000, 50_000)])
def test_quota_and_period_bound_the_time(unique: Unique, quota: int, period: int) -> None:
    with Cgroup.CPU(unique("cpu"), cfs_quota_us=quota, cfs_period_us=period) as group:
        examples.prefer(group.group_name)
        with busy(group.path) as (pid,):
            start, before, periods = time.monotonic(), cpu_time(pid), throttled(group.group_name)
            while throttled(group.group_name) < periods + 15:
                select.select([], [], [], 0.01)
            share = (cpu_time(pid) - before) / (time.monotonic() - start)
    assert share < 1.3 * quota / period


def throttled(group: str) -> int:
    return counter("cpu", group, "nr_throttled", "cpu.stat", "cpu.stat")


@needs("memory")
def test_an_oom_comes_at_the_same_size(unique: Unique, hog: Hogs) -> None:
    with Cgroup(unique("memory"), memory="16M", swap=0) as group:
        assert hog.take(group.memory.path, 12 * MIB) == 0
        assert hog.take(group.memory.path, 18 * MIB) == KILLED


@needs("memory")
@needs("swap")
def test_memory_and_swap_are_bounded_together(unique: Unique, hog: Hogs) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        memory.modify(limit_in_bytes="16M", memsw_limit_in_bytes="32M")
        assert hog.take(memory.path, 24 * MIB) == 0
        assert memory.max_usage_in_bytes <= 16 * MIB
        assert hog.take(memory.path, 40 * MIB) == KILLED


@needs("cpuacct")
def test_usage_is_in_nanoseconds(unique: Unique) -> None:
    with Cgroup.CPUACCT(unique("cpuacct")) as group:
        with processes.python("for _ in range(10**6): pass", group.path) as child:
            assert child.wait(120) == 0
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = group.stat.user + group.stat.system
        assert 0 < group.usage / 1e9 < used.ru_utime + used.ru_stime + 0.1
        # The kernel samples the two parts, and counts the whole.
        assert ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(group.usage / 1e9, abs=0.1)


@needs("cpu")
@needs("cpuacct")
def test_throttled_time_is_in_nanoseconds(unique: Unique) -> None:
    with Cgroup.CPU(unique("cpu", "cpuacct"), cfs_quota_us=10_000) as group:
        start = time.monotonic()
        with busy(group.path):
            while throttled(group.group_name) < 5:
                select.select([], [], [], 0.01)
            stat, passed = group.stat, time.monotonic() - start
    # Of a busy loop nine tenths of the time; the last period is counted when it ends.
    assert 0.2 * passed < stat.throttled_time / 1e9 < passed
    assert stat.throttled_usec == stat.throttled_time // 1000
