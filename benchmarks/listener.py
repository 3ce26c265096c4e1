# SPDX-License-Identifier: MIT
"""Listen as a user of pycgroup would: ``listener.py STYLE GROUP [THRESHOLD]``, or ``listener.py register GROUP COUNT``.

Prints "ready", then the nanosecond at which each event was in hand.
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


def main() -> None:
    """Do as the arguments say."""
    style, name, *more = sys.argv[1:]
    if style == "register":
        register(name, int(more[0]))
        return
    memory = Cgroup.MEMORY(name)
    with memory.threshold_events(more[0]) if more else memory.oom_events() as events:
        say("ready")
        STYLES[style](events)


if __name__ == "__main__":
    main()
