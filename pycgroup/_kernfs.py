# SPDX-License-Identifier: MIT
"""Control-file I/O: one open, one read or write, one close; and what an OSError from it means."""

from __future__ import annotations

import errno
import os

from ._types import TYPE_CHECKING
from .errors import (
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidValueError,
    NoSuchProcessError,
    PermissionDeniedError,
    SettingError,
    UnsupportedSettingError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 16384
# A file of one value or table comes whole in one read, but lists such as cgroup.procs come a page at a time, less a
# part of a line: a shorter answer than this is the end, after a longer one there may be more.
_SHORT = 4000
# How many processes a message names.
_FEW = 5
_READ = os.O_RDONLY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CLOEXEC

_CLASSES: dict[int, type[CgroupError]] = {
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError,
    errno.EBUSY: GroupBusyError,
    errno.EEXIST: GroupExistsError,
    errno.ENOTEMPTY: GroupBusyError,
    errno.ENODEV: GroupNotFoundError,  # it was removed while the file was open
    errno.ESRCH: NoSuchProcessError,
    errno.EINVAL: InvalidValueError,
    errno.ERANGE: InvalidValueError,
    errno.EOVERFLOW: InvalidValueError,
    errno.E2BIG: InvalidValueError,
    errno.ENXIO: InvalidValueError,
    errno.EOPNOTSUPP: InvalidValueError,
}
_FULL = "cgroup.max.descendants or cgroup.max.depth of a group above it is reached"
_REMEDIES = {
    errno.EACCES: "run as root, or in a subtree that was delegated to this user",
    errno.EPERM: "run as root, or in a subtree that was delegated to this user",
    errno.EROFS: "the hierarchy is mounted read-only, as containers do: remount it read-write or delegate a subtree",
    errno.EBUSY: "something in the group is in use: see its processes and children",
    errno.ENOSPC: "a v1 cpuset needs cpus and mems before it takes processes",
}


def read(path: str) -> str:
    """Return the text of a control file without its last newline. Raises OSError."""
    fd = os.open(path, _READ)
    try:
        data = os.read(fd, _CHUNK)
        if len(data) > _SHORT:
            data += b"".join(_rest(fd))
    finally:
        os.close(fd)
    return data.decode("utf-8", "surrogateescape").removesuffix("\n")


def _rest(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK):
        yield data


def texts(names: list[str]) -> Iterator[str]:
    """Yield the number of links of each directory, and the texts of its files, which follow it; '' for what is gone."""
    directory = ""
    for name in names:
        try:
            if name.startswith("/"):
                directory = name
                yield str(os.stat(directory).st_nlink)
            else:
                yield read(f"{directory}/{name}")
        except OSError:
            yield ""


def write(path: str, text: str) -> None:
    """Write each line of the text with one write, as the kernel wants it; empty text writes nothing. Raises OSError."""
    if not text:
        os.stat(path)  # it need not be writable
        return
    fd = os.open(path, _WRITE)
    try:
        if "\n" not in text:
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        else:
            *lines, last = text.split("\n")
            for line in [*(f"{line}\n" for line in lines), *filter(None, [last])]:
                os.write(fd, line.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def children(directory: str) -> list[str]:
    """Return the names of the groups below a directory. Raises OSError."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def numbers(path: str) -> list[int]:
    """Return the process or thread ids that a list file holds, sorted and without repetitions. Raises OSError."""
    return sorted(set(map(int, read(path).split())))


def listed(processes: list[int] | list[str]) -> str:
    """Return the first processes of a list, for a message."""
    return ", ".join(map(str, processes[:_FEW])) + (" ..." if len(processes) > _FEW else "")


def error(
    cause: OSError,
    attempt: str,
    *,
    group: str,
    directory: str,
    setting: str | None = None,
    value: object = None,
    hint: str = "",
) -> CgroupError:
    """Return the exception for an OSError: what was attempted, what the kernel said, and what to do about it."""
    number = cause.errno or 0
    kind = _kind(number, directory, setting, cause.filename, value)
    said = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    if kind is GroupNotFoundError:
        said = "the group does not exist"
        hint = hint if hint and setting is None else "create() makes it"
    elif kind is UnsupportedSettingError and number == errno.ENOENT:
        other = os.path.basename(cause.filename or "")  # which the setting's file is of no use without
        said = f"the group has no {other if other not in ('', setting) else 'such file'}"
    hint = hint or (_FULL if number == errno.EAGAIN and setting is None else _REMEDIES.get(number, ""))
    message = f"{attempt}: {said}{'; ' if hint else ''}{hint}"
    return kind(message, group=group, setting=setting, value=value, errno=number)


def _kind(number: int, directory: str, setting: str | None, path: str | None, value: object) -> type[CgroupError]:
    if number == errno.EOPNOTSUPP and setting is None:
        return GroupBusyError  # it is threaded, or below what is
    if number == errno.EOPNOTSUPP and value is None:
        return UnsupportedSettingError  # it is not to be read
    if number == errno.ENOENT:
        # Where the file is there by now, the group has been made anew since.
        missing = setting is not None and os.path.isdir(directory) and not (path and os.path.exists(path))
        return UnsupportedSettingError if missing else GroupNotFoundError
    return _CLASSES.get(number, SettingError if setting is not None else CgroupError)
