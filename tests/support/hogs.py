# SPDX-License-Identifier: MIT
"""Children that take memory inside a group: a server process forks one for each order, which costs milliseconds."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pycgroup.events import Subscription
    from pycgroup.happenings import OomEvent

E = TypeVar("E")
KILLED = -9
MIB = 1 << 20
PATIENCE = 120.0  # seconds to wait for what is sure to come; an emulated guest is slow

# Touches a page at a time, so that memory is charged to the group that the child has entered. Huge pages are off,
# because one of them may be all that a group can have.
_TAKE = """
import mmap, os, sys
def take(directory, size):
    enter = os.open(directory + "/cgroup.procs", os.O_WRONLY)
    os.write(enter, b"0")
    os.close(enter)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(0, size, 4096):
        memory[page] = 1
    return memory
"""
_SERVER = f"""{_TAKE}
print("ready", flush=True)
for line in sys.stdin:
    size, directory = line.rstrip("\\n").split(" ", 1)
    pid = os.fork()
    if pid == 0:
        take(directory, int(size))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(pid, status, flush=True)
"""
_HOLDER = f"""{_TAKE}
memory = take(sys.argv[1], int(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
"""


class Hogs:
    """Orders to the server, one at a time."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def order(self, directory: str, size: int = 32 * MIB) -> None:
        """Have a child take so much memory inside a group."""
        assert self._server.stdin is not None
        self._server.stdin.write(f"{size} {directory}\n")
        self._server.stdin.flush()

    def outcome(self) -> tuple[int, int]:
        """Wait for the end of the child that was ordered first; return its pid and exit status."""
        assert self._server.stdout is not None
        pid, status = self._server.stdout.readline().split()
        return int(pid), int(status)

    def take(self, directory: str, size: int = 32 * MIB) -> int:
        """Have a child take so much memory inside a group and end; return its exit status."""
        self.order(directory, size)
        return self.outcome()[1]

    def be_killed(self, directory: str) -> int:
        """Have a child take more memory than its group may; return its pid."""
        self.order(directory)
        pid, status = self.outcome()
        assert status == KILLED
        return pid


@contextmanager
def hogs() -> Iterator[Hogs]:
    """Start the server."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield Hogs(server)
        assert server.stdin is not None
        server.stdin.close()


@contextmanager
def holding(directory: str, size: int) -> Iterator[subprocess.Popen[str]]:
    """Run a process that takes so much memory inside a group, prints "held" and keeps it until it is sent a line."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _HOLDER, directory, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def held(process: subprocess.Popen[str]) -> None:
    """Wait until a holding process has what it wants."""
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"


def let_go(process: subprocess.Popen[str]) -> None:
    """Have a holding process give its memory back and end."""
    process.communicate("\n")


def bound(memory: Any, size: str) -> None:
    """Limit a group's memory, with no swap beyond it: where there is swap, nobody would be killed."""
    swap = {"memsw_limit_in_bytes": size} if hasattr(memory, "memsw_limit_in_bytes") else {}
    memory.modify(limit_in_bytes=size, **swap)


def until_waiting(events: Subscription[Any]) -> None:
    """Return when somebody waits for the events."""
    until(lambda: events._waiting is not None)


def until(is_so: Callable[[], bool]) -> None:
    """Return when something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never was so"
        select.select([], [], [], 0.001)


def soon(event: E | None) -> E:
    """Return the event that was waited for."""
    assert event is not None, "no event came"
    return event


def next_kill(events: Subscription[OomEvent]) -> OomEvent:
    """Wait for the event of a kill: since Linux 5.16 the victim may signal once more on v1, as it dies."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        event = soon(events.wait(PATIENCE))
        if event.kills:
            return event
    raise AssertionError("no event of a kill came")


def no_kill_is_left(events: Subscription[OomEvent]) -> bool:
    """Tell whether no event of a kill is left to be taken."""
    return not any(event.kills for event in iter(lambda: events.wait(0), None))
