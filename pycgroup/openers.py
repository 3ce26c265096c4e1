# SPDX-License-Identifier: MIT
"""What opens a subscription: for each kind of event and version the file, its argument, and what a signal means."""

from __future__ import annotations

import errno
import os
from _weakref import ref  # what `weakref` re-exports

from . import _kernfs, _native, events, names, victims
from ._native import ENCODING, FOUND, FRESH, SURROGATES
from ._removals import INOTIFY
from ._signals import Changes, EventFd, Stall
from ._types import TYPE_CHECKING, T
from .codecs import UNLIMITED, refuse, size
from .errors import InvalidValueError, UnavailableError, UnsupportedSettingError
from .events import Subscription
from .hierarchy import CORE
from .hosts import base, here
from .oom import CONTROL, CountedOom, FreshSubscription, SignalledOom
from .watches import ControlWatch, CounterWatch, PopulatedWatch, PressureWatch, StallWatch, ThresholdWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Protocol

    from .errors import CgroupError
    from .events import Watch
    from .happenings import (
        ControlEvent,
        CounterEvent,
        OomEvent,
        PopulatedEvent,
        PressureEvent,
        StallEvent,
        ThresholdEvent,
    )
    from .hierarchy import Hierarchy, Place
    from .settings import Holder

    class StallEvents(Protocol):
        """What stalls() returns."""

        def __call__(
            self,
            group: Holder,
            /,
            *,
            some: str | float | None = ...,
            full: str | float | None = ...,
            window: str | float = ...,
        ) -> Subscription[StallEvent]: ...


_HINTS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (sysctl fs.file-max)",
    errno.ENOSPC: "raise the limit of watches (sysctl fs.epoll.max_user_watches)",
    errno.EAGAIN: "raise the limit of processes (pids.max, ulimit -u): removals are noticed by a thread",
}
# Removals on v2 are noticed by inotify.
_INOTIFY_HINTS = {
    errno.EMFILE: "raise the limit of inotify instances (sysctl fs.inotify.max_user_instances) or of open files",
    errno.ENOSPC: "raise the limit of inotify watches (sysctl fs.inotify.max_user_watches)",
}
_LEVELS = ("low", "medium", "critical")
_MODES = ("default", "hierarchy", "local")
_UNITS = {"us": 1, "ms": 1000, "s": 1_000_000}
_EVENT_HINT = (
    "memory.usage_in_bytes and memory.memsw.usage_in_bytes take a number of bytes, memory.pressure_level a level, "
    "memory.oom_control nothing; no other file takes events"
)
_UNREGISTERED_HINT = "only MEMORY's files take registrations; the nearest: the events of MEMORY, or notify_on_release"
_STALL_HINT = "the window is 500 ms to 10 s, without CAP_SYS_RESOURCE (root may lack it) a multiple of 2 s"


def _by_eventfd(
    group: Holder, file: str, argument: str, watch: Watch[T], value: object = None, *, hint: str = ""
) -> Subscription[T]:
    place = group._place
    try:
        top = place.hierarchy.top() or _opened(place.hierarchy)
        registered = _native.register(top, place.name, file, argument)
        if registered < 0:
            top, registered = _anew(registered, place, file, _native.register, place.name, file, argument)
    except OSError as cause:
        raise _failed(group, cause, file, value, hint) from cause
    return Subscription(EventFd(place.prefix, file, registered, top), watch)


def _opened(tree: Hierarchy) -> Any:
    """Open the top of a hierarchy for this subscription and, as long as one is open, for the next."""
    top = _native.top(tree.path)
    tree.top = ref(top)
    return top


def _anew(answer: int, place: Place, file: str, register: Callable[..., int], *given: Any) -> tuple[Any, int]:
    """Register once more where the top was closed by somebody else or is no more what is mounted. Raises OSError."""
    top = None
    if answer in (-errno.EBADF, -errno.ENOENT):
        top = _opened(place.hierarchy)
        answer = register(top, *given)
    if answer < 0:
        raise _native.not_registered(answer, place.prefix, file)
    return top, answer


def _by_changes(group: Holder, file: str, watch: Watch[T]) -> Subscription[T]:
    try:
        signal = Changes(group._place.prefix, file)
    except OSError as cause:
        raise _failed(group, cause, file) from cause
    return Subscription(signal, watch)


def _failed(group: Holder, cause: OSError, file: str, value: object = None, hint: str = "") -> CgroupError:
    directory = group._place.directory
    attempt = f"{group._label()}: cannot watch {file}{f' for {value!r:.100}' if value else ''}"
    hints = _HINTS | _INOTIFY_HINTS if cause.filename == INOTIFY else _HINTS
    hint = hints.get(cause.errno or 0, hint if cause.errno == errno.EINVAL else "")
    if cause.errno == errno.ENOENT and os.path.basename(cause.filename or "") == _native.CONTROL:
        hint = _UNREGISTERED_HINT
    return _kernfs.error(cause, attempt, group=directory, directory=directory, setting=file, value=value, hint=hint)


def oom_by_eventfd(group: Holder) -> Subscription[OomEvent]:
    """Subscribe to the group's running out of memory: `memory.oom_control`. Raises GroupNotFoundError."""
    # Thousands may be made at once, and each function on the way takes as long as ten attributes.
    place, log = group._located or group._locate(), victims.shared or victims.kernel_log()
    tree = place.hierarchy
    try:
        top = tree.top() or _opened(tree)
        name, news = place.name.encode(ENCODING, SURROGATES), -1 if log is None else log.descriptor
        registered = _native.register_oom(top, name, news)
        if registered < 0:
            top, registered = _anew(registered, place, CONTROL, _native.register_oom, name, news)
    except OSError as cause:
        raise _failed(group, cause, CONTROL) from cause
    if registered >> FOUND == FRESH and not (log is not None and log.is_behind):
        return FreshSubscription(group, registered, top, 0 if log is None else log.last, events.process)
    return Subscription(EventFd(place.prefix, CONTROL, registered, top), SignalledOom(group))


def oom_by_counters(group: Holder) -> Subscription[OomEvent]:
    """Subscribe to the group's running out of memory: `memory.events`. Raises GroupNotFoundError."""
    return _by_changes(group, "memory.events", CountedOom(group))


def threshold_by_eventfd(group: Holder, threshold: int | str, *, memsw: bool = False) -> Subscription[ThresholdEvent]:
    """Subscribe to each crossing of a threshold by memory usage, or by memory and swap together: bytes, or "10M".

    The kernel rounds it down to pages, and looks once in about a hundred pages. Raises GroupNotFoundError,
    InvalidValueError, UnsupportedSettingError (memsw without swap accounting). File: `memory.usage_in_bytes`.
    """
    limit = _bytes(group, threshold)
    file = "memory.memsw.usage_in_bytes" if memsw else "memory.usage_in_bytes"
    return _by_eventfd(group, file, str(limit), ThresholdWatch(group._path, limit), threshold)


def _bytes(group: Holder, threshold: int | str) -> int:
    try:
        number = size(threshold)
        if number == UNLIMITED:
            refuse(threshold, "a threshold that could be crossed")
    except ValueError as refusal:
        raise InvalidValueError(f"{group._label()}.threshold_events: {refusal}", value=threshold) from None
    page = os.sysconf("SC_PAGE_SIZE")
    if number < page:
        message = f"{group._label()}.threshold_events: {threshold!r} is less than a page, which are {page} bytes"
        raise InvalidValueError(message, value=threshold)
    return int(number) // page * page


def pressure_by_eventfd(
    group: Holder,
    level: Literal["low", "medium", "critical"],
    *,
    mode: Literal["default", "hierarchy", "local"] = "default",
) -> Subscription[PressureEvent]:
    """Subscribe to reclaim in the group: "low", "medium" or "critical" and above.

    `mode` says which groups' events come: "default" those of groups below that nobody watches, "hierarchy" those of
    all below, "local" only its own. Raises GroupNotFoundError, InvalidValueError. File: `memory.pressure_level`.
    """
    for value, words in ((level, _LEVELS), (mode, _MODES)):
        if value not in words:
            message = f"{group._label()}.pressure_events: {value!r} is not {' or '.join(map(repr, words))}"
            raise InvalidValueError(message, setting="memory.pressure_level", value=value)
    argument = level if mode == "default" else f"{level},{mode}"
    return _by_eventfd(group, "memory.pressure_level", argument, PressureWatch(group._path, level, mode), argument)


def control_by_eventfd(group: Holder, file: str, argument: str | int = "") -> Subscription[ControlEvent]:
    """Subscribe to any control file that takes event registrations, with any argument.

    Raises InvalidNameError, InvalidValueError, GroupNotFoundError, UnsupportedSettingError.
    """
    text = str(argument)
    if type(argument) not in (str, int) or not text.isprintable():
        message = f"{group._label()}.event: {argument!r:.100} is neither one line of text nor a number"
        raise InvalidValueError(message, value=argument)
    watch = ControlWatch(group._path, file, text)
    return _by_eventfd(group, names.file_name(file), text, watch, argument, hint=_EVENT_HINT)


def counters_by_changes(group: Holder, *counters: str) -> Subscription[CounterEvent]:
    """Subscribe to counters of `memory.events` (low, high, max, oom, oom_kill, oom_group_kill), by default to all.

    Raises GroupNotFoundError, InvalidValueError (this kernel has no such counter).
    """
    if wrong := [name for name in counters if type(name) is not str]:
        message = f"{group._label()}.counter_events: {wrong[0]!r} is not the name of a counter, such as 'oom_kill'"
        raise InvalidValueError(message, setting="memory.events", value=wrong[0])
    watch = CounterWatch(group._path, counters)
    subscription = _by_changes(group, "memory.events", watch)
    if unknown := watch.unknown():
        subscription.close()
        message = f"{group._label()}.counter_events: memory.events has no {', '.join(map(repr, unknown))}"
        raise InvalidValueError(message, setting="memory.events", value=unknown)
    return subscription


def populated_by_changes(group: Holder) -> Subscription[PopulatedEvent]:
    """Subscribe to the group's, with those below it, becoming empty or no longer empty: `cgroup.events`.

    Raises GroupNotFoundError.
    """
    return _by_changes(group, "cgroup.events", PopulatedWatch(group._path))


def stalls(file: str, nearest: str) -> StallEvents:
    """Return what opens a pressure file, `memory.pressure` and the like, of which only v2 groups have one.

    On a hybrid host that is the v2 group of the same name, which counts the processes that are in that.
    """

    def stall_events(
        group: Holder,
        *,
        some: str | float | None = None,
        full: str | float | None = None,
        window: str | float = 2,
    ) -> Subscription[StallEvent]:
        """Subscribe to tasks' waiting longer than `some` (any of them) or `full` (all at once) in a window of time.

        Times are in seconds, or text such as "150ms"; the window is 500 ms to 10 s, without CAP_SYS_RESOURCE a
        multiple of 2 s. At most one event comes in each window. Raises InvalidValueError, GroupNotFoundError,
        UnsupportedSettingError where there is no pressure file for the group.
        """
        if (some is None) is (full is None):
            raise InvalidValueError(f"{group._label()}.stall_events: it takes either some=... or full=...")
        kind: Literal["some", "full"] = "some" if full is None else "full"
        given = some if full is None else full
        stall, within = _microseconds(group, given), _microseconds(group, window)
        if stall > within:
            message = f"{group._label()}.stall_events: {kind}={given!r} is longer than the window of {window!r}"
            raise InvalidValueError(message, value=given)
        trigger = f"{kind} {stall} {within}"
        directory = _unified(group)
        if directory != group._place.directory and not os.path.exists(f"{directory}/{file}"):
            message = f"{group._label()}.stall_events: cgroup v1 has no {file}, and no v2 group of that name has one"
            makes = f", or mkdir {directory} for the processes that are to be in it" if directory else ""
            raise UnsupportedSettingError(f"{message}; the nearest: {nearest}{makes}", setting=file)
        watch = StallWatch(group._path, kind)
        try:
            signal = Stall(f"{directory}/", file, trigger)
        except OSError as cause:
            raise _failed(group, cause, file, trigger, _STALL_HINT) from cause
        return Subscription(signal, watch)

    return stall_events


def _unified(group: Holder) -> str:
    """Return the directory of the v2 group of the same name, be there such a group or not; '' without a v2."""
    own = group._place.hierarchy
    try:
        tree, _ = here().serving(None, CORE)
    except UnavailableError:
        return ""
    path = group._path
    if not group.group_name.startswith("/"):
        # What is delegated to this process may be elsewhere in the other hierarchy.
        path = base(tree) + path.removeprefix(base(own))
    return tree.directory(path)


def _microseconds(group: Holder, value: Any) -> int:
    """Return a time that is given in seconds or as text with a unit."""
    try:
        text = str(value).strip()
        unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
        number = float(text.removesuffix(unit))
        microseconds = number * _UNITS[unit or "s"]
        if isinstance(value, bool) or not 1 <= microseconds < UNLIMITED:
            refuse(value, "a microsecond or more")
    except ValueError:
        message = f"{group._label()}.stall_events: {value!r} is not a time: seconds, or text such as '150ms' or '2s'"
        raise InvalidValueError(message, value=value) from None
    return round(microseconds)
