# SPDX-License-Identifier: MIT
"""What an OOM signal means: how many were killed, who, and what the group was using.

On v1 the kernel signals an OOM, then picks and kills a process, and only then counts the kill: some milliseconds lie
between. Hence an event is delivered open, and closed when it is asked, when the next one comes, or at the end. On v2 it
is the count of the kills that tells, so that each event is whole when it comes.
"""

from __future__ import annotations

import os
import time
from _thread import RLock
from _weakref import ref

from . import _kernfs
from ._types import TYPE_CHECKING
from .errors import CgroupError, GroupNotFoundError
from .events import Watch
from .happenings import OomEvent
from .stats import OOM_CONTROL, OomControl
from .victims import kernel_log, position

if TYPE_CHECKING:
    from typing import Any

    from .happenings import Victim
    from .settings import Declaration, Holder

# How long a kill may take to be counted after the signal, in seconds: on a busy machine a hundred times the usual.
_PATIENCE = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.00005, 0.005
#: What an event reports beside the counters: its attribute and the setting of MEMORY.
_FIGURES = {"usage": "usage_in_bytes", "limit": "limit_in_bytes", "failcnt": "failcnt", "peak": "max_usage_in_bytes"}
#: What a group that was never out of memory says on v1; most subscriptions begin with it.
_FRESH = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
_MOST_UNNAMED = 16
_settling = RLock()


class OomWatch(Watch[OomEvent]):
    """What both versions have in common: the figures of an event, and whom the kernel killed."""

    __slots__ = ("_killed", "_logged", "_owner", "_unnamed")

    def __init__(self, group: str, owner: Holder) -> None:
        super().__init__(group)
        self._owner = owner
        #: Kills that have been told, and how far the kernel log was read.
        self._killed = self._logged = 0
        #: Closed events whose victims are still to be looked up, with their kills and the most victims that they have:
        #: reading the log takes longer than delivering the next event.
        self._unnamed: tuple[tuple[OomEvent, int, int], ...] = ()

    def start(self, _text: str) -> None:
        self._logged = position()

    def _event(self, ooms: int, control: OomControl | None) -> OomEvent:
        """Return an event whose figures are read when it is first looked at."""
        event = OomEvent.later(self._found, ooms, time.time(), control)
        self.last = ref(event)
        return event

    def _found(self, ooms: int, at: float, control: OomControl | None) -> dict[str, Any]:
        figures = {name: self._figure(setting) for name, setting in _FIGURES.items()}
        return self._all(ooms, at, control or self._figure("oom_control"), figures)

    def _all(self, ooms: int, at: float, control: OomControl | None, figures: dict[str, Any]) -> dict[str, Any]:
        control = control or OomControl({})
        switch = {"under_oom": control.under_oom, "oom_kill_disable": control.oom_kill_disable}
        return {"group": self.group, "time": at, "ooms": ooms, **switch, **figures}

    def _figure(self, setting: str) -> Any:
        try:
            return self._read(setting)
        except CgroupError:
            return None  # gone by now, or a kernel without the file

    def _read(self, setting: str) -> Any:
        declared: Declaration[Any, Any] = getattr(type(self._owner), setting)
        return declared.read(self._owner)  # not the attribute, which may be staged

    def _closed(self, event: OomEvent, kills: int, most: int, *, name: bool) -> None:
        """Note how many were killed, and look up who they were: now, or when somebody asks."""
        event.complete_by(self._name)
        self._unnamed += ((event, kills, most),)
        if name or len(self._unnamed) > _MOST_UNNAMED:
            self._name()

    def _name(self) -> None:
        """Look up the victims of the closed events, first things first."""
        with _settling:
            unnamed, self._unnamed = self._unnamed, ()
            for event, kills, most in unnamed:
                victims = self._victims(kills, most)
                killed = max(kills, len(victims))
                event.settle(killed, victims, _confidence(event, killed, len(victims)))

    def _victims(self, kills: int, most: int | None) -> tuple[Victim, ...]:
        log = kernel_log()
        if log is None:
            return ()
        place = self._owner._place
        self._logged, victims = log.since(place.hierarchy.logged(place.directory), self._logged, kills, most)
        return victims

    def _last_event(self, ooms: int, victims: tuple[Victim, ...]) -> OomEvent:
        """Return what had happened when the group went away, of which nothing can be read any more."""
        event = OomEvent(**self._all(ooms, time.time(), None, dict.fromkeys(_FIGURES)))
        event.settle(len(victims), victims, _confidence(event, len(victims), len(victims)))
        return event

    def close(self) -> None:
        super().close()
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
        with _settling:
            kills = _kills(control) - self._killed
            if kills <= 0:
                return None  # another counter
            event = self._event(control["oom"] - self._ooms, control)
            self._killed, self._ooms = _kills(control), control["oom"]
            self._closed(event, kills, kills, name=False)
            return event

    def outlived(self, _signals: int) -> OomEvent | None:
        with _settling:
            self._name()
            # The kills in a group that was made since have the same path in the log.
            victims = () if os.path.isdir(self._owner._place.directory) else self._victims(0, None)
            return self._last_event(len(victims), victims) if victims else None


class SignalledOom(OomWatch):
    """v1: each signal is an OOM, and `memory.oom_control` counts the kills."""

    __slots__ = ("_below", "_open")

    def __init__(self, group: str, owner: Holder) -> None:
        super().__init__(group, owner)
        #: Kills in the groups below that the group's own counter leaves out.
        self._below = 0
        self._open: OomEvent | None = None

    def start(self, text: str) -> None:
        super().start(text)
        if text != _FRESH:
            self._killed = _kills(OOM_CONTROL.decode(text))
        self._below = self._killed_below()

    def happened(self, signals: int, text: str | None) -> OomEvent:
        control = None if text is None else OOM_CONTROL.decode(text)
        with _settling:
            if self._open is not None:
                self._close(self._open, control or OOM_CONTROL.decode(self.now(text)), next_came=True)
            self._open = event = self._event(signals, control)
            event.complete_by(lambda: self._complete(event))
            return event

    def _complete(self, event: OomEvent) -> None:
        """Wait until the kernel has counted what it killed, and close the event."""
        deadline, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
        while self._open is event:
            control = self._control()
            if control is None or self._is_counted(event, control) or time.monotonic() > deadline:
                with _settling:
                    if self._open is event:
                        self._close(event, control)
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _control(self) -> OomControl | None:
        try:
            control: OomControl = self._read("oom_control")
        except GroupNotFoundError:
            return None
        return control

    def _is_counted(self, event: OomEvent, control: OomControl) -> bool:
        kills = max(0, _kills(control) - self._killed) + max(0, self._killed_below() - self._below)
        return control.oom_kill_disable or kills >= max(1, event.ooms)

    def _killed_below(self) -> int:
        return killed_under(self._owner._place.directory)

    def _close(self, event: OomEvent, control: OomControl | None, *, next_came: bool = False) -> None:
        """Count what became of an event. Where the next one has come already, the kills of that are left to it."""
        self._open = None
        kills, most = 0, event.ooms
        if control is not None:
            before, self._below = self._below, self._killed_below()
            own = max(0, _kills(control) - self._killed)
            if next_came:
                own = min(own, max(1, event.ooms))
            self._killed += own
            # The log may be ahead of the counters: what it has beyond them is left to the next event.
            kills = most = own + max(0, self._below - before)
        self._closed(event, kills, most, name=not next_came)

    def outlived(self, signals: int) -> OomEvent | None:
        with _settling:
            if self._open is not None:
                self._close(self._open, None)
            ooms = signals - 1  # the removal is signalled once
            return self._last_event(ooms, self._victims(0, ooms)) if ooms else None

    def close(self) -> None:
        if (event := self._open) is not None:
            self._complete(event)
        super().close()


def _kills(control: OomControl) -> int:
    return control.get("oom_kill", 0)  # not before Linux 4.13


def _confidence(event: OomEvent, kills: int, named: int) -> str:
    if kills:
        return "named" if named >= kills else "counted"
    return "counted" if event.under_oom else "signalled"


def killed_under(directory: str) -> int:
    """Return how many processes were killed in the groups below a directory."""
    try:
        if os.stat(directory).st_nlink == 2:  # noqa: PLR2004  # itself and its name: no groups below
            return 0
        below = [f"{directory}/{name}" for name in _kernfs.children(directory)]
        own = [OOM_CONTROL.decode(_kernfs.read(f"{each}/memory.oom_control")) for each in below]
    except OSError:
        return 0  # one of them is being removed
    return sum(map(_kills, own)) + sum(map(killed_under, below))
