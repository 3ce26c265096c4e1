# SPDX-License-Identifier: MIT
"""Steps: what limits come to on this host, found out and checked once for all groups that are limited like that."""

from __future__ import annotations

from . import _native, controllers
from ._types import TYPE_CHECKING
from .errors import UnavailableError
from .hosts import here
from .limits import PLAIN

if TYPE_CHECKING:
    from typing import Any

    from .hierarchy import Hierarchy
    from .hosts import Host
    from .placed import Placed
    from .settings import Setting

# What counts for run() is taken along, if it can be, but no more than that: each directory of v1 costs as much as a
# tenth of starting a program.
_ALWAYS: tuple[type[controllers.Core], ...] = (controllers.MEMORY,)
_BESIDE: dict[type[controllers.Core], type[controllers.Core]] = {controllers.CPU: controllers.CPUACCT}


class Step:
    """One class of groups that is taken: where it is, and what is set there.

    `needed`: the limits are not kept without it. `texts`: what to write into which file of a new group, in this order;
    empty where that can be said only when there is a group. `at_once`: the same for _native.make(), None where there is
    more to do.
    """

    __slots__ = ("at_once", "controller", "kind", "needed", "texts", "tree", "values")

    def __init__(self, group: Placed, kind: type[controllers.Core], values: dict[str, Any] | None = None) -> None:
        view = group.view(kind)
        self.kind = kind
        self.needed = values is not None
        self.values: dict[Setting[Any, Any], Any] = view.checked(values or {})
        place = view._place
        self.tree: Hierarchy = place.hierarchy
        self.controller = place.controller
        files = [(setting.file(view, place), value) for setting, value in self.values.items()]
        # A cpuset of v1 takes no process before both of its settings are there.
        same = kind is not controllers.CPUSET and all(
            type(value) in PLAIN and not (file.beside or file.codec.reads_current) for file, value in files
        )
        self.texts = [(file.name, file.codec.encode(value)) for file, value in files] if same else []
        self.at_once: tuple[bytes, int] | None = None
        if same and self.tree.is_complete(self.controller) and all(_is_line(text) for _, text in self.texts):
            self.at_once = _native.strings([part for pair in self.texts for part in pair])


def _is_line(text: str) -> bool:
    """Return whether a text takes one write."""
    return text != "" and "\n" not in text


def steps(group: Placed) -> tuple[Step, ...]:
    """Return what to make and to set for the limits of a group. Raises UnavailableError, SettingError and its kinds."""
    limits, host = group.limits, here()
    known: tuple[Host, tuple[Step, ...]] | None = limits.known
    if known is None or known[0] is not host:
        settings = limits.settings()
        found = [Step(group, kind, values) for kind, values in settings.items()]
        also = [*_ALWAYS, *(_BESIDE[kind] for kind in settings if kind in _BESIDE)]
        found += [step for kind in also if kind not in settings for step in _optional(group, kind)]
        known = limits.known = host, tuple(found)
    return known[1]


def _optional(group: Placed, kind: type[controllers.Core]) -> list[Step]:
    try:
        return [Step(group, kind)]
    except UnavailableError:
        return []  # as it was looked for, the mount table has been read again: it will be the next time, too
