# SPDX-License-Identifier: MIT
"""Every declared control file against the real kernel, with the files themselves and `cgget` as oracles.

The tests walk `settings()` of every class: a new declaration is tested without a line here, unless its codec is new
(then tests/support/declared.py needs values that the kernel takes).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from pycgroup import Cgroup, InvalidValueError, ReadOnlySettingError, UnsupportedSettingError
from tests.support import capabilities, machine, oracle
from tests.support.capabilities import needs
from tests.support.declared import (
    CLASSES,
    FIRST,
    Declared,
    agrees,
    both_ways,
    declared,
    decoded,
    every,
    group,
    of_controller,
    offered,
    prepare,
    readable,
    samples,
    takes_values,
    typed,
)


@pytest.fixture
def name(each: Declared, unique: Callable[..., str]) -> str:
    """Return the name of a fresh group of the declaration's controller."""
    name = unique(each.controller)
    CLASSES[each.controller](name).create()
    return name


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
    unseen = "in the root only" in each.setting.doc and capabilities.missing("true-root")
    assert each.setting.needs or in_root or unseen, f"{each.file} is missing, and nothing says what it would need"
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


@every(readable)
def test_it_decodes(each: Declared, name: str) -> None:
    value = getattr(group(each, name), each.setting.name)
    assert value is not None
    assert value == getattr(group(each, name), each.setting.name)
    assert each.setting.name in dir(group(each, name))


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


@every(both_ways)
def test_a_value_survives_the_round_trip(each: Declared, name: str) -> None:
    prepare(each, name)
    for value, expected in samples(each):
        setattr(group(each, name), each.setting.name, value)
        assert agrees(decoded(each, name), expected)
        assert agrees(getattr(group(each, name), each.setting.name), expected)


# Reads as "domain", and the kernel takes "threaded" only.
@every(lambda each: both_ways(each) and each.file != "cgroup.type")
def test_what_was_read_can_be_written(each: Declared, name: str) -> None:
    before = getattr(group(each, name), each.setting.name)
    setattr(group(each, name), each.setting.name, before)
    assert getattr(group(each, name), each.setting.name) == before


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
        with CLASSES[each.controller](name, **first, **{each.setting.name: value}):
            assert agrees(decoded(each, name), expected)


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

# What stands in the name of a file of hugetlb.
PAGE_SIZE = r"\d+[KMG]B"


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
