# SPDX-License-Identifier: MIT
"""Which version of cgroup serves a controller on this host, and where.

The version is a property of each controller, never of the machine: in hybrid mode memory may be on v1 and pids on v2.
The parsers take text, and Host.read() takes another root than '/', so that any host can be looked at as files.
"""

from __future__ import annotations

import errno
import os

from . import _kernfs, subtrees
from ._types import TYPE_CHECKING
from .errors import NoSuchProcessError, UnavailableError
from .mountinfo import controllers, known, memberships, mounts

if TYPE_CHECKING:
    from typing import ClassVar

#: The v2 column of a class whose files every v2 group has, whatever controllers are enabled.
CORE = "cgroup"
# On v2 this controller needs no enabling and is not listed.
_IMPLICIT = frozenset({CORE, "perf_event"})
_WHY_NOT = {
    errno.EBUSY: "it holds the processes {pids}, and a v2 group with processes has no children with controllers: "
    "move them into a child group of their own first",
    errno.ENOENT: "the group above it does not offer {controller}: it is not delegated to this cgroup",
}


class Hierarchy:
    """One mounted tree of groups."""

    __slots__ = ("base", "controllers", "path", "root")

    version: ClassVar[int]
    column: ClassVar[int]
    #: The file that lists the threads of a group.
    threads_file: ClassVar[str]
    #: The file through which a process with one thread attaches itself, by writing "0".
    own_task_file: ClassVar[str]
    #: Whether the kernel can start a child inside a group here (CLONE_INTO_CGROUP).
    starts_inside: ClassVar[bool]
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
        #: What relative names are below, '' for the mount point; None until it is known (see locate()).
        self.base: str | None = None

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

    def logged(self, directory: str) -> str:
        """Return the path of a group as the kernel's log and /proc have it: directory_of() the other way round."""
        return self.root.rstrip("/") + directory.removeprefix(self.path)

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
    recheck = 0.001
    frozen_die = False
    delegable = False
    by_libcgroup = True

    def enable(self, directory: str, controller: str, first: str) -> None:
        # A v1 cpuset begins empty, and a child can have only what its parent has: the groups above get all that theirs
        # have, as on v2.
        if "cpuset" not in self.controllers:
            return
        for parent in _between(first, os.path.dirname(directory)):
            for file in ("cpuset.cpus", "cpuset.mems"):
                _kernfs.write(f"{parent}/{file}", _kernfs.read(f"{os.path.dirname(parent)}/{file}"))

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
    recheck = None
    frozen_die = True
    delegable = True
    # libcgroup knows the controllers that are listed, and so neither the freezer nor perf_event here (2.0.2 to 3.2).
    by_libcgroup = False

    def serves(self, v1: str | None, v2: str | None) -> str | None:
        return v2 if v2 in self.controllers | _IMPLICIT else None

    def enable(self, directory: str, controller: str, first: str) -> None:
        if not self.offers(directory, controller):
            for parent in _between(self.path, os.path.dirname(directory)):
                self._request(parent, controller)
        if controller not in _IMPLICIT and not any(name.startswith(f"{controller}.") for name in os.listdir(directory)):
            # Another thread is enabling it: it is listed, but its files are not there yet. The kernel answers a second
            # request when it has done with the first.
            self._request(os.path.dirname(directory), controller, again=True)

    def _request(self, parent: str, controller: str, *, again: bool = False) -> None:
        file = f"{parent}/cgroup.subtree_control"
        try:
            if again or controller not in _kernfs.read(file).split():
                _kernfs.write(file, f"+{controller}")
        except OSError as cause:
            attempt = f"cannot enable {controller} for the children of {parent}"
            pids = _kernfs.numbers(f"{parent}/cgroup.procs")
            hint = _WHY_NOT.get(cause.errno or 0, "").format(pids=pids, controller=controller)
            raise _kernfs.error(cause, attempt, group=parent, directory=parent, hint=hint) from cause

    def member(self, paths: dict[str, str]) -> str | None:
        return paths.get("")

    def offers(self, directory: str, controller: str) -> bool:
        if controller in _IMPLICIT:
            return os.path.isdir(directory)
        try:
            return controller in _kernfs.read(f"{directory}/cgroup.controllers").split()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno != errno.ENODEV:  # it has been removed just now
                raise
            return False


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


class Host:
    """The hierarchies of a host, and the controllers that its kernel knows for v1."""

    __slots__ = ("_served", "hierarchies", "known", "root")

    def __init__(self, root: str, hierarchies: tuple[Hierarchy, ...], known: dict[str, tuple[bool, bool]]) -> None:
        self.root = root
        self.hierarchies = hierarchies
        self.known = known
        self._served: dict[tuple[str | None, str | None], tuple[Hierarchy, str]] = {}

    @classmethod
    def read(cls, root: str = "/") -> Host:
        """Read a host's mount table.

        v1 comes first: a controller that is mounted there has nothing on v2. Where a tree is mounted several times, the
        first mount counts that shows this process's own group, else the first, as in libcgroup.
        """
        found: dict[frozenset[str], list[Hierarchy]] = {}
        for kind, point, group, options in mounts(_text(f"{root}/proc/self/mountinfo")):
            path = os.path.join(root, point.lstrip("/")) if root != "/" else point
            if kind == "cgroup2":
                offered = frozenset(_text(f"{path}/cgroup.controllers").split())
                found.setdefault(frozenset({""}), []).append(V2(path, group, offered))
            else:
                mounted = controllers(options)
                found.setdefault(mounted, []).append(V1(path, group, mounted))
        own = memberships(_text(f"{root}/proc/self/cgroup"))
        chosen = [next((tree for tree in same if tree.shown(own)), same[0]) for same in found.values()]
        trees = sorted(chosen, key=lambda tree: tree.version)
        return cls(root, tuple(trees), known(_text(f"{root}/proc/cgroups")))

    def serving(self, v1: str | None, v2: str | None) -> tuple[Hierarchy, str]:
        """Return the hierarchy that serves a controller, and the controller's name there.

        Raises UnavailableError, which says whether it is not mounted, not enabled or not in the kernel.
        """
        served = self._served.get((v1, v2))
        if served is None:
            names = ((tree, tree.serves(v1, v2)) for tree in self.hierarchies)
            served = next(((tree, name) for tree, name in names if name is not None), None)
            if served is None:
                raise UnavailableError(self._missing(v1, v2))
            self._served[v1, v2] = served
        return served

    def _missing(self, v1: str | None, v2: str | None) -> str:
        name = v1 or v2
        if not self.hierarchies:
            return f"no cgroup hierarchy is mounted ({name}); as root: mount -t cgroup2 none /sys/fs/cgroup"
        on_v1, enabled = self.known.get(name or "", (False, True))
        if not enabled:
            return f"the kernel's command line disables {name} (cgroup_disable={name}): boot with cgroup_enable={name}"
        on_v2 = v2 is not None and not on_v1 and any(isinstance(tree, V2) for tree in self.hierarchies)
        if name in self.known and v1 is not None and not on_v2:
            mount = f"mkdir -p /sys/fs/cgroup/{v1} && mount -t cgroup -o {v1} {v1} /sys/fs/cgroup/{v1}"
            return f"the controller {v1} is mounted nowhere on this host; as root: {mount}"
        if v2 is None:
            return f"the controller {v1} exists on cgroup v1 only, and this kernel does not offer it"
        return f"this host offers no controller {name}: the kernel lacks it, or it is not delegated to this cgroup"

    def directories(self, process: int | str = "self") -> dict[Hierarchy, str]:
        """Return the directory in each hierarchy that a process is in; a hierarchy that hides it is left out.

        Raises NoSuchProcessError.
        """
        paths = self._paths(process)
        shown = ((tree, tree.shown(paths)) for tree in self.hierarchies)
        return {tree: directory for tree, directory in shown if directory is not None}

    def directory(self, process: int | str, tree: Hierarchy) -> str | None:
        """Return the directory in one hierarchy that a process is in, or None. Raises NoSuchProcessError."""
        return tree.shown(self._paths(process))

    def _paths(self, process: int | str) -> dict[str, str]:
        try:
            return memberships(_kernfs.read(f"{self.root}/proc/{process}/cgroup"))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise NoSuchProcessError(f"there is no process {process}", errno=errno.ESRCH) from error


_here: Host | None = None


def here(*, again: bool = False) -> Host:
    """Return this process's host. The mount table is read once, and again when asked."""
    global _here
    if _here is None or again:
        _here = Host.read()
    return _here


def locate(v1: str | None, v2: str | None) -> tuple[Hierarchy, str]:
    """Return the hierarchy that serves a controller, and its name there. Raises UnavailableError."""
    try:
        return here().serving(v1, v2)
    except UnavailableError:
        # Somebody may have mounted it since.
        return here(again=True).serving(v1, v2)


def base(tree: Hierarchy) -> str:
    """Return the subtree that is delegated to this process, as a path below the mount point; '' where there is none."""
    if tree.base is None:
        directory = subtrees.delegated(tree.path, here().directory("self", tree))
        tree.base = directory.removeprefix(tree.path) if directory else ""
    return tree.base


def _text(path: str) -> str:
    try:
        return _kernfs.read(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
