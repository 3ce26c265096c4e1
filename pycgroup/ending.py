# SPDX-License-Identifier: MIT
"""Who in a group was started by its run() and popen(), so that just those are killed when its `with` block ends."""

from __future__ import annotations

import os
import time
from _thread import get_ident
from itertools import takewhile

from . import _locks, _native, _tasks, owners
from ._types import TYPE_CHECKING
from .calming import Calm

if TYPE_CHECKING:
    from .spawn import Entrance

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT = 1  # field 4 of /proc/PID/stat, counted from behind the name
_INIT = 1
# So many starts are remembered before those that have ended are forgotten.
_MANY = 4096
# Guards what was started, as several threads may start processes.
_guard = _locks.lock()


class Ending:
    """What a group has started: the processes themselves and their descendants, as long as these are in the group.

    Of a process whose parents have ended nobody can tell who started it. In a group of one's own it counts as started
    there if it is younger than the first start.
    """

    __slots__ = ("_first", "_launches", "_most", "_others", "_started", "_under_way", "process")

    def __init__(self) -> None:
        #: Who has started it.
        self.process = os.getpid()
        self._first: int | None = None
        #: When each was started, between two ticks of the clock: numbers of processes come again.
        self._started: dict[int, tuple[int, int]] = {}
        self._most = _MANY
        #: What is being started, since when, and by which thread. A start that was interrupted stays here.
        self._under_way: dict[Entrance, tuple[int, int]] = {}
        #: Those that another has left here, and when they were started.
        self._others: dict[int, int | None] = {}
        #: Whether others start processes for the group, as wrap() has them do.
        self._launches = False

    def begin(self, entrance: Entrance) -> None:
        """Note that a process is being started."""
        now = _now()
        if self._first is None:
            self._first = now
        self._under_way[entrance] = now, get_ident()

    def launch(self) -> None:
        """Note that others start processes from now on."""
        if self._first is None:
            self._first = _now()
        self._launches = True

    def is_under_way(self) -> bool:
        """Return whether another thread is starting something."""
        return any(thread != get_ident() for _, thread in self._under_way.copy().values())

    def spare(self, directory: str) -> None:
        """Note that who is in a group now was not started by it. Raises OSError."""
        self._others |= {pid: owners.started(pid) for pid in _tasks.pids(_tasks.tree(directory))}

    def started(self, entrance: Entrance, pid: int = 0) -> None:
        """Note which process was started since begin(), 0 where the entrance knows it, if there is one."""
        with _guard:
            if entrance not in self._under_way:
                return  # who was interrupted calls again
            if pid := pid or entrance.pid:
                self._started[pid] = self._under_way[entrance][0], _now()
            if len(self._started) > self._most:
                seen = _Seen()
                self._started = {each: ticks for each, ticks in self._started.items() if self._is_started(each, seen)}
                self._most = max(_MANY, 2 * len(self._started))
            del self._under_way[entrance]  # last of all: a signal handler may raise anywhere

    def kill(
        self, directories: list[str], brought: set[int], *, alone: bool, joined: bool, patience: float
    ) -> list[int]:
        """Kill what was started, in these groups and below; return what did not end in time. Raises OSError.

        `brought` are processes that were moved here: they and their children are left alone. `alone`: the group is of
        one's own, so that who has lost his parents was started here. `joined`: the calling process was here, too, so
        that it may have children here that it has started without the group's help. `patience` is seconds.
        """
        if self._first is None:
            return []
        groups = [group for directory in directories for group in _tasks.tree(directory)]
        for entrance, (begun, _) in self._under_way.copy().items():
            if entrance.pid:
                self._started.setdefault(entrance.pid, (begun, _now()))
        # Orphans go to the nearest that has asked for them, which only this process can tell of itself.
        me, *above = _Seen().line(os.getpid())
        adopters = {me, *above} if not joined and _native.is_subreaper() else {*above}

        def chosen(pids: list[int]) -> list[int]:
            seen = _Seen()
            inside = set(_tasks.pids(groups)) if alone else set()

            def is_ours(pid: int) -> bool:
                line = seen.line(pid)
                if not brought.isdisjoint(line) or any(self._is_another_s(each, seen) for each in line):
                    return False
                if any(self._is_started(each, seen) for each in line) or (self._launches and me in line):
                    return True
                return alone and self._is_orphan(line, inside, adopters, seen)

            return list(filter(is_ours, pids))

        deadline = time.monotonic() + patience
        with Calm(directories, shared=not alone):
            left = {pid for group in groups for pid in _tasks.kill(group, chosen, patience=deadline - time.monotonic())}
        return sorted(left)

    def _is_started(self, pid: int, seen: _Seen) -> bool:
        earliest, latest = self._started.get(pid, (0, -1))
        return earliest <= latest and earliest <= seen.start(pid) <= latest

    def _is_another_s(self, pid: int, seen: _Seen) -> bool:
        return pid in self._others and self._others[pid] == seen.start(pid)

    def _is_orphan(self, line: list[int], group: set[int], adopters: set[int], seen: _Seen) -> bool:
        """Tell whether a process, or the highest of its parents that is in the group, belongs to no one any more."""
        inside = list(takewhile(group.__contains__, line)) or line[:1]
        above = line[len(inside) :]
        adopted = bool(above) and (above[0] in adopters or _adopts(above[0]))
        return adopted and seen.start(inside[-1]) >= (self._first or 0)


class _Seen:
    """Parents and start times of processes, each looked at once: a group may have thousands, one below the other."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}

    def _look(self, pid: int) -> tuple[int, int]:
        if pid not in self._known:
            try:
                fields = owners.stat_fields(pid)
            except (FileNotFoundError, ProcessLookupError):
                self._known[pid] = 0, 0
            else:
                self._known[pid] = int(fields[_PARENT]), int(fields[owners.START_TIME])
        return self._known[pid]

    def start(self, pid: int) -> int:
        """Return when a process was started, in clock ticks; 0 for one that has ended."""
        return self._look(pid)[1]

    def line(self, pid: int) -> list[int]:
        """Return a process and those above it."""
        line = [pid]
        while line[-1] > _INIT and (parent := self._look(line[-1])) != (0, 0):
            line.append(parent[0])
        return line


def _now() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def _adopts(pid: int) -> bool:
    """Tell whether a process is one to which orphans go: init, or a user's systemd."""
    if pid == _INIT:
        return True
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read() == "systemd\n"
    except (FileNotFoundError, ProcessLookupError):
        return False
