# SPDX-License-Identifier: MIT
"""popen(): inside before the first instruction, and otherwise subprocess.Popen in every respect."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pycgroup import Cgroup, GroupNotFoundError
from tests.support import oracle, seccomp
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked
from tests.support.whereabouts import LOOK, outside

pytestmark = [needs("memory"), needs("pids")]

# 10,000 is the figure of the project; fewer keep the usual run short.
#: How many processes are started, while others are.
starts_of = pytest.mark.parametrize("starts", [200, pytest.param(10_000, marks=pytest.mark.slow)])
THREADS = 4
PIPE = subprocess.PIPE


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with Cgroup(memory="256M", cpus=2, pids=200) as group:
        yield group


@starts_of
def test_every_one_of_many_starts_from_four_threads_is_inside(group: Cgroup, starts: int) -> None:
    def start(_: int) -> list[str]:
        with group.popen(LOOK, stdout=PIPE, text=True) as process:
            return outside(process.communicate()[0], group.paths)

    with ThreadPoolExecutor(THREADS) as threads:
        strays = [place for places in threads.map(start, range(starts)) for place in places]
    assert len(group.paths) >= 1
    assert strays == []


def test_it_is_a_subprocess_popen(group: Cgroup) -> None:
    process = group.popen(["true"])
    assert isinstance(process, subprocess.Popen)
    assert process.wait() == 0
    assert repr(process) == "<Popen: returncode: 0 args: ['true']>"


def test_a_group_for_one_process_can_start_one() -> None:
    with Cgroup(pids=1) as group:
        assert group.run(["true"]).returncode == 0
        assert group.run("(true) || exit 7", shell=True, stderr=subprocess.DEVNULL).returncode == 2


def test_the_memory_of_a_large_parent_is_not_charged(group: Cgroup) -> None:
    ballast = bytearray(os.urandom(1 << 20) * 128)
    assert group.run(["true"]).returncode == 0
    peak = group.memory.max_usage_in_bytes
    assert peak < len(ballast) // 8


def test_all_streams(group: Cgroup) -> None:
    script = "read line; echo out $line; echo err >&2"
    with group.popen(["sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.communicate("in\n", timeout=60) == ("out in\n", "err\n")


def test_one_stream_into_another(group: Cgroup) -> None:
    done = group.run(["sh", "-c", "echo out; echo err >&2"], stdout=PIPE, stderr=subprocess.STDOUT)
    assert done.stdout == b"out\nerr\n"


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_streams_that_stand_where_others_go(order: tuple[int, int, int], tmp_path: Path) -> None:
    code = f"""
import os, sys
from pycgroup import Cgroup
files = [os.open(f"{tmp_path}/{{name}}", os.O_RDWR | os.O_CREAT) for name in "abc"]
saved = os.dup(2)
with Cgroup(pids=9) as group:
    for number, file in enumerate(files):
        os.dup2(file, number)
    streams = dict(zip(("stdin", "stdout", "stderr"), {order}))
    group.popen(["sh", "-c", "echo 1 >&1; echo 2 >&2; echo 0 >&0"], **streams).wait()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    written = {(tmp_path / name).read_text() for name in "abc"}
    assert [(tmp_path / "abc"[place]).read_text() for place in order] == ["0\n", "1\n", "2\n"]
    assert len(written) == len(order)


def test_a_terminal_as_stream(group: Cgroup) -> None:
    controller, terminal = pty.openpty()
    try:
        assert group.run(["test", "-t", "0"], stdin=terminal).returncode == 0
    finally:
        os.close(controller)
        os.close(terminal)


def test_only_the_descriptors_that_are_passed_stay_open(group: Cgroup) -> None:
    reader, writer = os.pipe()
    other = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(other, True)
    try:
        listed = group.run(["ls", "/proc/self/fd"], pass_fds=[writer], stdout=PIPE, text=True).stdout.split()
        assert set(listed) - {"0", "1", "2"} - {str(writer)} <= {"3", "4", "5", "6", "7", "8"}
        assert str(writer) in listed
        assert str(other) not in listed or other < writer
        kept = group.run(["sh", "-c", f"test -e /proc/self/fd/{other}"], close_fds=False).returncode
        assert kept == 0
    finally:
        for descriptor in (reader, writer, other):
            os.close(descriptor)


def test_several_passed_descriptors_with_gaps(group: Cgroup) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    numbers = [820, 821, 825, 900]
    stray = [822, 824, 826, 901]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))
    try:
        for number in numbers + stray:
            assert fcntl.fcntl(null, fcntl.F_DUPFD, number) == number  # nobody else's
        shown = group.run(["ls", "/proc/self/fd"], pass_fds=numbers, stdout=PIPE, text=True).stdout.split()
        assert set(map(str, numbers)) <= set(shown)
        assert not set(map(str, stray)) & set(shown)
    finally:
        for number in [null, *numbers, *stray]:
            os.close(number)


OTHER_USER: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}


@pytest.mark.parametrize(
    ("options", "script", "said"),
    [
        ({"cwd": "/usr"}, "pwd", "/usr"),
        ({"env": {"ONLY": "this", "PATH": "/usr/bin:/bin"}}, "echo $ONLY $HOME", "this"),
        ({"umask": 0o27}, "umask", "0027"),
        pytest.param(OTHER_USER, "echo $(id -u) $(id -g) $(id -G)", "65534 65534 65534", marks=needs("root")),
        pytest.param({"extra_groups": [7, 8]}, "id -G", "0 7 8", marks=needs("root")),
        ({"start_new_session": True}, "test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo own", "own"),
        ({"process_group": 0}, "test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo own", "own"),
        ({"executable": "/bin/sh"}, "echo $0", "sh"),
    ],
)
def test_an_option_of_popen(group: Cgroup, options: dict[str, Any], script: str, said: str) -> None:
    done = group.run(["sh", "-c", script], stdout=PIPE, text=True, check=True, **options)
    assert done.stdout.strip() == said


@needs("root")
def test_another_user_is_inside_too(group: Cgroup) -> None:
    done = group.run(LOOK, **OTHER_USER, stdout=PIPE, text=True)
    assert outside(done.stdout, group.paths) == []


@needs("root")
def test_another_user_leaves_this_process_as_it_was(group: Cgroup) -> None:
    group.run(["true"], user=NOBODY)
    assert os.stat("/proc/self/fd").st_uid == 0  # it would be root's in any case, were the process not dumpable ...
    assert os.access("/proc/self/mem", os.R_OK)  # ... and this would be refused


@pytest.mark.parametrize(("restore", "ignored"), [(True, False), (False, True)])
def test_signals_are_restored(group: Cgroup, restore: bool, ignored: bool) -> None:
    done = group.run(["grep", "SigIgn", "/proc/self/status"], stdout=PIPE, text=True, restore_signals=restore)
    mask = int(done.stdout.split()[1], 16)
    assert bool(mask & 1 << signal.SIGPIPE - 1) == ignored


def test_blocked_signals_and_handlers(group: Cgroup) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        done = group.run(["cat", "/proc/self/status"], stdout=PIPE, text=True)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, before)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("SigBlk", "SigCgt"))]
    masks = {name.rstrip(":"): int(mask, 16) for name, mask in lines}
    assert masks == {"SigBlk": 1 << signal.SIGUSR2 - 1, "SigCgt": 0}


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("options", [{}, pytest.param({"user": NOBODY}, marks=needs("root"))])
def test_where_clone3_is_refused(error: int, options: dict[str, Any]) -> None:
    """As it is by kernels before 5.3 and by containers' filters."""

    def child() -> tuple[list[str], str]:
        seccomp.refuse(seccomp.CLONE3, error)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        with Cgroup(memory="256M", pids=200) as group:
            done = group.run(["cat", "/proc/self/cgroup", "/proc/self/status"], stdout=PIPE, text=True, **options)
            places, _, status = done.stdout.partition("Name:")
            return outside(places, group.paths), status

    strays, status = forked(child)
    assert strays == []
    words = [line.split() for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    masks = {name: int(mask, 16) for name, mask in words}
    assert masks["SigCgt:"] == masks["SigBlk:"] == masks["SigIgn:"] & 1 << signal.SIGPIPE - 1 == 0


def test_preexec_fn_runs_inside(group: Cgroup, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    group.run(["true"], preexec_fn=lambda: seen.write_text(Path("/proc/self/cgroup").read_text()))
    assert outside(seen.read_text(), group.paths) == []


@needs("root")
def test_preexec_fn_runs_inside_as_another_user(group: Cgroup) -> None:
    reader, writer = os.pipe()

    def tell() -> None:
        ids = f"{os.getresuid()} {os.getresgid()} {os.getgroups()}\n"
        os.write(writer, ids.encode() + Path("/proc/self/cgroup").read_bytes())

    done = group.run(["id", "-u"], preexec_fn=tell, stdout=PIPE, user=NOBODY, group=NOBODY, extra_groups=[1])
    os.close(writer)
    with open(reader) as pipe:
        ids, _, memberships = pipe.read().partition("\n")
    assert done.stdout == f"{NOBODY}\n".encode()
    assert ids == f"{(NOBODY,) * 3} {(NOBODY,) * 3} [1]"
    assert outside(memberships, group.paths) == []


def test_an_error_of_preexec_fn_is_subprocess_own(group: Cgroup) -> None:
    with pytest.raises(subprocess.SubprocessError, match="preexec_fn"):
        group.popen(["true"], preexec_fn=lambda: 1 / 0)


def test_a_program_that_does_not_exist(group: Cgroup) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        group.popen(["pycgroup-no-such-program"])
    assert caught.value.filename == "pycgroup-no-such-program"
    assert group.processes() == []


def test_a_program_that_may_not_be_executed(group: Cgroup, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(PermissionError) as caught:
        group.popen([str(program)])
    assert caught.value.filename == str(program)


def test_a_directory_that_does_not_exist(group: Cgroup) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        group.popen(["true"], cwd="/pycgroup-no-such-directory")
    assert caught.value.filename == "/pycgroup-no-such-directory"


def test_a_process_group_that_does_not_exist(group: Cgroup) -> None:
    with pytest.raises(PermissionError):
        group.popen(["true"], process_group=2**22 + 5)


@pytest.mark.parametrize(
    ("args", "error"), [(["a\0b"], ValueError), (["echo", 5], TypeError), (["true", b"x\0"], ValueError)]
)
def test_arguments_that_are_none(group: Cgroup, args: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        group.popen(args)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"env": {"A": "1\0B=2"}}, ValueError),
        ({"executable": "/bin/true\0b"}, ValueError),
        ({"user": 2**32}, OverflowError),
        ({"group": 2**32 + 1}, OverflowError),
    ],
)
def test_options_that_mean_something_else_when_cut(
    group: Cgroup, options: dict[str, Any], error: type[Exception]
) -> None:
    for start in (subprocess.run, group.run):
        with pytest.raises(error):
            start(["true"], **options)


ECHO = 'echo "$0 $*"'


def _outcome(run: Callable[..., Any], args: Any, **options: Any) -> tuple[Any, ...]:
    try:
        done = run(args, **options)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is to be the same
        return type(error), str(error), getattr(error, "filename", None)
    return done.returncode, done.stdout


WITHOUT_OPTIONS = [
    ("sh", "-c", ECHO),
    ["sh", "-c", "exit 3"],
    ["sh", "-c", "kill -9 $$"],
    "true",
    b"true",
    Path("/bin/true"),
    [],
    "",
    None,
    [5],
    ["/"],
    ["/etc/passwd"],
    ["nonexistent"],
    ["true", "a\0b"],
]


@pytest.mark.parametrize(
    ("args", "options"),
    [
        *((args, {}) for args in WITHOUT_OPTIONS),
        (Path("/bin/true"), {"shell": True}),
        (ECHO, {"shell": True}),
        ([ECHO, "a", b"b"], {"shell": True}),
        (ECHO, {"shell": True, "executable": "/bin/bash"}),
        ([ECHO], {"executable": Path("/bin/echo")}),
        (["echo"], {"executable": "/nonexistent"}),
        (["/nonexistent"], {"preexec_fn": str}),
        (["true"], {"cwd": "/nonexistent", "preexec_fn": str}),
        (["true"], {"preexec_fn": int("0").__truediv__}),
        (["true"], {"cwd": b"/nonexistent"}),
        (["bin/true"], {"cwd": "/usr"}),
        (["true"], {"cwd": "/\0"}),
        (["/usr/bin/env"], {"env": {"A": "1", b"B": b"\xff"}}),
        (["env"], {"env": {"PATH": "/nonexistent:/usr/bin"}}),
        (["env"], {"env": {"PATH": "/nonexistent"}}),
        (["env"], {"env": {"A=": "1"}}),
        (["env"], {"env": {"A": 1}}),
        (["true"], {"pass_fds": [-1]}),
        (["true"], {"pass_fds": ["x"]}),
        (["true"], {"pass_fds": [2**20 - 1]}),
        (["sh", "-c", "umask"], {"umask": 0o27}),
        (["true"], {"start_new_session": True}),
        (["true"], {"process_group": 0}),
        (["true"], {"process_group": 2**22 + 5}),
    ],
)
def test_subprocess_says_the_same(group: Cgroup, args: Any, options: dict[str, Any]) -> None:
    assert _outcome(group.run, args, stdout=PIPE, **options) == _outcome(subprocess.run, args, stdout=PIPE, **options)


@pytest.mark.parametrize("args", WITHOUT_OPTIONS)
def test_subprocess_says_the_same_without_options(group: Cgroup, args: Any) -> None:
    assert _outcome(group.run, args) == _outcome(subprocess.run, args)


@pytest.mark.parametrize("options", [{}, {"stdout": PIPE}])
def test_where_nobody_waits_for_children(group: Cgroup, options: dict[str, Any]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert _outcome(group.run, ["false"], **options) == _outcome(subprocess.run, ["false"], **options)
        with Cgroup(pids=9) as uncounted:
            time = uncounted.run(["false"], **options).cpu_time
        assert time is None or min(time) >= 0  # v2 counts it in any case
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("options", [{}, {"stdout": PIPE}])
@pytest.mark.parametrize("descriptors", [0, 1100])
def test_an_interrupt_while_a_program_runs_ends_it(group: Cgroup, options: dict[str, Any], descriptors: int) -> None:
    seen: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, descriptors + 100), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors)]

    def interrupt_if_it_runs(*_: object) -> None:
        seen.extend(group.processes())
        if seen:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, interrupt_if_it_runs)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            group.run(["sleep", "1000"], **options)
    finally:
        signal.signal(signal.SIGALRM, before)
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [Path(path, "cgroup.procs").read_text() for path in group.paths] == [""] * len(group.paths)
    with pytest.raises(ChildProcessError):  # it was waited for
        os.waitpid(seen[0], os.WNOHANG)


def test_a_group_that_cannot_be_entered_where_nobody_waits_for_children(group: Cgroup) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        os.rmdir(group.paths[0])
        with pytest.raises(GroupNotFoundError):
            group.popen(["true"])
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_arguments_of_every_kind(group: Cgroup) -> None:
    args: list[Any] = [b"printf", "%s|", b"\xff", "é", Path("/x"), ""]
    assert group.run(args, stdout=PIPE).stdout == b"\xff|\xc3\xa9|/x||"


@pytest.mark.parametrize("preexec", [None, lambda: None])
def test_nothing_runs_where_the_group_is_gone(preexec: Callable[[], None] | None, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with Cgroup(pids=9) as group:
        paths = group.paths
        group.popen(["true"]).wait()
        os.rmdir(paths[-1])
        with pytest.raises(GroupNotFoundError) as caught:
            group.popen(["touch", str(witness)], preexec_fn=preexec)
    assert caught.value.group == paths[-1]
    assert not witness.exists()


def test_a_group_that_was_never_made_is_a_typed_error(unique: Callable[..., str]) -> None:
    with pytest.raises(GroupNotFoundError, match=r"create\(\) makes it"):
        Cgroup(unique("memory")).popen(["true"])


def test_a_full_group_is_a_typed_error_or_takes_one_more() -> None:
    with Cgroup(pids=1) as group, group.popen(["cat"], stdin=PIPE) as one:
        try:
            other = group.popen(["true"])
        except OSError as error:
            assert "pids limit" in str(error)  # noqa: PT017  # v2 counts before the start, v1 does not for who enters
        else:
            assert other.wait() == 0
        one.communicate()


def test_no_descriptor_is_left_open(group: Cgroup) -> None:
    group.run(["true"], capture_output=True)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(20):
        group.run(["true"], capture_output=True)
        with pytest.raises(FileNotFoundError):
            group.run(["/pycgroup-no-such-program"], user=os.geteuid())
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_no_zombie_is_left_where_the_start_fails(group: Cgroup) -> None:
    for name in ("pycgroup-no-such-program", "/etc/passwd"):
        with pytest.raises(OSError, match=r"No such file|denied"):
            group.popen([name])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_starts_from_threads_while_others_change_the_environment(group: Cgroup) -> None:
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            os.environ[f"PYCGROUP_{number % 50}"] = str(number)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(50):
            assert group.run(["true"]).returncode == 0
    finally:
        stop.set()
        changer.join()


def test_wrap_enters_and_executes(group: Cgroup) -> None:
    args = group.wrap(LOOK)
    assert all(isinstance(arg, str) for arg in args)
    done = subprocess.run(args, stdout=PIPE, text=True, check=True)
    assert outside(done.stdout, group.paths) == []


def test_wrap_keeps_arguments_as_they_are(group: Cgroup) -> None:
    done = subprocess.run(group.wrap(["printf", "%s|", "a b", "--", "$x", ""]), stdout=PIPE, text=True, check=True)
    assert done.stdout == "a b|--|$x||"


def test_wrap_runs_nothing_where_the_group_is_gone() -> None:
    with Cgroup(pids=9) as group:
        args = group.wrap(["echo", "ran"])
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (126, "")


def test_the_kernel_agrees_where_a_process_is(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, memory="64M", pids=5) as group, group.popen(["cat"], stdin=PIPE) as process:
        assert oracle.group_of("memory", process.pid).lstrip("/") == name.lstrip("/")
        assert process.pid in oracle.pids("pids", name)
        assert oracle.cgget(name, "pids.max") == "5"
        process.communicate()
