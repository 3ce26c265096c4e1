# SPDX-License-Identifier: MIT
"""Start processes until the kernel refuses one more: a fork bomb that cannot go off.

    sudo python3 examples/pids.py [GROUP] [--max 5]

One sees the number of processes grow to the limit, this script being one of them, and then the refusal: EAGAIN, which
Python raises as BlockingIOError. mruby-cgroup has the class but no example; this one is written as in Python, with
`with`: the group is made on entry, and on exit the script leaves it and it is removed.
"""

from __future__ import annotations

import argparse
import subprocess

from pycgroup import Cgroup

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="/test")
parser.add_argument("--max", type=int, default=5, help="how many processes there may be in the group")
args = parser.parse_args()

with Cgroup.PIDS(args.group, max=args.max) as c:
    c.attach()
    print(f"attach to {c.group_name}: {c.current} of {c.max}", flush=True)

    children = []
    try:
        while True:
            # `cat` waits until its standard input ends.
            children.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
            print(f"start process {children[-1].pid}: {c.current} of {c.max}", flush=True)
    except BlockingIOError as refusal:
        print(f"refused with {c.current} of {c.max}: {refusal}", flush=True)

    for child in children:
        child.communicate()
    print(f"ended {len(children)} processes: {c.current} of {c.max}", flush=True)
