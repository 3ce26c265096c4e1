# SPDX-License-Identifier: MIT
"""Two controllers for one process, how much CPU and which: mruby-cgroup's cpu_and_core.rb.

    sudo python3 examples/cpu_and_core.py [GROUP] [--seconds 3]

The script works with 30 % of a CPU on CPU 0, with 50 % on CPU 2 and with 90 % on CPUs 0 to 2, and says what it got. A
machine with fewer CPUs takes those that are there, or its last one. The group changes while the process is in it.
"""

from __future__ import annotations

import argparse
import os
import time

from pycgroup import Cgroup, CpuSet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="test")
parser.add_argument("--seconds", type=float, default=3, help="how long each of the three runs takes")
args = parser.parse_args()


def work() -> None:
    """Keep a CPU busy for a while, and say how much of it there was, and which."""
    started, used = time.monotonic(), time.process_time()
    while time.monotonic() < started + args.seconds:
        pass
    share = (time.process_time() - used) / (time.monotonic() - started)
    print(f"  used {share:.0%} of a CPU, on cpu {CpuSet(os.sched_getaffinity(0))}", flush=True)


rate = Cgroup.CPU(args.group)
core = Cgroup.CPUSET(args.group)
parent = core.parent or core
there = parent.effective_cpus

# CPU core 0 and rate 30%
rate.cfs_quota_us = 30_000
core.cpus = {min(there)}
core.mems = parent.effective_mems

rate.create()  # on cgroup v1 each makes a directory of its own, on v2 they share one
core.create()

rate.attach()
core.attach()
print(f"attach to {args.group} with rate 30% and cpu {core.cpus}", flush=True)
work()

# CPU core 2 and rate 50%
rate.cfs_quota_us = 50_000
core.cpus = {2} & there or {max(there)}
print(f"change {args.group} to rate 50% and cpu {core.cpus}", flush=True)
work()

# CPU core 0,1,2 and rate 90%
rate.cfs_quota_us = 90_000
core.cpus = {0, 1, 2} & there or {max(there)}
print(f"change {args.group} to rate 90% and cpu {core.cpus}", flush=True)
work()

core.detach()
rate.detach()
print(f"delete {args.group}", flush=True)
rate.delete()
core.delete()
