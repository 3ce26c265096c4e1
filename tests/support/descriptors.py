# SPDX-License-Identifier: MIT
"""Descriptors that are scarce."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pycgroup import _native

if TYPE_CHECKING:
    import pytest


def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have subscriptions of v1 keep none to the watched file."""
    found_at_registration(monkeypatch, lambda found: found | _native.SCARCE)


def found_at_registration(monkeypatch: pytest.MonkeyPatch, changed: Callable[[int], int]) -> None:
    """Have registrations of v1 find something else than what is there."""
    _native.library_version()  # which loads what is changed here
    for name in ("register", "register_oom"):
        monkeypatch.setattr(_native, name, _changing(getattr(_native, name), changed))


def _changing(register: Callable[..., int], changed: Callable[[int], int]) -> Callable[..., int]:
    def instead(*given: Any) -> int:
        registered = register(*given)
        found = registered >> _native.FOUND
        return registered if registered < 0 else registered + (changed(found) - found << _native.FOUND)

    return instead


@contextmanager
def all_taken_but(left: int) -> Iterator[None]:
    """Leave so many descriptors to this process; at the end they are to be free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    taken: list[int] = []
    try:
        _take_all(taken)
        for _ in range(left):
            os.close(taken.pop())
        others = len(taken)
        yield
        _take_all(taken)
        assert len(taken) - others == left
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in taken:
            os.close(each)


def _take_all(taken: list[int]) -> None:
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return
