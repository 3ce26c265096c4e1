# SPDX-License-Identifier: MIT
"""The namespace in which each implementation's statements run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmarks.place import MOVED, Place

Namespace = dict[str, Any]
LIMIT_BYTES = 64 << 20


def pycgroup(place: Place) -> Namespace:
    """Name what this library is called by."""
    cgroup: Any = import_module("pycgroup").Cgroup
    return {
        "MEMORY": cgroup.MEMORY,
        "memory": cgroup.MEMORY(place.group.name),
        "CPUACCT": cgroup.CPUACCT,
        "there": cgroup.CPUACCT(place.there.name),
        "there_name": place.there.name,
        "name": place.group.name,
        "child": place.child.name,
    }


def plain(place: Place) -> Namespace:
    """Name what Python needs without any library: paths, and two open files."""
    return {
        "os": os,
        "group_directory": str(place.group),
        "child_directory": str(place.child),
        "limit_file": str(place.group / "memory.limit_in_bytes"),
        "child_limit_file": str(place.child / "memory.limit_in_bytes"),
        "stat_file": str(place.group / "memory.stat"),
        "there_file": str(place.there / "tasks"),
        "back_file": str(place.back / "tasks"),
        "there_tasks": os.open(place.there / "tasks", os.O_WRONLY),
        "back_tasks": os.open(place.back / "tasks", os.O_WRONLY),
    }


def benchexec(place: Place) -> Namespace:
    """Name BenchExec's own cgroup classes."""
    logging.getLogger().setLevel(logging.ERROR)  # it announces on the root logger that it will drop v1
    groups: Any = import_module("benchexec.cgroupsv1").CgroupsV1
    return {
        "CgroupsV1": groups,
        "group_directory": str(place.group),
        "group": groups({"memory": str(place.group)}),
        "hierarchy": groups({"memory": str(place.memory)}),
        "there": groups({MOVED: str(place.there)}),
        "back": groups({MOVED: str(place.back)}),
        "child": f"{place.child.name}-",
        "pid": os.getpid(),
    }


def cgroupspy(place: Place) -> Namespace:
    """Name cgroupspy's nodes, without its tree: building that reads every group of the host."""
    node: Any = import_module("cgroupspy.nodes").Node
    memory = node("memory", parent=node(str(place.memory.parent)))
    moved = node(MOVED, parent=node(str(place.moved.parent)))
    return {
        "Node": node,
        "hierarchy": memory,
        "node": node(place.group.name, parent=memory),
        "there": node(place.there.name, parent=moved),
        "back": node(place.back.name, parent=moved),
        "name": place.group.name,
        "child": place.child.name,
        "pid": os.getpid(),
    }


def libcgroup(place: Place) -> Namespace:
    """Name the objects of the ctypes binding that is called so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # its `ret is 0`
        group: Any = import_module("libcgroup").CGroup
    return {
        "CGroup": group,
        "group": group.from_existing(place.group.name),
        "there": group.from_existing(place.there.name),
        "back": group.from_existing(place.back.name),
        "parse": _parse_stat,
        "name": place.group.name,
        "child": place.child.name,
    }


def _parse_stat(text: bytes) -> dict[bytes, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


PEERS: Mapping[str, Callable[[Place], Namespace]] = {
    "benchexec": benchexec,
    "cgroupspy": cgroupspy,
    "libcgroup": libcgroup,
}


def namespaces(place: Place) -> tuple[dict[str, Namespace], dict[str, str]]:
    """Return the namespaces by implementation, and for each peer that is missing the reason."""
    found = {"pycgroup": pycgroup(place), "os calls": plain(place), "open()": plain(place)}
    missing = {}
    for name, make in PEERS.items():
        try:
            found[name] = make(place)
        except (ImportError, OSError) as error:  # OSError: the shared library that a ctypes binding wants
            missing[name] = str(error)
    common = {"limit_bytes": LIMIT_BYTES}
    return {name: namespace | common for name, namespace in found.items()}, missing
