# SPDX-License-Identifier: MIT
"""EventSource, by which a class of groups declares what it can be watched for, one line each.

    oom_events = EventSource(v1=oom_by_eventfd, v2=oom_by_counters, doc="...")

The columns are functions of openers.py. A column left out means that this version has no such thing: the attribute
then raises UnsupportedSettingError, which names the nearest that there is.
"""

from __future__ import annotations

from ._types import TYPE_CHECKING, Any, Generic, P, T, overload
from .errors import UnsupportedSettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, Self

    from .events import Subscription
    from .settings import Holder


class EventSource(Generic[P, T]):
    """What a class of groups can be watched for, on each version: a method that returns a Subscription."""

    def __init__(
        self,
        *,
        v1: Callable[Concatenate[Any, P], Subscription[T]] | None = None,
        v2: Callable[Concatenate[Any, P], Subscription[T]] | None = None,
        doc: str = "",
        nearest: str = "",
    ) -> None:
        self.columns = (v1, v2)
        self.v1, self.v2 = self.columns
        self.doc = self.__doc__ = doc
        #: What to use where the version has no such events.
        self.nearest = nearest
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        for column in filter(None, self.columns):
            # What Python says of wrong arguments, and help(), are to name what the caller has called.
            column.__name__ = column.__qualname__ = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> Callable[P, Subscription[T]]: ...
    def __get__(self, group: Holder | None, owner: type) -> Self | Callable[P, Subscription[T]]:
        if group is None:
            return self
        subscribe = self.columns[(group._located or group._locate()).column]
        if subscribe is None:
            raise self.unsupported(group)

        events: Callable[P, Subscription[T]] = _Method(subscribe, group)
        return events

    def unsupported(self, group: Holder) -> UnsupportedSettingError:
        """Return the exception for a version that has no such events."""
        place = group._place
        message = f"{group._label()}.{self.name}: cgroup v{place.hierarchy.version} has no such events"
        return UnsupportedSettingError(f"{message}; the nearest: {self.nearest}", setting=self.name)


# types.MethodType: importing `types` takes as long as several modules of pycgroup.
_Method: Any = type(EventSource().unsupported)
