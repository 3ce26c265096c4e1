# SPDX-License-Identifier: MIT
"""Turn the text of a control file into a Python value and back, one class per format of a single value.

Codecs are pure: they see text and values, never a file. They refuse a value with a ValueError that says what would
do; the setting that uses the codec makes an InvalidValueError of it, with the group and the file in its message.
"""

from __future__ import annotations

from ._types import TYPE_CHECKING, Generic, T, V
from .errors import UnsupportedSettingError

if TYPE_CHECKING:
    from typing import Any, ClassVar, Final, NoReturn, SupportsIndex

    #: What a limit reads as: an int, or UNLIMITED.
    Amount = int | float
    #: What a limit takes: an int, UNLIMITED, or text.
    AmountLike = SupportsIndex | float | str

#: No limit, on either version of cgroup: what an unlimited file reads as, and what may be written to lift a limit.
#: The same value as math.inf.
UNLIMITED: Final = float("inf")

_MOST_DIGITS = 20
_INT64_MAX = 2**63 - 1
_UINT64_MAX = 2**64 - 1
# v1 says "no limit" with the largest number of whole pages below 2**63: 4 KiB pages end 4 KiB below, huge pages of
# 16 GiB that far below. Nothing real is near it.
_V1_NO_LIMIT = 2**63 - 2**35
_POWERS = {"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_NO_LIMIT = (float("inf"), -1, "-1", "max", "unlimited")


class Codec(Generic[T, V]):
    """One file format: T is what it reads as, V what it takes."""

    #: What help() says about the value.
    takes: str = ""
    #: Whether encode() needs the text that the file has now.
    reads_current: ClassVar[bool] = False
    #: Whether its values name devices, which the kernel may not know (ENODEV).
    of_devices: ClassVar[bool] = False

    def decode(self, text: str) -> T:
        """Return the value that the file's text stands for."""
        raise NotImplementedError

    def encode(self, value: V, current: str = "") -> str:
        """Return the text to write for a value: one write per line, and nothing at all for empty text."""
        raise UnsupportedSettingError(f"cgroup reports this value and does not take one: {value!r} was not written")

    def normal(self, value: V) -> T:
        """Return the value as it will be read back, which also proves that it can be written."""
        return self.decode(self.encode(value))


def shown(value: object) -> str:
    """Return how a value is written in a program."""
    return "UNLIMITED" if isinstance(value, float) and value == UNLIMITED else repr(value)


def refuse(value: object, wanted: str) -> NoReturn:
    """Refuse a value, naming what would do."""
    raise ValueError(f"{value!r} is not {wanted}")


def whole_number(value: Any, wanted: str = "a whole number") -> int:
    """Return an int from an int-like object or decimal text; a bool, a float or bytes are refused."""
    if isinstance(value, str):
        digits = value.strip().removeprefix("-")
        if not (digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS):
            refuse(value, wanted)
        value = int(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        refuse(value, wanted)
    number: int = value.__index__()
    if not -_INT64_MAX - 1 <= number <= _UINT64_MAX:
        refuse(value, f"{wanted}; it must fit in 64 bits")
    return number


def amount(value: Any, wanted: str = "a whole number, UNLIMITED, -1 or 'max'") -> Amount:
    """Return a count or UNLIMITED: -1, 'max' and math.inf are UNLIMITED, other negative numbers are refused."""
    if isinstance(value, str):
        value = value.strip()
    if value in _NO_LIMIT:
        return UNLIMITED
    number = whole_number(value, wanted)
    if not 0 <= number <= _INT64_MAX:
        refuse(value, f"{wanted}, from 0 to 2**63 - 1")
    return number


def size(value: Any) -> Amount:
    """Return bytes from an int or from text as the kernel reads it: K, M, G, T, P and E are powers of 1024."""
    if type(value) is int and 0 <= value <= _INT64_MAX:
        return value
    wanted = "a size: bytes as an int, text such as '10M' or '1GiB', or UNLIMITED"
    if not isinstance(value, str) or value.strip() in _NO_LIMIT:
        return amount(value, wanted)
    unit = value.strip().lstrip("0123456789").strip()
    digits = value.strip().removesuffix(unit).strip()
    if not digits:
        refuse(value, wanted)
    number = whole_number(digits, wanted)
    power = unit.upper().removesuffix("IB") if len(unit) > len("iB") else unit.upper()
    if power.removesuffix("B") in _POWERS and len(power) == len("MB"):
        refuse(value, f"taken: {unit} is a decimal unit; write '{number}{unit[0]}' for {number} {unit[0].upper()}iB")
    if power not in _POWERS:
        refuse(value, wanted)
    return amount(number << _POWERS[power], wanted)


def zero_or_one(value: object) -> str:
    """Return '0' or '1' for a bool, a number or text that says so."""
    if not isinstance(value, int | str) or value not in (0, 1, "0", "1"):
        refuse(value, "a bool, 0 or 1")
    return str(int(value))


def writable(value: object) -> str:
    """Return text that a file can take: no NUL, nothing that has no bytes."""
    if isinstance(value, str) and "\0" not in value:
        value.encode("utf-8", "surrogateescape")  # raises UnicodeEncodeError, a ValueError
        return value or "\n"  # an empty write never reaches the kernel; a newline clears the file
    refuse(value, "text without NUL")


class Int(Codec["int", "SupportsIndex | str"]):
    """A plain number."""

    def __init__(self, unit: str = "") -> None:
        self.takes = f"int, {unit}" if unit else "int"

    def decode(self, text: str) -> int:
        return int(text)

    def encode(self, value: SupportsIndex | str, current: str = "") -> str:
        return str(whole_number(value))


class Reported(Int):
    """A number that this version reports and does not take."""

    def encode(self, value: SupportsIndex | str, current: str = "") -> str:
        return Codec.encode(self, value)


class Flag(Codec[bool, "int | str"]):
    """0 or 1."""

    takes = "bool"

    def decode(self, text: str) -> bool:
        return int(text) != 0

    def encode(self, value: int | str, current: str = "") -> str:
        return zero_or_one(value)


class Limit(Codec["Amount", "AmountLike"]):
    """A count that may be UNLIMITED, for which the file has a word of its own."""

    def __init__(self, no_limit: str, unit: str = "") -> None:
        self._no_limit = no_limit
        self.takes = f"int{', ' + unit if unit else ''}; UNLIMITED, -1 or 'max' for no limit"

    def decode(self, text: str) -> Amount:
        if text == self._no_limit:
            return UNLIMITED
        number = int(text)
        return number if number < _V1_NO_LIMIT else UNLIMITED

    def encode(self, value: AmountLike, current: str = "") -> str:
        number = self.parse(value)
        return self._no_limit if number == UNLIMITED else str(number)

    def parse(self, value: AmountLike) -> Amount:
        """Return the number that a value stands for."""
        return amount(value)


class Size(Limit):
    """A limit in bytes; text may use K, M, G, T (powers of 1024)."""

    def __init__(self, no_limit: str) -> None:
        super().__init__(no_limit)
        self.takes = "bytes as int, or text such as '10M' or '1GiB'; UNLIMITED, -1 or 'max' for no limit"

    def encode(self, value: AmountLike, current: str = "") -> str:
        if type(value) is int and 0 <= value <= _INT64_MAX:
            return str(value)
        return super().encode(value)

    def parse(self, value: AmountLike) -> Amount:
        return size(value)


class Percent(Codec[float, "float | str"]):
    """A percentage with two decimals, 0 to 100; 'max' is 100."""

    takes = "float, 0 to 100 per cent"
    _WHOLE = 100.0

    def decode(self, text: str) -> float:
        return self._WHOLE if text == "max" else float(text)

    def encode(self, value: float | str, current: str = "") -> str:
        try:
            number = self.decode(value.strip()) if isinstance(value, str) else float(value)
        except (TypeError, ValueError, OverflowError):
            refuse(value, "a percentage from 0 to 100")
        if isinstance(value, bool) or not 0 <= number <= self._WHOLE:
            refuse(value, "a percentage from 0 to 100")
        return f"{number:.2f}"


class Text(Codec[str, str]):
    """One line of text, as it stands in the file."""

    takes = "text"

    def decode(self, text: str) -> str:
        return text

    def encode(self, value: str, current: str = "") -> str:
        if "\n" in writable(value).rstrip("\n"):
            refuse(value, "one line of text")
        return writable(value)


class Raw(Codec[str, "str | int"]):
    """Any control file as text; several lines are written one by one."""

    takes = "text"

    def decode(self, text: str) -> str:
        return text

    def encode(self, value: str | int, current: str = "") -> str:
        return str(value) if type(value) is int else writable(value)


class Word(Text):
    """One word of a known set."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.takes = " or ".join(repr(word) for word in words)

    def encode(self, value: str, current: str = "") -> str:
        if value not in self._words:
            refuse(value, self.takes)
        return value


class Frozen(Word):
    """v2's `cgroup.freeze`, with `cgroup.events` beside it, in the words of v1's `freezer.state`."""

    def __init__(self) -> None:
        super().__init__("FROZEN", "THAWED")

    def decode(self, text: str) -> str:
        wanted, *events = text.splitlines()
        if "frozen 1" in events:
            return "FROZEN"
        return "FREEZING" if wanted == "1" else "THAWED"

    def encode(self, value: str, current: str = "") -> str:
        return "1" if super().encode(value) == "FROZEN" else "0"

    def normal(self, value: str) -> str:
        return super().encode(value)


class Words(Codec["tuple[str, ...]", "Any"]):
    """Words between blanks, as a tuple."""

    takes = "a tuple of words"

    def decode(self, text: str) -> tuple[str, ...]:
        return tuple(text.split())


class Lines(Codec["tuple[str, ...]", "Any"]):
    """Lines of text, as a tuple."""

    takes = "a tuple of lines"

    def decode(self, text: str) -> tuple[str, ...]:
        return tuple(text.splitlines())


class Ints(Codec["tuple[int, ...]", "Any"]):
    """Numbers between blanks, as a tuple."""

    def __init__(self, unit: str = "") -> None:
        self.takes = f"a tuple of ints{', ' + unit if unit else ''}"

    def decode(self, text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split()))


INT, FLAG, TEXT, RAW, WORDS, LINES, YES = Int(), Flag(), Text(), Raw(), Words(), Lines(), Word("1")
MICROSECONDS, NANOSECONDS, TICKS = Int("microseconds"), Int("nanoseconds"), Int("clock ticks")
USAGE, REPORTED = Int("bytes"), Reported("bytes")
BYTES, MAX = Size("-1"), Size("max")
"""A size limit as v1 writes it, and as v2 does."""
COUNT, QUOTA = Limit("max"), Limit("-1", "microseconds")
PERCENT, FROZEN = Percent(), Frozen()
PIDS = Ints()
