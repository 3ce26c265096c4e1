# SPDX-License-Identifier: MIT
"""Functions inside groups, called in a process that multiprocessing or a new interpreter makes there."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing import spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler

from . import worker
from ._types import TYPE_CHECKING
from .errors import InvalidValueError, MemoryLimitExceeded, WorkerDiedError
from .results import counted, memory_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Literal, Self

    from .errors import CgroupError
    from .starting import Starting

    StartMethod = Literal["spawn", "forkserver"]


# Seconds that a process may take to end after it has closed its end of the link.
_PATIENCE = 1.0


class Spawned:
    """A new interpreter, inside from its first instruction."""

    def __init__(self, group: Starting, theirs: socket.socket, link: Connection) -> None:
        code = worker.BOOTSTRAP.format(descriptor=theirs.fileno())
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing
        preparation = spawn.get_preparation_data("pycgroup")
        command = [sys.executable, *flags, "-c", code]
        self._process = group.popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self.sentinel = os.pidfd_open(self._process.pid)
        # In its own class it cannot be pickled; this connection is seen by the child alone.
        with suppress(BrokenPipeError):  # it is dead already, as the first call will tell
            link.send(preparation | {"authkey": bytes(preparation["authkey"])})

    def end(self) -> int:
        """Kill it if it has not ended, and return its exit status."""
        self._process.kill()
        if self.sentinel >= 0:
            os.close(self.sentinel)
            self.sentinel = -1
        return self._process.wait()


class Forked:
    """A process that multiprocessing's server has forked: inside before it sees a function."""

    def __init__(self, group: Starting, theirs: socket.socket, link: Connection) -> None:  # noqa: ARG002  # as Spawned
        context = multiprocessing.get_context("forkserver")
        end = Connection(os.dup(theirs.fileno()))
        entrance = group.begin()
        arguments = (entrance.files, end)
        self._process = context.Process(target=worker.enter_and_serve, args=arguments)
        try:
            self._process.start()
        finally:
            group.started(entrance, self._process.pid or 0)
        # At exit multiprocessing ends all of these or waits for them, also in a forked child, whose they are not.
        multiprocessing.process._children.discard(self._process)  # type: ignore[attr-defined]  # noqa: SLF001  # no other way
        end.close()
        self.sentinel = self._process.sentinel

    def end(self) -> int:
        """Kill it if it has not ended, and return its exit status."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode or 0


_STARTS: dict[str, type[Spawned | Forked]] = {"spawn": Spawned, "forkserver": Forked}


class Worker:
    """A process inside a group that calls functions."""

    def __init__(self, group: Starting, start_method: str = "spawn") -> None:
        start = _STARTS.get(start_method)
        if start is None:
            wanted = " or ".join(map(repr, _STARTS))
            raise InvalidValueError(f"start_method={start_method!r} is not {wanted}", value=start_method)
        self._group = group
        self.has_ended = False
        mine, theirs = socket.socketpair()
        self._link = Connection(mine.detach())
        with theirs:
            try:
                self._process = start(group, theirs, self._link)
            except BaseException:
                self._link.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._link.close()
        self._process.end()

    def is_alive(self) -> bool:
        """Return whether the process has not ended."""
        return not self.has_ended and self._process.sentinel not in wait([self._process.sentinel], 0)

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the function returns, or raise what it raises.

        Raises MemoryLimitExceeded where the kernel killed the process for want of memory, and WorkerDiedError where it
        ended otherwise; pickle's errors for what cannot be pickled.
        """
        question = bytes(ForkingPickler.dumps((function, args, kwargs)))
        kills = counted(self._group).oom_kills or 0
        try:
            self._link.send_bytes(question)
            answer = self._answer()
        except (EOFError, ConnectionError):
            raise self._death(getattr(function, "__qualname__", repr(function)), kills) from None
        succeeded, value = pickle.loads(answer)  # noqa: S301  # from our own child
        if not succeeded:
            raise value
        return value

    def _answer(self) -> bytes:
        """Wait for the answer. Raises EOFError where the process has ended, be its end of the link held by a child."""
        wait([self._link, self._process.sentinel])
        if not self._link.poll():
            raise EOFError
        return self._link.recv_bytes()

    def _death(self, task: str, kills: int) -> CgroupError:
        wait([self._process.sentinel], _PATIENCE)  # it is about to end, in its own way
        status = self._process.end()
        self.has_ended = True
        counts = counted(self._group)
        name = self._group.name
        if status == -signal.SIGKILL and (counts.oom_kills or 0) > kills:
            limit, peak = memory_limit(self._group), counts.memory_peak
            figures = f"limit {limit} bytes, peak {peak} bytes"
            message = f"the kernel killed {task} in the group {name} for want of memory: {figures}"
            return MemoryLimitExceeded(message, group=name, limit=limit, peak=peak, victim=task, task=task)
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return WorkerDiedError(f"the process that ran {task} in the group {name} ended with {how}", group=name)


def call(group: Starting, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what Cgroup.call() says."""
    worker.refuse_unfinished(function)
    with Worker(group) as process:
        return process.call(function, args, kwargs)
