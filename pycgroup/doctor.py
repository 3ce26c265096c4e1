# SPDX-License-Identifier: MIT
"""The doctor: what control groups can do on this host for this user, proved by doing it in a scratch group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native, owners, remedies
from .controllers import ALL, FREEZER, MEMORY, PIDS
from .delegation import delegated
from .errors import CgroupError, GroupNotFoundError, UnavailableError, UnsupportedSettingError
from .hosts import base, here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .base import Controller
    from .hosts import Host

MIB = 1 << 20
_LIMIT = 24 * MIB
_WANTED = 64
_PATIENCE = 60.0  # seconds for what takes milliseconds; not so on a machine that swaps, or is emulated
# What runs in a scratch group: it waits for a line, so that it is inside before it does anything.
_EATS = f"input(); block = bytearray({_WANTED} << 20); block[::4096] = b'x' * len(block[::4096]); print('got it')"
_FORKS = """
import os
input()
try:
    os.fork()
except BlockingIOError:
    print("refused")
else:
    print("forked")
"""
_WAITS = "input()"


class Seat(NamedTuple):
    """Where a controller sits; `directory` is where relative names are, None where there is no such controller."""

    controller: str
    version: int | None
    directory: str | None
    writable: bool
    why: str


class Finding(NamedTuple):
    """Whether something works, how that was seen; and where it does not, why, and the command that mends it."""

    ability: str
    works: bool
    seen: str
    why: str
    mend: str


class Report(NamedTuple):
    """What the doctor has found."""

    mode: str
    kernel: str
    user: int
    systemd: bool
    libcgroup: str
    controllers: list[Seat]
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Whether everything works."""
        return all(finding.works for finding in self.findings)


def examine() -> Report:
    """Look at this host, and try in a scratch group what a group can do. Nothing is left behind."""
    host = here(again=True)
    # First what is only looked up: Python before 3.11.4 leaks a pipe with each process that cannot be started.
    sat = seats()
    try:
        libcgroup = ".".join(map(str, _native.library_version()))
    except UnavailableError as error:
        libcgroup = str(error)
    systemd = os.path.isdir("/run/systemd/system")
    findings = [_tried(ability, attempt, host) for ability, attempt in ABILITIES.items()]
    return Report(mode(host), os.uname().release, os.geteuid(), systemd, libcgroup, sat, findings)


_MODES = {(): "none", (1,): "v1", (2,): "v2", (1, 2): "mixed"}


def mode(host: Host) -> str:
    """Return 'v1', 'v2', 'mixed' (controllers on both), 'hybrid' (all on v1 beside a v2 without any), or 'none'."""
    mounted = {tree.version for tree in host.hierarchies}
    used = {tree.version for tree in host.hierarchies if any("=" not in name for name in tree.controllers)}
    return "hybrid" if used == {1} and mounted == {1, 2} else _MODES[tuple(sorted(used or mounted))]


def seats() -> list[Seat]:
    """Return where each controller sits."""
    return [_seat(cls) for cls in ALL]


def _seat(cls: type[Controller]) -> Seat:
    try:
        tree, name = here().serving(cls.V1, cls.V2)
    except UnavailableError as error:
        return Seat(cls.__name__, None, None, writable=False, why=str(error))
    directory = tree.path + base(tree)
    why = "" if os.access(directory, os.W_OK) else "not writable for this user"
    try:
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            why = "mounted read-only"
    except OSError as error:
        return Seat(cls.__name__, tree.version, directory, writable=False, why=f"not to be reached: {error.strerror}")
    if not tree.offers(directory, name):
        why = "not delegated to this process"
    return Seat(cls.__name__, tree.version, directory, writable=not why, why=why)


def _tried(ability: str, attempt: Callable[[], str], host: Host) -> Finding:
    try:
        return Finding(ability, works=True, seen=attempt(), why="", mend="")
    except CgroupError as error:
        return Finding(ability, works=False, seen="", why=str(error), mend=remedies.command(error, host))
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(ability, works=False, seen="", why=f"it could not be tried: {error}", mend="")


@contextmanager
def scratch(cls: type[Controller]) -> Iterator[Any]:
    """Make a scratch group for the length of a `with` block; whatever happens it is gone after it, with all in it.

    After SIGKILL reap() finds it.
    """
    group = cls(owners.unique_name()).create()
    try:
        yield group
    finally:
        with suppress(GroupNotFoundError):
            group.delete(tasks="kill", recursive=True)


@contextmanager
def inside(group: Controller, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a group until it asks for a line; it is gone after the `with` block."""
    command = [sys.executable, "-S", "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            group.attach(process.pid)
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[str]) -> str:
    """Let a process go on, and return what it said: "killed" for one that the kernel has killed."""
    try:
        said, _ = process.communicate("\n", timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise CgroupError(f"a process that should have ended within {_PATIENCE} s did not") from error
    return "killed" if process.returncode == -signal.SIGKILL else said.strip()


def _untried(process: subprocess.Popen[str]) -> CgroupError:
    return CgroupError(f"it could not be tried: the process that was to try it ended with status {process.returncode}")


def _group() -> str:
    with scratch(FREEZER) as group, inside(group, _WAITS):
        return f"made {group.path} and put a process into it"


def _memory_limit() -> str:
    with scratch(MEMORY) as group:
        group.limit_in_bytes = _LIMIT
        with inside(group, _EATS) as process:
            said = _said(process)
        if said not in ("killed", "got it"):
            raise _untried(process)
        if said == "got it" and not group.failcnt:
            raise CgroupError(f"a process got {_WANTED} MiB in a group of {_LIMIT // MIB} MiB")
        done = "was killed" if said == "killed" else "was swapped out"
        return f"a process that wanted {_WANTED} MiB in a group of {_LIMIT // MIB} MiB {done}"


def _swap_limit() -> str:
    with scratch(MEMORY) as group:
        group.limit_in_bytes = _LIMIT
        group.memsw_limit_in_bytes = _LIMIT
        with inside(group, _EATS) as process:
            said = _said(process)
        if said == "got it":
            raise CgroupError(f"a process got {_WANTED} MiB of memory and swap in a group of {_LIMIT // MIB} MiB")
        if said != "killed":
            raise _untried(process)
        return f"a process that wanted {_WANTED} MiB of memory and swap in a group of {_LIMIT // MIB} MiB was killed"


def _oom_events() -> str:
    with scratch(MEMORY) as group:
        group.limit_in_bytes = _LIMIT
        with suppress(UnsupportedSettingError):
            group.memsw_limit_in_bytes = _LIMIT  # so that swap does not put the OOM off
        with group.oom_events() as events, inside(group, _EATS) as process:
            said = _said(process)
            if said == "got it":
                raise CgroupError("no process hit its group's memory limit: the host swaps, and swap is not limited")
            if said != "killed":
                raise _untried(process)
            if events.wait(timeout=_PATIENCE) is None:
                raise CgroupError("a process hit its group's memory limit, and no event came")
        return "a process hit its group's memory limit, and the event came"


def _process_limit() -> str:
    with scratch(PIDS) as group:
        group.max = 1
        with inside(group, _FORKS) as process:
            said = _said(process)
        if said.startswith("forked"):
            raise CgroupError("a process forked in a group of one")
        if said != "refused":
            raise _untried(process)
        return "a process in a group of one could not fork"


def _freeze() -> str:
    with scratch(FREEZER) as group, inside(group, _WAITS):
        group.freeze(_PATIENCE)
        group.thaw(_PATIENCE)
        return "a process was stopped and resumed"


def _kill() -> str:
    with scratch(FREEZER) as group, inside(group, _WAITS) as process:
        group.kill(_PATIENCE)
        return f"the group's only process ended with signal {-process.wait(_PATIENCE)}"


def _delegation() -> str:
    with subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as process:
        try:
            given = delegated(process.pid, leaf=False, timeout=_PATIENCE)
        finally:
            process.kill()
    if given.unit:
        return f"systemd made {given.unit} for a process, with {' '.join(given.controllers)}"
    return f"{given.directory} is this process's to use, with {' '.join(given.controllers)}"


#: What is tried, in this order.
ABILITIES: dict[str, Callable[[], str]] = {
    "group": _group,
    "memory limit": _memory_limit,
    "swap limit": _swap_limit,
    **({"OOM events": _oom_events} if hasattr(MEMORY, "oom_events") else {}),
    "process limit": _process_limit,
    "freeze": _freeze,
    "kill": _kill,
    "delegation": _delegation,
}
