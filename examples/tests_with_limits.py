# SPDX-License-Identifier: MIT
"""Tests with limits that the kernel keeps.

    sudo pytest examples/tests_with_limits.py

The second test asks for more than it may have: it fails with the figures, and the run goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pycgroup import Cgroup


@pytest.mark.cgroup(memory="64M", swap=0, pids=20)
def test_that_fits() -> None:
    """Use 8 MiB of 64."""
    assert len(bytearray(8 << 20)) == 8 << 20  # a test


@pytest.mark.cgroup(memory="64M", swap=0, pids=20)
def test_that_leaks() -> None:
    """Use more memory with each round, as a leak does."""
    leak = []
    while True:
        leak.append(bytearray(1 << 20))


def test_a_program(cgroup: Cgroup) -> None:
    """Run a program in a group that is removed after the test."""
    result = cgroup.run(["true"], check=True)
    assert result.oom_killed is False  # a test
