# SPDX-License-Identifier: MIT
"""create, modify, delete, exists, with: what each does in the kernel, and how each fails when it really fails."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import pytest

from pycgroup import (
    UNLIMITED,
    Cgroup,
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidNameError,
    InvalidValueError,
    PermissionDeniedError,
    ReadOnlySettingError,
    UnsupportedSettingError,
)
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("memory")

Unique = Callable[..., str]
MIB = 1 << 20
NO_LIMIT = 2**63


@pytest.fixture
def name(unique: Unique) -> str:
    return unique("memory")


@pytest.fixture
def made(name: str) -> str:
    """Return the name of a group that was made with mkdir."""
    oracle.make("memory", name)
    return name


def limit(name: str) -> int:
    """Return a group's memory limit as the kernel has it."""
    file = (
        "memory.limit_in_bytes"
        if os.path.exists(oracle.directory("memory", f"{name}/memory.limit_in_bytes"))
        else "memory.max"
    )
    text = oracle.read("memory", name, file)
    return NO_LIMIT if text == "max" else int(text)


# create


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
    assert limit(name) == 8 * MIB


def test_create_applies_what_was_assigned_before(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.limit_in_bytes = "8M"
    assert memory.limit_in_bytes == 8 * MIB
    assert not oracle.exists("memory", name)
    memory.create()
    assert limit(name) == memory.limit_in_bytes == 8 * MIB


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


# assignment


def test_assignment_to_an_existing_group_is_live(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.limit_in_bytes = 8 * 1024 * 1024
    assert limit(made) == 8 * MIB
    memory.limit_in_bytes = UNLIMITED
    assert memory.limit_in_bytes == UNLIMITED


def test_keywords_are_staged_also_where_the_group_exists(made: str) -> None:
    memory = Cgroup.MEMORY(made, limit_in_bytes="8M")
    assert limit(made) > 8 * MIB
    assert memory.limit_in_bytes == 8 * MIB
    memory.modify()
    assert limit(made) == 8 * MIB


def test_a_group_that_comes_to_exist_is_set_by_modify(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    assert limit(name) > 8 * MIB
    assert memory.limit_in_bytes == 8 * MIB
    memory.modify()
    assert limit(name) == 8 * MIB


def test_a_live_assignment_replaces_what_was_staged(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    memory.limit_in_bytes = "16M"
    memory.modify()
    assert limit(name) == 16 * MIB


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
    assert limit(made) == 8 * MIB


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
        assert limit(name) > 8 * MIB


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

    with pytest.raises(PermissionDeniedError) as caught:
        forked(assign, NOBODY)
    assert caught.value.setting == "limit_in_bytes"
    assert caught.value.errno == errno.EACCES
    assert limit(made) > 8 * MIB


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


# modify


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
    assert limit(made) == int(oracle.read("memory", made, "memory.memsw.limit_in_bytes")) == 8 * MIB


@needs("memory.memsw.limit_in_bytes")
def test_create_sets_memsw_and_limit_in_either_order(unique: Unique) -> None:
    first, second = unique("memory"), unique("memory")
    Cgroup.MEMORY(first, limit_in_bytes="8M", memsw_limit_in_bytes="16M").create()
    Cgroup.MEMORY(second, memsw_limit_in_bytes="16M", limit_in_bytes="8M").create()
    for name in (first, second):
        assert limit(name) == 8 * MIB
        assert oracle.read("memory", name, "memory.memsw.limit_in_bytes") == str(16 * MIB)


@needs("memory", version=1)
def test_modify_names_the_refused_value_and_what_was_applied(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    with pytest.raises(InvalidValueError, match="swappiness") as caught:
        memory.modify(limit_in_bytes="8M", swappiness=1000)
    assert (caught.value.setting, caught.value.value, caught.value.errno) == ("swappiness", 1000, errno.EINVAL)
    assert any("limit_in_bytes" in note for note in caught.value.__notes__)
    assert limit(made) == 8 * MIB


def test_modify_checks_all_before_it_writes_any(made: str) -> None:
    with pytest.raises((InvalidValueError, UnsupportedSettingError), match="oom_control"):
        Cgroup.MEMORY(made).modify(limit_in_bytes="8M", oom_control="nonsense")
    assert limit(made) > 8 * MIB


def test_modify_of_a_group_that_does_not_exist(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    with pytest.raises(GroupNotFoundError, match=name):
        memory.modify(limit_in_bytes="8M")
    assert not oracle.exists("memory", name)


@needs("root")
def test_modify_without_permission(made: str) -> None:
    with pytest.raises(PermissionDeniedError):
        forked(lambda: Cgroup.MEMORY(made).modify(limit_in_bytes="8M"), NOBODY)
    assert limit(made) > 8 * MIB


def test_modify_knows_what_is_meant(made: str) -> None:
    with pytest.raises(UnsupportedSettingError, match="did you mean 'limit_in_bytes'"):
        Cgroup.MEMORY(made).modify(limit_in_byte=5)


# delete


def test_delete_of_an_empty_group(made: str) -> None:
    memory = Cgroup.MEMORY(made)
    memory.delete()
    assert not oracle.exists("memory", made)
    assert not memory.exists()


def test_delete_moves_processes_to_the_parent(made: str) -> None:
    inner = oracle.make("memory", f"{made}/inner")
    with processes.idle(inner) as one, processes.threaded(inner) as four:
        Cgroup.MEMORY(f"{made}/inner").delete()
        assert oracle.pids("memory", made) == {one.pid, four.pid}
        assert one.poll() is None
        for thread in os.listdir(f"/proc/{four.pid}/task"):
            assert oracle.group_of("memory", f"{four.pid}/task/{thread}") == made
    assert not oracle.exists("memory", f"{made}/inner")


def test_delete_kills_when_asked(made: str) -> None:
    directory = oracle.directory("memory", made)
    with processes.idle(directory) as one, processes.threaded(directory) as four:
        Cgroup.MEMORY(made).delete(tasks="kill")
        assert not oracle.exists("memory", made)
        assert (one.wait(60), four.wait(60)) == (-9, -9)


def test_delete_refuses_when_asked(made: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises(GroupBusyError, match=str(child.pid)) as caught:
            Cgroup.MEMORY(made).delete(tasks="refuse")
        assert caught.value.errno == errno.EBUSY
        assert oracle.pids("memory", made) == {child.pid}
        assert child.poll() is None


def test_delete_refuses_nothing_when_there_are_no_processes(made: str) -> None:
    Cgroup.MEMORY(made).delete(tasks="refuse")
    assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_delete_leaves_a_group_with_children_as_it_was(made: str, tasks: str) -> None:
    # libcgroup moves the tasks away first and fails then.
    oracle.make("memory", f"{made}/a")
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises(GroupBusyError, match="recursive"):
            Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
        assert child.poll() is None
        assert oracle.pids("memory", made) == {child.pid}
    assert oracle.exists("memory", f"{made}/a")


def test_recursive_delete_moves_all_processes_to_the_parent(made: str) -> None:
    deep = oracle.make("memory", f"{made}/top/a/b")
    with processes.idle(deep) as below, processes.idle(oracle.directory("memory", f"{made}/top")) as above:
        Cgroup.MEMORY(f"{made}/top").delete(recursive=True)
        assert oracle.pids("memory", made) == {below.pid, above.pid}
    assert not oracle.exists("memory", f"{made}/top")


def test_recursive_delete_kills_below_too(made: str) -> None:
    with processes.idle(oracle.make("memory", f"{made}/a/b")) as child:
        Cgroup.MEMORY(made).delete(tasks="kill", recursive=True)
        assert child.wait(60) == -9
    assert not oracle.exists("memory", made)


def test_recursive_delete_refuses_for_processes_below(made: str) -> None:
    with processes.idle(oracle.make("memory", f"{made}/a/b")) as child:
        with pytest.raises(GroupBusyError):
            Cgroup.MEMORY(made).delete(tasks="refuse", recursive=True)
        assert oracle.pids("memory", f"{made}/a/b") == {child.pid}


def test_delete_of_a_missing_group(name: str) -> None:
    with pytest.raises(GroupNotFoundError, match=name) as caught:
        Cgroup.MEMORY(name).delete()
    assert isinstance(caught.value, FileNotFoundError)


def test_delete_of_a_group_that_another_has_deleted(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    os.rmdir(oracle.directory("memory", name))
    memory.delete()


def test_delete_twice(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    memory.create()
    memory.delete()
    with pytest.raises(GroupNotFoundError):
        memory.delete()


def test_create_delete_create(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    for _ in range(3):
        memory.create()
        assert oracle.exists("memory", name)
        memory.delete()
        assert not oracle.exists("memory", name)


def test_delete_of_the_root() -> None:
    with pytest.raises(InvalidNameError, match="root"):
        Cgroup.MEMORY("/").delete()
    with pytest.raises((InvalidNameError, GroupExistsError)):
        Cgroup.MEMORY("/").create()


@pytest.mark.parametrize("tasks", ["ignore", "", None, 1])
def test_delete_knows_three_ways(made: str, tasks: object) -> None:
    with pytest.raises(ValueError, match="'move', 'kill' or 'refuse'"):
        Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
    assert oracle.exists("memory", made)


@needs("root")
@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_delete_without_permission(made: str, tasks: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        with pytest.raises((PermissionDeniedError, GroupBusyError)):
            forked(lambda: Cgroup.MEMORY(made).delete(tasks=tasks), NOBODY)  # type: ignore[arg-type]
        assert oracle.pids("memory", made) == {child.pid}
    with pytest.raises(PermissionDeniedError):
        forked(lambda: Cgroup.MEMORY(made).delete(), NOBODY)
    assert oracle.exists("memory", made)


LEAVES_TO_THE_ROOT = pytest.mark.xfail(
    os.geteuid() != 0, reason="delete(tasks='kill') moves the calling process to the root, which is not the user's"
)


@pytest.mark.parametrize("tasks", ["move", pytest.param("kill", marks=LEAVES_TO_THE_ROOT)])
def test_a_process_may_delete_the_group_that_it_is_in(made: str, tasks: str) -> None:
    def delete_own() -> str:
        oracle.write("memory", f"{made}/own", "cgroup.procs", "0")
        Cgroup.MEMORY(f"{made}/own").delete(tasks=tasks)  # type: ignore[arg-type]
        return oracle.group_of("memory")

    oracle.make("memory", f"{made}/own")
    assert forked(delete_own) != f"{made}/own"
    assert not oracle.exists("memory", f"{made}/own")


def test_killing_a_process_of_which_one_thread_is_inside(made: str) -> None:
    inner = oracle.make("memory", f"{made}/inner")
    if not os.path.exists(f"{inner}/tasks"):
        pytest.skip("cgroup v2 keeps the threads of a process together")
    with processes.threaded() as child:
        thread = next(each for each in os.listdir(f"/proc/{child.pid}/task") if int(each) != child.pid)
        oracle.write("memory", f"{made}/inner", "tasks", thread)
        forked(lambda: Cgroup.MEMORY(f"{made}/inner").delete(tasks="kill"))
        assert child.wait(60) == -9
    assert not oracle.exists("memory", f"{made}/inner")


# with


def test_with_creates_and_deletes(name: str) -> None:
    with Cgroup.MEMORY(name, limit_in_bytes="8M") as memory:
        assert limit(name) == memory.limit_in_bytes == 8 * MIB
    assert not oracle.exists("memory", name)


def test_with_leaves_a_group_that_was_there(made: str) -> None:
    with Cgroup.MEMORY(made, limit_in_bytes="8M"):
        assert limit(made) == 8 * MIB
    assert oracle.exists("memory", made)


def test_with_applies_what_was_staged_before_the_group_came_to_exist(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    with memory:
        assert limit(name) == 8 * MIB


def test_with_deletes_after_an_exception(name: str) -> None:
    with pytest.raises(ZeroDivisionError), Cgroup.MEMORY(name):
        _ = 1 // 0
    assert not oracle.exists("memory", name)


def test_with_deletes_the_groups_below(name: str) -> None:
    with Cgroup.MEMORY(name):
        oracle.make("memory", f"{name}/a/b")
    assert not oracle.exists("memory", name)


def test_with_moves_processes_out(name: str) -> None:
    before = oracle.group_of("memory")
    with Cgroup.MEMORY(name), processes.idle(oracle.directory("memory", name)) as child:
        assert oracle.pids("memory", name) == {child.pid}
    assert oracle.group_of("memory") == before
    assert not oracle.exists("memory", name)


# On v2 a group whose children have controllers takes no processes.
@needs("memory", version=1)
def test_with_moves_processes_that_go_on_to_the_parent(made: str) -> None:
    with Cgroup.MEMORY(f"{made}/inner"):
        running = processes.idle(oracle.directory("memory", f"{made}/inner"))
        child = running.__enter__()
    assert oracle.pids("memory", made) == {child.pid}
    running.__exit__(None, None, None)


@needs("memory", version=1)
def test_with_moves_the_calling_process_back_to_where_it_was(made: str) -> None:
    def inside_and_after() -> tuple[str, str]:
        oracle.write("memory", made, "cgroup.procs", "0")
        with Cgroup.MEMORY(f"{made}/inner") as memory:
            memory.attach()
            inside = oracle.group_of("memory")
        return inside, oracle.group_of("memory")

    assert forked(inside_and_after) == (f"{made}/inner", made)


def test_with_moves_the_calling_process_out_of_a_group_that_stays(made: str) -> None:
    def after() -> str:
        with Cgroup.MEMORY(made) as memory:
            memory.attach()
        return oracle.group_of("memory")

    before = oracle.group_of("memory")
    assert forked(after) == before
    assert oracle.exists("memory", made)


def test_with_does_not_mind_that_the_group_vanished(name: str) -> None:
    with Cgroup.MEMORY(name):
        os.rmdir(oracle.directory("memory", name))
    assert not oracle.exists("memory", name)


def test_with_may_be_entered_again_and_within_itself(name: str) -> None:
    memory = Cgroup.MEMORY(name)
    for _ in range(2):
        with memory:
            with memory:
                pass
            assert oracle.exists("memory", name)
        assert not oracle.exists("memory", name)


@needs("memory", version=1)
def test_with_that_cannot_create_leaves_nothing(name: str) -> None:
    with pytest.raises(InvalidValueError, match="swappiness"), Cgroup.MEMORY(name, swappiness=1000):
        raise AssertionError("the block was run")
    assert not oracle.exists("memory", name)


# what is there


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
for _ in range(1200): threading.Thread(target=go.wait).start()
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


# processes that are hard to be rid of

FORKING = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
else:
    print("forked", flush=True)
signal.pause()
"""


def test_kill_reaches_grandchildren_in_sessions_of_their_own(made: str) -> None:
    with processes.python(FORKING, oracle.directory("memory", made)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "forked\n"
        assert len(oracle.pids("memory", made)) > 1
        Cgroup.MEMORY(made).delete(tasks="kill")
        assert child.wait(60) == -9
    assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill", "refuse"])
def test_a_process_that_nobody_has_waited_for_is_not_in_the_way(made: str, tasks: str) -> None:
    with processes.idle(oracle.directory("memory", made)) as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        Cgroup.MEMORY(made).delete(tasks=tasks)  # type: ignore[arg-type]
        assert not oracle.exists("memory", made)


@pytest.mark.parametrize("tasks", ["move", "kill"])
def test_a_stopped_process_is_moved_and_killed(made: str, tasks: str) -> None:
    inner = oracle.make("memory", f"{made}/inner")
    with processes.idle(inner) as child:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        Cgroup.MEMORY(f"{made}/inner").delete(tasks=tasks)  # type: ignore[arg-type]
        assert oracle.pids("memory", made) == ({child.pid} if tasks == "move" else set())
    assert not oracle.exists("memory", f"{made}/inner")


@needs("freezer", version=1)
def test_a_frozen_group_is_deleted_and_its_process_goes_on(unique: Unique) -> None:
    freezer = Cgroup.FREEZER(unique("freezer")).create()
    with processes.idle(str(freezer.path)) as child:
        freezer.state = "FROZEN"
        freezer.delete()
        child.communicate("", timeout=60)  # it runs again, to its end
        assert child.returncode == 0


@needs("freezer", version=1)
def test_a_frozen_group_is_killed_or_says_what_is_in_the_way(unique: Unique) -> None:
    freezer = Cgroup.FREEZER(unique("freezer")).create()
    with processes.idle(str(freezer.path)) as child:
        freezer.state = "FROZEN"
        try:
            freezer.delete(tasks="kill")
        except GroupBusyError as error:
            assert str(child.pid) in str(error)  # noqa: PT017  # killed or said, either will do
            freezer.state = "THAWED"
            freezer.delete(tasks="kill")
        assert child.wait(60) == -9
    assert not freezer.exists()
