# SPDX-License-Identifier: MIT
"""The kernel log as it is, and one that a test writes, a record at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pycgroup.victims import KernelLog


@contextlib.contextmanager
def logged_meanwhile() -> Iterator[Callable[[], str]]:
    """Give what returns the records that the kernel has logged since."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read() -> str:
        records = []
        with contextlib.suppress(BlockingIOError):
            while True:
                records.append(os.read(log, 8192))
        return b"".join(records).decode(errors="replace")

    try:
        os.lseek(log, 0, os.SEEK_END)
        yield read
    finally:
        os.close(log)


def written_log(folder: Path) -> tuple[KernelLog, int]:
    """Return a reader of a log, and the descriptor that writes its records: one with each write."""
    path = folder / "kmsg"
    path.touch()
    log = KernelLog(str(path))
    # A pipe gives what was written as it was written, which a packet pipe keeps apart: as /dev/kmsg does.
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    os.dup2(reader, log.descriptor)
    os.close(reader)
    return log, writer
