# SPDX-License-Identifier: MIT
"""Bad names, values and files: a typed error, nothing outside of the hierarchy touched, and no crash."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycgroup import Cgroup, CgroupError, InvalidNameError, InvalidValueError, UnavailableError
from tests.support import machine, oracle, processes
from tests.support.capabilities import needs
from tests.support.declared import CLASSES, Declared, both_ways, every, group

Unique = Callable[..., str]

# Hypothesis wants a fixture to be made anew for each example; here all examples share one group.
on_one_group = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

anything = st.text(st.characters())
WORDS = ["", ".", "..", "a", "ü", " ", "\n", "\0", "\udcff", "\ud800", "cgroup.procs", "tasks", "a" * 300]
paths = st.lists(st.one_of(st.sampled_from(WORDS), anything), max_size=6).map("/".join)


def below(directory: str) -> set[str]:
    return {path for path, _, _ in os.walk(os.fsencode(directory))}  # type: ignore[misc]


# names

BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "/..",
    "a/../b",
    "a/..",
    "./a",
    "a\nb",
    "a\n",
    "a\0b",
    "\ud800",
    "x" * 5000,
    "../" * 50,
]
NO_NAMES = [None, 0, 1.5, True, b"test", ["a"], ("a",), object(), Path("a")]


@pytest.mark.parametrize("controller", CLASSES)
@pytest.mark.parametrize("name", [*BAD_NAMES, *NO_NAMES], ids=lambda name: repr(name)[:20])
def test_a_bad_name_is_refused_at_once(controller: str, name: Any) -> None:
    with pytest.raises(InvalidNameError):
        CLASSES[controller](name)


@needs("memory")
@on_one_group
@given(name=paths)
def test_any_name_makes_a_group_below_or_nothing(made: str, name: str) -> None:
    top = oracle.directory("memory", made)
    try:
        memory = Cgroup.MEMORY(f"{made}/{name}")
    except InvalidNameError:
        return
    expected = os.path.normpath(f"{top}/{name}")
    there = os.path.isdir(expected)
    try:
        memory.create()
    except CgroupError:
        assert there or not os.path.isdir(expected)
        return
    assert not there
    assert os.path.isdir(expected)
    while expected != top:
        Cgroup.MEMORY(expected.removeprefix(oracle.directory("memory", "/"))).delete()
        expected = os.path.dirname(expected)
    assert below(top) == {os.fsencode(top)}


@pytest.mark.parametrize("length", [250, 255, 256, 1000, 3000, 3499, 3500])
@needs("memory")
def test_long_names_work_or_are_refused(made: str, length: int) -> None:
    """libcgroup cuts long paths, and 2.0.2 aborts the process in attach and delete."""
    directory = oracle.directory("memory", made)
    for name in ("x" * length, "/".join(["x" * 99] * (length // 100))):
        result = processes.forked(functools.partial(whole_life, made, f"{made}/{name}"))
        assert result in ("", "InvalidNameError")
        assert below(directory) == {os.fsencode(directory)}


def whole_life(made: str, name: str) -> str:
    """Return what stopped a whole life cycle, "" if nothing did."""
    try:
        memory = Cgroup.MEMORY(name, limit_in_bytes="64M")
        memory.create()
        memory.attach()
        memory.attach_thread()
        assert memory.limit_in_bytes == 64 << 20
        assert memory.pids() == [os.getpid()]
        memory.detach()
        memory.delete()
        parent = os.path.dirname(name)
        while parent != made:
            Cgroup.MEMORY(parent).delete()
            parent = os.path.dirname(parent)
    except CgroupError as error:
        return type(error).__name__
    return ""


@needs("memory")
@on_one_group
@given(file=st.one_of(anything, st.sampled_from(WORDS), paths))
def test_any_file_name_reads_a_file_of_the_group_or_nothing(made: str, file: str) -> None:
    memory = Cgroup.MEMORY(made)
    try:
        text = memory[file]
    except CgroupError:
        return
    assert file in os.listdir(oracle.directory("memory", made))
    assert text == oracle.read("memory", made, file)


@needs("memory")
@pytest.mark.parametrize(
    "file", ["../../../../etc/hostname", "/etc/hostname", "../cgroup.procs", "a/b", "cgroup.procs\0"]
)
def test_a_file_outside_of_the_group_is_not_reached(made: str, file: str) -> None:
    memory = Cgroup.MEMORY(made)
    with pytest.raises(InvalidNameError):
        memory[file]
    with pytest.raises(InvalidNameError):
        memory[file] = "1"


# values

EXTREMES = [-(2**63) - 1, -(2**63), -(2**31), -2, -1, 0, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**400]


@every(both_ways)
@pytest.mark.parametrize("text", [False, True])
def test_extreme_numbers(each: Declared, unique: Unique, text: bool) -> None:
    name = unique(each.controller)
    CLASSES[each.controller](name).create()
    handle = group(each, name)
    for number in EXTREMES:
        before = oracle.read(each.controller, name, each.file)
        try:
            setattr(handle, each.setting.name, str(number) if text and abs(number) < 10**30 else number)
        except InvalidValueError:
            assert oracle.read(each.controller, name, each.file) == before
        else:
            getattr(handle, each.setting.name)


@needs("memory")
@pytest.mark.parametrize("number", [2**63, 2**64, 2**64 + 8192, -(2**63), -(2**64) + 8192, 10**400])
def test_a_limit_is_never_wrapped_around(made: str, number: int) -> None:
    memory = Cgroup.MEMORY(made)
    memory.limit_in_bytes = "8M"
    for value in (number, str(number) if abs(number) < 10**30 else number):
        with pytest.raises(InvalidValueError):
            memory.limit_in_bytes = value
    assert memory.limit_in_bytes == 8 << 20


values = st.one_of(anything, st.integers(), st.floats(), st.binary(), st.none(), st.booleans(), st.complex_numbers())
nested = st.one_of(
    values, st.lists(values), st.dictionaries(anything, values), st.sets(st.integers()), st.tuples(values)
)


@needs("memory")
@on_one_group
@given(value=nested)
def test_any_value_is_taken_or_refused_by_type(made: str, value: Any) -> None:
    memory = Cgroup.MEMORY(made)
    before = oracle.read("memory", made, "cgroup.procs"), memory.limit_in_bytes
    try:
        memory.limit_in_bytes = value
    except InvalidValueError:
        assert (oracle.read("memory", made, "cgroup.procs"), memory.limit_in_bytes) == before
    else:
        assert isinstance(value, str | int | float)
        assert memory.limit_in_bytes >= 0


@needs("cpuset", version=1)
@on_one_group
@given(value=nested)
def test_any_cpu_set_is_taken_or_refused_by_type(unique: Unique, value: Any) -> None:
    with Cgroup.CPUSET(unique("cpuset")) as cpuset:
        try:
            cpuset.cpus = value
        except CgroupError:
            assert cpuset.cpus == set()


@needs("blkio", version=1)
@on_one_group
@given(value=nested)
def test_any_device_map_is_taken_or_refused_by_type(unique: Unique, value: Any) -> None:
    with Cgroup.BLKIO(unique("blkio")) as blkio:
        try:
            blkio.throttle_read_bps_device = value
        except CgroupError:
            assert blkio.throttle_read_bps_device == {}


@needs("root")
@needs("devices", version=1)
@on_one_group
@given(value=nested)
def test_any_device_rule_is_taken_or_refused_by_type(unique: Unique, value: Any) -> None:
    with Cgroup.DEVICES(unique("devices")) as devices:
        try:
            devices.deny(value)
        except InvalidValueError:
            assert devices.list == ("a *:* rwm",)


@needs("memory")
@on_one_group
@given(
    file=st.sampled_from(["cgroup.procs", "memory.limit_in_bytes", "memory.oom_control", "memory.max"]), value=nested
)
def test_any_text_for_a_file_is_taken_or_refused_by_type(made: str, file: str, value: Any) -> None:
    before = oracle.group_of("memory")
    memory = Cgroup.MEMORY(made)
    if file == "cgroup.procs" and str(value).strip().lstrip("+0").isdigit():
        return  # that would move a process of this machine, as it should
    if file == "cgroup.procs" and str(value).strip() in ("0", "+0"):
        return
    with contextlib.suppress(CgroupError):
        memory[file] = value
    assert oracle.group_of("memory") == before


@needs("memory")
def test_a_value_of_several_lines_is_not_taken_as_one(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.limit_in_bytes = "8M"
    for value in ("8192\n16384", "16M\n", "\n16M"):
        try:
            memory.limit_in_bytes = value
        except InvalidValueError:
            assert memory.limit_in_bytes == 8 << 20
        else:
            assert memory.limit_in_bytes == 16 << 20
            memory.limit_in_bytes = "8M"


# what this host has not

UNMOUNTED = [name for name in CLASSES if machine.hierarchy_of(name) is None]


@pytest.mark.parametrize("controller", UNMOUNTED)
def test_a_controller_that_this_host_has_not(controller: str) -> None:
    handle = CLASSES[controller]("test")
    for use in (
        handle.exists,
        handle.create,
        handle.delete,
        handle.pids,
        handle.attach,
        handle.modify,
        handle.children,
    ):
        with pytest.raises(UnavailableError, match=controller):
            use()
    with pytest.raises(UnavailableError, match=controller):
        _ = handle.path
    with pytest.raises(UnavailableError, match=controller):
        handle["cgroup.procs"]
    assert "unavailable" in repr(handle)
    assert dir(handle)


def test_an_unknown_controller_is_an_attribute_error() -> None:
    assert not hasattr(Cgroup, "NONSENSE")
