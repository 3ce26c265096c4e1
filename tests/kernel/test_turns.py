# SPDX-License-Identifier: MIT
"""Turns: who enters or leaves a group by its name waits for whoever else does, and not for ever."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator

import pytest

from pycgroup import Cgroup, turns
from pycgroup.hosts import here
from pycgroup.turns import Turn
from tests.support.capabilities import needs
from tests.support.held import open_files

pytestmark = needs("pids")


class Other:
    """Somebody else, whose turn it is until pause() is called, which also counts."""

    def __init__(self) -> None:
        self._lock = os.open(here().hierarchies[0].path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.waited = 0

    def pause(self, _seconds: float) -> None:
        self.waited += 1
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def takes_it_again(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._lock)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    other = Other()
    monkeypatch.setattr("time.sleep", other.pause)
    yield other
    monkeypatch.undo()
    other.close()


def test_one_waits_for_the_other(other: Other) -> None:
    with Turn():
        assert other.waited == 1
        assert not other.takes_it_again()
    assert other.takes_it_again()


def test_whose_turn_it_is_does_not_wait_for_himself(other: Other) -> None:
    with Turn():
        with Turn():
            assert other.waited == 1
        assert not other.takes_it_again()
    assert other.takes_it_again()


def test_whoever_keeps_it_is_passed_over(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0)
    with Turn():
        assert other.waited == 0
    assert other.takes_it_again()


def test_an_interrupted_wait_leaves_nothing(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        other.pause(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    before = open_files()
    with pytest.raises(KeyboardInterrupt), Turn():
        pytest.fail("it was not interrupted")
    assert open_files() == before
    assert other.takes_it_again()
    other.pause(0)
    with Turn():
        assert not other.takes_it_again()


def test_a_named_group_is_entered_and_left_by_turns(other: Other, unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=10):
        assert other.waited == 1
        assert other.takes_it_again()
    assert other.waited == 2


def test_a_group_of_one_s_own_waits_for_nobody(other: Other) -> None:
    with Cgroup(pids=10) as group:
        assert group.run(["true"]).returncode == 0
    assert other.waited == 0
