# SPDX-License-Identifier: MIT
"""Write no more than so many bytes, then read no more than so many times a second: mruby-cgroup's blkio.rb.

    sudo python3 examples/blkio.py [GROUP] [--directory .] [--device 8:0]
                                   [--write-bps 100000000] [--read-iops 20000] [--seconds 3]

The script makes a file without a name in the directory, writes it and reads it past the page cache (O_DIRECT), and says
how fast that was: at most 100 MB, then at most 20000 reads of 4 KiB a second, less where the disk is slower than that.
The device is the disk that the directory is on; name it where that cannot be seen (btrfs, overlayfs).
"""

from __future__ import annotations

import argparse
import mmap
import os
import time
from collections.abc import Callable

from pycgroup import Cgroup

SIZE = 4 * 1024 * 1024
BLOCK = mmap.mmap(-1, 64 * 1024)  # O_DIRECT takes whole pages
PAGE = mmap.mmap(-1, 4096)


def disk_of(directory: str) -> str:
    """Return the device, 'major:minor', that a directory is on: the whole disk, as a partition has no limits."""
    number = os.stat(directory).st_dev
    node = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not os.path.exists(node):
        raise SystemExit(f"{directory} is on no disk of its own: give a --directory that is, or the --device below it")
    if os.path.exists(f"{node}/partition"):
        node = os.path.dirname(node)
    with open(f"{node}/dev") as file:
        return file.read().strip()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("group", nargs="?", default="/test")
parser.add_argument("--directory", default=".", help="where the file is")
parser.add_argument("--device", help="the disk that it is on, such as 8:0 or /dev/sda")
parser.add_argument("--write-bps", type=int, default=100_000_000, help="bytes that may be written in a second")
parser.add_argument("--read-iops", type=int, default=20_000, help="reads in a second")
parser.add_argument("--seconds", type=float, default=3, help="how long it writes, and how long it reads")
args = parser.parse_args()
device = args.device or disk_of(args.directory)


def work(transfer: Callable[[int], int]) -> tuple[float, float]:
    """Transfer blocks for a while; return how many bytes and how many blocks that was in a second."""
    started, done, count = time.monotonic(), 0, 0
    while time.monotonic() < started + args.seconds:
        done += transfer(done % SIZE)
        count += 1
    seconds = time.monotonic() - started
    return done / seconds, count / seconds


fd = os.open(args.directory, os.O_TMPFILE | os.O_RDWR | os.O_DIRECT)
for start in range(0, SIZE, len(BLOCK)):  # a file with holes could be read without the disk
    os.pwrite(fd, BLOCK, start)

c = Cgroup.BLKIO(args.group)
c.throttle_write_bps_device = f"{device} {args.write_bps}"  # or {device: args.write_bps}
if not c.exists():
    print(f"create cgroup blkio {c.group_name}", flush=True)
    c.create()

# write bps
c.attach()
print(f"attach to {c.group_name} with write bps {args.write_bps} on {device}", flush=True)
bps, _ = work(lambda offset: os.pwrite(fd, BLOCK, offset))
print(f"  wrote {bps:.0f} bytes a second", flush=True)
c.detach()
print(f"detach from {c.group_name}", flush=True)

# read iops
c.throttle_read_iops_device = f"{device} {args.read_iops}"
c.attach()
print(f"attach to {c.group_name} with read iops {args.read_iops} on {device}", flush=True)
_, iops = work(lambda offset: os.preadv(fd, [PAGE], offset))
print(f"  read {iops:.0f} times a second", flush=True)
c.detach()
print(f"detach from {c.group_name}", flush=True)

print(f"delete {c.group_name}", flush=True)
c.delete()
