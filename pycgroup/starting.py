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

    def popen(self, args: Any, *positional: Any, **options: Any) -> Popen:
        """Start a program inside the group, as subprocess.Popen does with the same options, and return that.

        The program is inside in every hierarchy before its first instruction. Raises what subprocess.Popen does, and
        where the group cannot be entered, so that nothing has run: GroupNotFoundError, GroupBusyError,
        PermissionDeniedError or another CgroupError.
        """
        from .spawn import Popen

        return Popen(args, *positional, entrance=self.begin(), **options)

    def begin(self) -> Entrance:
        """Return the way in, for what starts a process by itself; what is younger is killed when the block ends."""
        from .spawn import Entrance

        entrance = Entrance(self.there())
        self.is_fresh = False
        self._ending.begin()
        return entrance
