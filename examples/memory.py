# SPDX-License-Identifier: MIT
"""Use more memory than a group may, until the kernel kills this script: mruby-cgroup's memory.rb, line by line.

    sudo python3 examples/memory.py [GROUP]

One sees three lines and the shell's word "Killed": the status is 137, which is SIGKILL. The group stays, and counts:
`oom_kill 1` in its memory.oom_control (cgroup v1) or memory.events (v2). Run it again and it is 2. To remove the group:

    sudo python3 -c 'from pycgroup import Cgroup; Cgroup.MEMORY("/test").delete()'
"""

from __future__ import annotations

import argparse

from pycgroup import Cgroup

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="/test")
args = parser.parse_args()

c = Cgroup.MEMORY(args.group)
if not c.exists():
    print(f"create cgroup memory {c.group_name}")
    c.create()

c.limit_in_bytes = 8 * 1024
if hasattr(c, "memsw_limit_in_bytes"):
    # Memory and swap together: where there is swap, the memory limit alone would only slow this script down.
    c.memsw_limit_in_bytes = 8 * 1024
c.modify()
print(f"limit {c.group_name} to {c.limit_in_bytes} bytes")

# Printed and flushed first: the very next page that this script touches inside may be its last.
print(f"attach to {c.group_name} and allocate until killed", flush=True)
c.attach()

hoard = []
while True:
    hoard.append(b"x" * 1024 * 1024)
