# SPDX-License-Identifier: MIT
"""Which part of a hierarchy is delegated to this process: the part that relative names are below."""

from __future__ import annotations

import os

# systemd says by these that it leaves a group to whoever runs in it: the first since 251 for everybody to read, the
# second before that, for root.
_MARKS = ("user.delegate", "trusted.delegate")
# A group that has this below it is a systemd's own: user@1000.service is delegated to the user's manager.
_MANAGERS = "init.scope"
_RUNS_SYSTEMD = "/run/systemd/system"

#: The groups that this process has been given by delegation.py, which before systemd 251 nothing tells of.
granted: set[str] = set()


def delegated(mount: str, own: str | None) -> str | None:
    """Return the directory of the subtree that is delegated to a process, given its mount and the process's directory.

    None: there is none, as for root on most hosts. It is the nearest group at or above the process's own that this user
    can write and that systemd has marked; where no systemd manages the groups, and this user cannot write the root, it
    is the topmost that this user can write.
    """
    if own is None or own == mount:
        return None
    above = _above(mount, own)
    marked = next((group for group in above if (group in granted or _marked(group)) and _writable(group)), None)
    if marked or _writable(mount) or os.path.isdir(_RUNS_SYSTEMD):
        return marked
    return next((group for group in reversed(above) if _writable(group)), None)


def _above(mount: str, own: str) -> list[str]:
    """Return a group's directory and those above it, without the mount's own."""
    parts = own.removeprefix(mount).strip("/").split("/")
    return [f"{mount}/{'/'.join(parts[:length])}" for length in range(len(parts), 0, -1)]


def _writable(group: str) -> bool:
    return os.access(group, os.W_OK) and os.access(f"{group}/cgroup.procs", os.W_OK)


def _marked(group: str) -> bool:
    return any(_mark(group, name) == b"1" for name in _MARKS) and not os.path.isdir(f"{group}/{_MANAGERS}")


def _mark(group: str, name: str) -> bytes:
    try:
        return os.getxattr(group, name)
    except OSError:
        return b""  # not there, or on v1, or not for this user to read
