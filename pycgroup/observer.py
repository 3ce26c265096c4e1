# SPDX-License-Identifier: MIT
"""Observer: any number of subscriptions, one thread, one epoll. A callback gets each event."""

from __future__ import annotations

import os
import time
from _thread import get_ident

from . import _locks
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
_HINT = "sysctl fs.epoll.max_user_watches says how many may be"
# Seconds; the last that is waited for may take as long again.
_PATIENCE = 0.25
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

    def has_forsaken(self, _waiter: object) -> bool:
        """Say no: the observer's thread waits for nobody who could go away."""
        return False

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
                # Where it is closed at this moment, that is left to this thread, with what the closer would wait for.
                subscription.leave(self, patient=True)
        except GroupRemovedError:
            self.close()
            if self.removed is not None:
                self.removed()
        except BusyError:
            return  # somebody reads it himself and gets the event
        except ClosedError:
            self.release()  # at this moment, and who closes it may be waiting for its last kill
        else:
            if event is not None:
                self.callback(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Watching of {self.group!r}{' closed' if self.closed else ''}, calls {self.callback!r}>"


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
        #: Which thread waits for that one; a handler in it cannot do so as well.
        self._joining = 0
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
        has it, and UnavailableError where no thread can be started or nothing more be watched.
        """
        import select

        for function in (callback,) if removed is None else (callback, removed):
            if not callable(function):
                raise TypeError(f"{function!r} cannot be called with an event")
        watching = Watching(self, subscription, callback, removed)
        with _lock:
            epoll = self._started()
            subscription.keep(watching)
            try:
                epoll.register(watching.descriptor, select.EPOLLIN)
            except (OSError, ValueError) as cause:  # the latter if a signal handler has stopped it just now
                subscription.let_go()
                raise UnavailableError(f"events of {watching.group!r} cannot be observed: {cause} ({_HINT})") from cause
            self._served[watching.descriptor] = watching
            if self._epoll is not epoll:
                watching.close()
                raise ClosedError(f"the observer was stopped before it had the events of {watching.group!r}")
        return watching

    def _started(self) -> select.epoll:
        """Return the epoll of the running thread, which is started if need be."""
        self._begin_anew_in_child()
        epoll = self._epoll
        if epoll is None:
            import select
            import threading

            _always_readable()  # while there is a descriptor to be had: stop() is to take none
            epoll = select.epoll()
            # A daemon: a program that has nothing left to do but to be called back may end.
            thread = threading.Thread(target=self._run, args=(epoll,), name="pycgroup-observer", daemon=True)
            try:
                thread.start()
            except RuntimeError as cause:
                epoll.close()
                raise UnavailableError(f"{cause}: the limit on processes is reached (pids.max, ulimit -u)") from cause
            self._epoll, self._thread = epoll, thread
        return epoll

    def _begin_anew_in_child(self) -> None:
        if self._pid != os.getpid():
            # The epoll is one with the parent's: nothing is taken out of it, only this descriptor of it is closed.
            if self._epoll is not None:
                self._epoll.close()
            self._forget_all()

    def _run(self, epoll: select.epoll) -> None:
        while True:
            for descriptor, _ in epoll.poll(maxevents=_MANY):
                # Without the lock: who has it may be waiting for this thread to end.
                if self._epoll is not epoll:
                    epoll.close()
                    return
                watching = self._served.get(descriptor)
                if watching is not None:
                    _serve(watching)

    def forget(self, watching: Watching[Any]) -> None:
        """Serve a subscription no longer; its descriptor is still open, so that it is nobody else's."""
        with _lock:  # whoever closes it as well, and finds it forgotten, closes the descriptor
            if self._served.get(watching.descriptor) is watching:
                self._served.pop(watching.descriptor, None)
                epoll = self._epoll
                if epoll is not None:
                    _unregister(epoll, watching.descriptor)

    def stop(self) -> None:
        """Close all subscriptions and end the thread; return when no callback runs any more.

        The last OOM events are completed first, for which the kernel is waited for, half a second at most in all. In a
        signal handler that has interrupted pycgroup itself the thread is not waited for.
        """
        is_interrupting = _locks.is_held() or self._joining == get_ident()
        with _lock:
            self._begin_anew_in_child()
            thread = self._thread
            if self._epoll is not None:
                _wake(self._epoll)
            self._epoll = None
            served, self._served = self._served, {}
        deadline = time.monotonic() + _PATIENCE
        for watching in served.values():
            watching.subscription.end(patient=time.monotonic() < deadline)
        if thread is not None and thread.ident != get_ident() and not is_interrupting:
            self._joining = get_ident()
            thread.join()
            self._joining = 0

    def __len__(self) -> int:
        """Return how many subscriptions are served."""
        return len(self._served) if self._pid == os.getpid() else 0

    def __repr__(self) -> str:
        return f"<Observer of {len(self)} subscriptions>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


_readable_for_ever = -1


def _always_readable() -> int:
    """Return a descriptor that is always readable, for all observers: it is never read. Raises OSError."""
    global _readable_for_ever
    with _lock:
        if _readable_for_ever < 0:
            _readable_for_ever = os.eventfd(1, os.EFD_CLOEXEC)
    return _readable_for_ever


def _wake(epoll: select.epoll) -> None:
    """Wake the thread, which sees that it is not wanted."""
    try:
        epoll.register(_always_readable())
    except (OSError, ValueError):
        return  # so a signal handler has done just now


def _unregister(epoll: select.epoll, descriptor: int) -> None:
    try:
        epoll.unregister(descriptor)
    except (OSError, ValueError):
        return  # one of the two was closed at this moment


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
    try:
        return _shared.watch(subscription, callback)
    except BaseException:
        subscription.close()
        raise
