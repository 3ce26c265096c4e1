# SPDX-License-Identifier: MIT
"""The doctor: what mode a host is in, and which command mends what."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pycgroup import _codes, _systemd, cli, delegation, doctor, remedies
from pycgroup.errors import CgroupError, GroupBusyError, PermissionDeniedError, UnavailableError
from pycgroup.hierarchy import V1, V2, Hierarchy
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


def test_a_named_hierarchy_makes_no_hybrid() -> None:
    trees = (V1("/s", "/", frozenset({"name=systemd"})), V2("/c", "/", frozenset({"memory"})))
    assert doctor.mode(Host("/", trees, {})) == "v2"


def test_a_mount_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("/", (V2("/nowhere", "/", frozenset({"memory"})),), {})
    host.hierarchies[0].base = ""
    monkeypatch.setattr("pycgroup.hosts._here", host)
    (memory,) = (seat for seat in doctor.seats() if seat.controller == "MEMORY")
    assert (memory.writable, memory.why) == (False, "not to be reached: No such file or directory")


def error(kind: type[CgroupError], number: int, text: str = "", group: str | None = None) -> CgroupError:
    return kind(text, errno=number, group=group)


DENIED = error(PermissionDeniedError, errno.EACCES)
HIDDEN_PART = "No module named 'pycgroup._libcgroup'"


@pytest.mark.parametrize(
    ("name", "failure", "mends"),
    [
        ("no-cgroups", UnavailableError("none"), "mount -t cgroup2 none /sys/fs/cgroup"),
        ("rhel-7", DENIED, "chown 1000 . cgroup.procs tasks && "),
        ("debian-12", error(GroupBusyError, errno.EBUSY, "cannot kill it", group="/sys/fs/cgroup/a"), ""),
        ("debian-12", UnavailableError(_codes.NOT_INSTALLED), "libcgroup"),
        ("debian-12", UnavailableError(_codes.NOT_BUILT.format(error=HIDDEN_PART)), "--no-binary pycgroup pycgroup"),
        ("rhel-7", UnavailableError("nowhere; as root: mount -t cgroup -o x x /y"), "mount -t cgroup -o x x /y"),
        ("debian-12", CgroupError("whatever"), ""),
        ("debian-12", UnavailableError("whatever"), ""),
    ],
)
def test_the_command_that_mends(name: str, failure: CgroupError, mends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    command = remedies.command(failure, Host.read(str(HOSTS / name)))
    assert mends in command
    assert bool(mends) == bool(command)


def host_with(root: Path, name: str, file: str, text: str) -> Host:
    """Return a host that differs from one of HOSTS by one file."""
    shutil.copytree(HOSTS / name, root, dirs_exist_ok=True)
    (root / file).write_text(text)
    return Host.read(str(root))


def test_systemd_without_jeepney(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jeepney.io.blocking", None)
    with pytest.raises(UnavailableError) as missing:
        _systemd.start_scope("x.scope", [1], user=True, timeout=1, description="x")
    assert remedies.command(missing.value, Host.read(str(HOSTS / "debian-12"))) == "pip install 'pycgroup[systemd]'"


def test_a_controller_that_the_command_line_disables(tmp_path: Path) -> None:
    host = host_with(tmp_path, "raspberry-pi-6.12", "proc/cmdline", "quiet cgroup_disable=memory,rdma ro\n")
    with pytest.raises(UnavailableError) as missing:
        host.serving("rdma", "rdma")
    assert remedies.command(missing.value, host) == (
        "take cgroup_disable=rdma off the kernel's command line and reboot; on a Raspberry Pi add cgroup_enable=rdma"
    )


# Names that a shell takes apart where they are not quoted; systemd's own have the backslash.
ODD = r"app-foo\x2dbar; touch ran.scope"


def test_processes_that_are_in_the_way_are_moved(tmp_path: Path) -> None:
    """By the command itself, which a shell runs on plain files."""
    above = tmp_path / ODD
    above.mkdir()
    (above / "cgroup.type").write_text("domain\n")
    (above / "cgroup.procs").write_text("7\n8\n")
    (tmp_path / "cgroup.subtree_control").touch()
    tree = V2(str(tmp_path), "/", frozenset({"pids"}))
    with pytest.raises(GroupBusyError) as busy:
        tree.enable(f"{above}/group", "pids", f"{above}/group")
    command = remedies.command(busy.value, Host("/", (tree,), {}))
    for _ in range(2):
        subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert (above / "leaf/cgroup.procs").read_text() == "7\n8\n"
    assert {path.name for path in tmp_path.iterdir()} == {ODD, "cgroup.subtree_control"}


@pytest.mark.parametrize(
    ("kind", "files"), [(V1, "cgroup.procs tasks"), (V2, "cgroup.procs cgroup.threads cgroup.subtree_control")]
)
def test_a_group_is_given_by_hand_without_its_limits(kind: type[Hierarchy], files: str, tmp_path: Path) -> None:
    given = tmp_path / ODD / "NAME"
    given.mkdir(parents=True)
    for file in files.split():
        (given / file).touch()
    command = delegation.by_hand(kind(str(given.parent), "/", frozenset()))
    assert f" && chown {os.geteuid()} . {files} && " in command
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert (given / "cgroup.procs").read_text() == "PID\n"
    assert [path.name for path in tmp_path.iterdir()] == [ODD]


@pytest.mark.parametrize(("type_file", "mends"), [("cgroup.type", "# from outside"), ("other", "")])
def test_what_a_container_lacks_comes_from_outside(
    type_file: str, mends: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remedies, "_RUNS_SYSTEMD", "/nonexistent")
    host = host_with(tmp_path, "kubernetes-v2", f"sys/fs/cgroup/{type_file}", "domain\n")
    with pytest.raises(UnavailableError) as missing:
        host.serving("rdma", "rdma")
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert remedies.command(missing.value, host).partition(":")[0] == mends
    # What only this user lacks root can give.
    assert remedies.command(DENIED, host).startswith("mkdir -p ")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert remedies.command(DENIED, host).partition(":")[0] == mends


@pytest.mark.parametrize(
    ("user", "capabilities", "mends"),
    [
        (1000, 0x1FFFFFFFFFF, "mount -o remount,rw /"),
        (0, 0x1FFFFFFFFFF, "mount -o remount,rw /"),
        (0, 0xA80425FB, "docker run --privileged"),  # docker's own choice
        (1000, 0xA80425FB, "docker run --privileged"),
    ],
)
def test_root_in_a_container_cannot_remount(
    user: int, capabilities: int, mends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(remedies, "_bounds", lambda: capabilities)
    host = Host.read(str(HOSTS / "docker-v2"))
    assert remedies.command(error(PermissionDeniedError, errno.EROFS), host).startswith(mends)


def test_the_mount_is_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "_bounds", lambda: 0x1FFFFFFFFFF)
    host = Host("/", (V1("/mnt/control groups", "/", frozenset({"memory"})),), {})
    failure = error(PermissionDeniedError, errno.EROFS)
    assert remedies.command(failure, host) == "mount -o remount,rw '/mnt/control groups'"


def test_the_capabilities_are_those_that_the_kernel_shows() -> None:
    shown = subprocess.run(
        ["grep", "CapBnd", f"/proc/{os.getpid()}/status"], capture_output=True, text=True, check=True
    )
    assert f"{remedies._bounds():016x}" in shown.stdout


@pytest.mark.parametrize(
    ("base", "mends"),
    [
        ("", "--scope -p Delegate=yes"),
        ("/NAME", "--scope -p Delegate=yes"),
        ("/user.slice/user-0.slice/a.scope", "--scope -p Delegate=yes"),  # no scope can be edited
        ("/user.slice/user-9.slice/user@9.service/app.slice/a.scope", "systemctl edit user@.service  #"),
        ("/system.slice/a.service", "systemctl edit a.service  #"),
        ("/system.slice/a.service/leaf", "systemctl edit a.service  #"),
        (r"/system.slice/a\x2db.service", r"systemctl edit 'a\x2db.service'  #"),
    ],
)
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
