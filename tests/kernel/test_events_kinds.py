# SPDX-License-Identifier: MIT
"""Every other kind of event: thresholds, pressure levels, stalls, counters, populated, and any control file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pydoc
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from subprocess import PIPE
from typing import TYPE_CHECKING, cast

import pytest

from pycgroup import (
    BusyError,
    Cgroup,
    ClosedError,
    GroupNotFoundError,
    GroupRemovedError,
    InvalidNameError,
    InvalidValueError,
    PermissionDeniedError,
    SettingError,
    UnsupportedSettingError,
)
from pycgroup.controllers import ALL, MEMORY
from pycgroup.sources import EventSource
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.descriptors import all_taken_but, few_descriptors
from tests.support.hogs import MIB, PATIENCE, Hogs, bound, held, holding, let_go, until_waiting
from tests.support.interrupts import interrupt, interrupted
from tests.support.tracing import traced
from tests.support.unified import UNIFIED, StallingCpu, StallingMemory

if TYPE_CHECKING:
    from pathlib import Path

    from pycgroup._signals import EventFd
    from pycgroup.events import Subscription
    from pycgroup.happenings import ThresholdEvent

Unique = Callable[..., str]
v1, v2 = needs("memory", version=1), needs("memory", version=2)


@pytest.fixture
def memory(unique: Unique) -> Iterator[MEMORY]:
    with Cgroup.MEMORY(unique("memory")) as group:
        yield group


@v1
@pytest.mark.parametrize("threshold", ["2M", 2 * MIB, 2 * MIB + 5])
def test_each_crossing_of_a_threshold(memory: MEMORY, threshold: int | str) -> None:
    with memory.threshold_events(threshold) as events:
        with holding(memory.path, 8 * MIB) as task:
            held(task)
            up = events.wait(PATIENCE)
            assert up is not None
            assert (up.above, up.direction, up.crossings, up.threshold) == (True, "up", 1, 2 * MIB)
            assert up.usage is not None
            assert up.usage >= 2 * MIB
            assert events.wait(0) is None
            let_go(task)
        down = events.wait(PATIENCE)
        assert down is not None
        assert (down.above, down.direction, down.crossings) == (False, "down", 1)
        assert down.usage is not None
        assert down.usage < 2 * MIB


@v1
def test_usage_is_read_before_the_next_wait_and_before_the_end(memory: MEMORY) -> None:
    with memory.threshold_events("2M") as events, holding(memory.path, 8 * MIB) as task:
        first = events.wait(PATIENCE)
        held(task)
        assert events.wait(0.01) is None  # what was not looked at is read by now
        let_go(task)
        late = events.wait(PATIENCE)
    assert first is not None
    assert late is not None
    assert first.usage is not None
    assert late.usage is not None
    assert first.usage > 2 * MIB > late.usage


@v1
def test_usage_of_a_group_that_is_gone_is_not_known(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events("2M") as events:
        assert hog.take(memory.path, 8 * MIB) == 0
        event = events.wait(PATIENCE)
        assert event is not None
        memory.delete()
        assert event.usage is None
        assert event.threshold == 2 * MIB
    memory.create()


@v1
def test_crossings_that_nobody_took_are_counted(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events("2M") as events, memory.event("memory.usage_in_bytes", "2M") as same:
        for _ in range(3):
            assert hog.take(memory.path, 8 * MIB) == 0
        # The crossing down is seen when the kernel looks the next time, at the latest with the next task.
        event, other = events.wait(PATIENCE), same.wait(PATIENCE)
        assert event is not None
        assert other is not None
        assert event.crossings == other.signals
        assert event.crossings in (5, 6)
        assert event.above is (event.crossings % 2 == 1)


@v1
@pytest.mark.parametrize("timeout", [0, PATIENCE])
def test_directions_that_are_looked_at_later(memory: MEMORY, timeout: float) -> None:
    with memory.threshold_events("2M") as events:
        with holding(memory.path, 8 * MIB) as task:
            held(task)
            up = events.wait(timeout)
            let_go(task)
        down = events.wait(timeout)
        assert up is not None
        assert down is not None
        assert (up.above, down.above) == (True, False)
        assert up.time < down.time


@v1
@pytest.mark.parametrize("timeout", [0, PATIENCE])
def test_events_that_somebody_has_stay_as_they_are(memory: MEMORY, timeout: float) -> None:
    kept: list[ThresholdEvent | None] = []
    said: list[str] = []
    with memory.threshold_events("2M") as events:
        for number in range(6):
            with holding(memory.path, 8 * MIB) as task:
                held(task)
                both = [events.wait(timeout)]
                let_go(task)
            both.append(events.wait(timeout))
            if number % 3:
                kept += both
                said += map(repr, both)
        assert events.wait(0) is None
    assert [repr(event) for event in kept] == said
    assert sorted(set(said)) == sorted(said)


@v1
def test_the_descriptor_can_be_had_while_somebody_waits(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events("2M") as events, ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(events.wait, PATIENCE)
        until_waiting(events)
        descriptor = events.fileno()
        assert hog.take(memory.path, 8 * MIB) == 0
        assert waiter.result(PATIENCE) is not None
        assert events.fileno() == descriptor


def take(events: Subscription[ThresholdEvent]) -> int:
    """Take what has come, as wait() does right before it delivers that."""
    assert events._watch.ahead is not None
    signals: int = events._watch.ahead.take(events._watch.ahead.turn)
    return signals


@v1
def test_crossings_taken_for_who_was_interrupted_are_left_to_the_next(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events("2M") as events:
        assert events.wait(0) is None
        assert hog.take(memory.path, 8 * MIB) == 0
        taken = take(events)  # and then Ctrl-C
        event, another = events.wait(PATIENCE), events.wait(0)
        assert event is not None
        assert event.crossings == taken
        assert another is None


@v1
@pytest.mark.parametrize("function", ["enter", "deliver"])
def test_nor_does_a_second_interrupt_lose_them(memory: MEMORY, hog: Hogs, function: str) -> None:
    with memory.threshold_events("2M") as events:
        assert events.wait(0) is None
        assert hog.take(memory.path, 8 * MIB) == 0
        taken = take(events)
        with pytest.raises(InterruptedError), interrupted(function, interrupt):
            events.wait(PATIENCE)
        event = events.wait(PATIENCE)
        assert event is not None
        assert event.crossings == taken


@v1
def test_a_signal_handler_takes_the_next_while_one_is_looked_at(memory: MEMORY) -> None:
    taken: list[ThresholdEvent | None] = []
    seen: list[tuple[int, bool, int | None]] = []
    with memory.threshold_events("2M") as events:
        with holding(memory.path, 8 * MIB) as task:
            held(task)
            first = events.wait(PATIENCE)
            assert first is not None

            def handler() -> None:
                seen.append((first.crossings, first.above, first.usage))
                let_go(task)
                taken.append(events.wait(PATIENCE))

            with interrupted("_usage", handler):
                after = first.crossings, first.above, first.usage
        (second,) = taken
        assert second is not None
        memory.delete()
        assert seen == [after]
        assert first.above is True
        assert second.above is False
    memory.create()


@v1
def test_a_signal_handler_takes_the_first_where_one_begins(memory: MEMORY, hog: Hogs) -> None:
    taken: list[ThresholdEvent | None] = []
    with memory.threshold_events("2M") as events:
        assert hog.take(memory.path, 8 * MIB) == 0
        with interrupted("Ahead.__init__", lambda: taken.append(events.wait(PATIENCE))):
            events.fileno()
        assert taken != [None]
        assert events.wait(0) is None


@v1
def test_one_asks_again_and_again_and_each_event_is_another(memory: MEMORY) -> None:
    with memory.threshold_events("2M") as events, select.epoll() as epoll:
        epoll.register(events)
        for _ in range(3):
            with holding(memory.path, 8 * MIB) as task:
                for step, expected in ((held, True), (let_go, False)):
                    step(task)
                    seen = None
                    while seen is not expected and epoll.poll(PATIENCE):
                        event = events.wait(0)
                        seen = event and event.above
                        del event  # it was looked at, and is used again
                    assert seen is expected


@v1
def test_who_does_not_wait_is_refused_as_who_does(memory: MEMORY) -> None:
    def ask() -> str:
        try:
            return str(events.wait(0))
        except (BusyError, ClosedError, GroupRemovedError) as error:
            return type(error).__name__

    with memory.threshold_events("2M") as events:
        assert ask() == "None"
        assert processes.forked(ask) == "ClosedError"
        with ThreadPoolExecutor(1) as pool:
            waiter = pool.submit(lambda: list(events))
            until_waiting(events)
            assert ask() == "BusyError"
            memory.delete()
            assert waiter.result(PATIENCE) == []
        assert [ask(), ask()] == ["GroupRemovedError"] * 2
        events.close()
        assert ask() == "ClosedError"
    memory.create()


@v1
@pytest.mark.parametrize("function", ["begin", "prepare", "poll", "deliver"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_interrupt_loses_no_crossing(
    memory: MEMORY, hog: Hogs, function: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kept:
        few_descriptors(monkeypatch)
    with memory.threshold_events("2M") as events, memory.event("memory.usage_in_bytes", "2M") as same:
        assert (cast("EventFd", events._signal).file >= 0) is is_kept
        total = signals = 0
        for number in range(4):
            assert hog.take(memory.path, 8 * MIB) == 0
            if number == 0 or function != "begin":
                with pytest.raises(InterruptedError), interrupted(function, interrupt):
                    events.wait(PATIENCE if function == "deliver" else 0)
            event, other = events.wait(PATIENCE), same.wait(PATIENCE)
            assert event is not None
            assert other is not None
            total, signals = total + event.crossings, signals + other.signals
            assert event.above is (signals % 2 == 1)
            assert total == signals


@v1
@pytest.mark.parametrize(
    ("function", "has_begun"), [("enter", False), ("poll", False), ("prepare", True), ("poll", True)]
)
def test_a_close_in_the_middle_is_no_crossing(memory: MEMORY, function: str, has_begun: bool) -> None:
    events = memory.threshold_events("2M")
    if has_begun:
        events.fileno()
    with pytest.raises(ClosedError), interrupted(function, events.close):
        events.wait(0)


@v1
@pytest.mark.parametrize("timeout", [0, PATIENCE])
def test_a_close_in_the_middle_is_no_signal(memory: MEMORY, timeout: float) -> None:
    events = memory.event("memory.usage_in_bytes", "2M")
    with pytest.raises(ClosedError), interrupted("waiter", events.close):
        events.wait(timeout)


@v1
@needs("memory.memsw.usage_in_bytes")
def test_memory_and_swap_together(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events("2M", memsw=True) as events:
        watched = {os.path.realpath(f"/proc/self/fd/{descriptor}") for descriptor in os.listdir("/proc/self/fd")}
        assert f"{memory.path}/memory.memsw.usage_in_bytes" in watched
        assert hog.take(memory.path, 8 * MIB) == 0
        assert events.wait(PATIENCE) is not None


@v1
@needs("memory.memsw.usage_in_bytes")
@needs("swap")
def test_what_is_swapped_out_counts_only_with_swap(memory: MEMORY, hog: Hogs) -> None:
    memory.modify(limit_in_bytes="4M")
    with memory.threshold_events("6M", memsw=True) as both, memory.threshold_events("6M") as alone:
        assert hog.take(memory.path, 12 * MIB) == 0
        assert both.wait(PATIENCE) is not None
        assert alone.wait(0) is None


DRIFTING = """
import mmap, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write("0")
memory, pages = mmap.mmap(-1, 32 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), 0
memory.madvise(mmap.MADV_NOHUGEPAGE)
for line in sys.stdin:
    more = int(line)
    for page in range(pages, pages + more):
        memory[page * 4096] = 1
    if more < 0:
        memory.madvise(mmap.MADV_DONTNEED, (pages + more) * 4096, -more * 4096)
    pages += more
    print(pages, flush=True)
"""


@v1
def test_a_crossing_keeps_its_direction_where_usage_drifts_back_unseen(memory: MEMORY) -> None:
    """The kernel looks at thresholds once in 128 pages."""
    command = [sys.executable, "-S", "-c", DRIFTING, memory.path]
    with (
        memory.threshold_events("2M") as events,
        subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as task,
    ):
        orders, answers = task.stdin, task.stdout
        assert orders is not None
        assert answers is not None

        def take(pages: int) -> None:
            print(pages, file=orders, flush=True)
            answers.readline()

        def crossing(pages: int) -> ThresholdEvent:
            while (event := events.wait(0)) is None:
                take(pages)
            return event

        for _ in range(3):
            up = crossing(4)
            take(-100)
            assert up.direction == "up"
            down = crossing(-20)
            take(100)
            assert down.direction == "down"
        orders.close()


@v1
@pytest.mark.parametrize("threshold", ["lots", -5, 0, 100, "max", "5MB", None, 1.5, True])
def test_thresholds_that_are_refused(memory: MEMORY, threshold: object) -> None:
    with pytest.raises(InvalidValueError, match="threshold_events"):
        memory.threshold_events(threshold)  # type: ignore[arg-type]


@v1
def test_wrong_arguments_are_said_of_what_was_called(memory: MEMORY) -> None:
    with pytest.raises(TypeError, match=r"^threshold_events\(\) missing .* 'threshold'"):
        memory.threshold_events()  # type: ignore[call-arg]


@v1
@needs("root")  # the kernel gives nobody else the right to open the file, not even its owner
@pytest.mark.parametrize("mode", ["default", "hierarchy", "local"])
def test_pressure(memory: MEMORY, hog: Hogs, mode: str) -> None:
    bound(memory, "4M")
    with memory.pressure_events("low", mode=mode) as events:  # type: ignore[arg-type]
        assert events.wait(0) is None
        hog.order(memory.path)
        event = events.wait(PATIENCE)
        hog.outcome()
        assert event is not None
        assert (event.level, event.mode) == ("low", mode)
        assert event.signals >= 1


@contextlib.contextmanager
def told_by_the_kernel(memory: MEMORY, argument: str) -> Iterator[int]:
    """Give an eventfd that the kernel signals pressure to, without pycgroup."""
    eventfd = os.eventfd(0, os.EFD_NONBLOCK)
    with (
        open(f"{memory.path}/memory.pressure_level") as watched,
        open(f"{memory.path}/cgroup.event_control", "w") as to,
    ):
        to.write(f"{eventfd} {watched.fileno()} {argument}")
    yield eventfd
    os.close(eventfd)


@v1
@needs("root")  # as above
@pytest.mark.parametrize(
    ("mode", "is_watched_below", "comes"),
    [("default", False, True), ("default", True, False), ("hierarchy", True, True), ("local", False, False)],
)
def test_whose_pressure_comes(memory: MEMORY, hog: Hogs, mode: str, is_watched_below: bool, comes: bool) -> None:
    below = Cgroup.MEMORY(f"{memory.group_name}/below").create()
    bound(below, "4M")
    with contextlib.ExitStack() as stack:
        if is_watched_below:
            stack.enter_context(below.pressure_events("low"))
        heard = stack.enter_context(told_by_the_kernel(memory, "low,hierarchy"))
        # Who came later is signalled first.
        events = stack.enter_context(memory.pressure_events("low", mode=mode))  # type: ignore[arg-type]
        hog.be_killed(below.path)
        assert select.select([heard], [], [], PATIENCE)[0]
        assert (events.wait(0) is not None) is comes
    below.delete()


@v1
@needs("root")  # as above
@needs("strace")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'low'", "low"),
        ("'medium'", "medium"),
        ("'critical'", "critical"),
        ("'medium', mode='hierarchy'", "medium,hierarchy"),
        ("'critical', mode='local'", "critical,local"),
    ],
)
def test_what_the_kernel_is_told_of_pressure(memory: MEMORY, tmp_path: Path, arguments: str, told: str) -> None:
    program = f"from pycgroup import Cgroup; Cgroup.MEMORY({memory.group_name!r}).pressure_events({arguments}).close()"
    calls = traced(tmp_path, program, options=("-e", "trace=write"))
    assert re.findall(r'^write\(\d+, "\d+ \d+ (.*)", \d+\) += \d+$', calls, re.MULTILINE) == [told]


@v1
@pytest.mark.parametrize(("level", "mode"), [("high", "default"), ("low", "all"), ("", "default")])
def test_pressure_levels_that_are_refused(memory: MEMORY, level: str, mode: str) -> None:
    with pytest.raises(InvalidValueError, match="pressure_events"):
        memory.pressure_events(level, mode=mode)  # type: ignore[arg-type]


@v1
def test_any_control_file(memory: MEMORY, hog: Hogs) -> None:
    bound(memory, "4M")
    with memory.event("memory.oom_control") as events:
        hog.be_killed(memory.path)
        event = events.wait(PATIENCE)
        assert event is not None
        assert (event.file, event.argument, event.signals) == ("memory.oom_control", "", 1)
        assert event.text is not None
        assert "oom_kill_disable 0" in event.text
        hog.be_killed(memory.path)
        memory.delete()
        assert [each.text for each in events] in ([None], [])  # none where the removal was not signalled yet
        with pytest.raises(GroupRemovedError):
            events.wait(0)
    memory.create()


@v1
@pytest.mark.parametrize(
    ("file", "argument", "error"),
    [
        ("memory.usage_in_bytes", "much", InvalidValueError),
        ("memory.stat", "", InvalidValueError),
        ("tasks", "", InvalidValueError),
        ("memory.nothing", "", UnsupportedSettingError),
        ("../tasks", "", InvalidNameError),
        ("memory.usage_in_bytes", "1\n2", InvalidValueError),
        ("memory.usage_in_bytes", "1" * 5000, InvalidValueError),
    ],
)
def test_registrations_that_are_refused(memory: MEMORY, file: str, argument: str, error: type[Exception]) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(error):
        memory.event(file, argument)
    assert os.listdir("/proc/self/fd") == before


@v1
@pytest.mark.parametrize("argument", [None, True, 1.5, b"1M"])
def test_arguments_that_are_neither_text_nor_a_number(memory: MEMORY, argument: object) -> None:
    with pytest.raises(InvalidValueError, match=f"event: {argument!r} is neither"):
        memory.event("memory.usage_in_bytes", argument)  # type: ignore[arg-type]


@needs("pids", version=1)
def test_v1_controllers_without_events_say_so(unique: Unique) -> None:
    with Cgroup.PIDS(unique("pids")) as pids:
        for file in ("pids.max", "cgroup.procs"):
            with pytest.raises(
                UnsupportedSettingError, match=r"no cgroup\.event_control; only MEMORY's .* the nearest: "
            ):
                pids.event(file)
        with pytest.raises(UnsupportedSettingError, match=r"no such file$"):
            pids.event("pids.nothing")


@v1
def test_what_v1_cannot_do_names_the_nearest(memory: MEMORY) -> None:
    for name, nearest in {"counter_events": "threshold_events", "populated_events": "notify_on_release"}.items():
        with pytest.raises(UnsupportedSettingError, match=nearest):
            getattr(memory, name)
        assert not hasattr(memory, name)
        assert name not in dir(memory)
    assert {"oom_events", "threshold_events", "event"} <= set(dir(memory))


@v2
def test_what_v2_cannot_do_names_the_nearest(memory: MEMORY) -> None:
    nearest = {"threshold_events": "high", "pressure_events": "stall_events", "event": "counter_events"}
    for name, other in nearest.items():
        with pytest.raises(UnsupportedSettingError, match=other):
            getattr(memory, name)
        assert not hasattr(memory, name)
        assert name not in dir(memory)
    assert {"oom_events", "counter_events"} <= set(dir(memory))


@v2
def test_counters_of_v2(memory: MEMORY, hog: Hogs) -> None:
    memory.modify(limit_in_bytes="4M")
    if hasattr(memory, "swap_max"):
        memory.swap_max = 0
    with memory.counter_events("oom_kill") as kills, memory.counter_events() as every:
        for _ in range(3):
            hog.be_killed(memory.path)
        total: dict[str, int] = {}
        while total.get("oom_kill", 0) < 3:
            event = kills.wait(PATIENCE)
            assert event is not None
            assert set(event.changes) == {"oom_kill"}
            total["oom_kill"] = total.get("oom_kill", 0) + event.changes["oom_kill"]
        assert total == {"oom_kill": 3}
        changed = every.wait(PATIENCE)
        assert changed is not None
        assert {"max", "oom", "oom_kill"} <= set(changed.changes)
        assert changed.counts["oom_kill"] == memory.events.oom_kill == 3


@v2
def test_memory_high_is_an_event(memory: MEMORY, hog: Hogs) -> None:
    memory.high = "2M"
    with memory.counter_events("high") as events:
        hog.order(memory.path, 4 * MIB)
        event = events.wait(PATIENCE)
        assert event is not None
        assert event.changes["high"] >= 1
        memory.high = "max"
        hog.outcome()


@v2
def test_a_counter_that_is_not_there(memory: MEMORY) -> None:
    with pytest.raises(InvalidValueError, match="high_tide"):
        memory.counter_events("high_tide")
    with pytest.raises(InvalidValueError, match=r"\['high'\] is not the name"):
        memory.counter_events(["high"])  # type: ignore[arg-type]


@needs("cgroup-v2")
def test_populated(unique: Unique) -> None:
    with UNIFIED(unique("freezer").rpartition("/")[2]) as group, group.populated_events() as events:
        assert events.wait(0) is None
        with processes.idle(group.path):
            event = events.wait(PATIENCE)
            assert event is not None
            assert event.populated
            group.cgroup_freeze = True  # changes the same file, and is no event of this kind
            group.cgroup_freeze = False
        event = events.wait(PATIENCE)
        assert event is not None
        assert not event.populated
        group.delete()
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)
        group.create()


@needs("cgroup-v2")
def test_removal_wakes_who_waits_on_v2(unique: Unique) -> None:
    group = UNIFIED(unique("freezer").rpartition("/")[2]).create()
    with group.populated_events() as events, ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(lambda: list(events))
        while True:
            try:
                events.wait(0)
            except BusyError:
                break
        group.delete()
        assert waiter.result(PATIENCE) == []


# On one processor, else those in the group may share one for good, and those outside the other.
BUSY = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print("busy", flush=True)
while True:
    pass
"""
STALL = "10ms"
# Alone on another first, for which the file counts what is waited for later for less than the trigger does.
ELSEWHERE = """
import os, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
print("elsewhere", flush=True)
while time.process_time() < 1.9:
    pass
os.sched_setaffinity(0, {min(os.sched_getaffinity(os.getppid()))})
while True:
    pass
"""


@needs("cgroup-v2")
@needs("psi")
@pytest.mark.parametrize("kind", ["some", "full"])
@pytest.mark.parametrize("wait", ["wait", "select", "select and wait"])
def test_stalls(unique: Unique, kind: str, wait: str) -> None:
    with (
        StallingCpu(unique("freezer").rpartition("/")[2]) as group,
        contextlib.ExitStack() as stack,
        group.stall_events(**{kind: STALL}, window="2s") as events,
    ):
        before = time.time()
        # Also outside: all in the group wait only while others have the processors.
        for directories in ([group.path], []):
            stack.enter_context(processes.python(BUSY, *directories))
        if wait == "select":
            assert events.wait(0) is None or select.select([events], [], [], 0)
            event = None
            while event is None:
                assert select.select([events], [], [], PATIENCE)[0]
                event = events.wait(0)
        elif wait == "select and wait":
            assert select.select([events], [], [], PATIENCE)[0]
            event = events.wait(0.001)  # it has come already: another one is not waited for
        else:
            event = events.wait(PATIENCE)
        assert event is not None
        assert before <= event.time <= time.time()
        assert event.kind == kind
        assert event.stalled > 0
        assert event.pressure[kind]["total"] >= event.stalled


def struck(group: UNIFIED) -> None:
    """Have tasks wait until a trigger of the test's own has struck, and no longer."""
    file = os.open(f"{group.path}/cpu.pressure", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(file, b"some 10000 2000000\0")
        with processes.python(ELSEWHERE, group.path), processes.python(BUSY):
            poll = select.poll()
            poll.register(file, select.POLLPRI)
            assert poll.poll(PATIENCE * 1000)
    finally:
        os.close(file)


@needs("cgroup-v2")
@needs("psi")
@pytest.mark.parametrize("style", ["wait", "selector", "asyncio"])
def test_a_stall_that_is_over_is_told(unique: Unique, style: str) -> None:
    """The kernel forgets a strike when it is polled, and a selector polls as a descriptor is registered."""
    with (
        StallingCpu(unique("freezer").rpartition("/")[2]) as group,
        group.stall_events(some=STALL, window="2s") as events,
        select.epoll() as selector,
    ):
        descriptor = events.fileno()
        struck(group)
        if style == "asyncio":

            async def following() -> object:
                return await asyncio.wait_for(anext(aiter(events)), PATIENCE)

            assert asyncio.run(following()) is not None
        else:
            if style == "selector":
                selector.register(descriptor, select.EPOLLIN)
            assert events.wait(0) is not None
        assert events.wait(0) is None


@needs("psi")
@needs("cgroup-v2")
@pytest.mark.parametrize("window", ["2s", 2, 2.0, "2000ms", "2000000us"])
def test_stall_times_as_text_and_numbers(unique: Unique, window: str | float) -> None:
    with StallingMemory(unique("freezer").rpartition("/")[2]) as group:
        with group.stall_events(full=0.1, window=window) as events:
            assert events.wait(0) is None
            group.delete()
            with pytest.raises(GroupRemovedError):
                events.wait(PATIENCE)
        group.create()


@needs("psi")
@needs("cgroup-v2")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"some": 1, "full": 1},
        {"some": "long"},
        {"some": -1},
        {"some": True},
        {"some": "nan"},
        {"some": "1s", "window": "100s"},
        {"some": "3s", "window": "2s"},
        {"some": 1e-9},
        {"full": 0},
    ],
)
def test_stalls_that_are_refused(unique: Unique, options: dict[str, str | float]) -> None:
    with StallingMemory(unique("freezer").rpartition("/")[2]) as group, pytest.raises(InvalidValueError):
        group.stall_events(**options)


@v1
def test_stalls_on_v1_name_the_nearest(memory: MEMORY) -> None:
    with pytest.raises(UnsupportedSettingError, match="pressure_events"):
        memory.stall_events(some="150ms")


@v1
@needs("cgroup-v2")
def test_stalls_in_hybrid_say_what_makes_the_v2_group(memory: MEMORY) -> None:
    with pytest.raises(UnsupportedSettingError, match=r"mkdir /.*") as refusal:
        memory.stall_events(some="150ms")
    directory = str(refusal.value).partition("mkdir ")[2].split()[0]
    assert os.path.basename(directory) == os.path.basename(memory.path)
    assert os.path.exists(f"{os.path.dirname(directory)}/cgroup.subtree_control")


@v1
@needs("cgroup-v2")
@needs("psi")
def test_stalls_in_hybrid_are_those_of_the_v2_group(memory: MEMORY) -> None:
    with UNIFIED(memory.group_name), memory.stall_events(some="150ms") as events:
        assert events.wait(0) is None


@v1
@needs("root")
def test_a_user_with_a_delegated_group_subscribes(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory"), limit_in_bytes="4M") as memory:
        memory.chown(processes.NOBODY, processes.NOBODY)

        def user() -> bool:
            with memory.oom_events() as events:
                return events.wait(0) is None

        assert processes.forked(user, uid=processes.NOBODY)


@v1
@needs("root")
def test_a_user_without_the_right_is_told(memory: MEMORY) -> None:
    os.chmod(f"{memory.path}/cgroup.event_control", 0o200)  # Linux 6.1 lets everybody listen
    with pytest.raises(PermissionDeniedError, match="delegated"):
        processes.forked(memory.oom_events, uid=processes.NOBODY)


@needs("memory")
def test_too_many_open_files_are_named(memory: MEMORY) -> None:
    memory.oom_events().close()
    with all_taken_but(1), pytest.raises(SettingError, match="ulimit -n"):
        memory.oom_events()


@needs("cgroup-v2")
@needs("psi")
@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_stall_that_lacks_descriptors_keeps_none(unique: Unique, left: int) -> None:
    with StallingCpu(unique("freezer").rpartition("/")[2]) as group:
        group.stall_events(some=STALL, window="2s").close()
        with all_taken_but(left), pytest.raises(SettingError, match="ulimit -n"):
            group.stall_events(some=STALL, window="2s")


@needs("memory")
@pytest.mark.parametrize("name", ["oom_events", "stall_events"])
def test_a_group_that_does_not_exist(unique: Unique, name: str) -> None:
    memory = Cgroup.MEMORY(unique("memory"))
    options = {"some": "150ms"} if name == "stall_events" else {}
    with pytest.raises((GroupNotFoundError, UnsupportedSettingError)):
        getattr(memory, name)(**options)


def test_every_class_declares_what_it_can_be_watched_for() -> None:
    declared = {(cls.__name__, source.name) for cls in ALL for source in cls.event_sources()}
    assert {("MEMORY", "oom_events"), ("CPU", "stall_events"), ("BLKIO", "stall_events")} <= declared
    assert {(cls.__name__, "populated_events") for cls in ALL} <= declared
    for cls in ALL:
        for source in cls.event_sources():
            assert isinstance(source, EventSource)
            assert source.doc
            assert source.nearest or all(source.columns)
            assert source.name in repr(source)


@needs("memory")
def test_methods_of_events_have_help(memory: MEMORY) -> None:
    for name in ("oom_events", "event" if memory.version == 1 else "populated_events", "stall_events"):
        assert f"{name}(" in pydoc.plain(pydoc.render_doc(getattr(memory, name)))
    assert "running out of memory" in (memory.oom_events.__doc__ or "")
    assert str(signature(memory.oom_events)).startswith("()")
    assert oracle.exists("memory", memory.group_name)
