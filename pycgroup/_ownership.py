# SPDX-License-Identifier: MIT
"""Owner and permissions of a group's directory and control files."""

from __future__ import annotations

import os

_TASK_FILES = frozenset(("tasks", "cgroup.procs", "cgroup.threads"))


def set_owner(
    directory: str,
    *,
    uid: int | None = None,
    gid: int | None = None,
    tasks_uid: int | None = None,
    tasks_gid: int | None = None,
    directory_mode: int | None = None,
    file_mode: int | None = None,
    tasks_mode: int | None = None,
) -> None:
    """Change owner and permissions of a group, not of those below it; None is unchanged. Raises OSError.

    `tasks_*` are for the files that take processes (`tasks`, `cgroup.procs`, `cgroup.threads`), `uid`, `gid` and
    `file_mode` for the other control files, `uid`, `gid` and `directory_mode` for the directory. As in libcgroup a
    file's mode is cut down to what the file gives its owner, so that a read-only file stays read-only.
    """
    # Not cgroup_create_cgroup with ignore_ownership=0, libcgroup's only way. Where a file is refused, 3.x removes the
    # group and moves its tasks to the parent; an owner that is not given becomes the caller; the groups below are
    # changed too; and of all the chown calls only the last one's error is seen.
    _change(directory, uid, gid, directory_mode)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in _TASK_FILES:
                _change(entry.path, tasks_uid, tasks_gid, _cut(tasks_mode, entry))
            elif entry.is_file(follow_symlinks=False):
                _change(entry.path, uid, gid, _cut(file_mode, entry))


def _cut(mode: int | None, file: os.DirEntry[str]) -> int | None:
    owners = file.stat().st_mode >> 6 & 0o7
    return mode if mode is None else mode & owners * 0o111


def _change(path: str, uid: int | None, gid: int | None, mode: int | None) -> None:
    if mode is not None:
        os.chmod(path, mode)
    if uid is not None or gid is not None:
        os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
