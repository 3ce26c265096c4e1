# SPDX-License-Identifier: MIT
"""Whose a group is: each directory that Cgroup(...) makes carries the process that made it, for reap() to find.

A process is its namespaces (of PIDs and of time), its number there and its start time: a number comes again, that
triple does not. It stands in an extended attribute of the directory, which v2 has for every user since Linux 5.7 and v1
for root, and in the names of groups that were not given one.
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
# Fields of /proc/PID/stat, counted from behind the name: 3, 20 and 22.
_STATE, _THREADS, _START_TIME = 0, 17, 19

# An owner's own, beside its namespaces.
_NUMBERS = 2

_numbers = itertools.count()
_self: dict[int, str] = {}


def owner() -> str:
    """Return the calling process as groups carry it: 'nNAMESPACEtNAMESPACE-PID-START'."""
    pid = os.getpid()
    if pid not in _self:
        _self[pid] = f"{_namespaces()}-{pid}-{started(pid)}"
    return _self[pid]


def _namespaces() -> str:
    return "n{}t{}".format(*map(_inode, ("/proc/self/ns/pid", "/proc/self/ns/time")))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0  # a kernel without that kind of namespace


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
    return process if name.startswith(_PREFIX) and _parts(process) else None


def is_abandoned(directory: str) -> bool:
    """Return whether this library has made a group for a process that is known to be gone."""
    process = owner_of(directory)
    return process is not None and is_dead(process)


def is_dead(process: str) -> bool:
    """Return whether an owner is known to be gone: one in another namespace is not known to be."""
    parts = _parts(process)
    return parts is not None and parts[0] == _namespaces() and _has_ended(*parts[1:])


def _parts(process: str) -> tuple[str, int, str] | None:
    """Return the namespaces, the number and the start time that owner() gave for a process; None for other text."""
    # Without `re`, which would take as long to import as all of pycgroup.
    namespaces, *numbers = process.split("-")
    pids, _, times = namespaces.removeprefix("n").partition("t")
    if namespaces[:1] != "n" or len(numbers) != _NUMBERS or not all(map(str.isdecimal, (pids, times, *numbers))):
        return None
    return namespaces, int(numbers[0]), numbers[1]


def _has_ended(pid: int, start: str) -> bool:
    try:
        fields = stat_fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return True
    # Nobody has waited for a zombie yet; but where other threads run on, it is the first thread alone that has ended.
    is_zombie = fields[_STATE] in ("Z", "X") and int(fields[_THREADS]) <= 1
    return fields[_START_TIME] != start or is_zombie


def abandoned() -> Iterator[str]:
    """Yield the directories of the groups whose owners are dead, those below before those above."""
    for tree in here(again=True).hierarchies:
        for directory, _, _ in os.walk(tree.path, topdown=False):
            if is_abandoned(directory):
                yield directory
