# SPDX-License-Identifier: MIT
"""Modules that are imported when something of them is first used, so that `import pycgroup` costs next to nothing.

An import statement in a function would do as well, but it looks the module up each time that the function is called.
"""

from __future__ import annotations


class Lazy:
    """Stands for a module of this package, and keeps what was used of it."""

    def __init__(self, module: str) -> None:
        self._module = f"pycgroup.{module}"

    def __getattr__(self, name: str) -> object:
        value = self.__dict__[name] = getattr(__import__(self._module, fromlist=[name]), name)
        return value
