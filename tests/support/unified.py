# SPDX-License-Identifier: MIT
"""A class for groups of the v2 hierarchy, which hybrid hosts have beside their controllers on v1."""

from __future__ import annotations

from pycgroup.controllers import CPU, MEMORY, Core


class UNIFIED(Core, v2="cgroup"):
    """A group of the v2 hierarchy with what every group there has."""

    __slots__ = ()


class StallingCpu(UNIFIED, v2="cgroup"):
    """The same with the CPU class's stall_events."""

    __slots__ = ()
    stall_events = CPU.stall_events


class StallingMemory(UNIFIED, v2="cgroup"):
    """The same with the memory class's stall_events."""

    __slots__ = ()
    stall_events = MEMORY.stall_events
