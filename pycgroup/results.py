# SPDX-License-Identifier: MIT
"""What became of a program that ran inside a group: a subprocess.CompletedProcess, and what the group counted."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import lru_cache
from typing import NamedTuple

from . import controllers
from ._types import TYPE_CHECKING
from .errors import MemoryLimitExceeded
from .hosts import here
from .oom import kills_below
from .victims import log_of

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from .combined import Combined
    from .hierarchy import Hierarchy
    from .hosts import Host
    from .settings import Declaration

    T = TypeVar("T")

_NANO = 1e9


class CpuTime(NamedTuple):
    """Seconds of CPU time, in user mode and in the kernel."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.user + self.system


class Counts:
    """What a group has counted since it was made; None where no controller of it counts that.

    oom_kills: processes killed for want of memory. memory_peak: bytes. cpu_usage: nanoseconds, and the clock ticks of
    it in user mode and in the kernel. throttled_time: seconds in which the cpus limit held it back. pids_peak: the most
    processes and threads at once (Linux 6.1).
    """

    __slots__ = ("cpu_usage", "memory_peak", "oom_kills", "pids_peak", "throttled_time")

    def __init__(self, counters: Counters) -> None:
        self.oom_kills = counters.oom_kills()
        self.memory_peak = counters.read(_MEMORY, _MEMORY.max_usage_in_bytes)
        self.cpu_usage = counters.cpu_usage() if controllers.CPUACCT in counters.places else None
        self.throttled_time = counters.throttled_time() if controllers.CPU in counters.places else None
        self.pids_peak = counters.read(controllers.PIDS, controllers.PIDS.peak)


class Counters:
    """Where the controllers of a group count: to find that out takes longer than to read it."""

    __slots__ = ("places",)

    def __init__(self, group: Combined) -> None:
        kinds, found = _counting(here()), group.found().items()
        #: The directory of each, and the column of its files.
        self.places = {kind: (at, tree.column) for tree, at in found for kind in kinds.get(tree, ())}

    def read(self, kind: type[controllers.Core], declared: Declaration[T, Any]) -> T | None:
        """Return what one controller says of the group, None where there is no such thing."""
        if kind not in self.places:
            return None
        directory, column = self.places[kind]
        file = declared.columns[column]
        if file is None:
            return None
        try:
            return file.codec.decode(file.text(f"{directory}/"))
        except (OSError, ValueError, LookupError):
            return None  # the kernel does not count it, or the group was removed meanwhile

    def oom_kills(self) -> int | None:
        """Return how many processes of the group were killed for want of memory, be it in groups below."""
        control = self.read(_MEMORY, _MEMORY.oom_control)
        if control is None:
            return None
        try:
            # v1 counts those in groups below there alone.
            below = {} if "oom" in control else kills_below(self.places[_MEMORY][0])
            return control.oom_kill + sum(below.values())
        except KeyError:
            return None  # before Linux 4.13

    def cpu_usage(self) -> tuple[int, int, int] | None:
        """Return nanoseconds, and the clock ticks of them in user mode and in the kernel."""
        cpuacct = controllers.CPUACCT
        usage, stat = self.read(cpuacct, cpuacct.usage), self.read(cpuacct, cpuacct.stat)
        user, system = getattr(stat, "user", None), getattr(stat, "system", None)
        return None if usage is None or user is None or system is None else (usage, user, system)

    def throttled_time(self) -> float | None:
        """Return seconds in which the cpus limit held the group back."""
        stat = self.read(controllers.CPU, controllers.CPU.stat)
        time: float | None = getattr(stat, "throttled_time", None)
        return None if time is None else time / _NANO


_MEMORY = controllers.MEMORY
_COUNTING = (_MEMORY, controllers.CPUACCT, controllers.CPU, controllers.PIDS)


@lru_cache(maxsize=1)
def _counting(host: Host) -> dict[Hierarchy, list[type[controllers.Core]]]:
    """Return what counts in which hierarchy: a controller in the first that serves it."""
    kinds: dict[Hierarchy, list[type[controllers.Core]]] = {}
    for kind in _COUNTING:
        if tree := next((tree for tree in host.hierarchies if tree.serves(kind.V1, kind.V2)), None):
            kinds.setdefault(tree, []).append(kind)
    return kinds


def cpu_time(before: tuple[int, int, int], after: tuple[int, int, int]) -> CpuTime:
    """Return the time between two usages: the kernel counts it exactly, and samples where it went by ticks."""
    total, user, system = (now - then for then, now in zip(before, after, strict=True))
    in_kernel = total * system / ((user + system) or 1)
    return CpuTime((total - in_kernel) / _NANO, in_kernel / _NANO)


class Result(subprocess.CompletedProcess["Any"]):
    """A subprocess.CompletedProcess that also knows how the group fared.

    `oom_killed` says whether the kernel killed a process of the group for want of memory while this one ran; `cpu_time`
    and `throttled_time` are in seconds and of this run; `memory_peak` (bytes) and `pids_peak` are the group's since it
    was made; `wall_time` is in seconds. Others that run in the group meanwhile count too. A figure is None where the
    group has no controller that counts it; without cpuacct, `cpu_time` is that of the program and of the children that
    it has waited for.
    """

    def __init__(
        self,
        done: tuple[Any, int, Any, Any],
        before: Counts | None,
        after: Counts,
        wall_time: float,
        own_time: tuple[float, float] | None,
    ) -> None:
        super().__init__(*done)
        self.wall_time = wall_time
        self.memory_peak = after.memory_peak
        self.pids_peak = after.pids_peak
        kills, throttled_time = after.oom_kills, after.throttled_time
        if before is not None:
            kills = _since(before.oom_kills, kills)
            throttled_time = _since(before.throttled_time, throttled_time)
        self.oom_killed = None if kills is None else kills > 0
        self.throttled_time = throttled_time
        self.cpu_time = own_time and CpuTime(*own_time)
        if after.cpu_usage:
            self.cpu_time = cpu_time((before and before.cpu_usage) or (0, 0, 0), after.cpu_usage)

    def __repr__(self) -> str:
        counted = ("oom_killed", "memory_peak", "cpu_time", "throttled_time", "pids_peak", "wall_time")
        figures = ", ".join(f"{name}={getattr(self, name)!r}" for name in counted if getattr(self, name) is not None)
        return f"{super().__repr__().removesuffix(')')}, {figures})"

    def check(self, group: Combined, pid: int, logged: int) -> None:
        """Raise MemoryLimitExceeded for an OOM kill, CalledProcessError for another failure.

        `logged` is how far the kernel log was read when the program was started.
        """
        if self.oom_killed:
            raise _exceeded(group, self, _killed(group, self, pid, logged))
        self.check_returncode()


def _since(before: Any, after: Any) -> Any:
    return after if before is None or after is None else after - before


def _killed(group: Combined, result: Result, pid: int, logged: int) -> str | None:
    """Return who was killed: as the kernel log says where it can be read, else the program itself, if it was."""
    log, name = log_of(group.view(controllers.MEMORY)._place)
    if log is not None:
        _, victims, _ = log.since(name, logged, 1, None)
        if victims:
            return ", ".join(f"{victim.pid} ({victim.name})" for victim in victims)
    if result.returncode != -signal.SIGKILL:
        return None
    program = result.args if isinstance(result.args, str | bytes | os.PathLike) else result.args[0]
    return f"{pid} ({os.path.basename(os.fsdecode(program).split()[0])})"


def _exceeded(group: Combined, result: Result, victim: str | None) -> MemoryLimitExceeded:
    limit, peak = Counters(group).read(_MEMORY, _MEMORY.limit_in_bytes), result.memory_peak
    figures = f"limit {limit} bytes, peak {peak} bytes"
    message = f"the kernel killed {victim or 'a process'} of the group {group.name} for want of memory: {figures}"
    return MemoryLimitExceeded(message, limit=limit, peak=peak, victim=victim, result=result, group=group.name)
