# SPDX-License-Identifier: MIT
"""Owner and permissions: what another user may do in a group that was given to him, and what not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from pycgroup import Cgroup, GroupNotFoundError, PermissionDeniedError
from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = [needs("root"), needs("memory")]

Unique = Callable[..., str]
TASKS = {"tasks", "cgroup.procs", "cgroup.threads"}


def statuses(name: str) -> dict[str, os.stat_result]:
    directory = oracle.directory("memory", name)
    return {file: os.stat(f"{directory}/{file}") for file in [".", *os.listdir(directory)]}


def test_chown_gives_the_directory_and_all_files(made: str) -> None:
    Cgroup.MEMORY(made).chown(NOBODY, 7)
    assert {(each.st_uid, each.st_gid) for each in statuses(made).values()} == {(NOBODY, 7)}


@pytest.mark.parametrize(("uid", "gid"), [(NOBODY, None), (None, 7), (None, None)])
def test_chown_leaves_what_is_not_given(made: str, uid: int | None, gid: int | None) -> None:
    Cgroup.MEMORY(made).chown(uid, gid)
    assert {(each.st_uid, each.st_gid) for each in statuses(made).values()} == {(uid or 0, gid or 0)}


def test_chown_gives_attaching_to_another(made: str) -> None:
    Cgroup.MEMORY(made).chown(NOBODY, NOBODY, tasks_uid=1234, tasks_gid=1235)
    for file, status in statuses(made).items():
        expected = (1234, 1235) if file in TASKS else (NOBODY, NOBODY)
        assert (status.st_uid, status.st_gid) == expected, file


def test_chown_leaves_the_groups_below(made: str) -> None:
    oracle.make("memory", f"{made}/inner")
    Cgroup.MEMORY(made).chown(NOBODY)
    assert {each.st_uid for each in statuses(f"{made}/inner").values()} == {0}


@needs("memory", version=1)  # on v2 nobody may move himself into a delegated subtree
def test_the_new_owner_may_use_the_group(made: str) -> None:
    def use() -> tuple[str, int | float]:
        memory = Cgroup.MEMORY(f"{made}/inner", limit_in_bytes="8M")
        memory.create()
        memory.limit_in_bytes = "16M"
        memory.attach()
        inside = oracle.group_of("memory")
        Cgroup.MEMORY(made).attach()
        limit = memory.limit_in_bytes
        memory.delete()
        return inside, limit

    Cgroup.MEMORY(made).chown(NOBODY, NOBODY)
    assert forked(use, NOBODY) == (f"{made}/inner", 16 << 20)


def test_chmod(made: str) -> None:
    before = statuses(made)
    Cgroup.MEMORY(made).chmod(0o750, files=0o640, tasks=0o666)
    for file, status in statuses(made).items():
        owner = stat.S_IMODE(before[file].st_mode) >> 6
        wanted = 0o750 if file == "." else 0o666 if file in TASKS else 0o640
        # What the kernel does not give the owner is given to nobody: a read-only file stays read-only.
        expected = wanted if file == "." else wanted & owner * 0o111
        assert stat.S_IMODE(status.st_mode) == expected, file


def test_chmod_leaves_what_is_not_given(made: str) -> None:
    before = statuses(made)
    Cgroup.MEMORY(made).chmod(0o700)
    after = statuses(made)
    assert stat.S_IMODE(after.pop(".").st_mode) == 0o700
    assert all(status.st_mode == before[file].st_mode for file, status in after.items())


@pytest.mark.parametrize("method", ["chown", "chmod"])
def test_without_permission(made: str, method: str) -> None:
    before = {file: (each.st_mode, each.st_uid) for file, each in statuses(made).items()}
    arguments = (NOBODY,) if method == "chown" else (0o777,)
    with pytest.raises(PermissionDeniedError):
        forked(lambda: getattr(Cgroup.MEMORY(made), method)(*arguments), NOBODY)
    assert {file: (each.st_mode, each.st_uid) for file, each in statuses(made).items()} == before


@pytest.mark.parametrize("method", ["chown", "chmod"])
def test_a_group_that_does_not_exist(unique: Unique, method: str) -> None:
    with pytest.raises(GroupNotFoundError):
        getattr(Cgroup.MEMORY(unique("memory")), method)(0)
