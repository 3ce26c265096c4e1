# SPDX-License-Identifier: MIT
"""View, a control group as one controller sees it: where it is, its control files, and how it shows itself."""

from __future__ import annotations

import os

from . import names
from ._types import TYPE_CHECKING
from .codecs import RAW, shown
from .errors import CgroupError, ReadOnlySettingError, UnsupportedSettingError
from .hierarchy import Place
from .hosts import base, locate
from .settings import Declaration, Setting
from .sources import EventSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, ClassVar, Self


#: Settings for files by their kernel names, as `group["memory.stat"]` has used them.
_raw_settings: dict[str, Setting[str, str | int]] = {}


class View:
    """A control group as one controller sees it: its control files are the attributes."""

    __slots__ = ("__weakref__", "_located", "_name", "_path", "_staged")

    #: The controller's name on each version; None where that version has none.
    V1: ClassVar[str | None] = None
    V2: ClassVar[str | None] = None
    _SHOWN: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, v1: str | None = None, v2: str | None = None, shows: str = "") -> None:
        super().__init_subclass__()
        if v1 or v2:
            cls.V1, cls.V2, cls._SHOWN = v1, v2, tuple(shows.split())

    def __init__(self, name: str) -> None:
        self._path = names.group_name(name)
        self._name = name
        self._located: Place | None = None
        self._staged: dict[Setting[Any, Any], Any] = {}

    @classmethod
    def at(cls, place: Place) -> Self:
        """Return the group that is at a place."""
        view = cls(place.name)
        view._located = place
        return view

    @property
    def group_name(self) -> str:
        """The name that it was given."""
        return self._name

    @property
    def version(self) -> int:
        """The version of cgroup that serves this controller here: 1 or 2. Raises UnavailableError."""
        return self._place.hierarchy.version

    @property
    def path(self) -> str:
        """The directory of the group, whether it exists or not. Raises UnavailableError."""
        return self._place.directory

    @property
    def _place(self) -> Place:
        """Where the group is, or would be. Raises UnavailableError."""
        return self._located or self._locate()

    def _locate(self) -> Place:
        relative = not self._name.startswith("/")
        tree, controller = locate(self.V1, self.V2)
        tree.refuse_directory(self._path)
        self._located = Place(tree, controller, base(tree) + self._path if relative else self._path)
        self._path = self._located.name
        return self._located

    def _label(self) -> str:
        return f"{type(self).__name__} {self._path!r}"

    def __getitem__(self, file: str) -> str:
        """Return the text of any control file by its kernel name, without its last newline.

        Raises InvalidNameError, GroupNotFoundError, UnsupportedSettingError, PermissionDeniedError.
        """
        return _raw(file).__get__(self, type(self))

    def __setitem__(self, file: str, value: str | int) -> None:
        """Write text to any control file by its kernel name, line by line; staged where the group does not exist yet.

        Raises InvalidNameError, InvalidValueError, UnsupportedSettingError, PermissionDeniedError.
        """
        _raw(file).__set__(self, value)

    @classmethod
    def settings(cls) -> tuple[Declaration[Any, Any], ...]:
        """Return the declarations of the control files: name, aliases, v1, v2, takes, doc, writable of each."""
        return tuple(dict.fromkeys(declared for name, declared in _declarations(cls)))

    @classmethod
    def event_sources(cls) -> tuple[EventSource[Any, Any], ...]:
        """Return the declarations of what the group can be watched for: name, v1, v2, doc, nearest of each."""
        found = {name: value for owner in reversed(cls.__mro__) for name, value in vars(owner).items()}
        return tuple(value for value in found.values() if isinstance(value, EventSource))

    @classmethod
    def _setting(cls, name: str) -> Setting[Any, Any]:
        """Return the declaration that an assignment by name is for. Raises UnsupportedSettingError."""
        found = getattr(cls, name, None)
        if isinstance(found, Setting):
            return found
        if isinstance(found, Declaration):
            raise ReadOnlySettingError(f"{cls.__name__}.{name} takes no value: {found.files}", setting=name)
        near = names.nearest(name, [known for known, _ in _declarations(cls)])
        raise UnsupportedSettingError(f"{cls.__name__} has no setting {name!r}{near}", setting=name)

    def __repr__(self) -> str:
        try:
            place = self._place
        except CgroupError as error:
            return f"<Cgroup.{self._label()} unavailable: {error}>"
        live = self._shown() if os.path.isdir(place.directory) else "(does not exist)"
        staged = " ".join(f"{setting.name}={shown(value)}" for setting, value in self._staged.items())
        parts = [f"v{place.hierarchy.version}", live, f"staged: {staged}" if staged else ""]
        return f"<Cgroup.{self._label()} {' '.join(part for part in parts if part)}>"

    def _shown(self) -> str:
        return " ".join(f"{name}={shown(getattr(self, name))}" for name in self._SHOWN if self._has(name))

    def _has(self, name: str) -> bool:
        """Return whether this host has the control file of that name, as far as can be seen now."""
        place = self._place
        declared = getattr(type(self), name)
        file = declared.columns[place.column]
        if file is None:
            return False
        if not os.path.isdir(place.directory):
            return True
        file = declared.file(self, place)
        return all(os.path.exists(place.prefix + name) for name in (file.name, file.beside or file.name))

    def __dir__(self) -> list[str]:
        try:
            absent = {name for name, _ in _declarations(type(self)) if not self._has(name)}
            absent |= {each.name for each in self.event_sources() if each.columns[self._place.column] is None}
        except CgroupError:
            absent = set()
        return sorted(set(super().__dir__()) - absent)


def _declarations(cls: type) -> Iterator[tuple[str, Declaration[Any, Any]]]:
    for owner in cls.__mro__:
        for name, value in vars(owner).items():
            if isinstance(value, Declaration):
                yield name, value


def _raw(file: str) -> Setting[str, str | int]:
    name = names.file_name(file)
    if name not in _raw_settings:
        _raw_settings[name] = Setting(RAW, v1=name, v2=name)
        _raw_settings[name].name = name
    return _raw_settings[name]
