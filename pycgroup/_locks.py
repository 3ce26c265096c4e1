# SPDX-License-Identifier: MIT
"""Locks that a forked child finds free, whichever thread of its parent held them: that thread is not in the child."""

from __future__ import annotations

import os
from _thread import RLock, get_ident  # what `threading` re-exports; importing that would cost more than all of pycgroup

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_all: list[Any] = []


def lock() -> RLock:
    """Return a re-entrant lock for the length of the process: a signal handler may want what its own thread holds."""
    made: Any = RLock()
    os.register_at_fork(after_in_child=made._at_fork_reinit)  # noqa: SLF001  # as concurrent.futures does
    _all.append(made)
    return made  # type: ignore[no-any-return]


def me() -> tuple[int, int]:
    """Return which process and which of its threads this is: a forked child goes on with the numbers of threads."""
    return os.getpid(), get_ident()


def is_held() -> bool:
    """Return whether this thread holds any: then it is in a signal handler, and must not wait for another thread."""
    return any(each._is_owned() for each in _all)  # noqa: SLF001  # as threading.Condition asks


#: Guards what is being found out about events: their figures, victims, and the descriptors that tell of them. It is
#: held while files are read, so that nobody reads what another thread is closing.
looking = lock()
