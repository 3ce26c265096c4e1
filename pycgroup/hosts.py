# SPDX-License-Identifier: MIT
"""Which hierarchies a host has, and which of them serves a controller: from the texts of /proc.

Host.read() takes another root than '/', so that any host can be looked at as files.
"""

from __future__ import annotations

import errno
import os

from . import _kernfs, subtrees
from .errors import InvalidValueError, NoSuchProcessError, UnavailableError
from .hierarchy import V1, V2, Hierarchy
from .mountinfo import controllers, disabled, known, memberships, mounts


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
        # Since Linux 6.12 what is disabled is left out of /proc/cgroups where v1's part of it was not built.
        if not enabled or name in disabled(_text(f"{self.root}/proc/cmdline")):
            return (
                f"the kernel's command line disables {name}: take cgroup_disable={name} off it, or on a Raspberry Pi, "
                f"whose firmware adds that, add cgroup_enable={name}"
            )
        on_v2 = v2 is not None and not on_v1 and any(isinstance(tree, V2) for tree in self.hierarchies)
        if name in self.known and v1 is not None and not on_v2:
            mount = f"mkdir -p /sys/fs/cgroup/{v1} && mount -t cgroup -o {v1} {v1} /sys/fs/cgroup/{v1}"
            return f"the controller {v1} is mounted nowhere on this host; as root: {mount}"
        if not self.known:
            return f"this host offers no controller {name} here; what its kernel has is not seen, without /proc/cgroups"
        if v2 is None:
            return f"the controller {v1} exists on cgroup v1 only, and this kernel does not offer it"
        return f"this host offers no controller {name}: the kernel lacks it, or it is not delegated to this cgroup"

    def directories(self, process: int | str = "self") -> dict[Hierarchy, str]:
        """Return the directory in each hierarchy that a process is in; a hierarchy that hides it is left out.

        Raises NoSuchProcessError, InvalidValueError.
        """
        paths = self._paths(process)
        shown = ((tree, tree.shown(paths)) for tree in self.hierarchies)
        return {tree: directory for tree, directory in shown if directory is not None}

    def directory(self, process: int | str, tree: Hierarchy) -> str | None:
        """Return the directory in one hierarchy that a process is in, or None. Raises as directories() does."""
        return tree.shown(self._paths(process))

    def _paths(self, process: int | str) -> dict[str, str]:
        if process != "self" and not (type(process) is int and process > 0):
            raise InvalidValueError(f"{process!r} is not the id of a process", value=process)
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
        directory = subtrees.delegated(tree.path, here().directory("self", tree), delegable=tree.delegable)
        tree.base = directory.removeprefix(tree.path) if directory else ""
    return tree.base


def _text(path: str) -> str:
    try:
        return _kernfs.read(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
