# SPDX-License-Identifier: MIT
"""A kernel log that a test writes, a record at a time."""

from __future__ import annotations

import os
from pathlib import Path

from pycgroup.victims import KernelLog


def written_log(folder: Path) -> tuple[KernelLog, int]:
    """Return a reader of a log, and the descriptor that writes its records: one with each write."""
    path = folder / "kmsg"
    path.touch()
    log = KernelLog(str(path))
    # A pipe gives what was written as it was written, which a packet pipe keeps apart: as /dev/kmsg does.
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    os.dup2(reader, log._file.fileno())
    os.close(reader)
    return log, writer
