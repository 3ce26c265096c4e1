# SPDX-License-Identifier: MIT
"""Limits: what a group may use, in the few words that every way of starting something in a group takes."""

from __future__ import annotations

from _functools import _lru_cache_wrapper as lru_cache  # type: ignore[import-not-found]  # as in _native.py

from . import controllers
from ._types import TYPE_CHECKING
from .codecs import COUNT, UNLIMITED, size
from .cpusets import CPUS
from .errors import InvalidValueError
from .names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypedDict, Unpack

    from .codecs import AmountLike

    class LimitWords(TypedDict, total=False):
        """The words, for what passes them on."""

        memory: AmountLike | None
        swap: AmountLike | None
        cpus: float | None
        cpu_shares: int | None
        cpuset: Any
        mems: Any
        pids: AmountLike | None
        io: Mapping[str, Mapping[str, AmountLike]] | None


_PERIOD = 100_000
_SHORTEST_QUOTA = 1_000
_IO = {
    "rbps": "throttle_read_bps_device",
    "wbps": "throttle_write_bps_device",
    "riops": "throttle_read_iops_device",
    "wiops": "throttle_write_iops_device",
}


class Limits:
    """What a group may use. What is left out is not limited.

    memory: bytes, as an int or as text such as "64M"; beyond them the OOM killer strikes.
    swap: bytes of swap beside the memory; 0 for none. Needs `memory`. Without it the group may swap freely.
    cpus: how much CPU time it gets, in CPUs: 0.5 is half of one, 2.0 two; at least 0.01.
    cpu_shares: its share among its siblings where CPUs are short; 1024 is what every group has.
    cpuset, mems: the CPUs and memory nodes that it may use: "0-1" or an iterable of ints.
    pids: how many processes and threads it may have: beyond that none can fork, though one may be moved in.
    io: bytes and operations per second for each block device: {"8:0": {"rbps": "10M", "wiops": 100}}; "/dev/sda" will
    do as well.

    Raises InvalidValueError for what no kernel would take; the rest is checked when the group is made.
    """

    __slots__ = ("_settings", "_words", "known")

    #: The words, in the order in which they are shown.
    WORDS = ("memory", "swap", "cpus", "cpu_shares", "cpuset", "mems", "pids", "io")

    def __init__(self, **words: Unpack[LimitWords]) -> None:
        given: dict[str, Any] = dict(words)
        for word in given:
            if word not in self.WORDS:
                near = nearest(word, self.WORDS)
                raise TypeError(f"there is no limit {word!r}{near}; there are {', '.join(self.WORDS)}")
        self._words = {word: given[word] for word in self.WORDS if given.get(word) is not None}
        self._settings: dict[type[controllers.Core], dict[str, Any]] = {}
        #: What steps.py knows of them.
        self.known: Any = None
        for word in self._words:
            kind, settings = _MEANINGS[word]
            if kind not in self._settings:
                self._settings[kind] = settings(self._words)

    @classmethod
    def joined(cls, limits: Limits | None, words: LimitWords) -> Limits:
        """Return limits, and beside them those that are given in words. Raises TypeError, InvalidValueError."""
        if limits is None:
            return (_known if PLAIN.issuperset(map(type, words.values())) else cls)(**words)
        if not isinstance(limits, Limits):
            raise TypeError(f"{limits!r} is no object of Limits: write limits in words, such as memory='64M'")
        return limits | cls(**words) if words else limits

    def settings(self) -> dict[type[controllers.Core], dict[str, Any]]:
        """Return what to assign, for each class of groups that it takes: {MEMORY: {"limit_in_bytes": "64M"}}."""
        return self._settings

    def __bool__(self) -> bool:
        return bool(self._words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._words == other._words

    __hash__ = None  # type: ignore[assignment]  # io is a mapping

    def __or__(self, other: Limits) -> Limits:
        """Return both together; what both have is as `other` says."""
        return Limits(**(self._words | other._words))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{word}={value!r}' for word, value in self._words.items())})"


#: Types of values that never change, so that what they come to is known from then on.
PLAIN = frozenset({int, float, str})
# Those that were last given in words; of equal values, 1.0 is not 1.
_known: Callable[..., Limits] = lru_cache(Limits, 256, True, tuple)  # noqa: FBT003  # it has no names for them


def _memory(words: dict[str, Any]) -> dict[str, Any]:
    memory, swap = words.get("memory"), words.get("swap")
    if memory is None:
        raise InvalidValueError(f"swap={swap!r} needs memory=... beside it: kernels count the two together", value=swap)
    limit = _checked("memory", memory)
    if swap is None:
        return {"limit_in_bytes": memory}
    return {"limit_in_bytes": memory, "memsw_limit_in_bytes": limit + _checked("swap", swap)}


def _checked(word: str, value: Any, check: Callable[[Any], Any] = size) -> Any:
    try:
        return check(value)
    except ValueError as refusal:
        raise InvalidValueError(f"{word}={value!r}: {refusal}", value=value) from None


def _cpu(words: dict[str, Any]) -> dict[str, Any]:
    values = {"shares": words["cpu_shares"]} if "cpu_shares" in words else {}
    if "cpus" not in words:
        return values
    cpus = words["cpus"]
    number = isinstance(cpus, int | float) and not isinstance(cpus, bool)
    if not number or not cpus * _PERIOD >= _SHORTEST_QUOTA:
        raise InvalidValueError(f"cpus={cpus!r} is not a number of CPUs, such as 0.5 or 2; at least 0.01", value=cpus)
    quota = cpus if cpus == UNLIMITED else round(cpus * _PERIOD)
    return values | {"cfs_period_us": _PERIOD, "cfs_quota_us": quota}


def _cpuset(words: dict[str, Any]) -> dict[str, Any]:
    given = {setting: word for word, setting in (("mems", "mems"), ("cpuset", "cpus")) if word in words}
    for word in given.values():
        value = words[word]
        words[word] = _checked(word, value, CPUS.encode).strip()  # an iterator is read but once
        if not words[word]:
            raise InvalidValueError(f"{word}={value!r} is empty: nothing could run", value=value)
    return {setting: words[word] for setting, word in given.items()}


def _pids(words: dict[str, Any]) -> dict[str, Any]:
    _checked("pids", words["pids"], COUNT.encode)
    return {"max": words["pids"]}


def _io(words: dict[str, Any]) -> dict[str, Any]:
    devices = words["io"]
    values: dict[str, dict[str, Any]] = {}
    try:
        for device, limits in devices.items():
            for word, amount in limits.items():
                if _checked(word, amount) == 0:  # which v1 takes for no limit at all
                    raise InvalidValueError(f"io: {word}={amount!r} is nothing; at least 1", value=amount)
                values.setdefault(_IO[word], {})[device] = amount
    except (AttributeError, KeyError):
        wanted = "{'8:0': {'rbps': '10M'}} with " + ", ".join(_IO)
        raise InvalidValueError(f"io={devices!r} is not such as {wanted}", value=devices) from None
    return values


#: What a word stands for: a class of groups, and what finds the settings in all the words for that class.
_MEANINGS: dict[str, tuple[type[controllers.Core], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "memory": (controllers.MEMORY, _memory),
    "swap": (controllers.MEMORY, _memory),
    "cpus": (controllers.CPU, _cpu),
    "cpu_shares": (controllers.CPU, _cpu),
    "cpuset": (controllers.CPUSET, _cpuset),
    "mems": (controllers.CPUSET, _cpuset),
    "pids": (controllers.PIDS, _pids),
    "io": (controllers.BLKIO, _io),
}
