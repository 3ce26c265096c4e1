# SPDX-License-Identifier: MIT
"""Observer: any number of subscriptions, one thread, one epoll. A callback gets each event."""

from __future__ import annotations

import os
from _thread import RLock, get_ident

from ._types import TYPE_CHECKING, Any, Generic, T
from .errors import BusyError, ClosedError, GroupRemovedError

if TYPE_CHECKING:
    import select
    import threading
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from .events import Subscription

_MANY = 256


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

    def release(self) -> bool:
        """Take the descriptor out of the observer, before it is closed."""
        self._observer.forget(self)
        return True

    def serve(self) -> None:
        """Call back with what has come; at the end of the group close the subscription."""
        subscription = self.subscription
        try:
            subscription.enter()
            try:
                event = subscription.poll()
            finally:
                subscription.leave()
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
    An exception in a callback goes to threading.excepthook, and the others are served on.
    """

    def __init__(self) -> None:
        self._lock = RLock()
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

        The subscription is the observer's from now on. Raises ClosedError.
        """
        import select

        watching = Watching(self, subscription, callback, removed)
        with self._lock:
            epoll = self._started()
            self._served[watching.descriptor] = watching
            subscription.keep(watching)
            epoll.register(watching.descriptor, select.EPOLLIN)
        return watching

    def _started(self) -> select.epoll:
        """Return the epoll of the running thread, which is started if need be."""
        if self._epoll is None:
            import select
            import threading

            self._epoll = select.epoll()
            # A daemon: a program that has nothing left to do but to be called back may end.
            self._thread = threading.Thread(
                target=self._run, args=(self._epoll,), name="pycgroup-observer", daemon=True
            )
            self._thread.start()
        return self._epoll

    def _run(self, epoll: select.epoll) -> None:
        while True:
            for descriptor, _ in epoll.poll(maxevents=_MANY):
                with self._lock:
                    if self._epoll is not epoll:
                        epoll.close()
                        return
                    watching = self._served.get(descriptor)
                if watching is not None:
                    _serve(watching)

    def forget(self, watching: Watching[Any]) -> None:
        """Serve a subscription no longer."""
        with self._lock:
            if self._served.get(watching.descriptor) is watching:
                del self._served[watching.descriptor]
                if self._epoll is not None:
                    self._epoll.unregister(watching.descriptor)

    def stop(self) -> None:
        """Close all subscriptions and end the thread; return when no callback runs any more."""
        from ._signals import always_readable

        with self._lock:
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
        return len(self._served)

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
    except Exception:  # noqa: BLE001  # it is the user's callback's
        kind, error, at = sys.exc_info()
        if kind is not None:
            threading.excepthook(threading.ExceptHookArgs((kind, error, at, threading.current_thread())))


_shared: tuple[int, Observer] | None = None


def watch(subscription: Subscription[T], callback: Callable[[T], object]) -> Watching[T]:
    """Have the observer of this process serve a subscription; a forked child gets one of its own."""
    global _shared
    if _shared is None or _shared[0] != os.getpid():
        _shared = os.getpid(), Observer()
    return _shared[1].watch(subscription, callback)
