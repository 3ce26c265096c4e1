# SPDX-License-Identifier: MIT
"""Starting, a group that can start processes in itself: popen(), on which all other ways of starting one stand."""

from __future__ import annotations

import errno

from ._lazy import Lazy
from ._types import TYPE_CHECKING
from .combined import Combined
from .errors import GroupBusyError, GroupNotFoundError

if TYPE_CHECKING:
    from typing import Any

    from . import spawn
    from .spawn import Entrance, Popen
else:
    spawn = Lazy(globals(), "spawn")


class Starting(Combined):
    """A group that can start processes in itself."""

    __slots__ = ()

    def popen(self, args: Any, *positional: Any, **options: Any) -> Popen:
        """Start a program inside the group, as subprocess.Popen does with the same options, and return that.

        The program is inside in every hierarchy before its first instruction. Raises what subprocess.Popen does, and
        where the group cannot be entered, so that nothing has run: GroupNotFoundError, GroupBusyError,
        PermissionDeniedError or another CgroupError.
        """
        entrance = self.begin()
        try:
            process = spawn.Popen(args, *positional, entrance=entrance, **options)
        except BaseException:
            entrance.end()
            self.started(entrance)
            raise
        try:
            self.started(entrance)
        except BaseException:
            with process:  # which waits for it, and closes its pipes
                process.kill()
            self.started(entrance)
            raise
        return process

    def begin(self) -> Entrance:
        """Return the way in for a process that is to be started; started() is to say that it was, or was not.

        Raises GroupNotFoundError where the group's block is ending, in another thread, and GroupBusyError where what
        is started would be stopped before its first instruction, and this process until then.
        """
        entrance = spawn.Entrance(self.whole())
        self.is_fresh = False
        for tree, directory in self._places.items():
            if tree.is_frozen(directory):
                message = f"{self._label()}: nothing can start in {directory}, which is frozen: thaw() it first"
                raise GroupBusyError(message, group=self._path, errno=errno.EBUSY)
        self._ending.begin(entrance)
        if self._is_ending:
            self._ending.started(entrance)
            raise GroupNotFoundError(
                f"{self._label()}: nothing starts in it any more: its block ends", group=self._path
            )
        return entrance

    def launch(self) -> Entrance:
        """Return the way in for processes that somebody else starts: any younger descendants of this process there."""
        entrance = spawn.Entrance(self.whole())
        self.is_fresh = False
        self._ending.launch()
        return entrance

    def started(self, entrance: Entrance, pid: int = 0) -> None:
        """Note that a start is over, and which process it was, if not the entrance knows: it ends with the block."""
        self._ending.started(entrance, pid)
