# SPDX-License-Identifier: MIT
"""Every declared control file against the real kernel, with the files themselves and `cgget` as oracles.

The tests walk `settings()` of every class: a new declaration is tested without a line here, unless its codec is new
(then `SAMPLES` needs values that the kernel takes).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from pycgroup import (
    UNLIMITED,
    Cgroup,
    InvalidValueError,
    ReadOnlySettingError,
    UnsupportedSettingError,
    codecs,
    cpusets,
    devices,
    stats,
)
from tests.support import capabilities, machine, oracle
from tests.support.capabilities import needs

CLASSES = {name.lower(): getattr(Cgroup, name.upper()) for name in machine.V2_NAMES}


# What stands in the name of a file of hugetlb.
PAGE_SIZE = r"\d+[KMG]B"


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


@pytest.fixture
def name(each: Declared, unique: Callable[..., str]) -> str:
    """Return the name of a fresh group of the declaration's controller."""
    name = unique(each.controller)
    CLASSES[each.controller](name).create()
    return name


def group(each: Declared, name: str) -> Any:
    return CLASSES[each.controller](name)


# every declaration


@pytest.mark.parametrize("each", list(declared()), ids=str)
def test_declaration_is_complete(each: Declared) -> None:
    setting = each.setting
    assert setting.name.isidentifier()
    assert setting.v1 or setting.v2
    assert setting.doc.endswith(".")
    for file in (setting.v1, setting.v2):
        assert file is None or file.name.strip() == file.name != ""
    for name in (setting.name, *setting.aliases):
        assert getattr(CLASSES[each.controller], name) is setting


@pytest.mark.parametrize("each", [each for each in declared() if each.setting.v1], ids=str)
def test_a_property_is_called_as_its_file(each: Declared) -> None:
    """memory.memsw.limit_in_bytes is memsw_limit_in_bytes (DESIGN section 2, Names)."""
    words = each.setting.v1.name.replace(".{}", "").split(".")
    expected = {"_".join(words), "_".join(words[1:])}
    assert expected & {each.setting.name, *each.setting.aliases}


@pytest.mark.parametrize("controller", CLASSES)
def test_no_name_stands_for_two_things(controller: str) -> None:
    names = [name for setting in CLASSES[controller].settings() for name in (setting.name, *setting.aliases)]
    assert len(names) == len(set(names))


@every(lambda each: each.column is not None and not offered(each))
def test_a_file_that_a_fresh_group_lacks(each: Declared, name: str) -> None:
    in_root = os.path.exists(oracle.directory(each.controller, f"/{each.file}"))
    assert each.setting.needs or in_root, f"{each.file} is missing, and nothing says what it would need"
    handle = group(each, name)
    assert each.setting.name not in dir(handle)
    if each.setting.readable:
        assert not hasattr(handle, each.setting.name)
        with pytest.raises(UnsupportedSettingError, match=re.escape(each.setting.needs or each.file)):
            getattr(handle, each.setting.name)


@every(lambda each: each.column is None)
def test_a_setting_that_this_version_lacks(each: Declared, name: str) -> None:
    assert each.setting.name not in dir(group(each, name))
    if each.setting.readable:
        with pytest.raises(UnsupportedSettingError, match="on cgroup v"):
            getattr(group(each, name), each.setting.name)


# what reads


def readable(each: Declared) -> bool:
    return each.column is not None and offered(each) and each.setting.readable


@every(readable)
def test_it_decodes(each: Declared, name: str) -> None:
    value = getattr(group(each, name), each.setting.name)
    assert value is not None
    assert value == getattr(group(each, name), each.setting.name)
    assert each.setting.name in dir(group(each, name))


def of_controller(each: Declared) -> bool:
    """Tell whether it is a file of the controller itself: cgget shows no others."""
    names = {each.controller, machine.V2_NAMES[each.controller]} - {machine.CORE}
    return readable(each) and each.file.split(".")[0] in names


@every(of_controller)
@needs("cgget")
def test_what_is_read_is_what_cgget_says(each: Declared, name: str) -> None:
    said = oracle.cgget(name, each.file)
    lines = [line.strip() for line in group(each, name)[each.file].rstrip("\n").split("\n")]
    assert "\n".join(lines) == said
    if not each.column.beside:
        assert each.column.codec.decode(said) == getattr(group(each, name), each.setting.name)


@every(lambda each: readable(each) and not each.setting.writable)
def test_a_reading_takes_no_value(each: Declared, name: str) -> None:
    before = oracle.read(each.controller, name, each.file)
    with pytest.raises(ReadOnlySettingError, match=each.setting.name):
        setattr(group(each, name), each.setting.name, 1)
    assert oracle.read(each.controller, name, each.file) == before


# what reads and writes

DISK = next(capabilities.disks(), "8:0")

# Values that the kernel takes, and what they read back as, by control file and else by kind of codec.
Samples = list[tuple[Any, Any]]
ANEW: Samples = [(0, 0), ("0", 0)]
LIMITS: Samples = [({DISK: 1 << 20}, {DISK: 1 << 20}), (f"{DISK} 2048", {DISK: 2048}), ({}, {})]
IO_MAX = {DISK: {"rbps": 1 << 20, "wbps": 2 << 20, "riops": 100, "wiops": 200}}
BY_SETTING: dict[tuple[str, str], Samples] = {
    ("cpu.max", "cfs_quota_us"): [(30000, 30000), (UNLIMITED, UNLIMITED), ("10000", 10000)],
    ("cpu.max", "cfs_period_us"): [(50000, 50000), ("100000", 100000)],
    ("cpu.max", "max"): [("30000 50000", "30000 50000")],
    ("cpu.weight", "shares"): [(512, 512), ("2048", 2048)],
}
BY_FILE: dict[str, Samples] = {
    "cgroup.subtree_control": [("", "")],
    "cgroup.type": [("threaded", "threaded")],
    "blkio.bfq.weight": [("200", "200"), ("100", "100")],
    "blkio.bfq.weight_device": [({}, {})],  # the disk would have to use the BFQ scheduler
    "cpu.max.burst": [(10000, 10000), ("0", 0)],
    "cpu.weight": [(200, 200), ("50", 50)],
    "cpu.weight.nice": [(5, 5), (-5, -5)],
    "cpuset.cpus.partition": [("member", "member")],
    "io.max": [(IO_MAX, IO_MAX)],
    "io.weight": [("default 200", "default 200")],
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
    at_the_top = hierarchy is None or machine.base(hierarchy) == ""
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


@every(both_ways)
def test_a_value_survives_the_round_trip(each: Declared, name: str) -> None:
    prepare(each, name)
    for value, expected in samples(each):
        setattr(group(each, name), each.setting.name, value)
        text = oracle.read(each.controller, name, each.file)
        assert agrees(each.column.codec.decode(text), expected)
        assert agrees(getattr(group(each, name), each.setting.name), expected)


# Reads as "domain", and the kernel takes "threaded" only.
@every(lambda each: both_ways(each) and each.file != "cgroup.type")
def test_what_was_read_can_be_written(each: Declared, name: str) -> None:
    before = getattr(group(each, name), each.setting.name)
    setattr(group(each, name), each.setting.name, before)
    assert getattr(group(each, name), each.setting.name) == before


def typed(each: Declared) -> bool:
    """Tell whether a value is checked before the kernel sees it: raw text is not."""
    return both_ways(each) and not isinstance(each.column.codec, codecs.Raw)


@every(typed)
def test_what_is_staged_reads_as_the_kernel_will_say_it(each: Declared, unique: Callable[..., str]) -> None:
    name = unique(each.controller)
    for value, expected in samples(each):
        handle = CLASSES[each.controller](name, **{each.setting.name: value})
        assert agrees(getattr(handle, each.setting.name), expected)
    assert not oracle.exists(each.controller, name)


@every(typed)
def test_what_is_staged_is_set_by_create(each: Declared, unique: Callable[..., str]) -> None:
    for value, expected in samples(each):
        name = unique(each.controller)
        first = {FIRST[each.file][2]: FIRST[each.file][1]} if each.file in FIRST else {}
        CLASSES[each.controller](name, **first, **{each.setting.name: value}).create()
        text = oracle.read(each.controller, name, each.file)
        assert agrees(each.column.codec.decode(text), expected)


@every(typed)
@pytest.mark.parametrize("exists", [True, False])
def test_nonsense_is_refused_and_the_file_untouched(each: Declared, name: str, exists: bool) -> None:
    handle = group(each, name if exists else f"{name}-none")
    before = oracle.read(each.controller, name, each.file)
    for value in (None, b"1", object(), [object()], {"8:0": [2]}, "nonsense \ud800", "1\0", 1j, 2**64, "\udcff\n1"):
        with pytest.raises((InvalidValueError, UnsupportedSettingError), match=each.setting.name):
            setattr(handle, each.setting.name, value)
    assert oracle.read(each.controller, name, each.file) == before


@every(lambda each: readable(each) and each.setting.writable and not takes_values(each))
def test_what_this_version_only_reports(each: Declared, name: str) -> None:
    with pytest.raises(UnsupportedSettingError, match=each.setting.name):
        setattr(group(each, name), each.setting.name, 1)


# completeness

# Files of the cgroup core that are methods here, not properties.
CORE = {"tasks", "cgroup.procs", "cgroup.threads", "cgroup.event_control"}


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in CLASSES])
def test_every_file_of_the_kernel_is_declared(controller: str) -> None:
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None
    column = hierarchy.version - 1
    known = [
        re.escape(file.name).replace(r"\{\}", PAGE_SIZE)
        for each, cls in CLASSES.items()
        # Every v2 group has some files of controllers that it does not have: cpu.stat, memory.pressure.
        if hierarchy.version > 1 or machine.hierarchy_of(each) == hierarchy
        for setting in cls.settings()
        if (file := (setting.v1, setting.v2)[column])
    ]
    files = capabilities.fresh_files(hierarchy, controller)
    assert [file for file in files if file not in CORE and not re.fullmatch("|".join(known), file)] == []


# The mruby-cgroup members (SYSTEMS.md): name -> does it take values.
MRUBY = {
    "cpu": {"cfs_quota_us": 1, "cfs_period_us": 1, "rt_period_us": 1, "rt_runtime_us": 1, "shares": 1, "stat": 0},
    "cpuacct": {"usage": 1, "stat": 0, "usage_percpu": 0},
    "cpuset": {"cpus": 1, "mems": 1},
    "blkio": {f"throttle_{way}_{what}_device": 1 for way in ("read", "write") for what in ("bps", "iops")},
    "memory": {
        "limit_in_bytes": 1,
        "memsw_limit_in_bytes": 1,
        "oom_control": 1,
        "usage_in_bytes": 0,
        "max_usage_in_bytes": 0,
        "memsw_usage_in_bytes": 0,
        "memsw_max_usage_in_bytes": 0,
    },
    "pids": {"max": 1, "current": 0},
}


@pytest.mark.parametrize(("controller", "member"), [(c, m) for c, members in MRUBY.items() for m in members])
def test_every_member_of_mruby_cgroup_is_here(controller: str, member: str) -> None:
    declaration = getattr(CLASSES[controller], member)
    assert declaration in CLASSES[controller].settings()
    assert declaration.writable >= MRUBY[controller][member]


METHODS = ["create", "open", "modify", "delete", "close", "attach", "detach", "exists"]


@pytest.mark.parametrize("controller", CLASSES)
def test_every_method_of_mruby_cgroup_is_here(controller: str) -> None:
    assert all(callable(getattr(CLASSES[controller], method)) for method in METHODS)
    assert CLASSES[controller]("/x/y").group_name.strip("/") == "x/y"


@needs("cpu")
@needs("cpuacct")
def test_cpuacct_of_a_cpu_group_is_the_group_of_the_same_name(unique: Callable[..., str]) -> None:
    name = unique("cpu", "cpuacct")
    cpuacct = Cgroup.CPU(name).cpuacct
    assert type(cpuacct) is Cgroup.CPUACCT
    assert cpuacct.group_name == name
    assert not os.path.exists(cpuacct.path)
