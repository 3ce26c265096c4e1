# SPDX-License-Identifier: MIT
"""Whose a group is: each directory that Cgroup(...) makes carries the process that made it, for reap() to find.

A process is its PID namespace, its number there and its start time: a number comes again, that triple does not. It
stands in an extended attribute of the directory, which v2 has for every user since Linux 5.7 and v1 for root, and
in the names of groups that were not given one.
"""

from __future__ import annotations

import errno
import itertools
import os

from ._types import TYPE_CHECKING
from .hosts import here

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTES = ("user.pycgroup", "trusted.pycgroup")
_PREFIX = "pycgroup-"
_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSPC)
_START_TIME = 19  # field 22 of /proc/PID/stat, counted from behind the name

_numbers = itertools.count()
_self: dict[int, str] = {}


def owner() -> str:
    """Return the calling process as groups carry it: 'nNAMESPACE-PID-START'."""
    pid = os.getpid()
    if pid not in _self:
        _self[pid] = f"n{_namespace()}-{pid}-{started(pid)}"
    return _self[pid]


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def started(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since the machine was; None for one that is gone."""
    try:
        fields = stat_fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[_START_TIME])


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on. Raises FileNotFoundError, ProcessLookupError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # A program may have anything in its name, but the last parenthesis closes it.
        return file.read().decode("ascii", "replace").rpartition(")")[2].split()


def unique_name() -> str:
    """Return a name that no other group has, with its owner in it."""
    return f"{_PREFIX}{owner()}-{next(_numbers)}"


def mark(directory: str) -> None:
    """Write the calling process on a directory; where the kernel keeps no attributes there, do nothing."""
    for attribute in _ATTRIBUTES:
        try:
            os.setxattr(directory, attribute, owner().encode())
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        else:
            return


def owner_of(directory: str) -> str | None:
    """Return who made a group, or None for one that this library did not make."""
    for attribute in _ATTRIBUTES:
        try:
            return os.getxattr(directory, attribute).decode("ascii", "replace")
        except OSError as error:
            if error.errno not in (*_REFUSED, errno.ENOENT):
                raise
    name = os.path.basename(directory)
    process = name.removeprefix(_PREFIX).rpartition("-")[0]
    return process if name.startswith(_PREFIX) and _is_process(process) else None


def is_dead(process: str) -> bool:
    """Return whether an owner is known to be gone: one in another PID namespace is not known to be."""
    namespace, pid, start = process.split("-")
    return namespace == f"n{_namespace()}" and str(started(int(pid))) != start


def abandoned() -> Iterator[str]:
    """Yield the directories of the groups whose owners are dead, those below before those above."""
    for tree in here(again=True).hierarchies:
        for directory, _, _ in os.walk(tree.path, topdown=False):
            process = owner_of(directory)
            if process is not None and _is_process(process) and is_dead(process):
                yield directory


def _is_process(text: str) -> bool:
    namespace, *numbers = text.split("-")
    return len(numbers) == len(("PID", "START")) and all(map(str.isdecimal, (namespace.removeprefix("n"), *numbers)))
