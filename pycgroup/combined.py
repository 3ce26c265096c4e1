# SPDX-License-Identifier: MIT
"""Combined, several controllers as one group: one directory in each hierarchy that is needed, all of them or none."""

from __future__ import annotations

import errno
import os
import time

from . import _kernfs, _tasks, controllers, owners
from ._types import TYPE_CHECKING
from .ending import Ending
from .errors import (
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    PermissionDeniedError,
    UnavailableError,
)
from .freezing import Freezing, thaw_all
from .making import Made
from .names import group_name
from .placed import Placed
from .settings import apply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Literal, Self, Unpack

    from .base import Controller
    from .hierarchy import Hierarchy
    from .limits import Limits, LimitWords
    from .settings import Setting

# What counts for run() is taken along, if it can be, but no more than that: each directory of v1 costs as much as a
# tenth of starting a program.
_ALWAYS = (controllers.MEMORY,)
_BESIDE: dict[type[controllers.Core], type[controllers.Core]] = {controllers.CPU: controllers.CPUACCT}
# Seconds to wait for what was killed: for what is not frozen, and for all.
_BRIEFLY, _PATIENCE = 1.0, 10.0
# Between two looks at whether a start in another thread is over.
_PAUSE = 0.0005
_REFUSALS = (UnavailableError, PermissionDeniedError, GroupBusyError)


class Combined(Placed):
    """A group in several hierarchies at once: its life, and who is in it."""

    __slots__ = ("_ending", "_entries", "_is_ending", "_is_own", "_unnamed")

    def __init__(self, name: str | None = None, limits: Limits | None = None, **words: Unpack[LimitWords]) -> None:
        super().__init__(owners.unique_name() if name is None else name, limits, **words)
        self._unnamed = name is None
        self._entries: list[Made] = []
        #: Whether this object has made it, so that what is in it has been started there or brought.
        self._is_own = False
        #: Whether its block is about to end, so that no other thread may start anything there.
        self._is_ending = False
        self._ending = Ending()

    # --- its life ---

    def exists(self) -> bool:
        """Return whether the group exists, in every hierarchy that its limits need."""
        needed = [self.view(kind).path for kind in self.limits.settings()]
        return all(map(os.path.isdir, needed)) if needed else any(map(os.path.isdir, self.found().values()))

    def create(self) -> Self:
        """Make the group in every hierarchy that its limits need, and limit it; all of that or nothing.

        It stays when this process has ended. Raises GroupExistsError, UnavailableError, PermissionDeniedError, and
        InvalidValueError for a limit that the kernel refuses.
        """
        if self.found():
            message = f"{self._label()}: cannot create it: {self.paths[0]} exists"
            raise GroupExistsError(message, group=self._path, errno=errno.EEXIST)
        self._make(Made())
        return self

    def _make(self, made: Made) -> None:
        """Make what is missing and set the limits."""
        settings = self.limits.settings()
        checked = {kind: self.view(kind).checked(values) for kind, values in settings.items()}
        before = dict(self._places)
        try:
            beside = [_BESIDE[kind] for kind in settings if kind in _BESIDE]
            kinds: dict[type[controllers.Core], None] = dict.fromkeys([*settings, *_ALWAYS, *beside])
            for kind in kinds:
                self._make_for(kind, made, needed=kind in settings)
            if not self._places:
                self._make_for(controllers.FREEZER, made, needed=True)
            for kind, values in checked.items():
                self._limit(kind, values)
        except BaseException:
            self._places = before
            made.remove()
            raise
        self._is_own |= bool(made.directories)
        # One that has a name may have been entered by others already.
        self.is_fresh = made.alone

    def _make_for(self, kind: type[controllers.Core], made: Made, *, needed: bool) -> None:
        try:
            place = self.view(kind)._place
            first = len(made.directories)
            if place.hierarchy not in self._places:
                try:
                    made.make(place.directory)
                except OSError as cause:
                    raise self._failed(cause, f"make {place.directory}") from cause
                self._places[place.hierarchy] = place.directory
            topmost = [*made.directories[first:], place.directory][0]
            place.hierarchy.enable(place.directory, place.controller, topmost)
        except _REFUSALS:
            if needed:
                raise

    def _limit(self, kind: type[controllers.Core], values: dict[Setting[Any, Any], Any]) -> None:
        view = self.view(kind)
        if kind is controllers.CPUSET:
            # v1 takes no process before both are set.
            above = controllers.CPUSET(os.path.dirname(view._place.name))
            values = view.checked({"cpus": above.effective_cpus, "mems": above.effective_mems}) | values
        apply(view, values)

    def delete(self, tasks: Literal["move", "kill", "refuse"] = "move", *, recursive: bool = False) -> None:
        """Remove the group from every hierarchy; what becomes of its processes is as Controller.delete() says.

        Raises GroupNotFoundError, GroupBusyError, PermissionDeniedError.
        """
        views = self.views()
        for view in views:
            view.check_deletable(tasks, recursive=recursive)
        for view in views:
            if os.path.isdir(view.path):
                view.delete(tasks, recursive=recursive)
        self._places = {}

    def __enter__(self) -> Self:
        """Make the group where it does not exist, and limit it."""
        made = Made(alone=self._unnamed and not self._entries, marked=not self._unnamed)
        if not self._entries and not self._unnamed:
            for directory in self.found().values():
                if made.take_over(directory):
                    self._ending.spare(directory)
        try:
            self._make(made)
        except FileExistsError:
            if not made.alone:
                raise
            self._rename()  # this process has become another program, which counts from the start
            return self.__enter__()
        self._entries.append(made)
        self._is_held = True
        return self

    def _rename(self) -> None:
        self.name = owners.unique_name()
        self._path = group_name(self.name)
        self._views.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill what the group's run() and popen() have started, move the rest out, and remove what entry made.

        In a forked child nothing is done: the group is its parent's.
        """
        made = self._entries.pop()
        self._is_held = bool(self._entries)
        if made.process != os.getpid() or (self._entries and not made.directories):
            return
        self._is_ending = bool(made.directories) and not self._entries
        try:
            if not made.directories or not made.remove():
                self._end(made.directories)
                made.remove()
        finally:
            self._is_ending = False
        if made.directories:
            self._places, self._is_own = {}, False

    def _end(self, made: list[str]) -> None:
        if not self.found():
            return  # another one that has made it has removed it
        present = [view for view in self.views() if os.path.isdir(view.path)]
        for view in present:
            view.leave(always=view.path in made)
        deadline = time.monotonic() + _PATIENCE
        while True:
            starting = self._is_ending and self._ending.is_under_way() and time.monotonic() < deadline
            if left := self.end_started():
                raise self._busy(left)
            if not starting:
                break
            time.sleep(_PAUSE)
        for view in present:
            if view.path in made and os.path.isdir(view.path):
                view.delete(recursive=True)

    def end_started(self) -> list[int]:
        """Kill what run() and popen() have started, with all its descendants; return what does not end in time.

        Raises CgroupError.
        """
        views = self.views()
        brought = {pid for view in views for pid in view.attached()} - {os.getpid()}
        present = [view.path for view in views if os.path.isdir(view.path)]
        joined = any(view.was_joined() for view in views)
        try:
            left = self._ending.kill(present, brought, alone=self._is_own, joined=joined, patience=_BRIEFLY)
            if left:
                for view in views:
                    if isinstance(view, Freezing):
                        thaw_all(view)  # on v1 who is frozen does not die
                left = self._ending.kill(present, brought, alone=self._is_own, joined=joined, patience=_PATIENCE)
        except OSError as cause:
            raise self._failed(cause, "kill what it has started") from cause
        return left

    def kill(self) -> None:
        """Kill every process of the group and of the groups below it, but the calling one.

        Raises GroupBusyError, PermissionDeniedError, GroupNotFoundError, and InvalidNameError for a hierarchy's root.
        """
        for view in self.views():
            view.kill()

    def _busy(self, left: list[int]) -> GroupBusyError:
        message = f"{self._label()}: the processes {_tasks.listed(left)} did not end after SIGKILL"
        return GroupBusyError(message, group=self._path, errno=errno.EBUSY)

    def _failed(self, cause: OSError, attempt: str) -> CgroupError:
        attempt = f"{self._label()}: cannot {attempt}"
        return _kernfs.error(cause, attempt, group=self._path, directory=next(iter(self._places.values()), ""))

    # --- who is in it ---

    def attach(self, pid: int | None = None) -> None:
        """Move a process with all its threads into the group in every hierarchy, by default the calling one.

        Raises as Controller.attach() does; then the process is where it was.
        """
        self.whole()
        done: list[Controller] = []
        self.is_fresh = False
        try:
            for view in self.views():
                view.attach(pid)
                done.append(view)
        except CgroupError:
            for view in done:
                view.detach(pid)
            raise

    def detach(self, pid: int | None = None) -> None:
        """Move a process back to where it was before attach(), in every hierarchy."""
        for view in self.views():
            view.detach(pid)

    def move(self, tasks_from: Combined | Controller) -> None:
        """Move all processes of another group, not of those below it, into this one.

        Raises GroupNotFoundError, GroupBusyError, PermissionDeniedError; and before anything is moved UnavailableError
        for a group in a hierarchy that this one is not in.
        """
        others = tasks_from.views() if isinstance(tasks_from, Combined) else [tasks_from]
        mine = {view._place.hierarchy: view for view in self.views()}
        for other in others:
            if other._place.hierarchy not in mine:
                message = f"{self._label()}: nothing of {other.path} can come here: it is not in that hierarchy"
                raise UnavailableError(message, group=self._path)
        for other in others:
            view = mine[other._place.hierarchy]
            while view.path != other.path and (pids := other.pids()):
                for pid in pids:
                    _attach_if_alive(view, pid)

    def processes(self) -> list[int]:
        """Return the processes in the group, without those of its children, sorted. Raises GroupNotFoundError."""
        return sorted({pid for view in self.views() for pid in view.pids()})

    def children(self) -> list[Self]:
        """Return the groups right below this one, in any hierarchy, sorted by name. Raises GroupNotFoundError."""
        found: dict[str, dict[Hierarchy, str]] = {}
        for tree, directory in self.there().items():
            try:
                names = _kernfs.children(directory)
            except OSError as cause:
                raise self._failed(cause, "list its children") from cause
            for name in names:
                found.setdefault(name, {})[tree] = f"{directory}/{name}"
        return [self._at(found[name]) for name in sorted(found)]

    def walk(self) -> Iterator[Self]:
        """Yield the group and all groups below it, each before its children. Raises GroupNotFoundError."""
        yield self
        for child in self.children():
            try:
                yield from child.walk()
            except FileNotFoundError:
                continue  # removed meanwhile


def _attach_if_alive(view: Controller, pid: int) -> None:
    try:
        view.attach(pid)
    except ProcessLookupError:
        return
