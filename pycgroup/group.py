# SPDX-License-Identifier: MIT
"""Cgroup: the classes of control groups (Cgroup.MEMORY ...), and several controllers as one group in which to run."""

from __future__ import annotations

from . import controllers
from ._lazy import Lazy
from ._types import TYPE_CHECKING
from .starting import Starting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Any, ParamSpec, TypeVar

    from . import asynchronous, delegation, functions, running, spawn
    from .delegation import Delegated
    from .results import Result

    P = ParamSpec("P")
    R = TypeVar("R")
else:
    names = ("asynchronous", "delegation", "functions", "running", "spawn")
    asynchronous, delegation, functions, running, spawn = (Lazy(globals(), name) for name in names)


class Cgroup(Starting):
    """Several controllers as one group: `with Cgroup("job", memory="64M", pids=32) as job: job.run(["make"])`.

    Without a name a unique one is made. The limits are those of `Limits`; `limits` takes such an object, and words
    beside it go before what it says. Entry makes the group, in all hierarchies or in none; exit kills what its run()
    and popen() have started, moves others out, and removes it. `.memory`, `.cpu` and so on are its control files.

    It is in the hierarchies of its limits, and where that can be in memory's, which tells OOM kills and the peak. A
    limit of UNLIMITED takes a controller along that is only to count: `pids=UNLIMITED`.
    """

    __slots__ = ()

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
        return delegation.delegated(pid, leaf=leaf, timeout=timeout)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a new process inside the group, and return its value or raise its exception.

        The function, what it is given and what it returns must be such as pickle takes. Raises MemoryLimitExceeded
        where the kernel killed the process for want of memory, WorkerDiedError where it ended otherwise.
        """
        value: R = functions.call(self, function, args, kwargs)
        return value

    def run(
        self,
        args: Any,
        *positional: Any,
        input: Any = None,  # noqa: A002  # subprocess.run calls it so
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> Result:
        """Run a program inside the group, as subprocess.run does, and return a Result: that knows how the group fared.

        A timeout (in seconds) kills the whole group, grandchildren too. With `check` an OOM kill in the group raises
        MemoryLimitExceeded. Raises as popen() and subprocess.run do.
        """
        given = (args, *positional)
        return running.run(self, given, options, input, timeout, capture_output=capture_output, check=check)

    async def create_subprocess_exec(self, program: Any, *args: Any, **options: Any) -> asyncio.subprocess.Process:
        """Start a program inside the group as asyncio.create_subprocess_exec does, with the same options and result.

        Raises as popen() does, and ValueError for what asyncio does not take, such as text=True.
        """
        return await asynchronous.create_subprocess_exec(self, program, *args, **options)

    def wrap(self, args: Sequence[Any]) -> list[str]:
        """Return the arguments of a program that enters the group and then executes `args`, for any other launcher.

        A shell does it: where the group cannot be entered, it says so and exits with 126. Raises GroupNotFoundError,
        and InvalidValueError for what is no list of arguments.
        """
        return spawn.wrap(self.launch(), args)

    @property
    def cpu(self) -> controllers.CPU:
        """The group as cpu sees it: CPU time."""
        return self.view(controllers.CPU)

    @property
    def cpuacct(self) -> controllers.CPUACCT:
        """The group as cpuacct sees it: CPU time used."""
        return self.view(controllers.CPUACCT)

    @property
    def cpuset(self) -> controllers.CPUSET:
        """The group as cpuset sees it: CPUs and memory nodes."""
        return self.view(controllers.CPUSET)

    @property
    def blkio(self) -> controllers.BLKIO:
        """The group as blkio sees it: block devices."""
        return self.view(controllers.BLKIO)

    @property
    def memory(self) -> controllers.MEMORY:
        """The group as memory sees it: memory."""
        return self.view(controllers.MEMORY)

    @property
    def pids(self) -> controllers.PIDS:
        """The group as pids sees it: processes and threads."""
        return self.view(controllers.PIDS)

    @property
    def freezer(self) -> controllers.FREEZER:
        """The group as freezer sees it: stopping and resuming."""
        return self.view(controllers.FREEZER)

    @property
    def devices(self) -> controllers.DEVICES:
        """The group as devices sees it: access to devices."""
        return self.view(controllers.DEVICES)

    @property
    def hugetlb(self) -> controllers.HUGETLB:
        """The group as hugetlb sees it: huge pages."""
        return self.view(controllers.HUGETLB)

    @property
    def net_cls(self) -> controllers.NET_CLS:
        """The group as net_cls sees it: the class of packets."""
        return self.view(controllers.NET_CLS)

    @property
    def net_prio(self) -> controllers.NET_PRIO:
        """The group as net_prio sees it: the priority of packets."""
        return self.view(controllers.NET_PRIO)

    @property
    def perf_event(self) -> controllers.PERF_EVENT:
        """The group as perf_event sees it: perf."""
        return self.view(controllers.PERF_EVENT)

    @property
    def rdma(self) -> controllers.RDMA:
        """The group as rdma sees it: RDMA devices."""
        return self.view(controllers.RDMA)

    @property
    def misc(self) -> controllers.MISC:
        """The group as misc sees it: countable resources."""
        return self.view(controllers.MISC)
