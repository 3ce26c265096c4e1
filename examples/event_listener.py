# SPDX-License-Identifier: MIT
"""Listen to any control file of v1 that takes events, as the kernel's cgroup_event_listener does.

``event_listener.py memory.usage_in_bytes GROUP 10M``: the file, the group, and the argument if it takes one.
"""

from __future__ import annotations

import sys

from pycgroup import Cgroup


def main(file: str, name: str, *argument: str) -> None:
    """Print a line for each event until the group is removed."""
    group = getattr(Cgroup, file.partition(".")[0].upper())(name)
    with group.event(file, *argument) as events:
        print(f"listening to {group.path}/{file}", flush=True)
        for event in events:
            print(f"{file} {event.argument}: crossed, now {event.text}", flush=True)
    print("the group was removed")


if __name__ == "__main__":
    if not sys.argv[2:]:
        sys.exit(__doc__)
    main(*sys.argv[1:])
