# SPDX-License-Identifier: MIT
"""`python -m pycgroup check` on the real machine: what it says is what the kernel does, and nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import pycgroup
from pycgroup import CgroupError, UnavailableError, _native, cli, doctor
from tests.support import examples, machine, processes
from tests.support.capabilities import needs
from tests.support.whereabouts import made_by_cgroup

LIMITS = ("memory limit", "swap limit", "OOM events", "process limit")
CHECK = ["-m", "pycgroup", "check", "--json"]
WITHOUT_LIBCGROUP = """
import sys
sys.modules["pycgroup._libcgroup"] = None
from pycgroup import cli
sys.exit(cli.main(["check", "--json"]))
"""


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = made_by_cgroup()
    yield
    assert made_by_cgroup() <= before


def check(*arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """Run the doctor; return its status and what it says."""
    command = [*prefix, sys.executable, *(arguments or CHECK)]
    done = subprocess.run(command, env=examples.environment(), capture_output=True, text=True, check=False, timeout=300)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def findings(said: dict[str, Any]) -> dict[str, bool]:
    return {finding["ability"]: finding["works"] for finding in said["findings"]}


@needs("memory")
@needs("pids")
@needs("freezer")
def test_a_host_where_all_works() -> None:
    status, said = check()
    assert (status, said["healthy"]) == (0, True), said["findings"]
    assert {"group", "memory limit", "swap limit", "process limit", "freeze", "kill", "delegation"} <= set(
        findings(said)
    )
    assert all(finding["seen"] for finding in said["findings"])


@needs("memory")
@needs("pids")
@needs("freezer")
def test_the_same_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    report = doctor.examine()
    assert report.healthy, report.findings
    assert {seat.controller for seat in report.controllers if seat.writable} >= {"MEMORY", "PIDS", "FREEZER"}
    assert cli.main(["check"]) == 0
    assert "memory limit   works: " in capsys.readouterr().out


def test_each_controller_is_where_the_kernel_has_it() -> None:
    _, said = check()
    for seat in said["controllers"]:
        hierarchy = machine.hierarchy_of(seat["controller"].lower())
        if seat["version"] is not None and seat["controller"] != "PERF_EVENT":
            assert hierarchy is not None
            assert seat["version"] == hierarchy.version
            assert seat["directory"].startswith(hierarchy.mount)


@needs("memory")
def test_without_libcgroup_it_says_what_does_not_work() -> None:
    memory = machine.hierarchy_of("memory")
    _, said = check("-c", WITHOUT_LIBCGROUP)
    assert "libcgroup" in said["libcgroup"]
    # v1's events are in the compiled part, too.
    lost = {"OOM events": False} if memory and memory.version == 1 else {}
    assert findings(said) == findings(check()[1]) | lost
    for finding in said["findings"]:
        if finding["ability"] in lost:
            assert "compiled part is missing" in finding["why"]
            assert "install" in finding["mend"]


@needs("root")
@needs("memory")
def test_a_host_without_cgroups() -> None:
    without = (
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        'umount -a -l -t cgroup,cgroup2; exec "$@"',
        "sh",
    )
    status, said = check(prefix=without)
    assert (status, said["mode"]) == (1, "none")
    assert not any(findings(said).values())
    assert {finding["mend"] for finding in said["findings"]} == {"mount -t cgroup2 none /sys/fs/cgroup"}


@needs("root")
@needs("freezer")
def test_a_host_that_is_mounted_read_only() -> None:
    """As in a container; what could not be made is not said to be undeletable."""
    hierarchy = machine.hierarchy_of("freezer")
    assert hierarchy is not None
    script = f'mount -o remount,bind,ro {hierarchy.mount}; exec "$@"'
    status, said = check(prefix=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"))
    assert status == 1
    assert {seat["why"] for seat in said["controllers"] if seat["directory"] == hierarchy.mount} == {
        "mounted read-only"
    }
    for finding in said["findings"]:
        if finding["ability"] in ("group", "freeze", "kill"):
            assert not finding["works"]
            assert "cannot create it: Read-only file system" in finding["why"]
            assert finding["mend"] == f"mount -o remount,rw {hierarchy.mount}"


@needs("root")
@needs("memory", version=1)
def test_a_user_to_whom_nothing_is_delegated() -> None:
    _native.library_version()  # loads what that user may not read

    def ask() -> list[tuple[bool, str, str]]:
        return [(finding.works, finding.why, finding.mend) for finding in doctor.examine().findings]

    tried = {mend for works, why, mend in processes.forked(ask, processes.NOBODY) if not works and why}
    for controller in ("memory", "pids", "freezer"):
        hierarchy = machine.hierarchy_of(controller)
        assert hierarchy is not None
        assert any(f"cd {hierarchy.mount}/NAME && chown {processes.NOBODY} ." in mend for mend in tried)


@pytest.mark.parametrize("help_of", [["--help"], ["check", "--help"]])
def test_help(help_of: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pycgroup", *help_of], capture_output=True, text=True, check=True)
    assert "check" in done.stdout


@needs("memory")
@needs("pids")
@pytest.mark.parametrize(
    ("attempt", "program", "said"),
    [
        ("swap limit", "input(); print('got it')", "got 64 MiB of memory and swap"),
        ("OOM events", "input(); print('got it')", "no process hit"),
        ("process limit", "input(); print('forked')", "forked in a group of one"),
        ("memory limit", "input(); import signal; signal.pause()", "did not"),
        *((attempt, "input(); raise SystemExit(3)", "ended with status 3") for attempt in LIMITS),
    ],
)
def test_a_limit_that_does_not_hold(attempt: str, program: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in ("_EATS", "_FORKS"):
        monkeypatch.setattr(doctor, code, program)
    monkeypatch.setattr(doctor, "_PATIENCE", 5.0 if "pause" not in program else 0.2)
    with pytest.raises(CgroupError, match=said):
        doctor.ABILITIES[attempt]()


def test_libcgroup_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tuple[int, int, int]:
        raise UnavailableError("libcgroup is not installed")

    monkeypatch.setattr(_native, "library_version", missing)
    assert doctor.examine().libcgroup == "libcgroup is not installed"


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "pycgroup", "check"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)
    assert "libcgroup" in done.stdout


# What keeps the doctor's own processes from doing what they are to do is not the group's doing.
HINDERED = {
    "address space": "resource.setrlimit(resource.RLIMIT_AS, (66 << 20, 66 << 20))",
    "descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
    "interpreter": "sys.executable = '/nowhere'",
}


@needs("memory")
@needs("pids")
@pytest.mark.parametrize("hindrance", HINDERED)
def test_what_cannot_be_tried_is_said(hindrance: str) -> None:
    code = "import resource, sys; from pycgroup import cli; {}; sys.exit(cli.main(['check', '--json']))"
    status, said = check("-c", code.format(HINDERED[hindrance]))
    assert status == 1
    untried = [finding["why"] for finding in said["findings"] if not finding["works"]]
    assert untried
    assert all("could not be tried" in why or "no room" in why for why in untried), untried


@needs("pids")
def test_what_is_cut_off_is_left_to_reap() -> None:
    code = "import os, signal; from pycgroup import Cgroup, doctor; g = doctor.scratch(Cgroup.PIDS); g.__enter__(); "
    dead = subprocess.run([sys.executable, "-c", f"{code}os.kill(os.getpid(), signal.SIGKILL)"], check=False)
    assert dead.returncode == -signal.SIGKILL
    assert any("pycgroup-n" in directory for directory in pycgroup.reap())
