# SPDX-License-Identifier: MIT
"""Wait for one OOM of a memory group, then list its processes, as memcg_oom_waiter does: ``oom_waiter.py GROUP``.

With the killer off (v1) the processes are stopped, and can be looked at in peace. Exit status 2: the group was removed.
"""

from __future__ import annotations

import sys

from pycgroup import Cgroup, CgroupError, GroupRemovedError


def main(name: str) -> int:
    """Return 0 after an OOM, 2 when the group was removed instead."""
    memory = Cgroup.MEMORY(name)
    with memory.oom_events() as events:
        print(f"waiting for an OOM of {memory.path}", flush=True)
        try:
            events.wait()
        except GroupRemovedError as removed:
            print(removed)
            return 2
    print(f"{'PID':>8}{'PPID':>8}{'UID':>6}{'VSZ KiB':>10}{'RSS KiB':>10}  ARGS")
    for each in memory.processes():
        print(f"{each.pid:8}{each.ppid:8}{each.uid:6}{each.vsz >> 10:10}{each.rss >> 10:10}  {each.args}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]) if sys.argv[1:] else __doc__)
    except CgroupError as error:
        sys.exit(str(error))
