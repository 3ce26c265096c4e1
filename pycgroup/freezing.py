# SPDX-License-Identifier: MIT
"""Stopping and resuming a group: freeze() and thaw(), which wait until it has happened."""

from __future__ import annotations

import errno
import os

from . import _tasks, _waiting
from ._types import TYPE_CHECKING
from .base import Controller
from .errors import GroupBusyError, GroupNotFoundError
from .hosts import here

if TYPE_CHECKING:
    from .settings import Setting

# Seconds that kill() gives those that it kills to freeze; some never do.
_BRIEFLY = 1.0
_STUCK = (
    "a process in an uninterruptible sleep, such as one that waits for a server's file or for memory while the "
    "OOM killer is off, stops only when that is over"
)


class Freezing(Controller):
    """A group that can be stopped and resumed."""

    __slots__ = ()

    if TYPE_CHECKING:
        state: Setting[str, str]

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop all processes in the group and below it, and wait until each has stopped, `timeout` seconds at most.

        Where one does not stop in time the group is thawed again. Raises GroupBusyError for that, and where the calling
        process is inside, which would stop itself; GroupNotFoundError, PermissionDeniedError. Writes `freezer.state`
        of v1, `cgroup.freeze` of v2.
        """
        if _tasks.inside(self.path, here().directory("self", self._place.hierarchy)):
            raise self._not_done("freeze", "this process is in it, and would stop itself: detach() it first")
        frozen, patience = False, _waiting.seconds(timeout)
        try:
            frozen = self._reaches("FROZEN", patience)
        finally:
            if not frozen:
                self._write_state("THAWED")
        if not frozen:
            raise self._not_done("freeze", f"it took more than {timeout} s, and was thawed again: {_STUCK}")

    def thaw(self, timeout: float = 10.0) -> None:
        """Resume all processes in the group and below it, and wait until they run, `timeout` seconds at most.

        Raises GroupBusyError where a group above it is frozen, which keeps it stopped; GroupNotFoundError,
        PermissionDeniedError. Writes `freezer.state` of v1, `cgroup.freeze` of v2.
        """
        patience = _waiting.seconds(timeout)
        self._write_state("THAWED")
        if frozen := self._frozen_above():
            raise self._not_done("thaw", f"{frozen} above it is frozen: thaw that")
        if not self._reaches("THAWED", patience):
            raise self._not_done("thaw", f"it took more than {timeout} s")

    def _killed(self, *, spared: bool, recheck: float | None, patience: float) -> list[int]:
        if not self._place.hierarchy.frozen_die and not spared:
            try:
                self.freeze(min(patience, _BRIEFLY))
            except GroupBusyError:
                return super()._killed(spared=spared, recheck=recheck, patience=patience)  # as they run
            try:
                _tasks.doom(self.path)  # what cannot run cannot fork either
            finally:
                thaw_all(self)
        return super()._killed(spared=spared, recheck=recheck, patience=patience)

    def _reaches(self, word: str, timeout: float) -> bool:
        self._write_state(word)
        place, setting = self._place, type(self).state
        file = setting.file(self, place)
        watched = place.prefix + (file.beside or file.name)
        recheck = place.hierarchy.recheck

        def reached() -> bool:
            if setting.read(self) == word:
                return True
            if recheck is not None:
                # v1 asks each process once, and one that puts signals aside just then, as it waits for a server's
                # file (9p), forgets it: ask anew, as runc does.
                self._write_state(word)
            return False

        try:
            return _waiting.until(watched, reached, timeout, recheck)
        except OSError as cause:
            raise self._failed(cause, f"wait until it is {word}") from cause

    def _write_state(self, word: str) -> None:
        type(self).state.write(self, word)

    def _frozen_above(self) -> str:
        above = os.path.dirname(self._path)
        if above == "/":
            return ""  # the root cannot be frozen, and has no such file
        state = type(self).state.read(type(self)(above))
        return above if state != "THAWED" else ""

    def _not_done(self, verb: str, why: str) -> GroupBusyError:
        return GroupBusyError(f"{self._label()}: cannot {verb} it: {why}", group=self.path, errno=errno.EBUSY)


def thaw_all(group: Freezing) -> None:
    """Resume a group and each one below it that was stopped itself: who is killed does not die before."""
    try:
        type(group).state.write(group, "THAWED")
        for child in group.children():
            thaw_all(child)
    except GroupNotFoundError:
        return  # somebody else has removed it
