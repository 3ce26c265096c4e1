# SPDX-License-Identifier: MIT
"""Files with a line per device (or interface, or resource): `blkio.throttle.*`, `io.max`, `net_prio.ifpriomap` ...

They read as a frozen mapping from the kernel's name of the device, `{"8:0": 100000000}`. Assigning a mapping makes the
file say just that, so devices that it leaves out lose their limit; assigning text ("8:0 100000000", as in mruby)
changes the devices it names and no others. A block device may be named by its path ("/dev/sda") too.
"""

from __future__ import annotations

import os
import stat
from _collections_abc import Mapping  # collections.abc without the rest of collections

from ._types import TYPE_CHECKING
from .codecs import UNLIMITED, Codec, Int, amount, refuse, size, writable
from .stats import FrozenMap

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, SupportsIndex

    from .codecs import Amount, AmountLike

    #: What a device map takes.
    MapLike = Mapping[str, AmountLike] | str

_WANTED = "a mapping such as {'8:0': 1000000}, or text such as '8:0 1000000'"


def device(name: object) -> str:
    """Return 'major:minor' of a block device given so, or by its path."""
    if not isinstance(name, str):
        refuse(name, "a device: 'major:minor' or the path of a block device")
    if (":" in name and name.replace(":", "", 1).isdecimal()) or name == "default":
        return name
    try:
        status = os.stat(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name!r} is not a device: {error}") from error
    if not stat.S_ISBLK(status.st_mode):
        refuse(name, "a block device, nor 'major:minor'")
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def word(name: object) -> str:
    """Return the name of an interface or a resource as it is, if it is one word."""
    if not isinstance(name, str) or len(name.split()) != 1:
        refuse(name, "a name without blanks")
    return name


class PerDevice(Codec["FrozenMap[str, Amount]", "MapLike"]):
    """A line `device number` per device; `no_limit` is the text that takes a device's limit away."""

    reads_current: ClassVar[bool] = True
    of_devices: ClassVar[bool] = True

    def __init__(
        self,
        no_limit: str,
        unit: str,
        *,
        name: Callable[[object], str] = device,
        parse: Callable[[Any], Amount] = amount,
        cleared: AmountLike = UNLIMITED,
    ) -> None:
        self._no_limit, self._name, self._parse, self._cleared = no_limit, name, parse, cleared
        self.takes = f"{{device: {unit}}} or text 'device number'; reads as a frozen mapping"

    def decode(self, text: str) -> FrozenMap[str, Amount]:
        rows = (line.rpartition(" ") for line in text.splitlines())
        # "default" is not a device but the value of the others, which has a file of its own.
        return FrozenMap({key.strip(): self._number(number) for key, _, number in rows if key not in ("", "default")})

    def _number(self, text: str) -> Amount:
        return UNLIMITED if text == "max" else int(text)

    def encode(self, value: MapLike, current: str = "") -> str:
        if isinstance(value, str):
            limits = dict(self._split(line) for line in value.splitlines())
        elif isinstance(value, Mapping):
            limits = {self._name(key): self._parse(limit) for key, limit in value.items()}
            gone = self.decode(current).keys() - limits.keys()
            limits |= dict.fromkeys(sorted(gone), self._parse(self._cleared))
        else:
            refuse(value, _WANTED)
        lines = [self._line(key, limit) for key, limit in limits.items()]
        return writable("\n".join(lines)) if lines else ""

    def _split(self, line: str) -> tuple[str, Amount]:
        key, _, limit = line.strip().rpartition(" ")
        if not key:
            refuse(line, _WANTED)
        return self._name(key.strip()), self._parse(limit)

    def _line(self, key: str, limit: Amount) -> str:
        return f"{key} {self._no_limit if limit == UNLIMITED else limit}"

    def normal(self, value: MapLike) -> FrozenMap[str, Amount]:
        written = super().normal(value)
        return FrozenMap({key: limit for key, limit in written.items() if str(limit) != self._no_limit})


class Weight(Int):
    """The `default` of v2's `io.weight`, whose other lines are the devices'."""

    def decode(self, text: str) -> int:
        words = text.split()
        return int(words[words.index("default") + 1])

    def encode(self, value: SupportsIndex | str, current: str = "") -> str:
        return f"default {super().encode(value)}"


class PerDeviceKey(PerDevice):
    """One `key=number` of the lines of v2's `io.max`: the other keys of a line stay as they are."""

    def __init__(self, key: str, unit: str, parse: Callable[[Any], Amount] = amount) -> None:
        super().__init__("max", unit, parse=parse)
        self._key = key

    def decode(self, text: str) -> FrozenMap[str, Amount]:
        rows = (line.split() for line in text.splitlines())
        limits = {row[0]: dict(pair.split("=") for pair in row[1:]).get(self._key, "max") for row in rows if row}
        return FrozenMap({key: int(limit) for key, limit in limits.items() if limit != "max"})

    def _line(self, key: str, limit: Amount) -> str:
        # v1 takes a limit away with 0, which v2 refuses (ERANGE).
        return f"{key} {self._key}={limit if 0 < limit < UNLIMITED else self._no_limit}"


class ResourceMap(Codec["FrozenMap[str, FrozenMap[str, Amount]]", "Mapping[str, Mapping[str, AmountLike]] | str"]):
    """Lines of `device key=number key=number` with 'max' for no limit: `rdma.max`, `io.max` as a whole."""

    takes = "{device: {key: number or UNLIMITED}} or text; reads as a frozen mapping"
    reads_current: ClassVar[bool] = True
    of_devices: ClassVar[bool] = True

    def __init__(self, name: Callable[[object], str] = word, parse: Callable[[Any], Amount] = amount) -> None:
        self._name, self._parse = name, parse

    def decode(self, text: str) -> FrozenMap[str, FrozenMap[str, Amount]]:
        rows = (line.split() for line in text.splitlines())
        return FrozenMap({row[0]: FrozenMap(dict(map(self._pair, row[1:]))) for row in rows if row})

    def _pair(self, pair: str) -> tuple[str, Amount]:
        key, _, number = pair.partition("=")
        return key, self._parse(number)

    def encode(self, value: Mapping[str, Mapping[str, AmountLike]] | str, current: str = "") -> str:
        unlimited: dict[str, dict[str, AmountLike]] = {}
        if isinstance(value, str):
            rows = (line.split() for line in value.splitlines())
            value = {row[0]: dict(map(self._pair, row[1:])) for row in rows if row}
        elif isinstance(value, Mapping):
            unlimited = {key: dict.fromkeys(limits, UNLIMITED) for key, limits in self.decode(current).items()}
        else:
            refuse(value, "a mapping such as {'8:0': {'rbps': 1000000}}")
        given = {self._name(key): self._limits(limits) for key, limits in value.items()}
        every = {key: unlimited.get(key, {}) | given.get(key, {}) for key in (*given, *unlimited)}
        lines = [f"{key} {' '.join(map(self._text, limits.items()))}" for key, limits in every.items()]
        return writable("\n".join(lines)) if lines else ""

    def _limits(self, limits: object) -> dict[str, Amount]:
        if not isinstance(limits, Mapping) or not limits:
            refuse(limits, "a mapping such as {'rbps': 1000000}")
        return {word(key): self._parse(limit) for key, limit in limits.items()}

    def _text(self, limit: tuple[str, AmountLike]) -> str:
        key, number = limit
        return f"{key}={'max' if number == UNLIMITED else number}"


class IoCounters(Codec["FrozenMap[str, FrozenMap[str, int]]", "Any"]):
    """v1's `8:0 Read 4096` lines, read as {'8:0': {'Read': 4096}, 'Total': {'Total': 4096}}."""

    takes = "a frozen mapping of device to a mapping of operation to number"

    def decode(self, text: str) -> FrozenMap[str, FrozenMap[str, int]]:
        devices: dict[str, dict[str, int]] = {}
        for *name, number in map(str.split, text.splitlines()):
            devices.setdefault(name[0], {})[name[-1]] = int(number)
        return FrozenMap({key: FrozenMap(counters) for key, counters in devices.items()})


BYTES_PER_SECOND = PerDevice("0", "bytes per second", parse=size)
IO_PER_SECOND = PerDevice("0", "operations per second")
WEIGHT = Weight("weight of the group among its siblings")
WEIGHTS, OWN_WEIGHTS = PerDevice("0", "weight", cleared=0), PerDevice("default", "weight")
PRIORITIES = PerDevice("0", "priority", name=word, cleared=0)
RESOURCES, IO_LIMITS, LATENCIES = ResourceMap(), ResourceMap(device, size), ResourceMap(device)
IO_COUNTERS = IoCounters()
RBPS, WBPS = PerDeviceKey("rbps", "bytes per second", size), PerDeviceKey("wbps", "bytes per second", size)
RIOPS, WIOPS = PerDeviceKey("riops", "operations per second"), PerDeviceKey("wiops", "operations per second")
MISC_LIMITS = PerDevice("max", "number", name=word)
