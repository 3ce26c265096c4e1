# SPDX-License-Identifier: MIT
"""Every exception of pycgroup. Each is a CgroupError and, where Python has one, the fitting builtin.

CgroupError                              .group .setting .value .errno .code where known
 UnavailableError                        no cgroup mounted, controller missing, libcgroup missing or too old
 GroupNotFoundError    (FileNotFoundError)
 GroupExistsError      (FileExistsError)
 GroupBusyError        (OSError)         the group holds processes or children that are in the way
 PermissionDeniedError (PermissionError)
 NoSuchProcessError    (ProcessLookupError)
 InvalidNameError      (ValueError)      refused before libcgroup or the kernel sees it
 SettingError                            something about one control file
  UnsupportedSettingError (AttributeError)  this host cannot do it; says what would be needed
  ReadOnlySettingError    (AttributeError)  the kernel only reports this
  InvalidValueError       (ValueError)      refused by us, or by the kernel with EINVAL, ERANGE, ...
 MemoryLimitExceeded   (MemoryError)     the OOM killer struck in a group; .limit .peak .victim
 WorkerDiedError       (ChildProcessError)   a process that ran a function ended before it answered
 EventError
  ClosedError                            the subscription was closed by you
  GroupRemovedError                      the group went away while it was watched
  BusyError                              a second waiter on one subscription
"""

from __future__ import annotations

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class CgroupError(Exception):
    """Say what was attempted on which group and file, what the kernel said, and what to do about it.

    `group`, `setting` and `value` name what was attempted, `errno` is the kernel's answer and `code` libcgroup's;
    each is None where it is not known.
    """

    _FIELDS: tuple[str, ...] = ("group", "setting", "value", "errno", "code")

    def __init__(
        self,
        message: str = "",
        *,
        group: str | None = None,
        setting: str | None = None,
        value: object = None,
        errno: int | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.group = group
        self.setting = setting
        self.value = value
        self.errno = errno
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError keeps errno in a C slot that its own pickling forgets.
        return _restore, (type(self), str(self), {name: getattr(self, name) for name in self._FIELDS})


def _restore(cls: type[CgroupError], message: str, fields: dict[str, Any]) -> CgroupError:
    return cls(message, **fields)


class UnavailableError(CgroupError):
    """Nothing here can do it: no cgroup is mounted, the controller is missing, or libcgroup is missing."""


class GroupNotFoundError(CgroupError, FileNotFoundError):
    """The control group does not exist."""


class GroupExistsError(CgroupError, FileExistsError):
    """The control group exists already."""


class GroupBusyError(CgroupError, OSError):
    """The control group holds processes or children that are in the way."""


class PermissionDeniedError(CgroupError, PermissionError):
    """The kernel refused this user."""


class NoSuchProcessError(CgroupError, ProcessLookupError):
    """The process or thread does not exist (any more)."""


class InvalidNameError(CgroupError, ValueError):
    """The name of a group or of a control file is refused before libcgroup or the kernel sees it."""


class SettingError(CgroupError):
    """Something is wrong with one control file."""


class UnsupportedSettingError(SettingError, AttributeError):
    """This host cannot do it. An AttributeError too, so that `hasattr` is the probe."""


class ReadOnlySettingError(SettingError, AttributeError):
    """The kernel reports this value and does not take one."""


class InvalidValueError(SettingError, ValueError):
    """The value is refused, by pycgroup before anything is touched or by the kernel."""


class MemoryLimitExceeded(CgroupError, MemoryError):  # noqa: N818  # what happened, in the words of the kernel's log
    """The kernel killed a process for want of memory in its group.

    `limit` and `peak` are bytes, None where they are not known; `victim` is the number and name of who was killed, as
    far as it can be told; `result` is what run() would have returned, `task` what an executor was given.
    """

    _FIELDS = ("group", "setting", "value", "errno", "code", "limit", "peak", "victim", "result", "task")

    def __init__(
        self,
        message: str = "",
        *,
        limit: float | None = None,
        peak: int | None = None,
        victim: str | None = None,
        result: Any = None,
        task: Any = None,
        **where: Any,
    ) -> None:
        super().__init__(message, **where)
        self.limit = limit
        self.peak = peak
        self.victim = victim
        self.result = result
        self.task = task


class WorkerDiedError(CgroupError, ChildProcessError):
    """The process that ran a function ended before it answered, and not for want of memory in its group."""


class EventError(CgroupError):
    """Something is wrong with a subscription."""


class ClosedError(EventError):
    """The subscription was closed by its owner."""


class GroupRemovedError(EventError):
    """The control group was removed while it was watched."""


class BusyError(EventError):
    """Somebody else waits on this subscription already."""
