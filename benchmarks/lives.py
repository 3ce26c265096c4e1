# SPDX-License-Identifier: MIT
"""A whole life: make a group with a memory limit, run /bin/true inside, wait, remove it; and a task in a pool."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.implementations import LIMIT_BYTES
from benchmarks.rounds import figures, interleave

if TYPE_CHECKING:
    from benchmarks.limit import Limit
    from benchmarks.place import Place
    from benchmarks.rounds import Figure, Turn

TRUE = ["/bin/true"]
PLAIN = "plain subprocess.run"
OURS = "pycgroup, run"  # which also reads what the group has counted
JUST_THAT = "pycgroup, popen"
IN_C = {"C, without a group": "run", "C, the whole life": "life"}
TARGETS = {0.04: 1.3, 0.0: 1.6}  # the ratio to plain, by the seconds of rest before each life
LOOP = 20_000_000  # nanoseconds, some twenty lives: in fewer it is rather the change of turns that is measured
SINGLE = 3  # times as many turns where one is a single life: their quartiles are 0.3 apart
AHEAD = 3.5
POOL = "ProcessPoolExecutor"
POOLS = {"pycgroup, spawn": "spawn", "pycgroup, forkserver": "forkserver"}

_numbers = itertools.count()
Life = Callable[[], object]


def run(place: Place, program: Limit, rounds: int) -> None:
    """Measure and print whole lives."""
    chosen = {PLAIN: lambda: subprocess.run(TRUE, check=True)} | _ours() | _others(place)
    in_c = {name: partial(program.turn, operation) for name, operation in IN_C.items()}
    for pause in TARGETS:
        turns = in_c | {name: _turn(life) for name, life in chosen.items()}
        costs = interleave(turns, rounds * SINGLE if pause else rounds, pause, LOOP)
        print(_block(pause, figures(costs, PLAIN)), flush=True)


def _ours() -> dict[str, Life]:
    cgroup: Any = import_module("pycgroup").Cgroup

    def life(method: str, **limits: object) -> Life:
        def once() -> None:
            with cgroup(memory=LIMIT_BYTES, **limits) as group:
                done = getattr(group, method)(TRUE)
                if method == "popen":
                    done.wait()

        return once

    return {
        OURS: life("run"),
        JUST_THAT: life("popen"),
        "pycgroup, run, 3 limits": life("run", cpus=1, pids=10),
    }


def _others(place: Place) -> dict[str, Life]:
    found: dict[str, Life] = {
        "os calls, preexec_fn": lambda: _by_hand(place, _preexec),
        "os calls, entered in C": partial(_by_hand, place, _entered(place)),
    }
    if shutil.which("cgexec"):
        found["cgexec"] = lambda: _by_hand(place, _cgexec)
    for name, make in {"benchexec": _benchexec, "cgroupspy": _cgroupspy, "libcgroup": _libcgroup}.items():
        try:
            found[name] = make(place)
        except (ImportError, OSError):
            print(f"missing: {name} (pip install -r benchmarks/requirements.txt)")
    return found


def _by_hand(place: Place, start: Callable[[str, str], object]) -> None:
    name = f"{place.child.name}-{next(_numbers)}"
    directory = f"{place.memory}/{name}"
    os.mkdir(directory)
    with open(f"{directory}/memory.limit_in_bytes", "w") as file:
        file.write(str(LIMIT_BYTES))
    start(name, directory)
    os.rmdir(directory)


def _cgexec(name: str, _: str) -> None:
    subprocess.run(["cgexec", "-g", f"memory:{name}", *TRUE], check=True)


def _preexec(_: str, directory: str) -> None:
    def enter() -> None:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")

    subprocess.run(TRUE, check=True, preexec_fn=enter)


def _entered(place: Place) -> Callable[[str, str], object]:
    """Return what starts a program as pycgroup does, and nothing else of it: what is left for the rest is little."""
    spawn: Any = import_module("pycgroup.spawn")
    tree: Any = import_module("pycgroup.hierarchy").V1(str(place.memory), "/", frozenset({"memory"}))
    return lambda _, directory: spawn.Popen(TRUE, entrance=spawn.Entrance({tree: directory})).wait()


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


def _turn(life: Life) -> Turn:
    def turn(count: int) -> int:
        start = time.perf_counter_ns()
        for _ in range(count):
            life()
        return time.perf_counter_ns() - start

    return turn


def _block(pause: float, found: Mapping[str, Figure]) -> str:
    how = f"isolated, {pause * 1000:.0f} ms apart" if pause else "in a hot loop"
    head = f"whole life, {how}  (1.00 = {PLAIN}, {found[PLAIN].cost / 1e6:.2f} ms)"
    lines = ["", head, "-" * len(head)]
    for name, figure in found.items():
        beside = f"{figure.cost / found[OURS].cost:8.2f} x ours" if not name.startswith("pycgroup") else ""
        has_target = name in (OURS, JUST_THAT)
        target = f"   target <= {TARGETS[pause]}: {_met(figure.ratio <= TARGETS[pause])}" if has_target else ""
        lines.append(f"  {name:<28}{figure.ratio:8.2f}  ({figure.low:.2f}..{figure.high:.2f}){beside}{target}")
    peers = {name: figure.cost / found[OURS].cost for name, figure in found.items() if name in PEERS}
    if peers:
        nearest = min(peers, key=peers.__getitem__)
        met = _met(peers[nearest] >= AHEAD)
        lines.append(f"  ahead of every peer by {AHEAD}: {met} (nearest: {nearest}, {peers[nearest]:.2f})")
    return "\n".join(lines)


PEERS = ("cgexec", "benchexec", "cgroupspy", "libcgroup")


def _met(reached: bool) -> str:  # noqa: FBT001  # it is what the function is about
    return "met" if reached else "NOT MET"


def run_pools(rounds: int) -> None:
    """Measure and print what a task costs in a pool."""
    ours: Any = import_module("pycgroup").CgroupProcessPoolExecutor
    pools: dict[str, Executor] = {POOL: ProcessPoolExecutor(1)}
    pools |= {name: ours(1, memory="1G", start_method=method) for name, method in POOLS.items()}
    try:
        turns = {name: _turn(lambda pool=pool: pool.submit(os.getpid).result()) for name, pool in pools.items()}
        found = figures(interleave(turns, rounds), POOL)
    finally:
        for pool in pools.values():
            pool.shutdown()
    head = f"a task in a pool of one, submit to result  (1.00 = {POOL}, {found[POOL].cost / 1e3:.0f} us)"
    print("\n".join(["", head, "-" * len(head)]))
    for name, figure in found.items():
        if name != POOL:
            print(f"  {name:<28}{figure.ratio:8.2f}  ({figure.low:.2f}..{figure.high:.2f})")
