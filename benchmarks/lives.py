# SPDX-License-Identifier: MIT
"""Whole lives beside each other: make a group with a memory limit, run /bin/true inside; and a task in a pool."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.coprocess import Coprocess
from benchmarks.life import JUST_THAT, LIVES, OURS, PEERS, PLAIN
from benchmarks.rounds import figures, interleave

if TYPE_CHECKING:
    from benchmarks.limit import Limit
    from benchmarks.place import Place
    from benchmarks.rounds import Figure, Turn

IN_C = {"C, without a group": "run", "C, the whole life": "life"}
TARGETS = {0.04: 1.3, 0.0: 1.6}  # the ratio to plain, by the seconds of rest before each life
LOOP = 20_000_000  # nanoseconds, some twenty lives: in fewer it is rather the change of turns that is measured
TIMES = 3  # as many turns as elsewhere: their quartiles are far apart
AHEAD = 3.5
POOL = "ProcessPoolExecutor"
POOLS = {"pycgroup, spawn": "spawn", "pycgroup, forkserver": "forkserver"}


def run(place: Place, program: Limit, rounds: int) -> None:
    """Measure and print whole lives."""
    turns: dict[str, Turn] = {name: partial(program.turn, operation) for name, operation in IN_C.items()}
    with ExitStack() as stack:
        for name in LIVES:
            command = [sys.executable, "-m", "benchmarks.life", name, place.name, place.memory, place.moved]
            living = stack.enter_context(Coprocess(*command))
            if (answer := living.line()) == "ready":
                turns[name] = lambda count, living=living: int(living.ask(str(count)))
            else:
                print(answer)
        for pause in TARGETS:
            costs = interleave(turns, rounds * TIMES, pause, LOOP)
            print(_block(pause, figures(costs, PLAIN), figures(costs, OURS)), flush=True)


def _block(pause: float, found: Mapping[str, Figure], beside_ours: Mapping[str, Figure]) -> str:
    how = f"isolated, {pause * 1000:.0f} ms apart" if pause else "in a hot loop"
    head = f"whole life, {how}  (1.00 = {PLAIN}, {found[PLAIN].cost / 1e6:.2f} ms)"
    lines = ["", head, "-" * len(head)]
    for name, figure in found.items():
        beside = f"{beside_ours[name].ratio:8.2f} x ours" if not name.startswith("pycgroup") else ""
        has_target = name in (OURS, JUST_THAT)
        target = f"   target <= {TARGETS[pause]}: {_met(figure.ratio <= TARGETS[pause])}" if has_target else ""
        lines.append(f"  {name:<28}{figure.ratio:8.2f}  ({figure.low:.2f}..{figure.high:.2f}){beside}{target}")
    peers = {name: figure.ratio for name, figure in beside_ours.items() if name in PEERS}
    if peers:
        nearest = min(peers, key=peers.__getitem__)
        met = _met(peers[nearest] >= AHEAD)
        lines.append(f"  ahead of every peer by {AHEAD}: {met} (nearest: {nearest}, {peers[nearest]:.2f})")
    return "\n".join(lines)


def _met(reached: bool) -> str:  # noqa: FBT001  # it is what the function is about
    return "met" if reached else "NOT MET"


def _turn(task: Callable[[], object]) -> Turn:
    def turn(count: int) -> int:
        start = time.perf_counter_ns()
        for _ in range(count):
            task()
        return time.perf_counter_ns() - start

    return turn


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
