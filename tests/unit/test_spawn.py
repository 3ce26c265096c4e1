# SPDX-License-Identifier: MIT
"""What is said where the kernel refuses a start; the starts themselves are in tests/kernel/test_spawn_*.py."""

from __future__ import annotations

import errno
from pathlib import Path

from pycgroup import GroupBusyError
from pycgroup.hierarchy import V2
from pycgroup.spawn import Entrance


def test_a_start_refused_for_too_many_processes_names_every_limit_it_may_be(tmp_path: Path) -> None:
    entrance = Entrance({V2(str(tmp_path), "/", frozenset()): str(tmp_path)})
    refusal = entrance.refusal(errno.EAGAIN, 0)
    assert type(refusal) is GroupBusyError
    for limit in ("pids limit of this group", "of one above it", "ulimit -u"):
        assert limit in str(refusal)
