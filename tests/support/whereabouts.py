# SPDX-License-Identifier: MIT
"""Where a process says that it is, and whether that is inside a group, by /proc and never by pycgroup."""

from __future__ import annotations

import os

from tests.support import machine

LOOK = ["cat", "/proc/self/cgroup"]


def made_by_cgroup() -> set[str]:
    """Return the directories of the groups that Cgroup() has named, for this process, its descendants or the dead."""
    named = [each for each in machine.groups() if os.path.basename(each).startswith(f"{machine.PREFIX}n")]
    return {each for each in named if not _is_of_others(int(os.path.basename(each).split("-")[2]))}


def _is_of_others(pid: int) -> bool:
    """Return whether a process lives and neither is this one nor descends from it, as one of another run."""
    while pid != os.getpid():
        try:
            state, parent = machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:2]
        except OSError:
            return False
        if state in "ZX":
            return False
        if parent == "0":
            return True
        pid = int(parent)
    return False


def outside(text: str, directories: tuple[str, ...]) -> list[str]:
    """Return which of these groups a process is not in, by the text of its /proc/PID/cgroup."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    seen = {frozenset(filter(None, names.split(","))): path for _, names, path in lines}
    return [directory for directory in directories if not _shows(seen, directory)]


def _shows(seen: dict[frozenset[str], str], directory: str) -> bool:
    fitting = [each for each in machine.hierarchies() if f"{directory}/".startswith(f"{each.mount}/")]
    hierarchy = max(fitting, key=lambda each: len(each.mount))
    path = seen[frozenset(hierarchy.controllers) if hierarchy.version == 1 else frozenset()]
    return hierarchy.directory(path.removeprefix(hierarchy.root.rstrip("/")).lstrip("/")) == os.path.normpath(directory)
