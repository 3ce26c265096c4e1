# SPDX-License-Identifier: MIT
"""Which names of groups and of control files are let through to libcgroup and to paths."""

from __future__ import annotations

from ._types import TYPE_CHECKING
from .errors import InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

# libcgroup builds every path in 4096 bytes and cuts it silently, so that an over-long name addresses another group;
# this leaves room for the mount point and the file.
LONGEST = 3500
_SHORT = 255
_FILE_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+:@=-")


def group_name(name: object) -> str:
    """Return the group's path below its hierarchy, with one leading slash; '/' is the hierarchy's root.

    Raises InvalidNameError for what is not text, empty, over-long, has '.' or '..' in it, a newline or a NUL.
    """
    # The common case, as fast as it can be told: printable ASCII, no component that starts with a dot.
    if type(name) is str and name.isascii() and name.isprintable() and 1 < len(name) < _SHORT:
        path = name if name[0] == "/" else "/" + name
        if "/." not in path and "//" not in path and path[-1] != "/":
            return path
    return _checked(name)


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidNameError(f"a group's name is text, not {type(name).__name__}: {name!r}")
    if not name:
        raise InvalidNameError("a group's name is not empty; '/' is the root of the hierarchy")
    try:
        length = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"the name {name!r} has no bytes in the file system: {error.reason}") from error
    if length > LONGEST:
        raise InvalidNameError(f"the name is {length} bytes long, at most {LONGEST} are taken: {name[:40]!r}...")
    parts = [part for part in name.split("/") if part]
    if "\n" in name or "\0" in name or "." in parts or ".." in parts:
        raise InvalidNameError(f"the name {name!r} has a newline, a NUL, '.' or '..' in it", group=name)
    return "/" + "/".join(parts)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a question that names the one that was probably meant, for the end of a message; '' where none is near."""
    from difflib import get_close_matches  # not before somebody mistypes: it is slow to import

    near = get_close_matches(str(name), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def file_name(name: object) -> str:
    """Return the name of a control file if it can be one: letters, digits, dots, no slash.

    Raises InvalidNameError otherwise.
    """
    if isinstance(name, str) and 0 < len(name) <= _SHORT and name[0].isalpha() and _FILE_LETTERS.issuperset(name):
        return name
    raise InvalidNameError(f"{name!r} is not the name of a control file, such as 'memory.stat'")
