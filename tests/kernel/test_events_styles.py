# SPDX-License-Identifier: MIT
"""One subscription in every style: wait, for, selectors, threads, asyncio, observer; closing, forking, removal."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import pickle
import queue
import select
import selectors
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pycgroup import BusyError, Cgroup, ClosedError, GroupRemovedError
from pycgroup.observer import Observer
from tests.support import oracle, processes
from tests.support.capabilities import needs
from tests.support.held import open_files
from tests.support.hogs import PATIENCE, Hogs, bound, next_kill, no_kill_is_left, until_waiting

if TYPE_CHECKING:
    from pycgroup.controllers import MEMORY
    from pycgroup.events import Subscription
    from pycgroup.happenings import OomEvent

pytestmark = needs("memory")
Unique = Callable[..., str]


@pytest.fixture
def memory(unique: Unique) -> Iterator[MEMORY]:
    with Cgroup.MEMORY(unique("memory"), limit_in_bytes="4M") as group:
        bound(group, "4M")
        yield group


@pytest.fixture
def events(memory: MEMORY) -> Iterator[Subscription[OomEvent]]:
    with memory.oom_events() as subscription:
        yield subscription


def observers() -> int:
    return sum(thread.name == "pycgroup-observer" for thread in threading.enumerate())


def in_thread(function: Callable[[], object]) -> Callable[[], object]:
    """Run a function in a thread; return a function that waits for what it returns or raises it."""
    answers: queue.Queue[tuple[object, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # noqa: BLE001  # raised again by who asks
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()

    def answer() -> object:
        value, error = answers.get(timeout=PATIENCE)
        if error is not None:
            raise error
        return value

    return answer


def test_wait_is_over_in_time(events: Subscription[OomEvent]) -> None:
    assert events.wait(0) is None
    assert events.wait(0.0001) is None
    assert events.wait(-1) is None


def test_iteration_ends_with_the_group(memory: MEMORY, events: Subscription[OomEvent], hog: Hogs) -> None:
    taken = in_thread(lambda: [event.kills for event in events])
    hog.be_killed(memory.path)
    until_waiting(events)
    memory.delete()
    kills = taken()
    assert isinstance(kills, list)
    assert sum(kills) <= 1  # the removal may have overtaken what the event says
    memory.create()


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_close_wakes_the_waiter(events: Subscription[OomEvent], timeout: float | None) -> None:
    before = open_files()
    waiter = in_thread(lambda: events.wait(timeout))
    until_waiting(events)
    events.close()
    with pytest.raises(ClosedError):
        waiter()
    events.close()
    assert events.closed
    assert open_files() < before
    assert repr(events) == f"<Subscription[OomEvent] of {events.group!r} closed>"


def test_an_observer_says_what_it_serves(memory: MEMORY) -> None:
    with Observer() as observer:
        watching = observer.watch(memory.oom_events(), print)
        assert repr(observer) == "<Observer of 1 subscriptions>"
        assert repr(watching) == f"<Watching of {memory.group_name!r}, calls {print!r}>"
        watching.close()
        assert "closed" in repr(watching)


def test_close_ends_an_iteration(events: Subscription[OomEvent]) -> None:
    loop = in_thread(lambda: list(events))
    until_waiting(events)
    events.close()
    assert loop() == []


def test_a_closed_subscription_says_so(events: Subscription[OomEvent]) -> None:
    events.close()
    for use in (events.wait, events.fileno, events.__iter__, events.__aiter__):
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_a_second_waiter_is_refused(events: Subscription[OomEvent]) -> None:
    waiter = in_thread(events.wait)
    until_waiting(events)
    with pytest.raises(BusyError, match=events.group):
        events.wait(1)
    events.close()
    with pytest.raises(ClosedError):
        waiter()


def test_a_forgotten_subscription_is_closed_with_a_warning(memory: MEMORY) -> None:
    before = open_files()
    with pytest.warns(ResourceWarning, match="never closed"):
        memory.oom_events()
    assert open_files() <= before


@pytest.mark.parametrize("make", [selectors.DefaultSelector, selectors.SelectSelector, selectors.PollSelector])
def test_selectors(
    memory: MEMORY, events: Subscription[OomEvent], hog: Hogs, make: Callable[[], selectors.BaseSelector]
) -> None:
    with make() as selector:
        selector.register(events, selectors.EVENT_READ)
        assert selector.select(0) == []
        for _ in range(2):
            hog.be_killed(memory.path)
            ((key, _),) = selector.select(PATIENCE)
            assert key.fileobj is events
            assert next_kill(events).kills == 1
            assert no_kill_is_left(events)
            while selector.select(0):  # a notification that v2 has put off, as it does for up to 10 ms
                assert no_kill_is_left(events)
        memory.delete()
        assert selector.select(PATIENCE)
        with pytest.raises(GroupRemovedError):
            events.wait(0)
    memory.create()


@needs("anyio")
@needs("trio")
@pytest.mark.parametrize("loop", ["trio", "anyio on trio", "anyio on asyncio"])
def test_other_loops_wait_for_the_descriptor(
    memory: MEMORY, events: Subscription[OomEvent], hog: Hogs, loop: str
) -> None:
    import anyio.lowlevel
    import trio

    readable = trio.lowlevel.wait_readable if loop == "trio" else anyio.wait_readable
    turns: list[None] = []

    async def turn() -> None:
        while True:
            turns.append(None)
            await anyio.lowlevel.checkpoint()

    async def killed() -> OomEvent:
        while True:
            await readable(events)
            if (event := events.wait(0)) is not None and event.kills:
                return event

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(turn)
                for _ in range(2):
                    before = len(turns)
                    hog.order(memory.path)
                    assert (await killed()).kills == 1
                    assert len(turns) > before  # the others went on meanwhile
                    hog.outcome()
                with anyio.move_on_after(0.01) as scope:
                    await killed()
                assert scope.cancelled_caught
                memory.delete()
                with pytest.raises(GroupRemovedError):
                    await killed()
                tasks.cancel_scope.cancel()

    anyio.run(main, backend="asyncio" if loop == "anyio on asyncio" else "trio")
    memory.create()


def test_a_forked_child_takes_nothing(memory: MEMORY, events: Subscription[OomEvent], hog: Hogs) -> None:
    def child() -> list[str]:
        said = []
        for use in (lambda: events.wait(0), events.fileno, lambda: list(events)):
            with contextlib.suppress(ClosedError):
                use()
                said.append("nothing")
        said.append(str(events.closed))
        events.close()
        return said

    hog.be_killed(memory.path)
    assert processes.forked(child) == ["True"]
    assert next_kill(events).kills == 1
    assert no_kill_is_left(events)
    waiter = in_thread(events.wait)
    until_waiting(events)
    assert processes.forked(child) == ["True"]
    hog.be_killed(memory.path)
    assert waiter() is not None


def test_a_forked_child_subscribes_anew(memory: MEMORY, events: Subscription[OomEvent]) -> None:
    def child() -> bool:
        with memory.oom_events() as own:
            return own.wait(0) is None

    assert processes.forked(child)
    assert events.wait(0) is None


def test_asyncio(memory: MEMORY, hog: Hogs) -> None:
    async def main() -> list[int]:
        taken = []
        async with memory.oom_events() as events:
            killer = asyncio.get_running_loop().run_in_executor(
                None, lambda: [hog.be_killed(memory.path) for _ in "ab"]
            )
            async for event in events:
                taken.append(event.kills)
                if sum(taken) == 2:
                    break
            await killer
        assert events.closed
        return taken

    assert sum(asyncio.run(main())) == 2


def test_asyncio_timeout_loses_no_event(memory: MEMORY, hog: Hogs) -> None:
    async def main() -> None:
        async with memory.oom_events() as events:
            for _ in range(3):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await anext(events)
            hog.be_killed(memory.path)
            async with asyncio.timeout(PATIENCE):
                assert (await anext(events)).kills == 1

    asyncio.run(main())


def test_a_waiter_cancelled_as_the_event_comes_leaves_it(memory: MEMORY, hog: Hogs) -> None:
    async def main() -> None:
        async with memory.oom_events() as events:
            waiter = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            hog.be_killed(memory.path)
            # What the loop does when the descriptor is readable; the waiter is cancelled before it runs again.
            events._feed()._ready()
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert (await anext(events)).kills == 1

    asyncio.run(main())


def test_asyncio_refuses_a_second_waiter(memory: MEMORY) -> None:
    async def main() -> None:
        async with memory.oom_events() as events:
            waiter = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await anext(events)
            events.close()
            with pytest.raises(StopAsyncIteration):
                await waiter

    asyncio.run(main())


def test_asyncio_is_ended_from_another_thread(memory: MEMORY) -> None:
    async def main() -> None:
        before = open_files()
        waiting, idle = memory.oom_events(), memory.oom_events()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(idle)  # its reader stays in the loop
        waiter = asyncio.ensure_future(anext(waiting))
        await asyncio.sleep(0)
        await asyncio.to_thread(waiting.close)
        await asyncio.to_thread(idle.close)
        with pytest.raises(StopAsyncIteration):
            await waiter
        await asyncio.sleep(0)
        assert open_files() <= before

    asyncio.run(main())


def test_asyncio_ends_with_the_group(memory: MEMORY) -> None:
    async def main() -> list[OomEvent]:
        async with memory.oom_events() as events:
            memory.delete()
            return [event async for event in events]

    assert asyncio.run(main()) == []
    memory.create()


def test_a_subscription_outlives_its_loop(memory: MEMORY, events: Subscription[OomEvent], hog: Hogs) -> None:
    async def one() -> int:
        hog.be_killed(memory.path)
        return await anext(event.kills async for event in events if event.kills)

    assert [asyncio.run(one()) for _ in range(2)] == [1, 1]
    assert no_kill_is_left(events)


def test_who_awaits_in_a_loop_that_was_closed_is_not_waited_for(memory: MEMORY, hog: Hogs) -> None:
    async def forsaken(events: Subscription[OomEvent]) -> None:
        await anext(events)

    def forsake(events: Subscription[OomEvent]) -> asyncio.Task[None]:
        loop = asyncio.new_event_loop()
        task = loop.create_task(forsaken(events))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        return task

    with memory.oom_events():
        files = open_files()
    events = memory.oom_events()
    tasks = [forsake(events)]
    hog.be_killed(memory.path)
    assert events.wait(PATIENCE) is not None
    assert no_kill_is_left(events)
    tasks.append(forsake(events))
    events.close()
    assert open_files() < files


def test_a_subscription_is_not_copied(events: Subscription[OomEvent]) -> None:
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="subscribe anew"):
            copied(events)


def test_who_polls_after_the_removal_was_heard_hears_of_it_too(memory: MEMORY) -> None:
    with memory.oom_events() as events:
        os.rmdir(memory.path)
        with pytest.raises(GroupRemovedError):
            events.wait(PATIENCE)
        told = threading.Event()
        with Observer() as observer:
            observer.watch(events, print, removed=told.set)
            assert told.wait(PATIENCE)
    os.mkdir(memory.path)


def test_an_event_while_nobody_awaits_is_kept(memory: MEMORY, events: Subscription[OomEvent], hog: Hogs) -> None:
    async def main() -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await anext(events)
        hog.be_killed(memory.path)
        for _ in range(5):
            await asyncio.sleep(0)
        return (await anext(events)).kills

    assert asyncio.run(main()) == 1


def test_on_oom_calls_back_until_it_is_closed(memory: MEMORY, hog: Hogs) -> None:
    came: queue.Queue[OomEvent] = queue.Queue()
    with memory.on_oom(came.put) as watching:
        assert watching.group == memory._path
        for _ in range(2):
            hog.be_killed(memory.path)
        kills = 0
        while kills < 2:
            kills += came.get(timeout=PATIENCE).kills
        states = [watching.closed]
    assert [*states, watching.closed] == [False, True]
    watching.close()
    hog.be_killed(memory.path)
    assert not any(event.kills for event in came.queue)


def test_what_cannot_be_called_back_is_refused_at_once(memory: MEMORY) -> None:
    files = open_files()
    for wrong in (5, None):
        with pytest.raises(TypeError, match=f"{wrong} cannot be called"):
            memory.on_oom(wrong)  # type: ignore[arg-type]
    assert open_files() <= files + 3  # what a process has one of


def test_an_observer_needs_one_thread_and_stops(memory: MEMORY, unique: Unique, hog: Hogs) -> None:
    threads, files = observers(), open_files()
    came: queue.Queue[str] = queue.Queue()
    with contextlib.ExitStack() as stack, Observer() as observer:
        groups = [stack.enter_context(Cgroup.MEMORY(unique("memory"), limit_in_bytes="4M")) for _ in range(5)]
        for group in groups:
            bound(group, "4M")
            observer.watch(group.oom_events(), lambda event: came.put(event.group))
        assert observers() == threads + 1
        assert len(observer) == 5
        hog.be_killed(groups[3].path)
        assert came.get(timeout=PATIENCE) == groups[3]._path
        observer.stop()
        observer.stop()
        assert observers() == threads
        assert len(observer) == 0
        observer.watch(memory.oom_events(), lambda event: came.put(event.group))
        hog.be_killed(memory.path)
        assert came.get(timeout=PATIENCE) == memory._path
    assert observers() == threads
    assert open_files() <= files + 3  # what a process has one of: to wake waiters, for removals, the kernel log


def test_an_observer_tells_of_the_removal_of_just_those(memory: MEMORY, unique: Unique, hog: Hogs) -> None:
    gone: queue.Queue[str] = queue.Queue()
    came: queue.Queue[OomEvent] = queue.Queue()
    with Observer() as observer, Cgroup.MEMORY(unique("memory")) as other:
        watching = observer.watch(memory.oom_events(), came.put, removed=lambda: gone.put("memory"))
        staying = observer.watch(other.oom_events(), came.put, removed=lambda: gone.put("other"))
        memory.delete()
        assert gone.get(timeout=PATIENCE) == "memory"
        assert watching.closed
        assert not staying.closed
        bound(other, "4M")
        hog.be_killed(other.path)
        assert came.get(timeout=PATIENCE).group == other._path
        assert gone.empty()
    memory.create()


def test_a_callback_that_raises_stops_nothing(memory: MEMORY, hog: Hogs, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: queue.Queue[type[BaseException]] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda hook: raised.put(hook.exc_type))

    def callback(_event: OomEvent) -> None:
        raise LookupError("of the user's")

    with Observer() as observer:
        observer.watch(memory.oom_events(), callback)
        for _ in range(2):
            hog.be_killed(memory.path)
            assert raised.get(timeout=PATIENCE) is LookupError


def test_a_callback_may_close_and_stop(memory: MEMORY, hog: Hogs) -> None:
    done = threading.Event()
    observer = Observer()

    def callback(_event: OomEvent) -> None:
        watching.close()
        observer.stop()
        done.set()

    watching = observer.watch(memory.oom_events(), callback)
    hog.be_killed(memory.path)
    assert done.wait(PATIENCE)
    assert watching.closed


def test_an_observer_in_a_forked_child_is_another(memory: MEMORY) -> None:
    with memory.on_oom(print):

        def child() -> int:
            with memory.on_oom(print):
                return observers()

        assert processes.forked(child) == 1


def test_the_descriptor_is_not_inherited(events: Subscription[OomEvent]) -> None:
    assert not os.get_inheritable(events.fileno())
    assert select.select([events], [], [], 0) == ([], [], [])


@needs("memory", version=1)
def test_events_hold_in_a_group_that_is_not_ours(memory: MEMORY) -> None:
    oracle.make("memory", f"{memory.group_name}/theirs")
    with Cgroup.MEMORY(f"{memory.group_name}/theirs").oom_events() as events:
        assert events.wait(0) is None
