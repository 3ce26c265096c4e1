# SPDX-License-Identifier: MIT
"""Starting inside a v2 group: by the kernel (CLONE_INTO_CGROUP), and by writing where it cannot."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pycgroup import PermissionDeniedError, _native
from pycgroup.hosts import here
from pycgroup.spawn import Entrance, Popen
from tests.kernel.test_spawn_popen import THREADS, starts_of
from tests.support import machine
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked
from tests.support.whereabouts import LOOK, outside

if TYPE_CHECKING:
    from pycgroup.hierarchy import Hierarchy

pytestmark = needs("cgroup-v2")


@pytest.fixture
def everywhere(unique: Callable[..., str]) -> Iterator[dict[Hierarchy, str]]:
    """Make a group of one name in the v2 hierarchy and in those of v1 that need no settings."""
    name = unique("freezer")
    trees = [tree for tree in here().hierarchies if tree.controllers & {"memory", "pids"} or tree.starts_inside]
    places = {tree: tree.directory("/" + name) for tree in trees}
    for directory in places.values():
        os.mkdir(directory)
    yield places
    for directory in places.values():
        os.rmdir(directory)


def _start_and_look(entrance: Entrance) -> list[str]:
    with Popen(LOOK, entrance=entrance, stdout=subprocess.PIPE, text=True) as process:
        return outside(process.communicate()[0], tuple(entrance.directories))


@starts_of
def test_every_one_of_many_starts_from_four_threads_is_inside(everywhere: dict[Hierarchy, str], starts: int) -> None:
    entrance = Entrance(everywhere)
    assert entrance.into is not None
    with ThreadPoolExecutor(THREADS) as threads:
        strays = list(threads.map(lambda _: _start_and_look(entrance), range(starts)))
    assert strays == [[]] * starts


def test_a_group_that_was_killed_takes_processes_again(everywhere: dict[Hierarchy, str]) -> None:
    """Though some kernels kill who begins there (CLONE_INTO_CGROUP) ever after."""
    for tree, directory in everywhere.items():
        if tree.starts_inside:
            machine.write(f"{directory}/cgroup.kill", "1")
    for _ in range(3):
        assert _start_and_look(Entrance(everywhere)) == []


def test_a_kernel_that_cannot_start_inside_is_helped_by_a_write(everywhere: dict[Hierarchy, str]) -> None:
    entrance = Entrance(everywhere)
    entrance.into = None
    assert _start_and_look(entrance) == []


@needs("root")
def test_another_user_starts_inside(everywhere: dict[Hierarchy, str]) -> None:
    entrance = Entrance(everywhere)
    with Popen(LOOK, entrance=entrance, user=NOBODY, stdout=subprocess.PIPE, text=True) as process:
        assert outside(process.communicate()[0], tuple(entrance.directories)) == []


@needs("root")
def test_a_group_that_this_user_may_not_enter(everywhere: dict[Hierarchy, str]) -> None:
    entrance = Entrance({tree: place for tree, place in everywhere.items() if tree.starts_inside})

    def attempt() -> None:
        Popen(["true"], entrance=entrance)

    with pytest.raises(PermissionDeniedError, match="delegated"):
        forked(attempt, uid=NOBODY)


def test_a_group_that_is_gone_is_named_with_what_was_asked(everywhere: dict[Hierarchy, str]) -> None:
    entrance = Entrance(everywhere)
    os.rmdir(entrance.directories[-1])
    report = _native.new_child(-1, -1, -1, 1, 1, 0, -1, -1, -1, -1, -1, 0)
    into = os.fsencode(entrance.directories[-1])
    nothing = _native.strings([])
    pid, stage, _, _ = _native.start(report, into, entrance.files, ["/bin/true"], ["true"], nothing, None, [], [])
    os.mkdir(entrance.directories[-1])
    assert (pid, stage) == (-1, _native.ENTER)
