# SPDX-License-Identifier: MIT
"""The process in which functions run inside a group: asked through a connection, one function after the other."""

from __future__ import annotations

import os
import pickle
import traceback
from multiprocessing.reduction import ForkingPickler

from . import _kernfs
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from typing import Any

#: What a new interpreter executes: nothing of pycgroup can be imported before sys.path is as in the parent.
BOOTSTRAP = """
from multiprocessing import connection, spawn
link = connection.Connection({descriptor})
spawn.prepare(link.recv())
from pycgroup.worker import serve
serve(link)
"""


def enter_and_serve(files: Sequence[str], link: Connection) -> None:
    """Enter groups and serve: what a process that was forked by multiprocessing's server executes."""
    for file in files:
        _kernfs.write(file, "0")
    serve(link)


def serve(link: Connection) -> None:
    """Answer (function, arguments, keywords) with (True, value) or (False, exception), until the other end closes."""
    while True:
        try:
            question = link.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        link.send_bytes(_answer(question))


def _answer(question: bytes) -> bytes:
    try:
        function, arguments, keywords = pickle.loads(question)  # noqa: S301  # from the parent
        return bytes(ForkingPickler.dumps((True, function(*arguments, **keywords))))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again where the function was called
        return _described(error)


def _described(error: BaseException) -> bytes:
    where = "".join(traceback.format_exception(error))
    error.add_note(f"\nin process {os.getpid()}:\n{where}")
    try:
        answer = bytes(ForkingPickler.dumps((False, error)))
        pickle.loads(answer)  # noqa: S301  # some exceptions can be pickled, but not be made again
    except Exception:  # noqa: BLE001  # a class of the caller's may raise anything
        replacement = RuntimeError(f"{type(error).__name__}: {error}")
        replacement.add_note("\n".join(error.__notes__))
        return bytes(ForkingPickler.dumps((False, replacement)))
    return answer


class Unwrapped:
    """The function that a decorated one stands for: that itself cannot be pickled, as its name is the other's."""

    def __init__(self, decorated: Callable[..., Any]) -> None:
        self._decorated = decorated
        self.__qualname__: str = getattr(decorated, "__qualname__", repr(decorated))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function: Callable[..., Any] = getattr(self._decorated, "__wrapped__")  # noqa: B009  # wraps() has set it
        return function(*args, **kwargs)
