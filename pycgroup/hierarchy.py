# SPDX-License-Identifier: MIT
"""The two kinds of hierarchies, V1 and V2: what a group is in each, and where.

The version is a property of each controller, never of the machine: in hybrid mode memory may be on v1 and pids on v2.
hosts.py finds out which hierarchies there are.
"""

from __future__ import annotations

import errno
import os

from . import _kernfs
from ._types import TYPE_CHECKING
from .errors import InvalidNameError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

#: The v2 column of a class whose files every v2 group has, whatever controllers are enabled.
CORE = "cgroup"
# On v2 this controller needs no enabling and is not listed.
_IMPLICIT = frozenset({CORE, "perf_event"})
# Those that a group with processes takes: it becomes the head of a threaded subtree then, and its new children are
# of no use until they are made threaded, too.
_THREADED = frozenset({"cpu", "cpuset", "pids"})
_WHY_NOT = {
    errno.EBUSY: "it holds the processes {pids}, and a v2 group with processes has no children with controllers: "
    "move them into a child group of their own first",
    errno.ENOENT: "the group above it does not offer it: it is not delegated to this cgroup",
    errno.EOPNOTSUPP: "a threaded group offers no other controllers than cpu, cpuset, perf_event and pids",
    errno.EINVAL: "the kernel wants every real-time process in the root of the tree first",
}
_UNAVAILABLE = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


class Hierarchy:
    """One mounted tree of groups."""

    __slots__ = ("_is_whole", "base", "controllers", "counting", "path", "root", "top")

    version: ClassVar[int]
    column: ClassVar[int]
    #: The file that lists the threads of a group.
    threads_file: ClassVar[str]
    #: The file through which a process with one thread attaches itself, by writing "0".
    own_task_file: ClassVar[str]
    #: Whether the kernel can start a child inside a group here (CLONE_INTO_CGROUP).
    starts_inside: ClassVar[bool]
    #: Whether a group may hold processes beside children that have controllers.
    inner_processes: ClassVar[bool]
    #: Seconds after which to read a control file again that is waited for; None where the kernel tells of changes.
    recheck: ClassVar[float | None]
    #: Whether a frozen process that is killed dies, or does when it is thawed.
    frozen_die: ClassVar[bool]
    #: Whether systemd can delegate a part of it.
    delegable: ClassVar[bool]
    #: Whether libcgroup empties and removes groups here (see base.py).
    by_libcgroup: ClassVar[bool]

    def __init__(self, path: str, root: str, controllers: frozenset[str]) -> None:
        #: Where it is mounted.
        self.path = path
        #: Which group is seen there: '/' unless a part of the tree is mounted, as in a container.
        self.root = root
        self.controllers = controllers
        #: What results.py knows of what is counted here.
        self.counting: Any = None
        #: Returns what holds its directory open, while something does (see openers.py).
        self.top: Callable[[], Any] = nothing
        #: What relative names are below, '' for the mount point; None until it is known (see hosts.base()).
        self.base: str | None = None
        self._is_whole: bool | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {','.join(sorted(self.controllers))}>"

    def __eq__(self, other: object) -> bool:
        # The mount table may be read again, by another thread too: the same mount is the same hierarchy.
        return isinstance(other, Hierarchy) and (self.path, self.controllers) == (other.path, other.controllers)

    def __hash__(self) -> int:
        return hash(self.path)

    def directory(self, group: str) -> str:
        """Return the directory of a group, given by its path below the mount point."""
        return self.path + group if group != "/" else self.path

    def refuse_directory(self, name: str) -> None:
        """Raise InvalidNameError for a group's directory in place of its name."""
        if name.startswith(self.path + "/"):
            group = name.removeprefix(self.path)
            raise InvalidNameError(f"{name!r} is a directory; the name of that group is {group!r}", group=group)

    def shown(self, paths: dict[str, str]) -> str | None:
        """Return the directory that a process is in, from its memberships(), or None where this mount hides it."""
        path = self.member(paths)
        return None if path is None else self.directory_of(path)

    def directory_of(self, path: str) -> str | None:
        """Return the directory for a path from /proc/PID/cgroup, or None where this mount does not show it."""
        if self.root == "/":
            return None if path.startswith("/..") else self.directory(path)
        if path != self.root and not path.startswith(self.root + "/"):
            return None
        return self.path + path[len(self.root) :]

    def logged(self, directory: str) -> str | None:
        """Return the path of a group as the kernel's log has it; None in a cgroup namespace, which does not know."""
        if self._is_whole is None:
            self._is_whole = self._shows_all() if self.root == "/" else not self.root.startswith("/..")
        return self.root.rstrip("/") + directory.removeprefix(self.path) if self._is_whole else None

    def _shows_all(self) -> bool:
        """Return whether the root seen here is that of the whole tree, and not of a namespace."""
        raise NotImplementedError

    def serves(self, v1: str | None, v2: str | None) -> str | None:
        """Return the controller's name here, given its name on each version, or None where this does not serve it."""
        raise NotImplementedError

    def offers(self, directory: str, controller: str) -> bool:
        """Return whether a group exists and has the controller's files."""
        raise NotImplementedError

    def enable(self, directory: str, controller: str, first: str) -> None:
        """Enable a controller for a group that exists, whose path was made from `first` on.

        Raises GroupBusyError, PermissionDeniedError, UnavailableError.
        """
        raise NotImplementedError

    def is_complete(self, controller: str) -> bool:
        """Return whether a new group has a controller without enable()."""
        raise NotImplementedError

    def takes_processes(self, directory: str) -> bool:
        """Return whether a process may be put into a group; the kernel may refuse it for other reasons."""
        raise NotImplementedError

    def is_frozen(self, directory: str) -> bool:
        """Return whether what is put into a group is stopped there, as it is frozen or one above it is."""
        raise NotImplementedError

    def member(self, paths: dict[str, str]) -> str | None:
        """Return a process's path in this hierarchy, from its memberships()."""
        return next((path for name, path in paths.items() if name in self.controllers), None)


class V1(Hierarchy):
    """A hierarchy of v1, with the controllers it was mounted with."""

    __slots__ = ()
    version = 1
    column = 0
    threads_file = "tasks"
    # "0" in `tasks` moves the calling thread without the thread-group lock that any pid, and `cgroup.procs`, take:
    # 20 us instead of a grace period of 7 to 15 ms.
    own_task_file = "tasks"
    starts_inside = False
    inner_processes = True
    recheck = 0.001
    frozen_die = False
    delegable = False
    by_libcgroup = True

    def enable(self, directory: str, controller: str, first: str) -> None:
        # A v1 cpuset begins empty, and a child can have only what its parent has: the groups above get all that theirs
        # have, as on v2.
        if self.is_complete(controller):
            return
        for parent in _between(first, os.path.dirname(directory)):
            for file in ("cpuset.cpus", "cpuset.mems"):
                _kernfs.write(f"{parent}/{file}", _kernfs.read(f"{os.path.dirname(parent)}/{file}"))

    def is_complete(self, controller: str) -> bool:
        return "cpuset" not in self.controllers

    def takes_processes(self, directory: str) -> bool:
        return True

    def is_frozen(self, directory: str) -> bool:
        return "freezer" in self.controllers and _text(f"{directory}/freezer.state") in ("FROZEN", "FREEZING")

    def _shows_all(self) -> bool:
        return os.path.exists(f"{self.path}/release_agent")  # which no other group has

    def serves(self, v1: str | None, v2: str | None) -> str | None:
        return v1 if v1 in self.controllers else None

    def offers(self, directory: str, controller: str) -> bool:
        return os.path.isdir(directory)


class V2(Hierarchy):
    """The unified hierarchy; its controllers are those that its root offers."""

    __slots__ = ()
    version = 2
    column = 1
    threads_file = "cgroup.threads"
    own_task_file = "cgroup.procs"
    starts_inside = True
    inner_processes = False
    recheck = None
    frozen_die = True
    delegable = True
    # libcgroup knows the controllers that are listed, and so neither the freezer nor perf_event here (2.0.2 to 3.2).
    by_libcgroup = False

    def _shows_all(self) -> bool:
        return not os.path.exists(f"{self.path}/cgroup.type")  # which every other group has

    def serves(self, v1: str | None, v2: str | None) -> str | None:
        return v2 if v2 in self.controllers | _IMPLICIT else None

    def enable(self, directory: str, controller: str, first: str) -> None:
        if self.is_complete(controller):
            return
        # Where it is listed another thread may still be enabling it, and its files not be there yet. The kernel answers
        # a request, also one for what is enabled already, when it has done with those before it.
        parent = os.path.dirname(directory)
        for each in [parent] if self.offers(directory, controller) else _between(self.path, parent):
            self._request(each, controller)

    def _request(self, parent: str, controller: str) -> None:
        file = f"{parent}/cgroup.subtree_control"
        try:
            _keep_domain(parent, controller)
            _kernfs.write(file, f"+{controller}")
        except OSError as cause:
            # What is above a delegated subtree is not the user's to write, nor need it be.
            if cause.errno in _NOT_OURS and controller in _words(file):
                return
            attempt = f"cannot enable {controller} for the children of {parent}"
            hint = _WHY_NOT.get(cause.errno or 0, "").format(pids=_kernfs.listed(_words(f"{parent}/cgroup.procs")))
            if cause.errno in _UNAVAILABLE and os.path.isdir(parent):
                raise UnavailableError(f"{attempt}: {hint}", group=parent, errno=cause.errno) from cause
            raise _kernfs.error(cause, attempt, group=parent, directory=parent, hint=hint) from cause

    def is_complete(self, controller: str) -> bool:
        return controller in _IMPLICIT

    def takes_processes(self, directory: str) -> bool:
        # Where the children have threaded controllers alone the kernel takes a process as long as none of them has one,
        # and then they never take any: the group has become the head of a threaded subtree.
        return not (_words(f"{directory}/cgroup.subtree_control") and _is_domain(directory))

    def is_frozen(self, directory: str) -> bool:
        return "frozen 1" in _text(f"{directory}/cgroup.events")

    def member(self, paths: dict[str, str]) -> str | None:
        return paths.get("")

    def offers(self, directory: str, controller: str) -> bool:
        if controller in _IMPLICIT:
            return os.path.isdir(directory)
        return controller in _words(f"{directory}/cgroup.controllers")


def nothing() -> None:
    """Return None, as a reference does to what is no more."""


def _keep_domain(parent: str, controller: str) -> None:
    """Raise OSError as the kernel does for other controllers where a group with processes would become threaded."""
    if controller not in _THREADED or controller in _words(f"{parent}/cgroup.subtree_control"):
        return
    if _is_domain(parent) and _words(f"{parent}/cgroup.procs"):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _is_domain(directory: str) -> bool:
    """Return whether a group is neither threaded nor the root of the whole tree, which has no type."""
    return _words(f"{directory}/cgroup.type") == ["domain"]


def _words(file: str) -> list[str]:
    """Return the words of a control file, none where it cannot be read."""
    return _text(file).split()


def _text(file: str) -> str:
    try:
        return _kernfs.read(file)
    except OSError:
        return ""


def _between(top: str, bottom: str) -> list[str]:
    """Return the directories of a path from the top down; none if the top is not above the bottom."""
    if not f"{bottom}/".startswith(f"{top}/"):
        return []
    paths = [top]
    for part in bottom[len(top) :].split("/")[1:]:
        paths.append(f"{paths[-1]}/{part}")
    return paths


class Place:
    """Where a group is: its hierarchy, its directory, and the start of the paths of its files."""

    __slots__ = ("column", "controller", "directory", "hierarchy", "name", "prefix")

    def __init__(self, hierarchy: Hierarchy, controller: str, name: str) -> None:
        self.hierarchy = hierarchy
        self.controller = controller
        #: The group's path below the mount point.
        self.name = name
        self.directory = directory = hierarchy.directory(name)
        self.prefix = directory + "/"
        self.column = hierarchy.column
