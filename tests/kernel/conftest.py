# SPDX-License-Identifier: MIT
"""What most of the kernel tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import oracle
from tests.support.hogs import Hogs, hogs


@pytest.fixture(scope="module")
def hog() -> Iterator[Hogs]:
    """Give a server whose children take memory inside a group."""
    with hogs() as started:
        yield started


@pytest.fixture
def name(unique: Callable[..., str]) -> str:
    """Return the name of a memory group that does not exist."""
    return unique("memory")


@pytest.fixture
def made(name: str) -> str:
    """Return the name of a memory group that was made with mkdir."""
    oracle.make("memory", name)
    return name
