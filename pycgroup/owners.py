# SPDX-License-Identifier: MIT
"""Whose a group is: each directory that Cgroup(...) makes carries who uses it, for others who do and for reap().

A user is a process: its namespaces (of PIDs and of time), its number there and its start time: a number comes again,
that triple does not; and a number for each of its entries. It stands in the name of an extended attribute of the
directory, which v2 has for every user since Linux 5.7 and v1 for root, and in the names of groups that were not given
one.
"""

from __future__ import annotations

import errno
import itertools
import os

from ._types import TYPE_CHECKING
from .hosts import here

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACES = ("user.pycgroup.", "trusted.pycgroup.")
_PREFIX = "pycgroup-"
_STAYS = "-stays"
_LEFT = "left"
_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSPC)
# Fields of /proc/PID/stat, counted from behind the name: 3, 9, 20 and 22.
_STATE, _FLAGS, _THREADS, START_TIME = 0, 6, 17, 19
_EXITING = 0x4  # PF_EXITING: it has left its groups, or is about to, though it is no zombie yet

# Beside the namespaces: the process, its start and its entry.
_NUMBERS = 3

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
    return int(fields[START_TIME])


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on. Raises FileNotFoundError, ProcessLookupError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # A program may have anything in its name, but the last parenthesis closes it.
        return file.read().decode("ascii", "replace").rpartition(")")[2].split()


def unique_name() -> str:
    """Return a name that no other group has, with its owner in it."""
    return f"{_PREFIX}{_self.get(os.getpid()) or owner()}-{next(_numbers)}"


def lasting(name: str) -> str:
    """Return a name that is as unique as unique_name(), for a group that does not end with its owner."""
    return name if name.endswith(_STAYS) else name + _STAYS


def entrance() -> str:
    """Return the calling process as one that enters a group: 'OWNER-NUMBER', another number each time."""
    return f"{owner()}-{next(_numbers)}"


def is_marked(directory: str, user: str) -> bool:
    """Write on a directory who uses it; return whether the kernel keeps attributes there. Raises OSError."""
    for space in _SPACES:
        try:
            os.setxattr(directory, space + user, b"1")
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        else:
            return True
    return False


def unmark(directory: str, user: str) -> None:
    """Take that back. Raises OSError."""
    for space in _SPACES:
        try:
            os.removexattr(directory, space + user)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise


def disown(directory: str) -> None:
    """Write on a directory that who made it, as its name tells, uses it no more. Raises OSError."""
    is_marked(directory, _LEFT)


def marks(directory: str) -> list[str]:
    """Return who is written on a directory. Raises OSError."""
    written = _written(directory)
    return written and [user for user in written if user != _LEFT]


def _written(directory: str) -> list[str]:
    try:
        names = os.listxattr(directory)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return []
    return names and [name.partition(".pycgroup.")[2] for name in names if name.startswith(_SPACES)]


def users_of(directory: str) -> list[str]:
    """Return who uses a group, none for one that this library did not make. Raises OSError."""
    name = os.path.basename(directory)
    user = name.removeprefix(_PREFIX)
    if name.startswith(_PREFIX) and _parts(user) and _LEFT not in _written(directory):
        return [user, *marks(directory)]
    return marks(directory)


def is_abandoned(directory: str) -> bool:
    """Return whether this library has made a group for processes that are known to be gone. Raises OSError."""
    users = users_of(directory)
    return bool(users) and all(map(is_dead, users))


def is_dead(user: str) -> bool:
    """Return whether who uses a group is known to be gone: a process of another namespace is not known to be."""
    if user.startswith(f"{owner()}-"):
        return False  # which is known without a descriptor
    parts = _parts(user)
    return parts is not None and parts[0] == _namespaces() and _has_ended(*parts[1:])


def _parts(user: str) -> tuple[str, int, str] | None:
    """Return the namespaces, the number and the start time that entrance() gave for a process; None for other text."""
    # Without `re`, which would take as long to import as all of pycgroup.
    namespaces, *numbers = user.split("-")
    pids, _, times = namespaces.removeprefix("n").partition("t")
    if namespaces[:1] != "n" or len(numbers) != _NUMBERS or not all(map(str.isdecimal, (pids, times, *numbers))):
        return None
    pid, start, _ = numbers
    return namespaces, int(pid), start


def _has_ended(pid: int, start: str) -> bool:
    try:
        fields = stat_fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return True
    # Nobody has waited for a zombie yet; but where other threads run on, it is the first thread alone that has ended.
    ends = fields[_STATE] in ("Z", "X") or int(fields[_FLAGS]) & _EXITING
    return fields[START_TIME] != start or bool(ends and int(fields[_THREADS]) <= 1)


def abandoned() -> Iterator[str]:
    """Yield the directories of the groups whose owners are dead, those below before those above."""
    for tree in here(again=True).hierarchies:
        for directory, _, _ in os.walk(tree.path, topdown=False):
            try:
                found = is_abandoned(directory)
            except FileNotFoundError:
                continue  # it has been removed meanwhile
            if found:
                yield directory
