# SPDX-License-Identifier: MIT
"""A pool of processes that survives the OOM killer: the task that asks too much fails, the others go on.

    sudo python3 examples/pool.py [MEBIBYTES...]

Each worker has a group of its own with 64 MiB. One sees a line for each task: what it returned, or why it failed.
"""

from __future__ import annotations

import sys

from pycgroup import CgroupProcessPoolExecutor, MemoryLimitExceeded


def fill(mebibytes: int) -> int:
    """Use so much memory."""
    return len(bytearray(mebibytes << 20))


def main(sizes: list[int]) -> None:
    """Run a task of each size."""
    with CgroupProcessPoolExecutor(2, memory="64M", swap=0) as pool:
        tasks = [pool.submit(fill, size) for size in sizes]
        for size, task in zip(sizes, tasks, strict=True):
            try:
                print(f"{size} MiB: {task.result()} bytes")
            except MemoryLimitExceeded as error:
                print(f"{size} MiB: killed at {error.peak} bytes, the limit is {error.limit}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1, 200, 2, 200, 3])
