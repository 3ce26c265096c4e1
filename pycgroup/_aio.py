# SPDX-License-Identifier: MIT
"""One subscription in one asyncio loop: a reader that is added once and kept. Loaded with the first `async for`."""

from __future__ import annotations

import asyncio

from ._types import TYPE_CHECKING, Generic, T
from .errors import CgroupError, ClosedError, GroupRemovedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Source(Protocol[T]):
        """What it needs of the subscription."""

        def fileno(self) -> int: ...
        def enter(self, who: object, *, patient: bool = False) -> object: ...
        def leave(self, who: object) -> None: ...
        def poll(self) -> T | None: ...
        def keep_event(self, event: T) -> None: ...
        def next_kept(self) -> T | None: ...
        def dispose(self, *, patient: bool) -> None: ...


def running() -> asyncio.AbstractEventLoop:
    """Return the loop that runs now."""
    return asyncio.get_running_loop()


async def aside(wait: Callable[[], None]) -> None:
    """Run what may block in a thread, and return when it is done."""
    await asyncio.to_thread(wait)


class Feed(Generic[T]):
    """Hands the events of a subscription to whoever awaits the next one."""

    def __init__(self, subscription: Source[T], loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._subscription = subscription
        self._descriptor = -1
        self._future: asyncio.Future[T] | None = None

    async def next(self) -> T:
        """Return the next event. Raises BusyError, and StopAsyncIteration when the group is gone or all is closed."""
        future: asyncio.Future[T] = self.loop.create_future()
        try:
            try:
                self._subscription.enter(future, patient=True)
                self._future = future
                if (kept := self._subscription.next_kept()) is not None:
                    return kept
                if self._listen() and (event := self._subscription.poll()) is not None:
                    return event
                return await future
            finally:
                if self._future is future:
                    self._future = None
                self._subscription.leave(future)
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # It came for somebody who was cancelled at that very moment.
                self._subscription.keep_event(future.result())
            raise
        except (GroupRemovedError, ClosedError):
            raise StopAsyncIteration from None

    def _listen(self) -> bool:
        """Have the loop call when something comes; return whether something may have come before it could do so."""
        if self._descriptor >= 0:
            return False
        self._descriptor = self._subscription.fileno()
        self.loop.add_reader(self._descriptor, self._ready)
        return True

    def _ready(self) -> None:
        """Take what was signalled, at once: the loop would call again before the awaiting task runs."""
        future = self._future
        if future is None or future.done():
            # Nobody is waiting, so it must not be asked in every turn of the loop; next() listens again.
            self._unlisten()
            return
        try:
            event = self._subscription.poll()
        except (CgroupError, OSError) as error:
            future.set_exception(error)
        else:
            if event is not None:
                future.set_result(event)

    def _unlisten(self) -> None:
        if self._descriptor >= 0:
            self.loop.remove_reader(self._descriptor)
            self._descriptor = -1

    def has_forsaken(self, waiter: object) -> bool:
        """Return whether somebody waits here for ever, as the loop was closed meanwhile."""
        return waiter is self._future and self.loop.is_closed()

    def give_up(self) -> bool:
        """Take the descriptor out of the loop, if that can be done here and now; return whether it was."""
        if self._descriptor >= 0 and not self.loop.is_closed():
            if not self._is_here() and self.loop.is_running():
                return False
            self._unlisten()
        return True

    def release(self) -> bool:
        """Take the descriptor out of the loop; from another thread that is left to the loop."""
        if self.give_up():
            return True
        try:
            self.loop.call_soon_threadsafe(self._let_go)
        except RuntimeError:
            return True  # it was closed at this moment
        return False

    def _is_here(self) -> bool:
        """Return whether this is the thread of the loop."""
        try:
            return running() is self.loop
        except RuntimeError:
            return False

    def _let_go(self) -> None:
        self._unlisten()
        self._subscription.dispose(patient=False)
