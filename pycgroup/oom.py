# SPDX-License-Identifier: MIT
"""What an OOM signal means: how many were killed, who, and what the group was using.

On v1 the kernel signals an OOM, then picks and kills a process, and only then counts the kill: some milliseconds lie
between. Hence an event is delivered open, and closed when it is asked, while the next one is waited for or when that
comes, or at the end. On v2 it is the count of the kills that tells, so that each event is whole when it comes.
"""

from __future__ import annotations

import os
import time
from _functools import partial  # type: ignore[import-not-found]  # `functools` itself loads collections
from _weakref import ref
from errno import ENODEV, ENOENT

from . import _kernfs
from ._locks import looking
from ._native import ABOVE, NEWS
from ._signals import EventFd
from ._types import TYPE_CHECKING
from .errors import CgroupError
from .events import Subscription, Watch
from .happenings import OomEvent
from .hierarchy import nothing
from .stats import OOM_CONTROL, OomControl
from .victims import MOMENT, log_of, position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ._signals import Signal
    from .happenings import Victim
    from .settings import Declaration, Holder
    from .victims import KernelLog

# How long a kill may take to be counted after the signal, in seconds: on a busy machine a hundred times the usual.
_PATIENCE = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.00005, 0.005
# The same in milliseconds, for poll(); nanoseconds in one, and in a wait that is worth looking through groups below.
_LONGEST_PAUSE_MS, _MILLION, _LONG = 5, 1_000_000, 20_000_000
#: What an event reports beside the counters: its attribute and the setting of MEMORY.
_FIGURES = {"usage": "usage_in_bytes", "limit": "limit_in_bytes", "failcnt": "failcnt", "peak": "max_usage_in_bytes"}
#: What is watched on v1.
CONTROL = "memory.oom_control"
_MOST_UNNAMED = 16
# One for all subscriptions, of which there may be thousands.
_NO_GROUPS: Mapping[int, int] = {}


class OomWatch(Watch[OomEvent]):
    """What both versions have in common: the figures of an event, and whom the kernel killed."""

    __slots__ = ("_killed", "_last", "_late", "_logged", "_open", "_owner", "_unnamed")
    delivers = OomEvent

    def __init__(self, owner: Holder) -> None:
        super().__init__(owner._path)
        self._owner = owner
        #: Gives the event that was made last and may not be complete yet, as long as somebody has it.
        self._last: Callable[[], OomEvent | None] = nothing
        #: The event whose kills are not counted yet; there is none on v2.
        self._open: Callable[[], OomEvent | None] | None = None
        #: Kills that have been told, how far the kernel log was read, and how many of them it did not have by then.
        self._killed = self._logged = self._late = 0
        #: Closed events whose victims are still to be looked up, with their kills and the most victims that they have:
        #: reading the log takes longer than delivering the next event.
        self._unnamed: tuple[tuple[Callable[[], OomEvent | None], int, int], ...] = ()

    def start(self, _text: str) -> None:
        self._logged = position()

    def prepare(self, *, patient: bool) -> None:
        if patient:
            self._look()

    def _look(self) -> None:
        last = self._last()
        if last is not None:
            last.look()

    def _event(self, ooms: int, control: OomControl | None) -> OomEvent:
        """Return an event whose figures are read when it is first looked at."""
        event = OomEvent.later(partial(self._found, ooms, time.time(), control))
        self._last = ref(event)
        return event

    def _found(self, ooms: int, at: float, control: OomControl | None) -> dict[str, Any]:
        figures = {name: self._figure(setting) for name, setting in _FIGURES.items()}
        if self.is_closed or self.signal.is_gone():
            # The group is gone, and what is at its path is another's.
            figures = dict.fromkeys(_FIGURES)
        return self._all(ooms, at, control or self._control(), figures)

    def _all(self, ooms: int, at: float, control: OomControl | None, figures: dict[str, Any]) -> dict[str, Any]:
        control = control or OomControl({})
        switch = {"under_oom": control.under_oom, "oom_kill_disable": control.oom_kill_disable}
        return {"group": self.group, "time": at, "ooms": ooms, **switch, **figures}

    def _figure(self, setting: str) -> Any:
        declared: Declaration[Any, Any] = getattr(type(self._owner), setting)
        try:
            return declared.read(self._owner)  # not the attribute, which may be staged
        except CgroupError:
            return None  # gone by now, or a kernel without the file

    def _control(self) -> OomControl | None:
        """Return the counters as they are now, None if the group is gone: a descriptor stands for that group alone."""
        try:
            return None if self.is_closed else OOM_CONTROL.decode(self.signal.text())
        except OSError:
            return None

    def _name_if_many(self) -> None:
        """Look up victims that nobody has asked for, before they are too many; the last may not be logged yet."""
        if len(self._unnamed) > _MOST_UNNAMED:
            self._name(leave=1, patience=0)  # somebody waits for the next event

    def _name(self, *, leave: int = 0, patience: float = MOMENT) -> None:
        """Look up the victims of the closed events, the first ones first, but leave so many of the last.

        Waits so many seconds at most for those that the log does not have yet.
        """
        with looking:
            until = time.monotonic() + patience
            while len(unnamed := self._unnamed) > leave:
                event, kills, most = unnamed[0]
                known, count = event(), 1
                # Whose is whose does not matter where nobody has the events any more.
                while known is None and count < len(unnamed) - leave and unnamed[count][0]() is None:
                    kills, most, count = kills + unnamed[count][1], most + unnamed[count][2], count + 1
                left = unnamed[count:]
                logged, victims, late = self._victims(kills, most, later=partial(self._later, left), until=until)
                # Whoever is interrupted does all of it again, unless a signal handler has done it meanwhile.
                if known is not None:
                    killed = max(kills, len(victims))
                    known.settle(killed, victims, _confidence(known, killed, len(victims)))
                if self._unnamed is unnamed:
                    self._logged, self._late, self._unnamed = logged, late, left

    def _later(self, closed: tuple[tuple[Callable[[], OomEvent | None], int, int], ...]) -> int:
        """Return how many kills are counted by now: those of closed events, and those that no closed event has."""
        control = self._control()
        return sum(kills for _, kills, _ in closed) + (0 if control is None else self._uncounted(control))

    def _uncounted(self, control: OomControl) -> int:
        """Return how many of the counted kills no closed event has."""
        return max(0, _kills(control) - self._killed)

    def _victims(
        self,
        kills: int,
        most: int | None,
        *,
        later: Callable[[], int] | None = None,
        heard: bool = False,
        until: float | None = None,
    ) -> tuple[int, tuple[Victim, ...], int]:
        """Return how far the log was read, the next victims, and how many it does not have yet: as since() does."""
        log, name = self._log()
        if log is None:
            return self._logged, (), self._late
        return log.since(name, self._logged, kills, most, late=self._late, later=later, heard=heard, until=until)

    def _last_victims(self, most: int | None, *, heard: bool = False) -> tuple[Victim, ...]:
        """Return the victims that are left when the group is gone."""
        return () if self._is_replaced() else self._victims(0, most, heard=heard)[1]

    def _heard(self, after: int) -> tuple[list[tuple[int, bool]], bool]:
        """Return what the log tells of the kills of which the group was signalled, as KernelLog.heard() does."""
        log, name = self._log()
        return ([], False) if log is None else log.heard(name, after)

    def _log(self) -> tuple[KernelLog | None, str]:
        return log_of(self._owner._place)

    def _is_replaced(self) -> bool:
        """Return whether there is a group again at the path of one that is gone: it has the same name in the log."""
        return os.path.isdir(self._owner._place.directory)

    def _last_event(self, ooms: int, victims: tuple[Victim, ...]) -> OomEvent:
        """Return what had happened when the group went away, of which nothing can be read any more."""
        known = self._all(ooms, time.time(), None, dict.fromkeys(_FIGURES))
        # Those whose group the log left out may have been of this one.
        confidence = "named" if victims and self._heard(self._logged)[1] else "signalled"
        return OomEvent(**known, kills=len(victims), victims=victims, confidence=confidence)

    def finish(self) -> None:
        with looking:
            self._look()
            self._name()


class CountedOom(OomWatch):
    """v2: `memory.events` counts OOMs and, a moment later, kills.

    An event is that kills were counted. The kernel counts more OOMs than it kills for: a task that asks again while the
    victim dies is one more.
    """

    __slots__ = ("_ooms",)

    def start(self, text: str) -> None:
        super().start(text)
        control = OOM_CONTROL.decode(text)
        self._killed, self._ooms = _kills(control), control["oom"]

    def happened(self, _signals: int, text: str | None) -> OomEvent | None:
        control = OOM_CONTROL.decode(self.now(text))
        with looking:
            kills = _kills(control) - self._killed
            if kills <= 0:
                return None  # another counter
            event = self._event(control["oom"] - self._ooms, control)
            event.complete_by(self._name)
            killed, ooms, last = _kills(control), control["oom"], ref(event)
            self._killed, self._ooms = killed, ooms
            self._unnamed += ((last, kills, kills),)
            self._name_if_many()
            return event

    def _control(self) -> OomControl | None:
        # Not by the descriptor: who has read it hears no more of what has changed until then.
        control: OomControl | None = self._figure("oom_control")
        return None if self.is_closed or self.signal.is_gone() else control

    def outlived(self, _least: int, _most: int) -> OomEvent | None:
        with looking:
            self._name()
            victims = self._last_victims(None)
            return self._last_event(len(victims), victims) if victims else None


class SignalledOom(OomWatch):
    """v1: each signal is an OOM of the group or of one above it, and `memory.oom_control` counts the kills."""

    signal: EventFd
    __slots__ = ("_above", "_began", "_below", "_below_then", "_ooms", "_then")

    #: Kills in each of the groups below, which the group's own counter leaves out.
    _below: Mapping[int, int]
    #: The OOMs of the event that is open, when its signal was taken, and the kills by then: in the group, for where it
    #: goes away before it is asked again, and in the groups below, which are not what the event is about.
    _ooms: int
    _began: float
    _then: int
    _below_then: Mapping[int, int]
    #: How far the kernel log was read when the last event was closed.
    _above: int

    def __init__(self, owner: Holder, logged: int = 0) -> None:
        super().__init__(owner)
        self._below = _NO_GROUPS
        self._above = self._logged = logged

    def start(self, text: str) -> None:
        if text:
            self._killed = _kills(OOM_CONTROL.decode(text))
        found = self.signal.found
        if found & ABOVE:
            self._below = self._kills_below()
        self._above = self._logged = position(news=found & NEWS)

    def happened(self, signals: int, text: str | None) -> OomEvent:
        control = _decoded(text)
        with looking:
            below = self._kills_below()
            now = control or _decoded(self.now_if_possible(None))
            if self._open is not None:
                self._close(self._open, now, below, next_came=True)
            then = self._killed if now is None else _kills(now)
            event = self._event(signals, control)
            opened, began = ref(event), time.monotonic()
            event.complete_by(lambda: self._complete(opened))
        # Nothing is called from here on: who is interrupted before leaves the signals to the next event.
        self._ooms, self._began, self._then, self._below_then, self._open = signals, began, then, below, opened
        return event

    def _complete(self, opened: Callable[[], OomEvent | None]) -> None:
        """Wait until the kernel has counted what it killed, close the event, and have its victims looked up."""
        pause = _FIRST_PAUSE
        while not self._is_over(opened):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._name()

    def _is_over(self, opened: Callable[[], OomEvent | None], *, next_may_come: bool = False) -> bool:
        """Close an event, if the kernel has counted what it killed, or will not; return whether it is closed."""
        is_late = time.monotonic() > self._began + _PATIENCE
        with looking:
            if self._open is not opened:
                return True
            # The kernel counts a kill before it logs it.
            (heard, is_all), control = self._heard(self._above), self._control()
            if control is not None and not is_late and not self._is_explained(control, heard, is_all=is_all):
                return False
            # Whose signal has come after that is not in these counters, but where it came before nobody can tell.
            if next_may_come and self.signal.pending():
                return False
            self._close(opened, control, self._kills_below(), is_late=is_late)
            return True

    def bide(self, nanoseconds: int) -> int:
        opened, begin, pause = self._open, time.monotonic_ns(), 1
        if opened is not None and self._below_then and 0 <= nanoseconds < _LONG:
            return nanoseconds  # looking through groups below would take longer
        while opened is not None and not self._is_over(opened, next_may_come=True):
            left = _left(nanoseconds, begin)
            milliseconds = pause if left < 0 else min(pause, left // _MILLION)
            if not milliseconds or self.signal.pending(milliseconds):
                break
            pause = min(2 * pause, _LONGEST_PAUSE_MS)
        return _left(nanoseconds, begin)

    def _is_explained(self, control: OomControl, heard: list[tuple[int, bool]], *, is_all: bool) -> bool:
        """Return whether it is known what became of the OOMs: kills here, or elsewhere below the full group."""
        wanted = max(1, self._ooms)
        kills = max(0, _kills(control) - self._killed)
        if control.oom_kill_disable or kills >= wanted:
            return True
        if is_all and len(heard) < wanted:
            return False
        below = self._kills_below()
        if is_all:
            # The groups below may also have been full themselves, of which this one is not signalled. And who is not
            # counted, which comes first, is the last event's: the log was late.
            inside = sum(not elsewhere for _, elsewhere in heard[:wanted])
            return kills + _rise(self._below, below) >= inside
        return kills + _rise(self._below_then, below) + sum(elsewhere for _, elsewhere in heard) >= wanted

    def _kills_below(self) -> Mapping[int, int]:
        """Return the kills in the groups below; what was known of them where there are no descriptors to be had."""
        try:
            return kills_below(self._owner._place.directory) or _NO_GROUPS
        except OSError:
            return self._below

    def _close(
        self,
        event: Callable[[], OomEvent | None],
        control: OomControl | None,
        below: Mapping[int, int],
        *,
        next_came: bool = False,
        is_late: bool = False,
    ) -> None:
        """Count what became of an event, by the counters, None if unknown, and the kills in the groups below.

        Where the next one has come already, the kills of that are left to it.
        """
        heard, _ = self._heard(self._above) if next_came else ([], False)
        its, others = heard[: self._ooms], heard[self._ooms :]
        own = max(0, (self._then if control is None else _kills(control)) - self._killed)
        if next_came:
            own = min(own, max(0, self._ooms - sum(elsewhere for _, elsewhere in its)))
        if control is None:
            below = self._below
        kills = own + _rise(self._below, below)
        # The log may be ahead of the counters: what it has beyond them is left to the next event. But what they do not
        # have after so long a time they never will, as the group below that it was in is gone.
        most = max(kills, self._ooms) if is_late or control is None else kills
        # What the log tells after heard() may be the next one's.
        above, known = its[-1][0] if others else position(news=not next_came), event()
        if self._open is not event:
            return  # a signal handler has closed it meanwhile
        # Nothing is called here, so that no signal handler's exception leaves half of it done.
        self._open, self._below, self._above = None, below, above
        self._killed += own
        self._unnamed += ((event, kills, most),)
        if known is not None:
            known.complete_by(self._name)
        self._name_if_many()

    def _uncounted(self, control: OomControl) -> int:
        return super()._uncounted(control) + _rise(self._below, self._kills_below())

    def is_told_by_signals(self, *, slept: bool) -> bool:
        log, name = self._log()
        return not slept or log is None or self._is_replaced() or not log.is_certain(name, self._logged)

    def outlived(self, least: int, most: int) -> OomEvent | None:
        with looking:
            if self._open is not None:
                self._close(self._open, None, self._below)
            self._name()
            victims = self._last_victims(most, heard=True)
            ooms = max(least, min(len(victims), most))
            return self._last_event(ooms, victims) if ooms else None

    def is_settling(self) -> bool:
        return self._open is not None and self._open() is not None

    def settle(self) -> None:
        if self._open is not None and self.is_settling():
            self._complete(self._open)

    def finish(self) -> None:
        with looking:
            if self._open is not None:
                self._close(self._open, self._control(), self._kills_below())
            super().finish()


class FreshSubscription(Subscription[OomEvent]):
    """v1, of a group that was never out of memory, with none below: there may be thousands, of which few ever will.

    So all of it is made when something of it is first asked for: to look at any attribute is a call then.
    """

    __slots__ = ("_known",)
    #: What it is made of, until it is.
    _known: tuple[Any, ...]

    def __init__(self, *known: Any) -> None:  # an owner, a registration, a top, how far the log was read, a process
        self._known = known

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in Subscription.__slots__:
                raise AttributeError(f"'Subscription' object has no attribute {name!r}")
            if known := self._known:
                *parts, pid = known
                signal, watch = self._made(*parts)
                # Nothing is called from here on. A signal handler or another thread may have been first.
                if self._known:
                    self._signal, self._watch, self._pid = signal, watch, pid
                    self._closed = self._removed = False
                    self._waiting = self._keeper = None
                    self._kept = self._known = ()
            return getattr(self, name)

    @staticmethod
    def _made(owner: Holder, registered: int, top: Any, logged: int) -> tuple[Signal, SignalledOom]:
        watch = SignalledOom(owner, logged)
        watch.signal = EventFd(owner._place.prefix, CONTROL, registered, top)
        return watch.signal, watch


def _left(nanoseconds: int, begin: int) -> int:
    """Return how many of so many nanoseconds, below 0 for ever, are left since a time of the monotonic clock."""
    return nanoseconds if nanoseconds < 0 else max(0, begin + nanoseconds - time.monotonic_ns())


def _decoded(text: str | None) -> OomControl | None:
    return None if text is None else OOM_CONTROL.decode(text)


def _kills(control: OomControl) -> int:
    return control.get("oom_kill", 0)  # not before Linux 4.13


def _confidence(event: OomEvent, kills: int, named: int) -> str:
    if kills:
        return "named" if named >= kills else "counted"
    return "counted" if event.under_oom else "signalled"


def kills_below(directory: str) -> dict[int, int]:
    """Return how many processes were killed in each of the groups below a directory, by inode. Raises OSError."""
    found: dict[int, int] = {}
    try:
        if os.stat(directory).st_nlink == 2:  # noqa: PLR2004  # itself and its name: no groups below
            return found
        for name in _kernfs.children(directory):
            below = f"{directory}/{name}"
            found |= kills_below(below)
            found |= _own_kills(below)
    except FileNotFoundError:
        pass  # it is being removed
    return found


def _own_kills(directory: str) -> dict[int, int]:
    try:
        control = OOM_CONTROL.decode(_kernfs.read(f"{directory}/memory.oom_control"))
        return {os.stat(directory).st_ino: _kills(control)}
    except OSError as error:
        if error.errno in (ENOENT, ENODEV):
            return {}  # so is this one
        raise


def _rise(before: Mapping[int, int], now: Mapping[int, int]) -> int:
    return sum(max(0, kills - before.get(group, 0)) for group, kills in now.items())
