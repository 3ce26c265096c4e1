# SPDX-License-Identifier: MIT
"""What most of the kernel tests start from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import oracle


@pytest.fixture
def name(unique: Callable[..., str]) -> str:
    """Return the name of a memory group that does not exist."""
    return unique("memory")


@pytest.fixture
def made(name: str) -> str:
    """Return the name of a memory group that was made with mkdir."""
    oracle.make("memory", name)
    return name
