# SPDX-License-Identifier: MIT
"""Real children inside groups, put there by a shell and synchronised by pipes."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

Running = AbstractContextManager[subprocess.Popen[str]]

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PATIENCE = 120.0  # seconds after which a forked child hangs; an emulated guest is slow

_ENTER = """
while [ "$1" != -- ]; do
    echo 0 > "$1/cgroup.procs" || exit 97
    shift
done
shift
echo inside
exec "$@"
"""


@contextmanager
def running(argv: list[str], *directories: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program inside groups given by directory; on entry it is inside, on exit it is gone."""
    with subprocess.Popen(
        ["sh", "-c", _ENTER, "sh", *directories, "--", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "inside\n", f"no process could enter {directories}"
            yield process
        finally:
            process.kill()


def choose_pid(pid: int) -> None:
    """Have the next process get a number, if it is free. Raises OSError."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))


@contextmanager
def idle(*directories: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process inside groups that does nothing until its standard input ends."""
    with running(["cat"], *directories) as process:
        yield process


@contextmanager
def python(code: str, *directories: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python code inside groups; on entry it has printed its first line."""
    with running([sys.executable, "-S", "-c", code], *directories) as process:
        yield process


THREADED = """
import threading, sys
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(3)]
for thread in threads: thread.start()
print("threads", flush=True)
sys.stdin.read()
go.set()
"""


@contextmanager
def threaded(*directories: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process with four threads inside groups until its standard input ends."""
    with python(THREADED, *directories) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "threads\n"
        yield process


def forked(function: Callable[[], Any], uid: int | None = None) -> Any:
    """Call a function in a forked child, as user `uid` where given; return what it returns or raise what it raises."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(function, uid, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert answer, f"the child ended with {signal.Signals(-status).name if status < 0 else status} and said nothing"
    raised, value = pickle.loads(answer)
    if raised:
        raise value
    return value


def _answer(function: Callable[[], Any], uid: int | None, writer: int) -> None:
    """Send back the outcome of a call and end this child without running anything of its parent's."""
    try:
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        answer = pickle.dumps((False, function()))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again in the parent
        error.add_note(traceback.format_exc())
        answer = pickle.dumps((True, error))
    with open(writer, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


def script(code: str, *arguments: str, forks: bool = False, within: Sequence[str] = ()) -> str:
    """Run Python code in an interpreter of its own and return what it prints; it must print nothing on stderr.

    `forks`: it forks while it has threads, of which Python 3.12 warns; and coverage's tracer holds a lock now and then,
    for which a child forked at that moment would wait for ever. `within` is a program that starts it.
    """
    command = [
        *within,
        sys.executable,
        *(["-W", "ignore::DeprecationWarning"] if forks else []),
        "-c",
        code,
        *arguments,
    ]
    environment = {name: text for name, text in os.environ.items() if not (forks and name.startswith("COVERAGE_"))}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE * 3
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout
