# SPDX-License-Identifier: MIT
"""Cgroup, the namespace of the classes of control groups: Cgroup.MEMORY, Cgroup.CPU and the others."""

from __future__ import annotations

from . import controllers


class Cgroup:
    """The classes of control groups, one for each controller of the kernel."""

    CPU = controllers.CPU
    CPUACCT = controllers.CPUACCT
    CPUSET = controllers.CPUSET
    BLKIO = controllers.BLKIO
    MEMORY = controllers.MEMORY
    PIDS = controllers.PIDS
    FREEZER = controllers.FREEZER
    DEVICES = controllers.DEVICES
    HUGETLB = controllers.HUGETLB
    NET_CLS = controllers.NET_CLS
    NET_PRIO = controllers.NET_PRIO
    PERF_EVENT = controllers.PERF_EVENT
    RDMA = controllers.RDMA
    MISC = controllers.MISC
