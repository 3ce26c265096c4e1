# SPDX-License-Identifier: MIT
"""How long to wait, and waiting until a control file says what is wanted."""

from __future__ import annotations

import os
import time

from ._types import TYPE_CHECKING
from .errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = 4096
_BILLION = 1_000_000_000
# 31 years: longer than anybody waits, and short enough for every kind of number that the kernel takes.
_FOR_EVER = 1e9
#: Seconds: the kernel's poll counts milliseconds in 31 bits.
LONGEST_POLL = 1e6


def seconds(timeout: float) -> float:
    """Return a time to wait, in seconds; what is below 0 is 0. Raises InvalidValueError."""
    try:
        if timeout == timeout:  # noqa: PLR0124  # NaN is not
            return float(min(max(timeout, 0), _FOR_EVER))
    except TypeError:
        pass
    raise InvalidValueError(f"timeout={timeout!r} is not a number of seconds", value=timeout)


def nanoseconds(timeout: float | None) -> int:
    """Return a time in seconds as nanoseconds: -1 for None, which is for ever. Raises InvalidValueError."""
    left = _FOR_EVER if timeout is None else seconds(timeout)
    return -1 if left == _FOR_EVER else int(left * _BILLION)


def milliseconds(left: float) -> float:
    """Return what the kernel's poll is given for so many seconds: it may end before they are over."""
    return 1000 * min(left, LONGEST_POLL)


def until(path: str, reached: Callable[[], bool], timeout: float, recheck: float | None) -> bool:
    """Wait until something is reached, asking again whenever a control file changes; return whether it was in time.

    `timeout` and `recheck` are seconds: a file of v1 tells nobody that it has changed, so it is read again after
    `recheck`; on v2 (None) the kernel wakes the poll. Raises OSError.
    """
    import select  # not before it is needed: importing pycgroup is to cost nothing

    deadline = time.monotonic() + timeout
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while True:
            os.pread(fd, _PAGE, 0)  # from here on the kernel reports changes
            if reached():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(milliseconds(left if recheck is None else min(left, recheck)))
    finally:
        os.close(fd)
