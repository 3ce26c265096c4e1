# SPDX-License-Identifier: MIT
"""Control groups for Python: the kernel's control files as properties, on cgroup v1, hybrid and v2.

>>> from pycgroup import Cgroup
>>> with Cgroup.MEMORY("test", limit_in_bytes="10M") as memory:
...     memory.attach()
"""

from .codecs import UNLIMITED
from .cpusets import CpuSet
from .errors import (
    BusyError,
    CgroupError,
    ClosedError,
    EventError,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    GroupRemovedError,
    InvalidNameError,
    InvalidValueError,
    NoSuchProcessError,
    PermissionDeniedError,
    ReadOnlySettingError,
    SettingError,
    UnavailableError,
    UnsupportedSettingError,
)
from .group import Cgroup

__all__ = [
    "UNLIMITED",
    "BusyError",
    "Cgroup",
    "CgroupError",
    "ClosedError",
    "CpuSet",
    "EventError",
    "GroupBusyError",
    "GroupExistsError",
    "GroupNotFoundError",
    "GroupRemovedError",
    "InvalidNameError",
    "InvalidValueError",
    "NoSuchProcessError",
    "PermissionDeniedError",
    "ReadOnlySettingError",
    "SettingError",
    "UnavailableError",
    "UnsupportedSettingError",
]
