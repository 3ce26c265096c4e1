# SPDX-License-Identifier: MIT
"""Control groups for Python: the kernel's control files as properties, on cgroup v1, hybrid and v2.

>>> from pycgroup import Cgroup
>>> with Cgroup.MEMORY("test", limit_in_bytes="10M") as memory:
...     memory.attach()
"""

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from .codecs import UNLIMITED
    from .cpusets import CpuSet
    from .events import Subscription
    from .executor import CgroupProcessPoolExecutor
    from .group import Cgroup
    from .happenings import OomEvent
    from .limiting import limited
    from .limits import Limits
    from .observer import Observer
    from .reaping import reap
    from .results import Result

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
    MemoryLimitExceeded,
    NoSuchProcessError,
    PermissionDeniedError,
    ReadOnlySettingError,
    SettingError,
    UnavailableError,
    UnsupportedSettingError,
    WorkerDiedError,
)

__all__ = [
    "UNLIMITED",
    "BusyError",
    "Cgroup",
    "CgroupError",
    "CgroupProcessPoolExecutor",
    "ClosedError",
    "CpuSet",
    "EventError",
    "GroupBusyError",
    "GroupExistsError",
    "GroupNotFoundError",
    "GroupRemovedError",
    "InvalidNameError",
    "InvalidValueError",
    "Limits",
    "MemoryLimitExceeded",
    "NoSuchProcessError",
    "Observer",
    "OomEvent",
    "PermissionDeniedError",
    "ReadOnlySettingError",
    "Result",
    "SettingError",
    "Subscription",
    "UnavailableError",
    "UnsupportedSettingError",
    "WorkerDiedError",
    "limited",
    "reap",
]

# Read when they are first asked for, so that `import pycgroup` costs a program that may not need it next to nothing.
_HOMES = {
    "Cgroup": "group",
    "CgroupProcessPoolExecutor": "executor",
    "CpuSet": "cpusets",
    "Limits": "limits",
    "Observer": "observer",
    "OomEvent": "happenings",
    "Result": "results",
    "Subscription": "events",
    "UNLIMITED": "codecs",
    "limited": "limiting",
    "reap": "reaping",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pycgroup' has no attribute {name!r}")
    module = __import__(f"pycgroup.{_HOMES[name]}", fromlist=[name])
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
