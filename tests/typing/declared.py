# SPDX-License-Identifier: MIT
"""What a type checker makes of pycgroup. mypy reads this file (test_types.py); nothing runs it.

`type: ignore[...]` stands where a line must be an error: mypy is run with warn_unused_ignores and complains when it no
longer is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

from pycgroup import UNLIMITED, Cgroup, CpuSet
from pycgroup.controllers import CPUACCT, MEMORY, PIDS
from pycgroup.stats import CpuStat, MemoryStat, OomControl

memory = Cgroup.MEMORY("test", limit_in_bytes="10M")
assert_type(memory, MEMORY)

# A limit reads as a number or UNLIMITED, and takes text too.
assert_type(memory.limit_in_bytes, int | float)
assert_type(memory.max, int | float)
assert_type(memory.usage_in_bytes, int)
assert_type(memory.oom_control, OomControl)
assert_type(memory.stat, MemoryStat)
assert_type(memory.stat.cache, int)
assert_type(memory.stat["cache"], int)
assert_type(memory["memory.stat"], str)
memory.limit_in_bytes = 8192
memory.limit_in_bytes = "8K"
memory.limit_in_bytes = UNLIMITED
memory.oom_control = True
memory["memory.high"] = "1G"
memory["memory.swappiness"] = 10
memory.limit_in_bytes = None  # type: ignore[assignment]
memory.limit_in_bytes = b"8K"  # type: ignore[assignment]
memory["memory.high"] = 1.5  # type: ignore[assignment]

# The kernel only reports these.
memory.usage_in_bytes = 5  # type: ignore[assignment]
memory.stat = {}  # type: ignore[assignment]
Cgroup.PIDS("test").current = 1  # type: ignore[assignment]

# No such thing.
memory.limit_in_bites = 5  # type: ignore[attr-defined]
Cgroup.NONSENSE("test")  # type: ignore[attr-defined]
Cgroup.MEMORY(5)  # type: ignore[arg-type]
Cgroup.MEMORY()  # type: ignore[call-arg]

# The other kinds of values.
assert_type(Cgroup.PIDS("test").max, int | float)
assert_type(Cgroup.CPU("test").stat, CpuStat)
assert_type(Cgroup.CPU("test").shares, int)
assert_type(Cgroup.CPU("test").cpuacct, CPUACCT)
assert_type(Cgroup.CPUACCT("test").usage_percpu, tuple[int, ...])
assert_type(Cgroup.CPUSET("test").cpus, CpuSet)
assert_type(Cgroup.FREEZER("test").state, str)
Cgroup.CPUSET("test").cpus = "0-2,5"
Cgroup.CPUSET("test").cpus = {0, 1}
Cgroup.CPUSET("test").cpus = 0
Cgroup.CPUSET("test").cpus = 1.5  # type: ignore[assignment]
throttle: Mapping[str, int | float] = Cgroup.BLKIO("test").throttle_read_bps_device
Cgroup.BLKIO("test").throttle_read_bps_device = {"8:0": 100_000_000}
Cgroup.BLKIO("test").throttle_read_bps_device = "8:0 100000000"
Cgroup.BLKIO("test").throttle_read_bps_device = 5  # type: ignore[assignment]

# Methods.
assert_type(memory.exists(), bool)
assert_type(memory.pids(), list[int])
assert_type(memory.threads(), list[int])
assert_type(memory.children(), list[MEMORY])
assert_type(memory.group_name, str)
assert_type(memory.version, int)
memory.delete(tasks="kill", recursive=True)
memory.delete(tasks="ignore")  # type: ignore[arg-type]
memory.attach("1")  # type: ignore[arg-type]
memory.force_empty()
memory.force_empty(1)  # type: ignore[call-arg]
Cgroup.DEVICES("test").allow("c 1:3 rwm")
Cgroup.DEVICES("test").allow(5)  # type: ignore[arg-type]
with Cgroup.PIDS("test", max=5) as pids:
    assert_type(pids, PIDS)
