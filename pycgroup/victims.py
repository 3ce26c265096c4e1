# SPDX-License-Identifier: MIT
"""Whom the OOM killer killed, by the kernel log: /dev/kmsg, which root may read, and others if dmesg_restrict is 0."""

from __future__ import annotations

import os
import time
from _thread import RLock
from io import FileIO

from ._types import TYPE_CHECKING
from .happenings import Victim

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = "/dev/kmsg"
_RECORD = 8192
# How many victims are remembered for groups that have not asked yet.
_MOST = 10_000
# The kernel counts a kill before it logs it, in the same breath.
_PATIENCE = 0.01
_PAUSE = 0.0005


class KernelLog:
    """The OOM kills in the kernel log since this was opened. Raises OSError where the log cannot be read.

    The kernel names the group of a victim in one line and its memory in the next; in a storm it leaves the first out
    (ten are written in five seconds), and then nobody can tell whose group it was.
    """

    def __init__(self, path: str = _LOG) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        # It gives None where there is nothing to read, which is cheaper than the exception of os.read. The one of a
        # process is open to its end, of which no warning is wanted.
        self._file = FileIO(self._descriptor, closefd=False)
        self._record = bytearray(_RECORD)
        self._lock = RLock()
        self._groups: dict[str, str] = {}
        self._whole = ""
        #: The victims with a number each; None stands for one whose group was not told.
        self._victims: dict[int, Victim | None] = {}
        self._last = 0

    def close(self) -> None:
        """Close it."""
        self._file.close()
        os.close(self._descriptor)

    def position(self) -> int:
        """Return the number of the last kill."""
        with self._lock:
            self._catch_up()
            return self._last

    def since(self, group: str, after: int, kills: int, most: int | None) -> tuple[int, tuple[Victim, ...]]:
        """Return the victims in a group and below it after a position, and the position after those.

        Waits a moment until there are so many as `kills`; `most` leaves the others for the next time.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self._lock:
                self._catch_up()
                last, new = self._last, [(number, self._victims[number]) for number in self._victims if number > after]
            found = [(number, each) for number, each in new if each and f"{each.group}/".startswith(f"{group}/")]
            if len(found) >= kills or len(found) < len(new) or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        if most is not None and len(found) > most:
            last, found = found[most - 1][0] if most else after, found[:most]
        return last, tuple(each for _, each in found)

    def _catch_up(self) -> None:
        for text in self._records():
            if "oom-kill:" in text:
                self._announce(text)
            elif "are going to be killed due to memory.oom.group" in text:
                self._whole = text.partition("Tasks in ")[2].rpartition(" are going")[0]
            elif "Killed process " in text:
                self._note(text)

    def _records(self) -> Iterator[str]:
        while True:
            try:
                length = self._file.readinto(self._record)
            except BrokenPipeError:
                continue  # the oldest records were overwritten before they were read
            if not length:
                return
            yield self._record[:length].decode(errors="surrogateescape").partition(";")[2]

    def _announce(self, text: str) -> None:
        """Keep the group that a line such as `oom-kill:...,task_memcg=/g,task=NAME,pid=N,uid=U` names."""
        group = text.partition(",task_memcg=")[2].partition(",task=")[0]
        pid = text.rpartition(",pid=")[2].partition(",")[0]
        self._groups[pid] = group
        self._whole = ""

    def _note(self, text: str) -> None:
        """Keep the victim of a line such as `Killed process N (NAME) total-vm:1kB, anon-rss:1kB, ...`."""
        pid, _, rest = text.partition("Killed process ")[2].partition(" (")
        pid = pid.rstrip(",")
        name, _, sizes = rest.rpartition(") total-vm:")
        anon = sizes.partition("anon-rss:")[2].partition("kB")[0]
        group = self._groups.pop(pid, self._whole)
        self._last += 1
        known = group and pid.isdecimal() and anon.isdecimal()
        self._victims[self._last] = (
            Victim(pid=int(pid), name=name, anon_rss=int(anon) * 1024, group=group) if known else None
        )
        self._victims.pop(self._last - _MOST, None)


_shared: KernelLog | None = None
_tried = False


def kernel_log() -> KernelLog | None:
    """Return this process's reader of the kernel log, or None where the log cannot be read."""
    global _shared, _tried
    if not _tried:
        _tried = True
        try:
            _shared = KernelLog()
        except OSError:
            _shared = None
    return _shared


def position() -> int:
    """Return the number of the last kill that the log tells of; 0 where it cannot be read."""
    log = kernel_log()
    return 0 if log is None else log.position()


def _in_child() -> None:
    """Have a forked child open the log anew: it would take its parent's records."""
    global _shared, _tried
    inherited, _shared, _tried = _shared, None, False
    if inherited is not None:
        inherited.close()


os.register_at_fork(after_in_child=_in_child)
