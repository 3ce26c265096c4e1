# SPDX-License-Identifier: MIT
"""Subscription: events of one group for sync code, threads and asyncio."""

from __future__ import annotations

import errno
import os
import time
import warnings
from sys import getrefcount

from . import _locks, _waiting
from ._native import FRESH
from ._types import TYPE_CHECKING, Generic, T
from .errors import BusyError, CgroupError, ClosedError, GroupRemovedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, ClassVar, NoReturn, Protocol, Self

    from ._aio import Feed
    from ._signals import EventFd, Signal

    class Keeper(Protocol):
        """Who has the descriptor in an epoll: it must let go before that is closed."""

        def has_forsaken(self, waiter: object) -> bool:
            """Return whether somebody waits there who will never hear of anything."""

        def give_up(self) -> bool:
            """Let go for another's sake, if that can be done here and now; return whether it was."""

        def release(self) -> bool:
            """Let go; return False where that can be done only later, by calling dispose()."""


# Guards who waits and who closes, for the moment that it takes to say so; waiting itself is done without it.
_guard = _locks.lock()
# What getrefcount says of an attribute that nobody else has: it is held by its object, and as the argument.
NOBODYS = 2
# Whose the subscriptions made now are.
process = os.getpid()


def _in_child() -> None:
    global process
    process = os.getpid()


os.register_at_fork(after_in_child=_in_child)


class Ahead(Generic[T]):
    """The next event, made before it comes, so that it is with its reader as soon as can be.

    It is the `last` that was made, once more, where nobody else has that any longer: at once if nobody has looked at
    it, as it is given `find` still.
    """

    __slots__ = ("event", "find", "last", "listener", "take", "turn", "turned", "wait")

    def __init__(self, signal: EventFd, find: Callable[[], dict[str, Any]], none: object) -> None:
        #: It; None once it is delivered, and with it all signals that were taken, until there is another one.
        self.event: T | None = None
        #: `none` where there was none yet.
        self.last: Any = none
        self.find = find
        #: What waits for it, and who counts the signals there.
        self.wait = signal.waiter()
        self.listener = signal.listener
        #: What does not wait, and what it is called with. It comes first: only then are the signals of the last event
        #: told, which counts them.
        self.take, self.turn = signal.taker()
        self.turned = self.turn + 1

    def deliver(self) -> T | None:
        """Return it."""
        # Nothing is called, so that no signal handler's exception comes between.
        event, self.event = self.event, None
        self.turn, self.turned = self.turned, self.turn
        return event


class Watch(Generic[T]):
    """What a signal means: the part of a subscription that differs from kind to kind."""

    __slots__ = ("group", "is_closed", "signal")
    #: What its events are.
    delivers: ClassVar[type] = object
    signal: Signal
    #: For the kinds that make their events before they come, once begin() has been called.
    ahead: Ahead[T] | None = None

    def __init__(self, group: str) -> None:
        #: The group's name, for events and messages.
        self.group = group
        #: Whether the signal's descriptors are closed, or another process's: they may be other files' by now.
        self.is_closed = False

    def start(self, text: str) -> None:
        """Note what the watched file held when the watch began; '' stands for that of a group that is FRESH."""

    def begin(self) -> object:
        """Do what the first event would be late for, in whatever thread."""

    def prepare(self, *, patient: bool) -> None:
        """Do what can be done before the next event comes; `patient` if it is to be waited for."""

    def happened(self, signals: int, text: str | None) -> T | None:
        """Return the event that so many signals stand for, None where they mean nothing.

        `text` is what the watched file holds now, None where it has not been read yet: now() reads it.
        """
        raise NotImplementedError

    def now(self, text: str | None) -> str:
        """Return what the watched file holds now, which is read unless it is known. Raises OSError."""
        return self.signal.text() if text is None else text

    def now_if_possible(self, text: str | None) -> str | None:
        """Return the same, None where no descriptor is to be had for it. Raises OSError when the group is gone."""
        try:
            return self.now(text)
        except OSError as error:
            if _is_gone(error):
                raise
            return None

    def is_told_by_signals(self, *, slept: bool) -> bool:  # noqa: ARG002  # others need to know
        """Return whether outlived() needs the exact number of signals, for which the kernel has to be waited for.

        `slept`: they came while they were waited for; then the last is the removal's, but for a rare coincidence.
        """
        return False

    def outlived(self, _least: int, _most: int) -> T | None:
        """Return what had happened before the group went away, of which so many signals told, as far as is known."""
        return None

    def bide(self, nanoseconds: int) -> int:
        """Complete the last event as soon as the kernel allows, unless the next one comes or so many are over before.

        Return how many nanoseconds are left; below 0 there is no limit.
        """
        return nanoseconds

    def is_settling(self) -> bool:
        """Return whether settle() has something to wait for."""
        return False

    def settle(self) -> None:
        """Wait until the kernel has finished what the last event is the beginning of."""

    def finish(self) -> None:
        """Complete what was delivered, as long as the group can be asked: the descriptors are closed next."""


class Subscription(Generic[T]):
    """Events of one group: wait() for one, iterate, iterate in asyncio, or give fileno() to a selector.

    It is a context manager. Iteration ends when the group is removed or the subscription is closed. One at a time may
    wait; in a forked child the subscription is closed, so that it takes nothing from its parent.
    """

    __slots__ = ("__weakref__", "_closed", "_keeper", "_kept", "_pid", "_removed", "_signal", "_waiting", "_watch")

    def __init__(self, signal: Signal, watch: Watch[T]) -> None:
        # A subclass makes all of this when something of it is first asked for, which is a call.
        self._signal: Signal | None = signal
        self._watch = watch
        self._closed = self._removed = False
        #: Who waits: any object that is his alone.
        self._waiting: object = None
        self._keeper: Keeper | None = None
        #: Events that were taken for somebody who was cancelled at that very moment.
        self._kept: tuple[T, ...] = ()
        self._pid = process
        watch.signal = signal
        try:
            watch.start("" if signal.found & FRESH else signal.text())
        except BaseException as error:
            if not _is_gone(error):
                self.close()
                raise
            self._removed = True
            signal.wake()  # so that those who poll come, and hear of it

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._watch.group

    @property
    def closed(self) -> bool:
        """Whether it was closed; true in a forked child, too."""
        return self._closed or self._pid != process

    def fileno(self) -> int:
        """Return a descriptor that polls readable when wait(0) has something to say, and at times when it has not.

        Who takes events only now and then may miss what came right before a removal on v1, where the signals alone
        tell of it (thresholds, pressure): one signal more stands for the removal. Raises ClosedError.
        """
        signal = self._signal
        if self.closed or signal is None:
            raise self._closed_error()
        self._watch.begin()
        return signal.fileno()

    def wait(self, timeout: float | None = None) -> T | None:  # noqa: C901, PLR0912  # a call more is 3 us, in the cold
        """Return the next event, or None when `timeout` seconds are over; None waits for ever, 0 not at all.

        Raises GroupRemovedError when the group is gone, ClosedError, BusyError when somebody else is waiting, and
        InvalidValueError.
        """
        watch = self._watch  # first, as all of this may have to be made, which is a call
        left = 0 if timeout == 0 else _waiting.nanoseconds(timeout)
        me: list[None] = []  # whatever nobody else has, and cheaper than object()
        try:
            ahead = watch.ahead
            is_open = self._pid == process and not (self._closed or self._removed)
            if left == 0 and ahead is not None and self._waiting is None and is_open:
                # enter(), but for the calls and what poll() sees to: who comes from a selector has slept, and finds the
                # caches cold.
                self._waiting = me
                if getrefcount(ahead.last) == NOBODYS and ahead.last._given is ahead.find:  # noqa: SLF001  # as above
                    ahead.event = ahead.last
                elif ahead.event is None:
                    watch.prepare(patient=False)
                return self.poll()
            signal = self.enter(me, patient=left != 0)
            if left == 0 or self._kept:
                return self.poll()
            # After a sleep the caches are cold: what can be looked up before is, and an event may be ready.
            ahead = watch.ahead
            wait = signal.waiter() if ahead is None else ahead.wait
            deadline = None if left < 0 else time.monotonic_ns() + left
            while True:
                # What came before is told from what comes while it is waited for.
                signals, slept = wait(0) if ahead is None else ahead.take(ahead.turn), False
                if not signals:
                    signals, slept = wait(watch.bide(left)), True
                if signals > 0 and ahead is not None and not self._closed:
                    return ahead.deliver()
                event = self._meaning(signals, patient=True, slept=slept) if signals else None
                if event is not None:
                    return event
                if deadline is not None:
                    left = deadline - time.monotonic_ns()
                    if left <= 0:
                        return None
        finally:
            # Nothing is called before this is done, so that no signal handler's exception comes between.
            if self._waiting is me:
                self._waiting = None
                if self._closed:
                    self._dispose_if_idle(patient=True)

    def enter(self, who: object, *, patient: bool = False) -> Signal:
        """Become the one who waits, `patient` if not just now, until leave().

        Raises ClosedError, BusyError, GroupRemovedError.
        """
        watch = self._watch  # first, as all of this may have to be made, which is a call
        while self._waiting is not None:
            self._dismiss()
        # Without the guard, which takes as long as two or three calls where the caches are cold: nothing is called
        # between the last look and the note of who waits, so that no other thread comes between.
        signal = self._signal
        if self._closed or signal is None or self._pid != process:
            raise self._closed_error()
        if self._removed and not self._kept:
            raise self._removed_error()
        self._waiting = who
        ahead = watch.ahead
        if ahead is None or ahead.event is None:
            watch.prepare(patient=patient)
        return signal

    def _dismiss(self) -> None:
        """Have nobody wait any more. Raises BusyError where somebody does, and ClosedError."""
        if self.closed:
            raise self._closed_error()
        with _guard:
            who = self._waiting
            if self._is_awaited():
                raise BusyError(f"somebody else waits for events of {self.group!r} already", group=self.group)
            if self._waiting is who:
                self._waiting = None

    def _is_awaited(self) -> bool:
        """Return whether somebody waits, and not in a loop that was closed over him."""
        keeper = self._keeper
        return self._waiting is not None and not (keeper is not None and keeper.has_forsaken(self._waiting))

    def leave(self, who: object, *, patient: bool = False) -> None:
        """Wait no longer, and close what was closed meanwhile; `patient` if the kernel may be waited for.

        It is no error not to have entered.
        """
        if self._waiting is who:
            self._waiting = None
            if self._closed:
                self._dispose_if_idle(patient=patient)

    def _dispose_if_idle(self, *, patient: bool) -> None:
        with _guard:
            idle = self._waiting is None
        if idle:
            self.dispose(patient=patient)

    def keep_event(self, event: T) -> None:
        """Leave an event that was taken already to the next who asks."""
        with _guard:
            self._kept += (event,)

    def next_kept(self) -> T | None:
        """Return what somebody else has taken and left, None if there is nothing; for who has entered."""
        kept = self._kept
        if not kept:
            return None
        # Nothing is called, so that neither another thread nor a signal handler comes between.
        self._kept = kept[1:]
        return kept[0]

    def poll(self) -> T | None:
        """Return the event that has come, or None; for who has entered. Raises ClosedError, GroupRemovedError."""
        if self._kept:
            return self.next_kept()
        signal = self._signal
        if self._closed or signal is None:
            raise self._closed_error()
        ahead = self._watch.ahead
        signals = signal.waiter()(0) if ahead is None else ahead.take(ahead.turn)
        if signals > 0 and ahead is not None and not self._closed:
            event, ahead.event = ahead.event, None  # as deliver() does
            ahead.turn, ahead.turned = ahead.turned, ahead.turn
            return event
        return self._meaning(signals, patient=False, slept=False) if signals else None

    def _meaning(self, signals: int, *, patient: bool, slept: bool) -> T | None:
        """Return the event that so many signals stand for. Raises ClosedError and GroupRemovedError.

        `patient` if the kernel may be waited for; `slept` if they came while they were waited for.
        """
        signal = self._signal
        if self._closed or signal is None:
            raise self._closed_error()
        try:
            text = None if signals > 0 else signal.text()
        except OSError as error:
            if not _is_scarce(error):
                patient = patient and self._watch.is_told_by_signals(slept=slept)
                return self._last_words(error, *signal.before_removal(-signals, patient=patient))
            text = None
        if (ahead := self._watch.ahead) is not None:
            return ahead.deliver()
        try:
            event = self._watch.happened(abs(signals), text)
        except OSError as error:
            return self._last_words(error, abs(signals), abs(signals))
        # Nothing is called from here on: who is interrupted before leaves the signals to the next who asks.
        if (listener := signal.listener) is not None:
            listener.told = listener.signals
        return event

    def _last_words(self, error: OSError, least: int, most: int) -> T | None:
        """Return what so many signals told of before the group went away.

        Then, and at once if that was nothing, say that it is gone. Raises GroupRemovedError, or another error anew.
        """
        if not _is_gone(error):
            raise error
        event = self._watch.outlived(least, most)
        # Not before: whoever was interrupted asks again.
        self._removed = True
        if event is not None:
            self._kept += (event,)
        if self._signal is not None:
            self._signal.wake()  # so that those who poll come back and hear of the removal
        if event is None:
            raise self._removed_error() from None
        return self.next_kept()

    def close(self) -> None:
        """End the subscription, from any thread; whoever waits gets ClosedError. Closing twice is no error.

        The last OOM event is completed first, for which the kernel is waited for, a quarter of a second at most.
        """
        self.end(patient=True)

    def end(self, *, patient: bool) -> None:
        """Close it; `patient` if the kernel may be waited for."""
        own = self._pid == process  # first, as all of this may have to be made, and not while the guard is held
        with _guard:
            if self._closed and (self._signal is None or self._is_awaited()):
                return
            self._closed = True
            if own and self._is_awaited() and self._signal is not None:
                # The waiter closes the descriptors: they must not become other files' while it uses them.
                self._signal.wake()
                return
        self.dispose(patient=patient)

    def dispose(self, *, patient: bool) -> None:
        """Close the descriptors, once nobody uses them any more; `patient` if the kernel may be waited for."""
        own = self._pid == process
        try:
            if own and patient:
                self._watch.settle()
        finally:
            self._dispose(own=own)

    def _dispose(self, *, own: bool) -> None:
        """Close the descriptors at once."""
        watch = self._watch
        if own and self._keeper is not None and not self._keeper.release():
            return
        self._keeper = None
        with _guard:
            signal, self._signal = self._signal, None
        if (ahead := watch.ahead) is not None:
            ahead.event = None  # it will not come any more
        if signal is None:
            return
        try:
            if own:
                watch.finish()
        finally:
            with _locks.looking:  # nobody reads now, and nobody will
                watch.is_closed = True
            signal.close()

    def keep(self, keeper: Keeper) -> None:
        """Have somebody let go of the descriptor before it is closed. Raises BusyError where somebody else does."""
        if not self._is_free():
            raise BusyError(f"another loop or observer has the events of {self.group!r}", group=self.group)
        self._keeper = keeper

    def let_go(self) -> None:
        """Undo keep()."""
        self._keeper = None

    def _is_free(self) -> bool:
        """Return whether nobody has the descriptor in an epoll; a loop that does not run gives it up."""
        keeper = self._keeper
        return keeper is None or keeper.give_up()

    def _closed_error(self) -> ClosedError:
        foreign = "" if self._pid == process else f" here: it belongs to process {self._pid}, subscribe anew"
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
        """Return the reader that is kept in the running loop. Raises BusyError."""
        from ._aio import Feed, running

        keeper, loop = self._keeper, running()
        if isinstance(keeper, Feed) and keeper.loop is loop:
            return keeper
        feed: Feed[T] = Feed(self, loop)
        self.keep(feed)
        return feed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if self._watch.is_settling():
                from ._aio import aside

                await aside(self._watch.settle)
        finally:
            self.end(patient=False)

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if self._closed:
            self.dispose(patient=False)  # for who could not: a loop that was closed at this moment
            return
        if self._pid == process:
            warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
        self.end(patient=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} has descriptors, which cannot be copied: subscribe anew")

    def __repr__(self) -> str:
        state = " closed" if self.closed else " removed" if self._removed else ""
        return f"<Subscription[{self._watch.delivers.__name__}] of {self.group!r}{state}>"


def _is_gone(error: BaseException) -> bool:
    """Return whether an error says that the watched file is no more, with its group."""
    return isinstance(error, OSError) and not isinstance(error, CgroupError) and error.errno == errno.ENODEV


def _is_scarce(error: OSError) -> bool:
    return error.errno in (errno.EMFILE, errno.ENFILE)
