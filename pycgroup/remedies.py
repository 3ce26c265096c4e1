# SPDX-License-Identifier: MIT
"""The one command that mends what the doctor has found."""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, ENOENT, EPERM, EROFS
from shlex import quote

from ._types import TYPE_CHECKING
from .delegation import by_hand
from .errors import GroupBusyError, UnavailableError, UnsupportedSettingError
from .hierarchy import CORE

if TYPE_CHECKING:
    from .errors import CgroupError
    from .hierarchy import Hierarchy
    from .hosts import Host

_RUNS_SYSTEMD = "/run/systemd/system"
_MOUNT = "mount -t cgroup2 none /sys/fs/cgroup"
_SCOPE = "systemd-run {}--scope -p Delegate=yes PROGRAM"
_LEAF = "mkdir -p {0}/leaf && xargs -rn1 < {0}/cgroup.procs > {0}/leaf/cgroup.procs"
_MORE = "systemctl edit {}  # [Service] Delegate=cpu cpuset io memory pids"
_UNITS = (".service", ".scope")
_REMOUNT = "mount -o remount,rw {}"
_PRIVILEGED = "docker run --privileged IMAGE  # from outside; or podman"
_OUTSIDE = "# from outside: start the container with a cgroup delegated to it that has the controllers"
_MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN


def command(error: CgroupError, host: Host) -> str:
    """Return a command that mends the cause of an error, to be run as root unless it says --user; '' for none."""
    if not host.hierarchies:
        return _MOUNT
    tree = _tree(error, host)
    if error.errno == EROFS or _is_read_only(tree):
        return _REMOUNT.format(quote(tree.path)) if _bounds() & _MAY_MOUNT else _PRIVILEGED
    if error.errno in (EACCES, EPERM) or _undelegated(error, tree):
        return _permitted(error, tree)
    # Other groups that are busy are the doctor's own, and gone.
    if isinstance(error, GroupBusyError) and error.errno == EBUSY and "cannot enable" in str(error):
        return _LEAF.format(quote(error.group or tree.path))
    return _by_text(str(error)) if isinstance(error, UnavailableError | UnsupportedSettingError) else ""


def _is_read_only(tree: Hierarchy) -> bool:
    try:
        return bool(os.statvfs(tree.path).f_flag & os.ST_RDONLY)
    except OSError:
        return False  # nobody can say


def _tree(error: CgroupError, host: Host) -> Hierarchy:
    """Return the hierarchy of the group that an error is about, else the memory controller's, v2's, the first."""
    for tree in host.hierarchies:
        if f"{error.group}/".startswith(f"{tree.path}/"):
            return tree
    for v1, v2 in (("memory", "memory"), (None, CORE)):
        try:
            return host.serving(v1, v2)[0]
        except UnavailableError:
            continue
    return host.hierarchies[0]


def _undelegated(error: CgroupError, tree: Hierarchy) -> bool:
    """Tell whether a controller or a subtree is missing that somebody above has."""
    missing = error.errno == ENOENT and not isinstance(error, UnsupportedSettingError)
    return tree.delegable and (missing or "delegated to this" in str(error))


def _bounds() -> int:
    """Return what root may here, as the bits of CapBnd in /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))


def _permitted(error: CgroupError, tree: Hierarchy) -> str:
    if tree.delegable and os.path.isdir(_RUNS_SYSTEMD):
        service = _service(tree.base or "")
        return _MORE.format(quote(service)) if service else _SCOPE.format("--user " if os.geteuid() else "")
    if os.geteuid() and "to this cgroup" not in str(error):
        return by_hand(tree)
    # What root lacks here, too. The root of the whole tree has no type: where there is one, this is a container's.
    return _OUTSIDE if os.path.exists(f"{tree.path}/cgroup.type") else ""


def _service(base: str) -> str:
    """Return the service that has what a subtree is a part of; '' for a scope, which is started anew to have more."""
    names = base.split("/")
    if any(name.startswith("user@") for name in names):
        return "user@.service"
    unit = next((name for name in reversed(names) if name.endswith(_UNITS)), "")
    return "" if unit.endswith(".scope") else unit


_DISABLED = "take cgroup_disable={0} off the kernel's command line and reboot; on a Raspberry Pi add cgroup_enable={0}"
# A word of the message, and the command.
_COMMANDS = {
    "compiled part": "pip install --force-reinstall --no-binary pycgroup pycgroup",
    "pycgroup[systemd]": "pip install 'pycgroup[systemd]'",
    "libcgroup": "apt-get install libcgroup-dev  # or: dnf install libcgroup",
    "swap accounting": "add swapaccount=1 to the kernel's command line and reboot",
}


def _by_text(message: str) -> str:
    """Return the command for what only the message tells; the end of one that names a command itself."""
    disabled = message.partition("cgroup_disable=")[2]
    if disabled:
        return _DISABLED.format(disabled.split()[0])
    own = message.rpartition("as root: ")
    found = next((command for word, command in _COMMANDS.items() if word in message), "")
    return found or (own[2] if own[1] else "")
