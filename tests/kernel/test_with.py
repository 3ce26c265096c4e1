# SPDX-License-Identifier: MIT
"""with: what entry makes, exit removes, and where the processes go."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pycgroup import (
    Cgroup,
    InvalidValueError,
)
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.processes import forked

pytestmark = needs("memory")

Unique = Callable[..., str]
MIB = 1 << 20


def test_with_creates_and_deletes(name: str) -> None:
    with Cgroup.MEMORY(name, limit_in_bytes="8M") as memory:
        assert oracle.memory_limit(name) == memory.limit_in_bytes == 8 * MIB
    assert not oracle.exists("memory", name)


def test_with_leaves_a_group_that_was_there(made: str) -> None:
    with Cgroup.MEMORY(made, limit_in_bytes="8M"):
        assert oracle.memory_limit(made) == 8 * MIB
    assert oracle.exists("memory", made)


def test_with_applies_what_was_staged_before_the_group_came_to_exist(name: str) -> None:
    memory = Cgroup.MEMORY(name, limit_in_bytes="8M")
    oracle.make("memory", name)
    with memory:
        assert oracle.memory_limit(name) == 8 * MIB


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
