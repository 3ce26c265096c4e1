# SPDX-License-Identifier: MIT
"""The subtree that is delegated to a process: what relative names are below, and how to obtain one from systemd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycgroup import Cgroup, UnavailableError, _systemd, delegation, hosts, subtrees
from tests.support import examples, machine, oracle, processes
from tests.support.capabilities import needs

Unique = Callable[..., str]
USER = [] if os.geteuid() == 0 else ["--user"]
# As a program that is started from a login is: in a scope that is not delegated.
SCOPE = ["systemd-run", *USER, "--scope", "--quiet"]
# As a container is: a cgroup namespace with a mount of its own.
CONTAINER = """
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
mkdir "$mount/$1" && echo 0 > "$mount/$1/cgroup.procs" || exit 97
shift
exec unshare --cgroup --mount --propagation private sh -c '
    umount -a -l -t cgroup,cgroup2 && mount -t cgroup2 none "$0" && exec "$@"' "$mount" "$@"
"""

LOOK = """
import json, os
from pycgroup import Cgroup, hosts
tree, _ = hosts.here().serving("memory", "memory")
print(json.dumps([hosts.base(tree), Cgroup.MEMORY("some").path, Cgroup.MEMORY("/some").path, tree.path]))
"""
OBTAIN = """
import json, os
from pycgroup import Cgroup, hosts
before = open("/proc/self/cgroup").read().rpartition(":")[2].strip()
given = Cgroup.delegated()
again = Cgroup.delegated()
with Cgroup.PIDS("some", max=7) as pids:
    inside = open(given.directory + "/some/pids.max").read().strip()
    where = pids.path
after = open("/proc/self/cgroup").read().rpartition(":")[2].strip()
print(json.dumps({
    "before": before, "after": after, "path": given.path, "unit": given.unit, "again": [again.path, again.unit],
    "controllers": given.controllers, "inside": inside, "where": where, "directory": given.directory,
    "left": os.path.exists(where), "shown": repr(given),
}))
"""


def python(code: str, *prefix: str) -> Any:
    """Run code in a Python of its own; return what it prints as JSON."""
    command = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(command, env=examples.environment(), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answers(code: str, *prefix: str) -> str:
    """Run code that ends with an exception; return its last line."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env=examples.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


# names


@needs("memory")
def test_absolute_names_are_below_the_mount() -> None:
    mounted = machine.hierarchy_of("memory")
    assert mounted is not None
    assert Cgroup.MEMORY("/some/group").path == f"{mounted.mount}/some/group"


@needs("memory")
@needs("root")
def test_relative_names_of_root_are_below_the_mount_where_nothing_is_delegated() -> None:
    below, relative, absolute, _ = python(LOOK)
    if not below:
        assert relative == absolute


@needs("memory")
def test_a_relative_name_shows_where_it_is_once_that_is_known() -> None:
    group = Cgroup.MEMORY("some/group")
    assert group.path.endswith("/some/group")
    assert repr(group).startswith(f"<Cgroup.MEMORY '{group._path}' ")
    assert group.group_name == "some/group"
    assert group._place.hierarchy.path + group._path == group.path


# subtrees, by directories of a user's


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Make directories as a hierarchy has them: /a/b/c, each with the file that takes processes."""
    for directory in (tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").touch()
    return tmp_path


def found(
    mount: Path, own: str, monkeypatch: pytest.MonkeyPatch, *, writable: str = "", systemd: bool = False
) -> str | None:
    """Return what is delegated, as a path below the mount; `writable` are the names of directories that are."""
    monkeypatch.setattr(subtrees, "_RUNS_SYSTEMD", str(mount) if systemd else "/nonexistent")
    monkeypatch.setattr(subtrees, "_writable", lambda group: Path(group).name in (writable or mount.name).split())
    directory = subtrees.delegated(str(mount), f"{mount}{own}", delegable=True)
    return directory and directory.removeprefix(str(mount))


def mark(directory: Path) -> None:
    os.setxattr(directory, "user.delegate", b"1")


def test_the_root_has_nothing_delegated(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(mount, "", monkeypatch) is None
    assert found(mount, "/a/b/c", monkeypatch) is None
    assert subtrees.delegated(str(mount), None, delegable=True) is None


def test_the_topmost_that_the_user_can_write(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(mount, "/a/b/c", monkeypatch, writable="b c") == "/a/b"
    assert found(mount, "/a/b/c", monkeypatch, writable="none") is None


def test_systemd_does_not_delegate_what_it_only_gives_away(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(mount, "/a/b/c", monkeypatch, writable="b c", systemd=True) is None


@needs("user-attributes")
def test_the_nearest_that_systemd_marked(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(mount / "a")
    mark(mount / "a/b")
    assert found(mount, "/a/b/c", monkeypatch, writable="a b c", systemd=True) == "/a/b"
    assert found(mount, "/a/b/c", monkeypatch, writable="a c", systemd=True) == "/a"


@needs("user-attributes")
def test_what_is_delegated_to_a_users_systemd_is_not_ours(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(mount / "a")
    (mount / "a/init.scope").mkdir()
    assert found(mount, "/a/b/c", monkeypatch, writable="a b c", systemd=True) is None


USERS = "/user@1000.service/app.slice"


@pytest.mark.parametrize(
    ("own", "says", "expected"),
    [
        ("x.scope", True, "x.scope"),
        ("x.scope", False, None),
        ("x.scope/leaf", False, "x.scope"),  # somebody has made a group in it already
        ("x.service/a/b", False, "x.service"),
        ("", True, None),  # the manager's own
    ],
)
def test_a_unit_of_a_users_systemd_is_ours_where_it_says_so(
    mount: Path, monkeypatch: pytest.MonkeyPatch, own: str, says: bool, expected: str | None
) -> None:
    (mount / "user@1000.service/init.scope").mkdir(parents=True)
    asked = []

    def delegates(unit: str) -> bool:
        asked.append(unit)
        return says

    monkeypatch.setattr(_systemd, "delegates", delegates)
    ours = "user@1000.service app.slice x.scope x.service a b leaf"
    path = found(mount, f"{USERS}/{own}".rstrip("/"), monkeypatch, writable=ours, systemd=True)
    assert path == (expected and f"{USERS}/{expected}")
    assert asked == (["x.scope"] if own == "x.scope" else [])


def test_what_has_been_obtained_counts_without_a_mark(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subtrees, "granted", {f"{mount}/a/b"})
    assert found(mount, "/a/b/c", monkeypatch, writable="a b c", systemd=True) == "/a/b"


# obtaining


@needs("systemd")
@needs("jeepney")
@needs("pids", version=2)
def test_a_scope_from_systemd() -> None:
    said = python(OBTAIN, *SCOPE)
    assert said["unit"].startswith("pycgroup-")
    assert said["path"] != said["before"]
    assert said["path"].endswith(f"/{said['unit']}")
    assert said["after"] == f"{said['path']}/leaf"
    assert said["again"] == [said["path"], None]
    assert (said["inside"], said["left"]) == ("7", False)
    assert said["where"] == f"{said['directory']}/some"
    assert "pids" in said["controllers"]
    assert said["unit"] in said["shown"]


@needs("systemd")
@needs("jeepney")
@needs("pids", version=2)
def test_a_delegated_scope_is_taken_as_it_is() -> None:
    said = python(OBTAIN, *SCOPE, "-p", "Delegate=yes")
    assert said["unit"] is None
    assert said["path"] == said["before"]
    assert said["after"] == f"{said['before']}/leaf"
    assert said["inside"] == "7"


OTHER = """
import json, subprocess
from pycgroup import Cgroup
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
    own = open("/proc/self/cgroup").read()
    given = Cgroup.delegated(child.pid, leaf=False)
    there = open(f"/proc/{child.pid}/cgroup").read().rpartition(":")[2].strip()
    print(json.dumps([given.path, given.unit, there, own == open("/proc/self/cgroup").read()]))
    child.stdin.close()
"""


@needs("systemd")
@needs("jeepney")
@needs("pids", version=2)
def test_a_scope_for_another_process() -> None:
    path, unit, there, stayed = python(OTHER, *SCOPE)
    assert path == there
    assert path.endswith(unit)
    assert stayed


@needs("systemd")
@needs("unprivileged")
@needs("jeepney")
def test_no_bus_says_what_to_do() -> None:
    code = "from pycgroup import Cgroup; Cgroup.delegated()"
    said = answers(code, *SCOPE, "env", "-u", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR=/nonexistent")
    assert "UnavailableError: the user's systemd cannot be reached" in said
    assert "loginctl enable-linger" in said


@needs("root")
@needs("memory", version=1)
def test_v1_is_delegated_by_root_alone() -> None:
    def ask() -> str:
        with pytest.raises(UnavailableError) as refused:
            delegation.delegated()
        return str(refused.value)

    said = processes.forked(ask, processes.NOBODY)
    assert "nobody delegates groups of cgroup v1 but root by hand" in said
    assert f"chown {processes.NOBODY} . cgroup.procs tasks && " in said


@needs("root")
@needs("memory", version=1)
def test_the_root_of_v1_is_there_for_root() -> None:
    given = Cgroup.delegated()
    mounted = machine.hierarchy_of("memory", 1)
    assert mounted is not None
    assert (given.path, given.directory, given.unit) == ("/", mounted.mount, None)


INSIDE = """
import json, os
from pycgroup import Cgroup
given = Cgroup.delegated()
after = open("/proc/self/cgroup").read().splitlines()[-1]
with Cgroup.FREEZER("some") as group:
    print(json.dumps([given.path, given.unit, after, group.path, given.directory]))
Cgroup.FREEZER("/").attach()
os.rmdir(given.directory + "/leaf")
"""


@needs("root")
@needs("freezer", version=2)
def test_a_container_moves_itself_into_a_leaf(unique: Unique) -> None:
    name = unique("pids").rpartition("/")[2]
    mounted = machine.hierarchy_of("freezer", 2)
    assert mounted is not None
    path, unit, after, some, directory = python(INSIDE, "sh", "-c", CONTAINER, "sh", name)
    assert (path, unit, after) == ("/", None, "0::/leaf")
    assert some == f"{directory}/some"
    os.rmdir(mounted.directory(name))


@needs("unprivileged")
@needs("pids")
def test_a_user_works_in_what_was_delegated() -> None:
    below, relative, _, mount = python(LOOK)
    assert below
    assert relative == f"{mount}{below}/some"
    with Cgroup.PIDS("pycgroup-relative", max=9) as pids:
        assert machine.read(f"{pids.path}/pids.max") == "9\n"
    assert not os.path.exists(pids.path)
    assert oracle.group_of("pids").startswith(f"{below}/")


@needs("root")
@needs("freezer", version=2)
def test_a_user_to_whom_root_gave_a_group_of_v2(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere on v2, also on a hybrid host, where pycgroup is shown the v2 hierarchy alone."""
    mounted = machine.hierarchy_of("freezer", 2)
    assert mounted is not None
    given = mounted.directory(f"{machine.base(mounted)}/{unique('freezer').rpartition('/')[2]}")
    os.makedirs(f"{given}/leaf")
    for path in (given, f"{given}/leaf"):
        for file in (path, f"{path}/cgroup.procs", f"{path}/cgroup.subtree_control"):
            os.chown(file, processes.NOBODY, processes.NOBODY)
    monkeypatch.setattr(subtrees, "_RUNS_SYSTEMD", "/nonexistent")

    def as_root() -> Any:
        with open(f"{given}/leaf/cgroup.procs", "w") as file:
            file.write("0")
        return processes.forked(as_user, processes.NOBODY)

    def as_user() -> Any:
        host = hosts.Host.read()
        hosts._here = hosts.Host("/", tuple(tree for tree in host.hierarchies if tree.delegable), {})
        group = Cgroup.FREEZER("some")
        with group, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
            group.attach(child.pid)
            group.freeze()
            frozen = machine.read(f"{group.path}/cgroup.events")
            group.thaw()
            group.kill()
            return group.path, frozen, child.wait(10), os.path.exists(f"{given}/some")

    path, frozen, ended, there = processes.forked(as_root)
    assert path == f"{given}/some"
    assert "frozen 1" in frozen
    assert (ended, there) == (-signal.SIGKILL, True)
    assert not os.path.exists(path)
