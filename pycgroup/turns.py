# SPDX-License-Identifier: MIT
"""Turns: of all who enter or leave groups by name, in any process or thread, one does so at a time.

Who leaves looks whether others use the directory, and removes it if none does; who enters marks it. In between nobody
else does either, nor reap(): as far as all see the same first hierarchy, and nobody keeps the others waiting for long.
"""

from __future__ import annotations

import os
import time

from ._locks import me
from ._types import TYPE_CHECKING
from .hosts import here

if TYPE_CHECKING:
    from types import TracebackType

# Seconds to wait for one's turn, longer than reap() waits for who dies: who keeps it does not go by the rules, and is
# passed over.
_PATIENCE = 15.0
_PAUSE = 0.0005
#: Whose turn it is: a signal handler may want what its own thread has.
_taken: set[tuple[int, int]] = set()


class Turn:
    """One's turn, a lock (flock) on the mount point of the first hierarchy; `needed` is false for names of one's own.

    Where there is no descriptor for it, it is had without.
    """

    def __init__(self, *, needed: bool = True) -> None:
        self._needed = needed
        self._descriptor = -1

    def __enter__(self) -> None:
        if not self._needed or me() in _taken:
            return
        try:
            self._descriptor = os.open(here().hierarchies[0].path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, IndexError):
            return
        try:
            _taken.add(me())
            self._wait()
        except BaseException:
            self._end()
            raise

    def _wait(self) -> None:
        import fcntl  # not before it is needed: importing pycgroup is to cost nothing

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(_PAUSE)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor >= 0:
            self._end()

    def _end(self) -> None:
        import fcntl

        _taken.discard(me())
        descriptor, self._descriptor = self._descriptor, -1
        try:
            # Closing alone does not do it where a thread has forked meanwhile: the child has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)
