# SPDX-License-Identifier: MIT
"""The table of modes: what kernel, cgroup layout and user each is, and the capabilities that it must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.vm.roots import DEBIAN_12, DEBIAN_13, Release

CGROUP = "/sys/fs/cgroup"
V2_OPTIONS = "nsdelegate,memory_recursiveprot"  # systemd's


class Mount(NamedTuple):
    """What mount(8) takes; links are further names of the directory."""

    kind: str
    options: str
    directory: str
    links: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the mount as guest/init reads it."""
        return " ".join((self.kind, self.options, self.directory, *self.links))


def v1(hierarchies: str) -> tuple[Mount, ...]:
    """Return systemd's named hierarchy and one per word, with a link per controller where it has several."""
    mounts = [Mount("tmpfs", "mode=755", CGROUP), Mount("cgroup", "none,name=systemd", f"{CGROUP}/systemd")]
    for each in hierarchies.split():
        links = tuple(f"{CGROUP}/{controller}" for controller in each.split(",") if controller != each)
        mounts.append(Mount("cgroup", each, f"{CGROUP}/{each}", links))
    return tuple(mounts)


SEPARATE = v1("cpuset cpu cpuacct blkio memory devices freezer net_cls perf_event net_prio hugetlb pids rdma misc")
CO_MOUNTED = v1("cpuset cpu,cpuacct blkio memory devices freezer net_cls,net_prio perf_event hugetlb pids rdma misc")
UNIFIED = Mount("cgroup2", "nsdelegate", f"{CGROUP}/unified")

LAYOUTS: dict[str, tuple[Mount, ...]] = {
    "v1": SEPARATE,
    "v1-co-mounted": CO_MOUNTED,
    "hybrid": (*CO_MOUNTED, UNIFIED),
    # What is not named here (blkio as io, pids, cpuset, hugetlb, rdma, misc) is left to v2.
    "mixed": (*v1("cpu,cpuacct memory devices freezer net_cls,net_prio perf_event"), UNIFIED),
    "v2": (Mount("cgroup2", V2_OPTIONS, CGROUP),),
    "systemd": (),  # systemd is PID 1 and mounts v2 itself
}


@dataclass(frozen=True)
class Mode:
    """One row of the matrix; `enter` names the guest/enter-*.sh that takes the command to its place."""

    name: str
    release: Release
    layout: str
    enter: str
    requires: tuple[str, ...]


def controllers(version: int, names: str) -> tuple[str, ...]:
    """Return the capabilities (tests/support/capabilities.py) that stand for controllers on a cgroup version."""
    return tuple(f"{name}:v{version}" for name in names.split())


TOOLS = (
    "libcgroup",
    "cgget",
    "cgexec",
    "gcc",
    "strace",
    "mkfs.ext4",
    "mypy",
    "xdist",
    "jeepney",
    "anyio",
    "trio",
    "x86_64",
)
MACHINE = (*TOOLS, "two-cpus", "swap", "block-device", "psi", "kernel-threads")
CONTAINER = (*MACHINE, "root", "loop-device")
ROOT = (*CONTAINER, "true-root", "mount-namespace", "kernel-log", "group-attributes")
USER = (*MACHINE, "unprivileged", "true-root")
V1 = controllers(
    1, "memory cpu cpuacct cpuset blkio pids freezer devices hugetlb net_cls net_prio perf_event rdma misc"
)
V2 = ("cgroup-v2", "freezer-on-v2", *controllers(2, "memory cpu cpuacct cpuset blkio pids freezer hugetlb rdma misc"))
MIXED = (
    *controllers(1, "memory cpu cpuacct devices freezer net_cls net_prio perf_event"),
    *("cgroup-v2", *controllers(2, "cpuset blkio pids freezer hugetlb rdma misc")),
)
# systemd does not know the other controllers, and leaves to users what user@.service delegates.
SCOPE = ("cgroup-v2", "freezer-on-v2", "systemd")
SYSTEM_SCOPE = (*SCOPE, *controllers(2, "memory cpu cpuacct cpuset blkio pids freezer"))
USER_SCOPE = (*SCOPE, *controllers(2, "memory cpu cpuacct pids freezer"))

MODES = (
    Mode("v1", DEBIAN_12, "v1", "root", ROOT + V1),
    Mode("v1-co-mounted", DEBIAN_12, "v1-co-mounted", "root", ROOT + V1),
    Mode("hybrid", DEBIAN_12, "hybrid", "root", (*ROOT, *V1, "cgroup-v2")),
    Mode("mixed", DEBIAN_12, "mixed", "root", ROOT + MIXED),
    Mode("v2", DEBIAN_12, "v2", "root", ROOT + V2),
    Mode("v1-user", DEBIAN_12, "v1-co-mounted", "delegated", USER + V1),
    Mode("v2-user", DEBIAN_12, "v2", "delegated", USER + V2),
    Mode("v2-container", DEBIAN_12, "v2", "container", CONTAINER + V2),
    Mode("v2-debian13", DEBIAN_13, "v2", "root", ROOT + V2),
    Mode("systemd-root", DEBIAN_12, "systemd", "scope", ROOT + SYSTEM_SCOPE),
    Mode("systemd-user", DEBIAN_12, "systemd", "user-scope", USER + USER_SCOPE),
    Mode("systemd-user-debian13", DEBIAN_13, "systemd", "user-scope", USER + USER_SCOPE),
)


def chosen(names: list[str]) -> list[Mode]:
    """Return the modes of these names in the table's order; all for no name.

    Raises ValueError for a name that is not in the table.
    """
    known = [mode.name for mode in MODES]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no such mode: {', '.join(unknown)}; there are {', '.join(known)}")
    return [mode for mode in MODES if not names or mode.name in names]
