# SPDX-License-Identifier: MIT
"""The programs in examples/ that wait for events, each run as its user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pycgroup import Cgroup
from pycgroup.proclist import listed
from tests.support.capabilities import needs
from tests.support.hogs import MIB, PATIENCE, bound, held, hogs, holding

pytestmark = needs("memory")
Unique = Callable[..., str]
ROOT = Path(__file__).parents[2]


@contextmanager
def example(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example and kill it in the end."""
    command = [sys.executable, f"{ROOT}/examples/{name}.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        try:
            yield program
        finally:
            program.kill()


def output(name: str, *arguments: str) -> list[str]:
    with example(name, *arguments) as program:
        text, _ = program.communicate(timeout=PATIENCE)
        assert program.returncode == 0
    return text.splitlines()


def test_oom_notify_with_the_killer_on() -> None:
    enough, too_little = output("oom_notify", "--killer", "on")
    assert enough == "limit 10M: exit status 0, no event, 0 killed"
    assert too_little == "limit 1M: exit status -9, 1 killed"


@needs("memory", version=1)
def test_oom_notify_with_the_killer_off() -> None:
    stopped, goes_on = output("oom_notify", "--killer", "off")
    assert stopped == "OOM: 0 killed; the task runs on: True"
    assert goes_on == "limit 10M: exit status 0, under_oom False, another event: None"


def test_oom_notify_prints_each_oom_and_the_removal(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory, hogs() as hog:
        bound(memory, "2M")
        with example("oom_notify", memory.group_name) as program:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("watching")
            hog.be_killed(memory.path)
            line = program.stdout.readline()
            assert line.startswith(f"OOM in {memory._path}: 1 killed")
            memory.delete()
            assert program.stdout.read().endswith("was removed\n")
        memory.create()


@needs("memory", version=1)
def test_oom_waiter_lists_the_processes(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory"), oom_control=True) as memory:
        bound(memory, "2M")
        with example("oom_waiter", memory.group_name) as program:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("waiting for an OOM")
            with holding(memory.path, 4 * MIB) as task:
                head, row = program.stdout.read().splitlines()
                assert head.split() == ["PID", "PPID", "UID", "VSZ", "KiB", "RSS", "KiB", "ARGS"]
                pid, ppid, uid, vsz, rss, arguments = row.split(None, 5)
                assert (int(pid), int(ppid), int(uid)) == (task.pid, os.getpid(), os.geteuid())
                assert int(vsz) > int(rss) > 0
                assert sys.executable in arguments
        assert program.returncode in (0, -9)


def test_oom_waiter_tells_the_removal(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory:
        with example("oom_waiter", memory.group_name) as program:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("waiting for an OOM")
            memory.delete()
            assert "was removed" in program.stdout.read()
            assert program.wait(PATIENCE) == 2
        memory.create()


@needs("memory", version=1)
def test_event_listener(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory, hogs() as hog:
        with example("event_listener", "memory.usage_in_bytes", memory.group_name, "2M") as program:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("listening to")
            hog.take(memory.path, 8 * MIB)
            assert program.stdout.readline().startswith("memory.usage_in_bytes 2M: crossed, now ")
            memory.delete()
            assert program.stdout.read().endswith("the group was removed\n")
        memory.create()


def test_processes_of_a_group(unique: Unique) -> None:
    with Cgroup.MEMORY(unique("memory")) as memory, holding(memory.path, MIB) as task:
        held(task)
        (each,) = memory.processes()
        assert (each.pid, each.ppid, each.uid) == (task.pid, os.getpid(), os.geteuid())
        assert each.args.startswith(f"{sys.executable} -S -c")
        assert each.vsz > each.rss > MIB


@needs("kernel-threads")
def test_a_kernel_thread_is_listed_by_its_name() -> None:
    (each,) = listed([2, 2**22 + 1])
    assert each.args == "[kthreadd]"


def test_the_demo_shows_the_event_as_it_arrives() -> None:
    lines = output("../script/demo")
    (event,) = [line for line in lines if line.startswith("OOM event: 1 killed")]
    assert lines.index(event) < lines.index("ended by SIGKILL; the kernel's oom_kill counter of the group is 1")
    assert lines[-1] == "the child was OOM-killed inside its group; the group is removed"
