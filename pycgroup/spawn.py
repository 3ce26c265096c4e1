# SPDX-License-Identifier: MIT
"""Start a process inside its groups: a subprocess.Popen whose child enters them before its first instruction.

subprocess does all that it always does but for one method: what forks and executes is spawn.c, which enters the groups
first, and which tells by itself why a program could not be executed. preexec_fn, which would do, runs Python between
fork and exec: that is unsafe with threads, and takes four times as long.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource  # noqa: F401  # os.wait4() imports it, when a program may have given up what it could read
import subprocess
import sys
import time
from contextlib import suppress
from signal import SIGKILL

from . import _kernfs, _native
from ._types import TYPE_CHECKING
from .errors import GroupBusyError, InvalidValueError
from .members import _REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .errors import CgroupError
    from .hierarchy import Hierarchy

_FULL = "a pids limit of this group or of one above it, or the user's limit of processes (ulimit -u), is reached"

_LAST_ID = 2**32 - 2


class Entrance:
    """The way into several groups: the files that take the process that writes "0" to them.

    `into` is the group that the kernel itself can start a child in; its file comes last.
    """

    __slots__ = ("child", "directories", "files", "forked", "into")

    def __init__(self, directories: dict[Hierarchy, str]) -> None:
        #: What C notes of the child that is started, and the child that subprocess has started itself.
        self.child: Any = None
        self.forked = 0
        self.directories: list[str] = []
        self.files: list[str] = []
        self.into: str | None = None
        places = directories.items()
        for tree, directory in sorted(places, key=_starts_inside) if len(places) > 1 else places:
            self.directories.append(directory)
            self.files.append(f"{directory}/{tree.own_task_file}")
            if tree.starts_inside:
                self.into = directory
            if not tree.takes_processes(directory):
                raise self.refusal(errno.EBUSY, -1)  # the last so far

    @property
    def pid(self) -> int:
        """The process that was started, 0 for none: known even where a signal handler's exception has hidden it."""
        return self.forked if self.child is None else max(0, self.child.pid)

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


def _starts_inside(place: tuple[Hierarchy, str]) -> bool:
    return place[0].starts_inside


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

    def _get_handles(self, *streams: Any) -> tuple[int, ...]:
        handles: tuple[int, ...] = _NO_HANDLES if streams == _NO_STREAMS else _GET_HANDLES(self, *streams)
        return handles

    def _execute_child(  # noqa: PLR0917  # as subprocess calls it
        self,
        args: Any,
        executable: Any,
        preexec_fn: Callable[[], object] | None,
        close_fds: bool,
        pass_fds: Sequence[Any],
        cwd: Any,
        env: Mapping[Any, Any] | None,
        *rest: Any,
    ) -> None:
        if preexec_fn is not None:
            return self._execute_with(preexec_fn, args, executable, close_fds, pass_fds, cwd, env, *rest)
        _, _, shell, *streams = rest[:9]
        restore_signals, gid, groups, uid, umask, new_session, process_group = rest[9:]
        args, program = _command(args, executable, shell=shell)
        sys.audit("subprocess.Popen", program, args, cwd, env)
        keep = sorted({*map(int, pass_fds)}) if pass_fds != () else []
        if keep and keep[0] < 0:
            raise ValueError("bad value(s) in fds_to_keep")  # in the words of _posixsubprocess
        flags = map(bool, (close_fds, restore_signals, new_session))
        user = (-1, -1) if uid is gid is None else (_number(uid), _number(gid))
        counts = -1 if groups is None else len(groups), len(keep)
        fields = streams[0], streams[3], streams[5], *flags, process_group, umask, *user, *counts
        try:
            self.pid = _start(self._entrance, program, args, fields, env=env, cwd=cwd, groups=groups or (), keep=keep)
        finally:
            if max(streams) >= 0:
                _CLOSE_PIPE_FDS(self, *streams)
        self._child_created = True
        return None

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

    def _execute_with(self, preexec: Callable[[], object], args: Any, *given: Any) -> None:
        """Start a child that runs Python of the caller's before it executes the program: after it is inside."""
        executable, close_fds, pass_fds, cwd, env, *others, gid, groups, uid, umask, new_session, process_group = given
        for number in (gid, uid, *(groups or ())):
            _number(number)
        entrance, refused = self._entrance, mmap.mmap(-1, mmap.PAGESIZE)  # which the child shares

        def enter() -> None:  # pragma: no cover  # in a forked process
            done = 0
            try:
                for file in entrance.files:
                    _kernfs.write(file, "0")
                    done += 1
                _become(uid, gid, groups)
            except OSError as cause:
                refused.write(b"%d %d" % (cause.errno or 0, done))
                raise
            preexec()

        # Who has become another user, as C does before it calls a function, may not enter any more.
        rest = (*others, None, None, None, umask, new_session, process_group)
        with refused:
            try:
                _EXECUTE_CHILD(self, args, executable, enter, close_fds, pass_fds, cwd, env, *rest)
            except subprocess.SubprocessError:
                number, done = map(int, refused.read().rstrip(b"\0").split() or (0, 0))
                if not number:
                    raise  # it was the caller's function
                if done < len(entrance.files):
                    raise entrance.refusal(number, done) from None
                raise OSError(number, os.strerror(number)) from None
            finally:
                entrance.forked = self.pid or 0


class Child:
    """A program that takes no options and is just waited for: what run() needs of a Popen then, in a third of the time.

    Raises as Popen does. Whoever is interrupted while there is one has to let go of it, as run() does.
    """

    __slots__ = ("_report", "args", "cpu_time", "pid", "returncode")

    def __init__(self, args: Any, *, entrance: Entrance) -> None:
        self.args = args
        self.returncode: int | None = None
        #: As of Popen.
        self.cpu_time: tuple[float, float] | None = None
        if left:
            bury()
        arguments, program = _command(args, None, shell=False)
        sys.audit("subprocess.Popen", program, arguments, None, None)
        self.pid = _start(entrance, program, arguments, _PLAIN)
        self._report = entrance.child

    def finish(self, names: tuple[bytes, int]) -> list[bytes]:
        """Wait for the end, and return what control files say then: as _native.read() does, with the same names."""
        report = self._report
        while (texts := _native.wait_and_read(report, names)) is None:
            pass  # a signal handler has run
        self.returncode = report.returncode
        if report.user_time >= 0:
            self.cpu_time = report.user_time, report.system_time
        return texts


#: What C knows of children that nobody waits for any more.
left: list[Any] = []


def bury() -> None:
    """Wait for those that have ended, and kill the others."""
    for report in left.copy():
        if not _native.let_go(report):
            with suppress(ValueError):  # another thread has done it
                left.remove(report)


def bide(report: Any) -> None:
    """Give a child a moment to end, if there is one, and leave it to be waited for."""
    deadline = time.monotonic() + _MOMENT
    with suppress(ChildProcessError):
        while report.pid > 0 and os.waitid(os.P_PID, report.pid, _HAS_ENDED) is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)


# Seconds: as in subprocess, and between two looks.
_MOMENT, _PAUSE = 0.25, 0.001
_HAS_ENDED = os.WEXITED | os.WNOWAIT | os.WNOHANG
#: What C is to know of a child without options.
_PLAIN = (-1, -1, -1, True, True, False, -1, -1, -1, -1, -1, 0)


def _start(
    entrance: Entrance,
    program: Any,
    args: Sequence[Any],
    fields: tuple[int, ...],
    *,
    env: Mapping[Any, Any] | None = None,
    cwd: Any = None,
    groups: Sequence[int] = (),
    keep: Sequence[int] = (),
) -> int:
    """Start a program inside the groups and return its pid; `fields` are of _native.new_child()."""
    entrance.child = _native.new_child(*fields)
    pid, stage, number, which = _native.start(
        entrance.child,
        None if entrance.into is None else os.fsencode(entrance.into),
        entrance.files,
        _candidates(program, env),
        args,
        _environment() if env is None else _native.strings([*map(_assigned, env.items())]),
        None if cwd is None else os.fsencode(cwd),
        groups,
        keep,
    )
    if stage == _native.STARTED and pid > 0:
        return pid
    if pid > 0:
        with suppress(ChildProcessError):  # SIGCHLD is ignored
            os.waitpid(pid, 0)
        entrance.child.pid = 0
    if stage == _native.ENTER:
        raise entrance.refusal(number, which)
    blamed = {_native.CHDIR: [cwd], _native.EXEC: [program]}.get(stage, [])
    raise OSError(number, os.strerror(number), *blamed)


_NO_STREAMS, _NO_HANDLES = (None,) * 3, (-1,) * 6
# typeshed does not have them.
_GET_HANDLES, _CLOSE_PIPE_FDS, _EXECUTE_CHILD = (
    getattr(subprocess.Popen, name) for name in ("_get_handles", "_close_pipe_fds", "_execute_child")
)


def _command(args: Any, executable: Any, *, shell: bool) -> tuple[list[Any], Any]:
    """Return the arguments and the program, as subprocess has them."""
    if type(args) is list:  # first, as it is the usual case
        args = args.copy()
    elif isinstance(args, os.PathLike) and shell:
        raise TypeError("path-like args is not allowed when shell is true")
    else:
        args = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    if shell:
        args = [executable or "/bin/sh", "-c", *args]
    return args, args[0] if executable is None else executable


def _candidates(program: Any, env: Mapping[Any, Any] | None) -> list[str]:
    """Return the paths at which a program may be."""
    name = program if type(program) is str else os.fsdecode(program)
    return [name] if "/" in name else [os.path.join(directory, name) for directory in os.get_exec_path(env)]


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


def _assigned(variable: tuple[Any, Any]) -> bytes:
    name, value = map(os.fsencode, variable)
    if b"=" in name:
        raise ValueError("illegal environment variable name")  # in the words of subprocess
    return name + b"=" + value


_known_environment: tuple[dict[bytes, bytes], tuple[bytes, int]] = ({}, (b"", 0))


def _environment() -> tuple[bytes, int]:
    # Not what C has: another thread may change that while the child is started.
    global _known_environment
    now: dict[bytes, bytes] = getattr(os.environb, "_data")  # noqa: B009  # items() would decode and encode each
    if now != _known_environment[0]:
        copy = dict(now)
        _known_environment = copy, _native.strings([b"%b=%b" % item for item in copy.items()])
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
