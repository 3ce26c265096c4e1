# SPDX-License-Identifier: MIT
"""Print a line for each OOM of a memory group, as oom-notify does: ``oom_notify.py GROUP``.

``oom_notify.py --killer on`` and ``--killer off`` show its two patterns on a group of their own: with the killer on, a
task that needs more than its limit is killed; with it off (v1) the task stops, and ends well when the limit is raised.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from pycgroup import Cgroup, CgroupError

if TYPE_CHECKING:
    from pycgroup.controllers import MEMORY

TASK = "import sys; open(sys.argv[1] + '/cgroup.procs', 'w').write('0'); held = bytearray(int(sys.argv[2]) << 20)"


def notify(name: str) -> None:
    """Print each OOM of a group until the group is removed."""
    with Cgroup.MEMORY(name).oom_events() as events:
        print(f"watching {events.group}", flush=True)
        for event in events:
            print(f"OOM in {event.group}: {event.kills} killed", *event.victims, flush=True)
    print(f"{name} was removed")


def limit(memory: MEMORY, size: str) -> None:
    """Limit memory, and swap with it where the kernel counts that."""
    swap = {"memsw_limit_in_bytes": size} if hasattr(memory, "memsw_limit_in_bytes") else {}
    memory.modify(limit_in_bytes=size, **swap)


def task(memory: MEMORY, mebibytes: int) -> subprocess.Popen[bytes]:
    """Start a task in the group that needs so much memory."""
    return subprocess.Popen([sys.executable, "-S", "-c", TASK, str(memory.path), str(mebibytes)])


def killer_on(memory: MEMORY) -> None:
    """Give the task 10 MiB, which are enough, and then 1 MiB."""
    with memory.oom_events() as events:
        for size in ("10M", "1M"):
            limit(memory, size)
            status = task(memory, 4).wait()
            event = events.wait(timeout=0)
            print(f"limit {size}: exit status {status}, {event.kills if event else 'no event, 0'} killed")


def killer_off(memory: MEMORY) -> None:
    """Have the task stop at 1 MiB and go on when it gets 10."""
    # Memory alone is limited: to raise two limits one after the other would wake the task between them.
    memory.modify(oom_control=True, swappiness=0, limit_in_bytes="1M")
    with memory.oom_events() as events, task(memory, 4) as stopped:
        event = events.wait()
        print(f"OOM: {event.kills if event else 0} killed; the task runs on: {stopped.poll() is None}")
        memory.limit_in_bytes = "10M"
        status, under_oom, another = stopped.wait(), memory.oom_control.under_oom, events.wait(timeout=0)
        print(f"limit 10M: exit status {status}, under_oom {under_oom}, another event: {another}")


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["--killer", "on" | "off" as killer]:
                with Cgroup.MEMORY(f"pycgroup-oom-notify-{os.getpid()}") as group:
                    (killer_on if killer == "on" else killer_off)(group)
            case [name] if name != "--killer":
                notify(name)
            case _:
                sys.exit(__doc__)
    except CgroupError as error:
        sys.exit(str(error))
