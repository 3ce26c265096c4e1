# SPDX-License-Identifier: MIT
"""Each example is run as a program, and the kernel is asked what it did."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import examples, machine, oracle
from tests.support.capabilities import needs
from tests.support.examples import Disk, Program, control, counter, running

Unique = Callable[..., str]

# A quota lets through its share of each period and at most one period's more at the start.
AT_MOST = {10: 0.16, 30: 0.40, 50: 0.62, 90: 1.02}


def quota(group: str) -> int:
    """Return the microseconds that a group may use in 100000."""
    return int(control("cpu", group, "cpu.cfs_quota_us", "cpu.max").split()[0])


def throttled(group: str) -> int:
    """Return in how many periods a group was stopped by its quota."""
    return counter("cpu", group, "nr_throttled", "cpu.stat", "cpu.stat")


def cpus_of(group: str) -> set[int]:
    """Return the CPUs that a group has."""
    return examples.numbers(control("cpuset", group, "cpuset.effective_cpus", "cpuset.cpus.effective"))


def fitting(wanted: set[int], group: str) -> set[int]:
    """Return the CPUs that an example falls back to below the parent of a group."""
    there = cpus_of(os.path.dirname(group))
    return wanted & there or {max(there)}


def limit_and_kills(group: str) -> tuple[int, int]:
    """Return a group's memory limit and how often the kernel's OOM killer struck there."""
    limit = int(control("memory", group, "memory.limit_in_bytes", "memory.max"))
    return limit, counter("memory", group, "oom_kill", "memory.oom_control", "memory.events")


def run_out_of_memory(group: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        examples.argv("memory", group),
        stdout=subprocess.PIPE,
        env=examples.environment(),
        text=True,
        check=False,
        timeout=examples.PATIENCE,
    )


@needs("memory")
def test_memory_is_killed_by_the_kernel(unique: Unique) -> None:
    group = unique("memory")
    done = run_out_of_memory(group)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.splitlines() == [
        f"create cgroup memory {group}",
        f"limit {group} to 8192 bytes",
        f"attach to {group} and allocate until killed",
    ]
    assert limit_and_kills(group) == (8192, 1)
    assert oracle.pids("memory", group) == set()


@needs("memory")
def test_memory_limits_a_group_that_is_there(unique: Unique) -> None:
    # mruby's assignment and modify changed nothing in the kernel here.
    group = unique("memory")
    assert run_out_of_memory(group).returncode == -signal.SIGKILL
    assert run_out_of_memory(group).returncode == -signal.SIGKILL
    assert limit_and_kills(group) == (8192, 2)


@needs("memory", version=1)
@needs("cgget")
def test_memory_as_cgget_sees_it(unique: Unique) -> None:
    group = unique("memory")
    run_out_of_memory(group)
    assert oracle.cgget(group, "memory.limit_in_bytes") == "8192"
    assert "oom_kill 1" in oracle.cgget(group, "memory.oom_control").splitlines()


@needs("cpu")
def test_cpu_shares_follow_the_quota(unique: Unique) -> None:
    group, before = unique("cpu"), oracle.group_of("cpu")
    shares, stopped = {}, {}
    with running("cpu", group, "--seconds", "1.5") as program:
        for percent in (30, 100, 10):
            program.upto(f"with cpu {percent}%")
            examples.prefer(group)
            assert oracle.group_of("cpu", program.pid) == (group if percent < 100 else before)
            assert quota(group) == (10_000 if percent == 10 else 30_000)
            shares[percent] = program.cpu_share()
            stopped[percent] = throttled(group)
        assert program.end() == 0
    assert shares[30] < AT_MOST[30]
    assert shares[10] < AT_MOST[10]
    assert 1.5 < shares[30] / shares[10] < 6
    assert 0 < stopped[30] <= stopped[100] <= stopped[30] + 1 < stopped[10]  # the last period is counted when it ends
    assert not oracle.exists("cpu", group)


@needs("cpuset")
@pytest.mark.parametrize(
    ("arguments", "lists"),
    [
        pytest.param([], [{0}, {2}, {0, 1, 2}, {0, 1, 2, 5}], id="as in mruby"),
        pytest.param(["--cpus", "1", "0-1"], [{1}, {0, 1}], id="as given"),
    ],
)
def test_cpuset_runs_on_the_cpus_of_the_list(unique: Unique, arguments: list[str], lists: list[set[int]]) -> None:
    group = unique("cpuset")
    with running("cpuset", group, "--seconds", "0.05", *arguments) as program:
        for wanted in lists:
            program.upto("attach to")
            assert_on(program, fitting(wanted, group), group)
            program.take()
        assert program.end() == 0
    assert not oracle.exists("cpuset", group)


def assert_on(program: Program, cpus: set[int], group: str) -> None:
    assert oracle.group_of("cpuset", program.pid) == group
    assert examples.numbers(oracle.read("cpuset", group, "cpuset.cpus")) == cpus
    assert program.may_use() == cpus
    assert program.is_on() in cpus


@needs("cpu")
@needs("cpuset")
def test_cpu_and_core_limits_both_at_once(unique: Unique) -> None:
    group = unique("cpu", "cpuset")
    shares = {}
    with running("cpu_and_core", group, "--seconds", "1") as program:
        for percent, wanted in ((30, {0}), (50, {2}), (90, {0, 1, 2})):
            program.upto(f"rate {percent}%")
            examples.prefer(group)
            assert oracle.group_of("cpu", program.pid) == group
            assert quota(group) == percent * 1000
            assert_on(program, fitting(wanted, group), group)
            shares[percent] = program.cpu_share()
        assert program.end() == 0
    assert all(share < AT_MOST[percent] for percent, share in shares.items())
    assert shares[30] < shares[50] < shares[90]
    assert not oracle.exists("cpu", group)
    assert not oracle.exists("cpuset", group)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with examples.loop_disk(tmp_path) as made:
        yield made


def rate(program: Program, counted: Callable[[], int]) -> float:
    """Return by how much a counter grows in a second from now until the program has printed one more line."""
    started, before = time.monotonic(), counted()
    program.take()
    program.peek()
    return (counted() - before) / (time.monotonic() - started)


@needs("blkio")
@needs("loop-device")
@needs("mkfs.ext4")
@pytest.mark.parametrize(("write_bps", "read_iops"), [(1_000_000, 400), (4_000_000, 100)])
def test_blkio_keeps_direct_transfers_to_the_rate(unique: Unique, disk: Disk, write_bps: int, read_iops: int) -> None:
    group = unique("blkio")
    options = {"directory": disk.directory, "write-bps": write_bps, "read-iops": read_iops, "seconds": 2}
    with running("blkio", group, *(f"--{key}={value}" for key, value in options.items())) as program:
        program.upto("with write bps")
        assert oracle.group_of("blkio", program.pid) == group
        assert limits(group)[disk.name] == {"wbps": str(write_bps)}
        written = rate(program, disk.written_bytes)
        program.upto("with read iops")
        assert oracle.group_of("blkio", program.pid) == group
        assert limits(group)[disk.name] == {"wbps": str(write_bps), "riops": str(read_iops)}
        read = rate(program, disk.read_operations)
        assert program.end() == 0
    assert 0.5 * write_bps < written < 1.3 * write_bps
    assert 0.5 * read_iops < read < 1.3 * read_iops
    assert not oracle.exists("blkio", group)


def limits(group: str) -> dict[str, dict[str, str]]:
    """Return the limits that a group has on each device, called as v2 calls them."""
    hierarchy = machine.hierarchy_of("blkio")
    assert hierarchy is not None
    if hierarchy.version == 1:
        return _limits_of_v1(group)
    rows = [line.split() for line in oracle.read("blkio", group, "io.max").splitlines()]
    pairs = {device: [word.split("=") for word in words] for device, *words in rows}
    return {device: {key: value for key, value in found if value != "max"} for device, found in pairs.items()}


def _limits_of_v1(group: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, file in {"wbps": "write_bps", "riops": "read_iops"}.items():
        for line in oracle.read("blkio", group, f"blkio.throttle.{file}_device").splitlines():
            device, value = line.split()
            found.setdefault(device, {})[key] = value
    return found


@needs("pids")
@pytest.mark.parametrize("most", [1, 4])
def test_pids_is_refused_one_process_more(unique: Unique, most: int) -> None:
    group = unique("pids")
    with running("pids", group, "--max", str(most)) as program:
        program.upto(f"{most} of {most}")
        inside = oracle.pids("pids", group)
        assert program.pid in inside
        assert {parent(pid) for pid in inside - {program.pid}} <= {program.pid}
        assert len(inside) == most
        assert oracle.read("pids", group, "pids.max") == str(most)
        assert "[Errno 11]" in program.upto("refused with")  # EAGAIN
        assert counter("pids", group, "max", "pids.events", "pids.events") > 0
        assert program.end() == 0
    assert not oracle.exists("pids", group)


def parent(pid: int) -> int:
    """Return a process's parent."""
    return int(machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
