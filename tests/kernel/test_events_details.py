# SPDX-License-Identifier: MIT
"""What events and subscriptions promise beside the event itself: fields, messages, threads, descriptors, children."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import queue
import re
import select
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycgroup import (
    BusyError,
    Cgroup,
    CgroupError,
    ClosedError,
    GroupRemovedError,
    InvalidValueError,
    UnavailableError,
    UnsupportedSettingError,
    _removals,
)
from pycgroup._aio import Feed
from pycgroup.observer import Observer
from pycgroup.proclist import listed
from tests.support import processes
from tests.support.capabilities import needs
from tests.support.descriptors import few_descriptors
from tests.support.held import open_files
from tests.support.hogs import MIB, PATIENCE, Hogs, bound, held, holding, let_go, next_kill, soon, until_waiting
from tests.support.interrupts import interrupted
from tests.support.tracing import traced
from tests.support.unified import UNIFIED, StallingCpu

if TYPE_CHECKING:
    from pycgroup.controllers import MEMORY
    from pycgroup.events import Subscription
    from pycgroup.happenings import ThresholdEvent
    from pycgroup.proclist import Process

Unique = Callable[..., str]
v1 = needs("memory", version=1)
SUBSCRIBED: dict[str, Callable[[MEMORY], Subscription[Any]]] = {
    "control": lambda memory: memory.event("memory.usage_in_bytes", "2M"),
    "threshold": lambda memory: memory.threshold_events("2M"),
    "pressure": lambda memory: memory.pressure_events("low"),
    "oom": lambda memory: memory.oom_events(),
}


@pytest.fixture
def memory(unique: Unique) -> Iterator[MEMORY]:
    with Cgroup.MEMORY(unique("memory")) as group:
        bound(group, "4M")
        yield group


@pytest.fixture
def unified(unique: Unique) -> Iterator[StallingCpu]:
    with StallingCpu(unique("freezer").rpartition("/")[2]) as group:
        yield group


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[threading.ExceptHookArgs]:
    """Give what threads raise."""
    told: queue.Queue[threading.ExceptHookArgs] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", told.put)
    return told


async def once(events: Subscription[Any]) -> None:
    """Wait in a loop for what does not come."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(events)


@v1
@needs("root")  # for memory.pressure_level
@pytest.mark.parametrize("kind", SUBSCRIBED)
def test_an_event_says_of_which_group_it_is_and_when_it_came(memory: MEMORY, hog: Hogs, kind: str) -> None:
    with SUBSCRIBED[kind](memory) as events:
        before = time.time()
        hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        assert event.group == memory._path
        assert before <= event.time <= time.time()


@needs("cgroup-v2")
def test_so_does_one_of_v2(unified: UNIFIED) -> None:
    with unified.populated_events() as events:
        before = time.time()
        with processes.idle(unified.path):
            event = soon(events.wait(PATIENCE))
        assert event.group == unified._path
        assert before <= event.time <= time.time()


@needs("memory", version=2)
def test_so_does_one_of_counters(memory: MEMORY, hog: Hogs) -> None:
    with memory.counter_events("oom_kill") as events:
        before = time.time()
        hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        assert event.group == memory._path
        assert before <= event.time <= time.time()
        with pytest.raises(TypeError):
            event.changes["oom_kill"] = 0  # type: ignore[index]


@v1
@needs("root")  # for memory.pressure_level
@pytest.mark.parametrize("kind", ["control", "pressure"])
def test_signals_that_nobody_took_are_counted(memory: MEMORY, hog: Hogs, kind: str) -> None:
    with SUBSCRIBED[kind](memory) as events:
        for _ in range(2):
            hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        assert event.signals > 1
        assert kind == "pressure" or event.text.isdigit()


@v1
def test_a_page_is_a_threshold(memory: MEMORY, hog: Hogs) -> None:
    with memory.threshold_events(os.sysconf("SC_PAGE_SIZE")) as events:
        assert hog.take(memory.path, 2 * MIB) == 0
        assert events.wait(PATIENCE) is not None


@v1
def test_who_begins_above_a_threshold_goes_down_first(unique: Unique) -> None:
    group = Cgroup.MEMORY(unique("memory")).create()
    with holding(group.path, 8 * MIB) as task:
        held(task)
        events: Subscription[ThresholdEvent] = group.threshold_events("2M")
        let_go(task)
    with events:
        group.delete()
        event = soon(events.wait(PATIENCE))
        assert event.usage is None
        assert event.direction == ("down" if event.crossings % 2 else "up")


@needs("cgroup-v2")
def test_who_begins_populated_becomes_empty(unified: UNIFIED) -> None:
    with contextlib.ExitStack() as stack:
        with processes.idle(unified.path):
            events = stack.enter_context(unified.populated_events())
        event = soon(events.wait(PATIENCE))
        assert not event.populated


@v1
@needs("psi")
@needs("strace")
@needs("cgroup-v2")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("some='150ms', window='2s'", "some 150000 2000000"),
        ("full=0.2, window=4", "full 200000 4000000"),
        ("full='2s'", "full 2000000 2000000"),
    ],
)
def test_what_the_kernel_is_told_of_stalls(memory: MEMORY, tmp_path: Path, arguments: str, told: str) -> None:
    program = f"from pycgroup import Cgroup; Cgroup.MEMORY({memory.group_name!r}).stall_events({arguments}).close()"
    with UNIFIED(memory.group_name):
        calls = traced(tmp_path, program, options=("-y", "-e", "trace=write"))
    found = re.findall(r'^write\(\d+<.*/([a-z.]+)>, "(.*)\\0", \d+\) += \d+$', calls, re.MULTILINE)
    assert set(found) == {("memory.pressure", told)}


@v1
@pytest.mark.parametrize(
    ("file", "says"), [("memory.stat", "no other file takes events"), ("memory.usage_in_bytes", "for 'much'")]
)
def test_a_refusal_says_what_was_asked_for_and_what_can_be(memory: MEMORY, file: str, says: str) -> None:
    with pytest.raises(InvalidValueError, match=says) as refusal:
        memory.event(file, "much")
    assert (refusal.value.setting, refusal.value.value) == (file, "much")


@needs("cgroup-v2")
@needs("psi")
def test_a_window_that_the_kernel_refuses_is_explained(unified: StallingCpu) -> None:
    with pytest.raises(InvalidValueError, match="500 ms to 10 s"):
        unified.stall_events(some="1s", window="100s")
    with pytest.raises(InvalidValueError, match="longer than the window") as refusal:
        unified.stall_events(some="3s", window="2s")
    assert refusal.value.value == "3s"


@v1
def test_what_a_version_cannot_do_says_which(memory: MEMORY) -> None:
    with pytest.raises(UnsupportedSettingError, match="cgroup v1 has no such events") as refusal:
        _ = memory.counter_events
    assert refusal.value.setting == "counter_events"


@needs("memory")
def test_errors_name_the_group(memory: MEMORY) -> None:
    errors: list[CgroupError] = []

    def note(call: Callable[[], object], kind: type[CgroupError]) -> None:
        with pytest.raises(kind) as error:
            call()
        errors.append(error.value)

    with memory.oom_events() as events, ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(events.wait)
        until_waiting(events)
        note(lambda: events.wait(1), BusyError)
        events.close()
        note(waiter.result, ClosedError)
    with memory.oom_events() as events:
        memory.delete()
        note(events.wait, GroupRemovedError)
    memory.create()
    with Observer() as observer, Observer() as other, memory.oom_events() as events:
        observer.watch(events, print)
        note(lambda: other.watch(events, print), BusyError)
    assert [error.group for error in errors] == [memory._path] * 4


@needs("memory")
def test_all_are_served_by_one_thread(memory: MEMORY, unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as other, memory.on_oom(print):
        threads = threading.active_count()
        with other.on_oom(print):
            assert threading.active_count() == threads


@needs("memory")
def test_who_is_closed_is_not_observed_any_more(memory: MEMORY) -> None:
    with Observer() as observer:
        observer.watch(memory.oom_events(), print).close()
        assert len(observer) == 0


@needs("memory")
def test_both_callbacks_are_to_be_callable(memory: MEMORY) -> None:
    with Observer() as observer, memory.oom_events() as events:
        for given in ((5, None), (print, 5)):
            with pytest.raises(TypeError, match="5 cannot be called"):
                observer.watch(events, given[0], removed=given[1])  # type: ignore[arg-type]


@needs("memory")
def test_what_is_raised_at_the_removal_is_told_once(
    memory: MEMORY, raised: queue.Queue[threading.ExceptHookArgs]
) -> None:
    def removed() -> None:
        raise LookupError

    with Observer() as observer:
        watching = observer.watch(memory.oom_events(), print, removed=removed)
        memory.delete()
        told = raised.get(timeout=PATIENCE)
        assert told.exc_type is LookupError
        assert told.exc_value is not None
        assert told.exc_traceback is told.exc_value.__traceback__
        assert told.thread is not None
        assert told.thread.name == "pycgroup-observer"
        observer.stop()
        assert watching.closed
        assert raised.empty()
    memory.create()


@needs("memory")
def test_who_reads_what_is_observed_disturbs_nobody(
    memory: MEMORY, hog: Hogs, raised: queue.Queue[threading.ExceptHookArgs]
) -> None:
    with Observer() as observer, ThreadPoolExecutor(1) as thread:
        events = memory.oom_events()
        observer.watch(events, print)
        waiter = thread.submit(events.wait, PATIENCE)
        until_waiting(events)
        hog.be_killed(memory.path)
        assert waiter.result(PATIENCE) is not None
    assert raised.empty()


@needs("memory")
def test_an_exception_hook_that_raises_is_told_of_too(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(_told: object) -> None:
        raise LookupError

    told: queue.Queue[type] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", hook)
    monkeypatch.setattr(sys, "__excepthook__", lambda kind, *_: told.put(kind))
    with Observer() as observer:
        observer.watch(memory.oom_events(), lambda _event: 1 // 0)
        hog.be_killed(memory.path)
        assert told.get(timeout=PATIENCE) is LookupError


@needs("memory")
def test_one_looks_at_the_last_event_before_the_next_in_asyncio(memory: MEMORY, hog: Hogs) -> None:
    async def limit() -> object:
        async with memory.oom_events() as events:
            hog.be_killed(memory.path)
            event = await anext(events)
            await once(events)
            bound(memory, "8M")
            return event.limit

    assert asyncio.run(limit()) == 4 * MIB


@v1
def test_what_the_kernel_refuses_is_raised_in_asyncio(memory: MEMORY, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_events: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    async def main() -> None:
        async with memory.threshold_events("2M") as events:
            waiter = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            with monkeypatch.context() as patched:
                patched.setattr(type(events), "poll", fails)
                os.eventfd_write(events.fileno(), 1)
                with pytest.raises(OSError, match="no memory"):
                    async with asyncio.timeout(PATIENCE):
                        await waiter

    asyncio.run(main())


@v1
def test_who_waits_after_a_loop_is_closed_is_the_only_one(memory: MEMORY) -> None:
    with memory.threshold_events("2M") as events, ThreadPoolExecutor(1) as thread:
        asyncio.run(once(events))
        waiter = thread.submit(events.wait, PATIENCE)
        until_waiting(events)
        with pytest.raises(BusyError):
            events.wait(0.1)
        events.close()
        with pytest.raises(ClosedError):
            waiter.result(PATIENCE)


@v1
@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_child_that_closes_leaves_the_loop_its_events(memory: MEMORY, hog: Hogs, is_waiting: bool) -> None:
    async def main() -> None:
        async with memory.threshold_events("2M") as events:
            if not is_waiting:
                await once(events)
                processes.forked(events.close)
            waiter = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            if is_waiting:
                processes.forked(events.close)
            assert hog.take(memory.path, 3 * MIB) == 0
            async with asyncio.timeout(PATIENCE):
                assert await waiter is not None

    asyncio.run(main())


@v1
def test_a_child_that_closes_leaves_the_observer_its_events(memory: MEMORY, hog: Hogs) -> None:
    came: queue.Queue[ThresholdEvent] = queue.Queue()
    with Observer() as observer:
        events = memory.threshold_events("2M")
        observer.watch(events, came.put)
        processes.forked(events.close)
        assert hog.take(memory.path, 3 * MIB) == 0
        assert came.get(timeout=PATIENCE).crossings >= 1


@v1
@needs("root")  # for memory.pressure_level
def test_pressure_before_the_removal_is_told_first(memory: MEMORY, hog: Hogs) -> None:
    with memory.pressure_events("low") as events:
        hog.be_killed(memory.path)
        assert select.select([events], [], [], PATIENCE)[0]
        memory.delete()
        assert soon(events.wait(PATIENCE)).signals >= 1
        assert list(events) == []
    memory.create()


@v1
def test_a_loop_does_not_turn_for_an_event_that_nobody_waits_for(
    memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    ready = Feed._ready

    def counted(feed: Feed[Any]) -> None:
        called.append(feed)
        ready(feed)

    async def main() -> None:
        async with memory.oom_events() as events:
            await once(events)
            await asyncio.to_thread(hog.be_killed, memory.path)
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(called) == 1
            assert (await anext(events)).kills == 1

    monkeypatch.setattr(Feed, "_ready", counted)
    asyncio.run(main())


@v1
def test_who_is_cancelled_at_the_moment_of_the_removal_is_cancelled(
    memory: MEMORY, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = Feed._ready

    async def main() -> None:
        async with memory.oom_events() as events:
            waiter = asyncio.ensure_future(anext(events))

            def and_cancelled(feed: Feed[Any]) -> None:
                ready(feed)
                waiter.cancel()

            monkeypatch.setattr(Feed, "_ready", and_cancelled)
            await asyncio.sleep(0)
            os.rmdir(memory.path)
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert [event async for event in events] == []

    asyncio.run(main())
    memory.create()


@needs("memory")
def test_a_child_is_not_warned_of_its_parent_s(memory: MEMORY) -> None:
    events = [memory.oom_events()]

    def forget() -> list[str]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            events.clear()
            gc.collect()
            return [str(each.message) for each in told]

    assert processes.forked(forget) == []
    forgotten = repr(events[0])
    with pytest.warns(ResourceWarning) as told:
        events.clear()
    assert forgotten in str(told[0].message)
    assert told[0].source is not None


@needs("memory")
def test_a_child_is_told_whose_it_is(memory: MEMORY) -> None:
    with (
        memory.oom_events() as events,
        pytest.raises(ClosedError, match=rf"it belongs to process {os.getpid()}, subscribe anew"),
    ):
        processes.forked(lambda: events.wait(0))


@needs("cgroup-v2")
@needs("psi")
def test_who_waits_for_a_stall_hears_of_the_end(unified: StallingCpu) -> None:
    events = unified.stall_events(some="1s", window="2s")
    with ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(events.wait, PATIENCE)
        until_waiting(events)
        events.close()
        with pytest.raises(ClosedError):
            waiter.result(PATIENCE)

    async def main() -> None:
        events = unified.stall_events(some="1s", window="2s")
        waiter = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await asyncio.to_thread(events.close)
        with pytest.raises(StopAsyncIteration):
            async with asyncio.timeout(PATIENCE):
                await waiter

    asyncio.run(main())


@needs("cgroup-v2")
@needs("psi")
@pytest.mark.parametrize("kind", ["stall_events", "populated_events"])
def test_v2_s_leave_no_descriptor(unified: StallingCpu, kind: str) -> None:
    arguments = {"some": "1s"} if kind == "stall_events" else {}
    unified.populated_events().close()
    before = open_files()
    kept = [getattr(unified, kind)(**arguments) for _ in range(3)]
    for events in kept:
        events.close()
    del kept, events  # else a descriptor that was forgotten is closed only now
    assert open_files() == before


@v1
def test_a_file_that_is_opened_anew_is_closed(memory: MEMORY, monkeypatch: pytest.MonkeyPatch) -> None:
    few_descriptors(monkeypatch)
    with memory.event("memory.usage_in_bytes", "2M") as events:
        assert events.wait(0) is None
        before = open_files()
        for _ in range(3):
            os.eventfd_write(events.fileno(), 1)
            event = soon(events.wait(0))
            assert event.text is not None
        assert open_files() == before


@needs("cgroup-v2")
def test_a_timeout_on_v2_is_in_seconds(unified: UNIFIED) -> None:
    with unified.populated_events() as events:
        before = time.monotonic()
        assert events.wait(0.05) is None
        assert 0.05 <= time.monotonic() - before < PATIENCE / 10


class Forgotten:
    """Watches what is removed, and need not hear of it."""

    def is_gone(self) -> bool:
        return False

    def wake(self) -> None:
        raise AssertionError


@needs("cgroup-v2")
def test_a_removal_is_heard_of_where_the_kernel_has_lost_it_among_many(unified: UNIFIED, tmp_path: Path) -> None:
    files, other = [tmp_path / "a" / name for name in ("odd", "even")], Forgotten()
    files[0].parent.mkdir()
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with unified.populated_events() as events, asleep(events) as poll:
        watched = _removals.removals()
        watched.add(str(files[0]), other)
        with _removals._lock:  # which its thread waits for
            for number in range(most + 1000):  # some of which it may have read already
                files[number % 2].touch()  # by turns: the kernel makes one of two that are the same
                files[number % 2].unlink()
            os.rmdir(unified.path)
        assert poll.poll(PATIENCE)
        with pytest.raises(GroupRemovedError):
            events.wait(0)
        watched.discard(str(files[0]), other)
    unified.create()


REFUSED = """
import sys
from pathlib import Path
from pycgroup import CgroupError
from tests.support.held import open_files
from tests.support.unified import UNIFIED
limit, name = sys.argv[1:]
if limit:
    Path(limit).write_text("0")
before = open_files()
for _ in range(2):
    try:
        UNIFIED(name).populated_events()
    except CgroupError as error:
        text = str(error)
print(open_files() - before, text)
"""
TOO_FEW_THREADS = "raise the limit of processes (pids.max, ulimit -u): removals are noticed by a thread"
TOO_FEW_INSTANCES = "raise the limit of inotify instances (sysctl fs.inotify.max_user_instances) or of open files"
TOO_FEW_WATCHES = "raise the limit of inotify watches (sysctl fs.inotify.max_user_watches)"


@needs("cgroup-v2")
@needs("user-namespace")
@pytest.mark.parametrize(
    ("limit", "hint"), [("max_inotify_instances", TOO_FEW_INSTANCES), ("max_inotify_watches", TOO_FEW_WATCHES)]
)
def test_who_may_not_watch_for_removals_is_told_why_and_keeps_nothing(unified: UNIFIED, limit: str, hint: str) -> None:
    said = processes.script(
        REFUSED, f"/proc/sys/user/{limit}", unified.group_name, within=["unshare", "--user", "--map-root-user"]
    )
    kept, _, text = said.rstrip().partition(" ")
    # One inotify instance may stay, for those who watch where it can be done.
    assert int(kept) == (limit == "max_inotify_watches")
    assert text.endswith(f"; {hint}")


@needs("cgroup-v2")
@needs("pids")
def test_who_may_start_no_thread_is_told_why_and_keeps_nothing(unified: UNIFIED, unique: Unique) -> None:
    with Cgroup(unique("pids"), pids=1) as group:
        done = group.run(
            [sys.executable, "-c", REFUSED, "", unified.group_name], cwd=processes.ROOT, capture_output=True, text=True
        )
    kept, _, text = done.stdout.rstrip().partition(" ")
    assert int(kept) == 0
    assert text.endswith(f"; {TOO_FEW_THREADS}")


def inotify_watches() -> int:
    """Return how many directories this process watches."""
    return sum(path.read_text().count("inotify wd:") for path in Path("/proc/self/fdinfo").iterdir() if path.exists())


@needs("cgroup-v2")
def test_removals_are_watched_by_one_thread_and_only_while_somebody_asks(unified: UNIFIED) -> None:
    unified.populated_events().close()
    before = threading.active_count(), open_files()
    for _ in range(3):
        unified.populated_events().close()
    assert (threading.active_count(), open_files()) == before
    assert inotify_watches() == 0
    with unified.populated_events(), unified.populated_events():
        assert inotify_watches() == 1
        assert threading.active_count() == before[0]


@contextlib.contextmanager
def asleep(events: Subscription[Any]) -> Iterator[select.epoll]:
    """Wait for events like somebody who asks nothing himself: an epoll reports only what it was woken for."""
    assert events.wait(0) is None
    with select.epoll() as poll:
        poll.register(events, select.EPOLLIN)
        assert not poll.poll(0)
        yield poll


@needs("cgroup-v2")
def test_all_of_a_group_hear_of_its_removal(unified: UNIFIED) -> None:
    with unified.populated_events() as one, unified.populated_events() as other:
        with asleep(one) as first, asleep(other) as second:
            unified.delete()
            assert first.poll(PATIENCE)
            assert second.poll(PATIENCE)
        for events in (one, other):
            with pytest.raises(GroupRemovedError):
                events.wait(0)
    unified.create()


@needs("cgroup-v2")
@pytest.mark.parametrize("other", ["group", "sibling"])
def test_who_closes_leaves_the_others_their_removal(unified: UNIFIED, other: str) -> None:
    below = {name: UNIFIED(f"{unified.group_name}/{name}").create() for name in ("group", "sibling")}
    with below["group"].populated_events() as stays:
        below[other].populated_events().close()
        with asleep(stays) as poll:
            below["group"].delete()
            assert poll.poll(PATIENCE)
    below["sibling"].delete()


@needs("cgroup-v2")
def test_one_that_cannot_be_woken_keeps_nobody_asleep(unified: UNIFIED, monkeypatch: pytest.MonkeyPatch) -> None:
    called: queue.Queue[Any] = queue.Queue()
    with unified.populated_events() as one, unified.populated_events() as other:
        signal = type(one._signal)
        wake = signal.wake  # type: ignore[union-attr]

        def first_fails(self: Any) -> None:
            is_first = called.empty()
            called.put(self)
            if is_first:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            wake(self)

        with monkeypatch.context() as patched:
            patched.setattr(signal, "wake", first_fails)
            unified.delete()
            woken = {called.get(timeout=PATIENCE), called.get(timeout=PATIENCE)}
        assert woken == {one._signal, other._signal}
    unified.create()


@needs("cgroup-v2")
def test_a_child_has_no_part_in_its_parent_s_watches(unified: UNIFIED) -> None:
    with unified.populated_events():

        def child() -> int:
            inherited = inotify_watches()
            with unified.populated_events() as own, ThreadPoolExecutor(1) as thread:
                waiter = thread.submit(own.wait, PATIENCE)
                until_waiting(own)
                os.rmdir(unified.path)
                with pytest.raises(GroupRemovedError):
                    waiter.result(PATIENCE)
            return inherited

        assert processes.forked(child) == 0
    unified.create()


@needs("cgroup-v2")
def test_who_watches_a_group_made_anew_is_not_told_of_the_old_one_s_end(unified: UNIFIED) -> None:
    group, marker = (UNIFIED(f"{unified.group_name}/{name}").create() for name in ("group", "marker"))
    with marker.populated_events() as marked, contextlib.ExitStack() as stack:
        with _removals._lock:
            group.delete()
            group.create()
            events = stack.enter_context(group.populated_events())
        poll = stack.enter_context(asleep(marked))
        marker.delete()
        assert poll.poll(PATIENCE)  # and with it what came before
        assert select.select([events], [], [], 0) == ([], [], [])
    group.delete()


@needs("memory")
def test_the_processes_of_a_group_are_listed_as_the_kernel_has_them(memory: MEMORY) -> None:
    with holding(memory.path, 2 * MIB) as task:
        held(task)
        (found,) = listed([task.pid])
        status = Path(f"/proc/{task.pid}/status").read_text()
    for name, size in (("VmSize", found.vsz), ("VmRSS", found.rss)):
        assert re.findall(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) == [str(size // 1024)]
        assert size % 1024 == 0


def process_of(code: str) -> Process:
    """Run Python code until it has said that it is ready; return how that process is listed."""
    with processes.python(code) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == "ready\n"
        (found,) = listed([task.pid])
    return found


def test_a_process_is_listed_by_its_command_line() -> None:
    code = "print('ready', flush=True); input()"
    assert process_of(code).args == f"{sys.executable} -S -c {code}"


@needs("root")
def test_a_process_is_its_effective_user_s() -> None:
    code = "import os, sys; os.setresuid(0, 65534, 0); print('ready', flush=True); sys.stdin.read()"
    assert process_of(code).uid == 65534


def test_a_process_is_as_large_as_it_is_now() -> None:
    code = "import sys; largest = b'x' * (64 << 20); del largest; print('ready', flush=True); sys.stdin.read()"
    assert process_of(code).rss < 64 * MIB


@needs("memory")
def test_an_observer_that_is_stopped_meanwhile_serves_nobody(memory: MEMORY) -> None:
    observer = Observer()
    with memory.oom_events() as events:
        with pytest.raises((ClosedError, UnavailableError)), interrupted("keep", observer.stop):
            observer.watch(events, print)
        assert len(observer) == 0


@needs("memory")
def test_an_event_reads_the_same_when_it_is_shown(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = next_kill(events)
        for name in ("kills", "victims", "confidence"):
            assert f"{name}={getattr(event, name)!r}" in repr(event)
