# SPDX-License-Identifier: MIT
"""What this process holds: descriptors and memory."""

from __future__ import annotations

import ctypes
import gc
import os

_PR_SET_THP_DISABLE = 41

# The kernel gathers what is held into huge pages, at times of its own choosing, and counts what is not held with it.
ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def open_files() -> int:
    """Return how many descriptors are open, with the one that it takes to look."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Return the bytes of this process in memory, without those that are a file's; exact, which statm is not."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) << 10
