# SPDX-License-Identifier: MIT
"""The doctor: what mode a host is in, and which command mends what."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycgroup import cli, doctor, remedies
from pycgroup.errors import CgroupError, GroupBusyError, PermissionDeniedError, UnavailableError
from pycgroup.hosts import Host

HOSTS = Path(__file__).parent / "hosts"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("debian-12", "v2"),
        ("fedora-42", "v2"),
        ("docker-v2", "v2"),
        ("rhel-7", "v1"),
        ("kubernetes-v1", "v1"),
        ("ubuntu-20.04", "hybrid"),
        ("wsl2", "hybrid"),
        ("alpine-3.18", "hybrid"),
        ("covered", "mixed"),
        ("no-cgroups", "none"),
        ("no-kernel-support", "none"),
    ],
)
def test_mode(name: str, mode: str) -> None:
    assert doctor.mode(Host.read(str(HOSTS / name))) == mode


def error(kind: type[CgroupError], number: int, text: str = "", group: str | None = None) -> CgroupError:
    return kind(text, errno=number, group=group)


DENIED = error(PermissionDeniedError, errno.EACCES)


@pytest.mark.parametrize(
    ("name", "failure", "mends"),
    [
        ("no-cgroups", UnavailableError("none"), "mount -t cgroup2 none /sys/fs/cgroup"),
        ("rhel-7", DENIED, f"chown -R {os.geteuid()}"),
        ("debian-12", error(GroupBusyError, errno.EBUSY, group="/sys/fs/cgroup/a"), "mkdir /sys/fs/cgroup/a/leaf"),
        ("debian-12", UnavailableError("libcgroup is not installed"), "libcgroup"),
        ("debian-12", UnavailableError("not built: pip install"), "pip install"),
        ("raspberry-pi", UnavailableError("boot with cgroup_enable=memory"), "cgroup_enable=memory"),
        ("rhel-7", UnavailableError("nowhere; as root: mount -t cgroup -o x x /y"), "mount -t cgroup -o x x /y"),
        ("debian-12", CgroupError("whatever"), ""),
        ("debian-12", UnavailableError("whatever"), ""),
    ],
)
def test_the_command_that_mends(name: str, failure: CgroupError, mends: str) -> None:
    command = remedies.command(failure, Host.read(str(HOSTS / name)))
    assert mends in command
    assert bool(mends) == bool(command)


@pytest.mark.parametrize(
    ("user", "capabilities", "mends"),
    [
        (1000, 0, "mount -o remount,rw /"),
        (0, 0x1FFFFFFFFFF, "mount -o remount,rw /"),
        (0, 0xA80425FB, "docker run --privileged"),  # docker's own choice
    ],
)
def test_root_in_a_container_cannot_remount(
    user: int, capabilities: int, mends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(remedies, "_capabilities", lambda: capabilities)
    host = Host.read(str(HOSTS / "docker-v2"))
    assert remedies.command(error(PermissionDeniedError, errno.EROFS), host).startswith(mends)


def test_the_capabilities_are_those_that_the_kernel_shows() -> None:
    shown = subprocess.run(
        ["grep", "CapEff", f"/proc/{os.getpid()}/status"], capture_output=True, text=True, check=True
    )
    assert f"{remedies._capabilities():016x}" in shown.stdout


@pytest.mark.parametrize(("base", "mends"), [("", "--scope -p Delegate=yes"), ("/a.scope", "user@.service")])
def test_who_is_delegated_too_little_asks_systemd(
    base: str, mends: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remedies, "_RUNS_SYSTEMD", str(tmp_path))
    host = Host.read(str(HOSTS / "debian-12"))
    host.hierarchies[0].base = base
    assert mends in remedies.command(DENIED, host)
    assert mends in remedies.command(UnavailableError("it is not delegated to this cgroup"), host)


FOUND = [
    doctor.Finding("freeze", works=True, seen="a process was stopped", why="", mend=""),
    doctor.Finding("kill", works=False, seen="", why="it is denied", mend="sudo it"),
]
SEATS = [
    doctor.Seat("CPU", 2, "/sys/fs/cgroup", writable=True, why=""),
    doctor.Seat("PIDS", 2, "/sys/fs/cgroup", writable=False, why="not delegated to this process"),
    doctor.Seat("RDMA", None, None, writable=False, why="the kernel lacks it"),
]
SICK = doctor.Report("v2", "6.1.0", 1000, systemd=True, libcgroup="3.1.0", controllers=SEATS, findings=FOUND)


def test_text() -> None:
    text = "\n".join(cli.as_text(SICK))
    assert "cgroups     v2  (Linux 6.1.0, systemd)" in text
    assert "PIDS        v2  /sys/fs/cgroup  (not delegated to this process)" in text
    assert "RDMA        -   the kernel lacks it" in text
    assert "freeze         works: a process was stopped" in text
    assert "kill           FAILS: it is denied\n               mend:  sudo it" in text


def test_json() -> None:
    said = json.loads(cli.as_json(SICK))
    assert (said["healthy"], said["mode"], said["user"], said["libcgroup"]) == (False, "v2", 1000, "3.1.0")
    assert said["controllers"][0] == {
        "controller": "CPU",
        "version": 2,
        "directory": "/sys/fs/cgroup",
        "writable": True,
        "why": "",
    }
    assert said["findings"][1] == {
        "ability": "kill",
        "works": False,
        "seen": "",
        "why": "it is denied",
        "mend": "sudo it",
    }


@pytest.mark.parametrize("healthy", [True, False])
def test_status(healthy: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report = SICK._replace(findings=FOUND[: 1 if healthy else 2])
    monkeypatch.setattr(doctor, "examine", lambda: report)
    assert cli.main(["check", "--json"]) == (0 if healthy else 1)
    assert json.loads(capsys.readouterr().out)["healthy"] is healthy


def test_no_command_is_an_error() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2


HIDDEN = """
import sys
sys.modules["pycgroup._libcgroup"] = None
from pycgroup import cli
sys.exit(cli.main(["--help"]))
"""


def test_it_starts_without_libcgroup() -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "check" in done.stdout
