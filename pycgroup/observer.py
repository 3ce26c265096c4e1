# SPDX-License-Identifier: MIT
"""Observer: any number of subscriptions, one thread, one epoll. A callback gets each event."""

from __future__ import annotations

import os
from _thread import get_ident

from . import _locks
from ._signals import always_readable
from ._types import TYPE_CHECKING, Any, Generic, T
from .errors import BusyError, ClosedError, GroupRemovedError, UnavailableError

if TYPE_CHECKING:
    import select
    import threading
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from .events import Subscription

_MANY = 256
# One for all observers: it is held for a moment only, and never while a callback runs.
_lock = _locks.lock()


class Watching(Generic[T]):
    """A subscription that an observer serves. close() ends both, from any thread, and twice is no error."""

    __slots__ = ("_observer", "callback", "descriptor", "removed", "subscription")

    def __init__(
        self,
        observer: Observer,
        subscription: Subscription[T],
        callback: Callable[[T], object],
        removed: Callable[[], object] | None,
    ) -> None:
        self._observer = observer
        self.subscription = subscription
        self.callback = callback
        self.removed = removed
        self.descriptor = subscription.fileno()

    @property
    def group(self) -> str:
        """The name of the group."""
        return self.subscription.group

    @property
    def closed(self) -> bool:
        """Whether it has ended: closed, or the group is gone."""
        return self.subscription.closed

    def close(self) -> None:
        """End the subscription."""
        self.subscription.close()

    def give_up(self) -> bool:
        """Keep it: the callback is to have all events."""
        return False

    def release(self) -> bool:
        """Take the descriptor out of the observer, before it is closed."""
        self._observer.forget(self)
        return True

    def serve(self) -> None:
        """Call back with what has come; at the end of the group close the subscription."""
        subscription = self.subscription
        try:
            try:
                subscription.enter(self)
                event = subscription.poll()
            finally:
                subscription.leave(self)
        except GroupRemovedError:
            self.close()
            if self.removed is not None:
                self.removed()
        except (ClosedError, BusyError):
            return  # closed at this moment, or somebody reads it himself and gets the event
        else:
            if event is not None:
                self.callback(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Observer:
    """One thread and one epoll for any number of subscriptions; the thread starts with the first one.

    stop() closes all of them, waits for the thread unless called from it, and may be called again; watch() starts anew.
    An exception in a callback goes to threading.excepthook, and the others are served on. In a forked child it begins
    with nothing.
    """

    def __init__(self) -> None:
        self._forget_all()

    def _forget_all(self) -> None:
        self._pid = os.getpid()
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._served: dict[int, Watching[Any]] = {}

    def watch(
        self,
        subscription: Subscription[T],
        callback: Callable[[T], object],
        *,
        removed: Callable[[], object] | None = None,
    ) -> Watching[T]:
        """Call a function with each event, from the observer's thread, and `removed` when the group is gone.

        The subscription is the observer's from now on. Raises ClosedError, BusyError where another observer or loop
        has it, and UnavailableError where no thread can be started.
        """
        import select

        watching = Watching(self, subscription, callback, removed)
        with _lock:
            epoll = self._started()
            subscription.keep(watching)
            self._served[watching.descriptor] = watching
            epoll.register(watching.descriptor, select.EPOLLIN)
        return watching

    def _started(self) -> select.epoll:
        """Return the epoll of the running thread, which is started if need be."""
        self._begin_anew_in_child()
        if self._epoll is None:
            import select
            import threading

            always_readable()  # while there is a descriptor to be had: stop() is to take none
            epoll = select.epoll()
            # A daemon: a program that has nothing left to do but to be called back may end.
            thread = threading.Thread(target=self._run, args=(epoll,), name="pycgroup-observer", daemon=True)
            try:
                thread.start()
            except RuntimeError as cause:
                epoll.close()
                raise UnavailableError(f"{cause}: the limit on processes is reached (pids.max, ulimit -u)") from cause
            self._epoll, self._thread = epoll, thread
        return self._epoll

    def _begin_anew_in_child(self) -> None:
        if self._pid != os.getpid():
            # The epoll is one with the parent's: nothing is taken out of it, only this descriptor of it is closed.
            if self._epoll is not None:
                self._epoll.close()
            self._forget_all()

    def _run(self, epoll: select.epoll) -> None:
        while True:
            for descriptor, _ in epoll.poll(maxevents=_MANY):
                with _lock:
                    if self._epoll is not epoll:
                        epoll.close()
                        return
                    watching = self._served.get(descriptor)
                if watching is not None:
                    _serve(watching)

    def forget(self, watching: Watching[Any]) -> None:
        """Serve a subscription no longer."""
        with _lock:
            if self._served.get(watching.descriptor) is watching:
                del self._served[watching.descriptor]
                if self._epoll is not None:
                    self._epoll.unregister(watching.descriptor)

    def stop(self) -> None:
        """Close all subscriptions and end the thread; return when no callback runs any more."""
        with _lock:
            self._begin_anew_in_child()
            thread, epoll = self._thread, self._epoll
            self._thread = self._epoll = None
            served, self._served = self._served, {}
            if epoll is not None:
                epoll.register(always_readable())  # wakes the thread, which sees that it is not wanted
        for watching in served.values():
            watching.close()
        if thread is not None and thread.ident != get_ident():
            thread.join()

    def __len__(self) -> int:
        """Return how many subscriptions are served."""
        return len(self._served) if self._pid == os.getpid() else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _serve(watching: Watching[Any]) -> None:
    """Serve one; whatever a callback raises is reported as a thread's exception is, and stops nothing else."""
    import sys
    import threading

    try:
        watching.serve()
    except BaseException as error:  # noqa: BLE001  # it is the user's callback's
        given = threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
        try:
            threading.excepthook(given)
        except BaseException as another:  # noqa: BLE001  # and this the user's hook's
            sys.__excepthook__(type(another), another, another.__traceback__)


_shared: Observer | None = None


def watch(subscription: Subscription[T], callback: Callable[[T], object]) -> Watching[T]:
    """Have the observer of this process serve a subscription."""
    global _shared
    with _lock:
        _shared = _shared or Observer()
    return _shared.watch(subscription, callback)
