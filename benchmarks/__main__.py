# SPDX-License-Identifier: MIT
"""Run the benchmarks and print the table: ``python -m benchmarks [--only WORD] [--rounds N]``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from functools import partial
from timeit import Timer

from benchmarks import imports, lives, table
from benchmarks.implementations import PEERS, Namespace, namespaces
from benchmarks.limit import Limit, limit
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.place import NoPlaceError, Place, place
from benchmarks.rounds import Turn, figures, interleave, several


def main() -> int:
    """Return 0 when the table was printed, whatever it says, and 1 when this host cannot run it."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the groups are removed
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} CPUs, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}. Ratios to C: median of the rounds (and quartiles); lower is better.")
    try:
        _run_operations(options.only, options.rounds)
    except NoPlaceError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if options.only in "whole life, a task in a pool":
        with place() as here, limit(here) as program:
            lives.run(here, program, options.rounds)
        lives.run_pools(options.rounds)
    if options.only in "import":
        _run_imports(options.rounds)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare pycgroup with C and its peers.")
    parser.add_argument("--only", default="", metavar="WORD", help="only the operations with WORD in their name")
    parser.add_argument("--rounds", type=several, default=60, metavar="N", help="how often each takes its turn (60)")
    return parser.parse_args()


def _run_operations(only: str, rounds: int) -> None:
    chosen = [operation for operation in OPERATIONS if only in operation.name]
    with place() as here:
        os.nice(-15)  # before the C program starts, which inherits it: on a busy machine both are interrupted less
        _run_chosen(chosen, here, rounds)


def _run_chosen(chosen: list[Operation], here: Place, rounds: int) -> None:
    with limit(here) as program:
        found, missing = namespaces(here)
        for peer, reason in missing.items():
            print(f"missing: {peer}: {reason} (pip install -r benchmarks/requirements.txt)")
        for operation in chosen:
            costs = interleave(_turns(operation, program, found), rounds, operation.pause)
            print(table.operation(operation, figures(costs, table.LIMIT), PEERS, missing), flush=True)


def _turns(operation: Operation, program: Limit, found: dict[str, Namespace]) -> dict[str, Turn]:
    """Return one turn for C, for each of its variants, and for each implementation that is there."""
    in_c = {table.LIMIT: operation.limit} | dict(operation.also_in_c)
    turns: dict[str, Turn] = {name: partial(program.turn, command) for name, command in in_c.items()}
    for name, statement in operation.statements.items():
        namespace = found.get(name.split(",")[0])
        if namespace is not None:
            turns[name] = Timer(statement, timer=time.perf_counter_ns, globals=dict(namespace)).timeit
    return turns


def _run_imports(rounds: int) -> None:
    costs = interleave(imports.turns(), rounds)
    missing = [name for name in imports.STATEMENTS if name not in costs]
    loaded = imports.loaded()
    facts = {module: module in loaded for module in imports.UNWANTED}
    print(table.imports(figures(costs, imports.NOTHING), imports.NOTHING, missing, facts))


if __name__ == "__main__":
    sys.exit(main())
