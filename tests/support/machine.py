# SPDX-License-Identifier: MIT
"""What cgroup hierarchies this machine has and where tests may make groups, found out without pycgroup."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

PREFIX = "pycgroup-"
CORE = "cgroup"  # stands for a v2 hierarchy as such, whatever controllers it carries

# The v2 controller that does the work of a v1 one. None: no v2 controller does.
V2_NAMES: dict[str, str | None] = {
    "cpu": "cpu",
    "cpuacct": CORE,
    "cpuset": "cpuset",
    "blkio": "io",
    "memory": "memory",
    "pids": "pids",
    "freezer": CORE,
    "devices": None,
    "hugetlb": "hugetlb",
    "net_cls": None,
    "net_prio": None,
    "perf_event": CORE,
    "rdma": "rdma",
    "misc": "misc",
}


class Hierarchy(NamedTuple):
    """One mounted hierarchy: its mount point, its version and the controllers that it carries."""

    mount: str
    root: str
    version: int
    controllers: tuple[str, ...]

    def directory(self, name: str) -> str:
        """Return the directory of the group `name`."""
        return os.path.normpath(f"{self.mount}/{name}")

    def carries(self, controller: str) -> bool:
        """Tell whether the v1 controller `controller`, or what stands for it on v2, is here."""
        wanted = controller if self.version == 1 else V2_NAMES[controller]
        return wanted in self.controllers


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    """Write a file with a single write."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


@functools.cache
def _v1_controllers() -> set[str]:
    """Return the controllers and named hierarchies (`name=systemd`) that are on v1."""
    return {name for _, controllers, _ in _memberships("self") for name in controllers}


def _memberships(pid: int | str) -> list[tuple[int, tuple[str, ...], str]]:
    lines = [line.split(":", 2) for line in read(f"/proc/{pid}/cgroup").splitlines()]
    return [(int(number), tuple(filter(None, controllers.split(","))), path) for number, controllers, path in lines]


def _from_mountinfo(line: str) -> Hierarchy | None:
    left, right = line.rstrip("\n").split(" - ")
    root, mount = (_unescape(field) for field in left.split()[3:5])
    kind, _, options = right.split()
    if kind == "cgroup":
        return Hierarchy(mount, root, 1, tuple(each for each in options.split(",") if each in _v1_controllers()))
    if kind == "cgroup2":
        return Hierarchy(mount, root, 2, (*read(f"{mount}/cgroup.controllers").split(), CORE))
    return None


@functools.cache
def hierarchies() -> tuple[Hierarchy, ...]:
    """Return the mounted hierarchies, each once."""
    with open("/proc/self/mountinfo") as file:
        found = [hierarchy for line in file if (hierarchy := _from_mountinfo(line))]
    return tuple({(each.version, each.controllers): each for each in reversed(found)}.values())[::-1]


def hierarchy_of(controller: str, version: int | None = None) -> Hierarchy | None:
    """Return the hierarchy that serves a controller; v1 wins where v2's core could stand for it too."""
    fitting = [each for each in hierarchies() if each.carries(controller) and version in (None, each.version)]
    return min(fitting, key=lambda each: each.version, default=None)


def group_of(hierarchy: Hierarchy, pid: int | str = "self") -> str:
    """Return a process's group in a hierarchy, without a leading slash."""
    wanted = set(hierarchy.controllers) if hierarchy.version == 1 else set()
    path = next(path for _, controllers, path in _memberships(pid) if set(controllers) == wanted)
    return path.removeprefix(hierarchy.root.rstrip("/")).strip("/")


def _takes_groups(hierarchy: Hierarchy, base: str) -> bool:
    directory = hierarchy.directory(base)
    if not os.access(directory, os.W_OK):
        return False
    # The kernel gives a v2 group that holds processes no children with controllers; the root is exempt.
    return hierarchy.version == 1 or not base or not read(f"{directory}/cgroup.procs")


@functools.cache
def base(hierarchy: Hierarchy) -> str | None:
    """Return the group below which tests make theirs: "" where the root takes them, else the nearest own ancestor.

    Under systemd it is that ancestor first: a scope that a process leaves is removed, and there is no way back.
    """
    own = group_of(hierarchy).split("/")
    ancestors = ["/".join(own[:length]) for length in range(len(own), 0, -1)]
    places = [*ancestors, ""] if os.path.isdir("/run/systemd/system") else ["", *ancestors]
    return next((each for each in places if _takes_groups(hierarchy, each)), None)


def subtree_control(hierarchy: Hierarchy) -> frozenset[str]:
    """Return the controllers that the groups of tests get on v2."""
    place = base(hierarchy)
    if hierarchy.version == 1 or place is None:
        return frozenset()
    return frozenset(read(f"{hierarchy.directory(place)}/cgroup.subtree_control").split())


def enable(hierarchy: Hierarchy, controller: str) -> None:
    """Have the groups of tests get a controller on v2; what restores it is restore_subtree_control()."""
    name = V2_NAMES[controller]
    if hierarchy.version > 1 and name != CORE and name not in subtree_control(hierarchy):
        write(f"{hierarchy.directory(base(hierarchy) or '')}/cgroup.subtree_control", f"+{name}")


def restore_subtree_control(hierarchy: Hierarchy, before: frozenset[str]) -> None:
    """Take back what was enabled since: creating a group enables controllers above it and leaves them so."""
    for name in subtree_control(hierarchy) - before:
        write(f"{hierarchy.directory(base(hierarchy) or '')}/cgroup.subtree_control", f"-{name}")


def groups() -> Iterator[str]:
    """Yield the directory of every group on this machine whose own name carries the tests' prefix."""
    for hierarchy in hierarchies():
        for directory, names, _ in os.walk(hierarchy.mount):
            for name in names:
                if name.startswith(PREFIX):
                    yield os.path.join(directory, name)
