# SPDX-License-Identifier: MIT
"""Placed, a group in several hierarchies at once: where it is in each, and how each controller sees it."""

from __future__ import annotations

import errno
import os

from . import controllers, owners
from ._types import TYPE_CHECKING
from .errors import GroupNotFoundError
from .hierarchy import Place
from .hosts import base, here, locate
from .limits import Limits
from .names import group_name

if TYPE_CHECKING:
    from typing import Any, Self, TypeVar, Unpack

    from .base import Controller
    from .hierarchy import Hierarchy
    from .limits import LimitWords

    C = TypeVar("C", bound=controllers.Core)


class Placed:
    """A group in several hierarchies at once."""

    __slots__ = ("__weakref__", "_is_held", "_path", "_places", "_views", "is_fresh", "limits", "name")

    def __init__(self, name: str | None, limits: Limits | None = None, **words: Unpack[LimitWords]) -> None:
        self.limits = Limits.joined(limits, words)
        self.name = owners.unique_name() if name is None else name
        self._path = f"/{self.name}" if name is None else group_name(name)
        self._places: dict[Hierarchy, str] = {}
        #: Whether nothing can have been counted in it yet.
        self.is_fresh = False
        #: Whether it is in use, so that it is where it was found.
        self._is_held = False
        self._views: dict[type[controllers.Core], Any] = {}

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the group that a process is in; in each hierarchy that may be another one.

        Raises NoSuchProcessError, InvalidValueError. Reads /proc/PID/cgroup.
        """
        return cls._at(here().directories(pid))

    @classmethod
    def current(cls) -> Self:
        """Return the group that the calling process is in. Reads /proc/self/cgroup."""
        return cls._at(here().directories())

    @classmethod
    def _at(cls, places: dict[Hierarchy, str]) -> Self:
        group = cls(max((below(tree, directory) for tree, directory in places.items()), key=len, default="/"))
        group._places = dict(places)
        return group

    def view(self, kind: type[C]) -> C:
        """Return the group as one controller sees it, such as Cgroup.MEMORY. Raises UnavailableError."""
        self.is_fresh = False
        view: C | None = self._views.get(kind)
        if view is None:
            tree, controller = locate(kind.V1, kind.V2)
            view = self._views[kind] = kind.at(Place(tree, controller, below(tree, self.directory(tree))))
        return view

    def has(self, kind: type[controllers.Core]) -> bool:
        """Return whether the group is in the hierarchy of a controller."""
        # The first that serves it is the one that counts: where none of these does, there is nothing to look up.
        found = self.found()
        return any(tree.serves(kind.V1, kind.V2) for tree in found) and locate(kind.V1, kind.V2)[0] in found

    def directory(self, tree: Hierarchy) -> str:
        """Return where it is in a hierarchy, or would be."""
        if self._places and tree in self._places:
            return self._places[tree]
        tree.refuse_directory(self._path)
        return tree.directory(self._path if self.name.startswith("/") else base(tree) + self._path)

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories of the group that exist."""
        return tuple(self.found().values())

    def found(self) -> dict[Hierarchy, str]:
        """Return where it is, in each hierarchy that it is in."""
        if not self._places or not self._is_held:
            places = self._places or {tree: self.directory(tree) for tree in here().hierarchies}
            self._places = {tree: directory for tree, directory in places.items() if os.path.isdir(directory)}
        return self._places

    def there(self) -> dict[Hierarchy, str]:
        """Return where the group is. Raises GroupNotFoundError if it is nowhere."""
        if not self.found():
            message = f"{self._label()}: it does not exist; create() makes it"
            raise GroupNotFoundError(message, group=self._path, errno=errno.ENOENT)
        return self._places

    def whole(self) -> dict[Hierarchy, str]:
        """Return where the group is. Raises GroupNotFoundError if it is not wherever its limits need it."""
        if self._is_held and self._places:
            return self._places
        there = self.there()
        for kind in () if self._is_held else self.limits.settings():
            tree = locate(kind.V1, kind.V2)[0]
            if tree not in there:
                message = f"{self._label()}: it does not exist in {tree.path}, so that its limits are not kept: "
                message += "enter it by `with`, or create() it"
                raise GroupNotFoundError(message, group=self._path, errno=errno.ENOENT)
        return there

    def views(self) -> list[Controller]:
        """Return one view for each hierarchy that the group is in. Those of others, such as systemd's, are left out."""
        self.there()
        views: dict[Hierarchy, Controller] = {}
        for kind in filter(self.has, controllers.ALL):
            views.setdefault(locate(kind.V1, kind.V2)[0], self.view(kind))
        return list(views.values())

    def _label(self) -> str:
        path = self._path
        if not self.name.startswith("/"):
            tree = next(iter(self._places or here().hierarchies), None)
            path = path if tree is None else below(tree, self.directory(tree))
        return f"{type(self).__name__} {path!r}"

    def __repr__(self) -> str:
        shown = repr(self.limits).removeprefix("Limits(").removesuffix(")")
        state = "" if self.found() else " (does not exist)"
        return f"<{self._label()}{' ' if shown else ''}{shown}{state}>"


def below(tree: Hierarchy, directory: str) -> str:
    """Return a group's path below the mount point of its hierarchy."""
    return directory.removeprefix(tree.path) or "/"
