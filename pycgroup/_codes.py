# SPDX-License-Identifier: MIT
"""What libcgroup's own error codes mean, in words of our own.

cgroup_strerror is never asked: 2.0.2 has its texts off by one from 50023 up, and crashes on 50030.
"""

from __future__ import annotations

import errno

from .errors import CgroupError, GroupBusyError, UnavailableError

#: An errno where the code stands for one, else the exception and its text.
CODES: dict[str, int | tuple[type[CgroupError], str]] = {
    "ECGROUPNOTEXIST": errno.ENOENT,
    "ECGROUPNOTOWNER": errno.EPERM,
    "ECGROUPNOTALLOWED": (CgroupError, "the kernel refused it"),
    "ECGROUPNOTMOUNTED": (UnavailableError, "the controller is not mounted, or not enabled for this group"),
    "ECGROUPSUBSYSNOTMOUNTED": (UnavailableError, "the controller is not mounted"),
    "ECGINVAL": (CgroupError, "libcgroup refused an argument"),
    "ECGFAIL": (CgroupError, "libcgroup does not say why"),
    "ECGROUPNOTINITIALIZED": (UnavailableError, "libcgroup is not initialised"),
    "ECGNONEMPTY": (GroupBusyError, "the group is not empty"),
}

#: These stand for an open that failed; the last, whatever the reason.
FAILED_OPEN = frozenset({"ECGROUPNOTEXIST", "ECGROUPNOTOWNER", "ECGROUPNOTALLOWED"})

UNMOUNTED = (
    "libcgroup cannot start: it finds no usable cgroup hierarchy. Mount one (for v1: mount -t cgroup -o memory none"
    " DIRECTORY); in a container, mount /sys/fs/cgroup and delegate controllers to it"
)
NOT_INSTALLED = (
    "libcgroup cannot be loaded ({error}). Install it: libcgroup2 on Debian 12, libcgroup3 on Debian 13, libcgroup on"
    " Fedora; if its major version has changed, install pycgroup again"
)
NOT_BUILT = "pycgroup's compiled part is missing ({error}): install pycgroup with pip, or run script/setup"
