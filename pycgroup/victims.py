# SPDX-License-Identifier: MIT
"""Whom the OOM killer killed, by the kernel log: /dev/kmsg, which root may read, and others if dmesg_restrict is 0."""

from __future__ import annotations

import os
import time
from errno import EMFILE, ENFILE

from . import _native
from ._locks import looking
from ._types import TYPE_CHECKING
from .errors import UnavailableError
from .happenings import Victim

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hierarchy import Place

_LOG = "/dev/kmsg"
# How many victims are remembered for groups that have not asked yet.
_MOST = 10_000
# The kernel counts a kill before it logs it, in the same breath. In seconds.
MOMENT = 0.01
_PAUSE = 0.0005
# How the kernel's lines begin; a process may have any name, and be named in other lines.
_ANNOUNCED = b"oom-kill:constraint="
_ALL_OF_IT = b"Tasks in "
_KILLED = (
    b"Memory cgroup out of memory: Killed process ",
    b"Out of memory: Killed process ",
    b"Out of memory (oom_kill_allocating_task): Killed process ",
    b"Killed process ",
)
_TELLING = b"\0".join((_ANNOUNCED, _ALL_OF_IT, *_KILLED, b""))


class KernelLog:
    """The OOM kills in the kernel log since this was opened.

    Raises OSError where the log cannot be read, UnavailableError where what reads it is not installed.

    The kernel names the group of a victim in one line and its memory in the next; in a storm it leaves the first out
    (ten are written in five seconds), and then nobody can tell whose group it was.
    """

    def __init__(self, path: str = _LOG) -> None:
        #: What reads it, with lines that it keeps; and those that were taken from there and are still to be noted.
        self._log = _native.log()
        self.descriptor = self._log.file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.descriptor, 0, os.SEEK_END)
        self._unread: tuple[bytes, ...] = ()
        #: Whether something may have been read that is not noted yet.
        self.is_behind = self._is_catching_up = False
        #: How often lines were taken.
        self._taken = 0
        #: The line that announces the next victim, and the group all of whose processes are being killed.
        self._announced = b""
        self._whole = ""
        #: The victims with a number each, and the group that was full; None is one whose group was not told.
        self._victims: dict[int, tuple[Victim | None, str]] = {}
        #: The number of the last kill.
        self.last = 0

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def position(self) -> int:
        """Return the number of the last kill."""
        with looking:
            self._catch_up()
            return self.last

    def since(
        self,
        group: str,
        after: int,
        kills: int,
        most: int | None,
        *,
        late: int = 0,
        later: Callable[[], int] | None = None,
        heard: bool = False,
        until: float | None = None,
    ) -> tuple[int, tuple[Victim, ...], int]:
        """Return the position after the next victims in a group and below it, those victims, and how many are late.

        Waits until there are so many as `kills`, or for a moment, or until a time of the monotonic clock. `most` leaves
        the others for the next time. `late`: so many of the first were told before the log had them, and are left out.
        `later` says how many more the kernel has counted by then, None where nobody can tell. `heard`: only those of
        OOMs of which the group was signalled.
        """
        if until is None:
            until = time.monotonic() + MOMENT
        while True:
            more = 0 if later is None else later()
            with looking:
                self._catch_up()
                last, new = self.last, self._after(after)
            is_steady = later is None or later() == more  # else the log may have another one, or not yet
            named = [each for each in new if each[1] is not None and _is_below(each[1].group, group)]
            nameless = [each for each in new if each[1] is None]
            missing = max(0, late + kills - len(named) - len(nameless))
            if (is_steady and not missing) or time.monotonic() > until:
                break
            if is_steady:
                time.sleep(_PAUSE)
        # Of those whose group was left out, as many are of this one as were counted and are not named. They come in the
        # order of the events.
        if later is not None:
            nameless = nameless[: max(0, late + kills + more - len(named))]
        found = sorted(named + nameless)  # by their numbers, of which each is another
        told, others = found[:late], found[late:]
        if heard:
            others = [each for each in others if _hears(group, each[2])]
        wanted = others[: max(kills, len(others) - more)][:most]
        if len(wanted) < len(others):
            last = max((at for at, _, _ in told + wanted), default=after)
        return last, tuple(each for _, each, _ in wanted if each is not None), missing

    def heard(self, group: str, after: int) -> tuple[list[tuple[int, bool]], bool]:
        """Return the kills after a position of whose OOMs a group was signalled, and whether these are all.

        Of each the number, and whether the victim was elsewhere: neither in the group nor below it.
        """
        with looking:
            self._catch_up()
            new = self._after(after)
        known = [(number, victim, limited) for number, victim, limited in new if victim is not None]
        heard = [(at, not _is_below(victim.group, group)) for at, victim, limited in known if _hears(group, limited)]
        return heard, len(known) == len(new)

    def is_certain(self, group: str, after: int) -> bool:
        """Return whether each OOM after a position that a group heard of is a victim in it or below it."""
        with looking:
            self._catch_up()
            new = self._after(after)
        return all(
            victim is not None and (_is_below(victim.group, group) or not _hears(group, limited))
            for _, victim, limited in new
        )

    def _after(self, position: int) -> list[tuple[int, Victim | None, str]]:
        first = max(position, self.last - _MOST) + 1
        numbers = range(first, self.last + 1)  # a signal handler may have the oldest forgotten meanwhile
        return [(number, *self._victims[number]) for number in numbers if number in self._victims]

    def _catch_up(self) -> None:
        # A signal handler may raise wherever something is called, or catch up itself: what it leaves is done again, and
        # what it has done is not.
        outer, self._is_catching_up = self._is_catching_up, True
        self.is_behind = True
        try:
            while self._unread or self._has_read_on():
                self._note_next()
            self.is_behind = outer
        finally:
            self._is_catching_up = outer

    def _has_read_on(self) -> bool:
        """Take what C has kept, if nobody else has; return whether there is something."""
        taken = self._taken
        text = _native.read_log(self._log, _TELLING, goes_on=bool(self._announced))
        lines = tuple(text.split(b"\n")[:-1])
        # Nothing is called from here on.
        if self._taken == taken:
            self._unread, self._taken, self._log.used = lines, taken + 1, 0
        return lines != ()

    def _note_next(self) -> None:
        unread, announced, whole, kill = self._unread, self._announced, self._whole, None
        if not unread:
            return  # a signal handler has noted them
        text, rest, number = unread[0][1:], unread[1:], self.last + 1
        if text.startswith(_ANNOUNCED):
            announced, whole = text, ""
        elif unread[0].startswith(b"c") and announced:
            announced += text  # a line of more than a thousand bytes
        elif text.startswith(_ALL_OF_IT) and text.endswith(b" are going to be killed due to memory.oom.group set"):
            whole = _decoded(text.removeprefix(_ALL_OF_IT).rpartition(b" are going")[0])
        elif text.startswith(_KILLED):
            announced, kill = b"", self._kill(_decoded(text))
        # Nothing is called from here on.
        if self._unread is unread:
            self._unread, self._announced, self._whole = rest, announced, whole
            if kill is not None:
                self._victims[number], self.last = kill, number
                self._victims.pop(number - _MOST, None)

    def _kill(self, text: str) -> tuple[Victim | None, str]:
        """Return the victim of a line such as `Killed process N (NAME) total-vm:1kB, anon-rss:1kB, ...`.

        The line before it was `oom-kill:...,oom_memcg=/l,task_memcg=/l/g,task=NAME,pid=N,uid=U`, with `global_oom`
        where the whole machine was out of memory, or was left out.
        """
        pid, _, rest = text.partition("Killed process ")[2].partition(" (")
        pid = pid.rstrip(",")
        name, _, sizes = rest.rpartition(") total-vm:")
        anon = sizes.partition("anon-rss:")[2].partition("kB")[0]
        limited, group = self._whole, self._whole
        announced, end, _ = _decoded(self._announced).rpartition(f",task={name},pid={pid},uid=")
        if end:
            limited, group = _groups(announced)
        known = group and pid.isdecimal() and anon.isdecimal()
        return Victim(pid=int(pid), name=name, anon_rss=int(anon) * 1024, group=group) if known else None, limited


def _is_below(group: str, other: str) -> bool:
    """Return whether a group is another or one below that."""
    return f"{group}/".startswith(f"{other.rstrip('/')}/")


def _hears(group: str, limited: str) -> bool:
    """Return whether a group is signalled that another is full: each one below that is."""
    return bool(limited) and _is_below(group, limited)


def _groups(announced: str) -> tuple[str, str]:
    """Return the group that was full, '' for the whole machine, and the victim's, which is the same or below that."""
    between = ",task_memcg="
    _, limited, rest = announced.partition(",oom_memcg=")
    if not limited:
        return "", announced.partition(f",global_oom{between}")[2]
    words = rest.split(between)  # a name may hold it, too
    pairs = [(between.join(words[:at]), between.join(words[at:])) for at in range(1, len(words))]
    return next((pair for pair in pairs if _is_below(pair[1], pair[0])), ("", ""))


def _decoded(text: bytes) -> str:
    r"""Return a line in which the kernel has written each byte that is not printable ASCII, and '\\', as '\xNN'."""
    first, *others = text.split(rb"\x")
    whole = first + b"".join(bytes.fromhex(each[:2].decode()) + each[2:] for each in others)
    return whole.decode(errors="surrogateescape")


#: What kernel_log() returns, once it has been asked.
shared: KernelLog | None = None
_is_unreadable = False


def kernel_log() -> KernelLog | None:
    """Return this process's reader of the kernel log, or None where the log cannot be read."""
    global shared, _is_unreadable
    if shared is None and not _is_unreadable:
        with looking:
            try:
                shared = shared or KernelLog()
            except OSError as error:
                _is_unreadable = error.errno not in (EMFILE, ENFILE)
            except UnavailableError:
                _is_unreadable = True
    return shared


def log_of(place: Place) -> tuple[KernelLog | None, str]:
    """Return the kernel log and what it calls a group; None where it cannot be read, or the name is not known."""
    name = place.hierarchy.logged(place.directory)
    return (None, "") if name is None else (kernel_log(), name)


def position(*, news: int = 1) -> int:
    """Return the number of the last kill that the log tells of; 0 where it cannot be read.

    `news`: 0 if it was just found to have nothing to read, which is faster.
    """
    log = shared or kernel_log()
    if log is None:
        return 0
    return log.position() if news or log.is_behind else log.last


def _in_child() -> None:
    """Have a forked child open the log anew: it would take its parent's records."""
    global shared
    inherited, shared = shared, None
    if inherited is not None:
        inherited.close()


os.register_at_fork(after_in_child=_in_child)
