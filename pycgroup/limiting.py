# SPDX-License-Identifier: MIT
"""@limited: a function whose every call runs inside a group of its own."""

from __future__ import annotations

from functools import wraps

from ._types import TYPE_CHECKING
from .functions import Worker
from .group import Cgroup
from .limits import Limits
from .worker import Unwrapped, refuse_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar, Unpack

    from .functions import StartMethod
    from .limits import LimitWords

    P = ParamSpec("P")
    R = TypeVar("R")


def limited(
    limits: Limits | None = None, *, start_method: StartMethod = "spawn", **words: Unpack[LimitWords]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call of a function run in a process of its own, inside a group of its own: `@limited(memory="64M")`.

    The function, what it is given and what it returns must be such as pickle takes. `start_method` is as in
    multiprocessing. A call raises what the function raises, and MemoryLimitExceeded where the kernel killed it. The
    function itself, without limits, is its attribute `__wrapped__`.
    """
    bounds = Limits.joined(limits, words)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        refuse_unfinished(function)

        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with Cgroup(limits=bounds) as group, Worker(group, start_method) as process:
                value: R = process.call(Unwrapped(inside), args, kwargs)
                return value

        return inside

    return decorate
