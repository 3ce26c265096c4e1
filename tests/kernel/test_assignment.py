# SPDX-License-Identifier: MIT
"""Assignment and modify: live or staged, in an order that the kernel accepts, and refused with a reason."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pycgroup import (
    UNLIMITED,
    Cgroup,
    GroupNotFoundError,
    InvalidNameError,
    InvalidValueError,
    PermissionDeniedError,
    ReadOnlySettingError,
    UnsupportedSettingError,
)
from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("memory")

Unique = Callable[..., str]
MIB = 1 << 20


def test_assignment_to_an_existing_group_is_live(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.limit_in_bytes = 8 * 1024 * 1024
    assert oracle.memory_limit(made) == 8 * MIB
    memory.limit_in_bytes = UNLIMITED
    assert memory.limit_in_bytes == UNLIMITED


def test_keywords_are_staged_also_where_the_group_exists(made: str) -> None:
    memory = Cgroup.MEMORY(made, limit_in_bytes="8M")
    assert oracle.memory_limit(made) > 8 * MIB
    assert memory.limit_in_bytes == 8 * MIB
    memory.modify()
    assert oracle.memory_limit(made) == 8 * MIB


def test_a_group_that_comes_to_exist_is_set_by_modify(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    assert oracle.memory_limit(name) > 8 * MIB
    assert memory.limit_in_bytes == 8 * MIB
    memory.modify()
    assert oracle.memory_limit(name) == 8 * MIB


def test_a_live_assignment_replaces_what_was_staged(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    memory.limit_in_bytes = "16M"
    memory.modify()
    assert oracle.memory_limit(name) == 16 * MIB


def test_a_staged_value_is_checked_at_once(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    for value in ("8MB", -5, 1.5, None, True):
        with pytest.raises(InvalidValueError, match="limit_in_bytes"):
            memory.limit_in_bytes = value  # type: ignore[assignment]
    memory.create()
    assert memory.limit_in_bytes == UNLIMITED


@pytest.mark.parametrize("value", ["8MB", -5, 1.5, None, True, [1], {1: 1}, b"8M", object()])
def test_a_live_value_is_checked_before_the_kernel_sees_it(made: str, value: object) -> None:
    memory = Cgroup.MEMORY(made)
    memory.limit_in_bytes = "8M"
    with pytest.raises(InvalidValueError, match="limit_in_bytes"):
        memory.limit_in_bytes = value  # type: ignore[assignment]
    assert oracle.memory_limit(made) == 8 * MIB


@pytest.mark.parametrize("exists", [True, False])
def test_keywords_are_all_checked_before_any_is_used(name: str, exists: bool) -> None:
    if exists:
        oracle.make("memory", name)
    with pytest.raises((InvalidValueError, UnsupportedSettingError), match="oom_control"):
        Cgroup.MEMORY(name, limit_in_bytes="8M", oom_control="nonsense")
    with pytest.raises(UnsupportedSettingError, match="limit_in_bites"):
        Cgroup.MEMORY(name, limit_in_bytes="8M", limit_in_bites="8M")
    assert oracle.exists("memory", name) is exists
    if exists:
        assert oracle.memory_limit(name) > 8 * MIB


def test_a_reading_takes_no_value(made: str) -> None:
    with pytest.raises(ReadOnlySettingError, match="usage_in_bytes"):
        Cgroup.MEMORY(made).usage_in_bytes = 5  # type: ignore[assignment]
    with pytest.raises(ReadOnlySettingError, match="usage_in_bytes"):
        Cgroup.MEMORY(made).modify(usage_in_bytes=5)
    with pytest.raises(ReadOnlySettingError, match="usage_in_bytes"):
        Cgroup.MEMORY(made, usage_in_bytes=5)


def test_an_unknown_attribute_is_not_taken(made: str) -> None:
    with pytest.raises(AttributeError):
        Cgroup.MEMORY(made).limit_in_bites = 5  # type: ignore[attr-defined]


def test_reading_a_group_that_does_not_exist(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    for read in (lambda: memory.usage_in_bytes, lambda: memory.limit_in_bytes, lambda: memory["memory.stat"]):
        with pytest.raises(GroupNotFoundError, match=name):
            read()


@needs("root")
def test_a_write_without_permission(made: str) -> None:
    def assign() -> None:
        Cgroup.MEMORY(made).limit_in_bytes = "8M"

    with pytest.raises(PermissionDeniedError, match="run as root, or in a subtree that was delegated") as caught:
        forked(assign, NOBODY)
    assert caught.value.setting == "limit_in_bytes"
    assert caught.value.errno == errno.EACCES
    assert oracle.memory_limit(made) > 8 * MIB


@needs("memory", version=1)
def test_a_live_value_that_the_kernel_refuses(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.swappiness = 20
    with pytest.raises(InvalidValueError, match="swappiness") as caught:
        memory.swappiness = 1000
    assert (caught.value.setting, caught.value.value, caught.value.errno) == ("swappiness", 1000, errno.EINVAL)
    assert oracle.read("memory", made, "memory.swappiness") == "20"


@needs("memory")
def test_any_control_file_by_its_kernel_name(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    assert memory["memory.stat"] == oracle.read("memory", made, "memory.stat")
    with pytest.raises(UnsupportedSettingError, match=r"memory\.nonsense"):
        memory["memory.nonsense"]
    with pytest.raises(UnsupportedSettingError, match=r"memory\.nonsense"):
        memory["memory.nonsense"] = 1
    for file in ("../cgroup.procs", "", "a/b", "tasks\n"):
        with pytest.raises(InvalidNameError):
            memory[file]
        with pytest.raises(InvalidNameError):
            memory[file] = 1


@needs("memory", version=1)
def test_control_files_by_name_write_and_stage(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory["memory.swappiness"] = 10
    memory.create()
    assert oracle.read("memory", name, "memory.swappiness") == "10"
    memory["memory.swappiness"] = "20"
    assert oracle.read("memory", name, "memory.swappiness") == memory["memory.swappiness"] == "20"


@needs("memory", version=1)
def test_a_write_only_file_cannot_be_read(made: str) -> None:
    with pytest.raises((UnsupportedSettingError, InvalidValueError, PermissionDeniedError)):
        Cgroup.MEMORY(made)["memory.force_empty"]


@needs("memory.memsw.limit_in_bytes")
def test_modify_raises_and_lowers_in_an_order_that_the_kernel_accepts(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    for low, high in (("8M", "16M"), ("32M", "64M"), ("4M", "4M"), ("64M", "64M"), ("8M", "8M")):
        memory.modify(limit_in_bytes=low, memsw_limit_in_bytes=high)
        assert (memory.limit_in_bytes, memory.memsw_limit_in_bytes) == tuple(
            int(each[:-1]) * MIB for each in (low, high)
        )
        memory.modify(memsw_limit_in_bytes=high, limit_in_bytes=low)
    memory.modify(limit_in_bytes=UNLIMITED, memsw_limit_in_bytes=UNLIMITED)
    memory.modify(limit_in_bytes="8M", memsw_limit_in_bytes="8M")
    assert oracle.memory_limit(made) == int(oracle.read("memory", made, "memory.memsw.limit_in_bytes")) == 8 * MIB


@needs("memory.memsw.limit_in_bytes")
def test_create_sets_memsw_and_limit_in_either_order(unique: Unique) -> None:
    first, second = unique("memory"), unique("memory")
    Cgroup.MEMORY(first, limit_in_bytes="8M", memsw_limit_in_bytes="16M").create()
    Cgroup.MEMORY(second, memsw_limit_in_bytes="16M", limit_in_bytes="8M").create()
    for name in (first, second):
        assert oracle.memory_limit(name) == 8 * MIB
        assert oracle.read("memory", name, "memory.memsw.limit_in_bytes") == str(16 * MIB)


@needs("memory", version=1)
def test_modify_names_the_refused_value_and_what_was_applied(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    with pytest.raises(InvalidValueError, match="swappiness") as caught:
        memory.modify(limit_in_bytes="8M", swappiness=1000)
    assert (caught.value.setting, caught.value.value, caught.value.errno) == ("swappiness", 1000, errno.EINVAL)
    assert any("limit_in_bytes" in note for note in caught.value.__notes__)
    assert oracle.memory_limit(made) == 8 * MIB


def test_modify_checks_all_before_it_writes_any(made: str) -> None:
    with pytest.raises((InvalidValueError, UnsupportedSettingError), match="oom_control"):
        Cgroup.MEMORY(made).modify(limit_in_bytes="8M", oom_control="nonsense")
    assert oracle.memory_limit(made) > 8 * MIB


def test_modify_of_a_group_that_does_not_exist(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    with pytest.raises(GroupNotFoundError, match=name):
        memory.modify(limit_in_bytes="8M")
    assert not oracle.exists("memory", name)


@needs("root")
def test_modify_without_permission(made: str) -> None:
    with pytest.raises(PermissionDeniedError):
        forked(lambda: Cgroup.MEMORY(made).modify(limit_in_bytes="8M"), NOBODY)
    assert oracle.memory_limit(made) > 8 * MIB


def test_modify_knows_what_is_meant(made: str) -> None:
    with pytest.raises(UnsupportedSettingError, match="did you mean 'limit_in_bytes'"):
        Cgroup.MEMORY(made).modify(limit_in_byte=5)
