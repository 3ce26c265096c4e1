# SPDX-License-Identifier: MIT
"""Listen as a user of pycgroup would: ``listener.py STYLE GROUP [THRESHOLD]``, or ``listener.py register GROUP COUNT``.

Prints "ready", then the nanosecond at which each event was in hand. The styles named "bare ..." do without pycgroup: an
eventfd that Python reads, which says neither what has happened nor whether the group is still there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import sys
import time
from typing import TYPE_CHECKING, Any

from pycgroup import Cgroup

if TYPE_CHECKING:
    from pycgroup.events import Subscription


def say(word: object) -> None:
    """Print at once."""
    os.write(1, f"{word}\n".encode())


def wait(events: Subscription[Any]) -> None:
    """Wait."""
    while True:
        events.wait()
        say(time.monotonic_ns())


def iterate(events: Subscription[Any]) -> None:
    """Iterate."""
    for _ in events:
        say(time.monotonic_ns())


def select(events: Subscription[Any]) -> None:
    """Have a selector wait."""
    selector = selectors.DefaultSelector()
    selector.register(events, selectors.EVENT_READ)
    while True:
        for _ in selector.select():
            if events.wait(0) is not None:
                say(time.monotonic_ns())


def run(events: Subscription[Any]) -> None:
    """Iterate in asyncio."""

    async def main() -> None:
        async for _ in events:
            say(time.monotonic_ns())

    asyncio.run(main())


def bare_wait(descriptor: int) -> None:
    """Read."""
    while True:
        os.eventfd_read(descriptor)
        say(time.monotonic_ns())


def bare_select(descriptor: int) -> None:
    """Have a selector wait, then read."""
    selector = selectors.DefaultSelector()
    selector.register(descriptor, selectors.EVENT_READ)
    while True:
        for _ in selector.select():
            os.eventfd_read(descriptor)
            say(time.monotonic_ns())


def bare_run(descriptor: int) -> None:
    """Await a future that a reader of the loop completes."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.add_reader(descriptor, lambda: future.set_result(os.eventfd_read(descriptor)))
        while True:
            await future
            say(time.monotonic_ns())
            future = loop.create_future()

    asyncio.run(main())


def bare(style: str, directory: str, file: str, argument: str) -> None:
    """Register an eventfd by hand, and wait for it."""
    descriptor = os.eventfd(0, os.EFD_CLOEXEC)
    watched = os.open(f"{directory}/{file}", os.O_RDONLY)
    with open(f"{directory}/cgroup.event_control", "w") as control:
        control.write(f"{descriptor} {watched} {argument}")
    say("ready")
    BARE[style](descriptor)


def register(name: str, count: int) -> None:
    """Print nanoseconds and bytes of process memory for each of many subscriptions."""
    memory = Cgroup.MEMORY(name)
    with memory.oom_events():
        gc.collect()
        gc.disable()
        before = resident()
        start = time.perf_counter_ns()
        held = [memory.oom_events() for _ in range(count)]
        took = time.perf_counter_ns() - start
        say(f"{took // count} {(resident() - before) // count}")
        for each in held:
            each.close()


def resident() -> int:
    """Return the bytes that this process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


STYLES = {"wait": wait, "for": iterate, "selectors": select, "asyncio": run}
BARE = {"bare read": bare_wait, "bare selectors": bare_select, "bare asyncio": bare_run}


def main() -> None:
    """Do as the arguments say."""
    style, name, *more = sys.argv[1:]
    if style in BARE:
        bare(style, name, *more)
        return
    if style == "register":
        register(name, int(more[0]))
        return
    memory = Cgroup.MEMORY(name)
    with memory.threshold_events(more[0]) if more else memory.oom_events() as events:
        say("ready")
        STYLES[style](events)


if __name__ == "__main__":
    main()
