# SPDX-License-Identifier: MIT
"""Controller, the base of all classes of groups: create, modify, delete, exists, `with`."""

from __future__ import annotations

import errno
import os

from . import _kernfs, _locks, _native, _tasks, _waiting
from ._types import TYPE_CHECKING
from .errors import (
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidNameError,
    InvalidValueError,
)
from .hosts import here
from .members import Members
from .settings import Setting, apply

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, Self

_UNKILLED = {
    errno.EOPNOTSUPP: "a threaded group cannot be killed alone: kill the group at the head of its threaded subtree",
    errno.EPERM: "a process of another user is in it: run as root",
}

_GONE = (errno.ENOENT, errno.ENODEV)

#: Which directories this process has made, and through which classes: on v2, and where v1 controllers are mounted
#: together, several share one directory.
_made: dict[str, set[type]] = {}
#: What is being made now, by which process and thread.
_making: dict[tuple[int, int], tuple[str, type]] = {}


class Controller(Members):
    """A control group as one controller sees it: its control files are the attributes.

    `name` is the group's path: "/a/test" below the hierarchy's mount point ("/" is the root), "test" below the subtree
    that is delegated to this process, or below the root where none is (see Cgroup.delegated). Keyword arguments are
    checked and staged: create(), modify(), attach() or `with` apply them, so that making an object changes nothing.
    Raises InvalidNameError, and what a wrong setting or value raises.
    """

    __slots__ = ("_created", "_entries", "_topmost")

    def __init__(self, name: str, **values: Any) -> None:
        super().__init__(name)
        self._created = False
        #: The highest directory that was made with it.
        self._topmost = ""
        #: For each entry the process that has made the group then, 0 where it was there.
        self._entries: list[int] = []
        if values:
            self._staged.update(self.checked(values))

    def checked(self, values: dict[str, Any]) -> dict[Setting[Any, Any], Any]:
        """Return the declarations that names stand for, with a value each. Raises SettingError and its kinds."""
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
        GroupBusyError by what the kernel said.
        """
        self._staged.update(self.checked(values))
        self._refuse_root("is always there")
        # cgroup_create_cgroup says 0 for a group that exists, so that two could believe to have made it; 3.x removes it
        # where a value is refused, with its tasks going to the parent, and hides what the kernel answers with
        # EOPNOTSUPP; and it takes 5 times as long as the files.
        me = _locks.me()
        _making[me] = self.path, type(self)
        try:
            self._make()
            _made.setdefault(self.path, set()).add(type(self))
        finally:
            _making.pop(me, None)
        self._created = True
        return self

    open = create

    def _make(self) -> None:
        self._topmost, mount = "", self._place.hierarchy.path
        try:
            self._topmost = first = _tasks.make(self.path, mount)
        except FileExistsError as cause:
            self._share(cause)
        except OSError as cause:
            hint = "" if os.path.isdir(mount) else f"nothing is mounted at {mount} any more"
            raise self._failed(cause, "create it", hint) from cause
        else:
            self._fill(first)

    def _share(self, cause: FileExistsError) -> None:
        if not os.path.isdir(self.path):  # what was made above it, and has such a file, is gone again
            message = f"{self._label()}: cannot create it: a control file has that name"
            raise InvalidNameError(message, group=self.path, errno=cause.errno) from cause
        # On v2 a directory may be there without the controller: another thread is about to enable it, or nobody is.
        if self._is_being_made() or (self.exists() and type(self) in _made.get(self.path, {type(self)})):
            message = f"{self._label()}: cannot create it: it exists; modify() changes it"
            raise GroupExistsError(message, group=self.path, errno=errno.EEXIST) from cause
        self._place.hierarchy.enable(self.path, self._place.controller, self.path)
        self._apply_staged()

    def _is_being_made(self) -> bool:
        """Return whether another thread of this process makes the group at this moment."""
        me, wanted = _locks.me(), (self.path, type(self))
        return any(each == wanted and who[0] == me[0] and who != me for who, each in _making.copy().items())

    def _fill(self, first: str) -> None:
        """Enable the controller in a new group and apply what is staged; if that fails, remove it again."""
        try:
            self._place.hierarchy.enable(self.path, self._place.controller, first)
            apply(self, self._staged)
        except BaseException:
            _tasks.unmake(self.path, first)
            raise
        self._staged.clear()

    def modify(self, **values: Any) -> None:
        """Apply what is staged and several values at once, in an order that the kernel accepts.

        All values are checked before the first is written; where the kernel refuses one all the same, the exception
        names it and says in a note which were applied. Raises GroupNotFoundError, InvalidValueError,
        UnsupportedSettingError, PermissionDeniedError.
        """
        given = self.checked(values)
        if not self.exists():
            raise GroupNotFoundError(f"{self._label()}: it does not exist; create() makes it", group=self.path)
        self._staged.update(given)
        self._apply_staged()

    def attach(self, pid: int | None = None) -> None:
        """Apply what is staged, then move a process with all its threads into the group, by default the calling one.

        Raises GroupNotFoundError, NoSuchProcessError, PermissionDeniedError, GroupBusyError (a v2 group whose children
        have controllers). Writes the kernel's `cgroup.procs`, or `tasks` for a process of one thread on v1.
        """
        if self._staged:
            self.modify()
        super().attach(pid)

    def _apply_staged(self) -> None:
        # cgroup_modify_cgroup stops at the first refusal without naming it, never writes empty text, and takes 5 times
        # as long as the file. 3.x says that all went well where the kernel answers EOPNOTSUPP, after that in the same
        # thread whatever it answers, and where it has left out a read-only file or a value of several lines.
        # What the kernel refuses is not kept: on a group that exists nothing is pending after an error.
        staged, self._staged = self._staged, {}
        apply(self, staged, note=True)

    def delete(self, tasks: Literal["move", "kill", "refuse"] = "move", *, recursive: bool = False) -> None:
        """Remove the group; `recursive` removes the groups below it too.

        What becomes of processes that are still in it: "move" takes them to the parent of the group, as libcgroup
        does, so that they go on without its limits, or to the group of the calling process where the parent takes none
        (on v2 one whose children have controllers); "kill" ends them, the calling process excepted, which is moved out;
        "refuse" raises GroupBusyError. It is no error if this object made the group and another removed it. Raises
        GroupNotFoundError, GroupBusyError, PermissionDeniedError. Processes are moved by libcgroup's
        cgroup_delete_cgroup_ext on v1.
        """
        self._check_end(tasks)
        while not self._is_deleted(tasks, recursive=recursive):
            pass  # a group below it went away meanwhile
        _made.pop(self.path, None)
        self._forget_members()
        self._created = False

    close = delete

    def _is_deleted(self, tasks: str, *, recursive: bool) -> bool:
        """Delete it; return False where one of the groups below was deleted by another in the middle of that."""
        try:
            if not _tasks.is_removed(self.path):
                groups = self._removable(recursive=recursive)
                {"move": self._move_up, "kill": self._kill, "refuse": self._refuse}[tasks](groups)
                _tasks.remove(groups)
        except OSError as cause:
            if cause.errno in _GONE and os.path.isdir(self.path):
                return False
            if isinstance(cause, CgroupError):
                raise
            if cause.errno not in _GONE or not self._created:
                raise self._undeleted(cause) from cause
        return True

    def check_deletable(self, tasks: str, *, recursive: bool) -> None:
        """Raise what delete() would, before anything is changed."""
        self._check_end(tasks)
        try:
            groups = self._removable(recursive=recursive)
            if tasks == "refuse":
                self._refuse(groups)
        except FileNotFoundError:
            return  # somebody else has deleted it
        except OSError as cause:
            if isinstance(cause, CgroupError):
                raise
            raise self._undeleted(cause) from cause

    def _undeleted(self, cause: OSError) -> CgroupError:
        hint = "exists() asks first" if isinstance(cause, FileNotFoundError) else ""
        return self._failed(cause, "delete it", hint)

    def _check_end(self, tasks: str) -> None:
        if tasks not in ("move", "kill", "refuse"):
            raise InvalidValueError(f"tasks={tasks!r}: it is 'move', 'kill' or 'refuse'", value=tasks)
        self._refuse_root("is always there")

    def _refuse_root(self, why: str) -> None:
        if self._place.name == "/":
            raise InvalidNameError(f"{self._label()}: the root of a hierarchy {why}", group=self.path)

    def _removable(self, *, recursive: bool) -> list[str]:
        groups = _tasks.tree(self.path)
        if len(groups) > 1 and not recursive:
            below = ", ".join(_kernfs.children(self.path))
            raise self._busy(f"it has the children {below}; delete(recursive=True) removes them too")
        return groups

    def _refuse(self, groups: list[str]) -> None:
        if pids := _tasks.pids(groups):
            ways = "tasks='move'" if _tasks.is_threaded(self.path) else "tasks='move' or 'kill'"
            raise self._busy(f"it holds the processes {_kernfs.listed(pids)}; {ways} deletes it")

    def kill(self, timeout: float = 10.0) -> None:
        """Kill all processes in the group and below it, but for the calling one, and wait until they are gone.

        `timeout` is seconds. Raises GroupBusyError for processes that are not gone by then, GroupNotFoundError,
        PermissionDeniedError, InvalidValueError, and InvalidNameError for the hierarchy's root. The kernel does it at
        once through `cgroup.kill` (v2 since Linux 5.14); elsewhere, and where the calling process is inside, each is
        signalled, again and again until none is left.
        """
        self._refuse_root("holds all processes that are in no group of their own")
        patience = _waiting.seconds(timeout)
        hierarchy = self._place.hierarchy
        spared = _tasks.inside(self.path, here().directory("self", hierarchy))
        try:
            left = self._killed(spared=spared, recheck=hierarchy.recheck, patience=patience)
        except OSError as cause:
            if isinstance(cause, CgroupError):
                raise
            raise self._failed(cause, "kill its processes", _UNKILLED.get(cause.errno or 0, "")) from cause
        if left:
            message = f"the processes {_kernfs.listed(left)} did not end within {timeout} s after SIGKILL"
            raise GroupBusyError(f"{self._label()}: {message}", group=self.path, errno=errno.EBUSY)

    def _killed(self, *, spared: bool, recheck: float | None, patience: float) -> list[int]:
        return _tasks.kill_all(self.path, spared=spared, recheck=recheck, patience=patience)

    def _kill(self, _groups: list[str]) -> None:
        self.leave(always=True)
        self.kill()

    def _move_up(self, groups: list[str]) -> None:
        if self._place.hierarchy.by_libcgroup:
            try:
                return _native.delete(self._path, self._place.controller, recursive=len(groups) > 1)
            except (GroupNotFoundError, GroupBusyError):
                # 2.0.2 says ENOENT after it has removed a directory of several controllers; and it gives up where a
                # process forks meanwhile.
                pass
        # On v2 the parent may have children with controllers, and then takes no processes: in a delegated subtree it
        # does as a rule. The calling process is where it may be.
        tree = self._place.hierarchy
        above, own = os.path.dirname(self.path), here().directory("self", tree)
        targets = [each for each in (above, own) if each and each not in groups and tree.takes_processes(each)]
        try:
            _tasks.move(groups, *(targets or [above]))
        except OSError as cause:
            pids = _kernfs.listed(_tasks.pids(groups))
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
        # On v2 the directory may be there, made for another controller: then it is not this entry's to delete.
        self._entries.append(0 if there or not self._topmost else os.getpid())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Move the calling process out if it was attached, and delete the group if the entry created it.

        Groups above it that were made with it go too, unless they are in use. In a forked child nothing is deleted: the
        group is its parent's.
        """
        maker = self._entries.pop()
        if maker == os.getpid():
            self._delete_after_use()
        elif os.path.isdir(self.path):
            self.leave(always=False)

    def _delete_after_use(self) -> None:
        try:
            self.delete("refuse", recursive=True)
        except GroupBusyError:
            self.leave(always=True)
            self.delete(recursive=True)
        if self._topmost:
            _tasks.unmake(os.path.dirname(self.path), self._topmost)
