# SPDX-License-Identifier: MIT
"""The binding on the real hierarchies: what it does, and what its errors say."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pycgroup import _codes, _native
from pycgroup.errors import (
    CgroupError,
    GroupBusyError,
    GroupNotFoundError,
    InvalidNameError,
    NoSuchProcessError,
    PermissionDeniedError,
    UnavailableError,
)
from tests.support import machine, oracle, processes
from tests.support.capabilities import needs

pytestmark = [needs("libcgroup"), needs("root"), needs("memory", version=1)]

ROOT = Path(__file__).parents[2]


def missing_tid() -> int:
    return int(machine.read("/proc/sys/kernel/pid_max")) + 1


def test_it_sees_the_mount_points_that_the_kernel_has() -> None:
    hierarchy = machine.hierarchy_of("memory", 1)
    assert hierarchy is not None
    assert _native.mount_point("memory") == hierarchy.mount


def test_a_name_may_be_any_bytes(made: str) -> None:
    strange = os.fsdecode(b"\xff\xfe \xc3\xbc%s{0}")
    directory = oracle.make("memory", f"{made}/{strange}")
    _native.delete(f"{made}/{strange}", "memory")
    assert not os.path.exists(directory)


def test_delete_takes_the_tasks_to_the_parent(made: str) -> None:
    with processes.idle(oracle.make("memory", f"{made}/a/b")) as process:
        _native.delete(f"{made}/a", "memory", recursive=True)
        assert oracle.pids("memory", made) == {process.pid}


def test_attach_takes_one_thread(made: str) -> None:
    home = oracle.group_of("memory") or "/"

    def attached() -> tuple[int, str, str]:
        _native.attach_thread(made, "memory")
        tid = threading.get_native_id()
        here = oracle.group_of("memory", f"self/task/{tid}")
        _native.attach_thread(home, "memory", tid)
        return tid, here, oracle.group_of("memory", f"self/task/{tid}") or "/"

    with ThreadPoolExecutor(1) as pool:
        _, inside, after = pool.submit(attached).result()
    assert (inside, after, oracle.group_of("memory") or "/") == (made, home, home)


# Each error by making it happen: on a missing (m) or existing (e) group, what is raised, with which errno.
ERRORS: list[tuple[str, type[CgroupError], int | None, Callable[[str], Any]]] = [
    ("m", GroupNotFoundError, errno.ENOENT, lambda name: _native.delete(name, "memory")),
    ("m", GroupNotFoundError, errno.ENOENT, lambda name: _native.delete(name, "memory", recursive=True)),
    ("m", GroupNotFoundError, errno.ENOENT, lambda name: _native.attach_thread(name, "memory")),
    ("e", NoSuchProcessError, errno.ESRCH, lambda name: _native.attach_thread(name, "memory", missing_tid())),
    ("e", NoSuchProcessError, None, lambda name: _native.attach_thread(name, "memory", 0)),
    ("e", NoSuchProcessError, None, lambda name: _native.attach_thread(name, "memory", -1)),
    ("e", NoSuchProcessError, None, lambda name: _native.attach_thread(name, "memory", 2**31)),
    ("m", UnavailableError, None, lambda name: _native.delete(name, "nonsense")),
    ("m", UnavailableError, None, lambda name: _native.delete(name, "memory" * 800)),
    ("m", UnavailableError, None, lambda name: _native.delete(name, "mem\0ory")),
    ("m", UnavailableError, None, lambda name: _native.delete(name, "m\ud800")),
    ("m", UnavailableError, None, lambda name: _native.delete(name, "cgroup")),
    ("m", InvalidNameError, None, lambda _: _native.delete("/", "memory")),
]


@pytest.mark.parametrize(("state", "kind", "number", "action"), ERRORS)
def test_errors(
    state: str, kind: type[CgroupError], number: int | None, action: Callable[[str], Any], name: str
) -> None:
    if state == "e":
        oracle.make("memory", name)
    with pytest.raises(kind) as raised:
        action(name)
    assert raised.type is kind
    assert raised.value.errno == number


@pytest.mark.parametrize("controller", ["", "nonsense", "x" * 32, "a\0", "\ud800", None, 5, b"memory"])
def test_a_controller_is_refused(controller: Any) -> None:
    with pytest.raises(UnavailableError):
        _native.mount_point(controller)


def test_a_group_with_groups_below_is_busy(made: str) -> None:
    oracle.make("memory", f"{made}/below")
    with pytest.raises(GroupBusyError) as raised:
        _native.delete(made, "memory")
    assert (raised.value.errno, raised.value.code) == (errno.EBUSY, 50016)
    assert "memory group" in str(raised.value)
    assert made in str(raised.value)


@pytest.mark.parametrize("name_of_code", _codes.CODES)
def test_each_code_has_its_error_where_nothing_else_tells(made: str, name_of_code: str) -> None:
    code = getattr(_native._load().lib, name_of_code)
    meaning = _codes.CODES[name_of_code]
    with pytest.raises(CgroupError) as raised, _native._Group("delete", made, "memory"):
        raise _native._CallError(code, 0)
    assert raised.value.code == code
    if isinstance(meaning, int):
        assert raised.value.errno == meaning
    else:
        assert (raised.type, str(raised.value)) == (meaning[0], f"cannot delete memory group {made!r}: {meaning[1]}")


def test_an_unknown_code_is_shown_by_number(made: str) -> None:
    with pytest.raises(CgroupError, match="libcgroup's error 59999") as raised, _native._Group("x", made, "memory"):
        raise _native._CallError(59999, 0)
    assert raised.value.code == 59999


@pytest.mark.parametrize(
    "action",
    [
        lambda name: _native.delete(name, "memory"),
        lambda name: _native.attach_thread(name, "memory"),
    ],
)
def test_another_user_is_refused(action: Callable[[str], Any], made: str) -> None:
    with pytest.raises(PermissionDeniedError) as raised:
        processes.forked(lambda: action(made), uid=processes.NOBODY)
    assert raised.value.errno == errno.EACCES


def test_a_group_below_that_is_too_deep_is_not_deleted(made: str) -> None:
    directory = oracle.directory("memory", made)
    deep = "x" * (3900 - len(directory))
    os.mkdir(f"{directory}/{deep}")
    with pytest.raises(InvalidNameError):
        _native.delete(made, "memory", recursive=True)
    assert os.path.isdir(f"{directory}/{deep}")


def test_a_path_that_is_too_long_is_refused(made: str) -> None:
    with pytest.raises(InvalidNameError):
        _native.delete("/".join([made, *["x" * 1000] * 3, "x" * 450]), "memory")


def test_a_path_below_a_long_mount_point_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_native._mounts, "memory", "/" + "m" * 400)
    with pytest.raises(InvalidNameError, match="longer than libcgroup takes"):
        _native.delete("x" * 3490, "memory")


def test_groups_come_and_go_in_eight_threads(made: str) -> None:
    def live(number: int) -> None:
        for turn in range(100):
            name = f"{made}/{number}-{turn}"
            oracle.make("memory", name)
            _native.attach_thread(name, "memory")
            _native.delete(name, "memory")
            with pytest.raises(GroupNotFoundError):
                _native.delete(name, "memory")
        _native.attach_thread("/", "memory")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, range(8))) == [None] * 8


def python(code: str, *before: str) -> str:
    """Run code in a new process and return what it prints."""
    command = [*before, sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout


def test_a_forked_child_can_go_on_while_threads_are_busy(made: str) -> None:
    code = f"""
        import os, threading
        from pycgroup import _codes, _native
        top, directory, done = {made!r}, {oracle.directory("memory", made)!r}, threading.Event()

        def busy(number):
            while not done.is_set():
                live(number)

        def live(name):
            os.mkdir(f"{{directory}}/{{name}}")
            _native.delete(f"{{top}}/{{name}}", "memory")

        threads = [threading.Thread(target=busy, args=(number,)) for number in range(2)]
        for thread in threads: thread.start()
        for _ in range(50):
            if not (pid := os.fork()):
                live("child")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        done.set()
        for thread in threads: thread.join()
        print("done")
    """
    assert python(code) == "done\n"


def test_a_child_forked_during_the_start_does_not_hang() -> None:
    code = """
        import os, threading
        from pycgroup import _codes, _native
        for _ in range(200):
            _native._initialised = False  # one more cgroup_init; nothing else is running
            starter = threading.Thread(target=_native._initialise)
            starter.start()
            pid = os.fork()
            if not pid:
                os._exit(_native.mount_point("memory") == "")
            assert os.waitpid(pid, 0)[1] == 0
            starter.join()
        print("done")
    """
    assert python(code) == "done\n"


@needs("mount-namespace")
def test_without_a_mounted_hierarchy_it_says_so_and_may_be_tried_again() -> None:
    code = """
        import subprocess
        from pycgroup import UnavailableError, _native
        subprocess.run("umount -a -t cgroup,cgroup2", shell=True, check=True)
        try:
            _native.mount_point("memory")
        except UnavailableError as error:
            print(error, error.code)
        subprocess.run("mount -t tmpfs none /mnt && mkdir /mnt/m && mount -t cgroup -o memory none /mnt/m",
                       shell=True, check=True)
        print(_native.mount_point("memory"))
    """
    first, second = python(code, "unshare", "--mount", "--propagation", "private").splitlines()
    assert "mount -t cgroup" in first
    assert first.endswith("50001")
    assert second == "/mnt/m"


def test_what_libcgroup_logs_goes_to_logging(made: str, caplog: pytest.LogCaptureFixture) -> None:
    oracle.make("memory", f"{made}/below")
    with caplog.at_level(logging.WARNING, "pycgroup.libcgroup"), pytest.raises(GroupBusyError):
        _native.delete(made, "memory")
    assert caplog.record_tuples
    assert {name for name, _, _ in caplog.record_tuples} == {"pycgroup.libcgroup"}
    assert any("remove" in text and made in text for _, _, text in caplog.record_tuples)
    assert not any(text.endswith("\n") for _, _, text in caplog.record_tuples)


def test_lines_for_which_there_is_no_room_are_counted(made: str, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(20):
        oracle.make("memory", f"{made}/{number}")
    _native.mount_point("memory")  # libcgroup's start has lines of its own
    with caplog.at_level(logging.DEBUG, "pycgroup.libcgroup"):
        _native.delete(made, "memory", recursive=True)
    *lines, last = caplog.record_tuples
    assert len(lines) == 16
    assert last[1] == logging.WARNING
    assert "more lines of libcgroup are lost" in last[2]


def test_a_program_without_logging_sees_nothing(made: str) -> None:
    oracle.make("memory", f"{made}/below")
    code = f"""
        import sys
        from pycgroup import CgroupError, _native
        for _ in range(2):
            try:
                _native.delete({made!r}, "memory")
            except CgroupError:
                pass
            print("logging" in sys.modules)
            import logging
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")
