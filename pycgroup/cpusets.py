# SPDX-License-Identifier: MIT
"""Lists of CPUs and memory nodes as the kernel writes them: '0-2,5'."""

from __future__ import annotations

from itertools import pairwise

from ._types import TYPE_CHECKING
from .codecs import Codec, refuse, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet
    from typing import Self

_WANTED = "a list of CPUs or nodes such as '0-2,5', an int, or a set of ints"
# More than any kernel has (NR_CPUS is at most 8192): a typing error must not fill the memory.
_MOST = 2**20


class CpuSet(frozenset[int]):
    """A set of CPU or node numbers that prints as the kernel writes it."""

    __slots__ = ()

    def __new__(cls, numbers: str | Iterable[int] = ()) -> Self:
        """Make a set of numbers, or of a list as the kernel writes it. Raises ValueError."""
        return super().__new__(cls, _parsed(numbers) if isinstance(numbers, str) else numbers)

    def __and__(self, other: AbstractSet[object]) -> CpuSet:
        return CpuSet(super().__and__(other))

    def __or__(self, other: AbstractSet[int]) -> CpuSet:  # type: ignore[override]  # numbers only
        return CpuSet(super().__or__(other))

    def __sub__(self, other: AbstractSet[object]) -> CpuSet:
        return CpuSet(super().__sub__(other))

    def __xor__(self, other: AbstractSet[int]) -> CpuSet:  # type: ignore[override]  # numbers only
        return CpuSet(super().__xor__(other))

    def __str__(self) -> str:
        numbers = sorted(self)
        breaks = [0, *(i for i, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1), len(numbers)]
        runs = [numbers[start:end] for start, end in pairwise(breaks) if start < end]
        return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

    def __repr__(self) -> str:
        return f"CpuSet('{self}')"

    @classmethod
    def parse(cls, text: str) -> CpuSet:
        """Return the set that a list such as '0-2,5' or '0-31:2/4' stands for; empty text is the empty set."""
        try:
            return cls(_parsed(text))
        except ValueError:
            refuse(text, _WANTED)


def _parsed(text: str) -> Iterable[int]:
    return (number for part in text.strip().split(",") if text.strip() for number in _numbers(part.strip()))


def _numbers(part: str) -> Iterable[int]:
    run, _, pattern = part.partition(":")
    low, dash, high = run.partition("-")
    first = whole_number(low, _WANTED)
    last = whole_number(high, _WANTED) if dash else first
    used, _, group = map(str.strip, pattern.partition("/")) if ":" in part else ("1", "/", "1")
    keep, period = whole_number(used, _WANTED), whole_number(group, _WANTED)
    if not (0 <= first <= last < _MOST and 0 < keep <= period):
        refuse(part, _WANTED)
    return (number for number in range(first, last + 1) if (number - first) % period < keep)


class Cpus(Codec["CpuSet", "str | int | Iterable[int]"]):
    """A cpuset file."""

    takes = "text such as '0-2,5', an int or a set of ints; reads as CpuSet"

    def decode(self, text: str) -> CpuSet:
        return CpuSet.parse(text)

    def encode(self, value: str | int | Iterable[int], current: str = "") -> str:
        # An empty write never reaches the kernel's handler; a newline clears the set.
        return str(self._parse(value)) or "\n"

    def _parse(self, value: str | int | Iterable[int]) -> CpuSet:
        if isinstance(value, str):
            return CpuSet.parse(value)
        if isinstance(value, bytes | bytearray):
            refuse(value, _WANTED)
        numbers = value if hasattr(value, "__iter__") else [value]
        checked = CpuSet(whole_number(number, _WANTED) for number in numbers)
        if any(not 0 <= number < _MOST for number in checked):
            refuse(value, _WANTED)
        return checked


CPUS = Cpus()
