# SPDX-License-Identifier: MIT
"""Examples run as programs of their own, watched line by line, and what the kernel says of them meanwhile.

A program's lines come through a pipe that holds one line: it cannot print the next before the test has taken this one.
So while a line is there to be taken, the program has done what stands before that line and nothing of what stands after
its next, and the kernel can be asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import machine, oracle

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 120.0  # seconds for the next line; an emulated guest is slow

_libc = ctypes.CDLL(None, use_errno=True)
_CPUCLOCK_SCHED = 2
_SECTOR = 512


def argv(name: str, *arguments: str) -> list[str]:
    """Return the command that runs an example."""
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which a program finds the pycgroup that is under test, and prints a line at a time."""
    found = importlib.util.find_spec("pycgroup")
    assert found is not None
    assert found.origin is not None
    return {**os.environ, "PYTHONPATH": str(Path(found.origin).parents[1]), "PYTHONUNBUFFERED": ""}


class Program:
    """A running example; `peek` shows the line that it has printed last, and it cannot get past the next."""

    def __init__(self, process: subprocess.Popen[bytes], lines: int) -> None:
        self.pid = process.pid
        self._process = process
        self._lines = lines

    def peek(self) -> str:
        """Wait for the next line and return it without taking it; "" at the end."""
        poll = select.poll()
        poll.register(self._lines, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"no line came in {PATIENCE} s"
        copy, writer = os.pipe()
        try:
            assert _libc.tee(self._lines, writer, 65536, 0) >= 0, os.strerror(ctypes.get_errno())
            os.close(writer)
            return os.read(copy, 65536).decode()
        finally:
            os.close(copy)

    def take(self) -> str:
        """Take the next line, so that the program may print another."""
        return os.read(self._lines, 65536).decode()

    def upto(self, words: str) -> str:
        """Take lines until the next one has these words; leave and return that one."""
        while words not in (line := self.peek()):
            assert line, f"the program ended before it said {words!r}"
            self.take()
        return line

    def end(self) -> int:
        """Take all lines that are left; return how the program ended."""
        while self.peek():
            self.take()
        return self._process.wait(PATIENCE)

    def cpu_share(self) -> float:
        """Return the CPU time over the wall time that the program uses from now until it has printed one more line."""
        started, used = time.monotonic(), cpu_seconds(self.pid)
        self.take()
        self.peek()
        return (cpu_seconds(self.pid) - used) / (time.monotonic() - started)

    def may_use(self) -> set[int]:
        """Return the CPUs that the program may use."""
        return numbers(_field(f"/proc/{self.pid}/status", "Cpus_allowed_list:"))

    def is_on(self) -> int:
        """Return the CPU that the program ran on last (field 39 of proc(5)'s stat)."""
        return int(machine.read(f"/proc/{self.pid}/stat").rpartition(")")[2].split()[36])


@contextlib.contextmanager
def running(name: str, *arguments: str) -> Iterator[Program]:
    """Run an example; on exit it is gone."""
    lines, writer = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)  # O_DIRECT: each write stays one packet, of a page of its own
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE"))
    try:
        with subprocess.Popen(argv(name, *arguments), stdout=writer, env=environment()) as process:
            os.close(writer)
            try:
                yield Program(process, lines)
            finally:
                process.kill()
    finally:
        os.close(lines)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, from its own clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def numbers(text: str) -> set[int]:
    """Return the numbers of a list such as "0-2,5"."""
    runs = (part.split("-") for part in text.strip().split(",") if part)
    return {number for run in runs for number in range(int(run[0]), int(run[-1]) + 1)}


def control(controller: str, group: str, v1: str, v2: str) -> str:
    """Return the text of a control file that has a name on each version."""
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None
    return oracle.read(controller, group, (v1, v2)[hierarchy.version - 1])


def prefer(group: str) -> None:
    """Give a group the CPU before all others, so that its quota, not a busy machine, says how much it gets."""
    hierarchy = machine.hierarchy_of("cpu")
    assert hierarchy is not None
    oracle.write("cpu", group, *(("cpu.shares", "262144"), ("cpu.weight", "10000"))[hierarchy.version - 1])


def counter(controller: str, group: str, key: str, v1: str, v2: str) -> int:
    """Return one number of a control file with lines of a word and a number."""
    rows = (line.split() for line in control(controller, group, v1, v2).splitlines())
    return int(next(number for word, number in rows if word == key))


def _field(path: str, key: str) -> str:
    return next(line.removeprefix(key) for line in machine.read(path).splitlines() if line.startswith(key))


class Disk:
    """A mounted block device of a test's own."""

    def __init__(self, directory: Path) -> None:
        number = directory.stat().st_dev
        self.directory = directory
        self.name = f"{os.major(number)}:{os.minor(number)}"

    def read_operations(self) -> int:
        return self._counters()[0]

    def written_bytes(self) -> int:
        return self._counters()[6] * _SECTOR

    def _counters(self) -> list[int]:
        """Return the block layer's counters (the kernel's Documentation/block/stat.rst)."""
        return [int(number) for number in machine.read(f"/sys/dev/block/{self.name}/stat").split()]


@contextlib.contextmanager
def loop_disk(directory: Path) -> Iterator[Disk]:
    """Mount a file system on a loop device over a file."""
    image, mounted = directory / "image", directory / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    # Without a journal and without what is written later in the background, the device does what the example does.
    features = ["-O", "^has_journal", "-E", "lazy_itable_init=0"]
    subprocess.run(["mkfs.ext4", "-q", *features, str(image)], check=True, timeout=PATIENCE)
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True, timeout=PATIENCE)
    try:
        yield Disk(mounted)
    finally:
        subprocess.run(["umount", str(mounted)], check=True, timeout=PATIENCE)
