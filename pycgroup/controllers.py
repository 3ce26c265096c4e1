# SPDX-License-Identifier: MIT
"""The classes of control groups: the kernel's control files, one a line, as v1 and as v2 call them.

A name is the v1 file's without its controller, dots as underscores; files that only v2 has are called as there. Where
one thing has a name on each version, both names are one descriptor.
"""

from __future__ import annotations

from . import sized
from ._types import TYPE_CHECKING
from .actions import Command, EventFile, Trigger
from .base import Controller
from .codecs import (
    BYTES,
    COUNT,
    FLAG,
    FROZEN,
    INT,
    LINES,
    MAX,
    MICROSECONDS,
    NANOSECONDS,
    PERCENT,
    QUOTA,
    RAW,
    REPORTED,
    TEXT,
    USAGE,
    WORDS,
    YES,
    Ints,
    Word,
)
from .cpusets import CPUS
from .devices import (
    BYTES_PER_SECOND,
    IO_COUNTERS,
    IO_LIMITS,
    IO_PER_SECOND,
    LATENCIES,
    MISC_LIMITS,
    OWN_WEIGHTS,
    PRIORITIES,
    RBPS,
    RESOURCES,
    RIOPS,
    WBPS,
    WEIGHT,
    WEIGHTS,
    WIOPS,
)
from .freezing import Freezing
from .hierarchy import CORE
from .observer import watch
from .openers import (
    control_by_eventfd,
    counters_by_changes,
    oom_by_counters,
    oom_by_eventfd,
    populated_by_changes,
    pressure_by_eventfd,
    stalls,
    threshold_by_eventfd,
)
from .quotas import CPU_PERIOD, CPU_QUOTA, MEMSW, MEMSW_USAGE, SHARES
from .settings import File, Reading, Setting, WriteOnly
from .sized import SizedReading, SizedSetting
from .sources import EventSource
from .stats import (
    CPU_STAT,
    CPUACCT_STAT,
    EQUALS,
    IO_STAT,
    MEMORY_EVENTS,
    MEMORY_STAT,
    NUMA_STAT,
    OOM_ALWAYS_ON,
    OOM_CONTROL,
    PRESSURE,
    STAT,
    USAGE_ALL,
    Field,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from .happenings import OomEvent
    from .observer import Watching


CPU_STALLS = stalls("cpu.pressure", "stat.nr_throttled")
IO_STALLS = stalls("io.pressure", "throttle_io_serviced")
MEMORY_STALLS = stalls("memory.pressure", "pressure_events")


class Core(Controller):
    """The files that every group has, whatever its controller."""

    __slots__ = ()

    notify_on_release = Setting(FLAG, v1="notify_on_release", doc="Whether the root's release_agent runs when the group becomes empty.")
    release_agent = Setting(TEXT, v1="release_agent", doc="The program that notify_on_release runs.", needs="the root of the hierarchy")
    cgroup_clone_children = Setting(FLAG, v1="cgroup.clone_children", doc="Whether a new child cpuset starts with the cpus and mems of its parent.")
    cgroup_sane_behavior = Reading(FLAG, v1="cgroup.sane_behavior", doc="Always 0.", needs="the root of the hierarchy")
    cgroup_type = Setting(TEXT, v2="cgroup.type", doc="'domain', 'threaded' and so on; takes 'threaded'.", bounds="it has processes, or it or the group above it has controllers other than cpu, cpuset, perf_event and pids")
    cgroup_controllers = Reading(WORDS, v2="cgroup.controllers", doc="The controllers that the group has.")
    cgroup_subtree_control = Setting(RAW, v2="cgroup.subtree_control", doc="The controllers that its children have; takes '+memory -io'.")
    cgroup_events = Reading(STAT, v2="cgroup.events", doc="populated: whether processes are in it or below; frozen: whether they are stopped.")
    cgroup_stat = Reading(STAT, v2="cgroup.stat", doc="How many groups are below, and how many of those that are dying.")
    cgroup_stat_local = Reading(STAT, v2="cgroup.stat.local", doc="How long it was frozen.", needs="Linux 6.18")
    cgroup_max_depth = Setting(COUNT, v2="cgroup.max.depth", doc="How deep groups may be nested below it.")
    cgroup_max_descendants = Setting(COUNT, v2="cgroup.max.descendants", doc="How many groups may be below it.")
    cgroup_freeze = Setting(FLAG, v2="cgroup.freeze", doc="Whether its processes, and those below, are to be stopped.", needs="Linux 5.2")
    cgroup_kill = Trigger(YES, "1", v2="cgroup.kill", doc="Kill all processes in it and below.", needs="Linux 5.14")
    cgroup_pressure = Setting(FLAG, v2="cgroup.pressure", doc="Whether its pressure files count.", needs="Linux 6.1 with CONFIG_PSI")
    irq_pressure = Reading(PRESSURE, v2="irq.pressure", doc="How long tasks waited for interrupts.", needs="Linux 6.1 with CONFIG_PSI")

    populated_events = EventSource(v2=populated_by_changes, doc="The first process coming into the group or below it, and the last one leaving.", nearest="notify_on_release, which runs the root's release_agent when the last process has left")
    event = EventSource(v1=control_by_eventfd, doc="Any control file that takes event registrations, with any argument: event('memory.usage_in_bytes', '10M').", nearest="populated_events of every group, stall_events of CPU, MEMORY and BLKIO, oom_events and counter_events of MEMORY")


class CPUACCT(Core, v1="cpuacct", v2=CORE, shows="usage"):
    """CPU time used by a control group (cpuacct of v1; `cpu.stat` of v2, which every group has)."""

    __slots__ = ()

    usage = Setting(NANOSECONDS, v1="cpuacct.usage", v2=File("cpu.stat", Field("usage_usec", 1000, "nanoseconds")), doc="CPU time used, with that of the groups below; v1 takes 0, to start anew.")
    usage_user = Reading(NANOSECONDS, v1="cpuacct.usage_user", v2=File("cpu.stat", Field("user_usec", 1000, "nanoseconds")), doc="CPU time used in user mode.")
    usage_sys = Reading(NANOSECONDS, v1="cpuacct.usage_sys", v2=File("cpu.stat", Field("system_usec", 1000, "nanoseconds")), doc="CPU time used in the kernel.")
    usage_percpu = Reading(Ints("nanoseconds"), v1="cpuacct.usage_percpu", doc="CPU time used on each CPU.")
    usage_percpu_user = Reading(Ints("nanoseconds"), v1="cpuacct.usage_percpu_user", doc="CPU time used on each CPU in user mode.")
    usage_percpu_sys = Reading(Ints("nanoseconds"), v1="cpuacct.usage_percpu_sys", doc="CPU time used on each CPU in the kernel.")
    usage_all = Reading(USAGE_ALL, v1="cpuacct.usage_all", doc="CPU time used on each CPU in user mode and in the kernel.")
    stat = Reading(CPUACCT_STAT, v1="cpuacct.stat", v2="cpu.stat", doc="CPU time in user mode and in the kernel, in clock ticks.")


class CPU(Core, v1="cpu", v2="cpu", shows="shares cfs_quota_us cfs_period_us"):
    """How much CPU time a control group gets (cpu)."""

    __slots__ = ()

    cfs_quota_us = Setting(QUOTA, v1="cpu.cfs_quota_us", v2=File("cpu.max", CPU_QUOTA), doc="CPU time that the group may use in each period; 30000 of 100000 is 30 % of one CPU.", bounds="a quota is at least 1000, and never above that of the group above it")
    cfs_period_us = Setting(MICROSECONDS, v1="cpu.cfs_period_us", v2=File("cpu.max", CPU_PERIOD), doc="The period of the quota, 1000 to 1000000, by default 100000.", bounds="a period is 1000 to 1000000")
    cfs_burst_us = max_burst = Setting(MICROSECONDS, v1="cpu.cfs_burst_us", v2="cpu.max.burst", doc="Unused quota that may be used later, at most the quota.", needs="Linux 5.14", bounds="it is never above the quota: set cfs_quota_us first, or both with modify()")
    max = Setting(TEXT, v2="cpu.max", doc="Quota and period in one: 'max 100000', '30000 100000'. cfs_quota_us and cfs_period_us are its parts.")
    rt_period_us = Setting(MICROSECONDS, v1="cpu.rt_period_us", doc="The period of rt_runtime_us.", needs="CONFIG_RT_GROUP_SCHED")
    rt_runtime_us = Setting(QUOTA, v1="cpu.rt_runtime_us", doc="CPU time that real-time tasks may use in each period; 0 in a new group, which then takes none.", needs="CONFIG_RT_GROUP_SCHED", bounds="the groups above must have as much to give")
    shares = Setting(INT, v1="cpu.shares", v2=File("cpu.weight", SHARES), doc="Share of the CPU beside its siblings under load, 2 to 262144, by default 1024; on v2 1024 is a weight of 100.", bounds="it is 2 to 262144")
    weight = Setting(INT, v2="cpu.weight", doc="Share of the CPU beside its siblings under load, 1 to 10000, by default 100; shares is the same on both versions.")
    weight_nice = Setting(INT, v2="cpu.weight.nice", doc="The weight as a nice level, -20 to 19.", bounds="it is -20 to 19")
    idle = Setting(FLAG, v1="cpu.idle", v2="cpu.idle", doc="Whether the group runs only when nothing else wants the CPU.", needs="Linux 5.15")
    uclamp_min = Setting(PERCENT, v1="cpu.uclamp.min", v2="cpu.uclamp.min", doc="The CPU frequency that the group asks for at least.", needs="CONFIG_UCLAMP_TASK_GROUP")
    uclamp_max = Setting(PERCENT, v1="cpu.uclamp.max", v2="cpu.uclamp.max", doc="The CPU frequency that the group asks for at most.", needs="CONFIG_UCLAMP_TASK_GROUP")
    stat = Reading(CPU_STAT, v1="cpu.stat", v2="cpu.stat", doc="Periods and throttling by the quota; on v2 also the CPU time used.")
    stat_local = Reading(CPU_STAT, v1="cpu.stat.local", v2="cpu.stat.local", doc="Throttling of the group itself, without that of the groups above.", needs="Linux 6.6")
    pressure = Reading(PRESSURE, v2="cpu.pressure", doc="How long tasks waited for the CPU.", needs="CONFIG_PSI")

    stall_events = EventSource(v1=CPU_STALLS, v2=CPU_STALLS, doc="Tasks waiting for the CPU longer than a share of a window of time.")

    @property
    def cpuacct(self) -> CPUACCT:
        """The group of the same name as cpuacct sees it."""
        return CPUACCT(self.group_name)


class CPUSET(Core, v1="cpuset", v2="cpuset", shows="cpus mems"):
    """Which CPUs and memory nodes a control group runs on (cpuset). On v1 it needs both before it takes processes."""

    __slots__ = ()

    cpus = Setting(CPUS, v1="cpuset.cpus", v2="cpuset.cpus", doc="The CPUs that the group may use.", bounds="only CPUs that the group above has can be given, and none that running tasks or children still need can be taken")
    mems = Setting(CPUS, v1="cpuset.mems", v2="cpuset.mems", doc="The memory nodes that the group may use.", bounds="only nodes that the group above has can be given, and none that running tasks or children still need can be taken")
    effective_cpus = cpus_effective = Reading(CPUS, v1="cpuset.effective_cpus", v2="cpuset.cpus.effective", doc="The CPUs that it has, after what the groups above leave.")
    effective_mems = mems_effective = Reading(CPUS, v1="cpuset.effective_mems", v2="cpuset.mems.effective", doc="The memory nodes that it has, after what the groups above leave.")
    cpu_exclusive = Setting(FLAG, v1="cpuset.cpu_exclusive", doc="Whether its siblings may not have its CPUs.")
    mem_exclusive = Setting(FLAG, v1="cpuset.mem_exclusive", doc="Whether its siblings may not have its memory nodes.")
    mem_hardwall = Setting(FLAG, v1="cpuset.mem_hardwall", doc="Whether the kernel's own allocations keep to its nodes too.")
    memory_migrate = Setting(FLAG, v1="cpuset.memory_migrate", doc="Whether memory follows when the nodes change.")
    memory_pressure = Reading(INT, v1="cpuset.memory_pressure", doc="How often tasks had to reclaim memory, per second and times 1000.")
    memory_pressure_enabled = Setting(FLAG, v1="cpuset.memory_pressure_enabled", doc="Whether memory_pressure counts; in the root only.")
    memory_spread_page = Setting(FLAG, v1="cpuset.memory_spread_page", doc="Whether the page cache is spread over the nodes.")
    memory_spread_slab = Setting(FLAG, v1="cpuset.memory_spread_slab", doc="Whether inodes and dentries are spread over the nodes.")
    sched_load_balance = Setting(FLAG, v1="cpuset.sched_load_balance", doc="Whether the scheduler balances load over its CPUs.")
    sched_relax_domain_level = Setting(INT, v1="cpuset.sched_relax_domain_level", doc="How far the scheduler looks for an idle CPU, -1 (system default) to 5.")
    cpus_exclusive = Setting(CPUS, v2="cpuset.cpus.exclusive", doc="The CPUs that its siblings may not have.", needs="Linux 6.7")
    cpus_exclusive_effective = Reading(CPUS, v2="cpuset.cpus.exclusive.effective", doc="The CPUs that it has alone.", needs="Linux 6.7")
    cpus_isolated = Reading(CPUS, v2="cpuset.cpus.isolated", doc="The CPUs of all isolated partitions.", needs="the root and Linux 6.7")
    cpus_partition = Setting(TEXT, v2="cpuset.cpus.partition", doc="'member', 'root' or 'isolated'; reads with the reason where it is invalid.")


class BLKIO(Core, v1="blkio", v2="io", shows="throttle_read_bps_device throttle_write_bps_device"):
    """Bandwidth of block devices for a control group (blkio of v1, io of v2)."""

    __slots__ = ()

    throttle_read_bps_device = Setting(BYTES_PER_SECOND, v1="blkio.throttle.read_bps_device", v2=File("io.max", RBPS), doc="Bytes that may be read from each device per second.", needs="CONFIG_BLK_DEV_THROTTLING", bounds="the device is a whole disk that exists, 'major:minor'")
    throttle_write_bps_device = Setting(BYTES_PER_SECOND, v1="blkio.throttle.write_bps_device", v2=File("io.max", WBPS), doc="Bytes that may be written to each device per second; buffered writes count on v2 only.", needs="CONFIG_BLK_DEV_THROTTLING", bounds="the device is a whole disk that exists, 'major:minor'")
    throttle_read_iops_device = Setting(IO_PER_SECOND, v1="blkio.throttle.read_iops_device", v2=File("io.max", RIOPS), doc="Reads from each device per second.", needs="CONFIG_BLK_DEV_THROTTLING", bounds="the device is a whole disk that exists, 'major:minor'")
    throttle_write_iops_device = Setting(IO_PER_SECOND, v1="blkio.throttle.write_iops_device", v2=File("io.max", WIOPS), doc="Writes to each device per second.", needs="CONFIG_BLK_DEV_THROTTLING", bounds="the device is a whole disk that exists, 'major:minor'")
    max = Setting(IO_LIMITS, v2="io.max", doc="The four limits of each device: {'8:0': {'rbps': ..., 'wbps': ..., 'riops': ..., 'wiops': ...}}.", needs="CONFIG_BLK_DEV_THROTTLING")
    throttle_io_service_bytes = Reading(IO_COUNTERS, v1="blkio.throttle.io_service_bytes", doc="Bytes transferred, by device and operation.")
    throttle_io_service_bytes_recursive = Reading(IO_COUNTERS, v1="blkio.throttle.io_service_bytes_recursive", doc="Bytes transferred, with the groups below.")
    throttle_io_serviced = Reading(IO_COUNTERS, v1="blkio.throttle.io_serviced", doc="Operations done, by device and operation.")
    throttle_io_serviced_recursive = Reading(IO_COUNTERS, v1="blkio.throttle.io_serviced_recursive", doc="Operations done, with the groups below.")
    reset_stats = Trigger(YES, "1", v1="blkio.reset_stats", doc="Start the counters anew.")
    bfq_weight = Setting(INT, v1="blkio.bfq.weight", v2=File("io.bfq.weight", WEIGHT), doc="Share of the device under the BFQ scheduler, 1 to 1000, by default 100.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_weight_device = Setting(WEIGHTS, v1="blkio.bfq.weight_device", v2=File("io.bfq.weight", OWN_WEIGHTS), doc="The same for single devices.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_io_service_bytes = Reading(IO_COUNTERS, v1="blkio.bfq.io_service_bytes", doc="Bytes transferred under BFQ.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_io_service_bytes_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_service_bytes_recursive", doc="Bytes transferred under BFQ, with the groups below.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_io_serviced = Reading(IO_COUNTERS, v1="blkio.bfq.io_serviced", doc="Operations done under BFQ.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_io_serviced_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_serviced_recursive", doc="Operations done under BFQ, with the groups below.", needs="CONFIG_BFQ_GROUP_IOSCHED")
    bfq_time = Reading(IO_COUNTERS, v1="blkio.bfq.time", doc="Milliseconds of each device's time given to the group.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_time_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.time_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_sectors = Reading(IO_COUNTERS, v1="blkio.bfq.sectors", doc="Sectors transferred under BFQ.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_sectors_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.sectors_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_service_time = Reading(IO_COUNTERS, v1="blkio.bfq.io_service_time", doc="Nanoseconds between dispatch and completion.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_service_time_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_service_time_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_wait_time = Reading(IO_COUNTERS, v1="blkio.bfq.io_wait_time", doc="Nanoseconds in the scheduler's queues.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_wait_time_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_wait_time_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_merged = Reading(IO_COUNTERS, v1="blkio.bfq.io_merged", doc="Requests merged into others.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_merged_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_merged_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_queued = Reading(IO_COUNTERS, v1="blkio.bfq.io_queued", doc="Requests that wait now.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_io_queued_recursive = Reading(IO_COUNTERS, v1="blkio.bfq.io_queued_recursive", doc="The same, with the groups below.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_avg_queue_size = Reading(IO_COUNTERS, v1="blkio.bfq.avg_queue_size", doc="The average length of the queue.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_group_wait_time = Reading(IO_COUNTERS, v1="blkio.bfq.group_wait_time", doc="Nanoseconds that the group waited for its turn.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_idle_time = Reading(IO_COUNTERS, v1="blkio.bfq.idle_time", doc="Nanoseconds that a device idled for the group.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_empty_time = Reading(IO_COUNTERS, v1="blkio.bfq.empty_time", doc="Nanoseconds without a request.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    bfq_dequeue = Reading(IO_COUNTERS, v1="blkio.bfq.dequeue", doc="How often the group was taken off a device's queue.", needs="CONFIG_BFQ_CGROUP_DEBUG")
    weight = Setting(INT, v1="blkio.weight", v2=File("io.weight", WEIGHT), doc="Share of the device: v1 under CFQ, 10 to 1000; v2 under iocost, 1 to 10000, by default 100.", needs="CFQ (before Linux 5.0), or CONFIG_BLK_CGROUP_IOCOST on v2")
    weight_device = Setting(WEIGHTS, v1="blkio.weight_device", v2=File("io.weight", OWN_WEIGHTS), doc="The same for single devices.", needs="CFQ (before Linux 5.0), or CONFIG_BLK_CGROUP_IOCOST on v2", bounds="the device's own scheduler must share it by weights (iocost, BFQ)")
    leaf_weight = Setting(INT, v1="blkio.leaf_weight", doc="The weight of the group's own tasks beside those of the groups below.", needs="CFQ (before Linux 5.0)")
    leaf_weight_device = Setting(WEIGHTS, v1="blkio.leaf_weight_device", doc="The same for single devices.", needs="CFQ (before Linux 5.0)")
    time = Reading(IO_COUNTERS, v1="blkio.time", doc="Milliseconds of each device's time given to the group.", needs="CFQ (before Linux 5.0)")
    sectors = Reading(IO_COUNTERS, v1="blkio.sectors", doc="Sectors transferred.", needs="CFQ (before Linux 5.0)")
    io_service_bytes = Reading(IO_COUNTERS, v1="blkio.io_service_bytes", doc="Bytes transferred.", needs="CFQ (before Linux 5.0)")
    io_serviced = Reading(IO_COUNTERS, v1="blkio.io_serviced", doc="Operations done.", needs="CFQ (before Linux 5.0)")
    io_service_time = Reading(IO_COUNTERS, v1="blkio.io_service_time", doc="Nanoseconds between dispatch and completion.", needs="CFQ (before Linux 5.0)")
    io_wait_time = Reading(IO_COUNTERS, v1="blkio.io_wait_time", doc="Nanoseconds in the scheduler's queues.", needs="CFQ (before Linux 5.0)")
    io_merged = Reading(IO_COUNTERS, v1="blkio.io_merged", doc="Requests merged into others.", needs="CFQ (before Linux 5.0)")
    io_queued = Reading(IO_COUNTERS, v1="blkio.io_queued", doc="Requests that wait now.", needs="CFQ (before Linux 5.0)")
    latency = Setting(LATENCIES, v2="io.latency", doc="The latency that each device is to keep, in microseconds: {'8:0': {'target': 10000}}.", needs="CONFIG_BLK_CGROUP_IOLATENCY")
    prio_class = Setting(TEXT, v1="blkio.prio.class", v2="io.prio.class", doc="'no-change', 'promote-to-rt', 'restrict-to-be', 'idle' or 'none-to-rt'.", needs="CONFIG_BLK_CGROUP_IOPRIO")
    cost_qos = Setting(RAW, v2="io.cost.qos", doc="How iocost keeps a device's latency; in the root only.", needs="CONFIG_BLK_CGROUP_IOCOST")
    cost_model = Setting(RAW, v2="io.cost.model", doc="How iocost reckons a device's costs; in the root only.", needs="CONFIG_BLK_CGROUP_IOCOST")
    stat = Reading(IO_STAT, v2="io.stat", doc="Bytes and operations: {'8:0': {'rbytes': ..., 'wbytes': ..., 'rios': ..., 'wios': ...}}.")
    pressure = Reading(PRESSURE, v2="io.pressure", doc="How long tasks waited for block devices.", needs="CONFIG_PSI")

    stall_events = EventSource(v1=IO_STALLS, v2=IO_STALLS, doc="Tasks waiting for block devices longer than a share of a window of time.")


class MEMORY(Core, v1="memory", v2="memory", shows="limit_in_bytes usage_in_bytes"):
    """How much memory a control group may use (memory)."""

    __slots__ = ()

    limit_in_bytes = max = Setting(BYTES, v1="memory.limit_in_bytes", v2=File("memory.max", MAX), doc="The most memory that the group may use; what cannot be reclaimed beyond it ends in an OOM kill. Rounded down to pages.", bounds="it is never above memsw_limit_in_bytes (raise that first, or both with modify()) nor below what cannot be reclaimed")
    usage_in_bytes = current = Reading(USAGE, v1="memory.usage_in_bytes", v2="memory.current", doc="Memory in use, with that of the groups below.")
    max_usage_in_bytes = peak = Setting(USAGE, v1="memory.max_usage_in_bytes", v2=File("memory.peak", REPORTED), doc="The most memory that was in use; v1 takes 0, to start anew.", needs="Linux 5.19 on v2")
    failcnt = Setting(INT, v1="memory.failcnt", v2=File("memory.events.local", Field("max", 1, "times")), doc="How often usage hit the limit; v1 takes 0, to start anew.", needs="Linux 5.2 on v2")
    soft_limit_in_bytes = Setting(BYTES, v1="memory.soft_limit_in_bytes", doc="What the group is reclaimed to when the machine is short of memory; on v2 low protects the others instead.", needs="cgroup v1 and no CONFIG_PREEMPT_RT")
    memsw_limit_in_bytes = Setting(BYTES, v1="memory.memsw.limit_in_bytes", v2=File("memory.swap.max", MEMSW, beside="memory.max"), doc="The most memory and swap together, never below limit_in_bytes. On v2 it is reckoned from limit_in_bytes, so set that first.", needs="swap accounting (CONFIG_SWAP; before Linux 6.1 swapaccount=1)", bounds="it is never below limit_in_bytes: lower that first, or both with modify()")
    memsw_usage_in_bytes = Reading(USAGE, v1="memory.memsw.usage_in_bytes", v2=File("memory.current", MEMSW_USAGE, beside="memory.swap.current"), doc="Memory and swap in use together.", needs="swap accounting")
    memsw_max_usage_in_bytes = Setting(USAGE, v1="memory.memsw.max_usage_in_bytes", v2=File("memory.peak", MEMSW_USAGE, beside="memory.swap.peak"), doc="The most memory and swap that were in use; on v2 the sum of the two peaks, which is an upper bound.", needs="swap accounting; Linux 6.5 on v2")
    memsw_failcnt = Setting(INT, v1="memory.memsw.failcnt", doc="How often usage hit memsw_limit_in_bytes; takes 0, to start anew.", needs="swap accounting")
    oom_control = Setting(OOM_CONTROL, v1="memory.oom_control", v2=File("memory.events", OOM_ALWAYS_ON), doc="The OOM killer: oom_kill_disable, under_oom, oom_kill (how many it killed). Takes True to turn it off (v1), so that tasks stop instead.")
    swappiness = Setting(INT, v1="memory.swappiness", doc="How readily anonymous memory is swapped out, 0 to 200.", bounds="it is 0 to 200")
    stat = Reading(MEMORY_STAT, v1="memory.stat", v2="memory.stat", doc="What the memory is used for, and events.")
    numa_stat = Reading(NUMA_STAT, v1="memory.numa_stat", v2=File("memory.numa_stat", EQUALS), doc="Memory on each NUMA node: v1 in pages, v2 in bytes.", needs="CONFIG_NUMA")
    use_hierarchy = Setting(FLAG, v1="memory.use_hierarchy", doc="Whether the groups below count too; always 1 since Linux 5.11.")
    move_charge_at_immigrate = Setting(INT, v1="memory.move_charge_at_immigrate", doc="Which memory moves with a task: 1 anonymous, 2 file. Without effect since Linux 6.12.")
    pressure_level = EventFile(TEXT, v1="memory.pressure_level", doc="Notifies of reclaim: 'low', 'medium' or 'critical'.")
    force_empty = Trigger(TEXT, "0", v1="memory.force_empty", doc="Reclaim as much of the group's memory as can be.")
    shown_ram_in_bytes = Setting(BYTES, v1="memory.shown_ram_in_bytes", doc="A vendor's file: the memory that /proc/meminfo shows to the group.", needs="a vendor's kernel")
    kmem_limit_in_bytes = Setting(BYTES, v1="memory.kmem.limit_in_bytes", doc="The most kernel memory. Without effect since Linux 5.16.")
    kmem_usage_in_bytes = Reading(USAGE, v1="memory.kmem.usage_in_bytes", doc="Kernel memory in use.")
    kmem_max_usage_in_bytes = Setting(USAGE, v1="memory.kmem.max_usage_in_bytes", doc="The most kernel memory that was in use; takes 0, to start anew.")
    kmem_failcnt = Setting(INT, v1="memory.kmem.failcnt", doc="How often kernel memory hit its limit; takes 0, to start anew.")
    kmem_slabinfo = Reading(LINES, v1="memory.kmem.slabinfo", doc="The group's slab caches, for debugging; empty since Linux 5.9.")
    kmem_tcp_limit_in_bytes = Setting(BYTES, v1="memory.kmem.tcp.limit_in_bytes", doc="The most memory of TCP buffers.")
    kmem_tcp_usage_in_bytes = Reading(USAGE, v1="memory.kmem.tcp.usage_in_bytes", doc="Memory of TCP buffers in use.")
    kmem_tcp_max_usage_in_bytes = Setting(USAGE, v1="memory.kmem.tcp.max_usage_in_bytes", doc="The most memory of TCP buffers that was in use; takes 0, to start anew.")
    kmem_tcp_failcnt = Setting(INT, v1="memory.kmem.tcp.failcnt", doc="How often TCP buffers hit their limit; takes 0, to start anew.")
    cgroup_event_control = WriteOnly(TEXT, v1="cgroup.event_control", doc="Registers an eventfd: 'EVENTFD FILE_FD ARGUMENTS', as mruby-cgroup does.")
    min = Setting(MAX, v2="memory.min", doc="Memory that is never reclaimed from the group.")
    low = Setting(MAX, v2="memory.low", doc="Memory that is reclaimed from the group only if others have none to give.")
    high = Setting(MAX, v2="memory.high", doc="Usage above which the group is throttled and reclaimed, without a kill.")
    swap_current = Reading(USAGE, v2="memory.swap.current", doc="Swap in use.", needs="CONFIG_SWAP")
    swap_max = Setting(MAX, v2="memory.swap.max", doc="The most swap that the group may use; memsw_limit_in_bytes is this and limit_in_bytes together.", needs="CONFIG_SWAP")
    swap_high = Setting(MAX, v2="memory.swap.high", doc="Swap use above which the group is throttled.", needs="Linux 5.8 with CONFIG_SWAP")
    swap_peak = Reading(USAGE, v2="memory.swap.peak", doc="The most swap that was in use.", needs="Linux 6.5 with CONFIG_SWAP")
    swap_events = Reading(STAT, v2="memory.swap.events", doc="How often swap hit its limits.", needs="CONFIG_SWAP")
    zswap_current = Reading(USAGE, v2="memory.zswap.current", doc="Memory of compressed swap.", needs="CONFIG_ZSWAP")
    zswap_max = Setting(MAX, v2="memory.zswap.max", doc="The most memory of compressed swap.", needs="CONFIG_ZSWAP")
    zswap_writeback = Setting(FLAG, v2="memory.zswap.writeback", doc="Whether compressed swap may be written to the swap device.", needs="Linux 6.8 with CONFIG_ZSWAP")
    events = Reading(MEMORY_EVENTS, v2="memory.events", doc="How often the group, or one below, hit low, high, max, was out of memory, and had processes killed.")
    events_local = Reading(MEMORY_EVENTS, v2="memory.events.local", doc="The same for the group alone.", needs="Linux 5.2")
    oom_group = Setting(FLAG, v2="memory.oom.group", doc="Whether the OOM killer kills all of the group or none.", needs="Linux 4.19")
    reclaim = Command(MAX, v2="memory.reclaim", doc="Reclaim so many bytes now.", needs="Linux 5.19", bounds="there was less than that to reclaim")
    pressure = Reading(PRESSURE, v2="memory.pressure", doc="How long tasks waited for memory.", needs="CONFIG_PSI")

    oom_events = EventSource(v1=oom_by_eventfd, v2=oom_by_counters, doc="The group running out of memory.")
    threshold_events = EventSource(v1=threshold_by_eventfd, doc="Usage crossing a number of bytes, up or down.", nearest="set high and take counter_events('high'), which throttles above it")
    pressure_events = EventSource(v1=pressure_by_eventfd, doc="Reclaim: 'low', 'medium' or 'critical'.", nearest="stall_events")
    stall_events = EventSource(v1=MEMORY_STALLS, v2=MEMORY_STALLS, doc="Tasks waiting for memory longer than a share of a window of time.")
    counter_events = EventSource(v2=counters_by_changes, doc="Counters of memory.events: low, high, max, oom, oom_kill, oom_group_kill.", nearest="oom_events for kills, threshold_events for usage, failcnt for the limit")

    def on_oom(self, callback: Callable[[OomEvent], object]) -> Watching[OomEvent]:
        """Call a function with each OOM of the group, from one thread that serves all groups; close() ends it."""
        return watch(self.oom_events(), callback)


class PIDS(Core, v1="pids", v2="pids", shows="max current"):
    """How many processes and threads a control group may have (pids)."""

    __slots__ = ()

    max = Setting(COUNT, v1="pids.max", v2="pids.max", doc="The most tasks; a fork beyond it fails with EAGAIN, while attach() is not held to it.")
    current = Reading(INT, v1="pids.current", v2="pids.current", doc="Tasks now, with those of the groups below.")
    peak = Reading(INT, v1="pids.peak", v2="pids.peak", doc="The most tasks that there were.", needs="Linux 6.1")
    events = Reading(STAT, v1="pids.events", v2="pids.events", doc="max: how often a fork failed.")
    events_local = Reading(STAT, v2="pids.events.local", doc="The same for this group's own limit.", needs="Linux 6.11")


class FREEZER(Freezing, Core, v1="freezer", v2=CORE, shows="state"):
    """Stop and resume all processes of a control group (freezer of v1; every group of v2)."""

    __slots__ = ()

    state = Setting(Word("FROZEN", "THAWED"), v1="freezer.state", v2=File("cgroup.freeze", FROZEN, beside="cgroup.events"), doc="'THAWED', 'FREEZING' or 'FROZEN'; takes the first and the last. freeze() and thaw() also wait.", needs="Linux 5.2 on v2")
    self_freezing = Reading(FLAG, v1="freezer.self_freezing", doc="Whether the group itself is to be frozen.")
    parent_freezing = Reading(FLAG, v1="freezer.parent_freezing", doc="Whether a group above is to be frozen.")


class DEVICES(Core, v1="devices", shows="list"):
    """Which devices a control group may use (devices; v1 only, v2 does it by BPF)."""

    __slots__ = ()

    allow = Command(TEXT, v1="devices.allow", doc="Allow a device: 'c 1:3 rwm', 'b *:* r', 'a'.")
    deny = Command(TEXT, v1="devices.deny", doc="Deny a device, in the same form.")
    list = Reading(LINES, v1="devices.list", doc="The rules: ('a *:* rwm',) allows all.")


class HUGETLB(Core, v1="hugetlb", v2="hugetlb", shows="limit_in_bytes usage_in_bytes"):
    """How many huge pages of one size a control group may use (hugetlb).

    `page_size` is as the kernel names its files, '2MB' or '1GB'; by default the size that this machine uses by default.
    """

    __slots__ = ("page_size",)

    def __init__(self, name: str, page_size: str | None = None, **values: Any) -> None:
        self.page_size = sized.page_size(page_size)
        super().__init__(name, **values)

    def _at(self, name: str) -> Self:
        return type(self)(name, self.page_size)

    @staticmethod
    def page_sizes() -> tuple[str, ...]:
        """Return the sizes of huge pages that this machine has, as HUGETLB takes them."""
        return sized.page_sizes()

    limit_in_bytes = max = SizedSetting(BYTES, v1="hugetlb.{}.limit_in_bytes", v2=File("hugetlb.{}.max", MAX), doc="The most memory in huge pages; a task that needs more gets SIGBUS.")
    usage_in_bytes = current = SizedReading(USAGE, v1="hugetlb.{}.usage_in_bytes", v2="hugetlb.{}.current", doc="Memory of huge pages in use.")
    max_usage_in_bytes = SizedSetting(USAGE, v1="hugetlb.{}.max_usage_in_bytes", doc="The most that was in use; takes 0, to start anew.")
    failcnt = SizedSetting(INT, v1="hugetlb.{}.failcnt", v2=File("hugetlb.{}.events.local", Field("max", 1, "times")), doc="How often the limit was hit; v1 takes 0, to start anew.")
    rsvd_limit_in_bytes = rsvd_max = SizedSetting(BYTES, v1="hugetlb.{}.rsvd.limit_in_bytes", v2=File("hugetlb.{}.rsvd.max", MAX), doc="The most memory of huge pages that may be reserved; mmap() fails beyond it.", needs="Linux 5.7")
    rsvd_usage_in_bytes = rsvd_current = SizedReading(USAGE, v1="hugetlb.{}.rsvd.usage_in_bytes", v2="hugetlb.{}.rsvd.current", doc="Memory of huge pages reserved.", needs="Linux 5.7")
    rsvd_max_usage_in_bytes = SizedSetting(USAGE, v1="hugetlb.{}.rsvd.max_usage_in_bytes", doc="The most that was reserved; takes 0, to start anew.", needs="Linux 5.7")
    rsvd_failcnt = SizedSetting(INT, v1="hugetlb.{}.rsvd.failcnt", doc="How often the limit of reservations was hit; takes 0, to start anew.", needs="Linux 5.7")
    numa_stat = SizedReading(NUMA_STAT, v1="hugetlb.{}.numa_stat", v2="hugetlb.{}.numa_stat", doc="Memory of huge pages on each NUMA node, in bytes.", needs="Linux 5.17")
    events = SizedReading(STAT, v2="hugetlb.{}.events", doc="max: how often the limit was hit, here or below.")
    events_local = SizedReading(STAT, v2="hugetlb.{}.events.local", doc="The same for the group alone.")


class NET_CLS(Core, v1="net_cls", shows="classid"):
    """The class of a control group's packets, for tc and iptables (net_cls; v1 only, v2 matches by path)."""

    __slots__ = ()

    classid = Setting(INT, v1="net_cls.classid", doc="0xAAAABBBB for the class AAAA:BBBB of tc.")


class NET_PRIO(Core, v1="net_prio", shows="ifpriomap"):
    """The priority of a control group's packets on each network interface (net_prio; v1 only)."""

    __slots__ = ()

    prioidx = Reading(INT, v1="net_prio.prioidx", doc="The kernel's own number for the group.")
    ifpriomap = Setting(PRIORITIES, v1="net_prio.ifpriomap", doc="The priority on each interface: {'eth0': 5}.")


class PERF_EVENT(Core, v1="perf_event", v2="perf_event"):
    """A control group that perf can count (perf_event). It has no files of its own."""

    __slots__ = ()


class RDMA(Core, v1="rdma", v2="rdma", shows="max current"):
    """Resources of RDMA devices for a control group (rdma)."""

    __slots__ = ()

    max = Setting(RESOURCES, v1="rdma.max", v2="rdma.max", doc="{'mlx4_0': {'hca_handle': 2, 'hca_object': 2000}}.")
    current = Reading(RESOURCES, v1="rdma.current", v2="rdma.current", doc="Resources in use.")


class MISC(Core, v1="misc", v2="misc", shows="max current"):
    """Countable resources such as encrypted virtual machines (misc, since Linux 5.13)."""

    __slots__ = ()

    max = Setting(MISC_LIMITS, v1="misc.max", v2="misc.max", doc="{'sev': 4}.")
    current = Reading(STAT, v1="misc.current", v2="misc.current", doc="Resources in use.")
    peak = Reading(STAT, v1="misc.peak", v2="misc.peak", doc="The most that were in use.", needs="Linux 6.11")
    capacity = Reading(STAT, v1="misc.capacity", v2="misc.capacity", doc="What the machine has; in the root only.")
    events = Reading(STAT, v1="misc.events", v2="misc.events", doc="How often each limit was hit.")
    events_local = Reading(STAT, v1="misc.events.local", v2="misc.events.local", doc="The same for the group alone.", needs="Linux 6.11")


ALL = (CPU, CPUACCT, CPUSET, BLKIO, MEMORY, PIDS, FREEZER, DEVICES, HUGETLB, NET_CLS, NET_PRIO, PERF_EVENT, RDMA, MISC)
