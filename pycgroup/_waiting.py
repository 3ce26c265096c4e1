# SPDX-License-Identifier: MIT
"""Waiting until a control file says what is wanted."""

from __future__ import annotations

import os
import time

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = 4096


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
            poll.poll(1000 * (left if recheck is None else min(left, recheck)))
    finally:
        os.close(fd)
