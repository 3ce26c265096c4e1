# SPDX-License-Identifier: MIT
"""The process in which functions run inside a group: asked through a connection, one function after the other."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import traceback
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler

from . import _kernfs, _tasks
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from typing import Any

#: What a new interpreter executes: nothing of pycgroup can be imported before sys.path is as in the parent. Like
#: multiprocessing it refuses to start processes while the main module is imported: that module lacks its guard.
BOOTSTRAP = """
import os
from multiprocessing import connection, process, spawn
os.set_inheritable({descriptor}, False)
link = connection.Connection({descriptor})
process.current_process()._inheriting = True
try:
    spawn.prepare(link.recv())
finally:
    del process.current_process()._inheriting
from pycgroup.worker import serve
serve(link)
"""


def enter_and_serve(files: Sequence[str], link: Connection) -> None:
    """Enter groups and serve: what a process that was forked by multiprocessing's server executes."""
    # The main module, which is imported before this is called, may have started threads.
    alone = _tasks.single_threaded()
    for file in files:
        directory = os.path.dirname(file)
        try:
            _kernfs.write(file if alone else f"{directory}/cgroup.procs", "0")
        except OSError as cause:
            attempt = f"cannot start a process in {directory}"
            return serve(link, _kernfs.error(cause, attempt, group=directory, directory=directory))
    return serve(link)


def serve(link: Connection, refusal: BaseException | None = None) -> None:
    """Answer (function, arguments, keywords) with (True, value) or (False, exception), until the other end closes.

    A refusal is the answer to everything.
    """
    # What a function forks does not hold the link: the other end would wait for a reader that never reads.
    os.register_at_fork(after_in_child=link.close)
    while True:
        try:
            question = link.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        link.send_bytes(_answer(question) if refusal is None else _pickled(refusal, succeeded=False))


def refuse_unfinished(function: Callable[..., Any]) -> None:
    """Raise TypeError for a function whose call does not end with a value: a coroutine or a generator."""
    import inspect  # which is slow to import, and not needed in the other process

    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_one(function) for is_one in kinds):
        raise TypeError(f"{function!r} gives a coroutine or a generator, which cannot leave the process that runs it")


def _answer(question: bytes) -> bytes:
    try:
        function, arguments, keywords = pickle.loads(question)  # noqa: S301  # from the parent
        return _pickled(function(*arguments, **keywords))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again where the function was called
        return _described(error)
    finally:
        # The process may be killed as soon as it has answered.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(ValueError):  # the function has closed it
                stream.flush()


def _pickled(value: object, *, succeeded: bool = True) -> bytes:
    return bytes(ForkingPickler.dumps((succeeded, value)))


def _described(error: BaseException) -> bytes:
    where = "".join(traceback.format_exception(error))
    error.add_note(f"\nin process {os.getpid()}:\n{where}")
    try:
        answer = _pickled(error, succeeded=False)
        pickle.loads(answer)  # noqa: S301  # some exceptions can be pickled, but not be made again
    except Exception:  # noqa: BLE001  # a class of the caller's may raise anything
        replacement = RuntimeError(f"{type(error).__name__}: {_said(error)}")
        replacement.add_note("\n".join(error.__notes__))
        return _pickled(replacement, succeeded=False)
    return answer


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001  # as above
        return f"its text cannot be had: {type(another).__name__}"


class Unwrapped:
    """The function that a decorated one stands for: that itself cannot be pickled, as its name is the other's."""

    def __init__(self, decorated: Callable[..., Any]) -> None:
        self._decorated = decorated
        self.__qualname__: str = getattr(decorated, "__qualname__", repr(decorated))

    def __reduce__(self) -> tuple[Any, ...]:
        module = getattr(self._decorated, "__module__", "")
        if _found(module, self.__qualname__) is not self._decorated:
            raise pickle.PicklingError(f"{self._decorated!r} is not to be found as {module}.{self.__qualname__}")
        return _unwrapped, (module, self.__qualname__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function: Callable[..., Any] = getattr(self._decorated, "__wrapped__")  # noqa: B009  # wraps() has set it
        return function(*args, **kwargs)


def _unwrapped(module: str, name: str) -> Unwrapped:
    found = _found(module, name)
    if found is None:
        raise AttributeError(f"{module} has no {name} in a new process: put the function into a module of its own")
    return Unwrapped(found)


def _found(module: str, name: str) -> Any:
    """Return a function by its name, as it is in its class: not bound, be it a class method; None for none."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return getattr(found, "__func__", found)
