# SPDX-License-Identifier: MIT
"""Cgroup, the namespace of the classes of control groups: Cgroup.MEMORY, Cgroup.CPU and the others."""

from __future__ import annotations

from . import controllers
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from .delegation import Delegated


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

    @staticmethod
    def delegated(pid: int | None = None, *, leaf: bool = True, timeout: float = 30.0) -> Delegated:
        """Return the subtree that is delegated to this process, after obtaining one from systemd where there is none.

        Names without a leading slash are below it. `pid`: another process that systemd is to put into a scope of its
        own, by default the calling one. `leaf` puts the process into a group of its own there, as v2 asks for before
        others can have controllers. `timeout` is seconds. Raises UnavailableError that says what to do where nobody
        delegates, PermissionDeniedError.
        """
        from .delegation import delegated

        return delegated(pid, leaf=leaf, timeout=timeout)
