# SPDX-License-Identifier: MIT
"""What subscriptions deliver: one small frozen class for each kind of event."""

from __future__ import annotations

from ._locks import looking
from ._types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar, Literal, NoReturn, Self

    from .codecs import Amount
    from .stats import FrozenMap


class Frozen:
    """Attributes that are given once, by keyword; equal where they all are."""

    __slots__ = ("_given",)
    FIELDS: ClassVar[tuple[str, ...]] = ()
    _given: dict[str, Any] | Callable[[], dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.FIELDS = (*cls.FIELDS, *(name for name in cls.__annotations__ if name[0] != "_"))

    def __init__(self, **values: Any) -> None:
        # One dict as it came: an event is made while somebody waits for it.
        give(self, values)

    @classmethod
    def later(cls, find: Callable[[], dict[str, Any]]) -> Self:
        """Return one whose attributes are found, by calling a function, when the first of them is asked for."""
        self = cls.__new__(cls)
        give(self, find)
        return self

    def look(self) -> dict[str, Any]:
        """Return the attributes, which from now on stay as they are."""
        given = self._given
        if not isinstance(given, dict):
            with looking:
                given = self._given
                if not isinstance(given, dict):
                    found = given()
                    if self._given is given:  # not so where a signal handler has looked meanwhile
                        give(self, found)
                    return self.look()
        return given

    if not TYPE_CHECKING:  # which would take any name then

        def __getattr__(self, name: str) -> Any:
            if name in self.FIELDS:
                return self.look()[name]
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self.FIELDS)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.FIELDS})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is what has happened; it cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is what has happened; it cannot be changed")

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.FIELDS}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Frozen) and self._values() == other._values()

    def __hash__(self) -> int:
        # Maps are left out: what is equal has the same hash all the same.
        return hash((type(self), *(value for value in self._values().values() if isinstance(value, _HASHABLE))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._values())


_HASHABLE = (str, int, float, tuple)

# Assignment, which the class itself refuses.
give: Any = vars(Frozen)["_given"].__set__


def _restore(cls: type[Frozen], values: dict[str, Any]) -> Frozen:
    return cls(**values)


class Event(Frozen):
    """Something that happened to a group. `time` is in seconds since the epoch, when the signal was taken."""

    __slots__ = ()
    group: str
    time: float


class ControlEvent(Event):
    """A control file signalled `signals` times; `text` is what the file held then, or None where it is not read."""

    __slots__ = ("__weakref__",)
    file: str
    argument: str
    signals: int
    text: str | None


class ThresholdEvent(Event):
    """Memory usage crossed a threshold, `crossings` times since the last event; `above` is on which side it came to be.

    `usage` is what was in use a moment later, in bytes, so it may be on the other side again: it is read when the event
    is first looked at, or else before the next one is waited for. None: the group was gone by then. It cannot be weakly
    referenced: one that nobody has any more is used again.
    """

    __slots__ = ()
    threshold: int
    usage: int | None
    above: bool
    crossings: int

    @property
    def direction(self) -> Literal["up", "down"]:
        """Which way the last crossing went."""
        return "up" if self.above else "down"


class PressureEvent(Event):
    """The kernel was reclaiming memory of the group, at `level` or above, `signals` times since the last event."""

    __slots__ = ("__weakref__",)
    level: str
    mode: str
    signals: int


class StallEvent(Event):
    """Tasks of the group waited longer than the trigger allows. `stalled` is microseconds since the last event.

    `pressure` is the whole pressure file, as `pressure` of the group reads it.
    """

    __slots__ = ("__weakref__",)
    kind: Literal["some", "full"]
    stalled: int
    pressure: FrozenMap[str, FrozenMap[str, float]]


class PopulatedEvent(Event):
    """The first process came into the group or one below it (`populated`), or the last one left."""

    __slots__ = ("__weakref__",)
    populated: bool


class CounterEvent(Event):
    """Counters of an events file rose: `changes` says which and by how much, `counts` holds them all."""

    __slots__ = ("__weakref__",)
    changes: Mapping[str, int]
    counts: Mapping[str, int]


class Victim(Frozen):
    """A process that the OOM killer killed, as the kernel log has it. `anon_rss` is in bytes."""

    __slots__ = ("__weakref__",)
    pid: int
    name: str
    anon_rss: int
    group: str


class OomEvent(Event):
    """The group ran out of memory, or on v1 a group above it did: the kernel tells all those below, too.

    ooms               how often since the last event
    under_oom          whether its tasks wait for memory, because the killer is off (v1)
    oom_kill_disable   whether the killer is off (v1)
    usage limit peak   bytes, and failcnt, how often usage hit the limit; None where unknown
    kills              how many processes the kernel has killed in it and below since the last event, whichever of
                       these groups was full
    victims            which those were, as far as the kernel log says
    confidence         how much of it was observed: "signalled" (the notification alone), "counted" (the kernel's
                       counters or under_oom bear it out) or "named" (each victim is known)

    The event is delivered at once. What it says is read when it is first looked at, or else before the next one is
    waited for. The last three take longer on v1, where the kernel signals some milliseconds before it kills: they
    are completed when one of them is first asked for, which waits for the kernel's counter for up to a quarter of a
    second, while wait() waits for the next event, when that comes, or when the subscription is closed. Where the group
    is removed before, they are what had been counted by the delivery, and what the kernel log tells. A victim
    that needs memory once more as it dies is signalled as another OOM of v1 (since Linux 5.16): one of the two events
    has its kill. On v2 the event is that a kill was counted; what the kernel counts as an OOM without a kill adds to
    `ooms` of the next (counter_events tells of each).
    """

    __slots__ = ("__weakref__", "_complete", "_outcome")
    ooms: int
    under_oom: bool
    oom_kill_disable: bool
    usage: int | None
    limit: Amount | None
    failcnt: int | None
    peak: int | None
    _complete: Callable[[], None] | None
    _outcome: tuple[int, tuple[Victim, ...], str]

    def __init__(self, *, complete: Callable[[], None] | None = None, **values: Any) -> None:
        outcome = tuple(values.pop(name, default) for name, default in _OUTCOME.items())
        super().__init__(**values)
        object.__setattr__(self, "_outcome", outcome)
        object.__setattr__(self, "_complete", complete)

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed in the group and below since the last event."""
        return self._completed()[0]

    @property
    def victims(self) -> tuple[Victim, ...]:
        """Which processes were killed, as far as the kernel log says."""
        return self._completed()[1]

    @property
    def confidence(self) -> str:
        """How much of it was observed: "signalled", "counted" or "named"."""
        return self._completed()[2]

    @classmethod
    def later(cls, find: Callable[[], dict[str, Any]]) -> Self:
        self = super().later(find)
        object.__setattr__(self, "_outcome", tuple(_OUTCOME.values()))
        object.__setattr__(self, "_complete", None)
        return self

    def _completed(self) -> tuple[int, tuple[Victim, ...], str]:
        self.look()
        complete = self._complete
        if complete is not None:
            complete()
        return self._outcome

    def complete_by(self, complete: Callable[[], None]) -> None:
        """Leave what became of it to be found out when it is asked for; for the subscription."""
        object.__setattr__(self, "_complete", complete)

    def settle(self, kills: int, victims: tuple[Victim, ...], confidence: str) -> None:
        """Note what became of it, unless that is known already; for the subscription."""
        if self._complete is None:
            return  # a signal handler has asked meanwhile
        object.__setattr__(self, "_outcome", (kills, victims, confidence))
        object.__setattr__(self, "_complete", None)


OomEvent.FIELDS += ("kills", "victims", "confidence")
_OUTCOME: dict[str, Any] = {"kills": 0, "victims": (), "confidence": "signalled"}
