# SPDX-License-Identifier: MIT
"""The examples of running things inside groups, as programs of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import examples
from tests.support.capabilities import needs
from tests.support.whereabouts import made_by_cgroup

pytestmark = [needs("memory"), needs("cpu"), needs("pids")]

EAT = [sys.executable, "-S", "-c", "block = bytearray(200 << 20)"]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    before = made_by_cgroup()
    environment = examples.environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert made_by_cgroup() <= before
    return done


def test_a_build_that_fits() -> None:
    done = run(examples.argv("build", "sh", "-c", "echo built"))
    assert done.returncode == 0, done.stderr
    assert "built\n" in done.stdout
    assert "exit status 0" in done.stdout


def test_a_build_that_does_not_fit() -> None:
    done = run(examples.argv("build", "--memory", "64M", *EAT))
    assert done.returncode == 1
    assert "memory at most 64 MiB of 64M" in done.stdout
    assert "64M of memory are not enough" in done.stderr


def test_a_build_that_takes_too_long() -> None:
    done = run(examples.argv("build", "--timeout", "0.5", "sh", "-c", "(setsid sleep 1000 &); sleep 1000"))
    assert done.stderr == "stopped after 0.5 s\n"


def test_a_pool_that_survives() -> None:
    done = run(examples.argv("pool", "1", "200", "2"))
    assert done.stdout.splitlines() == [
        f"1 MiB: {1 << 20} bytes",
        f"200 MiB: killed at {64 << 20} bytes, the limit is {64 << 20}",
        f"2 MiB: {2 << 20} bytes",
    ], done.stderr


@pytest.mark.parametrize("options", [[], ["-x"]])
def test_tests_with_limits(options: list[str]) -> None:
    file = str(examples.EXAMPLES / "tests_with_limits.py")
    done = run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", *options, file])
    assert "the kernel killed test_that_leaks" in done.stdout, done.stdout + done.stderr
    assert ("1 failed, 1 passed" if options else "1 failed, 2 passed") in done.stdout
