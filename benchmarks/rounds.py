# SPDX-License-Identifier: MIT
"""Taking turns: what disturbs the machine disturbs all implementations alike."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles

Turn = Callable[[int], float]
"""Do the operation that many times and return the nanoseconds."""

TURN = 1_000_000
"""Nanoseconds: short beside what disturbs, long beside the clock."""


_FEWEST = 2


@dataclass(frozen=True)
class Figure:
    """A cost in nanoseconds, and as a ratio to the limit with its quartiles over the rounds."""

    cost: float
    ratio: float
    low: float
    high: float


def interleave(
    turns: Mapping[str, Turn], rounds: int, pause: float = 0.0, length: int = TURN
) -> dict[str, list[float]]:
    """Give each a turn in every round; return the nanoseconds per operation, one per round.

    A turn takes about `length` nanoseconds, or after a pause (in seconds) as long as one operation.
    """
    counts = {name: 1 if pause else _fitting(turn, length) for name, turn in turns.items()}
    costs: dict[str, list[float]] = {name: [] for name in turns}
    # In another order each time: a turn pays for what the one before has left to the kernel, such as freeing groups.
    order = Random(rounds)  # the same orders in every run
    for _ in range(rounds):
        for name in order.sample(list(turns), len(turns)):
            if pause:
                time.sleep(pause)
            costs[name].append(turns[name](counts[name]) / counts[name])
    return costs


def figures(costs: Mapping[str, list[float]], limit: str) -> dict[str, Figure]:
    """Compare each with the limit's turn of the same round."""
    return {name: _figure(own, costs[limit]) for name, own in costs.items()}


def _figure(costs: list[float], limits: list[float]) -> Figure:
    ratios = [cost / limit for cost, limit in zip(costs, limits, strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    return Figure(median(costs), middle, low, high)


def several(text: str) -> int:
    """Return a number of rounds that has quartiles, from the command line."""
    if (rounds := int(text)) < _FEWEST:
        raise ArgumentTypeError(f"at least {_FEWEST}, not {text}")
    return rounds


def _fitting(turn: Turn, length: int) -> int:
    """Return how many operations fill a turn, having warmed up."""
    turn(1)
    few = 10
    return max(1, min(2000, int(length * few / turn(few))))
