# SPDX-License-Identifier: MIT
"""Combined, several controllers as one group: one directory in each hierarchy that is needed, all of them or none."""

from __future__ import annotations

import errno
import os
import time

from . import _kernfs, _native, _tasks, controllers, owners
from ._types import TYPE_CHECKING
from .calming import Calm
from .ending import Ending
from .errors import (
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from .freezing import Freezing, thaw_all
from .hierarchy import Place
from .making import Made
from .names import group_name
from .placed import Placed, below
from .settings import apply
from .steps import Step, steps
from .turns import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any, Literal, Self, Unpack

    from .base import Controller
    from .hierarchy import Hierarchy
    from .limits import Limits, LimitWords
    from .settings import Setting

# Seconds to wait for what was killed: for what is not frozen, and for all.
_BRIEFLY, _PATIENCE = 1.0, 10.0
# Between two looks at whether a start in another thread is over.
_PAUSE = 0.0005
_REFUSALS = (UnavailableError, PermissionDeniedError, GroupBusyError)


class Combined(Placed):
    """A group in several hierarchies at once: its life, and who is in it."""

    __slots__ = ("_ending", "_entries", "_is_ending", "_is_own", "_unnamed")

    def __init__(self, name: str | None = None, limits: Limits | None = None, **words: Unpack[LimitWords]) -> None:
        super().__init__(name, limits, **words)
        self._unnamed = name is None
        self._entries: list[Made] = []
        #: Whether it is of a block's own, so that what is in it since has been started there or brought.
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
        with Turn(needed=not self._unnamed):
            if self.found():
                message = f"{self._label()}: cannot create it: {self.paths[0]} exists"
                raise GroupExistsError(message, group=self._path, errno=errno.EEXIST)
            if self._unnamed:
                self._rename(owners.lasting(self.name))
            made = Made()
            try:
                self._make(made)
            except BaseException:
                self._forget(made)
                raise
            self._is_own = True
        return self

    def _make(self, made: Made) -> None:
        """Make what is missing and set the limits."""
        found: Iterable[Step] = steps(self)
        if made.alone:
            found = self._make_at_once(found, made)
        for step in found:
            self._make_for(step, made)
        if not self._places:
            self._make_for(Step(self, controllers.FREEZER, {}), made)
        for step in found:
            if step.values:
                self._limit(step, self._places[step.tree], made)
        # One that has a name may have been entered by others already.
        self.is_fresh = made.alone

    def _holds(self, made: Made) -> bool:
        """Return whether an entry has made the group, or shares it, and not just one above it."""
        return not {*made.held}.isdisjoint(self._places.values())

    def _forget(self, made: Made) -> None:
        """Undo what an entry that has failed, or was interrupted, has done so far."""
        if made in self._entries:
            self._entries.remove(made)
        self._is_held = bool(self._entries)
        self._is_own &= self._is_held
        for view, before in reversed(made.replaced):
            _restore(view, before)
        made.replaced.clear()
        with Turn(needed=bool(made.mark)):
            made.undo()
        if not self._is_held:
            self._places = {}

    def _make_at_once(self, found: Iterable[Step], made: Made) -> list[Step]:
        """Make and limit what takes no more than one call each; return the steps that are left."""
        left = []
        for step in found:
            tree = step.tree
            if step.at_once is None or tree.base is None or (self._places and tree in self._places):
                left.append(step)
                continue
            directory = f"{tree.path}{tree.base}{self._path}"  # as directory() has it for a name that is our own
            made.directories.append(directory)  # first, as a signal handler may raise right behind it
            if _native.make(directory, step.at_once):
                self._places[tree] = directory
            else:
                made.directories.pop()
                left.append(step)
        return left

    def _make_for(self, step: Step, made: Made) -> None:
        tree = step.tree
        try:
            first = len(made.directories)
            directory = self.directory(tree)
            if tree not in self._places:
                try:
                    made.make(directory, tree.path)
                except OSError as cause:
                    raise self._failed(cause, f"make {directory}") from cause
                self._places[tree] = directory
            tree.enable(directory, step.controller, [*made.directories[first:], directory][0])
        except _REFUSALS:
            if step.needed:
                raise

    def _limit(self, step: Step, directory: str, made: Made) -> None:
        if step.texts and directory in made.directories:
            try:
                for file, text in step.texts:
                    _kernfs.write(f"{directory}/{file}", text)
            except OSError:
                pass  # what is wrong is said below
            else:
                return
        view, values = self.view(step.kind), step.values
        before = {} if directory in made.directories else _read(view, values)
        if step.kind is controllers.CPUSET:
            # v1 takes no process before both are set.
            above = controllers.CPUSET(os.path.dirname(view._place.name))
            whole = view.checked({"cpus": above.effective_cpus, "mems": above.effective_mems})
            values = {setting: value for setting, value in whole.items() if not setting.read(view)} | values
            before = before and _read(view, values)
        made.replaced.append((view, before))
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
        self._places, self._is_own = {}, False

    def __enter__(self) -> Self:
        """Make the group where it does not exist, and limit it.

        One that another Cgroup() has made, here or in another process, is shared: the last one who leaves removes it.
        """
        alone = self._unnamed and not self._entries
        made = Made(alone=alone, marked=not alone)
        try:
            if alone:
                self._enter_or_forget(made)
            else:
                with Turn():
                    self._enter_or_forget(made)
        except BaseException as error:
            self._forget(made)  # once more, as that may have been interrupted, or the turn's end
            if not (alone and isinstance(error, FileExistsError)):
                raise
        else:
            return self
        self._rename(owners.unique_name())  # this process has become another program, which counts from the start
        return self.__enter__()

    def _enter_or_forget(self, made: Made) -> None:
        try:
            self._enter(made)
        except BaseException:
            self._forget(made)
            raise

    def _enter(self, made: Made) -> None:
        if self._ending.process != os.getpid():
            # In a forked child: what its parent has started, and will end, is the parent's.
            self._ending, self._is_ending, self._is_own = Ending(), False, False
        if self._is_ending:
            message = f"{self._label()}: its block is ending, in another thread"
            raise GroupBusyError(message, group=self._path, errno=errno.EBUSY)
        entries = [each for each in self._entries if each.process == os.getpid()] if self._entries else []
        if entries:
            made.known = frozenset(directory for each in entries for directory in each.held)
        elif made.mark:
            self._share(made)
        self._make(made)
        self._is_own = self._is_own or made.alone or self._holds(made)
        self._entries.append(made)
        self._is_held = True

    def _share(self, made: Made) -> None:
        for tree, directory in list(self.found().items()):
            try:
                made.share_above(directory, tree.path)
                if made.share(directory):
                    self._ending.spare(directory)
            except OSError as cause:
                if os.path.isdir(directory):
                    raise self._failed(cause, f"share {directory}") from cause
                self._places.pop(tree, None)  # somebody has deleted it

    def _rename(self, name: str) -> None:
        self.name = name
        self._path = group_name(name)
        self._views.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill what the group's run() and popen() have started, move the rest out, and remove what entry made.

        What others use too, as they have entered a group of the same name or below it, stays to them with all that is
        in it. In a forked child nothing is done: the group is its parent's.
        """
        *around, made = self._entries
        others = bool(around) and any(each.process == os.getpid() for each in around)
        holds = made.alone or self._holds(made)
        ends = made.process == os.getpid() and not (others and not made.held)
        self._is_ending = ends and holds and not others  # first, so that no other thread enters meanwhile
        self._entries.pop()
        try:
            if not ends:
                return
            is_removed = made.remove() if made.alone else _is_removed_in_turn(made)
            if is_removed:
                for view in self._views.values():
                    view._forget_members()
            else:
                self._end(made)
            if holds:
                self._places, self._is_own = {}, False
        finally:
            self._is_ending = False
            self._is_held = bool(self._entries)

    def _end(self, made: Made) -> None:
        views = self.views() if self.found() else []  # where somebody has deleted it there is nothing to be seen
        for view in filter(_exists, views):
            view.leave(always=view.path in made.held and not made.is_shared(view.path))
        if views:
            self._kill_started(made)
        with Turn(needed=bool(made.mark)):
            for directory in filter(os.path.isdir, reversed(made.held)):
                self._leave(directory, made, views)

    def _leave(self, directory: str, made: Made, views: list[Controller]) -> None:
        """Remove a directory with all below it, and move who is in it up; leave it to others who use it."""
        view = next((view for view in views if _tasks.inside(directory, view.path)), None)
        if view is None or made.is_shared(directory):
            made.leave(directory)
        elif view.path == directory:
            view.delete(recursive=True)
        else:
            tree = view._place.hierarchy
            _leave_above(type(view).at(Place(tree, view._place.controller, below(tree, directory))), made)

    def _kill_started(self, made: Made) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            starting = self._is_ending and self._ending.is_under_way()
            try:
                if left := self._end_started(made):
                    raise self._busy(left)
            except GroupNotFoundError:
                starting = any(map(_exists, self.views()))  # a group below it was removed meanwhile, or all of it
            if not starting or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)

    def end_started(self) -> list[int]:
        """Kill what run() and popen() have started, with all its descendants; return what does not end in time.

        Raises CgroupError.
        """
        return self._end_started()

    def _end_started(self, *leaving: Made) -> list[int]:
        views = self.views()
        brought = {pid for view in views for pid in view.attached()} - {os.getpid()}
        present = [view.path for view in views if os.path.isdir(view.path)]
        joined = any(view.was_joined() for view in views)
        try:
            entries = (*self._entries, *leaving)
            alone = self._is_own and not any(made.is_shared(path) for made in entries for path in present)
            left = self._ending.kill(present, brought, alone=alone, joined=joined, patience=_BRIEFLY)
            if left:
                for view in views:
                    if isinstance(view, Freezing):
                        thaw_all(view)  # on v1 who is frozen does not die
                left = self._ending.kill(present, brought, alone=alone, joined=joined, patience=_PATIENCE)
        except OSError as cause:
            raise self._failed(cause, "kill what it has started") from cause
        return left

    def kill(self) -> None:
        """Kill every process of the group and of the groups below it, but the calling one.

        Raises GroupBusyError, PermissionDeniedError, GroupNotFoundError, and InvalidNameError for a hierarchy's root.
        """
        views = self.views()
        with Calm([view.path for view in views]):
            for view in views:
                view.kill()

    def _busy(self, left: list[int]) -> GroupBusyError:
        message = f"{self._label()}: the processes {_kernfs.listed(left)} did not end after SIGKILL"
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


def _is_removed_in_turn(made: Made) -> bool:
    with Turn():
        return made.remove()


def _exists(view: Controller) -> bool:
    return os.path.isdir(view.path)


def _leave_above(view: Controller, made: Made) -> None:
    """Remove a group above one that has ended, if nothing else is below; what the dead had there is left to reap()."""
    if any(user != made.mark for user in owners.marks(view.path)):
        made.leave(view.path)
        return
    try:
        view.delete()
    except (GroupBusyError, PermissionDeniedError):
        return  # it stays marked, for reap()


def _restore(group: Controller, values: dict[Setting[Any, Any], Any]) -> None:
    try:
        apply(group, values)
    except CgroupError:
        return  # it may have been removed, too


def _read(group: Controller, settings: Iterable[Setting[Any, Any]]) -> dict[Setting[Any, Any], Any]:
    """Return what is set now, of what can be read here."""
    values = {}
    for setting in settings:
        try:
            values[setting] = setting.read(group)
        except CgroupError:
            continue
    return values


def _attach_if_alive(view: Controller, pid: int) -> None:
    try:
        view.attach(pid)
    except ProcessLookupError:
        return
