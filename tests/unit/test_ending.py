# SPDX-License-Identifier: MIT
"""What a group remembers of the processes that it started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycgroup.ending import Ending
from pycgroup.spawn import Entrance

THREADS = 4
MANY = 4096
# Above every pid, so that these have ended.
NO_PROCESS = 2**22 + 1


@pytest.fixture
def often() -> Iterator[None]:
    """Have threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def start(ending: Ending, pid: int) -> None:
    entrance = Entrance({})
    ending.begin(entrance)
    ending.started(entrance, pid)


@pytest.mark.usefixtures("often")
def test_threads_may_start_processes_at_once() -> None:
    ending = Ending()

    def start_many(first: int) -> None:
        for number in range(MANY):
            start(ending, first + number)

    firsts = [NO_PROCESS + number * MANY for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(start_many, firsts)) == [None] * THREADS


def test_who_has_ended_is_forgotten_and_who_has_not_is_kept() -> None:
    ending = Ending()
    entrance = Entrance({})
    ending.begin(entrance)
    with subprocess.Popen(["sleep", "60"]) as process:
        ending.started(entrance, process.pid)
        for number in range(3 * MANY):
            start(ending, NO_PROCESS + number)
        assert process.pid in ending._started
        assert len(ending._started) <= 2 * MANY
        assert os.getpid() not in ending._started
        process.kill()


def test_only_starts_in_other_threads_are_waited_for() -> None:
    """One that a signal handler has interrupted is in this thread, and does not go on."""
    ending, entrance = Ending(), Entrance({})
    ending.begin(entrance)
    assert not ending.is_under_way()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(ending.is_under_way).result()
        thread.submit(ending.begin, other := Entrance({})).result()
        assert ending.is_under_way()
        thread.submit(ending.started, other).result()
    assert not ending.is_under_way()
