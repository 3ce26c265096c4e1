# SPDX-License-Identifier: MIT
"""What a property costs: one open, one read or write, one close, seen from outside by strace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.tracing import traced

pytestmark = [needs("memory", version=1), needs("strace")]

CODE = """
import os, sys
from pycgroup import Cgroup
memory = Cgroup.MEMORY(sys.argv[1])
{before}
os.access("/begin", 0)
{code}
os.access("/end", 0)
"""

LIMIT = "memory.limit_in_bytes = 8 << 20"


def calls(tmp_path: Path, name: str, code: str, before: str) -> list[str]:
    """Return the system calls that a line of code makes."""
    made = traced(tmp_path, CODE.format(code=code, before=before), name)
    found = re.search(r'^access\("/begin".*?\n(.*?)^access\("/end"', made, re.DOTALL | re.MULTILINE)
    assert found
    return re.findall(r"^(\w+)\(", found[1], re.MULTILINE)


@pytest.mark.parametrize("before", ["", LIMIT])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (LIMIT, ["openat", "write", "close"]),
        ("memory.limit_in_bytes = '8M'", ["openat", "write", "close"]),
        ("memory.usage_in_bytes", ["openat", "read", "close"]),
        ("memory.limit_in_bytes", ["openat", "read", "close"]),
        ("memory['memory.swappiness'] = 10", ["openat", "write", "close"]),
        ("Cgroup.MEMORY('another')", []),
    ],
)
def test_a_property(unique: Callable[..., str], tmp_path: Path, before: str, code: str, expected: list[str]) -> None:
    name = unique("memory")
    oracle.make("memory", name)
    # The first use of a process looks for the hierarchies; that is in `before`.
    assert calls(tmp_path, name, code, before or "memory.path") == expected
