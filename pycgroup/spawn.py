# SPDX-License-Identifier: MIT
"""Start a process inside its groups: a subprocess.Popen whose child enters them before its first instruction.

subprocess does all that it always does, from looking up the program to reporting why it could not be executed; only the
one function of it that forks and executes is another: spawn.c, which enters the groups first. preexec_fn, which would
do, runs Python between fork and exec: that is unsafe with threads, and takes four times as long.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from signal import SIGKILL
from types import FunctionType

from . import _kernfs, _native
from ._types import TYPE_CHECKING
from .errors import GroupBusyError, InvalidValueError
from .members import _REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .errors import CgroupError
    from .hierarchy import Hierarchy

_FULL = "a pids limit of this group or of one above it, or the user's limit of processes (ulimit -u), is reached"

_LAST_ID = 2**32 - 2

# Python 3.12 tells a failed chdir() from other failures before exec.
_NO_CHDIR = b"noexec:chdir" if sys.version_info >= (3, 12) else b"noexec"
_MESSAGES = {_native.PREPARE: b"noexec", _native.CHDIR: _NO_CHDIR, _native.EXEC: b""}


class Entrance:
    """The way into several groups: the files that take the process that writes "0" to them.

    `into` is the group that the kernel itself can start a child in; its file comes last.
    """

    __slots__ = ("child", "directories", "files", "into")

    def __init__(self, directories: dict[Hierarchy, str]) -> None:
        #: What C notes of the child that is started.
        self.child: Any = None
        self.directories: list[str] = []
        self.files: list[str] = []
        self.into: str | None = None
        for tree, directory in sorted(directories.items(), key=lambda item: item[0].starts_inside):
            self.directories.append(directory)
            self.files.append(f"{directory}/{tree.own_task_file}")
            if tree.starts_inside:
                self.into = directory
            if not tree.takes_processes(directory):
                raise self.refusal(errno.EBUSY, -1)  # the last so far

    @property
    def pid(self) -> int:
        """The process that was started, 0 for none: known even where a signal handler's exception has hidden it."""
        return max(0, self.child.pid) if self.child is not None else 0

    def end(self) -> None:
        """Kill what was started and nobody will wait for, as an exception has come instead of its Popen object."""
        with suppress(ChildProcessError):  # subprocess has waited for it
            if self.pid and os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, SIGKILL)
                os.waitpid(self.pid, 0)

    def refusal(self, number: int, which: int) -> CgroupError:
        """Return the exception for a group that could not be entered."""
        directory = self.directories[which]
        cause = OSError(number, os.strerror(number))
        attempt = f"cannot start a process in {directory}"
        if number == errno.EAGAIN:
            return GroupBusyError(f"{attempt}: {cause.strerror} (EAGAIN); {_FULL}", group=directory, errno=number)
        return _kernfs.error(cause, attempt, group=directory, directory=directory, hint=_REFUSED.get(number, ""))


class Popen(subprocess.Popen["Any"]):
    """A subprocess.Popen whose child starts inside groups.

    Raises what subprocess.Popen does, and GroupNotFoundError, GroupBusyError, PermissionDeniedError or another
    CgroupError where a group cannot be entered; then nothing has been run.
    """

    def __init__(self, args: Any, *positional: Any, entrance: Entrance, **options: Any) -> None:
        self._entrance = entrance
        #: Seconds of CPU time, in user mode and in the kernel, of the child and the children it has waited for; None
        #: until wait() or communicate() has seen the end, and where poll() has seen it first.
        self.cpu_time: tuple[float, float] | None = None
        super().__init__(args, *positional, **options)

    def _execute_child(self, *given: Any) -> None:
        # The method itself, as this Python has it, with another fork_exec among its globals: nothing that other
        # threads use is touched.
        names = _Names(_fork_exec=self._start, _USE_POSIX_SPAWN=False)
        try:
            FunctionType(_EXECUTE_CHILD.__code__, names)(self, *given)
        except subprocess.SubprocessError as error:
            mark, _, numbers = str(error).partition(" ")
            if mark != _REFUSED_MARK:
                raise
            raise self._entrance.refusal(*map(int, numbers.split())) from None

    def _start(  # noqa: PLR0917  # as _posixsubprocess takes them
        self,
        args: Sequence[Any],
        programs: Sequence[bytes],
        close_fds: bool,
        keep: Sequence[int],
        cwd: Any,
        env: Sequence[bytes] | None,
        *rest: Any,
    ) -> int:
        """Do what _posixsubprocess.fork_exec does, inside the groups."""
        streams, after = rest[:8], rest[8:]
        if min(keep, default=0) < 0:
            raise ValueError("bad value(s) in fds_to_keep")  # in the words of _posixsubprocess
        preexec: Callable[[], object] | None = after[7]
        if preexec is not None:
            return self._start_with(preexec, (args, programs, close_fds, keep, cwd, env, *rest))
        stdin, _, _, stdout, _, stderr, _, report = streams
        restore_signals, new_session, process_group, gid, groups, uid, umask = after[:7]
        child = {
            "input": stdin,
            "output": stdout,
            "error": stderr,
            "close_fds": int(close_fds),
            "restore_signals": int(restore_signals),
            "new_session": int(new_session),
            "process_group": process_group,
            "user": _number(uid),
            "group": _number(gid),
            "umask": umask,
            "group_count": -1 if groups is None else len(groups),
        }
        kept = [fd for fd in keep if fd != report]
        entrance = self._entrance
        entrance.child = _native.new_child({**child, "keep_count": len(kept)})
        pid, stage, number, which = _native.start(
            entrance.child,
            None if entrance.into is None else os.fsencode(entrance.into),
            [*map(os.fsencode, entrance.files)],
            programs,
            [*map(os.fsencode, args)],
            _environment() if env is None else env,
            None if cwd is None else os.fsencode(cwd),
            groups or (),
            kept,
        )
        if stage == _native.ENTER:
            if pid > 0:
                with suppress(ChildProcessError):  # SIGCHLD is ignored
                    os.waitpid(pid, 0)
            raise entrance.refusal(number, which)
        if pid < 0:
            raise OSError(number, os.strerror(number))
        if stage != _native.STARTED:
            # Where subprocess looks for it: there it becomes the exception that everybody knows.
            os.write(report, b"OSError:%x:%s" % (number, _MESSAGES[stage]))
        return pid

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Do what subprocess's own does, and keep what the kernel tells beside the status."""
        try:
            pid, status, used = os.wait4(self.pid, wait_flags)
        except ChildProcessError:
            # As there: somebody else has waited for it.
            return self.pid, 0
        if pid:
            self.cpu_time = used.ru_utime, used.ru_stime
        return pid, status

    def _start_with(self, preexec: Callable[[], object], given: tuple[Any, ...]) -> int:
        """Start a child that runs Python of the caller's before it executes the program: after it is inside."""
        report = given[13]
        gid, groups, uid = given[17:20]
        for number in (gid, uid, *(groups or ())):
            _number(number)
        entrance = self._entrance

        def enter() -> None:  # pragma: no cover  # in a forked process
            for which, file in enumerate(entrance.files):
                try:
                    _kernfs.write(file, "0")
                except OSError as cause:
                    os.write(report, f"SubprocessError:0:{_REFUSED_MARK} {cause.errno} {which}".encode())
                    os._exit(255)
            try:
                _become(uid, gid, groups)
            except OSError as cause:
                os.write(report, b"OSError:%x:%s" % (cause.errno or 0, _MESSAGES[_native.PREPARE]))
                os._exit(255)
            preexec()

        # Who has become another user, as C does before it calls a function, may not enter any more.
        pid: int = _FORK_EXEC(*given[:17], None, None, None, given[20], enter, *given[22:])
        return pid


class _Names(dict["str", "Any"]):
    """The names that a function of subprocess sees, some of them others: CPython asks __missing__ for the rest."""

    __missing__ = vars(subprocess).__getitem__


_FORK_EXEC: Any = getattr(subprocess, "_fork_exec")  # noqa: B009  # nor this
_EXECUTE_CHILD: Any = getattr(subprocess.Popen, "_execute_child")  # noqa: B009  # typeshed does not have it
_REFUSED_MARK = "pycgroup-refused"


def _become(uid: int | None, gid: int | None, groups: Sequence[int] | None) -> None:  # pragma: no cover  # as above
    if groups is not None:
        os.setgroups(groups)
    if gid is not None:
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)


def _number(value: int | None) -> int:
    if value is not None and value > _LAST_ID:
        raise OverflowError(f"{value} is no id of a user or group")
    return -1 if value is None else value


_known_environment: tuple[dict[bytes, bytes], list[bytes]] = ({}, [])


def _environment() -> list[bytes]:
    # Not what C has: another thread may change that while the child is started.
    global _known_environment
    now: dict[bytes, bytes] = getattr(os.environb, "_data")  # noqa: B009  # items() would decode and encode each
    if now != _known_environment[0]:
        copy = dict(now)
        _known_environment = copy, [b"%b=%b" % item for item in copy.items()]
    return _known_environment[1]


_SHELL = """
while [ "$1" != -- ]; do
    echo 0 > "$1" || exit 126
    shift
done
shift
exec "$@"
"""


def wrap(entrance: Entrance, args: Sequence[Any]) -> list[str]:
    """Return the arguments of a shell that enters the groups and executes `args`. Raises InvalidValueError."""
    if isinstance(args, str | bytes | os.PathLike) or not args:
        raise InvalidValueError(f"{args!r} is not a list of arguments, the program first", value=args)
    return ["/bin/sh", "-c", _SHELL, "pycgroup", *entrance.files, "--", *map(os.fsdecode, args)]
