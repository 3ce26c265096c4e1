# SPDX-License-Identifier: MIT
"""Handles: they own nothing, and many of them leak nothing."""

from __future__ import annotations

import gc

import pytest

from pycgroup import Cgroup
from tests.support import oracle, processes
from tests.support.capabilities import needs


@needs("memory")
def test_a_handle_does_not_own_its_group(made: str) -> None:
    memory = Cgroup.MEMORY(f"{made}/inner")
    memory.create()
    del memory
    gc.collect()
    assert oracle.exists("memory", f"{made}/inner")
    other = Cgroup.MEMORY(f"{made}/inner")
    for _ in range(5):
        Cgroup.MEMORY(f"{made}/inner").limit_in_bytes = "8M"
        gc.collect()
    assert other.limit_in_bytes == 8 << 20


USE = """
import sys
from pycgroup import Cgroup, CgroupError
from tests.support.held import open_files, resident

def figures():
    return open_files(), resident()

def refused():
    try:
        Cgroup.MEMORY(sys.argv[1] + "-none").modify(limit_in_bytes="1M")
    except CgroupError:
        return
    raise SystemExit("no error")

def use():
    count = int(sys.argv[2])
    handles = [Cgroup.MEMORY(sys.argv[1], limit_in_bytes="64M") for _ in range(count)]
    for handle in handles:
        handle.limit_in_bytes = "32M"
        handle.usage_in_bytes, handle.stat.cache, handle.pids(), repr(handle)
        refused()
    for number in range(count // 10):
        with Cgroup.MEMORY(f"{sys.argv[1]}/{number}", limit_in_bytes="8M"):
            pass

def growth():
    before = figures()
    use()
    after = figures()
    return after[0] - before[0], after[1] - before[1]

use()
for _ in range(10):  # the heap takes a round or two to its size
    grown = growth()
    if max(grown) == 0:
        break
print(*grown)
"""


@needs("memory")
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_handles_leak_neither_memory_nor_descriptors(made: str, count: int) -> None:
    descriptors, memory = map(int, processes.script(USE, made, str(count)).split())
    assert descriptors == 0
    assert memory < 26 * count
