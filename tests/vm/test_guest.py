# SPDX-License-Identifier: MIT
"""What `--require` names is here, whether or not a test of this run needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import capabilities

if TYPE_CHECKING:
    import pytest


def test_every_required_capability_is_here(request: pytest.FixtureRequest) -> None:
    names = {name for option in request.config.getoption("--require") for name in option.split(",")}
    missing = {name: reason for name in sorted(names) if (reason := capabilities.missing(name))}
    assert not missing
