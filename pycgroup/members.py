# SPDX-License-Identifier: MIT
"""Members: who is in a group, and who may be. Attach, detach, pids, threads, children, owner and permissions."""

from __future__ import annotations

import errno
import os

from . import _kernfs, _native, _ownership, _tasks
from ._types import TYPE_CHECKING
from .errors import CgroupError, GroupBusyError, GroupNotFoundError, InvalidValueError
from .hosts import here
from .view import View

if TYPE_CHECKING:
    from typing import Self

    from .proclist import Process

_REFUSED = {
    errno.EBUSY: "a v2 group whose children have controllers takes no processes: attach to one of its children",
    errno.EINVAL: "a real-time process needs rt_runtime_us in a v1 cpu group, and a kernel thread cannot be moved",
    errno.EOPNOTSUPP: "a threaded group takes threads of its own domain only, and one whose cgroup.type is "
    "'domain invalid', as below a group that became threaded, takes nothing",
}
_LAST_PID = 2**31 - 1
_NO_ID = 2**32 - 1

#: Where processes were before attach(), by the directory that they were moved to and their ids: objects of several
#: controllers may share a directory.
_before: dict[str, dict[int, str]] = {}
#: Into which directories attach() has brought the calling process, be it for a while.
_joined: set[str] = set()


class Members(View):
    """The processes and threads of a group, and the groups below it."""

    __slots__ = ("_has_come",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        #: Which process attach() of this object has brought here, of those that have this object: 0 for none.
        self._has_come = 0

    def attach(self, pid: int | None = None) -> None:
        """Move a process with all its threads into the group, by default the calling one.

        Raises GroupNotFoundError, NoSuchProcessError, PermissionDeniedError, GroupBusyError (a v2 group whose children
        have controllers). Writes the kernel's `cgroup.procs`, or `tasks` for a process of one thread on v1.
        """
        pid = _checked(pid, "process")
        before = here().directory(pid or "self", self._place.hierarchy)
        self._write_pid(self.path, pid)
        if pid in (None, os.getpid()):
            _joined.add(self.path)
        if before is not None and before != self.path:
            _before.setdefault(self.path, {})[pid or os.getpid()] = before
            if pid in (None, os.getpid()):
                self._has_come = os.getpid()

    def attached(self) -> set[int]:
        """Return the processes that attach() of this object has brought here, and detach() has not taken away."""
        return set(_before.get(self.path, ()))

    def was_joined(self) -> bool:
        """Return whether attach() has ever brought the calling process here: then its own children may be here, too."""
        return self.path in _joined

    def attach_thread(self, tid: int | None = None) -> None:
        """Move one thread into the group, by default the calling one; on v2 that takes a threaded group.

        `tid` is a kernel's thread id, as threading.get_native_id() gives it. Raises as attach() does. On v1 by
        cgroup_attach_task and cgroup_attach_task_pid of libcgroup, on v2 the kernel's `cgroup.threads`.
        """
        place, tid = self._place, _checked(tid, "thread")
        if place.hierarchy.by_libcgroup:
            _native.attach_thread(place.name, place.controller, tid)
        else:
            # On v2 libcgroup moves the whole process where the group is not threaded, and of the freezer and perf_event
            # it says that they are not mounted.
            self._write_id(place.prefix + place.hierarchy.threads_file, tid, "thread")

    def detach(self, pid: int | None = None) -> None:
        """Move a process back to where it was before attach(), or to the root where that is not known or gone.

        A process that is not in the group stays where it is. Raises NoSuchProcessError, PermissionDeniedError.
        """
        pid = _checked(pid, "process")
        root = self._place.hierarchy.path
        before = _before.get(self.path, {}).pop(pid or os.getpid(), None)
        if here().directory(pid or "self", self._place.hierarchy) != self.path:
            return
        try:
            self._write_pid(before or root, pid)
        except GroupNotFoundError:
            self._write_pid(root, pid)

    def _write_pid(self, directory: str, pid: int | None) -> None:
        if not self._place.hierarchy.takes_processes(directory):
            raise self._refused(OSError(errno.EBUSY, os.strerror(errno.EBUSY)), directory, pid, "process")
        own = pid is None and _tasks.single_threaded()
        file = self._place.hierarchy.own_task_file if own else "cgroup.procs"
        self._write_id(f"{directory}/{file}", pid, "process")

    def _write_id(self, path: str, number: int | None, kind: str) -> None:
        try:
            _kernfs.write(path, str(number or 0))
        except OSError as cause:
            raise self._refused(cause, os.path.dirname(path), number, kind) from cause

    def _refused(self, cause: OSError, directory: str, number: int | None, kind: str) -> CgroupError:
        who = f"this {kind}" if number is None else f"{kind} {number}"
        return self._failed(cause, f"move {who} to {directory}", _REFUSED.get(cause.errno or 0, ""))

    def leave(self, *, always: bool) -> None:
        """Move the calling process out: to where it was, or else up.

        `always` where the group ends: also if it is below, or somebody else has brought it; else only if attach() of
        this object has brought it, and it is still here. Raises GroupBusyError, PermissionDeniedError.
        """
        tree = self._place.hierarchy
        if not always and self._has_come != os.getpid():
            return
        self._has_come = 0
        known = _before.get(self.path, {}).pop(os.getpid(), None)
        where = here().directory("self", tree)
        if not (_tasks.inside(self.path, where) if always else self.path == where):
            return
        *targets, last = filter(None, (known, os.path.dirname(self.path), tree.path))
        for target in targets:
            try:
                self._write_pid(target, None)
            except (GroupNotFoundError, GroupBusyError):
                continue
            return
        self._write_pid(last, None)

    def _forget_members(self) -> None:
        """Note that the group is gone: who was here before he went on comes back to where he was before that."""
        _joined.discard(self.path)
        here_before = _before.pop(self.path, {})
        for places in _before.values():
            for pid in [pid for pid, place in places.items() if place == self.path]:
                del places[pid]
                if pid in here_before:
                    places[pid] = here_before[pid]

    def pids(self) -> list[int]:
        """Return the processes in the group, without those of its children, sorted.

        Raises GroupNotFoundError. Reads the kernel's `cgroup.procs`.
        """
        try:
            return _tasks.pids([self.path])
        except OSError as cause:
            raise self._failed(cause, "read cgroup.procs") from cause

    def processes(self) -> list[Process]:
        """Return the processes in the group with ppid, uid, vsz, rss and args of each, sorted by pid.

        Raises GroupNotFoundError. Reads `cgroup.procs`, and /proc.
        """
        from .proclist import listed

        return listed(self.pids())

    def threads(self) -> list[int]:
        """Return the threads in the group, without those of its children, sorted.

        Raises GroupNotFoundError. Reads the kernel's `tasks` on v1, `cgroup.threads` on v2.
        """
        file = self._place.hierarchy.threads_file
        try:
            return _kernfs.numbers(self._place.prefix + file)
        except OSError as cause:
            raise self._failed(cause, f"read {file}") from cause

    def children(self) -> list[Self]:
        """Return the groups right below this one, sorted by name. Raises GroupNotFoundError."""
        try:
            return [self._at(f"{self._path.rstrip('/')}/{name}") for name in _kernfs.children(self.path)]
        except OSError as cause:
            raise self._failed(cause, "list its children") from cause

    @property
    def parent(self) -> Self | None:
        """The group above this one; None for the root. Raises UnavailableError."""
        name = self._place.name
        return None if name == "/" else self._at(os.path.dirname(name))

    def _at(self, name: str) -> Self:
        return type(self)(name)

    def chown(
        self,
        uid: int | None = None,
        gid: int | None = None,
        *,
        tasks_uid: int | None = None,
        tasks_gid: int | None = None,
    ) -> None:
        """Give the group's directory and control files to a user and a group, by number; None leaves one as it is.

        `tasks_uid` and `tasks_gid` are who may attach processes, by default the same. Raises GroupNotFoundError,
        PermissionDeniedError.
        """
        _check_ids(uid, gid, tasks_uid, tasks_gid)
        tasks_uid = uid if tasks_uid is None else tasks_uid
        tasks_gid = gid if tasks_gid is None else tasks_gid
        try:
            _ownership.set_owner(self.path, uid=uid, gid=gid, tasks_uid=tasks_uid, tasks_gid=tasks_gid)
        except OSError as cause:
            raise self._failed(cause, "change its owner") from cause

    def chmod(self, directory: int | None = None, *, files: int | None = None, tasks: int | None = None) -> None:
        """Set the modes of the group's directory, of its control files, and of the files that take processes.

        None leaves one as it is; a file keeps to what the kernel gives its owner, so that what is read-only stays so.
        Raises GroupNotFoundError, PermissionDeniedError.
        """
        _check_ids(directory, files, tasks)
        try:
            _ownership.set_owner(self.path, directory_mode=directory, file_mode=files, tasks_mode=tasks)
        except OSError as cause:
            raise self._failed(cause, "change its permissions") from cause

    def _failed(self, cause: OSError, attempt: str, hint: str = "") -> CgroupError:
        attempt = f"{self._label()}: cannot {attempt}"
        return _kernfs.error(cause, attempt, group=self.path, directory=self.path, hint=hint)


def _check_ids(*numbers: int | None) -> None:
    for number in numbers:
        if number is not None and (type(number) is not int or not 0 <= number < _NO_ID):
            raise InvalidValueError(f"{number!r} is not a user's, a group's or a mode's number", value=number)


def _checked(number: int | None, kind: str) -> int | None:
    """Return the id of a process or thread, None for the calling one. Raises InvalidValueError."""
    if number is None or (type(number) is int and number == os.getpid() and kind == "process"):
        return None
    if type(number) is not int or not 0 < number <= _LAST_PID:
        raise InvalidValueError(f"{number!r} is not the id of a {kind}", value=number)
    return number
