# SPDX-License-Identifier: MIT
"""The kernel matrix: run a command on real kernels in QEMU, once per cgroup mode.

`script/matrix` is the entry; CONTRIBUTING.md and `script/matrix --help` say how to use it. Linux on x86-64, root and
a Debian-like host are needed; KVM is not. One idea per file:

    modes.py    the table: which kernel, cgroup layout, user and required capabilities make up each mode
    roots.py    guests' file systems and kernels, made once in a cache outside the checkout
    project.py  the checkout's copy in a guest's root, with its extension built there
    machine.py  one QEMU run, from the command to its status
    report.py   junit files to one table
    guest/      what runs inside: init (initramfs), run.sh, and one enter-*.sh per way into a cgroup
"""
