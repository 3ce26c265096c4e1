# SPDX-License-Identifier: MIT
"""What a process leaves behind that was killed, and reap(), which removes that and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from pycgroup import Cgroup, owners, reap
from pycgroup.cli import main
from tests.support import machine, oracle
from tests.support.capabilities import needs
from tests.support.processes import NOBODY, forked

pytestmark = needs("pids")

OWNER = """
import signal, sys
from pycgroup import Cgroup
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's jobs in the background ignore
name = sys.argv[1] if len(sys.argv) > 1 else None
with Cgroup(name, pids=50) as group:
    process = group.popen(["sleep", "1000"])
    print(process.pid, *group.paths, flush=True)
    sys.stdin.read()
"""


def owner(*arguments: str) -> tuple[subprocess.Popen[str], int, list[str]]:
    """Start a process that makes a group with a child in it; return it, the child's pid and the directories."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, *paths = process.stdout.readline().split()
    return process, int(pid), paths


def close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    process.wait(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("named", [True, False])
def test_the_groups_of_a_killed_process_are_removed(unique: Callable[..., str], number: int, named: bool) -> None:
    process, child, paths = owner(*([unique("pids")] if named else []))
    process.send_signal(number)
    close(process)
    assert all(map(os.path.isdir, paths))
    assert set(paths) <= set(reap())
    assert not any(map(os.path.exists, paths))
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_living_owner_is_left_alone(unique: Callable[..., str]) -> None:
    process, child, paths = owner(unique("pids"))
    with Cgroup(pids=5) as mine:
        removed = reap()
        assert not set(removed) & {*paths, *mine.paths}
        assert all(map(os.path.isdir, [*paths, *mine.paths]))
    assert _runs(child)
    close(process)
    assert not any(map(os.path.exists, paths))


def test_ctrl_c_leaves_nothing(unique: Callable[..., str]) -> None:
    process, _, paths = owner(unique("pids"))
    process.send_signal(signal.SIGINT)
    close(process)  # a signal right before read() does not interrupt that: its end lets the handler run
    assert process.returncode == -signal.SIGINT
    assert not any(map(os.path.exists, paths))


def test_what_the_library_has_not_made_is_left_alone(unique: Callable[..., str]) -> None:
    directory = oracle.make("pids", unique("pids"))
    assert directory not in reap()
    assert os.path.isdir(directory)


def test_what_a_dead_owner_had_below_another_s_group(unique: Callable[..., str]) -> None:
    name = unique("pids")
    process, _, paths = owner(name)
    process.kill()
    close(process)
    below = oracle.make("pids", f"{name}/below")
    assert not {path for path in reap() if path == os.path.dirname(below)}
    os.rmdir(below)
    reap()
    assert not any(map(os.path.exists, paths))


def test_a_number_that_has_come_again_is_another_process() -> None:
    namespace, pid, start, _ = owners.entrance().split("-")
    assert not owners.is_dead(owners.entrance())
    assert owners.is_dead(f"{namespace}-{pid}-{int(start) - 1}-0")
    assert owners.is_dead(f"{namespace}-{2**22 - 1}-5-0")
    assert not owners.is_dead(f"n1t1-{2**22 - 1}-5-0"), "a process of another namespace is not known to be dead"
    assert not owners.is_dead("somebody else's mark")


def test_an_owner_is_read_from_the_name_where_there_are_no_attributes(unique: Callable[..., str]) -> None:
    directory = oracle.make("pids", f"{unique('pids')}/pycgroup-n12t3-34-56-7")
    assert owners.users_of(directory) == ["n12t3-34-56-7"]
    assert owners.users_of(os.path.dirname(directory)) == []
    os.rmdir(directory)


def test_the_command(unique: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    process, _, paths = owner(unique("pids"))
    process.kill()
    close(process)
    assert main(["reap"]) == 0
    assert set(paths) <= {line.removeprefix("removed ") for line in capsys.readouterr().out.splitlines()}


@needs("root")
def test_the_command_says_why_it_cannot(unique: Callable[..., str]) -> None:
    process, _, paths = owner(unique("pids"))
    process.kill()
    close(process)
    assert forked(lambda: main(["reap"]), uid=NOBODY) == 1
    assert all(map(os.path.isdir, paths))
    reap()


def test_the_command_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "pycgroup", "--help"], capture_output=True, text=True, check=True)
    assert "reap" in done.stdout
