# SPDX-License-Identifier: MIT
"""A subtree in which this process may make groups: the one that it has, or a new scope from systemd."""

from __future__ import annotations

import os
import uuid

from . import _kernfs, _systemd, subtrees
from ._types import TYPE_CHECKING
from .errors import CgroupError, PermissionDeniedError, UnavailableError
from .hierarchy import CORE
from .hosts import base, here

if TYPE_CHECKING:
    from .hierarchy import Hierarchy
    from .hosts import Host

#: The group that the process is put into at the top of its subtree.
LEAF = "leaf"
_RUNS_SYSTEMD = "/run/systemd/system"
_BY_HAND = "mkdir -p {0} && cd {0} && chown {1} . {2} && echo PID > cgroup.procs"


class Delegated:
    """A subtree that is delegated to this process: names without a leading slash are below it.

    `path` is its path below the hierarchy's mount point ('/' for all of it), `directory` is where it is, `controllers`
    are those that groups in it can have, `unit` is the systemd scope that was made for it, None where it was there.
    """

    __slots__ = ("controllers", "directory", "path", "unit")

    def __init__(self, tree: Hierarchy, directory: str, unit: str | None) -> None:
        self.path = directory.removeprefix(tree.path) or "/"
        self.directory = directory
        self.controllers = tuple(sorted(_offered(tree, directory)))
        self.unit = unit

    def __repr__(self) -> str:
        unit = f" unit={self.unit}" if self.unit else ""
        return f"<Delegated {self.path} controllers={','.join(self.controllers)}{unit}>"


def delegated(pid: int | None = None, *, leaf: bool = True, timeout: float = 30.0) -> Delegated:
    """Return the subtree that is delegated to this process, after obtaining one where there is none.

    Where it has to be obtained, systemd (a user's own, the system's for root) makes a scope with Delegate=yes for the
    calling process, or for process `pid`, and this waits until it is ready, `timeout` seconds at most. `leaf` then puts
    the process into a group named 'leaf' of the subtree, as v2 asks for before other groups there can have controllers;
    so it does in a container, where the subtree is the container's own. Raises UnavailableError that says what to do
    where there is neither, PermissionDeniedError where systemd refuses, NoSuchProcessError, InvalidValueError.
    """
    tree, directory = _present(pid)
    unit = None
    if directory is None:
        tree, unit = _manageable(tree), f"pycgroup-{os.getpid()}-{uuid.uuid4().hex[:8]}.scope"
        _systemd.start_scope(
            unit, [pid or os.getpid()], user=os.geteuid() != 0, timeout=timeout, description="pycgroup's groups"
        )
        directory = here().directory(pid or "self", tree)
        if directory is None:
            raise CgroupError(f"{unit} was started, but its groups are not mounted here")
        subtrees.granted.add(directory)
        tree.base = None
    if leaf:
        _into_leaf(tree, directory, pid)
    return Delegated(tree, directory, unit)


def _present(pid: int | None) -> tuple[Hierarchy, str | None]:
    """Return the hierarchy that counts and the subtree of it that a process has already, or None."""
    host = here(again=True)
    tree = _main(host)
    own = host.directory(pid or "self", tree)
    directory = tree.path + base(tree) if pid is None else subtrees.delegated(tree.path, own, delegable=tree.delegable)
    if directory not in (None, tree.path):
        return tree, directory
    # The mount's root is this process's own in a container, and where no systemd minds what is made there.
    free = own == tree.path or not os.path.isdir(_RUNS_SYSTEMD)
    return tree, tree.path if free and os.access(f"{tree.path}/cgroup.procs", os.W_OK) else None


def _main(host: Host) -> Hierarchy:
    """Return v2's hierarchy, else that of the memory controller or the first. Raises UnavailableError."""
    for v1, v2 in (("memory", "memory"), (None, CORE)):
        try:
            return host.serving(v1, v2)[0]
        except UnavailableError:
            continue
    return host.serving("pids", "pids")[0]


def _manageable(tree: Hierarchy) -> Hierarchy:
    """Return the hierarchy if systemd can delegate a part of it. Raises UnavailableError that says what else to do."""
    do = f"as root: {by_hand(tree)}"
    if not tree.delegable:
        raise UnavailableError(f"nobody delegates groups of cgroup v1 but root by hand; {do}")
    if not os.path.isdir(_RUNS_SYSTEMD):
        raise UnavailableError(f"no subtree is delegated to this process, and there is no systemd to ask; {do}")
    return tree


def by_hand(tree: Hierarchy) -> str:
    """Return the command by which root gives this user a group; the group's own limits stay root's."""
    from shlex import quote

    files = f"cgroup.procs {tree.threads_file}{' cgroup.subtree_control' if tree.delegable else ''}"
    return _BY_HAND.format(quote(f"{tree.path}/NAME"), os.geteuid(), files)


def _into_leaf(tree: Hierarchy, directory: str, pid: int | None) -> None:
    """Put a process into the leaf if it is at the top of the subtree, where v2 wants none."""
    if not tree.delegable or here().directory(pid or "self", tree) != directory:
        return
    try:
        os.makedirs(f"{directory}/{LEAF}", exist_ok=True)
        _kernfs.write(f"{directory}/{LEAF}/cgroup.procs", str(pid or 0))
    except OSError as cause:
        attempt = f"cannot put the process into {directory}/{LEAF}"
        raise _kernfs.error(cause, attempt, group=directory, directory=directory) from cause


def _offered(tree: Hierarchy, directory: str) -> frozenset[str]:
    try:
        return frozenset(_kernfs.read(f"{directory}/cgroup.controllers").split())
    except (FileNotFoundError, PermissionDeniedError):
        return tree.controllers
