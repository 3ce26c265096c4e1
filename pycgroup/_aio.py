# SPDX-License-Identifier: MIT
"""One subscription in one asyncio loop: a reader that is added once and kept. Loaded with the first `async for`."""

from __future__ import annotations

import asyncio

from ._types import TYPE_CHECKING, Generic, T
from .errors import CgroupError, ClosedError, GroupRemovedError

if TYPE_CHECKING:
    from typing import Protocol, TypeVar

    T_co = TypeVar("T_co", covariant=True)

    class Source(Protocol[T_co]):
        """What it needs of the subscription."""

        def fileno(self) -> int: ...
        def enter(self, *, patient: bool = False) -> object: ...
        def leave(self) -> None: ...
        def poll(self) -> T_co | None: ...
        def dispose(self) -> None: ...


def running() -> asyncio.AbstractEventLoop:
    """Return the loop that runs now."""
    return asyncio.get_running_loop()


class Feed(Generic[T]):
    """Hands the events of a subscription to whoever awaits the next one."""

    def __init__(self, subscription: Source[T]) -> None:
        self.loop = running()
        self._subscription = subscription
        self._descriptor = -1
        self._future: asyncio.Future[T] | None = None
        #: An event that came for somebody who was cancelled at that very moment.
        self._kept: list[T] = []

    async def next(self) -> T:
        """Return the next event. Raises BusyError, and StopAsyncIteration when the group is gone or all is closed."""
        if self._kept:
            return self._kept.pop()
        future: asyncio.Future[T] | None = None
        try:
            self._subscription.enter(patient=True)
            future = self._future = self.loop.create_future()
            try:
                self._listen()
                return await future
            finally:
                self._future = None
                self._subscription.leave()
        except asyncio.CancelledError:
            if future and future.done() and not future.cancelled() and future.exception() is None:
                self._kept.append(future.result())
            raise
        except (GroupRemovedError, ClosedError):
            raise StopAsyncIteration from None

    def _listen(self) -> None:
        if self._descriptor < 0:
            self._descriptor = self._subscription.fileno()
            self.loop.add_reader(self._descriptor, self._ready)

    def _ready(self) -> None:
        """Take what was signalled, at once: the loop would call again before the awaiting task runs."""
        future = self._future
        if future is None or future.done():
            # Nobody is waiting, so it must not be asked in every turn of the loop; next() listens again.
            self._unlisten()
            return
        try:
            event = self._subscription.poll()
        except CgroupError as error:
            future.set_exception(error)
        else:
            if event is not None:
                future.set_result(event)

    def _unlisten(self) -> None:
        if self._descriptor >= 0:
            self.loop.remove_reader(self._descriptor)
            self._descriptor = -1

    def release(self) -> bool:
        """Take the descriptor out of the loop; from another thread that is left to the loop."""
        if self._descriptor < 0 or self.loop.is_closed():
            return True
        if self._is_here() or not self.loop.is_running():
            self._unlisten()
            return True
        self.loop.call_soon_threadsafe(self._let_go)
        return False

    def _is_here(self) -> bool:
        """Return whether this is the thread of the loop."""
        try:
            return running() is self.loop
        except RuntimeError:
            return False

    def _let_go(self) -> None:
        self._unlisten()
        self._subscription.dispose()
