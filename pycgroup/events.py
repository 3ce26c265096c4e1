# SPDX-License-Identifier: MIT
"""Subscription: events of one group for sync code, threads and asyncio."""

from __future__ import annotations

import errno
import os
import time
import warnings
from _thread import RLock

from ._types import TYPE_CHECKING, Generic, T
from .codecs import UNLIMITED
from .errors import BusyError, ClosedError, GroupRemovedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, Protocol, Self

    from ._aio import Feed
    from ._signals import Signal

    class Happening(Protocol):
        """An event."""

        def look(self) -> object: ...

    class Keeper(Protocol):
        """Who has the descriptor in an epoll: it must let go before that is closed."""

        def release(self) -> bool:
            """Let go; return False where that can be done only later, by calling dispose()."""


# Guards who waits and who closes, for the moment that it takes to say so; waiting itself is done without it.
# Re-entrant, because a signal handler may close what its own thread is just about to wait for.
_guard = RLock()
_BILLION = 1_000_000_000
# Whose the subscriptions made now are.
_process = os.getpid()


def _in_child() -> None:
    global _guard, _process
    _guard, _process = RLock(), os.getpid()


os.register_at_fork(after_in_child=_in_child)


class Watch(Generic[T]):
    """What a signal means: the part of a subscription that differs from kind to kind."""

    __slots__ = ("group", "last", "signal")
    signal: Signal

    def __init__(self, group: str) -> None:
        #: The group's name, for events and messages.
        self.group = group
        #: Gives the last event that is not complete yet, as long as somebody has it.
        self.last: Callable[[], Happening | None] = _nothing

    def start(self, text: str) -> None:
        """Note what the watched file held when the watch began."""

    def prepare(self) -> None:
        """Do what can be done before the next event comes: complete the last one."""
        last = self.last()
        if last is not None:
            last.look()

    def happened(self, signals: int, text: str | None) -> T | None:
        """Return the event that so many signals stand for, None where they mean nothing.

        `text` is what the watched file holds now, None where it has not been read yet: now() reads it.
        """
        raise NotImplementedError

    def now(self, text: str | None) -> str:
        """Return what the watched file holds now, which is read unless it is known. Raises OSError."""
        return self.signal.text() if text is None else text

    def outlived(self, _signals: int) -> T | None:
        """Return what had happened before the group went away, as far as it can be known."""
        return None

    def close(self) -> None:
        """Complete what was delivered, as long as the group can be asked: the descriptors are closed next."""
        last = self.last()
        if last is not None:
            last.look()


def _nothing() -> None:
    """Return None, as a reference does to what is no more."""


class Subscription(Generic[T]):
    """Events of one group: wait() for one, iterate, iterate in asyncio, or give fileno() to a selector.

    It is a context manager. Iteration ends when the group is removed or the subscription is closed. One at a time may
    wait; in a forked child the subscription is closed, so that it takes nothing from its parent.
    """

    __slots__ = ("__weakref__", "_closed", "_keeper", "_pid", "_removed", "_signal", "_waiting", "_watch")

    def __init__(self, signal: Signal, watch: Watch[T]) -> None:
        self._signal: Signal | None = signal
        self._watch = watch
        self._closed = self._removed = self._waiting = False
        self._keeper: Keeper | None = None
        self._pid = _process
        watch.signal = signal
        try:
            watch.start(signal.text())
        except OSError as error:
            if error.errno != errno.ENODEV:
                self.close()
                raise
            signal.wake()  # the first to wait hears that the group is gone

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._watch.group

    @property
    def closed(self) -> bool:
        """Whether it was closed; true in a forked child, too."""
        return self._closed or self._pid != _process

    def fileno(self) -> int:
        """Return a descriptor that polls readable when wait(0) has something to say. Raises ClosedError."""
        signal = self._signal
        if self.closed or signal is None:
            raise self._closed_error()
        return signal.fileno()

    def wait(self, timeout: float | None = None) -> T | None:
        """Return the next event, or None when `timeout` seconds are over; None waits for ever, 0 not at all.

        Raises GroupRemovedError when the group is gone, ClosedError, and BusyError when somebody else is waiting.
        """
        signal = self.enter(patient=timeout != 0)
        # After a sleep the caches are cold: what can be looked up is, and the common case takes no further step.
        wait, happened = signal.waiter(), self._watch.happened
        left = -1 if timeout is None or timeout == UNLIMITED else max(0, int(timeout * _BILLION))
        deadline = None if left < 0 else time.monotonic_ns() + left
        try:
            while True:
                signals = wait(left)
                if signals > 0 and not self._closed:
                    event = happened(signals, None)
                else:
                    event = self.meaning(signals) if signals else None
                if event is not None:
                    return event
                if deadline is not None:
                    left = deadline - time.monotonic_ns()
                    if left <= 0:
                        return None
        finally:
            self._waiting = False
            if self._closed:
                self.dispose()

    def enter(self, *, patient: bool = False) -> Signal:
        """Become the one who waits, `patient` if not just now. Raises ClosedError, BusyError, GroupRemovedError."""
        if self.closed:
            raise self._closed_error()
        with _guard:
            if self._waiting:
                raise BusyError(f"somebody else waits for events of {self.group!r} already", group=self.group)
            self._waiting = True
        signal = self._signal
        if self._closed or self._removed or signal is None:
            self.leave()
            raise self._removed_error() if self._removed and not self._closed else self._closed_error()
        if patient:
            self._watch.prepare()
        return signal

    def leave(self) -> None:
        """Wait no longer; close what was closed meanwhile."""
        self._waiting = False
        if self._closed:
            self.dispose()

    def poll(self) -> T | None:
        """Return the event that has come, or None; for who has entered. Raises ClosedError, GroupRemovedError."""
        signal = self._signal
        if signal is None:
            raise self._closed_error()
        signals = signal.waiter()(0)
        return self.meaning(signals) if signals else None

    def meaning(self, signals: int) -> T | None:
        """Return the event that so many signals stand for; for who has entered.

        Raises ClosedError and GroupRemovedError.
        """
        signal = self._signal
        if self._closed or signal is None:
            raise self._closed_error()
        if signals > 0:
            return self._watch.happened(signals, None)
        try:
            text = signal.text()
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return self._last_words(signal, -signals)
        return self._watch.happened(-signals, text)

    def _last_words(self, signal: Signal, signals: int) -> T:
        """Return what happened before the group went away; then, and at once if nothing did, say that it is gone."""
        self._removed = True
        event = self._watch.outlived(signals)
        if event is None:
            raise self._removed_error()
        signal.wake()  # so that those who poll come back and hear of the removal
        return event

    def close(self) -> None:
        """End the subscription, from any thread; whoever waits gets ClosedError. Closing twice is no error."""
        with _guard:
            if self._closed:
                return
            self._closed = True
            if self._pid == _process and self._waiting and self._signal is not None:
                # The waiter closes the descriptors: they must not become other files' while it uses them.
                self._signal.wake()
                return
        self.dispose()

    def dispose(self) -> None:
        """Close the descriptors, once nobody uses them any more."""
        own = self._pid == _process
        keeper, self._keeper = self._keeper, None
        if own and keeper is not None and not keeper.release():
            return
        with _guard:
            signal, self._signal = self._signal, None
        if signal is not None and own:
            self._watch.close()
        if signal is not None:
            signal.close()

    def keep(self, keeper: Keeper | None) -> None:
        """Have somebody let go of the descriptor before it is closed."""
        self._keeper = keeper

    def _closed_error(self) -> ClosedError:
        foreign = "" if self._pid == _process else f" here: it belongs to process {self._pid}, subscribe anew"
        return ClosedError(f"the subscription to events of {self.group!r} is closed{foreign}", group=self.group)

    def _removed_error(self) -> GroupRemovedError:
        return GroupRemovedError(f"the group {self.group!r} was removed while it was watched", group=self.group)

    def __iter__(self) -> Self:
        if self.closed:
            raise self._closed_error()
        return self

    def __next__(self) -> T:
        try:
            event = self.wait()
        except (GroupRemovedError, ClosedError):
            raise StopIteration from None
        if event is None:
            raise AssertionError("waiting without a timeout ends with an event")
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self.__iter__()

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return self._feed().next()

    def _feed(self) -> Feed[T]:
        """Return the reader that is kept in the running loop."""
        from ._aio import Feed, running

        keeper = self._keeper
        if isinstance(keeper, Feed) and keeper.loop is running():
            return keeper
        feed: Feed[T] = Feed(self)
        self._keeper = feed
        return feed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if not self._closed:
            if self._pid == _process:
                warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else " removed" if self._removed else ""
        return f"<Subscription to {type(self._watch).__name__} of {self.group!r}{state}>"
