# SPDX-License-Identifier: MIT
"""Run on CPU 0, on CPU 2, on CPUs 0 to 2, and on 0 to 2 and 5, with one group: mruby-cgroup's cpuset.rb.

    sudo python3 examples/cpuset.py [GROUP] [--cpus 0 2 0-2 0-2,5] [--seconds 1]

Each time the script works for a while and says where the kernel let it run. A machine with fewer CPUs runs it on those
of the list that are there, or on its last one: on two CPUs one sees 0, 1, 0-1 and 0-1.
"""

from __future__ import annotations

import argparse
import os
import time

from pycgroup import Cgroup, CpuSet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="/test")
parser.add_argument("--cpus", nargs="+", metavar="LIST", default=["0", "2", "0-2", "0-2,5"])
parser.add_argument("--seconds", type=float, default=1, help="how long it works on each list")
args = parser.parse_args()


def work() -> None:
    """Keep a CPU busy for a while, and say on which this may be."""
    deadline = time.monotonic() + args.seconds
    while time.monotonic() < deadline:
        pass
    print(f"  worked on cpu {CpuSet(os.sched_getaffinity(0))}", flush=True)


c = Cgroup.CPUSET(args.group)
parent = c.parent or c
there = parent.effective_cpus

c.cpus = {min(there)}
c.mems = parent.effective_mems  # on cgroup v1 a group takes no process before it has CPUs and memory nodes
if not c.exists():
    print(f"create cgroup cpuset {c.group_name} on a machine with cpu {there}", flush=True)
    c.create()

for wanted in args.cpus:
    c.cpus = CpuSet.parse(wanted) & there or {max(there)}
    c.attach()
    print(f"attach to {c.group_name} with cpu {c.cpus} (wanted: {wanted})", flush=True)
    work()
    c.detach()
    print(f"detach from {c.group_name}", flush=True)

print(f"delete {c.group_name}", flush=True)
c.delete()
