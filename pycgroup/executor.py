# SPDX-License-Identifier: MIT
"""CgroupProcessPoolExecutor: a pool of processes, each in a group of its own, that outlives the OOM killer."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from ._types import TYPE_CHECKING
from .errors import CgroupError, MemoryLimitExceeded, WorkerDiedError
from .functions import Worker
from .group import Cgroup
from .limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any, ParamSpec, TypeVar, Unpack

    from .functions import StartMethod
    from .limits import LimitWords

    P = ParamSpec("P")
    R = TypeVar("R")


class CgroupProcessPoolExecutor(Executor):
    """A concurrent.futures.Executor of processes, each limited by itself: `CgroupProcessPoolExecutor(4, memory="1G")`.

    Where the kernel kills a worker for want of memory, its task fails with MemoryLimitExceeded, and where a worker ends
    otherwise, with WorkerDiedError; other tasks are not concerned, and a new worker takes its place. `max_workers` is
    by default the number of CPUs; `initializer` is called in each worker before its first task; `start_method` is
    'spawn' or 'forkserver', as in multiprocessing.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        limits: Limits | None = None,
        *,
        start_method: StartMethod = "spawn",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **words: Unpack[LimitWords],
    ) -> None:
        workers = len(os.sched_getaffinity(0)) if max_workers is None else max_workers
        self._limits = Limits.joined(limits, words)
        self._start_method = start_method
        self._initialize = (initializer, initargs)
        self._threads = ThreadPoolExecutor(workers, "pycgroup")
        # One worker for each thread, that waits for its answers.
        self._own = threading.local()
        self._places: set[_Place] = set()
        self._end = partial(_close, self._places, os.getpid(), threading.Lock())
        self._closing = weakref.finalize(self, self._end)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Return the Future of a call in one of the workers. Raises RuntimeError after shutdown()."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def _call(self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        place: _Place | None = getattr(self._own, "place", None)
        if place is not None and not place.worker.is_alive():
            self._drop(place)  # it was killed while it had nothing to do
            place = None
        if place is None:
            place = self._own.place = self._open()
        try:
            value: R = place.worker.call(function, args, kwargs)
        except (MemoryLimitExceeded, WorkerDiedError):
            if place.worker.has_ended:
                self._drop(place)
            raise
        return value

    def _drop(self, place: _Place) -> None:
        self._own.place = None
        place.close()
        self._places.discard(place)

    def _open(self) -> _Place:
        place = _Place(self._limits, self._start_method)
        self._places.add(place)
        function, args = self._initialize
        try:
            if function is not None:
                place.worker.call(function, args, {})
        except BaseException:
            self._places.discard(place)
            place.close()
            raise
        return place

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # Executor's
        """Take no more tasks, and remove workers and groups when the last one is done; as Executor.shutdown()."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._closing.detach()
            self._end()
            return
        with suppress(RuntimeError):  # the interpreter is about to end, and will do it itself
            threading.Thread(target=self.shutdown, name="pycgroup-shutdown").start()


class _Place:
    """A worker in its group."""

    def __init__(self, limits: Limits, start_method: str) -> None:
        self._group = Cgroup(limits=limits)
        self._group.__enter__()
        try:
            self.worker = Worker(self._group, start_method)
        except BaseException:
            self._group.__exit__(None, None, None)
            raise

    def close(self) -> None:
        try:
            self.worker.close()
        finally:
            self._group.__exit__(None, None, None)


def _close(places: set[_Place], owner: int, lock: threading.Lock) -> None:
    """Close all places, and raise in the end what the first failure was; in a forked child they are the parent's."""
    if owner != os.getpid():
        return
    failures = []
    with lock:
        for place in list(places):
            try:
                place.close()
            except CgroupError as error:
                failures.append(error)
            else:
                places.discard(place)
    if failures:
        raise failures[0]
