# SPDX-License-Identifier: MIT
"""What became of a program that ran inside a group: a subprocess.CompletedProcess, and what the group counted."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cached_property
from typing import NamedTuple

from . import _native, controllers
from ._types import TYPE_CHECKING
from .errors import CgroupError, MemoryLimitExceeded
from .hosts import here
from .oom import kills_below
from .victims import log_of

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from .codecs import Amount
    from .combined import Combined
    from .hierarchy import Hierarchy
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

    It is read at once, `texts` as _native.read() returns them, and made sense of when it is asked for.
    """

    __slots__ = ("_below", "_places", "_texts")

    def __init__(self, counters: Counters, texts: list[bytes]) -> None:
        self._places = counters.places
        self._texts = texts
        alone = not counters.memory or texts[counters.memory_at] in _NONE_BELOW
        #: Kills in groups below.
        self._below = 0 if alone else sum(kills_below(counters.memory).values())

    def _value(self, declared: Declaration[T, Any]) -> T | None:
        keys = [key for directory, counting in self._places for key in (directory, *counting.codecs)]
        text = dict(zip(keys, self._texts, strict=True)).get(declared, b"").decode("utf-8", "surrogateescape")
        if not text:
            return None  # the kernel does not count it, or the group was removed meanwhile
        try:
            value: T = next(each.codecs[declared] for _, each in self._places if declared in each.codecs).decode(text)
        except (ValueError, LookupError):
            return None
        return value

    @property
    def oom_kills(self) -> int | None:
        """Processes of the group that were killed for want of memory, be it in groups below."""
        control = self._value(_MEMORY.oom_control)
        try:
            return None if control is None else control.oom_kill + self._below
        except KeyError:
            return None  # before Linux 4.13

    @property
    def memory_peak(self) -> int | None:
        """Bytes."""
        return self._value(_MEMORY.max_usage_in_bytes)

    @property
    def cpu_usage(self) -> tuple[int, int, int] | None:
        """Nanoseconds, and the clock ticks of them in user mode and in the kernel."""
        usage, stat = self._value(controllers.CPUACCT.usage), self._value(controllers.CPUACCT.stat)
        user, system = getattr(stat, "user", None), getattr(stat, "system", None)
        return None if usage is None or user is None or system is None else (usage, user, system)

    @property
    def throttled_time(self) -> float | None:
        """Seconds in which the cpus limit held the group back."""
        time: float | None = getattr(self._value(controllers.CPU.stat), "throttled_time", None)
        return None if time is None else time / _NANO

    @property
    def pids_peak(self) -> int | None:
        """The most processes and threads at once (Linux 6.1)."""
        return self._value(controllers.PIDS.peak)


class Counting:
    """What is counted in a hierarchy, and in which files: of a controller in the first that serves it.

    `leaves_out_below`: v1's memory controller is there, which does not count what is counted below.
    """

    __slots__ = ("codecs", "files", "leaves_out_below")

    def __init__(self, tree: Hierarchy) -> None:
        #: What makes sense of each text.
        self.codecs: dict[Declaration[Any, Any], Any] = {}
        self.files: list[str] = []
        for kind, declarations in _COUNTED:
            if tree != next((each for each in here().hierarchies if each.serves(kind.V1, kind.V2)), None):
                continue
            for declared in declarations:
                if file := declared.columns[tree.column]:
                    self.codecs[declared] = file.codec
                    self.files.append(file.name)
        self.leaves_out_below = _MEMORY.oom_control in self.codecs and not tree.column


class Counters:
    """Where the controllers of a group count: to find that out takes longer than to read it.

    names: directories and files in them, as _native.read() takes them. places: the directories, and what is counted
    there. memory: the one that does not count what is counted below, '' for none; memory_at: its index in names.
    """

    __slots__ = ("memory", "memory_at", "names", "places")

    def __init__(self, group: Combined) -> None:
        self.memory, self.memory_at = "", 0
        self.places: list[tuple[str, Counting]] = []
        names: list[str] = []
        for tree, directory in group.found().items():
            counting = tree.counting
            if counting is None:
                counting = tree.counting = Counting(tree)
            if counting.leaves_out_below:
                self.memory, self.memory_at = directory, len(names)
            if counting.files:
                self.places.append((directory, counting))
                names += (directory, *counting.files)
        self.names = _native.strings(names)


def counted(group: Combined) -> Counts:
    """Return what a group has counted."""
    counters = Counters(group)
    return Counts(counters, _native.read(counters.names))


def memory_limit(group: Combined) -> Amount | None:
    """Return bytes; None where the group has no memory controller, or was removed."""
    try:
        # Not the attribute, which may be staged.
        return _MEMORY.limit_in_bytes.read(group.view(_MEMORY)) if group.has(_MEMORY) else None
    except CgroupError:
        return None


_MEMORY = controllers.MEMORY
_COUNTED: tuple[tuple[type[controllers.Core], tuple[Declaration[Any, Any], ...]], ...] = (
    (_MEMORY, (_MEMORY.oom_control, _MEMORY.max_usage_in_bytes)),
    (controllers.CPUACCT, (controllers.CPUACCT.usage, controllers.CPUACCT.stat)),
    (controllers.CPU, (controllers.CPU.stat,)),
    (controllers.PIDS, (controllers.PIDS.peak,)),
)
#: The links of a directory that is gone, and of one without groups below.
_NONE_BELOW = (b"2", b"")


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
        self.args, self.returncode, self.stdout, self.stderr = done
        self.wall_time = wall_time
        self._counted = before, after, own_time

    @cached_property
    def oom_killed(self) -> bool | None:
        """Whether the kernel killed a process of the group for want of memory."""
        before, after, _ = self._counted
        kills = _since(before and before.oom_kills, after.oom_kills)
        return None if kills is None else kills > 0

    @cached_property
    def memory_peak(self) -> int | None:
        """The most memory that the group had in use, in bytes."""
        return self._counted[1].memory_peak

    @cached_property
    def cpu_time(self) -> CpuTime | None:
        """CPU time in seconds."""
        before, after, own = self._counted
        if after.cpu_usage:
            return cpu_time((before and before.cpu_usage) or (0, 0, 0), after.cpu_usage)
        return own and CpuTime(*own)

    @cached_property
    def throttled_time(self) -> float | None:
        """Seconds in which the cpus limit held the group back."""
        before, after, _ = self._counted
        time: float | None = _since(before and before.throttled_time, after.throttled_time)
        return time

    @cached_property
    def pids_peak(self) -> int | None:
        """The most processes and threads that the group had at once."""
        return self._counted[1].pids_peak

    def __getstate__(self) -> dict[str, Any]:
        figures = {name: getattr(self, name) for name in _FIGURES}
        return {name: value for name, value in (vars(self) | figures).items() if name != "_counted"}

    def __repr__(self) -> str:
        known = {name: getattr(self, name) for name in (*_FIGURES, "wall_time")}
        figures = ", ".join(f"{name}={value!r}" for name, value in known.items() if value is not None)
        return f"{super().__repr__().removesuffix(')')}, {figures})"

    def check(self, group: Combined, pid: int, logged: int) -> None:
        """Raise MemoryLimitExceeded for an OOM kill, CalledProcessError for another failure.

        `logged` is how far the kernel log was read when the program was started.
        """
        if self.oom_killed:
            raise _exceeded(group, self, _killed(group, self, pid, logged))
        self.check_returncode()


_FIGURES = ("oom_killed", "memory_peak", "cpu_time", "throttled_time", "pids_peak")


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
    limit, peak = memory_limit(group), result.memory_peak
    figures = f"limit {limit} bytes, peak {peak} bytes"
    message = f"the kernel killed {victim or 'a process'} of the group {group.name} for want of memory: {figures}"
    return MemoryLimitExceeded(message, limit=limit, peak=peak, victim=victim, result=result, group=group.name)
