# SPDX-License-Identifier: MIT
"""The directories of one group, one in each hierarchy: made with what is missing above them, marked, and removed."""

from __future__ import annotations

import os

from . import _native, _tasks, owners
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .base import Controller
    from .settings import Setting

# A group above may be removed by another process between two calls; no one is so unlucky so often.
_ATTEMPTS = 100


class Made:
    """What one entry into a group has made or shares, and so has to leave. `process` is who has entered.

    `alone`: the name is one that nobody else may have. `marked`: the directories carry who uses them, for those who use
    them too, and for reap().
    """

    __slots__ = ("alone", "directories", "known", "mark", "process", "replaced", "shared")

    def __init__(self, *, alone: bool = False, marked: bool = False) -> None:
        self.alone = alone
        self.mark = owners.entrance() if marked else ""
        self.process = os.getpid()
        #: Directories that another entry of the same object has.
        self.known: frozenset[str] = frozenset()
        #: Those that were made, the ones above first.
        self.directories: list[str] = []
        #: Those that others have made with marks, so that the last one who leaves removes them.
        self.shared: list[str] = []
        #: Limits that were there before this entry set its own.
        self.replaced: list[tuple[Controller, dict[Setting[Any, Any], Any]]] = []

    @property
    def held(self) -> list[str]:
        """All that is to be left, the ones above first."""
        return sorted(self.shared + self.directories) if self.shared else self.directories

    def make(self, directory: str, mount: str) -> None:
        """Make a directory unless it exists, and share those above it with who uses them. Raises OSError."""
        if self.mark:
            self.share_above(directory, mount)
        self._make(directory, mount)

    def share_above(self, directory: str, mount: str) -> None:
        """Share the directories above one with who uses them. Raises OSError."""
        for above in _above(directory, mount):
            try:
                self.share(above)
            except FileNotFoundError:
                continue  # it is still to be made

    def _make(self, directory: str, mount: str) -> None:
        # Not by libcgroup, which reads /proc/mounts anew for each value: a group of four controllers would take as
        # long to make as the program in it takes to run.
        for attempt in range(_ATTEMPTS):
            try:
                return self._make_or_share(directory)
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1 or not os.path.isdir(mount):
                    raise
            if not os.path.isdir(above := os.path.dirname(directory)):
                self._make(above, mount)
        return None

    def _make_or_share(self, directory: str) -> None:
        if not self.alone and os.path.isdir(directory):
            self.share(directory)
            return
        self.directories.append(directory)  # first, as a signal handler may raise right behind mkdir
        try:
            os.mkdir(directory)
        except OSError as error:
            self.directories.pop()
            if self.alone or not isinstance(error, FileExistsError):
                raise
            self.share(directory)
            return
        if self.mark:
            owners.is_marked(directory, self.mark)

    def share(self, directory: str) -> bool:
        """Become one of those who use a directory, be they dead; return whether there were any. Raises OSError.

        Who may not write on it is none of them.
        """
        if not self.mark or directory in self.known:
            return False
        if directory in self.directories or directory in self.shared:
            return True
        if not owners.users_of(directory):
            return False
        self.shared.append(directory)  # first, as above
        if not owners.is_marked(directory, self.mark):
            self.shared.remove(directory)
            return False
        # One of the dead stays: if nobody who lives can remove it, reap() will.
        for user in list(filter(owners.is_dead, owners.marks(directory)))[1:]:
            owners.unmark(directory, user)
        return True

    def is_shared(self, directory: str) -> bool:
        """Return whether somebody else who lives uses a directory too. Raises OSError."""
        try:
            # Who has made an unnamed group is in its name; of a directory that was made here that says nothing.
            users = owners.users_of(directory) if directory in self.shared else owners.marks(directory)
        except FileNotFoundError:
            return False  # it has been removed
        return bool(users) and not all(user == self.mark or owners.is_dead(user) for user in users)

    def remove(self) -> bool:
        """Remove what is empty and nobody else uses; return whether that was all, and not nothing. Raises OSError."""
        held = self.held
        gone = bool(held)
        for directory in reversed(held):
            # Without a mark of its own the directory carries another's, or none, and then it goes in one call.
            gone &= (not self.mark and _native.remove(directory)) or self._is_removed(directory)
        return gone

    def _is_removed(self, directory: str) -> bool:
        try:
            return not self.is_shared(directory) and _tasks.is_removed(directory)
        except FileNotFoundError:
            return True  # somebody else has done it
        except PermissionError:
            return False  # the directory above it is another user's

    def leave(self, directory: str) -> None:
        """Be no more among those who use a directory. Raises OSError."""
        try:
            owners.unmark(directory, self.mark) if self.mark else owners.disown(directory)
        except FileNotFoundError:
            return  # somebody else has removed it

    def undo(self) -> None:
        """Remove what is empty, and leave what others use, as the entry has failed. Raises OSError.

        What is neither, as somebody has put a process into it meanwhile, stays marked, for reap().
        """
        for directory in reversed(self.held):
            if not self._is_removed(directory) and (directory in self.shared or self.is_shared(directory)):
                self.leave(directory)
        self.directories.clear()
        self.shared.clear()


def _above(directory: str, mount: str) -> Iterator[str]:
    while (directory := os.path.dirname(directory)) != mount and _tasks.inside(mount, directory):
        yield directory
