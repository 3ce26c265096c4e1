# SPDX-License-Identifier: MIT
"""Which version serves a controller, and where: hosts of every kind, told by the text of their files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from pycgroup import _kernfs, hierarchy
from pycgroup.errors import CgroupError, NoSuchProcessError, PermissionDeniedError, UnavailableError
from pycgroup.hosts import Host
from pycgroup.mountinfo import memberships, mounts


class Files(NamedTuple):
    """The files of a host that say where its cgroups are."""

    mountinfo: str
    cgroups: str = ""
    self_cgroup: str = "0::/"
    v2: str = ""  # mount point of v2
    controllers: str = ""


ROWS = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n" + "".join(
    f"{name}\t{number}\t1\t1\n" for number, name in enumerate(("cpuset", "cpu", "cpuacct", "memory", "pids", "net_cls"))
)
DISK = "23 1 254:0 / / rw,relatime - ext4 /dev/root rw\n24 23 0:22 / /proc rw - proc proc rw\n"

SEPARATE_V1 = Files(
    DISK
    + "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    + "34 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n",
    ROWS,
    "2:memory:/a/b\n1:cpu:/\n",
)
# As systemd mounts v1: co-mounted controllers in one tree, a named one, and an empty v2 beside them.
HYBRID = Files(
    DISK
    + "27 26 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    + "28 26 0:25 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd\n"
    + "30 26 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:13 - cgroup cgroup rw,cpu,cpuacct\n"
    + "31 26 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:14 - cgroup cgroup rw,memory\n",
    ROWS,
    "3:cpu,cpuacct:/x\n2:memory:/y\n1:name=systemd:/z\n0::/u\n",
    "/sys/fs/cgroup/unified",
)
MIXED = HYBRID._replace(controllers="pids io")
UNIFIED = Files(
    DISK + "26 22 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
    ROWS,
    "0::/user.slice/user-1000.slice/session-1.scope\n",
    "/sys/fs/cgroup",
    "cpuset cpu io memory hugetlb pids rdma misc",
)
# A container whose runtime bind-mounts its own part of v1 trees, read-only and with blanks in the path.
CONTAINER_V1 = Files(
    DISK + "34 31 0:31 /docker/0a1b /sys/fs/my\\040cgroup/memory ro,relatime - cgroup cgroup rw,memory\n",
    ROWS,
    "2:memory:/docker/0a1b/inner\n",
)
NAMESPACE_V2 = UNIFIED._replace(self_cgroup="0::/\n", controllers="memory pids")
NOTHING = Files(DISK, ROWS)
NO_PROC = Files("")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def host_of(root: Path, files: Files) -> Host:
    """Lay out a host's files below a root of their own and read it."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(files.mountinfo)
    (root / "proc/self/cgroup").write_text(files.self_cgroup)
    (root / "proc/cgroups").write_text(files.cgroups)
    if files.v2:
        (root / files.v2.lstrip("/")).mkdir(parents=True)
        (root / files.v2.lstrip("/") / "cgroup.controllers").write_text(files.controllers + "\n")
    return Host.read(str(root))


@pytest.mark.parametrize(
    ("files", "v1", "v2", "version", "mount"),
    [
        (SEPARATE_V1, "memory", "memory", 1, "/sys/fs/cgroup/memory"),
        (SEPARATE_V1, "cpu", "cpu", 1, "/sys/fs/cgroup/cpu"),
        (HYBRID, "cpuacct", "cpu", 1, "/sys/fs/cgroup/cpu,cpuacct"),
        (HYBRID, "cpu", "cpu", 1, "/sys/fs/cgroup/cpu,cpuacct"),
        (HYBRID, "memory", "memory", 1, "/sys/fs/cgroup/memory"),
        (MIXED, "memory", "memory", 1, "/sys/fs/cgroup/memory"),
        (MIXED, "pids", "pids", 2, "/sys/fs/cgroup/unified"),
        (MIXED, "blkio", "io", 2, "/sys/fs/cgroup/unified"),
        (UNIFIED, "blkio", "io", 2, "/sys/fs/cgroup"),
        (UNIFIED, "cpuacct", "cpu", 2, "/sys/fs/cgroup"),
        (CONTAINER_V1, "memory", "memory", 1, "/sys/fs/my cgroup/memory"),
        (NAMESPACE_V2, "memory", "memory", 2, "/sys/fs/cgroup"),
    ],
)
def test_where_a_controller_is(  # noqa: PLR0917  # a column of the table each
    root: Path, files: Files, v1: str, v2: str, version: int, mount: str
) -> None:
    tree, name = host_of(root, files).serving(v1, v2)
    assert (tree.version, tree.path) == (version, f"{root}{mount}")
    assert name == (v1 if version == 1 else v2)


@pytest.mark.parametrize(
    ("files", "v1", "v2", "said"),
    [
        (NOTHING, "memory", "memory", "no cgroup hierarchy is mounted"),
        (NO_PROC, "memory", "memory", "no cgroup hierarchy is mounted"),
        (SEPARATE_V1, "pids", "pids", "mount -t cgroup -o pids"),
        (HYBRID, "pids", "pids", "mounted nowhere"),
        (UNIFIED, "net_cls", None, "net_cls"),
        (NAMESPACE_V2, "cpu", "cpu", "cpu"),
        (SEPARATE_V1, "rdma", "rdma", "no controller rdma"),
        (SEPARATE_V1, "net_prio", None, "cgroup v1 only"),
    ],
)
def test_where_a_controller_is_missing(root: Path, files: Files, v1: str, v2: str | None, said: str) -> None:
    with pytest.raises(UnavailableError, match=said):
        host_of(root, files).serving(v1, v2)


@pytest.mark.parametrize(
    ("files", "v1", "v2", "directory"),
    [
        (SEPARATE_V1, "memory", "memory", "/sys/fs/cgroup/memory/a/b"),
        (SEPARATE_V1, "cpu", "cpu", "/sys/fs/cgroup/cpu"),
        (HYBRID, "cpuacct", "cpu", "/sys/fs/cgroup/cpu,cpuacct/x"),
        (MIXED, "pids", "pids", "/sys/fs/cgroup/unified/u"),
        (UNIFIED, "memory", "memory", "/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope"),
        (CONTAINER_V1, "memory", "memory", "/sys/fs/my cgroup/memory/inner"),
        (NAMESPACE_V2, "memory", "memory", "/sys/fs/cgroup"),
    ],
)
def test_where_a_process_is(root: Path, files: Files, v1: str, v2: str, directory: str) -> None:
    host = host_of(root, files)
    tree, _ = host.serving(v1, v2)
    assert os.path.normpath(host.directories()[tree]) == f"{root}{directory}"


@pytest.mark.parametrize("path", ["/docker/other", "/docker/0a1bc", "/", "/../x"])
def test_a_process_outside_of_what_is_mounted_is_nowhere(root: Path, path: str) -> None:
    host = host_of(root, CONTAINER_V1._replace(self_cgroup=f"2:memory:{path}\n"))
    assert host.directories() == {}


def test_a_process_outside_of_the_namespace_is_nowhere(root: Path) -> None:
    assert host_of(root, NAMESPACE_V2._replace(self_cgroup="0::/../../system.slice\n")).directories() == {}


def test_no_such_process(root: Path) -> None:
    with pytest.raises(NoSuchProcessError, match="no process 77"):
        host_of(root, UNIFIED).directories(77)


def test_a_tree_mounted_twice_counts_once(root: Path) -> None:
    again = SEPARATE_V1.mountinfo + "35 31 0:31 / /elsewhere rw,relatime - cgroup cgroup rw,memory\n"
    host = host_of(root, SEPARATE_V1._replace(mountinfo=again))
    assert len(host.hierarchies) == 2
    assert host.serving("memory", None)[0].path == f"{root}/sys/fs/cgroup/memory"


def test_a_controller_without_files_is_on_v2_wherever_v2_is(root: Path) -> None:
    tree, name = host_of(root, HYBRID).serving(None, hierarchy.CORE)
    assert (tree.version, name) == (2, hierarchy.CORE)


def test_parsers_take_text() -> None:
    assert list(mounts(CONTAINER_V1.mountinfo)) == [("cgroup", "/sys/fs/my cgroup/memory", "/docker/0a1b", "rw,memory")]
    assert memberships(HYBRID.self_cgroup) == {
        "cpu": "/x",
        "cpuacct": "/x",
        "memory": "/y",
        "name=systemd": "/z",
        "": "/u",
    }
    assert memberships("2:memory:/with:colon") == {"memory": "/with:colon"}
    assert list(mounts("")) == []
    assert memberships("") == {}


@pytest.mark.parametrize("name", ["form\ffeed", "\u2028", "\x85", "\x1c", "carriage\rreturn"])
def test_only_a_line_feed_ends_a_line(name: str) -> None:
    line = f"30 23 0:26 /{name} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,memory\n"
    assert list(mounts(line)) == [("cgroup", f"/sys/fs/cgroup/{name}", f"/{name}", "rw,memory")]
    assert memberships(f"2:memory:/{name}\n0::/u\n") == {"memory": f"/{name}", "": "/u"}


@pytest.mark.parametrize(("group", "directory"), [("/", "/m"), ("/a", "/m/a"), ("/a/b", "/m/a/b")])
def test_directories_of_groups(group: str, directory: str) -> None:
    assert hierarchy.V1("/m", "/", frozenset({"memory"})).directory(group) == directory


LOGGED = [("/", True, "/g"), ("/", False, None), ("/docker/1", False, "/docker/1/g"), ("/../..", False, None)]


@pytest.mark.parametrize(("root_group", "whole", "name"), LOGGED)
def test_what_the_kernel_log_calls_a_group(tmp_path: Path, root_group: str, whole: bool, name: str | None) -> None:
    v1, v2 = tmp_path / "v1", tmp_path / "v2"
    for mount in (v1, v2):
        mount.mkdir()
    (v1 / ("release_agent" if whole else "notify_on_release")).touch()  # the former is in the root of all alone
    (v2 / ("cgroup.procs" if whole else "cgroup.type")).touch()  # the latter everywhere but there
    for kind, mount in ((hierarchy.V1, v1), (hierarchy.V2, v2)):
        tree = kind(str(mount), root_group, frozenset({"memory"}))
        assert tree.logged(f"{mount}/g") == name


def test_a_mount_table_of_any_length_is_read_to_its_end(root: Path) -> None:
    many = "".join(f"{100 + i} 23 0:{i} / /mnt/{i} rw - tmpfs none rw\n" for i in range(1000))
    host = host_of(root, SEPARATE_V1._replace(mountinfo=many + SEPARATE_V1.mountinfo))
    assert host.serving("memory", None)[0].version == 1


# v2 on plain files: what is written to enable a controller along the path


@pytest.fixture
def unified(root: Path) -> hierarchy.V2:
    for group, offered in {".": "memory pids", "a": "pids", "a/b": "", "a/b/c": ""}.items():
        (root / group).mkdir(exist_ok=True)
        (root / group / "cgroup.controllers").write_text(offered + "\n")
        (root / group / "cgroup.subtree_control").write_text("pids\n" if group == "." else "\n")
        (root / group / "cgroup.procs").write_text("")
    return hierarchy.V2(str(root), "/", frozenset({"memory", "pids"}))


def test_a_group_offers_what_its_parent_enables(unified: hierarchy.V2, root: Path) -> None:
    assert unified.offers(f"{root}/a", "pids")
    assert not unified.offers(f"{root}/a", "memory")
    assert unified.offers(f"{root}/a", hierarchy.CORE)
    assert not unified.offers(f"{root}/none", "pids")
    assert not unified.offers(f"{root}/none", hierarchy.CORE)


def test_a_controller_is_enabled_along_the_path(unified: hierarchy.V2, root: Path) -> None:
    unified.enable(f"{root}/a/b/c", "memory", "")
    written = {
        group: (root / group / "cgroup.subtree_control").read_text().strip() for group in (".", "a", "a/b", "a/b/c")
    }
    assert written == {".": "+memory", "a": "+memory", "a/b": "+memory", "a/b/c": ""}


def test_a_controller_that_is_listed_is_asked_for_once_more_right_above(unified: hierarchy.V2, root: Path) -> None:
    # Another thread may still be enabling it: the kernel answers when that is done.
    (root / "a/b/cgroup.controllers").write_text("pids\n")
    unified.enable(f"{root}/a/b", "pids", "")
    assert (root / "cgroup.subtree_control").read_text() == "pids\n"
    assert (root / "a/cgroup.subtree_control").read_text() == "+pids"


@pytest.mark.parametrize("controller", [hierarchy.CORE, "perf_event"])
def test_what_every_group_has_is_not_enabled(unified: hierarchy.V2, root: Path, controller: str) -> None:
    unified.enable(f"{root}/a", controller, "")
    assert (root / "cgroup.subtree_control").read_text() == "pids\n"


def test_what_is_enabled_where_this_user_cannot_write(unified: hierarchy.V2, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, _text: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(_kernfs, "write", refuse)
    unified.enable(f"{unified.path}/a", "pids", "")
    with pytest.raises(PermissionDeniedError, match="cannot enable memory for the children of"):
        unified.enable(f"{unified.path}/a", "memory", "")


def test_a_path_that_cannot_be_enabled(unified: hierarchy.V2, root: Path) -> None:
    (root / "a/cgroup.subtree_control").unlink()
    with pytest.raises(CgroupError, match=r"cannot enable memory for the children of .*/a"):
        unified.enable(f"{root}/a/b", "memory", "")


def test_a_hierarchy_shows_itself() -> None:
    assert repr(hierarchy.V1("/m", "/", frozenset({"cpu", "cpuacct"}))) == "<V1 /m cpu,cpuacct>"
