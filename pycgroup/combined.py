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
    GroupNotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from .hierarchy import base, here, locate
from .limits import Limits
from .names import group_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Literal, Self, TypeVar, Unpack

    from .base import Controller
    from .hierarchy import Hierarchy
    from .limits import LimitWords

    C = TypeVar("C", bound=controllers.Core)

# What counts for run() is taken along, if it can be, but no more than that: each directory of v1 costs as much as a
# tenth of starting a program.
_ALWAYS = (controllers.MEMORY,)
_BESIDE: dict[type[controllers.Core], type[controllers.Core]] = {controllers.CPU: controllers.CPUACCT}
_REFUSALS = (UnavailableError, PermissionDeniedError, GroupBusyError)


class Combined:
    """A group in several hierarchies at once: its life, and who is in it."""

    def __init__(self, name: str | None = None, limits: Limits | None = None, **words: Unpack[LimitWords]) -> None:
        self.limits = Limits(**words) if limits is None else limits | Limits(**words)
        self.name = owners.unique_name() if name is None else name
        self._path = group_name(self.name)
        self._unnamed = name is None
        #: Where it is, in each hierarchy that it is in.
        self._places: dict[Hierarchy, str] = {}
        self._views: dict[type[controllers.Core], Any] = {}
        self._entries: list[list[str]] = []
        #: Whether nothing can have been counted in it yet.
        self.is_fresh = False
        self._ending = Ending()

    # --- where it is ---

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the group that a process is in; in each hierarchy that may be another one.

        Raises NoSuchProcessError. Reads /proc/PID/cgroup.
        """
        return cls._at(here().directories(pid))

    @classmethod
    def current(cls) -> Self:
        """Return the group that the calling process is in. Reads /proc/self/cgroup."""
        return cls._at(here().directories())

    @classmethod
    def _at(cls, places: dict[Hierarchy, str]) -> Self:
        group = cls(max((_below(tree, directory) for tree, directory in places.items()), key=len, default="/"))
        group._places = dict(places)
        return group

    def view(self, kind: type[C]) -> C:
        """Return the group as one controller sees it, such as Cgroup.MEMORY. Raises UnavailableError."""
        if kind not in self._views:
            tree = locate(kind.V1, kind.V2, "/").hierarchy
            self._views[kind] = kind(_below(tree, self._directory(tree)))
        view: C = self._views[kind]
        return view

    def has(self, kind: type[controllers.Core]) -> bool:
        """Return whether the group is in the hierarchy of a controller."""
        try:
            return locate(kind.V1, kind.V2, "/").hierarchy in self._found()
        except UnavailableError:
            return False

    def _directory(self, tree: Hierarchy) -> str:
        if tree in self._places:
            return self._places[tree]
        return tree.directory(self._path if self.name.startswith("/") else base(tree) + self._path)

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories of the group that exist."""
        return tuple(self._found().values())

    def _found(self) -> dict[Hierarchy, str]:
        if not self._places:
            everywhere = {tree: self._directory(tree) for tree in here().hierarchies}
            self._places = {tree: directory for tree, directory in everywhere.items() if os.path.isdir(directory)}
        return self._places

    def _there(self) -> dict[Hierarchy, str]:
        """Return where the group is. Raises GroupNotFoundError if it is nowhere."""
        if not self._found():
            message = f"{self._label()}: it does not exist; create() makes it"
            raise GroupNotFoundError(message, group=self._path, errno=errno.ENOENT)
        return self._places

    def views(self) -> list[Controller]:
        """Return one view for each hierarchy that the group is in. Those of others, such as systemd's, are left out."""
        there = self._there()
        views = {}
        for kind in controllers.ALL:
            tree = next((tree for tree in there if tree.serves(kind.V1, kind.V2)), None)
            if tree is not None and tree not in views:
                views[tree] = self.view(kind)
        return list(views.values())

    def _label(self) -> str:
        return f"{type(self).__name__} {self._path!r}"

    def __repr__(self) -> str:
        shown = repr(self.limits).removeprefix("Limits(").removesuffix(")")
        state = "" if self._found() else " (does not exist)"
        return f"<{self._label()}{' ' if shown else ''}{shown}{state}>"

    # --- its life ---

    def exists(self) -> bool:
        """Return whether the group exists, in every hierarchy that its limits need."""
        needed = [self.view(kind).path for kind in self.limits.settings()]
        return all(map(os.path.isdir, needed)) if needed else any(map(os.path.isdir, self._found().values()))

    def create(self) -> Self:
        """Make the group in every hierarchy that its limits need, and limit it; all of that or nothing.

        Raises GroupExistsError, UnavailableError, PermissionDeniedError, and InvalidValueError for a limit that the
        kernel refuses.
        """
        if self._found():
            message = f"{self._label()}: cannot create it: {self.paths[0]} exists"
            raise GroupExistsError(message, group=self._path, errno=errno.EEXIST)
        self._make()
        return self

    def _make(self) -> list[str]:
        """Make what is missing and set the limits; return the directories that were made."""
        settings = self.limits.settings()
        before = dict(self._places)
        made: list[str] = []
        try:
            beside = [_BESIDE[kind] for kind in settings if kind in _BESIDE]
            kinds: dict[type[controllers.Core], None] = dict.fromkeys([*settings, *_ALWAYS, *beside])
            for kind in kinds:
                self._make_for(kind, made, needed=kind in settings)
            if not self._places:
                self._make_for(controllers.FREEZER, made, needed=True)
            for kind, values in settings.items():
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
            place = locate(kind.V1, kind.V2, "/")
            directory = self._directory(place.hierarchy)
            first = len(made)
            if place.hierarchy not in self._places:
                self._make_directory(directory, made)
                self._places[place.hierarchy] = directory
            place.hierarchy.enable(directory, place.controller, [*made[first:], directory][0])
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

    def _limit(self, kind: type[controllers.Core], values: dict[str, Any]) -> None:
        if kind is controllers.CPUSET:
            # v1 takes no process before both are set.
            above = controllers.CPUSET(os.path.dirname(_below(_tree(self.view(kind)), self.view(kind).path)))
            values = {"cpus": above.effective_cpus, "mems": above.effective_mems} | values
        self.view(kind).modify(**values)

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
            self._found()
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
        groups = [group for directory in self._there().values() for group in _tasks.tree(directory)]
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
        mine = {_tree(view): view for view in self.views()}
        for other in others:
            view = mine.get(_tree(other))
            while view is not None and (pids := other.pids()):
                for pid in pids:
                    _attach_if_alive(view, pid)

    def processes(self) -> list[int]:
        """Return the processes in the group, without those of its children, sorted. Raises GroupNotFoundError."""
        return sorted({pid for view in self.views() for pid in view.pids()})

    def children(self) -> list[Self]:
        """Return the groups right below this one, in any hierarchy, sorted by name. Raises GroupNotFoundError."""
        found: dict[str, dict[Hierarchy, str]] = {}
        for tree, directory in self._there().items():
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


def _below(tree: Hierarchy, directory: str) -> str:
    return directory.removeprefix(tree.path) or "/"


def _tree(view: Controller) -> Hierarchy:
    return locate(view.V1, view.V2, "/").hierarchy


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
