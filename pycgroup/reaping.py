# SPDX-License-Identifier: MIT
"""reap(): remove the groups whose owners were killed before they could."""

from __future__ import annotations

import errno
import os

from . import _kernfs, _tasks, owners
from ._types import TYPE_CHECKING
from .errors import GroupBusyError
from .turns import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator


def reap() -> list[str]:
    """Remove every group of a dead owner, with the processes in it, and return the directories that are gone.

    An owner is a process that has made groups with Cgroup(...). What a living one has made stays, and so does what
    this library has not made, and a group of a dead owner that has groups of others below it or the calling process in
    it. Groups made from within another PID namespace, such as a container, are left to a reap() in there. Several may
    reap at once. Raises GroupBusyError for processes that do not end, PermissionError for groups of other users.
    """
    return list(_removed())


def _removed() -> Iterator[str]:
    for directory in owners.abandoned():
        try:
            with Turn():
                is_removed = _is_removed(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            continue  # another reap() was faster
        if is_removed:
            yield directory


def _is_removed(directory: str) -> bool:
    # Somebody may have entered it since it was found.
    if not owners.is_abandoned(directory) or _kernfs.children(directory) or os.getpid() in _tasks.pids([directory]):
        return False
    if left := _tasks.kill(directory):
        raise GroupBusyError(f"{directory}: the processes {_kernfs.listed(left)} did not end after SIGKILL")
    _tasks.remove([directory])
    return True
