# SPDX-License-Identifier: MIT
"""Stat files: frozen objects with typed attributes that also act as a mapping from the kernel's own keys.

The attributes bridge the versions (`memory.stat` has `cache` on v1 and `file` on v2: both names answer on both);
the mapping holds exactly what the kernel wrote. A key that this kernel does not write is an AttributeError.
"""

from __future__ import annotations

import os
from _collections_abc import Mapping  # collections.abc without the rest of collections
from _functools import _lru_cache_wrapper as lru_cache  # type: ignore[import-not-found]  # as in _native.py

from ._types import TYPE_CHECKING, Generic, K, T
from .codecs import Codec, zero_or_one
from .errors import UnsupportedSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, ClassVar, NoReturn, TypeVar

    S = TypeVar("S", bound="Stat")
else:
    S = None

_HZ = os.sysconf("SC_CLK_TCK")


class FrozenMap(Mapping[K, T], Generic[K, T]):
    """A mapping that cannot be changed: what the kernel said when it was read."""

    __slots__ = ("_values",)
    _values: dict[K, T]

    def __init__(self, values: dict[K, T]) -> None:
        object.__setattr__(self, "_values", values)

    def __getitem__(self, key: K) -> T:
        return self._values[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is what the kernel said; it cannot be changed")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._values,)

    def __repr__(self) -> str:
        return repr(self._values)


class Stat(FrozenMap[str, int]):
    """A file of `key number` lines."""

    __slots__ = ()
    #: name: (the key that has it on the other version, multiplied by, divided by)
    _BRIDGE: ClassVar[dict[str, tuple[str, int, int]]] = {}

    def __getattr__(self, name: str) -> int:
        try:
            return self._values[name]
        except KeyError:
            return self._bridged(name)

    def _bridged(self, name: str) -> int:
        key, times, by = self._BRIDGE.get(name, (name, 1, 1))
        for candidate in (key, key.replace("_", ".", 1)):
            if candidate in self._values:
                return self._values[candidate] * times // by
        raise AttributeError(f"this kernel's {type(self).__name__} has no {name!r}; it has {', '.join(self)}")

    def __dir__(self) -> list[str]:
        bridged = [name for name, (key, _, _) in self._BRIDGE.items() if key in self._values]
        return sorted({*super().__dir__(), *self._values, *bridged})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in self.items())})"


def _both(pairs: Mapping[str, str]) -> dict[str, tuple[str, int, int]]:
    """Bridge names that mean the same on the two versions, in both directions."""
    there = {v1: (v2, 1, 1) for v1, v2 in pairs.items()}
    return there | {v2: (v1, 1, 1) for v1, v2 in pairs.items()}


class MemoryStat(Stat):
    """`memory.stat`, in bytes but for the event counters. v1's `total_...` keys include the children."""

    __slots__ = ()
    _BRIDGE = _both({"cache": "file", "rss": "anon", "mapped_file": "file_mapped", "dirty": "file_dirty"}) | _both(
        {"writeback": "file_writeback", "rss_huge": "anon_thp"}
    )
    cache: int
    rss: int
    rss_huge: int
    anon: int
    file: int
    shmem: int
    mapped_file: int
    file_mapped: int
    dirty: int
    writeback: int
    pgfault: int
    pgmajfault: int
    inactive_anon: int
    active_anon: int
    inactive_file: int
    active_file: int
    unevictable: int
    hierarchical_memory_limit: int
    total_cache: int
    total_rss: int


class MemoryEvents(Stat):
    """`memory.events`: how often the group was reclaimed below low, above high, hit max, or was out of memory."""

    __slots__ = ()
    low: int
    high: int
    max: int
    oom: int
    oom_kill: int
    oom_group_kill: int


class OomControl(Stat):
    """`memory.oom_control`: the killer's switch, whether the group is out of memory now, and how many it killed."""

    __slots__ = ()

    @property
    def oom_kill_disable(self) -> bool:
        """Whether the OOM killer is off for this group (v1; always False on v2)."""
        return self._values.get("oom_kill_disable", 0) != 0

    @property
    def under_oom(self) -> bool:
        """Whether tasks of the group wait for memory now, stopped by the kernel (v1; always False on v2)."""
        return self._values.get("under_oom", 0) != 0

    @property
    def oom_kill(self) -> int:
        """How many processes of the group the OOM killer has killed (Linux 4.13)."""
        return self._values["oom_kill"]


class CpuStat(Stat):
    """`cpu.stat`: bandwidth control. v1 counts `throttled_time` in ns, v2 `throttled_usec` in us; both answer."""

    __slots__ = ()
    _BRIDGE: ClassVar[dict[str, tuple[str, int, int]]] = {
        "throttled_time": ("throttled_usec", 1000, 1),
        "throttled_usec": ("throttled_time", 1, 1000),
        "burst_time": ("burst_usec", 1000, 1),
        "burst_usec": ("burst_time", 1, 1000),
    }
    nr_periods: int
    nr_throttled: int
    throttled_time: int
    throttled_usec: int
    nr_bursts: int
    burst_time: int
    burst_usec: int
    usage_usec: int
    user_usec: int
    system_usec: int


class CpuacctStat(Stat):
    """`cpuacct.stat`: CPU time in clock ticks (os.sysconf('SC_CLK_TCK') per second); on v2 from `cpu.stat`."""

    __slots__ = ()
    _BRIDGE: ClassVar[dict[str, tuple[str, int, int]]] = {
        "user": ("user_usec", _HZ, 10**6),
        "system": ("system_usec", _HZ, 10**6),
    }
    user: int
    system: int


class Stats(Codec[S, "Any"], Generic[S]):
    """A file of `key number` lines, read as one of the classes above."""

    def __init__(self, kind: type[S]) -> None:
        self._kind = kind
        self.takes = f"{kind.__name__}, a frozen object that is also a mapping"

    def decode(self, text: str) -> S:
        words = text.split()
        return self._kind(dict(zip(words[::2], map(int, words[1::2]), strict=True)))


# It is read after each run and for each event, and nearly always says the same.
_control: Callable[[str], OomControl] = lru_cache(Stats(OomControl).decode, 16, False, tuple)  # noqa: FBT003


class Switch(Stats[OomControl]):
    """`memory.oom_control`: reads as an OomControl, takes a bool (True turns the killer off)."""

    takes = "reads as OomControl; True turns the OOM killer off, False on"

    def __init__(self) -> None:
        self._kind = OomControl

    def decode(self, text: str) -> OomControl:
        return _control(text)

    def encode(self, value: Any, current: str = "") -> str:
        return zero_or_one(value.oom_kill_disable if isinstance(value, OomControl) else value)

    def normal(self, value: Any) -> OomControl:
        return OomControl({"oom_kill_disable": int(self.encode(value)), "under_oom": 0, "oom_kill": 0})


class AlwaysOn(Switch):
    """v2 has no switch for the OOM killer: `memory.events` tells how many it killed."""

    def encode(self, value: Any, current: str = "") -> str:
        if super().encode(value) == "0":
            return ""
        nearest = "memory.high throttles a group before memory.max has it killed"
        raise UnsupportedSettingError(f"cgroup v2 cannot turn the OOM killer off; the nearest it has: {nearest}")

    def normal(self, value: Any) -> OomControl:
        self.encode(value)
        return OomControl({"oom_kill_disable": 0, "under_oom": 0, "oom_kill": 0})


class Field(Codec[int, "Any"]):
    """One number of a stat file, times a factor where the versions count in different units."""

    def __init__(self, key: str, times: int, unit: str) -> None:
        self._key, self._times = key, times
        self.takes = f"int, {unit}"

    def decode(self, text: str) -> int:
        words = text.split()
        return int(words[words.index(self._key) + 1]) * self._times


class Equals(Codec["FrozenMap[str, FrozenMap[str, T]]", "Any"], Generic[T]):
    """Lines of `name key=value key=value`, read as a mapping of mappings."""

    takes = "a frozen mapping of mappings"

    def __init__(self, number: type[T]) -> None:
        self._number: Any = number

    def decode(self, text: str) -> FrozenMap[str, FrozenMap[str, T]]:
        return FrozenMap({words[0]: self._pairs(words[1:]) for words in map(str.split, text.splitlines()) if words})

    def _pairs(self, words: list[str]) -> FrozenMap[str, T]:
        pairs = (word.partition("=") for word in words)
        return FrozenMap({key: self._parsed(value) for key, _, value in pairs})

    def _parsed(self, text: str) -> Any:
        # A whole number stays one among others.
        return int(text) if text.isdecimal() else self._number(text)


class NumaStat(Codec["FrozenMap[str, FrozenMap[str, int]]", "Any"]):
    """v1's `memory.numa_stat`: `total=5 N0=5` lines, in pages, read as {'total': {'total': 5, 'N0': 5}}."""

    takes = "a frozen mapping of mappings"

    def decode(self, text: str) -> FrozenMap[str, FrozenMap[str, int]]:
        rows = (line.split() for line in text.splitlines() if line)
        return FrozenMap({words[0].partition("=")[0]: self._row(words) for words in rows})

    def _row(self, words: list[str]) -> FrozenMap[str, int]:
        pairs = (word.partition("=") for word in words)
        return FrozenMap({key if key.startswith("N") else "total": int(value) for key, _, value in pairs})


class Table(Codec["FrozenMap[int, Stat]", "Any"]):
    """v1's `cpuacct.usage_all`: a head line, then a row per CPU, read as {cpu: Stat}."""

    takes = "a frozen mapping of CPU number to nanoseconds"

    def decode(self, text: str) -> FrozenMap[int, Stat]:
        head, *rows = (line.split() for line in text.splitlines())
        return FrozenMap({int(row[0]): Stat(dict(zip(head[1:], map(int, row[1:]), strict=True))) for row in rows})


STAT = Stats(Stat)
MEMORY_STAT, MEMORY_EVENTS = Stats(MemoryStat), Stats(MemoryEvents)
CPU_STAT, CPUACCT_STAT = Stats(CpuStat), Stats(CpuacctStat)
OOM_CONTROL, OOM_ALWAYS_ON = Switch(), AlwaysOn()
PRESSURE = IO_STAT = Equals(float)
EQUALS, NUMA_STAT = Equals(int), NumaStat()
USAGE_ALL = Table()
