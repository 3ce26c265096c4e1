# SPDX-License-Identifier: MIT
"""Processes and directories of groups: moving, killing, making and removing, on the files themselves."""

from __future__ import annotations

import errno
import os
import time

from . import _kernfs, _waiting
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PROCESSES, _THREADS = "cgroup.procs", "cgroup.threads"
# The links of /proc/self/task: itself, '..' and one directory for each thread.
_LINKS_OF_ONE_THREAD = 3
# A thread that has just died can keep rmdir from succeeding for a moment; nothing on v1 tells when it is over.
_PATIENCE = 10.0
_PAUSE = 0.0005
# How many processes are held by a descriptor while they are killed.
AT_ONCE = 200
# And how many of these descriptors are left for other uses where there are not enough.
_SPARE = 2
_SIGKILL = 9


def single_threaded() -> bool:
    """Return whether this process has one thread, also counting those that Python does not know of."""
    return os.stat("/proc/self/task").st_nlink == _LINKS_OF_ONE_THREAD


def inside(directory: str, process_directory: str | None) -> bool:
    """Return whether a process's directory is a group's, or below it."""
    return process_directory is not None and f"{process_directory}/".startswith(f"{directory}/")


def make(directory: str, mount: str) -> str:
    """Make a group's directory and the missing ones above it; return the topmost that was made. Raises OSError."""
    try:
        os.mkdir(directory)
    except FileNotFoundError:
        if not os.path.isdir(mount):
            raise
        return _make_with_parents(directory)
    return directory


def _make_with_parents(directory: str) -> str:
    first = _first_missing(directory)
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        os.mkdir(directory)
    except OSError:
        unmake(os.path.dirname(directory), first)
        raise
    return first


def _first_missing(directory: str) -> str:
    missing = directory
    while not os.path.isdir(parent := os.path.dirname(missing)):
        missing = parent
    return missing


def unmake(directory: str, first: str) -> None:
    """Remove a half-made group: its directory and those above it, up to the first that was made with it."""
    while directory.startswith(first):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError:
            # Somebody uses it already: then it is no longer ours to remove.
            return
        directory = os.path.dirname(directory)


def is_removed(directory: str) -> bool:
    """Remove a directory with the one call that it takes if nothing is in it; return whether that was so.

    Raises OSError.
    """
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def remove(groups: list[str]) -> None:
    """Remove groups without processes, those below first, waiting for threads that are just dying. Raises OSError."""
    deadline = time.monotonic() + _PATIENCE
    for group in groups:
        while not _removed(group, deadline):
            time.sleep(_PAUSE)


def _removed(group: str, deadline: float) -> bool:
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY or time.monotonic() > deadline or _kernfs.children(group) or pids([group]):
            raise
        return False
    return True


def pids(groups: list[str]) -> list[int]:
    """Return the processes in several groups. Raises OSError."""
    return list(dict.fromkeys(pid for group in groups for pid in _inside(group)))


def _inside(group: str) -> list[int]:
    try:
        return _kernfs.numbers(f"{group}/{_PROCESSES}")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return sorted({pid for thread in _threads([group]) for pid in _process_of(thread)})


def _process_of(thread: int) -> list[int]:
    try:
        lines = _kernfs.read(f"/proc/{thread}/status").split("\n")
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended
    return [int(line.split()[1]) for line in lines if line.startswith("Tgid:")]


def tree(directory: str) -> list[str]:
    """Return a group's directory after all those below it. Raises OSError."""
    below = [path for name in _kernfs.children(directory) for path in tree(f"{directory}/{name}")]
    return [*below, directory]


def move(groups: list[str], *targets: str) -> None:
    """Move the processes of a group, the last, and of those below to the first of others that takes them, to the end.

    Of a threaded group its threads alone are moved: their processes may have others elsewhere. Raises OSError.
    """
    file, found = _PROCESSES, pids
    if is_threaded(groups[-1]):
        file, found = _THREADS, _threads
    while left := [each for group in groups if os.path.isdir(group) for each in found([group])]:
        if 0 in left:
            raise OSError(errno.EBUSY, "a process of another PID namespace is in it, which has no number here")
        for each in left:
            _move(each, file, *targets)


def _move(number: int, file: str, target: str, *others: str) -> None:
    try:
        _kernfs.write(f"{target}/{file}", str(number))
    except ProcessLookupError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY or not others:
            raise
        _move(number, file, *others)


def is_threaded(group: str) -> bool:
    """Return whether a group of v2 has threads of processes that the head of its subtree lists. Raises OSError."""
    try:
        _kernfs.read(f"{group}/{_PROCESSES}")
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV):
            raise
        return error.errno == errno.EOPNOTSUPP
    return False


def _threads(groups: list[str]) -> list[int]:
    return [thread for group in groups for thread in _kernfs.numbers(f"{group}/{_THREADS}")]


def kill_all(directory: str, *, spared: bool, recheck: float | None, patience: float) -> list[int]:
    """Kill every process of a group and of those below; return those that did not go in time (0: nobody's number here).

    `spared` says that the calling process may be in there, and lives on. `patience` is seconds. Raises OSError.
    """
    deadline = time.monotonic() + patience
    if spared or not _killed_at_once(directory, recheck, patience):
        groups = tree(directory)
        left = [pid for group in groups for pid in kill(group, patience=max(0.0, deadline - time.monotonic()))]
        # A process of another PID namespace has no number here, so that it cannot be signalled.
        return left + [pid for pid in pids(groups) if pid == 0]
    return []


def _killed_at_once(directory: str, recheck: float | None, patience: float) -> bool:
    """Have the kernel kill a group, where it can (v2 since Linux 5.14), and wait; return whether it is empty."""
    events = f"{directory}/cgroup.events"
    try:
        _kernfs.write(f"{directory}/cgroup.kill", "1")
    except (FileNotFoundError, PermissionError):
        # The file of a delegated subtree's top is not delegated.
        return False
    return _waiting.until(events, lambda: "populated 0" in _kernfs.read(events), patience, recheck)


def kill(
    directory: str, chosen: Callable[[list[int]], list[int]] | None = None, *, patience: float = _PATIENCE
) -> list[int]:
    """Kill every process of a group but the calling one, or those chosen; return those that did not go in time.

    A process may fork while the others are killed, so this goes on until the group is empty. `patience` is seconds.
    Raises OSError.
    """
    deadline = time.monotonic() + patience
    while victims := _others(directory, chosen):
        if len(victims) > AT_ONCE:
            _doom(victims, directory)  # who is not shot forks on while the first are waited for
        left = _shoot(victims[:AT_ONCE], directory, deadline)
        if left or time.monotonic() > deadline:
            return left or victims
    return []


def doom(directory: str) -> None:
    """Send SIGKILL to every process of a group and of those below, and wait for none. Raises OSError."""
    for group in tree(directory):
        _doom(pids([group]), group)


def _doom(victims: list[int], directory: str) -> None:
    for start in range(0, len(victims), AT_ONCE):
        _shoot(victims[start : start + AT_ONCE], directory, deadline=0)


def _others(directory: str, chosen: Callable[[list[int]], list[int]] | None) -> list[int]:
    others = [pid for pid in pids([directory]) if pid not in (0, os.getpid())]
    return others if chosen is None else chosen(others)


def _shoot(victims: list[int], directory: str, deadline: float) -> list[int]:
    """Send SIGKILL to those processes that still are in a group; return those that have not ended in time."""
    held = _hold(victims)
    try:
        # A number may have become another process's since the list was read; of those that are held it cannot.
        there = set(pids([directory]))
        inside = [pid for pid in held if pid in there]  # in their order: a shell dies before it can tell of its child
        for pid in inside:
            _signal(held[pid], _SIGKILL)
        return [pid for pid in inside if not has_ended(held[pid], deadline)]
    finally:
        for fd in held.values():
            os.close(fd)


def _signal(fd: int, number: int) -> None:
    import signal  # not before it is needed: importing pycgroup is to cost nothing

    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return  # it has just ended


def _hold(pids: list[int]) -> dict[int, int]:
    """Return a descriptor for each process: it stands for that alone, and tells when it has ended. Not where it has.

    Where descriptors are scarce the first processes get theirs, and the others have their turn after them.
    """
    held: dict[int, int] = {}
    for pid in pids:
        try:
            held[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except OSError as error:
            scarce = error.errno in (errno.EMFILE, errno.ENFILE) and len(held) > _SPARE
            for _ in range(_SPARE if scarce else len(held)):
                os.close(held.popitem()[1])
            if scarce:
                return held
            raise
    return held


def has_ended(fd: int, deadline: float) -> bool:
    """Wait until the process of a descriptor has ended; return whether it has in time."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(_waiting.milliseconds(max(0.0, deadline - time.monotonic()))))
