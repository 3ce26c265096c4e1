# SPDX-License-Identifier: MIT
"""The declarations of pycgroup's classes as the tests walk them, and values that the kernel takes for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from pycgroup import UNLIMITED, Cgroup, codecs, cpusets, devices, stats
from tests.support import capabilities, machine, oracle
from tests.support.capabilities import needs

CLASSES = {name.lower(): getattr(Cgroup, name.upper()) for name in machine.V2_NAMES}


class Declared(NamedTuple):
    """One declaration of one class, and the column of it that counts on this host."""

    controller: str
    setting: Any
    column: Any

    def __str__(self) -> str:
        return f"{self.controller.upper()}.{self.setting.name}"

    @property
    def file(self) -> str:
        """The control file's name."""
        return str(self.column.name.replace("{}", getattr(CLASSES["hugetlb"]("any"), "page_size", "")))


def version_of(controller: str) -> int:
    hierarchy = machine.hierarchy_of(controller)
    return hierarchy.version if hierarchy else 1


def declared() -> Iterator[Declared]:
    for controller, cls in CLASSES.items():
        for setting in cls.settings():
            yield Declared(controller, setting, setting.v1 if version_of(controller) < 2 else setting.v2)


def every(where: Callable[[Declared], bool]) -> pytest.MarkDecorator:
    """Run a test for every declaration of a kind, each where its controller is."""
    chosen = [each for each in declared() if where(each)]
    return pytest.mark.parametrize(
        "each", [pytest.param(each, marks=needs(each.controller), id=str(each)) for each in chosen]
    )


def offered(each: Declared) -> bool:
    """Tell whether this kernel offers the file in a fresh group."""
    hierarchy = machine.hierarchy_of(each.controller)
    if hierarchy is None:
        return False
    files = capabilities.fresh_files(hierarchy, each.controller)
    return each.file in files and (not each.column.beside or each.column.beside in files)


def group(each: Declared, name: str) -> Any:
    return CLASSES[each.controller](name)


def readable(each: Declared) -> bool:
    return each.column is not None and offered(each) and each.setting.readable


def of_controller(each: Declared) -> bool:
    """Tell whether it is a file of the controller itself: cgget shows no others."""
    names = {each.controller, machine.V2_NAMES[each.controller]} - {machine.CORE}
    return readable(each) and each.file.split(".")[0] in names


def typed(each: Declared) -> bool:
    """Tell whether a value is checked before the kernel sees it: raw text is not."""
    return both_ways(each) and not isinstance(each.column.codec, codecs.Raw)


DISK = next(capabilities.disks(), "8:0")

# Values that the kernel takes, and what they read back as, by control file and else by kind of codec.
Samples = list[tuple[Any, Any]]
ANEW: Samples = [(0, 0), ("0", 0)]
LIMITS: Samples = [({DISK: 1 << 20}, {DISK: 1 << 20}), (f"{DISK} 2048", {DISK: 2048}), ({}, {})]
IO_MAX = {DISK: {"rbps": 1 << 20, "wbps": 2 << 20, "riops": 100, "wiops": 200}}
BY_SETTING: dict[tuple[str, str], Samples] = {
    ("cgroup.freeze", "state"): [("FROZEN", "FROZEN"), ("THAWED", "THAWED")],
    ("cpu.max", "cfs_quota_us"): [(30000, 30000), (UNLIMITED, UNLIMITED), ("10000", 10000)],
    ("cpu.max", "cfs_period_us"): [(50000, 50000), ("100000", 100000)],
    ("cpu.max", "max"): [("30000 50000", "30000 50000")],
    ("io.max", "max"): [(IO_MAX, IO_MAX)],
    ("cpu.weight", "shares"): [(512, 512), ("2048", 2048)],
    ("io.weight", "weight"): [(200, 200), ("100", 100)],
    ("io.weight", "weight_device"): [({}, {})],  # the disk would have to use iocost
    ("io.bfq.weight", "bfq_weight"): [(200, 200), ("100", 100)],
    ("io.bfq.weight", "bfq_weight_device"): [({}, {})],
}
BY_FILE: dict[str, Samples] = {
    "cgroup.subtree_control": [("", "")],
    "cgroup.type": [("threaded", "threaded")],
    "blkio.bfq.weight": [(200, 200), ("100", 100)],
    "blkio.bfq.weight_device": [({}, {})],  # the disk would have to use the BFQ scheduler
    "cpu.max.burst": [(10000, 10000), ("0", 0)],
    "cpu.weight": [(200, 200), ("50", 50)],
    "cpu.weight.nice": [(5, 5), (-5, -5)],
    "cpuset.cpus.partition": [("member", "member")],
    "io.latency": [({}, {})],
    "misc.max": [({}, {})],  # no machine of ours has such a resource
    "rdma.max": [({}, {})],
    "cpu.cfs_burst_us": [(10000, 10000), ("0", 0)],
    "cpu.cfs_period_us": [(50000, 50000), ("100000", 100000)],
    "cpu.cfs_quota_us": [(30000, 30000), (UNLIMITED, UNLIMITED), ("10000", 10000)],
    "cpu.rt_period_us": [(500000, 500000), ("1000000", 1000000)],
    "cpu.rt_runtime_us": [(1000, 1000), (0, 0)],
    "cpu.shares": [(512, 512), ("2048", 2048)],
    "cpuacct.usage": ANEW,
    "cpuset.sched_relax_domain_level": [(-1, -1), (1, 1)],
    "freezer.state": [("FROZEN", "FROZEN"), ("THAWED", "THAWED")],
    "memory.kmem.limit_in_bytes": [(UNLIMITED, UNLIMITED)],  # without effect since 5.16
    "memory.move_charge_at_immigrate": ANEW,  # the kernel takes nothing else since 6.12
    "memory.oom_control": [
        (True, {"oom_kill_disable": 1, "under_oom": 0, "oom_kill": 0}),
        (0, {"oom_kill_disable": 0, "under_oom": 0, "oom_kill": 0}),
    ],
    "memory.shown_ram_in_bytes": [("8M", 8 << 20), (0, 0)],
    "memory.swappiness": [(10, 10), ("60", 60)],
    "memory.use_hierarchy": [(True, True)],  # takes nothing else since 5.11
    "net_cls.classid": [(0x100001, 0x100001), ("0", 0)],
    "net_prio.ifpriomap": [({"lo": 5}, {"lo": 5}), ("lo 3", {"lo": 3}), ({}, {})],
}
BY_NAME: list[tuple[str, Samples]] = [("failcnt", ANEW), ("max_usage_in_bytes", ANEW)]
BY_CODEC: list[tuple[type[codecs.Codec[Any, Any]], Samples]] = [
    (codecs.Size, [("8M", 8 << 20), (16 << 20, 16 << 20), (UNLIMITED, UNLIMITED)]),
    (codecs.Limit, [(100, 100), (UNLIMITED, UNLIMITED), ("50", 50)]),
    (codecs.Flag, [(True, True), (False, False), (1, True), ("0", False)]),
    (cpusets.Cpus, [("0", {0}), ({0}, {0}), (0, {0})]),
    (devices.PerDevice, LIMITS),
]


def samples(each: Declared) -> Samples:
    """Return values for a declaration and what they read as; a new kind of file needs some in a table above."""
    found = [BY_SETTING.get((each.file, each.setting.name)), BY_FILE.get(each.file)]
    found += [values for end, values in BY_NAME if each.file.endswith(end)]
    found += [values for kind, values in BY_CODEC if isinstance(each.column.codec, kind)]
    chosen: Samples | None = next(filter(None, found), None)
    assert chosen is not None, f"{each.file} needs values in BY_FILE, or its codec in BY_CODEC"
    return chosen


def decoded(each: Declared, name: str) -> Any:
    """Return what the kernel's own text of a group's file (and of the one beside it) stands for."""
    files = [each.file, *filter(None, [each.column.beside])]
    return each.column.codec.decode("\n".join(oracle.read(each.controller, name, file) for file in files))


def agrees(value: Any, expected: Any) -> bool:
    """Compare, taking a device or interface with 0 in a mapping as one that is not there."""
    if isinstance(value, Mapping) and not isinstance(value, stats.Stat):
        return bool({key: number for key, number in value.items() if number} == expected)
    return bool(value == expected)


def takes_values(each: Declared) -> bool:
    """Tell whether the file of this version takes values: a Setting may be one on the other version only."""
    codec = each.column.codec
    only_reads = type(codec).encode is codecs.Codec.encode or isinstance(codec, codecs.Reported | stats.AlwaysOn)
    return bool(each.setting.writable) and not only_reads


# What depends on the group above: a parent that is exclusive too, has real-time runtime, holds no domain groups.
BELOW_THE_ROOT = {"cgroup.type", "cpu.rt_runtime_us", "cpuset.cpu_exclusive", "cpuset.mem_exclusive"}


def both_ways(each: Declared) -> bool:
    hierarchy = machine.hierarchy_of(each.controller)
    at_the_top = hierarchy is None or (machine.base(hierarchy) == "" and not capabilities.missing("true-root"))
    return readable(each) and takes_values(each) and (at_the_top or each.file not in BELOW_THE_ROOT)


# What must be set before: file, text, and the setting of the same value.
FIRST = {
    "cpu.cfs_burst_us": ("cpu.cfs_quota_us", "50000", "cfs_quota_us"),
    "cpu.max.burst": ("cpu.max", "50000", "cfs_quota_us"),
    "memory.memsw.limit_in_bytes": ("memory.limit_in_bytes", "4M", "limit_in_bytes"),
    "memory.swap.max": ("memory.max", "4M", "limit_in_bytes"),
}


def prepare(each: Declared, name: str) -> None:
    """Give the group what a file needs before it takes a value."""
    if each.file in FIRST:
        oracle.write(each.controller, name, *FIRST[each.file][:2])
