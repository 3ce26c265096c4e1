# SPDX-License-Identifier: MIT
"""What this process holds: descriptors and memory."""

from __future__ import annotations

import gc
import os


def open_files() -> int:
    """Return how many descriptors are open, with the one that it takes to look."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Return the bytes of this process in memory, without those that are a file's; exact, which statm is not."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) << 10
