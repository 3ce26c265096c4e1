# SPDX-License-Identifier: MIT
"""Modules that are imported when something of them is first used, so that `import pycgroup` costs next to nothing.

An import statement in a function would do as well, but it looks the module up each time that the function is called.
"""

from __future__ import annotations

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Lazy:
    """Stands for a module of this package among the names of another, until it is used."""

    def __init__(self, names: dict[str, Any], module: str) -> None:
        self._names = names
        self._module = module

    def __getattr__(self, name: str) -> object:
        module = self._names[self._module] = __import__(f"pycgroup.{self._module}", fromlist=[name])
        return getattr(module, name)
