# SPDX-License-Identifier: MIT
"""Processes and directories of groups: moving, killing, making and removing, on the files themselves."""

from __future__ import annotations

import errno
import os
import time

from . import _kernfs

# How many a message names.
_FEW = 5
# The links of /proc/self/task: itself, '..' and one directory for each thread.
_LINKS_OF_ONE_THREAD = 3
# A thread that has just died can keep rmdir from succeeding for a moment; nothing on v1 tells when it is over.
_PATIENCE = 2.0
_PAUSE = 0.0005


def single_threaded() -> bool:
    """Return whether this process has one thread, also counting those that Python does not know of."""
    return os.stat("/proc/self/task").st_nlink == _LINKS_OF_ONE_THREAD


def inside(directory: str, process_directory: str | None) -> bool:
    """Return whether a process's directory is a group's, or below it."""
    return process_directory is not None and f"{process_directory}/".startswith(f"{directory}/")


def make(directory: str) -> str:
    """Make a group's directory and the missing ones above it; return the topmost that was made. Raises OSError."""
    try:
        os.mkdir(directory)
    except FileNotFoundError:
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
    return [pid for group in groups for pid in _kernfs.numbers(f"{group}/cgroup.procs")]


def listed(numbers: list[int]) -> str:
    """Return the first processes of a list, for a message."""
    return ", ".join(map(str, numbers[:_FEW])) + (" ..." if len(numbers) > _FEW else "")


def tree(directory: str) -> list[str]:
    """Return a group's directory after all those below it. Raises OSError."""
    below = [path for name in _kernfs.children(directory) for path in tree(f"{directory}/{name}")]
    return [*below, directory]


def move(groups: list[str], target: str) -> None:
    """Move the processes of several groups to another one, until none is left. Raises OSError."""
    while found := [pid for group in groups if os.path.isdir(group) for pid in pids([group])]:
        for pid in found:
            try:
                _kernfs.write(f"{target}/cgroup.procs", str(pid))
            except ProcessLookupError:
                continue


def kill(directory: str) -> list[int]:
    """Kill every process of a group but the calling one; return those that did not go in time. Raises OSError.

    A process may fork while the others are killed, so this goes on until the group is empty.
    """
    deadline = time.monotonic() + _PATIENCE
    while victims := [pid for pid in pids([directory]) if pid not in (0, os.getpid())]:
        shot = [(pid, fd) for pid in victims if (fd := _shoot(pid, directory)) is not None]
        if left := [pid for pid, fd in shot if not _ended(fd, deadline)]:
            return left
    return []


def _shoot(pid: int, directory: str) -> int | None:
    """Send SIGKILL to a process if it still is in the group; return a descriptor that tells when it has ended."""
    import signal  # not before it is needed: importing pycgroup is to cost nothing

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        # The number may have become another process's since the list was read; from here on it cannot.
        if pid in pids([directory]):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return fd


def _ended(fd: int, deadline: float) -> bool:
    import select

    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(fd)
