# SPDX-License-Identifier: MIT
"""Removal on v2: a poll that is under way on a file of a group is not woken when the group is removed.

So the directory above it is watched, by one inotify instance (a user may have 128) and one thread for all groups of
the process; a directory's watch serves all the groups in it.
"""

from __future__ import annotations

import os
import struct
from _thread import RLock

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Protocol

    class Sleeper(Protocol):
        """Who is to be woken."""

        def wake(self) -> None: ...


_DELETED = 0x200  # IN_DELETE
_OVERFLOW = 0x4000  # IN_Q_OVERFLOW: some were lost
_HEAD = struct.Struct("iIII")
_CHUNK = 65536


class Removals:
    """The groups that are watched, by directory. Raises OSError where there is no inotify to be had."""

    def __init__(self) -> None:
        import ctypes
        import threading

        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_CLOEXEC))
        self._lock = RLock()
        self._parents: dict[int, str] = {}
        self._sleepers: dict[str, set[Sleeper]] = {}
        # A daemon: it has nothing to do but to wake others.
        threading.Thread(target=self._run, name="pycgroup-removals", daemon=True).start()

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(self._errno(), os.strerror(self._errno()))
        return result

    def add(self, directory: str, sleeper: Sleeper) -> None:
        """Wake somebody when a directory is removed. Raises OSError."""
        parent = os.path.dirname(directory)
        with self._lock:
            # The same directory gives the same number.
            number = self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(parent), _DELETED))
            self._parents[number] = parent
            self._sleepers.setdefault(directory, set()).add(sleeper)

    def discard(self, directory: str, sleeper: Sleeper) -> None:
        """Wake somebody no longer, who from now on may close his descriptors."""
        with self._lock:
            sleepers = self._sleepers.get(directory, set())
            sleepers.discard(sleeper)
            if not sleepers:
                self._sleepers.pop(directory, None)

    def _run(self) -> None:
        while data := os.read(self._descriptor, _CHUNK):
            at = 0
            while at < len(data):
                number, mask, _, length = _HEAD.unpack_from(data, at)
                name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
                at += _HEAD.size + length
                self._removed(number, mask, os.fsdecode(name))

    def _removed(self, number: int, mask: int, name: str) -> None:
        with self._lock:
            if mask & _OVERFLOW:
                gone = [directory for directory in self._sleepers if not os.path.isdir(directory)]
            else:
                gone = [f"{self._parents.get(number, '')}/{name}"]
            for directory in gone:
                for sleeper in self._sleepers.pop(directory, ()):
                    sleeper.wake()


_shared: Removals | None = None


def removals() -> Removals:
    """Return the one of this process. Raises OSError."""
    global _shared
    if _shared is None:
        _shared = Removals()
    return _shared


def _in_child() -> None:
    """Forget it in a forked child, where its thread is not."""
    global _shared
    _shared = None


os.register_at_fork(after_in_child=_in_child)
