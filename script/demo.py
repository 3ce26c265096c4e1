# SPDX-License-Identifier: MIT
"""The main job in one program: a child with a memory limit is killed by the kernel inside its group.

It prints what the kernel says of it, and leaves nothing behind. script/demo sets up what it needs and runs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from pycgroup import Cgroup, CgroupError, UnsupportedSettingError

if TYPE_CHECKING:
    from pycgroup.happenings import OomEvent

MIB = 1 << 20
LIMIT = 32 * MIB


def child(name: str) -> None:
    """Enter the group, then take memory until the kernel ends this process."""
    Cgroup.MEMORY(name).attach()
    held = []
    while True:
        held.append(b"x" * MIB)
        if len(held) % 5 == 0:
            print(f"  child {os.getpid()} holds {len(held)} MiB", flush=True)


def main() -> int:
    """Return 0 if the kernel's OOM killer ended the child."""
    with Cgroup.MEMORY(f"pycgroup-demo-{os.getpid()}", limit_in_bytes=LIMIT) as memory:
        with contextlib.suppress(UnsupportedSettingError):  # where the kernel counts swap, a child may not flee into it
            memory.memsw_limit_in_bytes = LIMIT
        print(f"group {memory.path} (cgroup v{memory.version}) may use {LIMIT // MIB} MiB", flush=True)
        with memory.oom_events() as events, subprocess.Popen([sys.executable, __file__, memory.group_name]) as process:
            print_event(events.wait(timeout=60))
        status = process.returncode
        kills = memory.oom_control.oom_kill
        print(f"ended by {name_of(status)}; the kernel's oom_kill counter of the group is {kills}")
        print(f"  limit {memory.limit_in_bytes:>12,} bytes")
        print(f"  peak  {memory.max_usage_in_bytes:>12,} bytes")
    killed = status == -signal.SIGKILL and kills > 0
    print(f"the child was {'OOM-killed inside its group' if killed else 'NOT OOM-killed'};", end=" ")
    print("the group is removed" if not memory.exists() else "the group is STILL THERE")
    return 0 if killed and not memory.exists() else 1


def print_event(event: OomEvent | None) -> None:
    """Say what has happened, while it happens."""
    if event is None:
        print("no OOM came within a minute", flush=True)
        return
    print(f"OOM event: {event.kills} killed, {event.confidence}; usage {event.usage:,} of {event.limit:,} bytes")
    for victim in event.victims:
        print(f"  victim {victim.name}, pid {victim.pid}, {victim.anon_rss:,} bytes of memory", flush=True)


def name_of(status: int) -> str:
    """Return a child's exit status in words."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1])
    try:
        sys.exit(main())
    except CgroupError as error:
        sys.exit(f"demo: {error}")
