# SPDX-License-Identifier: MIT
"""The one command that mends what the doctor has found."""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, ENOENT, EPERM, EROFS

from ._types import TYPE_CHECKING
from .errors import GroupBusyError, UnavailableError, UnsupportedSettingError
from .hierarchy import CORE

if TYPE_CHECKING:
    from .errors import CgroupError
    from .hierarchy import Hierarchy
    from .hosts import Host

_RUNS_SYSTEMD = "/run/systemd/system"
_MOUNT = "mount -t cgroup2 none /sys/fs/cgroup"
_SCOPE = "systemd-run {}--scope -p Delegate=yes PROGRAM"
_LEAF = "mkdir {0}/leaf && xargs -rn1 < {0}/cgroup.procs > {0}/leaf/cgroup.procs"
_GIVE = "mkdir {0}/NAME && chown -R {1} {0}/NAME && echo PID > {0}/NAME/cgroup.procs"
_MORE = "systemctl edit user@.service  # [Service] Delegate=cpu cpuset io memory pids"
_REMOUNT = "mount -o remount,rw {}"
_PRIVILEGED = "docker run --privileged IMAGE  # from outside; or podman"
_MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN


def command(error: CgroupError, host: Host) -> str:
    """Return a command that mends the cause of an error, to be run as root unless it says --user; '' for none."""
    if not host.hierarchies:
        return _MOUNT
    tree = _tree(error, host)
    if error.errno == EROFS:
        return _REMOUNT.format(tree.path) if os.geteuid() or _capabilities() & _MAY_MOUNT else _PRIVILEGED
    if error.errno in (EACCES, EPERM) or _undelegated(error, tree):
        return _permitted(tree)
    if isinstance(error, GroupBusyError) and error.errno == EBUSY:
        return _LEAF.format(error.group or tree.path)
    return _by_text(str(error)) if isinstance(error, UnavailableError | UnsupportedSettingError) else ""


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


def _capabilities() -> int:
    """Return what this process may, as the bits of CapEff in /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def _permitted(tree: Hierarchy) -> str:
    if not tree.delegable or not os.path.isdir(_RUNS_SYSTEMD):
        return _GIVE.format(tree.path, os.geteuid())
    return _MORE if tree.base else _SCOPE.format("--user " if os.geteuid() else "")


# A word of the message, and the command.
_COMMANDS = {
    "pip install": "pip install --force-reinstall --no-binary pycgroup pycgroup",
    "libcgroup": "apt-get install libcgroup-dev  # or: dnf install libcgroup",
    "cgroup_enable": "add cgroup_enable=memory to the kernel's command line and reboot",
    "swap accounting": "add swapaccount=1 to the kernel's command line and reboot",
}


def _by_text(message: str) -> str:
    """Return the command for what only the message tells; the end of one that names a command itself."""
    own = message.rpartition("as root: ")
    found = next((command for word, command in _COMMANDS.items() if word in message), "")
    return found or (own[2] if own[1] else "")
