# SPDX-License-Identifier: MIT
"""Control files that exist once for each size of huge pages: '{}' in their names stands for the size."""

from __future__ import annotations

import os

from ._types import TYPE_CHECKING, Any, T, V
from .errors import InvalidNameError
from .settings import Declaration, File, Reading, Setting

if TYPE_CHECKING:
    from .hierarchy import Place
    from .settings import Holder

_POOLS = "/sys/kernel/mm/hugepages"
_UNITS = ("KB", "MB", "GB")


def page_size(name: object) -> str:
    """Return a size of huge pages, by default the one that this machine uses by default. Raises InvalidNameError."""
    if name is None:
        return _default()
    if isinstance(name, str) and name[:-2].isdecimal() and name.isascii() and name[-2:] in _UNITS:
        return name
    raise InvalidNameError(f"{name!r} is not a size of huge pages, such as '2MB' or '1GB'")


def page_sizes() -> tuple[str, ...]:
    """Return the sizes of huge pages that this machine has; none where it has no huge pages."""
    if not os.path.isdir(_POOLS):
        return ()
    kilobytes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in os.listdir(_POOLS))
    return tuple(map(_named, kilobytes))


def _default() -> str:
    with open("/proc/meminfo", encoding="ascii") as lines:
        sizes = [int(line.split()[1]) for line in lines if line.startswith("Hugepagesize:")]
    return _named(sizes[0]) if sizes else "2MB"


def _named(kilobytes: int) -> str:
    power = 0
    while kilobytes % 1024 == 0 and power < len(_UNITS) - 1:
        kilobytes, power = kilobytes // 1024, power + 1
    return f"{kilobytes}{_UNITS[power]}"


class _Sized(Declaration[T, V]):
    def file(self, group: Holder, place: Place) -> File[T, V]:
        file = super().file(group, place)
        size: str = getattr(group, "page_size")  # noqa: B009  # HUGETLB's alone, so Holder does not promise it
        return File(file.name.format(size), file.codec)


class SizedReading(_Sized[T, Any], Reading[T]):
    """A Reading that exists once for each size of huge pages."""


class SizedSetting(_Sized[T, V], Setting[T, V]):
    """A Setting that exists once for each size of huge pages."""
