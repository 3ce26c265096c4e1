# SPDX-License-Identifier: MIT
"""create, exists, children, pids: what each does in the kernel, and how each fails when it really fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidValueError,
    PermissionDeniedError,
)
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("memory")

Unique = Callable[..., str]
MIB = 1 << 20


def test_a_handle_makes_nothing(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    assert not memory.exists()
    assert not oracle.exists("memory", name)


def test_create_makes_the_directory(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    assert oracle.exists("memory", name)
    assert memory.exists()
    assert str(memory.path) == oracle.directory("memory", name)


def test_open_is_create_and_close_is_delete(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.open()
    assert oracle.exists("memory", name)
    memory.close()
    assert not oracle.exists("memory", name)


def test_create_makes_the_groups_above(name: str) -> None:
    Cgroup.MEMORY(f"{name}/a/b").create()
    assert oracle.exists("memory", f"{name}/a/b")


def test_create_applies_what_is_staged(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    memory.create()
    assert oracle.memory_limit(name) == 8 * MIB


def test_create_applies_what_was_assigned_before(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.limit_in_bytes = "8M"
    assert memory.limit_in_bytes == 8 * MIB
    assert not oracle.exists("memory", name)
    memory.create()
    assert oracle.memory_limit(name) == memory.limit_in_bytes == 8 * MIB


def test_create_of_an_existing_group_changes_nothing(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises(GroupExistsError, match=made) as caught:
            memory.create()
        assert oracle.pids("memory", made) == {child.pid}
    assert isinstance(caught.value, FileExistsError)
    assert caught.value.errno == errno.EEXIST


def test_create_twice(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    with pytest.raises(GroupExistsError):
        memory.create()


@needs("memory", version=1)
def test_a_value_that_the_kernel_refuses_leaves_no_group(name: str) -> None:
    memory = Cgroup.MEMORY(f"{name}/inner", limit_in_bytes="8M", swappiness=1000)
    with pytest.raises(InvalidValueError, match="swappiness") as caught:
        memory.create()
    assert caught.value.setting == "swappiness"
    assert caught.value.value == 1000
    assert caught.value.errno == errno.EINVAL
    assert not oracle.exists("memory", name)


@needs("memory", version=1)
def test_a_refused_value_leaves_groups_that_were_there(made: str) -> None:
    with pytest.raises(InvalidValueError):
        Cgroup.MEMORY(f"{made}/a/b", swappiness=1000).create()
    assert oracle.exists("memory", made)
    assert not oracle.exists("memory", f"{made}/a")


@needs("memory", version=1)
def test_a_refused_value_can_be_corrected(name: str) -> None:
    memory = Cgroup.MEMORY(name, swappiness=1000)
    with pytest.raises(InvalidValueError):
        memory.create()
    memory.swappiness = 10
    memory.create()
    assert oracle.read("memory", name, "memory.swappiness") == "10"


@needs("root")
def test_create_without_permission(name: str) -> None:
    with pytest.raises(PermissionDeniedError, match="root") as caught:
        forked(Cgroup.MEMORY(name).create, NOBODY)
    assert caught.value.errno in (errno.EACCES, errno.EPERM)
    assert not oracle.exists("memory", name)


@needs("root")
def test_create_below_a_group_of_somebody_else(made: str) -> None:
    with pytest.raises(PermissionDeniedError):
        forked(Cgroup.MEMORY(f"{made}/inner", limit_in_bytes="8M").create, NOBODY)
    assert not oracle.exists("memory", f"{made}/inner")


@pytest.mark.parametrize("file", ["cgroup.procs", "cgroup.procs/inner"])
def test_a_control_file_in_the_way(made: str, file: str) -> None:
    memory = Cgroup.MEMORY(f"{made}/{file}")
    assert not memory.exists()
    with pytest.raises(CgroupError, match=r"cgroup\.procs") as caught:
        memory.create()
    assert caught.value.errno in (errno.EEXIST, errno.ENOTDIR)
    assert not memory.exists()


def test_exists_follows_the_kernel(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    assert not memory.exists()
    directory = oracle.make("memory", name)
    assert memory.exists()
    os.rmdir(directory)
    assert not memory.exists()
    assert Cgroup.MEMORY("/").exists()


@pytest.mark.parametrize("spelt", ["{}", "/{}", "//{}/"])
def test_names_with_more_slashes_are_one_group(name: str, spelt: str) -> None:
    with Cgroup.MEMORY(spelt.format(name)) as memory:
        assert oracle.exists("memory", name)
        assert memory.group_name == spelt.format(name)
        assert str(memory.path) == oracle.directory("memory", name)


def test_children_are_the_groups_right_below(made: str) -> None:
    for inner in ("b", "a", "a/deep"):
        oracle.make("memory", f"{made}/{inner}")
    children = Cgroup.MEMORY(made).children()
    assert [str(child.path) for child in children] == [oracle.directory("memory", f"{made}/{each}") for each in "ab"]
    assert all(type(child) is Cgroup.MEMORY for child in children)
    assert [str(child.path) for child in children[0].children()] == [oracle.directory("memory", f"{made}/a/deep")]
    assert children[1].children() == []


def test_pids_and_threads(made: str) -> None:
    directory = oracle.directory("memory", made)
    memory = Cgroup.MEMORY(made)
    assert memory.pids() == memory.threads() == []
    with processes.idle(directory) as one, processes.threaded(directory) as four:
        assert memory.pids() == sorted((one.pid, four.pid))
        assert memory.threads() == sorted([one.pid, *map(int, os.listdir(f"/proc/{four.pid}/task"))])


MANY_THREADS = """
import threading, sys
threading.stack_size(65536)
go = threading.Event()
for _ in range(1000): threading.Thread(target=go.wait, daemon=True).start()
print("threads", flush=True)
sys.stdin.read()
go.set()
"""


def test_long_lists_are_read_to_their_end(made: str) -> None:
    # The kernel hands out lists page by page.
    memory = Cgroup.MEMORY(made)
    with processes.python(MANY_THREADS, oracle.directory("memory", made)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "threads\n"
        threads = sorted(map(int, os.listdir(f"/proc/{child.pid}/task")))
        file = "tasks" if memory.version < 2 else "cgroup.threads"
        assert memory.threads() == threads
        assert sorted(map(int, memory[file].split())) == threads


@pytest.mark.parametrize("method", ["pids", "threads", "children", "modify", "delete", "attach", "attach_thread"])
def test_methods_of_a_group_that_vanished(name: str, method: str) -> None:
    memory = Cgroup.MEMORY(name)
    oracle.make("memory", name)
    assert memory.pids() == []
    os.rmdir(oracle.directory("memory", name))
    before = oracle.group_of("memory")
    with pytest.raises(GroupNotFoundError, match=name):
        getattr(memory, method)()
    assert oracle.group_of("memory") == before


@needs("memory", version=1)
def test_two_controllers_have_a_group_each(unique: Unique) -> None:
    name = unique("memory", "pids")
    with Cgroup.MEMORY(name), Cgroup.PIDS(name):
        assert oracle.exists("memory", name)
        assert oracle.exists("pids", name)
    assert not oracle.exists("memory", name)
    assert not oracle.exists("pids", name)
