# SPDX-License-Identifier: MIT
"""What the texts of v2's events files mean: text in, events out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pycgroup.happenings import OomEvent
from pycgroup.oom import CountedOom
from pycgroup.watches import CounterWatch, PopulatedWatch, StallWatch

EVENTS = "low 0\nhigh {high}\nmax 0\noom {oom}\noom_kill {kill}\noom_group_kill 0\n"
PSI = "some avg10=0.00 avg60=0.00 avg300=0.00 total={0}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


def events(high: int = 0, oom: int = 0, kill: int = 0) -> str:
    return EVENTS.format(high=high, oom=oom, kill=kill)


def test_counters_tell_what_rose_since_the_last_event() -> None:
    watch = CounterWatch("/g", ())
    watch.start(events(high=2))
    event = watch.happened(1, events(high=5, oom=1))
    assert event is not None
    assert event.changes == {"high": 3, "oom": 1}
    assert event.counts["high"] == 5
    assert watch.happened(1, events(high=5, oom=1)) is None


def test_other_counters_than_those_asked_for_are_no_event() -> None:
    watch = CounterWatch("/g", ("oom_kill",))
    watch.start(events())
    assert watch.unknown() == []
    assert watch.happened(1, events(high=1)) is None
    event = watch.happened(1, events(high=2, kill=2))
    assert event is not None
    assert event.changes == {"oom_kill": 2}


def test_a_counter_that_the_kernel_lacks() -> None:
    watch = CounterWatch("/g", ("high", "higher"))
    watch.start(events())
    assert watch.unknown() == ["higher"]


def test_only_a_kill_is_an_oom_event() -> None:
    owner: Any = SimpleNamespace(_path="/g")  # whose figures nobody asks for
    watch = CountedOom(owner)
    watch.start(events(oom=1, kill=1))
    assert watch.happened(1, events(high=1, oom=1, kill=1)) is None
    assert watch.happened(1, events(high=1, oom=2, kill=1)) is None
    assert isinstance(watch.happened(1, events(high=1, oom=3, kill=2)), OomEvent)
    assert watch.happened(1, events(high=1, oom=3, kill=2)) is None


def test_populated_tells_only_of_its_own_changes() -> None:
    watch = PopulatedWatch("/g")
    watch.start("populated 0\nfrozen 0\n")
    assert watch.happened(1, "populated 0\nfrozen 1\n") is None
    event = watch.happened(1, "populated 1\nfrozen 1\n")
    assert event is not None
    assert event.populated


def test_a_stall_is_told_in_microseconds_since_the_last_event() -> None:
    watch = StallWatch("/g", "some")
    watch.start(PSI.format(1000))
    assert [watch.happened(1, PSI.format(total)).stalled for total in (1290, 1300)] == [290, 10]


def test_a_full_stall_is_counted_by_itself() -> None:
    both = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
    watch = StallWatch("/g", "full")
    watch.start(both.format(1000, 10))
    event = watch.happened(1, both.format(2000, 30))
    assert event is not None
    assert (event.group, event.kind, event.stalled) == ("/g", "full", 20)
