# SPDX-License-Identifier: MIT
"""Hosts of every kind, by their own files: tests/unit/hosts/NAME is a root directory, its README says what it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycgroup import Cgroup, UnavailableError, controllers, hosts
from pycgroup.hierarchy import V1, V2
from pycgroup.hosts import Host
from pycgroup.mountinfo import mounts

HOSTS = Path(__file__).parent / "hosts"
NAMES = sorted(path.name for path in HOSTS.iterdir())
DOCKER = "3744b337115d694043e4f6c03599c051ceaff5a5a4896f061489308a60ea6cfa"
A_USERS_APP = "/user.slice/user-1000.slice/user@1000.service/app.slice"
DEBIAN_12_SCOPE = f"{A_USERS_APP}/run-r6926feef0d414d66b251c4d9f7e080a2.scope/leaf"
UBUNTU_APP = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice"

CG = "/sys/fs/cgroup"
ROW = tuple[str, str, int, str, str | None]
# host, controller as v1 calls it, version, mount point, directory below it that the process is in (None: not shown)
WHERE: list[ROW] = [
    ("debian-12", "memory", 2, CG, DEBIAN_12_SCOPE),
    ("debian-12", "cpuacct", 2, CG, DEBIAN_12_SCOPE),
    ("debian-12", "blkio", 2, CG, DEBIAN_12_SCOPE),
    ("debian-13", "pids", 2, CG, f"{A_USERS_APP}/run-p216-i516.scope/leaf"),
    (
        "ubuntu-24.04",
        "cpu",
        2,
        CG,
        f"{UBUNTU_APP}/vte-spawn-6b2ac8a5-5f29-4d5e-8c92-5ab0e02c1d1f.scope",
    ),
    ("ubuntu-20.04", "memory", 1, f"{CG}/memory", "/system.slice/cron.service"),
    ("ubuntu-20.04", "cpuacct", 1, f"{CG}/cpu,cpuacct", "/system.slice/cron.service"),
    ("ubuntu-20.04", "net_prio", 1, f"{CG}/net_cls,net_prio", ""),
    ("fedora-42", "memory", 2, CG, "/user.slice/user-0.slice/session-1.scope"),
    ("fedora-42", "hugetlb", 2, CG, "/user.slice/user-0.slice/session-1.scope"),
    ("rhel-7", "cpu", 1, f"{CG}/cpu,cpuacct", ""),
    ("rhel-7", "cpuacct", 1, f"{CG}/cpu,cpuacct", ""),
    ("rhel-7", "net_cls", 1, f"{CG}/net_cls,net_prio", ""),
    ("rhel-7", "memory", 1, f"{CG}/memory", ""),
    ("rhel-8", "memory", 1, f"{CG}/memory", "/user.slice/user-1000.slice/session-3.scope"),
    ("rhel-8", "cpu", 1, f"{CG}/cpu,cpuacct", "/user.slice"),
    ("rhel-8", "rdma", 1, f"{CG}/rdma", ""),
    ("alpine-3.18", "cpu", 1, f"{CG}/cpu", ""),
    ("alpine-3.18", "cpuacct", 1, f"{CG}/cpuacct", ""),
    ("alpine-3.20", "memory", 2, CG, "/openrc.sshd"),
    ("debian-12-hybrid", "memory", 1, f"{CG}/memory", "/system.slice/vm.service"),
    ("debian-12-hybrid", "cpuacct", 1, f"{CG}/cpu,cpuacct", "/system.slice/vm.service"),
    ("debian-12-hybrid", "misc", 1, f"{CG}/misc", ""),
    ("debian-12-legacy", "pids", 1, f"{CG}/pids", "/system.slice/vm.service"),
    ("debian-12-legacy", "net_prio", 1, f"{CG}/net_cls,net_prio", ""),
    ("docker-v1", "memory", 1, f"{CG}/memory", ""),
    ("docker-v1", "cpuacct", 1, f"{CG}/cpu,cpuacct", ""),
    ("docker-v1", "misc", 1, f"{CG}/misc", ""),
    ("docker-v2", "memory", 2, CG, ""),
    ("docker-v2-host-namespace", "memory", 2, CG, f"/system.slice/docker-{DOCKER}.scope"),
    ("kubernetes-v1", "cpu", 1, f"{CG}/cpu,cpuacct", ""),
    ("kubernetes-v1", "pids", 1, f"{CG}/pids", ""),
    ("kubernetes-v2", "memory", 2, CG, ""),
    ("wsl2", "cpu", 1, f"{CG}/cpu", ""),
    ("wsl2", "net_prio", 1, f"{CG}/net_prio", ""),
    ("wsl2", "misc", 1, f"{CG}/misc", ""),
    ("wsl2-systemd", "memory", 2, CG, "/init.scope"),
    ("namespace", "memory", 2, CG, None),
    ("namespace-mounted", "memory", 2, CG, "/job"),
    ("covered", "pids", 2, CG, ""),
    ("covered", "cpu", 1, "/mnt/cpu", ""),
    ("twice", "memory", 1, f"{CG}/memory", "/inner"),
    ("blanks", "memory", 1, "/mnt/control groups/with\ttab", "/a group:with colon"),
    ("blanks", "pids", 2, "/mnt/back\\slash", "/x"),
    ("raspberry-pi", "pids", 2, CG, "/user.slice/user-1000.slice/session-1.scope"),
]
# host, controller, what is said of it
MISSING = [
    ("raspberry-pi", "memory", "take cgroup_disable=memory off it"),
    ("raspberry-pi-6.12", "memory", "cgroup_enable=memory"),
    ("hidden-proc", "net_cls", "not seen, without /proc/cgroups"),
    ("no-cgroups", "memory", "no cgroup hierarchy is mounted"),
    ("no-kernel-support", "memory", "no cgroup hierarchy is mounted"),
    ("debian-12", "net_cls", "mount -t cgroup -o net_cls"),
    ("debian-12", "devices", "mount -t cgroup -o devices"),
    ("fedora-42", "net_cls", "mount -t cgroup -o net_cls"),
    ("covered", "net_cls", "cgroup v1 only"),
    ("kubernetes-v2", "rdma", "not delegated to this cgroup"),
    ("namespace-mounted", "cpuset", "not delegated to this cgroup"),
    ("alpine-3.20", "rdma", "the kernel lacks it"),
    ("covered", "memory", "mount -t cgroup -o memory"),
    ("rhel-7", "rdma", "the kernel lacks it"),
]


def v2_name(controller: str) -> str | None:
    return next(each.V2 for each in controllers.ALL if controller == each.V1)


@pytest.mark.parametrize("row", WHERE, ids=lambda row: f"{row[0]}-{row[1]}")
def test_where_a_controller_and_the_process_are(row: ROW) -> None:
    name, controller, version, mount, inside = row
    root = str(HOSTS / name)
    host = Host.read(root)
    tree, _ = host.serving(controller, v2_name(controller))
    assert (tree.version, tree.path) == (version, root + mount)
    assert host.directories().get(tree) == (None if inside is None else root + mount + inside)


@pytest.mark.parametrize(("name", "controller", "said"), MISSING)
def test_what_is_said_of_a_controller_that_is_missing(name: str, controller: str, said: str) -> None:
    with pytest.raises(UnavailableError, match=said):
        Host.read(str(HOSTS / name)).serving(controller, v2_name(controller))


@pytest.mark.parametrize("name", NAMES)
def test_every_host_is_told_of(name: str) -> None:
    assert name in {row[0] for row in [*WHERE, *MISSING]}
    assert (HOSTS / name / "README").read_text().endswith(".\n")


@pytest.mark.parametrize("name", NAMES)
def test_no_option_of_a_mount_is_taken_for_a_controller(name: str) -> None:
    kernel = {each.V1 for each in controllers.ALL} | {each.V2 for each in controllers.ALL} | {"dmem"}
    for tree in Host.read(str(HOSTS / name)).hierarchies:
        assert {each for each in tree.controllers if not each.startswith("name=")} <= kernel


def links() -> Iterator[Path]:
    for name in NAMES:
        yield from (path for path in (HOSTS / name / "sys/fs/cgroup").glob("*") if path.is_symlink())


def test_links_are_no_hierarchies_of_their_own() -> None:
    """Systemd has `cpu` and `cpuacct` as links to `cpu,cpuacct`: one directory, one path."""
    assert len(list(links())) == 28
    for link in links():
        host = Host.read(str(link.parents[3]))
        assert str(link) not in {tree.path for tree in host.hierarchies}
        tree, _ = host.serving(link.name, v2_name(link.name))
        assert os.path.basename(tree.path) == os.readlink(link)


def test_an_initramfs_that_is_its_own_parent_hides_nothing() -> None:
    table = "1 1 0:2 / / rw - rootfs rootfs rw\n20 1 0:20 / /cg rw - cgroup2 none rw\n"
    assert [point for _, point, _, _ in mounts(table)] == ["/cg"]


def test_a_mount_on_top_of_two_others_is_reached() -> None:
    table = (
        "1 0 0:2 / / rw - rootfs rootfs rw\n20 1 0:20 / /cg rw - tmpfs none rw\n"
        "21 20 0:21 / /cg rw - cgroup none rw,memory\n22 21 0:22 / /cg rw - cgroup2 none rw\n"
    )
    assert [kind for kind, _, _, _ in mounts(table)] == ["cgroup2"]


def test_a_hierarchy_is_seen_by_a_controller_that_is_served_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What every v2 group counts is not asked there where a controller on v1 counts it."""
    trees = (
        V1(f"{tmp_path}/v1", "/", frozenset({"cpu", "cpuacct"})),
        V2(f"{tmp_path}/v2", "/", frozenset({"pids"})),
    )
    os.makedirs(f"{tmp_path}/v2/g")
    monkeypatch.setattr("pycgroup.hosts._here", Host("/", trees, {}))
    assert [view.path for view in Cgroup("/g").views()] == [f"{tmp_path}/v2/g"]


def test_a_mount_on_a_directory_above_covers_what_is_mounted_below() -> None:
    table = (
        "1 0 0:2 / / rw - rootfs rootfs rw\n20 1 0:20 / /sys rw - sysfs sysfs rw\n"
        "21 20 0:21 / /sys/fs/cgroup/memory rw - cgroup none rw,memory\n"
        "22 20 0:22 / /sys/fs/cgroup/mem rw - cgroup none rw,cpu\n"
    )
    assert [options for _, _, _, options in mounts(table)] == ["rw,memory", "rw,cpu"]
    assert list(mounts(table + "23 20 0:23 / /sys/fs rw - tmpfs none rw\n")) == []


def test_a_group_is_looked_up_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(HOSTS / "rhel-7")
    monkeypatch.setattr(hosts, "_here", Host.read(root))
    assert Cgroup.CPUACCT("/job").path == f"{root}{CG}/cpu,cpuacct/job"
    assert not Cgroup.CPUACCT("/job").exists()
