# SPDX-License-Identifier: MIT
"""Obtaining a subtree, on a host of plain files: what is asked of systemd when, and what is made of its answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    PermissionDeniedError,
    UnavailableError,
    _kernfs,
    _systemd,
    delegation,
    hosts,
    subtrees,
)
from pycgroup.hosts import Host

SESSION = "/user.slice/session-1.scope"
TABLE = "30 1 0:29 / /cg rw - cgroup2 cgroup2 rw\n"
V1_TABLE = "30 1 0:29 / /cg rw - cgroup cgroup rw,memory\n"


class Files:
    """A host with one hierarchy, and a systemd that moves the process to where it is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[tuple[list[int], bool]] = []
        self.moves_to = "/user.slice/{}"
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/77").mkdir()
        self.mount(TABLE)
        self.group("/")
        self.move("/")

    def mount(self, table: str) -> None:
        (self.root / "proc/self/mountinfo").write_text(table)

    def group(self, name: str) -> str:
        directory = self.root / "cg" / name.strip("/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").touch()
        (directory / "cgroup.controllers").write_text("memory pids\n")
        return str(directory)

    def move(self, name: str, pid: str = "self") -> None:
        controller = "" if "cgroup2" in (self.root / "proc/self/mountinfo").read_text() else "memory"
        (self.root / f"proc/{pid}/cgroup").write_text(f"0:{controller}:{name}\n")

    def host(self, *, again: bool = False) -> Host:
        if again:
            hosts._here = Host.read(str(self.root))
        assert hosts._here is not None
        return hosts._here

    def start_scope(self, unit: str, pids: list[int], *, user: bool, timeout: float, description: str) -> None:
        assert timeout
        assert description
        self.asked.append((pids, user))
        name = self.moves_to.format(unit)
        self.group(f"{name}/leaf")
        self.group(name)
        self.move(name, "77" if pids == [77] else "self")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    made = Files(tmp_path)
    monkeypatch.setattr(hosts, "_here", Host.read(str(tmp_path)))
    monkeypatch.setattr(delegation, "here", made.host)
    monkeypatch.setattr(_systemd, "start_scope", made.start_scope)
    monkeypatch.setattr(subtrees, "granted", set())
    for module in (delegation, subtrees):
        monkeypatch.setattr(module, "_RUNS_SYSTEMD", str(tmp_path))
    return made


def without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delegation, subtrees):
        monkeypatch.setattr(module, "_RUNS_SYSTEMD", "/nonexistent")


def denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this user nothing to write, root or not."""
    monkeypatch.setattr(os, "access", lambda *_: False)


def test_a_scope_where_there_is_none(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files.group(SESSION)
    files.move(SESSION)
    given = Cgroup.delegated()
    assert files.asked == [([os.getpid()], True)]
    assert given.unit is not None
    assert given.path == f"/user.slice/{given.unit}"
    assert given.controllers == ("memory", "pids")
    assert (Path(given.directory) / "leaf/cgroup.procs").read_text() == "0"
    assert given.unit in repr(given)
    assert Cgroup.MEMORY("some").path == f"{given.directory}/some"


def test_what_was_obtained_is_not_asked_for_again(files: Files) -> None:
    files.group(SESSION)
    files.move(SESSION)
    first = Cgroup.delegated(leaf=False)
    second = Cgroup.delegated(leaf=False)
    assert len(files.asked) == 1
    assert (second.path, second.unit) == (first.path, None)


def test_a_scope_for_another_process(files: Files) -> None:
    files.move("/", "77")
    files.group(SESSION)
    files.move(SESSION, "77")
    given = delegation.delegated(77)
    assert files.asked[0][0] == [77]
    assert (Path(given.directory) / "leaf/cgroup.procs").read_text() == "77"


def test_a_container_has_its_own_root(files: Files) -> None:
    files.group("/leaf")
    given = delegation.delegated()
    assert (given.path, given.unit, files.asked) == ("/", None, [])
    assert (files.root / "cg/leaf/cgroup.procs").read_text() == "0"
    assert repr(given) == "<Delegated / controllers=memory,pids>"


def test_no_systemd_minds_the_root(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    without_systemd(monkeypatch)
    files.group("/openrc.sshd")
    files.move("/openrc.sshd")
    assert delegation.delegated().path == "/"


@pytest.mark.usefixtures("files")
def test_neither_systemd_nor_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    without_systemd(monkeypatch)
    denied(monkeypatch)
    with pytest.raises(UnavailableError, match=r"no systemd to ask; as root: mkdir .*/cg/NAME"):
        delegation.delegated()


def test_v1_is_not_delegated(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.mount(V1_TABLE)
    files.move("/")
    denied(monkeypatch)
    with pytest.raises(UnavailableError, match="nobody delegates groups of cgroup v1"):
        delegation.delegated()


def test_v1s_root_is_roots(files: Files) -> None:
    files.mount(V1_TABLE)
    files.move("/")
    (files.root / "cg/cgroup.controllers").unlink()
    assert delegation.delegated().controllers == ("memory",)


def test_what_root_gave_on_v1_counts_beside_a_systemd(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on RHEL 8 and Ubuntu 20.04: no systemd delegates a part of v1."""
    files.mount(V1_TABLE)
    given = files.group("/NAME")
    files.group("/NAME/job")
    for pid in ("self", "77"):
        files.move("/NAME/job", pid)
    monkeypatch.setattr(os, "access", lambda path, _: str(path).startswith(given))
    assert Cgroup.delegated().directory == given
    assert Cgroup.delegated(77).directory == given
    assert Cgroup.MEMORY("some").path == f"{given}/some"
    assert files.asked == []


def test_no_hierarchy(files: Files) -> None:
    files.mount("")
    with pytest.raises(UnavailableError, match="no cgroup hierarchy is mounted"):
        delegation.delegated()


def test_a_v2_without_controllers_counts(files: Files) -> None:
    (files.root / "cg/cgroup.controllers").write_text("\n")
    assert delegation.delegated(leaf=False).path == "/"


def test_a_scope_that_is_not_mounted_here(files: Files) -> None:
    files.group(SESSION)
    files.move(SESSION)
    files.moves_to = "/../{}"
    with pytest.raises(CgroupError, match="not mounted here"):
        delegation.delegated()


@pytest.mark.usefixtures("files")
def test_a_leaf_that_cannot_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, text: str) -> None:
        raise PermissionError(13, path, text)

    monkeypatch.setattr(_kernfs, "write", refuse)
    with pytest.raises(PermissionDeniedError, match=r"cannot put the process into .*/leaf"):
        delegation.delegated()


def test_refusals_are_passed_on(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.group(SESSION)
    files.move(SESSION)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionDeniedError("systemd refused it")

    monkeypatch.setattr(_systemd, "start_scope", refuse)
    with pytest.raises(PermissionDeniedError, match="systemd refused it"):
        delegation.delegated()
