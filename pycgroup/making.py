# SPDX-License-Identifier: MIT
"""The directories of one group, one in each hierarchy: made with what is missing above them, marked, and removed."""

from __future__ import annotations

import os

from . import _tasks, owners

# A group above may be removed by another process between two calls; no one is so unlucky so often.
_ATTEMPTS = 100


class Made:
    """What one entry into a group has made, and so has to remove. `process` is who has.

    `alone`: the name is one that nobody else may have. `marked`: the directories carry their owner, for reap().
    """

    __slots__ = ("alone", "directories", "marked", "process")

    def __init__(self, *, alone: bool = False, marked: bool = False) -> None:
        self.alone = alone
        self.marked = marked
        self.process = os.getpid()
        self.directories: list[str] = []

    def make(self, directory: str) -> None:
        """Make a directory unless it exists; one whose owner is dead is taken over. Raises OSError."""
        # Not by libcgroup, which reads /proc/mounts anew for each value: a group of four controllers would take as
        # long to make as the program in it takes to run.
        for attempt in range(_ATTEMPTS):
            try:
                os.mkdir(directory)
            except FileExistsError:
                if self.alone:
                    raise
                self.take_over(directory)
                return
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self.make(os.path.dirname(directory))
            else:
                break
        self._own(directory)

    def take_over(self, directory: str) -> bool:
        """Become the owner of a directory whose owner is dead; return whether it was."""
        if not self.marked or not owners.is_abandoned(directory):
            return False
        self._own(directory)
        return True

    def _own(self, directory: str) -> None:
        self.directories.append(directory)
        if self.marked:
            owners.mark(directory)

    def remove(self) -> bool:
        """Remove what is empty; return whether all of it is gone. Raises OSError."""
        gone = [_is_removed(directory) for directory in reversed(self.directories)]
        return all(gone)


def _is_removed(directory: str) -> bool:
    try:
        return _tasks.is_removed(directory)
    except FileNotFoundError:
        return True  # somebody else has done it
