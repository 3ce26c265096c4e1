# SPDX-License-Identifier: MIT
"""Where v2 keeps in one file, or in another unit, what v1 has as a file of its own."""

from __future__ import annotations

from ._types import TYPE_CHECKING
from .codecs import UNLIMITED, Int, Limit, Reported, Size, refuse, whole_number

if TYPE_CHECKING:
    from typing import ClassVar, SupportsIndex

    from .codecs import Amount, AmountLike

_DEFAULT_PERIOD = "100000"


class Quota(Limit):
    """The first number of `cpu.max`: the period stays as it is."""

    def __init__(self) -> None:
        super().__init__("max", "microseconds")

    def decode(self, text: str) -> Amount:
        return super().decode(text.partition(" ")[0])


class Period(Int):
    """The second number of `cpu.max`: the quota stays as it is."""

    reads_current: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("microseconds")

    def decode(self, text: str) -> int:
        return int([*text.split(), _DEFAULT_PERIOD][1])

    def encode(self, value: SupportsIndex | str, current: str = "") -> str:
        return f"{(current.split() or ['max'])[0]} {super().encode(value)}"


class Shares(Int):
    """`cpu.shares` (2 to 262144, default 1024) in `cpu.weight` (1 to 10000, default 100), as the kernel and systemd do.

    A weight of 100 is 1024 shares, so that defaults and ratios stay; what is out of the other's range is cut to it.
    """

    def decode(self, text: str) -> int:
        return max(2, int(text) * 1024 // 100)

    def encode(self, value: SupportsIndex | str, current: str = "") -> str:
        shares = whole_number(value)
        if shares < 0:
            refuse(value, "2 or more")
        return str(min(10000, max(1, round(shares * 100 / 1024))))


class MemoryAndSwap(Size):
    """`memory.memsw.limit_in_bytes`, memory and swap together, in `memory.swap.max`, swap alone; beside `memory.max`.

    The sum holds for the memory limit of now: set that first. As runc does.
    """

    reads_current: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("max")

    def decode(self, text: str) -> Amount:
        swap, memory = map(super().decode, text.split("\n"))
        return swap + memory

    def encode(self, value: AmountLike, current: str = "") -> str:
        total = self.parse(value)
        memory = super().decode(current.split("\n")[1]) if current else 0
        if total < UNLIMITED == memory:
            raise ValueError(f"{value!r} needs a memory limit: on cgroup v2 set limit_in_bytes first")
        if total < memory:
            raise ValueError(f"{value!r} is memory and swap together, so at least limit_in_bytes, which is {memory}")
        return super().encode(total if total == UNLIMITED else total - memory)

    def normal(self, value: AmountLike) -> Amount:
        return self.parse(value)


class MemoryAndSwapUsage(Reported):
    """Memory and swap in use together: two files' sum."""

    def decode(self, text: str) -> int:
        return sum(map(int, text.split()))


CPU_QUOTA, CPU_PERIOD, SHARES = Quota(), Period(), Shares("weight of the group among its siblings")
MEMSW, MEMSW_USAGE = MemoryAndSwap(), MemoryAndSwapUsage("bytes")
