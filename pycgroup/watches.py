# SPDX-License-Identifier: MIT
"""What the signals mean, for each kind of event but OOM, which has oom.py: from the watched file's text to an event."""

from __future__ import annotations

import os
from sys import getrefcount
from time import time

from ._locks import looking
from ._types import TYPE_CHECKING, T
from .events import NOBODYS, Ahead, Watch
from .happenings import ControlEvent, CounterEvent, PopulatedEvent, PressureEvent, StallEvent, ThresholdEvent, give
from .stats import MEMORY_EVENTS, PRESSURE, FrozenMap, MemoryEvents

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Literal

    from ._signals import EventFd

# Each CPU looks at the thresholds once in so many pages that it charges or frees, here in bytes.
_UNSEEN = 128 * os.sysconf("SC_PAGE_SIZE")
_NO_EVENT = ThresholdEvent()


class SignalWatch(Watch[T]):
    """What v1's signals alone tell of: a removal is one more of them, so their exact number counts."""

    __slots__ = ()

    def is_told_by_signals(self, *, slept: bool) -> bool:
        return not slept

    def outlived(self, least: int, _most: int) -> T | None:
        return self.happened(least, None) if least else None


class ControlWatch(SignalWatch[ControlEvent]):
    """Any control file of v1 that takes event registrations."""

    __slots__ = ("_argument", "_file")
    delivers = ControlEvent

    def __init__(self, group: str, file: str, argument: str) -> None:
        super().__init__(group)
        self._file = file
        self._argument = argument

    def happened(self, signals: int, text: str | None) -> ControlEvent:
        text = self.now_if_possible(text)
        return self._event(signals, (text and text.removesuffix("\n")) or None)

    def outlived(self, least: int, _most: int) -> ControlEvent | None:
        return self._event(least, None) if least else None

    def _event(self, signals: int, text: str | None) -> ControlEvent:
        return ControlEvent(
            group=self.group, time=time(), file=self._file, argument=self._argument, signals=signals, text=text
        )


class ThresholdWatch(SignalWatch[ThresholdEvent]):
    """A threshold on memory usage. Each signal is one crossing, and as a rule they alternate.

    Two CPUs that find the same crossing signal it twice, so which side usage has come to is read when somebody asks;
    where it has crossed again by then, or is so near that the kernel may not have looked, or the group is gone, the
    number of crossings tells.
    """

    signal: EventFd
    __slots__ = ("_above", "_near", "_other", "_outlived", "_threshold", "ahead")
    delivers = ThresholdEvent

    def __init__(self, group: str, threshold: int) -> None:
        super().__init__(group)
        self.ahead: Ahead[ThresholdEvent] | None = None
        self._threshold = threshold
        self._near = min(threshold // 4, _UNSEEN * (os.cpu_count() or 1))
        #: On which side usage was in the beginning.
        self._above = False
        #: The crossings of the last event, if there were any before the group went away.
        self._outlived = 0
        #: The event before the last one, for who keeps that.
        self._other = _NO_EVENT

    def start(self, text: str) -> None:
        self._above = int(text) >= self._threshold

    def prepare(self, *, patient: bool) -> None:  # noqa: ARG002  # its last event takes no waiting
        ahead = self.ahead or self.begin()
        # An event that nobody has any more is used again, as zip() does with its tuple: a new one takes as long as all
        # the rest where the caches are cold.
        if getrefcount(ahead.last) > NOBODYS:
            ahead.last.look()  # before another crossing comes
            ahead.last, self._other = self._other, ahead.last
            if getrefcount(ahead.last) > NOBODYS:
                ahead.last = ThresholdEvent()
        if ahead.last._given is not ahead.find:  # noqa: SLF001  # a method for it would be another page of memory
            give(ahead.last, ahead.find)
        ahead.event = ahead.last

    def begin(self) -> Ahead[ThresholdEvent]:
        with looking:  # several threads may begin
            if self.ahead is None:
                ahead: Ahead[ThresholdEvent] = Ahead(self.signal, self._found, _NO_EVENT)
                if self.ahead is None:  # a signal handler may have begun meanwhile
                    self.ahead = ahead
            return self.ahead

    def outlived(self, least: int, _most: int) -> ThresholdEvent | None:
        self._outlived = least
        return (self.ahead or self.begin()).event if least else None

    def _found(self) -> dict[str, Any]:
        listener = (self.ahead or self.begin()).listener
        crossings, before, at = listener.signals, listener.told, listener.time
        if self._outlived:
            crossings = before + self._outlived
        usage = self._usage()
        odd = crossings % 2 == 1
        if usage is not None and abs(usage - self._threshold) > self._near and not self.signal.pending():
            above = usage >= self._threshold
            if crossings == listener.signals:  # not so where a signal handler has taken the next event meanwhile
                self._above = above ^ odd
        known = {"group": self.group, "time": at, "threshold": self._threshold, "usage": usage}
        return known | {"above": self._above ^ odd, "crossings": crossings - before}

    def _usage(self) -> int | None:
        try:
            return None if self.is_closed else int(self.signal.text())
        except OSError:
            return None  # the group is gone by now

    def finish(self) -> None:
        ahead = self.ahead
        if ahead is None:
            return
        with looking:
            if getrefcount(ahead.last) > NOBODYS:
                ahead.last.look()
            # Each has the other: the watch what is ahead, that the watch's method, and its last event the same.
            ahead.last, self._other, ahead.find = _NO_EVENT, _NO_EVENT, dict


class PressureWatch(SignalWatch[PressureEvent]):
    """`memory.pressure_level` of v1."""

    __slots__ = ("_level", "_mode")
    delivers = PressureEvent

    def __init__(self, group: str, level: str, mode: str) -> None:
        super().__init__(group)
        self._level = level
        self._mode = mode

    def happened(self, signals: int, _text: str | None) -> PressureEvent:
        return PressureEvent(group=self.group, time=time(), level=self._level, mode=self._mode, signals=signals)


class StallWatch(Watch[StallEvent]):
    """A pressure trigger; the file itself says how long tasks have waited in all."""

    __slots__ = ("_kind", "_total")
    delivers = StallEvent

    def __init__(self, group: str, kind: Literal["some", "full"]) -> None:
        super().__init__(group)
        self._kind = kind
        #: The time waited for in all, in microseconds, at the last event.
        self._total = 0

    def start(self, text: str) -> None:
        self._total = int(PRESSURE.decode(text)[self._kind]["total"])

    def happened(self, _signals: int, text: str | None) -> StallEvent:
        pressure = PRESSURE.decode(self.now(text))
        total = int(pressure[self._kind]["total"])
        stalled, self._total = total - self._total, total
        return StallEvent(group=self.group, time=time(), kind=self._kind, stalled=stalled, pressure=pressure)


class PopulatedWatch(Watch[PopulatedEvent]):
    """`cgroup.events` of v2, which also tells of freezing: only what `populated` does counts."""

    __slots__ = ("_populated",)
    delivers = PopulatedEvent

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self._populated = False

    def start(self, text: str) -> None:
        self._populated = _populated(text)

    def happened(self, _signals: int, text: str | None) -> PopulatedEvent | None:
        before, self._populated = self._populated, _populated(self.now(text))
        if self._populated == before:
            return None
        return PopulatedEvent(group=self.group, time=time(), populated=self._populated)


def _populated(text: str) -> bool:
    return "populated 1" in text


class CounterWatch(Watch[CounterEvent]):
    """`memory.events` of v2, or those of its counters that are asked for."""

    __slots__ = ("_counts", "_names")
    delivers = CounterEvent

    def __init__(self, group: str, names: Collection[str]) -> None:
        super().__init__(group)
        self._names = names
        self._counts = MemoryEvents({})

    def start(self, text: str) -> None:
        self._counts = MEMORY_EVENTS.decode(text)

    def unknown(self) -> list[str]:
        """Return those that were asked for and that this kernel does not have."""
        return [name for name in self._names if name not in self._counts]

    def happened(self, _signals: int, text: str | None) -> CounterEvent | None:
        before, now = self._counts, MEMORY_EVENTS.decode(self.now(text))
        self._counts = now
        changes = {name: now[name] - before[name] for name in self._names or now if now[name] != before[name]}
        if not changes:
            return None
        return CounterEvent(group=self.group, time=time(), changes=FrozenMap(changes), counts=now)
