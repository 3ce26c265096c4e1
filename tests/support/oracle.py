# SPDX-License-Identifier: MIT
"""What the kernel itself says of a group: by its files and by cgroup-tools, never by pycgroup."""

from __future__ import annotations

import os
import subprocess

from tests.support import machine


def directory(controller: str, name: str) -> str:
    """Return the directory of the group `name` of a controller (v1 name of the controller)."""
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None, f"no hierarchy carries {controller}"
    return hierarchy.directory(name)


def make(controller: str, name: str) -> str:
    """Make a group with mkdir, have it get the controller where it is for tests to give, and return its directory."""
    path = directory(controller, name)
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None
    machine.enable(hierarchy, controller)
    os.makedirs(path)
    return path


def exists(controller: str, name: str) -> bool:
    """Tell whether the group's directory exists."""
    return os.path.isdir(directory(controller, name))


def read(controller: str, name: str, file: str) -> str:
    """Return the text of a control file without its last newline."""
    return machine.read(f"{directory(controller, name)}/{file}").removesuffix("\n")


def write(controller: str, name: str, file: str, text: str) -> None:
    """Write a control file with a single write."""
    machine.write(f"{directory(controller, name)}/{file}", text)


def pids(controller: str, name: str) -> set[int]:
    """Return the processes of a group."""
    return {int(line) for line in read(controller, name, "cgroup.procs").split()}


def group_of(controller: str, pid: int | str = "self") -> str:
    """Return the group that a process is in, from /proc, as unique() names groups; '' for the root."""
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None, f"no hierarchy carries {controller}"
    group = machine.group_of(hierarchy, pid)
    return f"/{group}" if group else ""


def cgget(name: str, file: str) -> str:
    """Return a control file's value as `cgget` from cgroup-tools prints it, its lines without their leading tab."""
    done = subprocess.run(
        ["cgget", "-n", "-v", "-r", file, name], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr, done.stderr
    return "\n".join(line.strip() for line in done.stdout.rstrip("\n").split("\n"))


def memory_limit(name: str) -> int:
    """Return a group's memory limit; no limit is more than any other."""
    file = (
        "memory.limit_in_bytes"
        if os.path.exists(directory("memory", f"{name}/memory.limit_in_bytes"))
        else "memory.max"
    )
    text = read("memory", name, file)
    return 2**63 if text == "max" else int(text)
