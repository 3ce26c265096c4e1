# SPDX-License-Identifier: MIT
"""Listen to any control file of v1 that takes events, as the kernel's cgroup_event_listener does.

``event_listener.py memory.usage_in_bytes GROUP 10M``: the file, the group, and the argument if it takes one.
"""

from __future__ import annotations

import sys

from pycgroup import Cgroup, CgroupError


def main(file: str, name: str, *argument: str) -> None:
    """Print a line for each event until the group is removed."""
    group = Cgroup.MEMORY(name)  # no other controller of the kernel's has files that take events
    with group.event(file, *argument) as events:
        print(f"listening to {group.path}/{file}", flush=True)
        for event in events:
            print(f"{file} {event.argument}: crossed, now {event.text}", flush=True)
    print("the group was removed")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CgroupError as error:
        sys.exit(str(error))
