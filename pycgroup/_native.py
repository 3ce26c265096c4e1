# SPDX-License-Identifier: MIT
"""libcgroup: text and numbers in and out, every call checked.

Of cdata a child's report, a listener, a log and a top outlive the function that returns them.

Groups are not made with it, nor values set: base.py says why. This is the only importer of the compiled module
`_libcgroup`, and imports it on first use.
"""

from __future__ import annotations

import os
import sys
from _functools import partial  # type: ignore[import-not-found]  # `functools` itself loads collections
from _thread import RLock  # what `threading` re-exports; importing that would cost more than all of this module

from . import _codes, _kernfs, _log, names
from ._types import TYPE_CHECKING
from .errors import CgroupError, InvalidNameError, NoSuchProcessError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Any, Self

# libcgroup builds every path in a buffer of 4096 bytes and cuts it silently, or overruns it; the rest is for the
# longest name of a control file. A controller's name has 32 bytes in 3.x.
_LONGEST_PATH = 4096 - 256
_LONGEST_CONTROLLER = 31
_LAST_TID = 2**31 - 1
#: Where v1 registers an eventfd; memory's groups alone have it.
CONTROL = "cgroup.event_control"
#: What is found out with a registration, from which bit on; and how many bits a descriptor has there. See eventfd.c.
ABOVE, SCARCE, FRESH, NEWS = 1, 2, 4, 8
FOUND, _FD_BITS = 58, 29
_FD = 2**_FD_BITS - 1
#: What counters come to in bytes, and more.
_LONGEST_TEXTS = 4096
#: What os.fsencode() looks up each time.
ENCODING, SURROGATES = sys.getfilesystemencoding(), "surrogateescape"


def _is_zero(answer: int) -> bool:
    return answer == 0


#: Every function of libcgroup that is used here, and what says that it succeeded: an unlisted one cannot be called.
_SUCCEEDED: dict[str, Callable[[Any], bool]] = {
    "cgroup_init": _is_zero,
    "cgroup_get_subsys_mount_point": _is_zero,
    "cgroup_new_cgroup": bool,
    "cgroup_add_controller": bool,
    "cgroup_delete_cgroup_ext": _is_zero,
    "cgroup_attach_task": _is_zero,
    "cgroup_attach_task_pid": _is_zero,
}

_lock = RLock()
_module: Any = None
#: Kills the child that was started with a report, as nobody is going to wait for it; returns whether it is still to be
#: waited for. It is C itself, once that is loaded: no signal handler comes before what it does.
let_go: Any = None
#: register() for running out of memory, of a top, a group's path in bytes, and a descriptor of the log or -1. It is C
#: itself, too, as there may be thousands.
register_oom: Any = None
_initialised = False
_mounts: dict[str, str] = {}

# A child forked while another thread is in cgroup_init would find libcgroup's mount table locked for ever. For the same
# reason a child never calls cgroup_init where its parent has.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def library_version() -> tuple[int, int, int]:
    """Return libcgroup's version; before 3.0, which cannot be asked, that of the headers at build time.

    Raises UnavailableError if libcgroup is not installed.
    """
    module = _load()
    if hasattr(module.lib, "cgroup_version"):
        version = module.lib.cgroup_version()
        return version.major, version.minor, version.release
    numbers = module.ffi.string(module.lib.PYCGROUP_HEADERS).split(b".")
    major, minor, release = (int(number) for number in (*numbers, 0, 0)[:3])
    return major, minor, release


def mount_point(controller: str) -> str:
    """Return where libcgroup sees the controller's hierarchy; it does not see what was mounted after its start.

    Raises UnavailableError if it is not mounted, or if libcgroup cannot be used at all.
    """
    if controller not in _mounts:
        _mounts[controller] = _find_mount_point(controller)
    return _mounts[controller]


def delete(group: str, controller: str, *, recursive: bool = False) -> None:
    """Remove a group after moving its tasks to its parent; `recursive` removes the groups below it too.

    Raises GroupNotFoundError if it does not exist.
    """
    with _Group("delete", group, controller) as native:
        native.refuse_root()
        if recursive:
            native.refuse_deep()
        native.call("cgroup_delete_cgroup_ext", _load().lib.CGFLAG_DELETE_RECURSIVE if recursive else 0)


def attach_thread(group: str, controller: str, tid: int | None = None) -> None:
    """Move one thread, by default the calling one, into a group. On a v2 domain group its whole process moves."""
    if tid is not None and not 0 < tid <= _LAST_TID:
        raise NoSuchProcessError(f"{tid} is not the id of a thread", group=group)
    with _Group(f"attach {f'thread {tid}' if tid else 'this thread'} to", group, controller) as native:
        if tid is None:
            native.call("cgroup_attach_task")
        else:
            native.call("cgroup_attach_task_pid", tid)


_NUL = "embedded null byte"  # in the words of _posixsubprocess
#: How far a child came: the numbers of pycgroup_start's stages.
STARTED, ENTER, PREPARE, CHDIR, EXEC = range(5)


def new_child(*fields: int) -> Any:
    """Return what start() wants to know of a child and, in its `pid`, notes: the fields of spawn.c's pycgroup_child."""
    return (_module or _load()).ffi.new("struct pycgroup_child *", fields)


def strings(texts: Sequence[Any]) -> tuple[bytes, int]:
    """Return what C takes for several strings (bytes, paths), and their number. Raises ValueError for a NUL in one."""
    try:
        joined = "\0".join((*texts, "")).encode(ENCODING, SURROGATES)
    except TypeError:
        joined = b""
    joined = joined or b"\0".join((*map(os.fsencode, texts), b""))
    if joined.count(b"\0") != len(texts):
        raise ValueError(_NUL)
    return joined, len(texts)


def start(  # noqa: PLR0917  # as C takes them
    report: Any,
    into: bytes | None,
    entries: Sequence[str],
    programs: Sequence[str],
    arguments: Sequence[Any],
    environment: tuple[bytes, int],
    directory: bytes | None,
    groups: Sequence[int],
    keep: Sequence[int],
) -> tuple[int, int, int, int]:
    """Start a program inside groups; return its pid (-1 for none), the stage where it failed, errno, which group.

    `report` is of new_child(), `environment` of strings(). Raises ValueError for a text with a NUL in it.
    """
    loaded = _module or _load()
    null = loaded.ffi.NULL
    if directory is not None and b"\0" in directory:
        raise ValueError(_NUL)
    texts, _ = strings([*entries, *programs, *arguments])
    counts = len(entries), len(programs), len(arguments)
    pid = loaded.lib.pycgroup_start(
        report, into or null, texts, *counts, *environment, null if directory is None else directory, groups, keep
    )
    return pid, report.stage, report.number, report.which


def is_subreaper() -> bool:
    """Return whether processes that lose their parents go to this one instead of init (PR_SET_CHILD_SUBREAPER)."""
    return bool(_load().lib.pycgroup_is_subreaper())


def make(directory: str, settings: tuple[bytes, int]) -> bool:
    """Make a group's directory and write into its files: of strings(), the name of a file and its text by turns.

    Return whether that could be done at once; if not, nothing was.
    """
    try:
        loaded = _module or _load()
    except UnavailableError:
        return False
    return bool(loaded.lib.pycgroup_make(directory.encode(ENCODING, SURROGATES), *settings))


def read(names: tuple[bytes, int]) -> list[bytes]:
    """Return the texts of control files without their last newlines, empty for one that cannot be read.

    `names`, of strings(), are directories, of each of which the number of links is told, and after each its files.
    """
    try:
        loaded = _module or _load()
    except UnavailableError:
        found = _kernfs.texts(names[0].decode(ENCODING, SURROGATES).split("\0")[:-1])
        return [text.encode("utf-8", SURROGATES) for text in found]
    texts = loaded.ffi.new("char[]", _LONGEST_TEXTS)
    length = loaded.lib.pycgroup_read(*names, texts, _LONGEST_TEXTS)
    return loaded.ffi.unpack(texts, length).split(b"\0")[:-1]  # type: ignore[no-any-return]


def wait_and_read(report: Any, names: tuple[bytes, int]) -> list[bytes] | None:
    """Wait for the child that was started with a report, and return what read() does then; None after a signal.

    The report has its `returncode`, as subprocess says it, and its `user_time` and `system_time` in seconds, -1 where
    somebody else has waited for it; and its `pid` is 0.
    """
    texts = _module.ffi.new("char[]", _LONGEST_TEXTS)
    length = _module.lib.pycgroup_finish(report, *names, texts, _LONGEST_TEXTS)
    return None if length < 0 else _module.ffi.unpack(texts, length).split(b"\0")[:-1]


def remove(directory: str) -> bool:
    """Remove the directory of a group without extended attributes; return whether that could be done at once."""
    try:
        loaded = _module or _load()
    except UnavailableError:
        return False
    return bool(loaded.lib.pycgroup_remove(directory.encode(ENCODING, SURROGATES)))


def top(path: str) -> Any:
    """Open the directory that a hierarchy is mounted on, for register(): it is open while what is returned is held.

    Raises OSError, UnavailableError.
    """
    loaded = _load()
    opened = loaded.ffi.new("struct pycgroup_top *", (-1, 0, 0, os.fsencode(path)))
    opened = loaded.ffi.gc(opened, loaded.lib.pycgroup_close_top)
    number = loaded.lib.pycgroup_open_top(opened)
    if number < 0:
        raise OSError(-number, os.strerror(-number), path)
    return opened


def register(top: Any, group: str, file: str, argument: str) -> int:
    """Register an eventfd for a control file of a group of v1, at a path below the top.

    Return what unpacked() takes apart; or a negative errno, EBADF where somebody else has closed the top.
    """
    texts = (text.encode(ENCODING, SURROGATES) for text in (group, file, argument))
    registered: int = _module.lib.pycgroup_register(top, *texts)
    return registered


def not_registered(answer: int, prefix: str, file: str) -> OSError:
    """Return the error that an answer below 0 stands for, of a group's file."""
    of = file if not os.path.exists(prefix + file) else CONTROL
    return OSError(-answer, os.strerror(-answer), prefix + of)


def unpacked(registered: int) -> tuple[int, int, int]:
    """Return an eventfd, a descriptor of the file that it is registered for, and the sum of what was found then.

    ABOVE: there are groups below; SCARCE: the process has half of the descriptors that it may have; of register_oom,
    FRESH: the group was never out of memory; NEWS: the log has something to read.
    """
    return registered & _FD, registered >> _FD_BITS & _FD, registered >> FOUND


def listener(event: int, watched: int) -> Any:
    """Return who listens to an eventfd: he notes the sum of `signals` and their last `time`; you, what was `told`."""
    return _load().ffi.new("struct pycgroup_listener *", (event, watched))


def waiting(listener: Any) -> Callable[[int], int]:
    """Return what waits, so many nanoseconds, and returns how many signals are to be told; see eventfd.c."""
    wait: Callable[[int], int] = partial(_load().lib.pycgroup_wait, listener)
    return wait


def taking(listener: Any) -> tuple[Callable[[int], int], int]:
    """Return what does the same without waiting, and what it is to be called with, as long as the listener is kept.

    That the argument is the next number, and then this one again, says that what was taken has been told.
    """
    loaded = _load()
    return loaded.lib.pycgroup_take, int(loaded.ffi.cast("intptr_t", listener))


def log() -> Any:
    """Return what read_log() reads, from `file`, a descriptor of the kernel log; and keeps there."""
    return _load().ffi.new("struct pycgroup_log *")


def read_log(log: Any, beginnings: bytes, *, goes_on: bool) -> bytes:
    """Return the lines that are kept, after keeping those that begin as wanted; see kmsg.c. Raises OSError.

    They stay there until its `used` is set to 0.
    """
    loaded = _load()
    number: int = loaded.lib.pycgroup_read_log(log, beginnings, goes_on)
    if number < 0 and not log.used:
        raise OSError(-number, os.strerror(-number))
    return bytes(loaded.ffi.buffer(log.kept, log.used))


class _CallError(Exception):
    """A function of libcgroup failed: its code, and the thread's last errno, which means something with ECGOTHER."""

    def __init__(self, code: int, number: int) -> None:
        super().__init__(code, number)
        self.code = code
        self.errno = number


class _Group:
    """A struct cgroup with one controller for the length of a `with` block, translating the errors of its calls."""

    __slots__ = ("_controller", "_struct", "attempt", "directory", "name")

    def __init__(self, verb: str, group: str, controller: str) -> None:
        self.name = names.group_name(group)
        self.attempt = f"cannot {verb} {controller} group {group!r}"
        self.directory = mount_point(controller) + self.name
        if len(os.fsencode(self.directory)) > _LONGEST_PATH:
            raise InvalidNameError(f"{self.attempt}: its path is longer than libcgroup takes", group=self.name)
        self._controller = controller

    def __enter__(self) -> Self:
        _load().lib.pycgroup_log_threshold(_log.threshold())
        # With its leading slash: 3.x takes other names as below systemd's default group, and "" is read out of bounds.
        self._struct = _call("cgroup_new_cgroup", os.fsencode(self.name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _load().lib.pycgroup_free_group(self._struct)
        del self._struct
        _pass_on_log()
        if isinstance(error, _CallError):
            raise self._translated(error) from None

    def call(self, function: str, *arguments: Any) -> None:
        """Add the controller to the struct, which is new, and call with it."""
        _call("cgroup_add_controller", self._struct, self._controller.encode())
        _call(function, self._struct, *arguments)

    def refuse_root(self) -> None:
        """Raise for a hierarchy's root: to delete it does nothing and says 0."""
        if self.name == "/":
            raise InvalidNameError(f"{self.attempt}: the root of a hierarchy is always there", group=self.name)

    def refuse_deep(self) -> None:
        """Raise if a group below has a path that libcgroup would cut, to delete another one."""
        for path, _, _ in os.walk(self.directory):
            if len(os.fsencode(path)) > _LONGEST_PATH:
                raise InvalidNameError(f"{self.attempt}: the path of a group below it is too long", group=self.name)

    def _translated(self, failed: _CallError) -> CgroupError:
        error = self._by_code(failed)
        error.code = failed.code
        return error

    def _by_code(self, failed: _CallError) -> CgroupError:
        lib = _load().lib
        if failed.code == lib.ECGOTHER:
            return self._by_errno(failed.errno)
        name = next((name for name in _codes.CODES if failed.code == getattr(lib, name)), "")
        if name in _codes.FAILED_OPEN and (error := self._tried_again()):
            return error
        meaning = _codes.CODES.get(name, (CgroupError, f"libcgroup's error {failed.code}"))
        return self._by_errno(meaning) if isinstance(meaning, int) else self._saying(*meaning)

    def _tried_again(self) -> CgroupError | None:
        """Open what libcgroup has failed to open, for which its codes say little."""
        try:
            os.close(os.open(f"{self.directory}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC))
        except OSError as cause:
            return self._by_errno(cause.errno or 0)
        return None

    def _by_errno(self, number: int) -> CgroupError:
        cause = OSError(number, os.strerror(number))
        return _kernfs.error(cause, self.attempt, group=self.name, directory=self.directory)

    def _saying(self, kind: type[CgroupError], text: str) -> CgroupError:
        return kind(f"{self.attempt}: {text}", group=self.name)


def _call(function: str, *arguments: Any) -> Any:
    succeeded = _SUCCEEDED[function]
    lib = _load().lib
    answer = getattr(lib, function)(*arguments)
    if succeeded(answer):
        return answer
    code = answer if isinstance(answer, int) else lib.ECGFAIL
    raise _CallError(code, lib.cgroup_get_last_errno())


def _find_mount_point(controller: str) -> str:
    _initialise()
    plain = isinstance(controller, str) and controller.isascii() and "\0" not in controller
    # Where v2 has controllers, libcgroup takes whatever starts with "cgroup" for the name of one.
    if not plain or len(controller) > _LONGEST_CONTROLLER or controller.startswith("cgroup"):
        raise UnavailableError(f"{controller!r} is not the name of a controller")
    ffi, lib = _load().ffi, _load().lib
    text = ffi.new("char **")
    try:
        _call("cgroup_get_subsys_mount_point", controller.encode(), text)
    except _CallError as failed:
        message = f"the controller {controller!r} is not mounted, or was not yet when libcgroup was started"
        raise UnavailableError(message, code=failed.code) from None
    try:
        return os.fsdecode(ffi.string(text[0]))
    finally:
        lib.pycgroup_free_text(text[0])


def _load() -> Any:
    global _module, let_go, register_oom
    if _module is None:
        try:
            import pycgroup._libcgroup as compiled

            let_go, register_oom = compiled.lib.pycgroup_let_go, compiled.lib.pycgroup_register_oom
            _module = compiled
        except ModuleNotFoundError as error:
            raise UnavailableError(_codes.NOT_BUILT.format(error=error)) from error
        except ImportError as error:
            raise UnavailableError(_codes.NOT_INSTALLED.format(error=error)) from error
    return _module


def _initialise() -> None:
    """Call cgroup_init, unless that has succeeded before: a second time it is unsafe beside calls of other threads."""
    global _initialised
    with _lock:
        if _initialised:
            return
        lib = _load().lib
        lib.pycgroup_log_threshold(_log.threshold())
        lib.pycgroup_log_start()
        try:
            _call("cgroup_init")
        except _CallError as failed:
            unmounted = failed.code == lib.ECGROUPNOTMOUNTED
            reason = _codes.UNMOUNTED if unmounted else f"libcgroup cannot start: {os.strerror(failed.errno)}"
            raise UnavailableError(reason, code=failed.code) from None
        finally:
            _pass_on_log()
        _initialised = True


def _pass_on_log() -> None:
    lib = _load().lib
    if lib.pycgroup_log_pending():
        _log.emit(_log_lines(), lib.pycgroup_log_lost())


def _log_lines() -> Iterator[tuple[int, str]]:
    lib, ffi = _load().lib, _load().ffi
    text = ffi.new("char[256]")
    while (level := lib.pycgroup_log_take(text, 256)) >= 0:
        yield level, ffi.string(text).decode("utf-8", "backslashreplace")
