# SPDX-License-Identifier: MIT
"""What annotations need, at no cost when the program runs: importing `typing` takes longer than all of pycgroup."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it, without importing it

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import Generic as Generic
    from typing import ParamSpec, TypeVar
    from typing import overload as overload

    K = TypeVar("K")
    T = TypeVar("T")
    V = TypeVar("V")
    P = ParamSpec("P")
else:
    Any = K = P = T = V = None

    def overload(function: object) -> object:
        """Leave the function as it is."""
        return function

    class Generic:
        """Take type parameters and forget them."""

        __slots__ = ()

        def __class_getitem__(cls, _parameters: object) -> type:
            return cls
