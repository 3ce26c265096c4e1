# SPDX-License-Identifier: MIT
"""Unique names for groups, and the removal of what a test leaves behind, without pycgroup."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import select
import signal

import pytest

from tests.support import machine

SESSION = f"{machine.PREFIX}test-{os.getpid()}-"
_numbers = itertools.count()


def unique_name(hint: str, *controllers: str) -> str:
    """Return a name that no group has, below the place where every one of `controllers` lets tests make groups.

    A name is good for several controllers only where that place has the same path in all their hierarchies.
    """
    found = {machine.base(hierarchy) for each in controllers if (hierarchy := machine.hierarchy_of(each))}
    if len(found) > 1:
        pytest.skip(f"no one place takes groups of {', '.join(controllers)}: {sorted(map(str, found))}")
    base = found.pop() if found else ""
    word = re.sub(r"\W+", "-", hint)[:40].strip("-")
    return f"/{base}/{SESSION}{next(_numbers)}-{word}".replace("//", "/")


def remove(directory: str) -> None:
    """Kill what runs in a group and below it and remove the directories, children first."""
    for path, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            _empty(path)
            os.rmdir(path)


def _empty(directory: str) -> None:
    """Kill every process of a group and wait until the kernel has taken each out of it."""
    while pids := _processes(directory):
        for pid in pids:
            _kill(pid)


def _processes(directory: str) -> list[int]:
    try:
        return [int(line) for line in machine.read(f"{directory}/cgroup.procs").split()]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        # A threaded group of v2 shows its threads only; pidfd_open takes leaders, and those are among them.
        return [int(line) for line in machine.read(f"{directory}/cgroup.threads").split()]


def _kill(pid: int) -> None:
    if pid in (0, os.getpid()):
        raise AssertionError(f"a test left the test run itself (pid {pid}) in a group")
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        # A pidfd polls readable when the process has ended, whether or not its parent has reaped it.
        select.select([pidfd], [], [])
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def leftovers(prefix: str) -> list[str]:
    """Return the directories of all groups whose name starts with `prefix`, outermost first."""
    return sorted(each for each in machine.groups() if os.path.basename(each).startswith(prefix))


def made_by_another_session(directory: str) -> bool:
    """Tell whether a group carries the pid of a live process that neither this run is nor one of its descendants."""
    match = re.match(rf"{machine.PREFIX}(?:\w+-)??(\d+)\b", os.path.basename(directory))
    if match is None or not os.path.exists(f"/proc/{match[1]}"):
        return False
    return os.getpid() not in _ancestry(int(match[1]))


def _ancestry(pid: int) -> list[int]:
    """Return a process and its ancestors."""
    line = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while line[-1] > 1:
            line.append(int(machine.read(f"/proc/{line[-1]}/stat").rpartition(")")[2].split()[1]))
    return line
