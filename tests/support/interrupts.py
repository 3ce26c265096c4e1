# SPDX-License-Identifier: MIT
"""Come between two steps of the library, as a signal handler may."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted(function: str, handler: Callable[[], object]) -> Iterator[None]:
    """Run a handler, which may raise, in this thread when a function of that (qualified) name is entered; once."""
    before = sys.gettrace()

    def entered(frame: FrameType, _event: str, _argument: object) -> None:
        if function in (frame.f_code.co_name, frame.f_code.co_qualname):
            sys.settrace(before)
            handler()

    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(before)


def interrupt() -> None:
    """Be a handler that raises."""
    raise InterruptedError
