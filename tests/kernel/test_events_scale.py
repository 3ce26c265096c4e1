# SPDX-License-Identifier: MIT
"""Many groups, many kills, many subscriptions: nothing is lost, nothing leaks, no thread per group."""

from __future__ import annotations

import os
import resource
import select
import selectors
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pycgroup import Cgroup, GroupRemovedError
from pycgroup.observer import Observer
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.held import open_files, resident
from tests.support.hogs import PATIENCE, bound, hogs
from tests.support.unified import UNIFIED

if TYPE_CHECKING:
    from pycgroup.controllers import MEMORY
    from pycgroup.events import Subscription
    from pycgroup.happenings import OomEvent

pytestmark = needs("memory")
Unique = Callable[..., str]
OTHER_FILES = 200  # that the test run itself has open


@contextmanager
def files_allowed(count: int) -> Iterator[None]:
    """Have this process open so many files; skip where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < hard < count:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def many(name: str, count: int) -> Iterator[list[MEMORY]]:
    """Make many groups below one."""
    parent = Cgroup.MEMORY(name).create()
    try:
        names = [f"{name}/{number}" for number in range(count)]
        if parent.version > 1:
            Cgroup.MEMORY(f"{name}/0").create()  # which enables the controller for all of them
            names.pop(0)
        for each in names:
            os.mkdir(oracle.directory("memory", each))
        yield [Cgroup.MEMORY(f"{name}/{number}") for number in range(count)]
    finally:
        for number in range(count):
            directory = oracle.directory("memory", f"{name}/{number}")
            if os.path.isdir(directory):
                os.rmdir(directory)
        parent.delete()


def serve_many(name: str, count: int, allowed: int) -> None:
    """Subscribe to many groups in one observer; kill in some, remove half, and kill in some that stay."""
    with Cgroup.MEMORY(name) as first_of_all:
        first_of_all.oom_events().close()  # starts the thread that hears of removals on v2
    threads = threading.active_count()
    came: Counter[str] = Counter()
    gone: set[str] = set()
    called = threading.Condition()

    def callback(event: OomEvent) -> None:
        with called:
            came[event.group] += event.kills
            called.notify_all()

    def removed(group: MEMORY) -> Callable[[], None]:
        def call() -> None:
            with called:
                gone.add(group._path)
                called.notify_all()

        return call

    def killed_in(some: list[MEMORY]) -> bool:
        return all(came[group._path] == 1 for group in some)

    with files_allowed(allowed), many(name, count) as groups, hogs() as hog, Observer() as observer:
        before = resident()
        watching = [observer.watch(group.oom_events(), callback, removed=removed(group)) for group in groups]
        assert (resident() - before) / count < 2048  # with the callbacks and the observer's own
        assert threading.active_count() == threads + 1
        first, second = groups[:: count // 5], groups[1 :: count // 5]
        for group in [*first, *second]:
            bound(group, "1M")
        for group in first:
            hog.order(group.path)
            assert hog.outcome()[1] == -9
        with called:
            assert called.wait_for(lambda: killed_in(first), PATIENCE)
        for group in groups[::2]:
            os.rmdir(group.path)
        with called:
            assert called.wait_for(lambda: len(gone) == len(groups[::2]), PATIENCE)
        assert gone == {group._path for group in groups[::2]}
        assert [each.closed for each in watching] == [number % 2 == 0 for number in range(count)]
        staying = [group for group in second if group.exists()]
        for group in staying:
            hog.be_killed(group.path)
        with called:
            assert called.wait_for(lambda: killed_in(staying), PATIENCE)
        assert sum(came.values()) == len(first) + len(staying)


@pytest.mark.slow
@needs("memory", version=1)
def test_10_000_groups_on_v1(unique: Unique) -> None:
    serve_many(unique("memory"), 10_000, 2 * 10_000)


@pytest.mark.slow
@needs("memory", version=2)
def test_2_000_groups_on_v2(unique: Unique) -> None:
    serve_many(unique("memory"), 2_000, 3 * 2_000)


@needs("cgroup-v2")
def test_hundreds_hear_of_one_removal(unique: Unique) -> None:
    group = UNIFIED(unique("freezer").rpartition("/")[2]).create()
    with files_allowed(2 * 700 + OTHER_FILES), select.epoll() as outer, ExitStack() as stack:
        waiting = [stack.enter_context(group.populated_events()) for _ in range(700)]
        for events in waiting:
            outer.register(events, select.EPOLLIN)
        group.delete()
        for events in waiting:
            with pytest.raises(GroupRemovedError):
                events.wait(PATIENCE)


def test_hundreds_of_groups(unique: Unique) -> None:
    serve_many(unique("memory"), 300, 700 + OTHER_FILES)


def test_where_descriptors_are_scarce(unique: Unique) -> None:
    """Subscriptions beyond half the limit keep one descriptor each on v1, and tell the same."""
    with many(unique("memory"), 100) as groups, hogs() as hog:
        version = groups[0].version
        files = open_files()
        scarce = files + 400 if version > 1 else max(520, files + 100)
        if version < 2:
            resource_hogs = [os.open("/dev/null", os.O_RDONLY) for _ in range(max(0, scarce // 2 - files + 5))]
        else:
            resource_hogs = []
        try:
            with files_allowed(scarce + 20), ExitStack() as stack:
                before = open_files()
                events = [stack.enter_context(group.oom_events()) for group in groups]
                assert open_files() - before <= (105 if version < 2 else 205)
                for group in groups[:3]:
                    bound(group, "1M")
                    hog.be_killed(group.path)
                taken = [each.wait(PATIENCE) for each in events[:3]]
                assert [event.kills if event else 0 for event in taken] == [1, 1, 1]
                os.rmdir(groups[5].path)
                os.mkdir(groups[5].path)
                with pytest.raises(GroupRemovedError):
                    events[5].wait(PATIENCE)
        finally:
            for each in resource_hogs:
                os.close(each)


def storm(names: list[str], kills: int) -> None:
    """Kill in many groups by turns while one selector serves them; no kill may be lost."""
    with hogs() as hog, ExitStack() as stack, selectors.DefaultSelector() as selector:
        groups = [stack.enter_context(Cgroup.MEMORY(name, limit_in_bytes="1M")) for name in names]
        for group in groups:
            bound(group, "1M")
            selector.register(stack.enter_context(group.oom_events()), selectors.EVENT_READ)
        counted: Counter[str] = Counter()

        def collect(timeout: float) -> bool:
            ready = selector.select(timeout)
            for key, _ in ready:
                events: Subscription[OomEvent] = key.fileobj  # type: ignore[assignment]
                event = events.wait(0)
                if event is not None:
                    counted[event.group] += event.kills
            return bool(ready)

        for number in range(kills):
            hog.be_killed(groups[number % len(groups)].path)
            if number % 7 == 0:
                collect(0)
        while sum(counted.values()) < kills and collect(PATIENCE):
            pass
        assert counted == {group._path: kills // len(groups) for group in groups}
        assert all(group.oom_control.oom_kill == kills // len(groups) for group in groups)


@pytest.mark.slow
def test_a_storm_of_1000_kills_over_100_groups(unique: Unique) -> None:
    storm([unique("memory") for _ in range(100)], 1000)


def test_a_storm_of_60_kills_over_20_groups(unique: Unique) -> None:
    storm([unique("memory") for _ in range(20)], 60)


# In a process of its own: what this one has in memory is that of all tests before.
CYCLES = """
import sys
from pycgroup import Cgroup
from tests.support.held import open_files, resident
name, count = sys.argv[1], int(sys.argv[2])
with Cgroup.MEMORY(name) as memory:
    for _ in range(count):  # until malloc has taken what it needs, which is some fifty thousand on v2
        memory.oom_events().close()
    files, before = open_files(), resident()
    for _ in range(count):
        memory.oom_events().close()
    print(open_files() - files, resident() - before)
"""


def cycles(name: str, count: int) -> None:
    """Open and close subscriptions; neither descriptors nor memory may stay."""
    files, size = map(int, processes.script(CYCLES, name, str(count)).split())
    assert files == 0
    assert size < max(count * 4, 256 << 10)


@pytest.mark.slow
def test_100_000_cycles_leak_nothing(unique: Unique) -> None:
    cycles(unique("memory"), 100_000)


def test_5_000_cycles_leak_nothing(unique: Unique) -> None:
    cycles(unique("memory"), 5_000)
