# SPDX-License-Identifier: MIT
"""How a group carries the process that it belongs to."""

from __future__ import annotations

import os

import pytest

from pycgroup import owners


def test_this_process_is_told_from_a_dead_one() -> None:
    namespaces, pid, start = owners._parts(owners.entrance()) or ("", 0, "")
    assert pid == os.getpid()
    assert not owners.is_dead(owners.entrance())
    assert owners.is_dead(f"{namespaces}-{pid}-{int(start) - 1}-0")  # its number was another's before
    assert not owners.is_dead(f"n1t1-{pid}-{int(start) - 1}-0")  # in other namespaces nobody can tell


NO_OWNERS = [
    "",
    "x",
    "n1t2-3-4",
    "n1t2-3-4-5-6",
    "n1t2-3-4-5-stays",
    "t1n2-3-4-5",
    "n1n2-3-4-5",
    "n1t-3-4-5",
    "nt2-3-4-5",
    "n-1t2-3-4-5",
    "n1t2-x-4-5",
    "-",
]


@pytest.mark.parametrize("text", NO_OWNERS)
def test_other_text_is_nobody(text: str) -> None:
    assert owners._parts(text) is None
    assert not owners.is_dead(text)
