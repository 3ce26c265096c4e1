# SPDX-License-Identifier: MIT
"""Removal on v2: a poll that is under way on a file of a group is not woken when the group is removed.

So the directory above it is watched, by one inotify instance (a user may have 128) and one thread for all groups of
the process; a directory's watch serves all the groups in it.
"""

from __future__ import annotations

import errno
import os
import struct

from . import _locks
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Protocol

    class Sleeper(Protocol):
        """Who is to be woken."""

        def is_gone(self) -> bool: ...
        def wake(self) -> None: ...


#: The file name of its errors.
INOTIFY = "inotify"
_DELETED = 0x200  # IN_DELETE
_OVERFLOW = 0x4000  # IN_Q_OVERFLOW: some were lost
_IGNORED = 0x8000  # IN_IGNORED: a watch is gone, as its directory is
_HEAD = struct.Struct("iIII")
# A dozen removals; a larger buffer, made anew for each read, leaves holes in the memory.
_CHUNK = 4096

_lock = _locks.lock()


class Removals:
    """The groups that are watched, by directory. Raises OSError where there is no inotify or no thread to be had."""

    def __init__(self) -> None:
        import ctypes
        import threading

        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_CLOEXEC))
        #: The directories above, by the number of their watch, and who is to be woken for what is in them.
        self._parents: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._sleepers: dict[str, dict[str, set[Sleeper]]] = {}
        try:
            # A daemon: it has nothing to do but to wake others.
            threading.Thread(target=self._run, name="pycgroup-removals", daemon=True).start()
        except RuntimeError as cause:
            self.close()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from cause

    def close(self) -> None:
        """Close the descriptor, which ends all watches."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(self._errno(), os.strerror(self._errno()), INOTIFY)
        return result

    def add(self, directory: str, sleeper: Sleeper) -> None:
        """Wake somebody when a directory is removed. Raises OSError."""
        parent, name = os.path.split(directory)
        with _lock:
            # The same directory gives the same number; one that was made since has another.
            number = self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(parent), _DELETED))
            self._parents[number] = parent
            self._numbers[parent] = number
            self._sleepers.setdefault(parent, {}).setdefault(name, set()).add(sleeper)

    def discard(self, directory: str, sleeper: Sleeper) -> None:
        """Wake somebody no longer, who from now on may close his descriptors."""
        parent, name = os.path.split(directory)
        with _lock:
            names = self._sleepers.get(parent, {})
            sleepers = names.get(name, set())
            sleepers.discard(sleeper)
            if not sleepers:
                names.pop(name, None)
            if not names and self._sleepers.pop(parent, None) is not None:
                # Not left to the IN_IGNORED that answers it: the thread may be far behind. The removal of the directory
                # may have come first.
                number = self._numbers.pop(parent, -1)
                self._parents.pop(number, None)
                self._libc.inotify_rm_watch(self._descriptor, number)

    def _run(self) -> None:
        while data := os.read(self._descriptor, _CHUNK):
            at = 0
            while at < len(data):
                number, mask, _, length = _HEAD.unpack_from(data, at)
                name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
                at += _HEAD.size + length
                self._removed(number, mask, os.fsdecode(name))

    def _removed(self, number: int, mask: int, name: str) -> None:
        with _lock:
            if mask & _OVERFLOW:
                watched = [(above, each) for above, names in self._sleepers.items() for each in names]
                gone = [(above, each) for above, each in watched if not os.path.isdir(f"{above}/{each}")]
            elif mask & _IGNORED:
                parent = self._parents.pop(number, "")
                if self._numbers.get(parent) == number:
                    del self._numbers[parent]
                return
            else:
                gone = [(self._parents.get(number, ""), name)]
            for above, each in gone:
                for sleeper in self._sleepers.get(above, {}).get(each, ()):
                    try:
                        # One of the same name may have been made since, and be watched already.
                        if sleeper.is_gone():
                            sleeper.wake()
                    except OSError:  # no memory, perhaps; this thread has to go on for the others
                        continue


_shared: Removals | None = None


def removals() -> Removals:
    """Return the one of this process. Raises OSError."""
    global _shared
    with _lock:
        _shared = _shared or Removals()
        return _shared


def _in_child() -> None:
    """Forget it in a forked child, where its thread is not."""
    global _shared
    inherited, _shared = _shared, None
    if inherited is not None:
        inherited.close()


os.register_at_fork(after_in_child=_in_child)
