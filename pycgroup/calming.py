# SPDX-License-Identifier: MIT
"""Calm, for the end of groups with very many processes, such as a fork bomb: nothing forks there while it is killed."""

from __future__ import annotations

import os

from . import _kernfs, _tasks
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_FIRST_OF_ALL = -20
# What keeps a group from forking: v2's, which also stops it, and else a limit of processes that has been reached.
_STOPPING = (("cgroup.freeze", "1"), ("pids.max", "0"))


class Calm:
    """Keeps a group from forking, and this thread from starving beside it, as far as it may; nothing where it is small.

    Not by freezing where this process is inside, which would stop too; and where others use the group (`shared`), it
    is only this thread that is put first. Raises OSError.
    """

    def __init__(self, directories: list[str], *, shared: bool = False) -> None:
        self._directories = directories
        self._shared = shared
        self._before: list[tuple[str, str]] = []
        self._nice: int | None = None

    def __enter__(self) -> None:
        try:
            self._begin()
        except FileNotFoundError:
            return  # the group has been removed
        except BaseException:
            self._end()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _begin(self) -> None:
        groups = [group for directory in self._directories for group in _tasks.tree(directory)]
        inside = _tasks.pids(groups)
        if len(inside) <= _tasks.AT_ONCE:
            return  # more than are killed at once fork on while the first of them die
        for directory in () if self._shared else self._directories:
            for name, value in _STOPPING[os.getpid() in inside :]:
                if self._is_set(f"{directory}/{name}", value):
                    break
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        _set_priority(_FIRST_OF_ALL)

    def _is_set(self, file: str, value: str) -> bool:
        try:
            before = _kernfs.read(file)
            if before != value:  # else another thread is ending the group too, and will restore it
                self._before.append((file, before))
                _kernfs.write(file, value)
        except (FileNotFoundError, PermissionError):
            return False
        return True

    def _end(self) -> None:
        if self._nice is not None:
            _set_priority(self._nice)
        for file, before in self._before:
            try:
                _kernfs.write(file, before)
            except OSError:
                continue  # it could not be changed either, or the group has been removed


def _set_priority(nice: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        return  # only root may go before others
