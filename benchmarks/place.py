# SPDX-License-Identifier: MIT
"""The directories that every implementation works on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PREFIX = "pycgroup-bench-"
MOVED = "cpuacct"  # the hierarchy in which the process moves: all peers know it, and no limit there touches the process


class NoPlaceError(Exception):
    """This host cannot run the benchmarks; the text says why."""


@dataclass(frozen=True)
class Place:
    """Two v1 hierarchies and the names of the groups in them."""

    memory: Path
    moved: Path
    name: str

    @property
    def group(self) -> Path:
        """The memory group that exists during the whole run."""
        return self.memory / self.name

    @property
    def child(self) -> Path:
        """The memory group that is created and deleted."""
        return self.memory / f"{self.name}-child"

    @property
    def there(self) -> Path:
        """The group that the process moves to."""
        return self.moved / f"{self.name}-there"

    @property
    def back(self) -> Path:
        """The group that the process lives in during the run, and moves back to."""
        return self.moved / f"{self.name}-back"


@contextmanager
def place() -> Iterator[Place]:
    """Make the groups, move into ``back``, and leave nothing behind."""
    if os.geteuid() != 0:
        raise NoPlaceError("needs root: it creates groups and moves itself (try sudo)")
    memory, moved = _hierarchy("memory"), _hierarchy(MOVED)
    here = Place(memory, moved, f"{PREFIX}{os.getpid()}")
    before = moved / _own_group(MOVED).lstrip("/")
    _sweep(memory, moved)
    try:
        for group in (here.group, here.there, here.back):
            group.mkdir()
        (here.back / "cgroup.procs").write_text("0")
        yield here
    finally:
        (before / "cgroup.procs").write_text("0")
        _sweep(memory, moved, own=True)


def _hierarchy(controller: str) -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and controller in options.split(","):
            return Path(mount_point)
    raise NoPlaceError(f"needs the {controller} controller on cgroup v1: the targets are stated for v1")


def _own_group(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    raise NoPlaceError(f"this process is in no group of {controller}")


def _sweep(*hierarchies: Path, own: bool = False) -> None:
    """Remove the groups of runs that are over: those that SIGKILL ended could not tidy up."""
    for hierarchy in hierarchies:
        for directory in hierarchy.glob(f"{PREFIX}*"):
            pid = directory.name.removeprefix(PREFIX).split("-")[0]
            if (own and pid == str(os.getpid())) or not Path("/proc", pid).exists():
                directory.rmdir()
