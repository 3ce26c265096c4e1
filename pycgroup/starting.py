# SPDX-License-Identifier: MIT
"""Starting, a group that can start processes in itself: popen(), on which all other ways of starting one stand."""

from __future__ import annotations

from ._types import TYPE_CHECKING
from .combined import Combined

if TYPE_CHECKING:
    from typing import Any

    from .spawn import Entrance, Popen


class Starting(Combined):
    """A group that can start processes in itself."""

    __slots__ = ()

    def popen(self, args: Any, *positional: Any, **options: Any) -> Popen:
        """Start a program inside the group, as subprocess.Popen does with the same options, and return that.

        The program is inside in every hierarchy before its first instruction. Raises what subprocess.Popen does, and
        where the group cannot be entered, so that nothing has run: GroupNotFoundError, GroupBusyError,
        PermissionDeniedError or another CgroupError.
        """
        from .spawn import Popen

        entrance, begun = self.begin()
        process = Popen(args, *positional, entrance=entrance, **options)
        self.started(process.pid, begun)
        return process

    def begin(self, *, launched: bool = False) -> tuple[Entrance, int]:
        """Return the way in for a process that is to be started, and when that was; started() is to say which it is.

        `launched`: somebody else starts it, so that it is any younger descendant of this process in the group.
        """
        from .spawn import Entrance

        entrance = Entrance(self.whole())
        self.is_fresh = False
        return entrance, self._ending.begin(launched=launched)

    def started(self, pid: int, begun: int) -> None:
        """Note a process that was started in the group: it is killed when the block ends."""
        self._ending.started(pid, begun)
