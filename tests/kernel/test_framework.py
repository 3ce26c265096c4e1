# SPDX-License-Identifier: MIT
"""The tests' own helpers do what they say on the real machine, and pytest fails where it should."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import capabilities, machine, oracle, processes
from tests.support.capabilities import needs

ROOT = Path(__file__).parents[2]


def pytest_in(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a test file of its own under this project's conftest."""
    (folder / "test_it.py").write_text(textwrap.dedent(code))
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-rA",
            "-p",
            "no:cacheprovider",
            *options,
            "test_it.py",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


WANTS_CRAY = """
    from tests.support import capabilities
    @capabilities.capability("a-cray")
    def cray():
        return "this is no Cray"
    @capabilities.needs("a-cray")
    def test():
        raise AssertionError("this machine has no Cray")
"""


def test_missing_capability_skips_and_says_why(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, WANTS_CRAY)
    assert done.returncode == 0
    assert "needs a-cray: this is no Cray" in done.stdout


MISSING = next(
    name for name in ("rdma:v2", "memory:v2", "memory:v1", "unprivileged", "root") if capabilities.missing(name)
)


def test_required_capability_fails(tmp_path: Path) -> None:
    code = f"""
        from tests.support.capabilities import needs
        @needs({MISSING!r})
        def test():
            pass
    """
    done = pytest_in(tmp_path, code, f"--require=two-cpus,{MISSING}")
    assert done.returncode == 1
    assert f"required capability {MISSING} is missing" in done.stdout


def test_unknown_required_capability_is_an_error(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "def test(): pass", "--require=memroy:v1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unknown capability memroy:v1" in done.stderr


def test_unknown_needed_capability_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown capability 'memory:v3'"):
        needs("memory", version=3)


LEAVES_A_GROUP = """
    from tests.support import groups, oracle
    def test_leaves_a_group():
        oracle.make("memory", groups.unique_name("left", "memory"))
"""


@needs("memory")
def test_group_left_behind_fails_the_session(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, LEAVES_A_GROUP)
    left = re.findall(r"^(/.*)  made by test_it.py::test_leaves_a_group$", done.stdout, re.MULTILINE)
    for directory in left:
        os.rmdir(directory)
    assert len(left) == 1
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


LEAVES_PROCESSES = """
    from tests.support import groups, oracle, processes
    def test_leaves_processes(unique):
        name = unique("memory")
        outer, inner = oracle.make("memory", name), oracle.make("memory", name + "/inner")
        processes.running(["sleep", "1000"], inner).__enter__()
        processes.running(["sleep", "1000"], inner).__enter__()
    def test_is_alone():
        assert groups.leftovers(groups.SESSION) == []
"""


@needs("memory")
def test_unique_removes_groups_and_processes(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, LEAVES_PROCESSES, "-W", "ignore")
    assert done.returncode == 0, done.stdout


@needs("memory")
def test_child_is_inside_every_group(unique: Callable[..., str]) -> None:
    names = [unique("memory"), unique("memory")]
    first, second = (oracle.make("memory", name) for name in names)
    with processes.idle(first) as one, processes.threaded(second) as four:
        assert oracle.group_of("memory", one.pid) == names[0]
        assert oracle.pids("memory", names[0]) == {one.pid}
        assert oracle.pids("memory", names[1]) == {four.pid}
        assert len(os.listdir(f"/proc/{four.pid}/task")) == 4
    assert not oracle.pids("memory", names[0]) | oracle.pids("memory", names[1])


@needs("memory", version=1)
@needs("cgget")
def test_cgget_and_the_file_agree(unique: Callable[..., str]) -> None:
    name = unique("memory")
    oracle.make("memory", name)
    oracle.write("memory", name, "memory.limit_in_bytes", "8M")
    assert oracle.cgget(name, "memory.limit_in_bytes") == str(8 << 20)
    assert oracle.cgget(name, "memory.oom_control") == oracle.read("memory", name, "memory.oom_control")


def test_forked_returns_and_raises() -> None:
    assert processes.forked(lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        processes.forked(lambda: 1 // 0)
    with pytest.raises(AssertionError, match="SIGKILL"):
        processes.forked(lambda: os.kill(os.getpid(), signal.SIGKILL))


@needs("root")
def test_forked_drops_to_another_user() -> None:
    assert processes.forked(os.getresuid, processes.NOBODY) == (processes.NOBODY,) * 3


def test_every_hierarchy_of_proc_is_known() -> None:
    mounts = {
        line.split()[1]
        for line in machine.read("/proc/mounts").splitlines()
        if line.split()[2] in ("cgroup", "cgroup2")
    }
    assert {each.mount for each in machine.hierarchies()} <= mounts
