# SPDX-License-Identifier: MIT
"""Combined, several controllers as one group: one directory in each hierarchy that is needed, all of them or none."""

from __future__ import annotations

import errno
import os

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
from .hosts import here
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
_REFUSALS = (UnavailableError, PermissionDeniedError, GroupBusyError)


class Combined(Placed):
    """A group in several hierarchies at once: its life, and who is in it."""

    def __init__(self, name: str | None = None, limits: Limits | None = None, **words: Unpack[LimitWords]) -> None:
        super().__init__(owners.unique_name() if name is None else name, limits, **words)
        self._unnamed = name is None
        self._entries: list[list[str]] = []
        #: Whether nothing can have been counted in it yet.
        self.is_fresh = False
        self._ending = Ending()

    # --- its life ---

    def exists(self) -> bool:
        """Return whether the group exists, in every hierarchy that its limits need."""
        needed = [self.view(kind).path for kind in self.limits.settings()]
        return all(map(os.path.isdir, needed)) if needed else any(map(os.path.isdir, self.found().values()))

    def create(self) -> Self:
        """Make the group in every hierarchy that its limits need, and limit it; all of that or nothing.

        Raises GroupExistsError, UnavailableError, PermissionDeniedError, and InvalidValueError for a limit that the
        kernel refuses.
        """
        if self.found():
            message = f"{self._label()}: cannot create it: {self.paths[0]} exists"
            raise GroupExistsError(message, group=self._path, errno=errno.EEXIST)
        self._make()
        return self

    def _make(self) -> list[str]:
        """Make what is missing and set the limits; return the directories that were made."""
        settings = self.limits.settings()
        checked = {kind: self.view(kind).checked(values) for kind, values in settings.items()}
        before = dict(self._places)
        made: list[str] = []
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
            for directory in reversed(made):
                os.rmdir(directory)
            raise
        self.is_fresh = len(made) >= len(self._places)
        return made

    def _make_for(self, kind: type[controllers.Core], made: list[str], *, needed: bool) -> None:
        try:
            place = self.view(kind)._place
            first = len(made)
            if place.hierarchy not in self._places:
                self._make_directory(place.directory, made)
                self._places[place.hierarchy] = place.directory
            place.hierarchy.enable(place.directory, place.controller, [*made[first:], place.directory][0])
        except _REFUSALS:
            if needed:
                raise

    def _make_directory(self, directory: str, made: list[str]) -> None:
        # Not by libcgroup, which reads /proc/mounts anew for each value: a group of four controllers would take as
        # long to make as the program in it takes to run.
        try:
            os.mkdir(directory)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_directory(os.path.dirname(directory), made)
            os.mkdir(directory)
        except OSError as cause:
            raise self._failed(cause, f"make {directory}") from cause
        made.append(directory)
        if not self._unnamed:
            owners.mark(directory)

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
        for view in self.views():
            if os.path.isdir(view.path):
                view.delete(tasks, recursive=recursive)
        self._places = {}

    def __enter__(self) -> Self:
        """Make the group where it does not exist, and limit it."""
        if not self._unnamed:
            self.found()
        self._entries.append(self._make())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill what the group's run() and popen() have started, move the rest out, and remove what entry made."""
        made = self._entries.pop()
        if not made or not all(map(_removed_empty, reversed(made))):
            self._end()
            for view in self.views():
                if view.path in made and os.path.isdir(view.path):
                    view.delete(recursive=True)
            for directory in reversed(made):
                _removed_empty(directory)
        if made:
            self._places = {}

    def _end(self) -> None:
        present = [view for view in self.views() if os.path.isdir(view.path)]
        own = here().directories()
        for view in present:
            if any(_tasks.inside(view.path, directory) for directory in own.values()):
                view.detach()
        attached = {pid for view in self._views.values() for pid in view.attached()}
        left = self._ending.kill([view.path for view in present], attached)
        if left:
            raise self._busy(left)

    def kill(self) -> None:
        """Kill every process of the group and of the groups below it, but the calling one. Raises GroupBusyError."""
        groups = [group for directory in self.there().values() for group in _tasks.tree(directory)]
        if left := sorted({pid for group in groups for pid in _tasks.kill(group)}):
            raise self._busy(left)

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

        Raises GroupNotFoundError, GroupBusyError, PermissionDeniedError.
        """
        others = tasks_from.views() if isinstance(tasks_from, Combined) else [tasks_from]
        mine = {view._place.hierarchy: view for view in self.views()}
        for other in others:
            view = mine.get(other._place.hierarchy)
            while view is not None and (pids := other.pids()):
                for pid in pids:
                    _attach_if_alive(view, pid)

    def processes(self) -> list[int]:
        """Return the processes in the group, without those of its children, sorted. Raises GroupNotFoundError."""
        return sorted({pid for view in self.views() for pid in view.pids()})

    def children(self) -> list[Self]:
        """Return the groups right below this one, in any hierarchy, sorted by name. Raises GroupNotFoundError."""
        found: dict[str, dict[Hierarchy, str]] = {}
        for tree, directory in self.there().items():
            for name in _kernfs.children(directory):
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


def _removed_empty(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _attach_if_alive(view: Controller, pid: int) -> None:
    try:
        view.attach(pid)
    except ProcessLookupError:
        return
