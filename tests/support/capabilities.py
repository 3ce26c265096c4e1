# SPDX-License-Identifier: MIT
"""What a test may need of its machine. Each capability has a name and a probe that does not use pycgroup.

`@needs("memory", version=1)` skips a test where the probe says what is missing; `--require=memory:v1` makes that skip a
failure. Names:

- a controller ("memory": on either version; "memory:v1": on that one), which means that a group can be made;
- a control file ("memory.kmem.slabinfo"): a fresh group has it;
- what stands below under `@capability`.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.support import machine, processes

Probe = Callable[[], str | None]
_PROBES: dict[str, Probe] = {}


def capability(name: str) -> Callable[[Probe], Probe]:
    """Declare a capability; its probe returns None where it is there, else what is missing."""

    def declare(probe: Probe) -> Probe:
        _PROBES[name] = functools.cache(probe)
        return probe

    return declare


def needs(name: str, version: int | None = None) -> pytest.MarkDecorator:
    """Mark a test that needs a capability; `version` picks the cgroup version of a controller."""
    return pytest.mark.needs(_full_name(name, version))


def _full_name(name: str, version: int | None) -> str:
    full = name if version is None else f"{name}:v{version}"
    if not known(full):
        raise ValueError(f"unknown capability {full!r}; known: {', '.join(names())}")
    return full


def names() -> list[str]:
    """Return every capability with a name of its own, without the control files."""
    versions = [f"{controller}{suffix}" for controller in machine.V2_NAMES for suffix in ("", ":v1", ":v2")]
    return sorted([*versions, *_PROBES])


def known(name: str) -> bool:
    """Tell whether there is such a capability."""
    return name in _PROBES or _controller(name) is not None or _control_file(name) is not None


def missing(name: str) -> str | None:
    """Return None where this machine has the capability, else what is missing and why."""
    if name in _PROBES:
        return _PROBES[name]()
    if parts := _controller(name):
        return _missing_controller(*parts)
    if parts := _control_file(name):
        return _missing_file(name, *parts)
    raise ValueError(f"unknown capability {name!r}")


def implied_by(name: str, required: set[str]) -> bool:
    """Tell whether a machine that has all of `required` must have `name`."""
    return bool({name, f"{name}:v1", f"{name}:v2"} & required)


def _controller(name: str) -> tuple[str, int | None] | None:
    match = re.fullmatch(r"(\w+)(?::v([12]))?", name)
    if match is None or match[1] not in machine.V2_NAMES:
        return None
    return match[1], int(match[2]) if match[2] else None


def _control_file(name: str) -> tuple[str, int | None] | None:
    match = re.fullmatch(r"(\w+)(?:\.\w+)+(?::v([12]))?", name)
    if match is None:
        return None
    prefix = next((v1 for v1, v2 in machine.V2_NAMES.items() if match[1] in (v1, v2)), None)
    return None if prefix is None else (prefix, int(match[2]) if match[2] else None)


def _missing_controller(controller: str, version: int | None) -> str | None:
    hierarchy = machine.hierarchy_of(controller, version)
    if hierarchy is None:
        return f"no mounted cgroup {f'v{version} ' if version else ''}hierarchy carries {controller}"
    files = fresh_files(hierarchy, controller)
    return files if isinstance(files, str) else None


def _missing_file(name: str, controller: str, version: int | None) -> str | None:
    if reason := _missing_controller(controller, version):
        return reason
    hierarchy = machine.hierarchy_of(controller, version)
    assert hierarchy is not None
    file = name.partition(":")[0]
    return None if file in fresh_files(hierarchy, controller) else f"this kernel offers no {file}"


@functools.cache
def fresh_files(hierarchy: machine.Hierarchy, controller: str) -> tuple[str, ...] | str:
    """Return the control files of a fresh group, or why none can be made."""
    base = machine.base(hierarchy)
    if base is None:
        return f"this user can make no group in {hierarchy.mount}"
    parent = hierarchy.directory(base)
    try:
        with _enabled(hierarchy, parent, controller):
            group = f"{parent}/{machine.PREFIX}test-{os.getpid()}-probe"
            os.mkdir(group)
            try:
                return tuple(sorted(os.listdir(group)))
            finally:
                os.rmdir(group)
    except OSError as error:
        return f"a group with {controller} cannot be made in {parent}: {error.strerror}"


@contextlib.contextmanager
def _enabled(hierarchy: machine.Hierarchy, parent: str, controller: str) -> Iterator[None]:
    """Have the children of a v2 group get a controller, for a while where they did not get it before."""
    before = machine.subtree_control(hierarchy)
    wanted = machine.V2_NAMES[controller]
    if hierarchy.version == 2 and wanted != machine.CORE and wanted not in before:
        machine.write(f"{parent}/cgroup.subtree_control", f"+{wanted}")
    try:
        yield
    finally:
        machine.restore_subtree_control(hierarchy, before)


@capability("root")
def _root() -> str | None:
    return None if os.geteuid() == 0 else "this user is not root"


@capability("unprivileged")
def _unprivileged() -> str | None:
    return None if os.geteuid() else "this user is root"


@capability("true-root")
def _true_root() -> str | None:
    in_a_container = [each.mount for each in machine.hierarchies() if os.path.exists(f"{each.mount}/cgroup.type")]
    return f"the root of {in_a_container[0]} is a group of a larger tree, as in a container" if in_a_container else None


@capability("cgroup-v2")
def _cgroup_v2() -> str | None:
    return _missing_controller("freezer", 2)


@capability("freezer-on-v2")
def _freezer_on_v2() -> str | None:
    hierarchy = machine.hierarchy_of("freezer")
    return None if hierarchy and hierarchy.version == 2 else "the freezer is on v1 here, if anywhere"


@capability("chosen-pids")
def _chosen_pids() -> str | None:
    try:
        processes.choose_pid(2**15)
    except OSError as error:
        return f"the number of the next process cannot be chosen: {error}"
    return None


@capability("mount-namespace")
def _mount_namespace() -> str | None:
    allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    return None if allowed else "no mount namespace can be made here (in a chroot that is no mount point, say)"


@capability("user-namespace")
def _user_namespace() -> str | None:
    limited = ["unshare", "--user", "--map-root-user", "test", "-w", "/proc/sys/user/max_inotify_watches"]
    allowed = subprocess.run(limited, capture_output=True, check=False).returncode == 0
    return None if allowed else "no user namespace can be made here and given limits"


@capability("kernel-threads")
def _kernel_threads() -> str | None:
    # Number 2 starts the others; a PID namespace hides them.
    return None if os.path.exists("/proc/2") and not machine.read("/proc/2/cmdline") else "none is to be seen here"


@capability("user-attributes")
def _user_attributes() -> str | None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            os.setxattr(directory, "user.pycgroup", b"1")
        except OSError as error:
            return f"files in {tempfile.gettempdir()} keep no attributes of users: {error.strerror}"
    return None


@capability("group-attributes")
def _group_attributes() -> str | None:
    for hierarchy in machine.hierarchies():
        base = machine.base(hierarchy)
        if base is None:
            continue
        group = f"{hierarchy.directory(base)}/{machine.PREFIX}test-{os.getpid()}-attributes"
        os.mkdir(group)
        try:
            os.setxattr(group, f"{'user' if hierarchy.version == 2 else 'trusted'}.pycgroup-test", b"1")
        except OSError as error:
            return f"groups in {hierarchy.mount} keep no attributes of this user: {error.strerror}"
        finally:
            os.rmdir(group)
    return None


@capability("swap")
def _swap() -> str | None:
    return None if len(machine.read("/proc/swaps").splitlines()) > 1 else "no swap is active"


@capability("two-cpus")
def _two_cpus() -> str | None:
    return None if len(os.sched_getaffinity(0)) > 1 else "this process may use one CPU only"


@capability("block-device")
def _block_device() -> str | None:
    return None if next(disks(), None) else "there is no block device of any size in /sys/block"


@capability("loop-device")
def _loop_device() -> str | None:
    if reason := _root():
        return reason
    return (
        None if os.path.exists("/dev/loop-control") and shutil.which("losetup") else "no /dev/loop-control or losetup"
    )


@capability("psi")
def _psi() -> str | None:
    return None if os.path.exists("/proc/pressure/memory") else "this kernel reports no pressure (psi=1)"


@capability("kernel-log")
def _kernel_log() -> str | None:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return f"/dev/kmsg cannot be read: {error.strerror}"
    # It calls groups by their paths from the root of all.
    return _true_root()


@capability("libcgroup")
def _libcgroup() -> str | None:
    return None if ctypes.util.find_library("cgroup") else "libcgroup is not installed"


@capability("systemd")
def _systemd() -> str | None:
    if not os.path.isdir("/run/systemd/system"):
        return "systemd does not run here"
    bus = "/run/dbus/system_bus_socket" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}/bus"
    return None if os.path.exists(bus) else f"there is no bus to speak to systemd on: {bus}"


@capability("x86_64")
def _x86_64() -> str | None:
    return None if platform.machine() == "x86_64" else f"this machine is {platform.machine()}"


def _tool(name: str, package: str) -> None:
    capability(name)(lambda: None if shutil.which(name) else f"{name} is not installed (package {package})")


def _module(name: str) -> None:
    capability(name)(lambda: None if importlib.util.find_spec(name) else f"the Python module {name} is not installed")


_PACKAGES = {
    "cgget": "cgroup-tools",
    "cgexec": "cgroup-tools",
    "gcc": "gcc",
    "mkfs.ext4": "e2fsprogs",
    "strace": "strace",
}
for _name, _package in _PACKAGES.items():
    _tool(_name, _package)


for _name in ("anyio", "jeepney", "mypy", "trio", "xdist"):
    _module(_name)


def disks() -> Iterator[str]:
    """Yield "major:minor" of every whole block device that has a size."""
    for name in sorted(os.listdir("/sys/block")):
        if int(machine.read(f"/sys/block/{name}/size")):
            yield machine.read(f"/sys/block/{name}/dev").strip()
