# SPDX-License-Identifier: MIT
"""Who in a group was started by its run() and popen(), so that just those are killed when its `with` block ends."""

from __future__ import annotations

import os
import time

from . import _tasks, owners

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT = 1  # field 4 of /proc/PID/stat, counted from behind the name


class Ending:
    """What a group has started: everything in it that is younger than the first start and was not brought from outside.

    A process whose parents have all ended belongs to no one any more; but the group still holds it.
    """

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: int | None = None

    def begin(self) -> None:
        """Note that a process is being started."""
        if self._first is None:
            self._first = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)

    def kill(self, directories: list[str], brought: set[int]) -> list[int]:
        """Kill what was started, in these groups and below; return what did not end. Raises OSError.

        `brought` are processes that were moved here: they and their children are left alone.
        """
        first = self._first
        if first is None:
            return []

        def spared(pid: int) -> bool:
            began = owners.started(pid)
            return began is None or began < first or not brought.isdisjoint(_line(pid))

        groups = [group for directory in directories for group in _tasks.tree(directory)]
        return sorted({pid for group in groups for pid in _tasks.kill(group, spared)})


def _line(pid: int) -> list[int]:
    """Return a process and those above it."""
    line = [pid]
    try:
        while line[-1] > 1:
            line.append(int(owners.stat_fields(line[-1])[_PARENT]))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return line
