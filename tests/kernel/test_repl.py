# SPDX-License-Identifier: MIT
"""At the prompt: repr, dir and help say what is there, and looking changes nothing."""

from __future__ import annotations

import os
import pydoc
import re
from collections.abc import Callable

import pytest

from pycgroup import Cgroup, GroupNotFoundError, UnsupportedSettingError
from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.declared import CLASSES, Declared, every

Unique = Callable[..., str]


@needs("memory", version=1)
def test_repr_of_a_group(unique: Unique) -> None:
    name = unique("memory")
    with Cgroup.MEMORY(name, limit_in_bytes="8K") as memory:
        assert repr(memory) == f"<Cgroup.MEMORY '{name}' v1 limit_in_bytes=8192 usage_in_bytes=0>"


@needs("memory")
def test_repr_says_what_is_staged(unique: Unique) -> None:
    name = unique("memory")
    memory = Cgroup.MEMORY(name, limit_in_bytes="8K")
    shown = repr(memory)
    assert name in shown
    assert f"v{memory.version}" in shown
    assert "does not exist" in shown
    assert re.search(r"staged.*limit_in_bytes='8K'", shown)
    memory.create()
    assert "staged:" not in repr(memory)


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in CLASSES])
def test_repr_of_every_class(controller: str, unique: Unique) -> None:
    name = unique(controller)
    handle = CLASSES[controller](name)
    for shown in (repr(handle), repr(handle.create()), repr(CLASSES[controller]("/"))):
        assert shown.startswith(f"<Cgroup.{controller.upper()} '/")
        assert f" v{handle.version}" in shown
        assert len(shown) < 500
    handle.delete()
    assert "does not exist" in repr(handle)


@needs("memory")
def test_repr_of_a_group_that_vanished(unique: Unique) -> None:
    memory = Cgroup.MEMORY(unique("memory"))
    directory = memory.create().path
    os.rmdir(directory)
    assert "does not exist" in repr(memory)


@needs("memory")
def test_repr_and_dir_make_nothing(unique: Unique) -> None:
    name = unique("memory")
    memory = Cgroup.MEMORY(name)
    repr(memory), dir(memory), str(memory), hash(memory), memory == memory  # noqa: PLR0124
    assert not oracle.exists("memory", name)


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in CLASSES])
def test_dir_lists_what_this_host_has(controller: str, unique: Unique) -> None:
    with CLASSES[controller](unique(controller)) as handle:
        shown = dir(handle)
        assert {"create", "delete", "attach", "exists", "path", "settings"} <= set(shown)
        for setting in handle.settings():
            for name in (setting.name, *setting.aliases):
                if setting.readable:
                    assert (name in shown) == hasattr(handle, name), name


@needs("memory")
def test_dir_of_a_group_that_does_not_exist_lists_what_it_would_have(unique: Unique) -> None:
    shown = dir(Cgroup.MEMORY(unique("memory")))
    assert "limit_in_bytes" in shown
    assert "limit_in_bites" not in shown


@pytest.mark.parametrize("controller", CLASSES)
def test_help_reads_like_a_reference(controller: str) -> None:
    text = pydoc.plain(pydoc.render_doc(CLASSES[controller]))
    for setting in CLASSES[controller].settings():
        assert setting.name in text
        assert setting.doc in text
        for file in (setting.v1, setting.v2):
            assert file is None or file.name in text
    assert "create(self" in text


@every(lambda each: each.setting.readable)
def test_help_says_unit_and_files(each: Declared) -> None:
    text = str(each.setting.__doc__)
    assert each.setting.doc in text
    assert each.setting.takes
    assert each.setting.takes in text
    assert (each.setting.v1 or each.setting.v2).name in text


@pytest.mark.parametrize("controller", CLASSES)
def test_class_and_methods_have_a_doc(controller: str) -> None:
    cls = CLASSES[controller]
    assert cls.__doc__
    public = [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))]
    assert [name for name in public if not getattr(cls, name).__doc__] == []


@needs("memory")
def test_what_cannot_be_assigned_or_deleted(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory"), limit_in_bytes="64M") as memory:
        with pytest.raises(AttributeError):
            memory.group_name = "other"  # type: ignore[misc]
        with pytest.raises(AttributeError, match="limit_in_bytes: a control file cannot be deleted"):
            del memory.limit_in_bytes
        assert memory.limit_in_bytes == 64 << 20


@needs("memory", version=1)
def test_what_a_missing_group_needs_is_to_be_made(unique: Unique) -> None:
    with pytest.raises(GroupNotFoundError, match=r"the group does not exist; create\(\) makes it"):
        _ = Cgroup.MEMORY(unique("memory")).numa_stat
    with pytest.raises(GroupNotFoundError, match=r"cannot delete it: the group does not exist; exists\(\) asks"):
        Cgroup.MEMORY(unique("memory")).delete()


@needs("memory", version=1)
def test_files_of_the_root_only_say_so(unique: Unique) -> None:
    with (
        Cgroup.MEMORY(unique("memory")) as memory,
        pytest.raises(UnsupportedSettingError, match="the group has no such file; needs the root"),
    ):
        memory.release_agent = "/bin/true"


def test_hasattr_is_the_probe(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        assert hasattr(memory, "limit_in_bytes")
        assert hasattr(memory, "soft_limit_in_bytes") == (memory.version == 1)
        assert hasattr(memory, "oom_group") == (memory.version == 2)
        assert not hasattr(memory, "limit_in_bites")
