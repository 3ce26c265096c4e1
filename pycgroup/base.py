# SPDX-License-Identifier: MIT
"""Controller, the base of all classes of groups: create, modify, delete, exists, `with`."""

from __future__ import annotations

import errno
import os

from . import _kernfs, _native, _tasks
from ._types import TYPE_CHECKING
from .errors import (
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidNameError,
    InvalidValueError,
    UnavailableError,
)
from .members import Members
from .settings import Setting, apply

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, Self

#: Which directories this process has made, and through which classes: on v2, and where v1 controllers are mounted
#: together, several share one directory.
_made: dict[str, set[type]] = {}


class Controller(Members):
    """A control group as one controller sees it: its control files are the attributes.

    `name` is the group's path below the hierarchy; "test" and "/test" are the same, "/" is the root. Keyword arguments
    are assigned as attributes are. Without them nothing is looked at or opened here. Raises InvalidNameError.
    """

    __slots__ = ("_created", "_entries")

    def __init__(self, name: str, **values: Any) -> None:
        super().__init__(name)
        self._created = False
        self._entries: list[bool] = []
        if values:
            self._assign(values)

    def _assign(self, values: dict[str, Any]) -> None:
        self._staged.update(self._checked(values))
        if self.exists():
            self._apply_staged()

    def _checked(self, values: dict[str, Any]) -> dict[Setting[Any, Any], Any]:
        settings = {self._setting(name): value for name, value in values.items()}
        for setting, value in settings.items():
            setting.check(self, value)
        return settings

    def exists(self) -> bool:
        """Return whether the group exists, and on v2 whether its controller is enabled there."""
        place = self._place
        return place.hierarchy.offers(place.directory, place.controller)

    def create(self, **values: Any) -> Self:
        """Make the group, with its missing parents, and apply what is staged and given; return the group itself.

        A value that the kernel refuses leaves no group behind. Raises GroupExistsError, unless another controller's
        object of this process made the directory that both share; InvalidValueError, PermissionDeniedError and
        GroupBusyError by what the kernel said. By cgroup_create_cgroup of libcgroup on v1.
        """
        self._staged.update(self._checked(values))
        directory = self.path
        if os.path.isdir(directory):
            self._share(directory)
        else:
            self._make(directory)
        _made.setdefault(directory, set()).add(type(self))
        self._created = True
        return self

    open = create

    def _share(self, directory: str) -> None:
        if type(self) in _made.get(directory, {type(self)}):
            message = f"{self._label()}: cannot create it: it exists; modify() changes it"
            raise GroupExistsError(message, group=directory, errno=errno.EEXIST)
        self._place.hierarchy.enable(directory, self._place.controller)
        self._apply_staged()

    def _make(self, directory: str) -> None:
        first = _tasks.first_missing(directory)
        try:
            if not self._make_by_libcgroup():
                self._make_by_files(directory)
        except BaseException:
            _tasks.unmake(directory, first)
            raise
        self._staged.clear()

    def _make_by_libcgroup(self) -> bool:
        """Make the group and set what is staged with libcgroup; return whether all of it went well."""
        place = self._place
        if not place.hierarchy.by_libcgroup:
            return False
        files = [(setting.file(self, place), value) for setting, value in self._staged.items()]
        texts = [(file.name, file.codec.encode(value)) for file, value in files]
        if not all(_native.fits(text) for _, text in texts):
            return False
        try:
            _native.create(self._path, place.controller, texts)
        except UnavailableError:
            raise
        except CgroupError:
            # It does not say which value was refused, and 3.x has removed the group by now: the files will tell.
            return False
        return True

    def _make_by_files(self, directory: str) -> None:
        try:
            if not os.path.isdir(directory):
                _tasks.make(directory)
        except OSError as cause:
            raise self._failed(cause, "create it") from cause
        self._place.hierarchy.enable(directory, self._place.controller)
        apply(self, self._staged)

    def modify(self, **values: Any) -> None:
        """Apply what is staged and several values at once, in an order that the kernel accepts.

        All values are checked before the first is written; where the kernel refuses one all the same, the exception
        names it and says in a note which were applied. Raises GroupNotFoundError, InvalidValueError,
        UnsupportedSettingError, PermissionDeniedError.
        """
        self._staged.update(self._checked(values))
        if not self.exists():
            raise GroupNotFoundError(f"{self._label()}: it does not exist; create() makes it", group=self.path)
        self._apply_staged()

    def _apply_staged(self) -> None:
        # cgroup_modify_cgroup stops at the first refusal without naming it, reports some as success (3.x), and takes
        # 5 times as long as the file.
        staged, self._staged = self._staged, {}
        apply(self, staged)

    def delete(self, tasks: Literal["move", "kill", "refuse"] = "move", *, recursive: bool = False) -> None:
        """Remove the group; `recursive` removes the groups below it too.

        What becomes of processes that are still in it: "move" takes them to the parent of the group, as libcgroup
        does, so that they go on without its limits; "kill" ends them, the calling process excepted, which is moved
        out; "refuse" raises GroupBusyError. It is no error if this object made the group and another removed it.
        Raises GroupNotFoundError, GroupBusyError, PermissionDeniedError. By cgroup_delete_cgroup_ext of libcgroup.
        """
        clear = {"move": self._move_up, "kill": self._kill, "refuse": self._refuse}.get(tasks)
        if clear is None:
            raise InvalidValueError(f"tasks={tasks!r}: it is 'move', 'kill' or 'refuse'", value=tasks)
        if self._path == "/":
            raise InvalidNameError(f"{self._label()}: the root of a hierarchy is always there")
        try:
            if not self._removed_empty():
                groups = self._removable(recursive=recursive)
                clear(groups)
                _tasks.remove(groups)
        except OSError as cause:
            if isinstance(cause, CgroupError):
                raise
            if not isinstance(cause, FileNotFoundError) or not self._created:
                raise self._failed(cause, "delete it") from cause
        _made.pop(self.path, None)
        self._created = False

    close = delete

    def _removed_empty(self) -> bool:
        """Remove the directory with the one call that it takes if nothing is in it. Raises OSError."""
        try:
            os.rmdir(self.path)
        except OSError as cause:
            if cause.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            return False
        return True

    def _removable(self, *, recursive: bool) -> list[str]:
        groups = _tasks.tree(self.path)
        if len(groups) > 1 and not recursive:
            below = ", ".join(_kernfs.children(self.path))
            raise self._busy(f"it has the children {below}; delete(recursive=True) removes them too")
        return groups

    def _refuse(self, groups: list[str]) -> None:
        if pids := _tasks.pids(groups):
            raise self._busy(f"it holds the processes {_tasks.listed(pids)}; tasks='move' or 'kill' deletes it")

    def _kill(self, groups: list[str]) -> None:
        self._leave()
        if left := [pid for group in groups for pid in _tasks.kill(group)]:
            raise self._busy(f"the processes {_tasks.listed(left)} did not end after SIGKILL")

    def _move_up(self, groups: list[str]) -> None:
        if self._place.hierarchy.by_libcgroup:
            try:
                return _native.delete(self._path, self._place.controller, recursive=len(groups) > 1)
            except (GroupNotFoundError, GroupBusyError):
                # 2.0.2 says ENOENT after it has removed a directory of several controllers; and it gives up where a
                # process forks meanwhile.
                pass
        try:
            _tasks.move(groups, os.path.dirname(self.path))
        except OSError as cause:
            pids = _tasks.listed(_tasks.pids(groups))
            hint = f"tasks='kill' ends the processes {pids}; attach() to another group keeps them"
            raise self._failed(cause, "move its processes to its parent", hint) from cause

    def _busy(self, why: str) -> GroupBusyError:
        return GroupBusyError(f"{self._label()}: cannot delete it: {why}", group=self.path, errno=errno.EBUSY)

    def __enter__(self) -> Self:
        """Create the group if it does not exist, and apply what is staged."""
        there = self.exists()
        if there:
            self._apply_staged()
        else:
            self.create()
        self._entries.append(not there)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Move the calling process out, and delete the group if the entry created it."""
        created = self._entries.pop()
        if os.path.isdir(self.path):
            self._leave()
        if created:
            self.delete(recursive=True)
