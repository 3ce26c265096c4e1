# SPDX-License-Identifier: MIT
"""One implementation's whole lives: make a group with a memory limit, run /bin/true inside, wait, remove it.

``python -m benchmarks.life NAME GROUP MEMORY MOVED`` takes numbers of lives, and answers nanoseconds. Each
implementation has a process of its own, as its users have it: else it pays for the others' modules and garbage.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.implementations import LIMIT_BYTES
from benchmarks.place import Place

TRUE = ["/bin/true"]
PLAIN = "plain subprocess.run"
OURS = "pycgroup, run"  # which also reads what the group has counted
JUST_THAT = "pycgroup, popen"
PEERS = ("cgexec", "benchexec", "cgroupspy", "libcgroup")

_numbers = itertools.count()
Life = Callable[[], object]


def _plain(_: Place) -> Life:
    return lambda: subprocess.run(TRUE, check=True)


def _ours(_: Place, method: str = "run", **limits: object) -> Life:
    cgroup: Any = import_module("pycgroup").Cgroup

    def once() -> None:
        with cgroup(memory=LIMIT_BYTES, **limits) as group:
            done = getattr(group, method)(TRUE)
            if method == "popen":
                done.wait()

    return once


def _by_hand(place: Place, start: Callable[[str, str], object]) -> None:
    name = f"{place.child.name}-{next(_numbers)}"
    directory = f"{place.memory}/{name}"
    os.mkdir(directory)
    with open(f"{directory}/memory.limit_in_bytes", "w") as file:
        file.write(str(LIMIT_BYTES))
    start(name, directory)
    os.rmdir(directory)


def _cgexec(place: Place) -> Life:
    if not shutil.which("cgexec"):
        raise FileNotFoundError("apt install cgroup-tools")
    return lambda: _by_hand(
        place, lambda name, _: subprocess.run(["cgexec", "-g", f"memory:{name}", *TRUE], check=True)
    )


def _preexec(place: Place) -> Life:
    def start(_: str, directory: str) -> None:
        def enter() -> None:
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")

        subprocess.run(TRUE, check=True, preexec_fn=enter)

    return lambda: _by_hand(place, start)


def _entered(place: Place) -> Life:
    """Return what starts a program as pycgroup does, and nothing else of it: what is left for the rest is little."""
    spawn: Any = import_module("pycgroup.spawn")
    tree: Any = import_module("pycgroup.hierarchy").V1(str(place.memory), "/", frozenset({"memory"}))
    return lambda: _by_hand(
        place, lambda _, directory: spawn.Popen(TRUE, entrance=spawn.Entrance({tree: directory})).wait()
    )


def _benchexec(place: Place) -> Life:
    groups: Any = import_module("benchexec.cgroupsv1").CgroupsV1
    hierarchy = groups({"memory": str(place.memory)})

    def once() -> None:
        group = hierarchy.create_fresh_child_cgroup(["memory"], f"{place.child.name}-")
        group.set_value("memory", "limit_in_bytes", LIMIT_BYTES)
        subprocess.run(TRUE, check=True, preexec_fn=lambda: group.add_task(os.getpid()))
        group.remove()

    return once


def _cgroupspy(place: Place) -> Life:
    node: Any = import_module("cgroupspy.nodes").Node
    hierarchy = node("memory", parent=node(str(place.memory.parent)))

    def once() -> None:
        name = f"{place.child.name}-{next(_numbers)}"
        group = hierarchy.create_cgroup(name)
        group.controller.limit_in_bytes = LIMIT_BYTES
        subprocess.run(TRUE, check=True, preexec_fn=lambda: setattr(group.controller, "procs", [os.getpid()]))
        hierarchy.delete_cgroup(name)

    return once


def _libcgroup(place: Place) -> Life:
    groups: Any = import_module("libcgroup").CGroup

    def once() -> None:
        group = groups(f"{place.child.name}-{next(_numbers)}", "memory")
        group.set_value("memory.limit_in_bytes", LIMIT_BYTES)
        subprocess.run(TRUE, check=True, preexec_fn=group.add_current_thread)
        group.delete()

    return once


LIVES: dict[str, Callable[[Place], Life]] = {
    PLAIN: _plain,
    OURS: _ours,
    JUST_THAT: partial(_ours, method="popen"),
    "pycgroup, run, 3 limits": partial(_ours, cpus=1, pids=10),
    "os calls, preexec_fn": _preexec,
    "os calls, entered in C": _entered,
    "cgexec": _cgexec,
    "benchexec": _benchexec,
    "cgroupspy": _cgroupspy,
    "libcgroup": _libcgroup,
}


def main() -> None:
    """Answer."""
    name, group, memory, moved = sys.argv[1:]
    try:
        life = LIVES[name](Place(Path(memory), Path(moved), group))
    except (ImportError, OSError) as error:
        how = error if isinstance(error, OSError) else f"{error}: pip install -r benchmarks/requirements.txt"
        print(f"missing: {name} ({how})")
        return
    print("ready", flush=True)
    for line in sys.stdin:
        count = range(int(line))
        start = time.perf_counter_ns()
        for _ in count:
            life()
        print(time.perf_counter_ns() - start, flush=True)


if __name__ == "__main__":
    main()
