# SPDX-License-Identifier: MIT
"""Run with 30 % of a CPU, with all of it, and with 10 %: mruby-cgroup's cpu.rb.

    sudo python3 examples/cpu.py [GROUP] [--seconds 3]

Each time the script keeps a CPU busy for some seconds and says how much of it the kernel let it have: about 30 %, about
100 % (less on a busy machine) and about 10 %.
"""

from __future__ import annotations

import argparse
import time

from pycgroup import Cgroup

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="/test")
parser.add_argument("--seconds", type=float, default=3, help="how long each of the three runs takes")
args = parser.parse_args()


def work() -> None:
    """Keep a CPU busy for a while, and say how much of it there was."""
    started, used = time.monotonic(), time.process_time()
    while time.monotonic() < started + args.seconds:
        pass
    share = (time.process_time() - used) / (time.monotonic() - started)
    print(f"  used {share:.0%} of a CPU", flush=True)


c = Cgroup.CPU(args.group)
c.cfs_quota_us = 30_000  # microseconds in each period, which is 100000; the group need not exist yet
if not c.exists():
    print(f"create cgroup cpu {c.group_name}", flush=True)
    c.create()

# CPU 30%
c.attach()
print(f"attach to {c.group_name} with cpu 30%", flush=True)
work()
c.detach()

# CPU 100%
print(f"detach from {c.group_name}, run with cpu 100%", flush=True)
work()

# CPU 10%
c.cfs_quota_us = 10_000  # the group exists: this takes effect at once
c.attach()
print(f"attach to {c.group_name} with cpu 10%", flush=True)
work()
c.detach()

print(f"delete {c.group_name}", flush=True)
c.delete()
