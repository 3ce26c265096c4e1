# SPDX-License-Identifier: MIT
"""Control files that are methods, write-only settings and event files: what the kernel does on a call."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupNotFoundError,
    InvalidValueError,
    ReadOnlySettingError,
    UnsupportedSettingError,
)
from pycgroup.actions import Command, Trigger
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.declared import CLASSES, Declared, every, group

Unique = Callable[..., str]


@needs("devices", version=1)
@needs("root")
def test_devices_are_allowed_and_denied(unique: Unique) -> None:
    name = unique("devices")
    with Cgroup.DEVICES(name) as devices:
        devices.deny("a")
        assert oracle.read("devices", name, "devices.list") == ""
        devices.allow("c 1:3 rwm")
        assert oracle.read("devices", name, "devices.list") == "c 1:3 rwm"
        assert devices.list == ("c 1:3 rwm",)


@needs("devices", version=1)
@needs("root")
def test_a_denied_device_cannot_be_opened(unique: Unique) -> None:
    def open_null() -> str:
        try:
            os.close(os.open("/dev/null", os.O_RDONLY))
        except PermissionError:
            return "denied"
        return "allowed"

    with Cgroup.DEVICES(unique("devices")) as devices:

        def inside() -> str:
            devices.attach()
            return open_null()

        assert processes.forked(inside) == "allowed"
        devices.deny("c 1:3 rwm")
        assert processes.forked(inside) == "denied"


@needs("devices", version=1)
@needs("root")
@pytest.mark.parametrize("rule", ["nonsense", "c 1:3", "", None, 5, b"a", "a\na"])
def test_a_rule_that_is_none(unique: Unique, rule: object) -> None:
    with Cgroup.DEVICES(unique("devices")) as devices:
        with pytest.raises(InvalidValueError, match="deny"):
            devices.deny(rule)  # type: ignore[arg-type]
        assert devices.list == ("a *:* rwm",)


@needs("memory", version=1)
def test_force_empty_reclaims(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        memory.force_empty()
        assert memory.usage_in_bytes == 0


@needs("blkio", version=1)
def test_reset_stats(unique: Unique) -> None:
    with Cgroup.BLKIO(unique("blkio")) as blkio:
        blkio.reset_stats()


@needs("freezer-on-v2")
def test_cgroup_kill_kills_the_whole_group(unique: Unique) -> None:
    with Cgroup.FREEZER(unique("freezer")) as group, processes.idle(group.path) as child:
        group.cgroup_kill()
        assert child.wait(60) == -9


def an_action(each: Declared) -> bool:
    return isinstance(each.setting, Command | Trigger)


@every(lambda each: an_action(each) and each.column is not None)
def test_an_action_of_a_group_that_does_not_exist(each: Declared, unique: Unique) -> None:
    method = getattr(group(each, unique(each.controller)), each.setting.name)
    with pytest.raises(GroupNotFoundError, match=each.setting.name):
        method("1") if isinstance(each.setting, Command) else method()


@every(lambda each: an_action(each) and each.column is not None)
def test_an_action_is_a_method_with_a_doc(each: Declared, unique: Unique) -> None:
    handle = group(each, unique(each.controller))
    method = getattr(handle, each.setting.name)
    assert callable(method)
    assert each.setting.doc in str(method.__doc__)
    with pytest.raises((UnsupportedSettingError, ReadOnlySettingError), match="method"):
        setattr(handle, each.setting.name, "1")
    with pytest.raises((UnsupportedSettingError, ReadOnlySettingError)):
        handle.modify(**{each.setting.name: "1"})


@every(lambda each: an_action(each) and each.column is None)
def test_an_action_that_this_version_lacks(each: Declared, unique: Unique) -> None:
    with CLASSES[each.controller](unique(each.controller)) as handle:
        assert each.setting.name not in dir(handle)


@needs("memory.pressure_level:v1")
def test_an_event_file_is_watched_not_read(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        with pytest.raises(UnsupportedSettingError, match="events"):
            _ = memory.pressure_level
        assert not hasattr(memory, "pressure_level")
        with pytest.raises(AttributeError):
            memory.pressure_level = "low"  # type: ignore[misc,assignment]


@needs("memory", version=1)
def test_an_eventfd_is_registered_as_in_mruby(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        event = os.eventfd(0, os.EFD_NONBLOCK)
        usage = os.open(f"{memory.path}/memory.usage_in_bytes", os.O_RDONLY)
        memory.cgroup_event_control = f"{event} {usage} 1M"
        os.close(usage)
        child = "x = bytearray(4 << 20); print('full', flush=True); input()"
        with processes.python(child, str(memory.path)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "full\n"
            assert select.select([event], [], [], 60)[0]
            assert os.eventfd_read(event) >= 1
        os.close(event)


@needs("memory", version=1)
def test_a_registration_that_the_kernel_refuses(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        for text in ("nonsense", "9999 9999"):
            with pytest.raises(CgroupError, match="cgroup_event_control"):
                memory.cgroup_event_control = text
        with pytest.raises(UnsupportedSettingError, match="cgroup_event_control"):
            _ = memory.cgroup_event_control
