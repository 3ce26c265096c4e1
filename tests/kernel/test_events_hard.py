# SPDX-License-Identifier: MIT
"""Events at the worst moments: as a group goes away, without the kernel log, cancelled, forked, out of resources."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import pickle
import queue
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pycgroup import (
    BusyError,
    Cgroup,
    ClosedError,
    GroupNotFoundError,
    GroupRemovedError,
    InvalidValueError,
    UnavailableError,
    _locks,
    _native,
    _removals,
    oom,
    victims,
)
from pycgroup import events as events_module
from pycgroup import observer as observer_module
from pycgroup._signals import Signal
from pycgroup.observer import Observer
from pycgroup.oom import SignalledOom
from pycgroup.watches import ThresholdWatch
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.descriptors import few_descriptors, found_at_registration
from tests.support.hogs import (
    MIB,
    PATIENCE,
    Hogs,
    bound,
    held,
    holding,
    let_go,
    next_kill,
    no_kill_is_left,
    until,
    until_waiting,
)
from tests.support.interrupts import interrupt, interrupted
from tests.support.kmsg import logged_meanwhile, written_log
from tests.support.unified import UNIFIED

if TYPE_CHECKING:
    from pycgroup._signals import EventFd
    from pycgroup.controllers import MEMORY
    from pycgroup.events import Subscription
    from pycgroup.happenings import OomEvent, ThresholdEvent

pytestmark = needs("memory")
Unique = Callable[..., str]
v1, v2 = needs("memory", version=1), needs("memory", version=2)


@pytest.fixture
def memory(unique: Unique) -> Iterator[MEMORY]:
    """Give a group of 4 MiB that a test may remove."""
    group = Cgroup.MEMORY(unique("memory")).create()
    bound(group, "4M")
    yield group
    with contextlib.suppress(GroupNotFoundError):
        group.delete(tasks="kill")


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel log unreadable, as it is for most users."""
    monkeypatch.setattr(victims, "shared", None)
    monkeypatch.setattr(victims, "_is_unreadable", True)


class LateLog:
    """The kernel log as one who reads it late finds it: it has what there was when it was last let in."""

    def __init__(self, folder: Path) -> None:
        self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._log, 0, os.SEEK_END)
        self.reader, self._writer = written_log(folder)

    def let_in(self) -> None:
        """Have the log hold all there is by now."""
        with contextlib.suppress(BlockingIOError):
            while record := os.read(self._log, 8192):
                os.write(self._writer, record)
                self.reader.position()  # takes it: a pipe holds few packets

    def close(self) -> None:
        self.reader.close()
        os.close(self._log)
        os.close(self._writer)


@pytest.fixture
def late_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LateLog]:
    """Have the kernel log come late."""
    log = LateLog(tmp_path)
    monkeypatch.setattr(victims, "shared", log.reader)
    yield log
    log.close()


class ToldLog:
    """A kernel log that has what it is told."""

    def __init__(self, folder: Path, group: str) -> None:
        self.reader, self._writer = written_log(folder)
        self._group = group

    def tell(self, pid: int, *, named: bool, below: str = "") -> None:
        """Have it tell of a kill, with the victim's group, or one below that, or without."""
        if named:
            groups = f"oom_memcg={self._group},task_memcg={self._group}{below}"
            self._write(f"oom-kill:constraint=CONSTRAINT_MEMCG,{groups},task=hog,pid={pid},uid=0")
        self._write(f"Killed process {pid} (hog) total-vm:1kB, anon-rss:1kB")

    def _write(self, text: str) -> None:
        os.write(self._writer, f"6,1,2,-;{text}\n".encode())
        self.reader.position()  # takes it: a pipe holds few packets

    def close(self) -> None:
        self.reader.close()
        os.close(self._writer)


@pytest.fixture
def told_log(memory: MEMORY, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ToldLog]:
    """Have the kernel log tell what the test says."""
    log = ToldLog(tmp_path, memory._place.hierarchy.logged(memory.path) or "")
    monkeypatch.setattr(victims, "shared", log.reader)
    yield log
    log.close()


@pytest.fixture
def siblings(memory: MEMORY) -> Iterator[tuple[str, str]]:
    """Make two groups below the full one; return their directories."""
    one, other = (oracle.make("memory", f"{memory.group_name}/{name}") for name in "ab")
    yield one, other
    os.rmdir(one)
    os.rmdir(other)


def an_oom_comes_before_the_removal(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        os.rmdir(memory.path)
        event = events.wait(PATIENCE)
        assert event is not None
        assert event.ooms >= 1
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)


@needs("kernel-log")
def test_an_oom_just_before_the_removal_is_told(memory: MEMORY, hog: Hogs) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with logged_meanwhile() as logged:
            try:
                an_oom_comes_before_the_removal(memory, hog)
                break
            except GroupRemovedError:
                # The kernel logs the groups of ten victims in five seconds; earlier tests may have had theirs.
                if memory.group_name in logged() or time.monotonic() > deadline:
                    raise
        memory.create()
        bound(memory, "4M")


@v1
@pytest.mark.usefixtures("no_log")
def test_without_the_log_the_signals_tell_the_oom_from_the_removal(memory: MEMORY, hog: Hogs) -> None:
    an_oom_comes_before_the_removal(memory, hog)


@v1
@needs("kernel-log")
@pytest.mark.parametrize("waiting", [True, False])
def test_an_oom_of_a_group_below_and_the_removal_of_both_are_no_event(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs, waiting: bool
) -> None:
    """A group is not signalled that one below it is full, but its removal is a signal."""
    below = Cgroup.MEMORY(f"{memory.group_name}/a")
    bound(below, "2M")
    with memory.oom_events() as events, ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(events.wait, PATIENCE) if waiting else None
        if waiting:
            until_waiting(events)
        hog.be_killed(below.path)
        for directory in (*siblings, memory.path):
            os.rmdir(directory)
        with pytest.raises(GroupRemovedError):
            waiter.result(PATIENCE) if waiter else first_word(events)
        for directory in (memory.path, *siblings):
            os.mkdir(directory)


def first_word(events: Subscription[OomEvent]) -> OomEvent:
    """Ask until there is something, without waiting."""
    while (event := events.wait(0)) is None:
        pass
    return event


@v1
@needs("kernel-log")
def test_the_oom_of_a_group_made_anew_is_not_told_of_the_removed_one(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        os.rmdir(memory.path)
        os.mkdir(memory.path)
        bound(memory, "4M")
        hog.be_killed(memory.path)
        with pytest.raises(GroupRemovedError):
            first_word(events)


@v1
@needs("kernel-log")
def test_the_kill_of_a_full_group_below_does_not_stand_for_its_own(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs
) -> None:
    deadline = time.monotonic() + PATIENCE
    below = Cgroup.MEMORY(f"{memory.group_name}/a")
    bound(below, "2M")
    while True:
        with memory.oom_events() as events:
            others = hog.be_killed(siblings[0])
            hog.order(memory.path)
            event = next_kill(events)
            kills, victims = event.kills, [victim.pid for victim in event.victims]
            pid, _ = hog.outcome()
        # The kernel logs the groups of ten victims in five seconds; earlier tests may have had theirs.
        if event.confidence == "named":
            break
        assert time.monotonic() < deadline
    assert (kills, victims) == (2, [others, pid])


@v1
@pytest.mark.usefixtures("no_log")
def test_the_kill_of_a_full_group_below_does_not_stand_for_its_own_without_the_log(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs
) -> None:
    bound(Cgroup.MEMORY(f"{memory.group_name}/a"), "2M")
    with memory.oom_events() as events:
        for _ in range(3):
            hog.be_killed(siblings[0])
            hog.order(memory.path)
            assert next_kill(events).kills == 2
            hog.outcome()


@v1
@pytest.mark.usefixtures("no_log")
def test_kills_below_before_the_subscription_are_none_of_its_own(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs
) -> None:
    hog.be_killed(siblings[0])
    with memory.oom_events() as events:
        hog.be_killed(siblings[1])
        assert next_kill(events).kills == 1
        assert no_kill_is_left(events)


@v1
def test_each_kill_belongs_to_its_own_event(memory: MEMORY, siblings: tuple[str, str], hog: Hogs) -> None:
    """The first event is looked at when the next has come: the group above was full, and killed elsewhere."""
    below = Cgroup.MEMORY(f"{memory.group_name}/a")
    bound(below, "2M")
    with below.oom_events() as events:
        hog.be_killed(below.path)
        first = events.wait(PATIENCE)
        hog.be_killed(siblings[1])
        assert events.wait(PATIENCE) is not None
        assert first is not None
        assert first.kills == 1
        assert no_kill_is_left(events)


@v1
def test_an_event_is_completed_while_the_next_one_is_waited_for(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events, ThreadPoolExecutor(1) as thread:
        hog.be_killed(memory.path)
        first = events.wait(PATIENCE)
        waiter = thread.submit(next_kill, events)
        until(lambda: cast("SignalledOom", events._watch)._open is None)
        hog.be_killed(memory.path)
        assert waiter.result(PATIENCE).kills == 1
        assert first is not None
        assert first.kills == 1


@v1
@pytest.mark.usefixtures("no_log")
def test_an_event_that_cannot_be_completed_keeps_nobody_waiting(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cgroup.MEMORY(f"{memory.group_name}/a").oom_events() as here, monkeypatch.context() as meanwhile:
        meanwhile.setattr(oom, "_PATIENCE", 60 * PATIENCE)
        hog.be_killed(siblings[1])  # without the log nobody here can know
        assert here.wait(PATIENCE) is not None
        assert here.wait(0.001) is None
        assert cast("SignalledOom", here._watch)._open is not None
        with ThreadPoolExecutor(1) as thread:
            waiter = thread.submit(here.wait, PATIENCE)
            until_waiting(here)
            hog.be_killed(siblings[1])
            assert waiter.result(PATIENCE) is not None


@v1
@pytest.mark.parametrize("function", ["bide", "_is_over", "_heard", "_close", "_kills_below", "_rise", "position"])
def test_an_interrupt_of_who_waits_gives_no_kill_to_another_event(memory: MEMORY, hog: Hogs, function: str) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        first = next_kill_unasked(events)
        with pytest.raises(InterruptedError), interrupted(function, interrupt):
            events.wait(PATIENCE)
        hog.be_killed(memory.path)
        assert next_kill(events).kills == 1
        assert first.kills == 1


@v1
@pytest.mark.parametrize("function", ["_meaning", "happened", "_close", "_event", "later", "complete_by"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_interrupt_of_who_takes_an_event_leaves_it_to_the_next(
    memory: MEMORY, hog: Hogs, function: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kept:
        few_descriptors(monkeypatch)
    eventfd = os.eventfd(0)
    with memory.oom_events() as events, open(f"{memory.path}/memory.oom_control") as watched:
        memory.cgroup_event_control = f"{eventfd} {watched.fileno()}"
        hog.be_killed(memory.path)
        first = next_kill_unasked(events)
        hog.be_killed(memory.path)
        with pytest.raises(InterruptedError), interrupted(function, interrupt):
            events.wait(0)
        second = next_kill_unasked(events)
        assert (first.kills, second.kills) == (1, 1)
        assert first.ooms + second.ooms == os.eventfd_read(eventfd)  # on a slow host one may be signalled twice
        assert events.wait(0) is None
    os.close(eventfd)


@v1
@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("are_kept", [True, False])
def test_many_whose_group_the_kernel_left_out_are_told_one_by_one(
    memory: MEMORY, hog: Hogs, told_log: ToldLog, are_kept: bool, lag: int
) -> None:
    """In a storm it tells the groups of ten in five seconds; here it tells only the last ones'."""
    kept, pids, named = [], [], []
    with memory.oom_events() as events:
        for number in range(20):
            pids.append(hog.be_killed(memory.path))
            if number >= lag:
                told_log.tell(pids[number - lag], named=number - lag >= 16)
            kept.append(next_kill_unasked(events))
            if not are_kept:
                kept.clear()
        for pid in pids[20 - lag :]:
            told_log.tell(pid, named=True)
        while cast("SignalledOom", events._watch)._open is not None:
            # Closes it, so that it does not have the next kill; since Linux 5.16 the victim may signal once more.
            kept += filter(None, [events.wait(0.05)])
        if are_kept:
            named = [victim.pid for each in kept for victim in each.victims]
            # On v1 the first may have the kills of both; then the log may be too late to tell it of the second.
            is_early = lag > 0 and any(each.kills > 1 for each in kept)
            assert named == pids[16:] or (is_early and named == pids[17:])
            assert sum(each.kills for each in kept) == len(pids)
        pid = hog.be_killed(memory.path)
        told_log.tell(pid, named=True)
        kept.append(next_kill_unasked(events))
        assert [victim.pid for each in kept for victim in each.victims] == [*named, pid]


@pytest.mark.usefixtures("no_log")
def test_the_last_event_is_completed_for_who_leaves_at_once(memory: MEMORY, hog: Hogs) -> None:
    async def last() -> OomEvent:
        async with memory.oom_events() as events:
            hog.order(memory.path)
            return await anext(events)

    came: queue.Queue[OomEvent] = queue.Queue()
    for _ in range(30):
        event = asyncio.run(last())
        hog.outcome()
        assert event.kills == 1
        with Observer() as observer:
            observer.watch(memory.oom_events(), came.put)
            hog.order(memory.path)
            seen = [came.get(timeout=PATIENCE)]
        hog.outcome()
        while not came.empty():  # since Linux 5.16 the victim may signal once more, and either has the kill
            seen.append(came.get())
        assert sum(each.kills for each in seen) == 1


@v1
@pytest.mark.usefixtures("no_log")
def test_the_last_event_is_completed_where_it_is_closed_while_the_next_signal_is_looked_at(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the observer's thread that closes the descriptors, and waits for the kill."""
    came: queue.Queue[OomEvent] = queue.Queue()
    closed = threading.Event()

    def close_elsewhere(_watch: SignalledOom, *, patient: bool) -> None:
        if not (came.empty() or patient):
            with ThreadPoolExecutor() as another:
                another.submit(events.close).result()
            closed.set()

    def called(event: OomEvent) -> None:
        came.put(event)
        os.eventfd_write(events.fileno(), 1)

    monkeypatch.setattr(SignalledOom, "prepare", close_elsewhere)
    monkeypatch.setattr(oom, "_PATIENCE", PATIENCE)
    with Observer() as observer, memory.oom_events() as events:
        observer.watch(events, called)
        os.eventfd_write(events.fileno(), 1)  # the kernel's signal, and what follows it as late as can be
        assert closed.wait(PATIENCE)
        hog.be_killed(memory.path)
    assert came.get_nowait().kills == 1


@v1
@pytest.mark.usefixtures("no_log")
@pytest.mark.parametrize("which", ["one", "all"])
def test_who_closes_what_is_observed_waits_for_the_last_kill(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setattr(oom, "_PATIENCE", PATIENCE)
    came: queue.Queue[OomEvent] = queue.Queue()
    with Observer() as observer, ThreadPoolExecutor() as another:
        watching = observer.watch(memory.oom_events(), came.put)
        os.eventfd_write(watching.descriptor, 1)
        event = came.get(timeout=PATIENCE)
        closing = another.submit({"one": watching.close, "all": observer.stop}[which])
        until(lambda: watching.closed)
        os.eventfd_write(watching.descriptor, 1)
        until(lambda: not len(observer))  # as it would be woken again and again
        assert not closing.done()
        hog.be_killed(memory.path)
        closing.result()
    assert event.kills == 1


@v1
@pytest.mark.usefixtures("no_log")
def test_who_closes_what_a_loop_has_waits_for_the_last_kill(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oom, "_PATIENCE", PATIENCE)

    async def last(events: Subscription[OomEvent]) -> OomEvent:
        event = await anext(events)
        closing = asyncio.create_task(asyncio.to_thread(events.close))
        await asyncio.to_thread(until, lambda: events.closed)
        await asyncio.to_thread(hog.be_killed, memory.path)
        await closing
        return event

    events = memory.oom_events()
    os.eventfd_write(events.fileno(), 1)
    assert asyncio.run(last(events)).kills == 1


@needs("kernel-log")
@pytest.mark.parametrize("is_named", [True, False])
def test_who_died_before_the_removal_is_named_only_where_all_are(
    memory: MEMORY, hog: Hogs, told_log: ToldLog, is_named: bool
) -> None:
    told_log.tell(1, named=False)  # before anybody watched
    with memory.oom_events() as events:
        pids = [hog.be_killed(memory.path) for _ in range(2)]
        told_log.tell(pids[0], named=is_named)
        told_log.tell(pids[1], named=True)
        os.rmdir(memory.path)
        event = next_kill_unasked(events)
        assert [victim.pid for victim in event.victims] == (pids if is_named else pids[1:])
        assert event.confidence == ("named" if is_named else "signalled")
    memory.create()


@v1
def test_a_kill_after_the_delivery_is_the_log_s_where_the_group_is_gone(
    memory: MEMORY, hog: Hogs, told_log: ToldLog
) -> None:
    with memory.oom_events() as events:
        hog.order(memory.path)
        event = next_kill_unasked(events)
        pid, _ = hog.outcome()
        told_log.tell(pid, named=True)
        os.rmdir(memory.path)
        assert (event.kills, event.confidence, event.victims[0].pid) == (1, "named", pid)
    memory.create()


@v1
@pytest.mark.usefixtures("told_log")
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_kill_that_was_counted_by_the_delivery_outlives_the_group(
    memory: MEMORY, hog: Hogs, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kept:
        few_descriptors(monkeypatch)
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = next_kill_unasked(events)
        os.rmdir(memory.path)
        assert (event.kills, event.confidence, event.victims) == (1, "counted", ())
    memory.create()


@v1
@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize("below", ["", "/a"])
def test_the_next_one_s_victim_is_not_the_last_one_s(memory: MEMORY, hog: Hogs, told_log: ToldLog, below: str) -> None:
    with memory.oom_events() as events:
        told_log.tell(hog.be_killed(memory.path), named=False)
        first = next_kill_unasked(events)
        while cast("SignalledOom", events._watch)._open is not None:
            events.wait(0.05)  # closes it as soon as the kill is counted
        pid = hog.be_killed(memory.path + below)
        told_log.tell(pid, named=True, below=below)
        second = next_kill_unasked(events)
        assert first.victims == ()
        assert [victim.pid for victim in second.victims] == [pid]


@v1
def test_an_event_without_a_kill_yet_takes_no_other_group_s_victim(
    memory: MEMORY, hog: Hogs, told_log: ToldLog
) -> None:
    told_log.tell(1, named=False)  # of another group
    with memory.oom_events() as events:
        pid = hog.be_killed(memory.path)
        told_log.tell(pid, named=True)
        first = next_kill_unasked(events)
        memory.oom_control = True
        hog.order(memory.path)
        second = next_kill_unasked(events)
        assert [victim.pid for victim in first.victims] == [pid]
        memory.oom_control = False
        pid, _ = hog.outcome()
        told_log.tell(pid, named=True)
        assert [victim.pid for victim in second.victims] == [pid]


@v1
def test_a_signal_handler_asks_while_victims_are_looked_up(memory: MEMORY, hog: Hogs, told_log: ToldLog) -> None:
    found = []

    def kill() -> int:
        pid = hog.be_killed(memory.path)
        told_log.tell(pid, named=True)
        return pid

    def pids(event: OomEvent) -> list[int]:
        return [victim.pid for victim in event.victims]

    def handler() -> None:
        pid = kill()
        found.append((pids(next_kill_unasked(events)), [pid]))

    with memory.oom_events() as events:
        one = kill()
        event = next_kill_unasked(events)
        with interrupted("since", handler):
            found.append((pids(event), [one]))
        last = kill()
        found.append((pids(next_kill_unasked(events)), [last]))
    assert len(found) == 3
    assert all(seen == expected for seen, expected in found)


@v1
@pytest.mark.parametrize("function", ["_is_over", "_close", "_kills_below", "position", "_name", "since", "settle"])
def test_a_signal_handler_asks_for_the_same_event(memory: MEMORY, hog: Hogs, told_log: ToldLog, function: str) -> None:
    found = []

    def ask() -> None:
        found.append((event.kills, [victim.pid for victim in event.victims]))

    def handler() -> None:
        told_log.tell(pid, named=True)
        ask()

    with memory.oom_events() as events:
        pid = hog.be_killed(memory.path)
        event = next_kill_unasked(events)
        with interrupted(function, handler):
            ask()
        assert found == [(1, [pid])] * 2
        pid = hog.be_killed(memory.path)
        told_log.tell(pid, named=True)
        assert [victim.pid for victim in next_kill(events).victims] == [pid]


def fresh(memory: MEMORY) -> oom.FreshSubscription:
    """Subscribe as if the log had nothing new to read, whatever else goes on here."""
    top = _native.top(memory._place.hierarchy.path)
    registered = _native.register(top, memory._place.name, oom.CONTROL, "")
    return oom.FreshSubscription(memory, registered, top, victims.position(), events_module.process)


@v1
def test_the_parts_of_a_subscription_to_a_fresh_group_are_made_later_but_where_the_log_is_not_noted_yet(
    memory: MEMORY, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = written_log(tmp_path)
    monkeypatch.setattr(victims, "shared", reader)
    reader.last = 7
    with memory.oom_events() as later:
        assert isinstance(later, oom.FreshSubscription)
        watch = cast("SignalledOom", later._watch)
        assert watch._logged == watch._above == reader.last
    reader.is_behind = True  # so it is while another thread notes
    with memory.oom_events() as events:
        assert not isinstance(events, oom.FreshSubscription)
        assert not reader.is_behind
    os.write(writer, b"6,1,2,-;Killed process 7 (hog) total-vm:1kB, anon-rss:1kB\n")
    with memory.oom_events() as events:
        assert not isinstance(events, oom.FreshSubscription)
        assert cast("SignalledOom", events._watch)._logged == 8
    reader.close()
    os.close(writer)


@v1
def test_a_fresh_group_has_no_victims_of_one_that_was_there_before(memory: MEMORY, hog: Hogs) -> None:
    for _ in range(2):
        with fresh(memory) as events:
            pid = hog.be_killed(memory.path)
            assert [each.pid for each in next_kill(events).victims] in ([pid], [])  # none without the log
        memory.delete()
        memory.create()
        bound(memory, "4M")


@v1
def test_an_interrupt_of_who_makes_the_parts_of_a_subscription_loses_nothing(memory: MEMORY, hog: Hogs) -> None:
    with fresh(memory) as events:
        hog.be_killed(memory.path)
        with pytest.raises(InterruptedError), interrupted("_made", interrupt):
            events.wait(0)
        event = events.wait(0)
        assert event is not None
        assert event.kills == 1


@v1
def test_the_parts_of_a_subscription_are_made_once(memory: MEMORY, hog: Hogs) -> None:
    """Else the next event would have the last one's kills, too."""
    taken = []

    def handler() -> None:
        with ThreadPoolExecutor(1) as other:
            taken.append(other.submit(next_kill_unasked, events).result(PATIENCE))

    with fresh(memory) as events:
        hog.be_killed(memory.path)
        with interrupted("_made", handler):
            assert events.wait(0) is None
        hog.be_killed(memory.path)
        second = events.wait(0)
        assert second is not None
        assert second.kills == taken[0].kills == 1


@v1
def test_two_who_make_the_parts_do_not_both_wait(memory: MEMORY, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    made = oom.FreshSubscription._made

    def slowly(*known: Any) -> Any:
        monkeypatch.undo()
        entered.set()
        go_on.wait(PATIENCE)
        return made(*known)

    with fresh(memory) as events, ThreadPoolExecutor(2) as threads:
        monkeypatch.setattr(oom.FreshSubscription, "_made", staticmethod(slowly))
        late = threads.submit(events.wait, PATIENCE)
        assert entered.wait(PATIENCE)
        first = threads.submit(events.wait, PATIENCE)
        until_waiting(events)
        go_on.set()
        with pytest.raises(BusyError):
            late.result(PATIENCE)
        events.close()
        with pytest.raises(ClosedError):
            first.result(PATIENCE)


@v1
def test_the_parts_are_of_the_process_that_subscribed(memory: MEMORY) -> None:
    with fresh(memory) as events:
        assert processes.forked(lambda: events.closed)
        assert not events.closed


@v1
def test_the_parts_are_not_made_while_others_cannot_close(memory: MEMORY) -> None:
    seen = []
    events = fresh(memory)
    with interrupted("_made", lambda: seen.append(_locks.is_held())):
        events.close()
    assert seen == [False]


@v1
def test_a_subscription_whose_parts_were_never_made_is_closed_and_collected(memory: MEMORY) -> None:
    victims.kernel_log()  # which stays open
    before = os.listdir("/proc/self/fd")
    events = fresh(memory)
    events.close()
    assert events.closed
    with pytest.raises(ClosedError):
        events.wait(0)
    with pytest.raises(AttributeError, match="'Subscription' object has no attribute 'nothing'"):
        getattr(events, "nothing")  # noqa: B009  # mypy knows that there is none
    with pytest.warns(ResourceWarning, match=memory.group_name):
        fresh(memory)
    assert os.listdir("/proc/self/fd") == before


def tops(memory: MEMORY) -> list[int]:
    """Return the descriptors of the directory that the hierarchy is mounted on."""
    gc.collect()
    mounted = memory._place.hierarchy.path
    found = [int(each.name) for each in Path("/proc/self/fd").iterdir() if os.path.islink(each)]
    return [each for each in found if os.readlink(f"/proc/self/fd/{each}") == mounted]


@v1
def test_the_way_to_the_groups_is_open_as_long_as_a_subscription_is(memory: MEMORY) -> None:
    assert tops(memory) == []
    with memory.oom_events() as outer:
        with memory.threshold_events("1M"), fresh(memory) as inner:
            assert inner.wait(0) is None
            assert len(tops(memory)) == 2  # that of fresh() is its own
        assert outer.wait(0) is None
        (top,) = tops(memory)
        assert not os.get_inheritable(top)
        with memory.event("memory.usage_in_bytes", "1M"), memory.oom_events():
            assert tops(memory) == [top]
    assert tops(memory) == []
    del outer, inner


@v1
@pytest.mark.parametrize("instead", [None, "/dev/null", "/proc", "{}"])
def test_who_closes_all_descriptors_may_subscribe_again(memory: MEMORY, hog: Hogs, instead: str | None) -> None:
    """As those do who become daemons; the number may be that of another file by then."""
    with (
        memory.oom_events() as first,
        instead_of(tops(memory)[0], instead and instead.format(memory.path)),
        memory.threshold_events("1M"),
        memory.oom_events() as second,
    ):
        pid = hog.be_killed(memory.path)
        for events in (first, second):
            assert [each.pid for each in next_kill(events).victims] in ([pid], [])  # none without the log


@v1
@pytest.mark.parametrize("source", ["oom_events", "threshold_events"])
def test_a_group_is_never_taken_for_another_below(memory: MEMORY, source: str) -> None:
    """Nor where the way to it was closed, and its number is that of a directory with a group of the same name."""
    below = oracle.make("memory", memory.group_name + memory._place.name)
    arguments = ("1M",) if source == "threshold_events" else ()
    with memory.oom_events(), instead_of(tops(memory)[0], memory.path), getattr(memory, source)(*arguments) as events:
        watched = os.readlink(f"/proc/self/fd/{events._signal.file}")
    assert os.path.dirname(watched) == memory.path
    while below != memory.path:
        os.rmdir(below)
        below = os.path.dirname(below)


@v1
@needs("root")
def test_the_root_group_is_watched(memory: MEMORY) -> None:
    root = Cgroup.MEMORY("/")
    with root.oom_events() as ooms, root.event("memory.usage_in_bytes", "1G") as crossings:
        watched = [os.readlink(f"/proc/self/fd/{cast('EventFd', each._signal).file}") for each in (ooms, crossings)]
    mounted = memory._place.hierarchy.path
    assert watched == [f"{mounted}/memory.oom_control", f"{mounted}/memory.usage_in_bytes"]


@v1
def test_a_descriptor_that_somebody_else_has_closed_and_has_again_is_his(memory: MEMORY) -> None:
    events = memory.oom_events()
    with instead_of(tops(memory)[0], "/dev/null"):
        events.close()
        gc.collect()


@contextmanager
def instead_of(descriptor: int, path: str | None) -> Iterator[None]:
    """Close a descriptor that is not ours, and have another file under its number, which stays open."""
    os.close(descriptor)
    if path is None:
        yield
        return
    taken = os.open(path, os.O_RDONLY)
    assert taken == descriptor
    yield
    assert os.path.samestat(os.fstat(taken), os.stat(path))
    os.close(taken)


MADE_ANEW = """
    os.rmdir(path)
    os.mkdir(path)
"""
RENAMED = """
    os.rename(path, path + "-")
    os.mkdir(path)
    os.rmdir(path)
    os.rename(path + "-", path)
"""


@v1
@pytest.mark.parametrize("changed", [MADE_ANEW, RENAMED], ids=["made anew", "renamed"])
def test_a_group_that_becomes_another_meanwhile_is_subscribed_to_or_is_not_there(memory: MEMORY, changed: str) -> None:
    """What is opened first may be of the one, and what is opened then of the other, which the kernel refuses."""
    code = f"import os, sys\npath = sys.argv[1]\nprint('ready', flush=True)\nwhile True:{changed}"
    top, outcomes = _native.top(memory._place.hierarchy.path), set()
    with subprocess.Popen([sys.executable, "-c", code, memory.path], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            for _ in range(20_000):
                registered = _native.register(top, memory._place.name, oom.CONTROL, "")
                outcomes.add(-min(registered, 0))
                for descriptor in _native.unpacked(registered)[:2] if registered > 0 else ():
                    os.close(descriptor)
        finally:
            other.kill()
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(memory.path + "-")
    os.makedirs(memory.path, exist_ok=True)
    assert 0 in outcomes
    assert outcomes <= {0, errno.ENOENT, errno.ENODEV}


@v1
def test_each_kill_in_a_group_below_belongs_to_its_own_event_while_that_is_waited_for(
    memory: MEMORY, hog: Hogs
) -> None:
    oracle.make("memory", f"{memory.group_name}/below")
    with memory.oom_events() as events, ThreadPoolExecutor(1) as thread:
        hog.be_killed(f"{memory.path}/below")
        first = next_kill_unasked(events)
        waiter = thread.submit(next_kill, events)
        until(lambda: cast("SignalledOom", events._watch)._open is None)
        hog.be_killed(f"{memory.path}/below")
        assert waiter.result(PATIENCE).kills == 1
        assert first.kills == 1
    os.rmdir(f"{memory.path}/below")


def next_kill_unasked(events: Subscription[OomEvent]) -> OomEvent:
    """Wait for an event, and leave open what has become of it."""
    event = events.wait(PATIENCE)
    assert event is not None
    return event


@v1
@pytest.mark.parametrize("function", ["_meaning", "before_removal", "_last_words", "outlived", "wake"])
@pytest.mark.parametrize("kind", ["oom", "threshold"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_interrupt_of_who_hears_of_the_removal_does_not_hide_it(
    memory: MEMORY, function: str, kind: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kept:
        few_descriptors(monkeypatch)
    with memory.oom_events() if kind == "oom" else memory.threshold_events("2M") as events:
        memory.delete()
        with pytest.raises(InterruptedError), interrupted(function, interrupt):
            events.wait(PATIENCE)
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)
    memory.create()


@contextmanager
def crossed_and_removed(name: str) -> Iterator[tuple[Subscription[ThresholdEvent], int]]:
    """Give a subscription to a group that is gone, and how often the kernel has signalled a crossing before."""
    group = Cgroup.MEMORY(name).create()
    with group.threshold_events("2M") as events, group.event("memory.usage_in_bytes", "2M") as same:
        with holding(group.path, 8 * MIB) as task:
            held(task)
            let_go(task)
        group.delete()
        other = same.wait(PATIENCE)
        assert other is not None
        yield events, other.signals


def told_then_gone(events: Subscription[ThresholdEvent], crossings: int) -> None:
    """Take the crossings, and then the removal."""
    event = events.wait(PATIENCE)
    assert event is not None
    assert event.crossings == crossings
    with pytest.raises(GroupRemovedError):
        events.wait(PATIENCE)


@v1
@pytest.mark.parametrize("function", ["_meaning", "before_removal", "_last_words", "outlived", "wake"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_nor_the_crossings_before_it(
    unique: Unique, function: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kept:
        few_descriptors(monkeypatch)
    with crossed_and_removed(unique("memory")) as (events, crossings):
        with pytest.raises(InterruptedError), interrupted(function, interrupt):
            events.wait(PATIENCE)
        told_then_gone(events, crossings)


@v1
def test_nor_those_that_were_counted_already(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> None:
    outlived = ThresholdWatch.outlived

    def interrupted_then(*given: Any) -> NoReturn:
        monkeypatch.undo()
        outlived(*given)
        raise InterruptedError

    with crossed_and_removed(unique("memory")) as (events, crossings):
        monkeypatch.setattr(ThresholdWatch, "outlived", interrupted_then)
        with pytest.raises(InterruptedError):
            events.wait(PATIENCE)
        told_then_gone(events, crossings)


@contextmanager
def alarms() -> Iterator[None]:
    """Have a signal come every millisecond, whose handler does nothing."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@v1
def test_a_second_close_leaves_the_descriptor_to_the_loop_that_has_it(memory: MEMORY) -> None:
    events = memory.threshold_events("2M")
    descriptor = events.fileno()

    async def busy() -> None:
        waiter = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        with ThreadPoolExecutor(1) as thread:  # while the loop has no turn
            for _ in range(2):
                thread.submit(events.close).result()
        os.fstat(descriptor)

    asyncio.run(busy())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@v1
@pytest.mark.parametrize("function", ["dispose", "_is_awaited"])
def test_an_interrupted_close_is_completed_by_the_next(memory: MEMORY, function: str) -> None:
    events = memory.threshold_events("2M")
    descriptor = events.fileno()
    with pytest.raises(InterruptedError), interrupted(function, interrupt):
        events.close()
    events.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@needs("kernel-log")
def test_a_kill_that_the_log_is_late_with_is_told_once(memory: MEMORY, hog: Hogs, late_log: LateLog) -> None:
    with Cgroup.MEMORY(f"{memory.group_name}-other") as other, memory.oom_events() as events:
        bound(other, "4M")
        hog.be_killed(other.path)
        late_log.let_in()
        hog.be_killed(memory.path)
        assert next_kill(events).kills == 1
        late_log.let_in()
        assert no_kill_is_left(events)
        os.rmdir(memory.path)
        with pytest.raises(GroupRemovedError):
            first_word(events)


@needs("kernel-log")
def test_a_victim_that_the_log_is_late_with_is_not_the_next_events(
    memory: MEMORY, hog: Hogs, late_log: LateLog
) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        first = next_kill(events)
        assert (first.kills, first.victims, first.confidence) == (1, (), "counted")
        pid = hog.be_killed(memory.path)
        late_log.let_in()
        second = next_kill(events)
        assert second.kills == 1
        # The kernel logs the groups of ten victims in five seconds; earlier tests may have had theirs.
        assert [victim.pid for victim in second.victims] in ([pid], [])
        assert no_kill_is_left(events)


@v1
@needs("kernel-log")
def test_a_kill_that_the_log_is_late_with_does_not_stand_for_the_next(
    memory: MEMORY, hog: Hogs, late_log: LateLog
) -> None:
    with memory.oom_events() as events:
        for _ in range(5):  # it is asked before the kernel has counted, as a rule
            hog.be_killed(memory.path)
            assert next_kill(events).kills == 1
            assert no_kill_is_left(events)
            late_log.let_in()
            hog.order(memory.path)
            second = events.wait(PATIENCE)
            assert second is not None
            assert second.kills == 1
            hog.outcome()
            assert no_kill_is_left(events)


@pytest.mark.parametrize("delay", [0, 0.001, 0.01, 0.05])
def test_a_removal_alone_is_no_event_however_late_it_is_asked(memory: MEMORY, delay: float) -> None:
    with memory.oom_events() as events:
        os.rmdir(memory.path)
        select.select([], [], [], delay)
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)


@pytest.mark.usefixtures("no_log")
def test_a_removal_while_waiting_without_the_log_is_no_event(memory: MEMORY) -> None:
    with memory.oom_events() as events, ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(events.wait, PATIENCE)
        until_waiting(events)
        os.rmdir(memory.path)
        with pytest.raises(GroupRemovedError):
            waiter.result(PATIENCE)


def test_a_group_that_goes_away_while_it_is_subscribed_to(memory: MEMORY, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Signal.text

    def removed(self: Signal) -> str:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(memory.path)
        return text(self)

    monkeypatch.setattr(Signal, "text", removed)
    found_at_registration(monkeypatch, lambda found: found & ~_native.FRESH)  # of others the file is read
    with memory.oom_events() as events:
        assert "removed" in repr(events)
        assert select.select([events], [], [], PATIENCE)[0]  # those who poll come, and hear of it
        with pytest.raises(GroupRemovedError):
            events.wait(0)
        assert list(events) == []


def test_figures_are_never_those_of_a_group_made_anew(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = events.wait(PATIENCE)
        assert event is not None
        os.rmdir(memory.path)
        memory.create()
        memory.limit_in_bytes = "8M"
        assert event.limit in (None, 4 * MIB)
        assert event.usage is None or event.usage < 4 * MIB


@v1
def test_two_signals_of_one_crossing_do_not_turn_the_direction_round(unique: Unique) -> None:
    with (
        Cgroup.MEMORY(unique("memory")) as roomy,
        roomy.threshold_events("2M") as events,
        holding(roomy.path, 8 * MIB) as task,
    ):
        held(task)
        first = events.wait(PATIENCE)
        events._signal.wake()  # type: ignore[union-attr]  # as another CPU does that finds the same crossing
        second = events.wait(PATIENCE)
        assert first is not None
        assert second is not None
        assert (first.above, second.above) == (True, True)
        let_go(task)
        down = events.wait(PATIENCE)
        assert down is not None
        assert not down.above


@v1
@pytest.mark.usefixtures("no_log")
def test_kills_in_groups_below_that_come_and_go_are_counted_without_the_log(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        for _ in range(3):
            child = f"{memory.group_name}/below"
            oracle.make("memory", child)
            hog.be_killed(f"{memory.path}/below")
            assert next_kill(events).kills == 1
            os.rmdir(f"{memory.path}/below")


@v1
@needs("kernel-log")
def test_an_oom_whose_victim_is_in_another_group_below_the_full_one(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs
) -> None:
    with Cgroup.MEMORY(f"{memory.group_name}/a").oom_events() as here:
        hog.be_killed(siblings[1])
        event = here.wait(PATIENCE)
        assert event is not None  # v1 signals an OOM to all below the full group
        assert (event.kills, event.victims, event.confidence) == (0, (), "signalled")


@contextmanager
def slow_host() -> Iterator[None]:
    """Have each call of C take two milliseconds more, as where many others want the processor."""

    def pause(_frame: object, event: str, _function: object) -> None:
        if event == "c_return":
            select.select([], [], [], 0.002)

    sys.setprofile(pause)
    try:
        yield
    finally:
        sys.setprofile(None)


@v1
@pytest.mark.parametrize("host", [contextlib.nullcontext, slow_host])
@pytest.mark.parametrize("log", [True, False])
def test_an_oom_with_the_killer_off_just_before_the_removal_is_told(
    memory: MEMORY, request: pytest.FixtureRequest, log: bool, host: Callable[[], AbstractContextManager[None]]
) -> None:
    if not log:
        request.getfixturevalue("no_log")
    oracle.write("memory", memory.group_name, "memory.oom_control", "1")
    with memory.oom_events() as events:
        with holding(memory.path, 16 * MIB) as task:
            until(lambda: "under_oom 1" in oracle.read("memory", memory.group_name, "memory.oom_control"))
            task.kill()
        memory.delete()
        with host():
            event = events.wait(PATIENCE)
        assert event is not None
        assert (event.ooms >= 1, event.kills) == (True, 0)
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)


@v1
@pytest.mark.usefixtures("no_log")
def test_events_are_asked_in_one_thread_while_another_waits(memory: MEMORY, hog: Hogs) -> None:
    for name in range(10):  # looking at those below takes its time
        oracle.make("memory", f"{memory.group_name}/{name}")
    with memory.oom_events() as events, ThreadPoolExecutor(3) as threads:
        asked = []
        for _ in range(10):
            hog.order(memory.path)
            event = events.wait(PATIENCE)
            assert event is not None
            asked += [threads.submit(getattr, event, "kills") for _ in range(3)]
            hog.outcome()
        kills = [each.result(PATIENCE) for each in asked]
    assert kills[::3] == kills[1::3] == kills[2::3]
    assert sum(kills[::3]) == 10
    for name in range(10):
        os.rmdir(f"{memory.path}/{name}")


@v1
@needs("kernel-log")
def test_an_oom_of_another_below_the_full_group_does_not_explain_the_next_one(
    memory: MEMORY, siblings: tuple[str, str], hog: Hogs
) -> None:
    with Cgroup.MEMORY(f"{memory.group_name}/a").oom_events() as here:
        hog.be_killed(siblings[1])
        others = here.wait(PATIENCE)
        hog.be_killed(siblings[0])
        own = here.wait(PATIENCE)
        assert others is not None
        assert own is not None
        assert own.kills + others.kills == 1


def test_to_look_at_an_event_takes_nothing_from_the_next(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        first = events.wait(PATIENCE)
        assert first is not None
        hog.be_killed(memory.path)
        assert select.select([events], [], [], PATIENCE)[0]
        assert first.limit == 4 * MIB  # read now
        second = events.wait(0)
        assert second is not None
        assert first.kills + second.kills == 2


def test_to_ask_who_was_killed_takes_nothing_from_the_next(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        for _ in range(10):  # v2 tells of it once more, as a rule, some milliseconds later
            hog.be_killed(memory.path)
            first = next_kill_unasked(events)
            hog.be_killed(memory.path)
            assert select.select([events], [], [], PATIENCE)[0]
            kills = first.kills  # asked for now, on v1 with those of the next
            while kills < 2:
                kills += next_kill_unasked(events).kills
            assert kills == 2


@v1
@pytest.mark.parametrize("meanwhile", [contextlib.nullcontext, alarms])
def test_crossings_before_the_removal_are_told(
    unique: Unique, meanwhile: Callable[[], AbstractContextManager[None]]
) -> None:
    with crossed_and_removed(unique("memory")) as (events, crossings):
        with meanwhile():
            event = events.wait(PATIENCE)
        assert event is not None
        assert event.crossings == crossings
        assert event.usage is None
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)


@needs("cgroup-v2")
def test_a_group_made_anew_is_not_taken_for_the_one_that_is_gone(unique: Unique) -> None:
    with UNIFIED(unique("freezer").rpartition("/")[2]) as above:
        for _ in range(50):
            group, marker = (UNIFIED(f"{above.group_name}/{name}") for name in ("group", "marker"))
            group.create()
            marker.create()
            with marker.populated_events() as marked:  # so that the directory above is watched
                group.delete()
                group.create()
                with group.populated_events() as events:
                    marker.delete()
                    with pytest.raises(GroupRemovedError):  # whatever came before has been dealt with then
                        marked.wait(PATIENCE)
                    assert select.select([events], [], [], 0) == ([], [], [])
                    group.delete()
                    with pytest.raises(GroupRemovedError):
                        events.wait(PATIENCE)


def test_what_is_closed_reads_no_other_file(memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> NoReturn:
        raise KeyboardInterrupt

    def figures_after(close: Callable[[], object]) -> tuple[object, ...]:
        close()
        others = [os.open("/proc/version", os.O_RDONLY) for _ in range(20)]  # some have its descriptors' numbers
        assert event is not None
        found = event.usage, event.limit, event.kills, event.confidence
        for each in others:
            os.close(each)
        return found

    def close_in_vain() -> None:
        monkeypatch.setattr(type(events._watch), "settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            events.close()

    events = memory.oom_events()
    hog.be_killed(memory.path)
    event = events.wait(PATIENCE)
    assert processes.forked(lambda: figures_after(events.close))[:2] == (None, None)
    usage, limit, kills, _ = figures_after(close_in_vain)
    assert isinstance(usage, int)  # completed as it was closed
    assert (limit, kills) == (4 * MIB, 1)


@pytest.mark.parametrize("timeout", [float("nan"), "1", [], 1j])
def test_what_is_no_timeout_is_refused_and_harms_nothing(memory: MEMORY, hog: Hogs, timeout: float) -> None:
    with memory.oom_events() as events:
        with pytest.raises(InvalidValueError, match="timeout"):
            events.wait(timeout)
        hog.be_killed(memory.path)
        assert next_kill(events).kills == 1


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 10**400], ids=["inf", "1e300", "huge"])
def test_any_length_of_time_may_be_waited(memory: MEMORY, hog: Hogs, timeout: float) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        assert events.wait(timeout) is not None


def test_an_exception_of_a_signal_handler_leaves_the_subscription_usable(memory: MEMORY, hog: Hogs) -> None:
    def handler(*_: object) -> NoReturn:
        raise LookupError("of the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with memory.oom_events() as events:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(LookupError):
                events.wait(PATIENCE)
            hog.be_killed(memory.path)
            assert next_kill(events).kills == 1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_close_what_its_thread_waits_for(memory: MEMORY) -> None:
    with memory.oom_events() as events:
        before = signal.signal(signal.SIGALRM, lambda *_: events.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(ClosedError):
                events.wait(PATIENCE)
        finally:
            signal.signal(signal.SIGALRM, before)


def test_an_event_for_who_is_cancelled_is_left_to_any_other(memory: MEMORY, hog: Hogs) -> None:
    async def cancelled(events: Subscription[OomEvent]) -> None:
        waiter = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        hog.be_killed(memory.path)
        # Readable in the same turn of the loop as the event.
        reader, writer = os.pipe()
        os.write(writer, b".")
        asyncio.get_running_loop().add_reader(reader, waiter.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiter
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)
        os.close(writer)

    with memory.oom_events() as events:
        asyncio.run(cancelled(events))
        assert next_kill(events).kills == 1
        assert no_kill_is_left(events)


def test_two_loops_take_turns(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events, asyncio.Runner() as first, asyncio.Runner() as second:

        async def one() -> int:
            hog.be_killed(memory.path)
            return await anext(event.kills async for event in events if event.kills)

        assert [runner.run(one()) for runner in (first, second, first)] == [1, 1, 1]


def test_a_loop_does_not_take_from_an_observer(memory: MEMORY, hog: Hogs) -> None:
    came: queue.Queue[OomEvent] = queue.Queue()

    async def one(events: Subscription[OomEvent]) -> None:
        with pytest.raises(BusyError, match="another loop or observer"):
            await anext(events)

    with Observer() as observer, memory.oom_events() as events:
        observer.watch(events, came.put)
        asyncio.run(one(events))
        with pytest.raises(BusyError):
            observer.watch(events, came.put)
        hog.be_killed(memory.path)
        assert came.get(timeout=PATIENCE).ooms >= 1


@pytest.mark.parametrize("lock", [_locks.looking, _removals._lock], ids=["looking", "removals"])
def test_a_child_forked_while_a_thread_is_busy_can_watch(memory: MEMORY, lock: threading.RLock) -> None:
    busy, done = threading.Event(), threading.Event()

    def work() -> None:
        with lock:
            busy.set()
            done.wait()

    def child() -> bool:
        signal.alarm(int(PATIENCE))  # a lock that is held for ever
        with memory.oom_events() as own:
            return own.wait(0) is None

    thread = threading.Thread(target=work)
    thread.start()
    busy.wait()
    try:
        assert processes.forked(child)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit", "raise KeyboardInterrupt", "1 / 0"])
def test_whatever_a_callback_or_the_hook_raises_the_next_is_called(
    memory: MEMORY, hog: Hogs, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: queue.Queue[int] = queue.Queue()

    def callback(_: OomEvent) -> None:
        came.put(1)
        exec(end)  # one of the above

    def hook(given: threading.ExceptHookArgs) -> NoReturn:
        assert given.exc_value is not None
        raise given.exc_value

    monkeypatch.setattr(threading, "excepthook", hook)
    with Observer() as observer:
        observer.watch(memory.oom_events(), callback)
        for _ in range(2):
            hog.be_killed(memory.path)
            assert came.get(timeout=PATIENCE) == 1


def test_an_observer_of_the_parent_is_the_childs_own(memory: MEMORY, hog: Hogs) -> None:
    came: queue.Queue[OomEvent] = queue.Queue()
    with Observer() as observer:
        observer.watch(memory.oom_events(), came.put)

        def child() -> tuple[int, int]:
            before = len(observer)
            own: queue.Queue[OomEvent] = queue.Queue()
            observer.watch(memory.oom_events(), own.put)
            os.write(ready, b".")
            kills = own.get(timeout=PATIENCE).kills
            observer.stop()
            return before, kills

        order, ready = os.pipe()
        killer = threading.Thread(target=lambda: (os.read(order, 1), hog.be_killed(memory.path)))
        killer.start()
        assert processes.forked(child) == (0, 1)
        killer.join()
        assert came.get(timeout=PATIENCE).kills == 1
        for descriptor in (order, ready):
            os.close(descriptor)


def test_a_handler_that_interrupts_the_observer_may_stop_it(memory: MEMORY) -> None:
    before = set(threading.enumerate())
    observer = Observer()
    observer.watch(memory.oom_events(), print)
    with observer_module._lock:  # as while it is used by this thread, which a handler has interrupted
        watching = observer.watch(memory.oom_events(), print)
        observer.stop()
    assert watching.closed
    observer.stop()
    assert set(threading.enumerate()) <= before


def test_who_stops_second_waits_for_the_callback_too(memory: MEMORY, hog: Hogs) -> None:
    called, go_on = threading.Event(), threading.Event()

    def callback(_: OomEvent) -> None:
        called.set()
        go_on.wait(PATIENCE)

    observer = Observer()
    observer.watch(memory.oom_events(), callback)
    hog.be_killed(memory.path)
    assert called.wait(PATIENCE)
    with ThreadPoolExecutor(2) as threads:
        stops = [threads.submit(observer.stop) for _ in range(2)]
        until(lambda: not len(observer))
        select.select([], [], [], 0.05)
        assert not any(stop.done() for stop in stops)
        go_on.set()
        assert [stop.result(PATIENCE) for stop in stops] == [None, None]


def test_what_cannot_be_observed_is_still_the_callers(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def register(self, *_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Observer() as observer, memory.oom_events() as events:
        with monkeypatch.context() as patched:
            patched.setattr(observer, "_started", Full)
            with pytest.raises(UnavailableError, match="max_user_watches"):
                observer.watch(events, print)
        assert len(observer) == 0
        hog.be_killed(memory.path)
        assert next_kill(events).kills == 1
        observer.watch(events, print)  # and may be observed later


def test_three_threads_close_at_once(memory: MEMORY) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            events = memory.oom_events()
            waiter = threads.submit(events.wait, PATIENCE)
            until_waiting(events)
            assert [each.result() for each in [threads.submit(events.close) for _ in range(3)]] == [None] * 3
            with pytest.raises(ClosedError):
                waiter.result()


@needs("pids")
def test_where_no_thread_can_be_started_the_limit_is_named(memory: MEMORY, unique: Unique) -> None:
    code = """
        import sys
        from pycgroup import Cgroup, CgroupError
        memory, pids = Cgroup.MEMORY(sys.argv[1]), Cgroup.PIDS(sys.argv[2])
        pids.attach()
        pids.max = 1
        try:
            memory.on_oom(print)
        except CgroupError as error:
            print(error)
    """
    with Cgroup.PIDS(unique("pids")) as pids:
        said = processes.script(textwrap.dedent(code), memory._path, pids._path)
    assert "pids.max" in said


@v1
def test_a_watch_of_any_file_goes_on_without_descriptors(memory: MEMORY) -> None:
    code = """
        import os, resource, sys
        from pycgroup import Cgroup
        memory = Cgroup.MEMORY(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        taken = []
        while len(taken) < 800:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        events = memory.event("memory.usage_in_bytes", 4096)  # so many are open that the file is not kept
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        events._signal.wake()
        event = events.wait(60)
        print(event.signals, event.text)
        events.close()
    """
    assert processes.script(textwrap.dedent(code), memory._path) == "1 None\n"


@v1
def test_a_limit_of_descriptors_that_is_lowered_is_noticed(memory: MEMORY) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        for _ in range(300):
            held.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        first = held.enter_context(fresh(memory))
        assert cast("EventFd", first._signal).file >= 0
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
        last = [held.enter_context(fresh(memory)) for _ in range(20)][-1]
        assert cast("EventFd", last._signal).file == -1


@v1
def test_a_limit_that_was_lowered_while_there_were_few_descriptors_is_noticed(memory: MEMORY) -> None:
    code = """
        import os, resource, sys
        from pycgroup import Cgroup
        memory = Cgroup.MEMORY(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
        for events in [memory.oom_events() for _ in range(300)]:
            events.close()
        memory.oom_events().close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
        held = [memory.oom_events() for _ in range(200)]
        print(held[-1]._signal.file)
        for events in held:
            events.close()
    """
    assert processes.script(textwrap.dedent(code), memory._path) == "-1\n"


@v1
def test_no_oom_is_lost_for_want_of_descriptors(memory: MEMORY) -> None:
    code = """
        import os, resource, sys
        from pycgroup import Cgroup
        memory = Cgroup.MEMORY(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(800)]
        events = memory.oom_events()  # so many are open that the file is not kept
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(3):
            events._signal.wake()
            print(events.wait(60).ooms)
        events.close()
    """
    assert processes.script(textwrap.dedent(code), memory._path) == "1\n1\n1\n"


@v2
def test_removal_is_told_again_where_the_directory_above_was_made_anew(memory: MEMORY) -> None:
    above = f"{memory.group_name}/above"
    for _ in range(3):
        for name in (above, f"{above}/below"):
            oracle.make("memory", name)
        with Cgroup.MEMORY(f"{above}/below").populated_events() as events, ThreadPoolExecutor(1) as thread:
            waiter = thread.submit(events.wait, PATIENCE)
            until_waiting(events)
            os.rmdir(f"{memory.path}/above/below")
            with pytest.raises(GroupRemovedError):
                waiter.result(PATIENCE)
        os.rmdir(f"{memory.path}/above")
    assert above not in str(_removals.removals()._sleepers)


def test_events_are_equal_by_what_they_say(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = next_kill(events)
        again = pickle.loads(pickle.dumps(event))
        assert again is not event
        assert again == event
        assert hash(again) == hash(event)
