# SPDX-License-Identifier: MIT
"""Cap a build: run a command with limits, and say what it took and whether the kernel had to stop it.

    sudo python3 examples/build.py [--memory 1G] [--cpus 2] [--pids 200] [--timeout 600] COMMAND [ARGUMENT...]

The limits hold for the command and everything that it starts, also for what outlives it: when the `with` block ends,
whatever is left of it is killed and the group is removed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from pycgroup import Cgroup

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--memory", default="1G")
parser.add_argument("--cpus", type=float, default=2.0)
parser.add_argument("--pids", type=int, default=200)
parser.add_argument("--timeout", type=float, default=600.0, help="seconds")
parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
args = parser.parse_args()

with Cgroup(memory=args.memory, swap=0, cpus=args.cpus, pids=args.pids) as job:
    try:
        result = job.run(args.command, timeout=args.timeout)
    except subprocess.TimeoutExpired:
        sys.exit(f"stopped after {args.timeout} s")

print(f"exit status {result.returncode} after {result.wall_time:.1f} s")
print(f"memory at most {(result.memory_peak or 0) >> 20} MiB of {args.memory}, processes at most {result.pids_peak}")
if result.cpu_time:
    print(f"CPU time {result.cpu_time.total:.1f} s, held back for {result.throttled_time or 0:.1f} s")
if result.oom_killed:
    sys.exit(f"the kernel killed a process of it: {args.memory} of memory are not enough")
sys.exit(0 if result.returncode == 0 else 1)
