# SPDX-License-Identifier: MIT
"""Which part of a hierarchy is delegated to this process: the part that relative names are below."""

from __future__ import annotations

import os

from . import _systemd

# systemd says by these that it leaves a group to whoever runs in it: the first since 251 for everybody to read, the
# second before that, for root.
_MARKS = ("user.delegate", "trusted.delegate")
# A group that has this below it is a systemd's own: user@1000.service is delegated to the user's manager.
_MANAGERS = "init.scope"
_UNITS = (".scope", ".service")
_RUNS_SYSTEMD = "/run/systemd/system"

#: The groups that this process has been given by delegation.py, which before systemd 251 nothing tells of.
granted: set[str] = set()


def delegated(mount: str, own: str | None, *, delegable: bool) -> str | None:
    """Return the directory of the subtree that is delegated to a process, given its mount and the process's directory.

    None: there is none, as for root on most hosts. It is the nearest group at or above the process's own that this user
    can write and that systemd has marked, or says that it delegates; where no systemd delegates groups (`delegable` is
    whether one could), and this user cannot write the root, it is the topmost that this user can write.
    """
    if own is None or own == mount:
        return None
    above = _above(mount, own)
    marked = next((group for group in above if (group in granted or _marked(group)) and _writable(group)), None)
    if marked or _writable(mount):
        return marked
    if delegable and os.path.isdir(_RUNS_SYSTEMD):
        return _given_by_a_user(above)
    return next((group for group in reversed(above) if _writable(group)), None)


def _above(mount: str, own: str) -> list[str]:
    """Return a group's directory and those above it, without the mount's own."""
    parts = own.removeprefix(mount).strip("/").split("/")
    return [f"{mount}/{'/'.join(parts[:length])}" for length in range(len(parts), 0, -1)]


def _given_by_a_user(above: list[str]) -> str | None:
    """Return the delegated unit of a user's systemd that a process is in: such a systemd marks nothing (up to 257)."""
    unit, *managers = [group for group in above if group.endswith(_UNITS)] or [""]
    if not any(map(_is_manager, managers)) or _is_manager(unit) or not _writable(unit):
        return None
    # A process that is in a group below its unit has been put there by somebody to whom that was delegated.
    return unit if unit != above[0] or _systemd.delegates(os.path.basename(unit)) else None


def _is_manager(group: str) -> bool:
    return os.path.isdir(f"{group}/{_MANAGERS}")


def _writable(group: str) -> bool:
    return os.access(group, os.W_OK) and os.access(f"{group}/cgroup.procs", os.W_OK)


def _marked(group: str) -> bool:
    return any(_mark(group, name) == b"1" for name in _MARKS) and not _is_manager(group)


def _mark(group: str, name: str) -> bytes:
    try:
        return os.getxattr(group, name)
    except OSError:
        return b""  # not there, or on v1, or not for this user to read
