# SPDX-License-Identifier: MIT
"""Text <-> value, for every format of a single value: what is taken, what is refused, what comes back."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycgroup import codecs
from pycgroup.codecs import BYTES, COUNT, FLAG, INT, MAX, PERCENT, QUOTA, RAW, TEXT, UNLIMITED, WORDS, Codec, Word
from pycgroup.errors import UnsupportedSettingError

INT64_MAX = 2**63 - 1
NO_LIMITS = [UNLIMITED, math.inf, -1, "-1", "max", " max\n"]


class Eight:
    """Acts as an int without being one."""

    def __index__(self) -> int:
        return 8


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (8192, "8192"),
        (INT64_MAX, str(INT64_MAX)),
        (Eight(), "8"),
        ("8192", "8192"),
        (" 8192\n", "8192"),
        ("8K", "8192"),
        ("8k", "8192"),
        ("8 K", "8192"),
        ("8KiB", "8192"),
        ("8B", "8"),
        ("10M", "10485760"),
        ("1GiB", "1073741824"),
        ("2T", str(2 << 40)),
        ("1P", str(1 << 50)),
        ("1E", str(1 << 60)),
    ],
)
def test_sizes(value: Any, text: str) -> None:
    assert BYTES.encode(value) == MAX.encode(value) == text


@pytest.mark.parametrize("value", NO_LIMITS)
def test_no_limit_is_written_in_the_words_of_the_file(value: Any) -> None:
    assert BYTES.encode(value) == QUOTA.encode(value) == "-1"
    assert MAX.encode(value) == COUNT.encode(value) == "max"


@pytest.mark.parametrize("text", ["9223372036854771712", "9223372036854710272", "-1", "18446744073709551615"])
def test_what_v1_shows_for_no_limit_reads_as_unlimited(text: str) -> None:
    assert BYTES.decode(text) == UNLIMITED


def test_max_reads_as_unlimited() -> None:
    assert MAX.decode("max") == COUNT.decode("max") == UNLIMITED


def test_unlimited_compares_as_a_number() -> None:
    assert UNLIMITED > INT64_MAX


@pytest.mark.parametrize(
    "text", ["8MB", "8 kB", "1.5G", "8X", "", " ", "K", "0x10", "-8K", "+8K", "iB", "8iB", "1_000", "8M8"]
)
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        BYTES.encode(text)


def test_a_decimal_unit_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="write '8M'"):
        BYTES.encode("8MB")


NOT_NUMBERS = [
    1.5,
    math.nan,
    -math.inf,
    True,
    None,
    b"8",
    [8],
    {8},
    {8: 8},
    object(),
    "8" * 5000,
    "\ud800",
    "8\0",
    "8\n9",
]


@pytest.mark.parametrize("codec", [INT, BYTES, MAX, COUNT, QUOTA])
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: repr(value)[:20])
def test_what_is_no_number_is_refused(codec: Codec[Any, Any], value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the wording is another test's
        codec.encode(value)


@pytest.mark.parametrize("codec", [BYTES, MAX, COUNT, QUOTA])
@pytest.mark.parametrize("value", [-2, -(2**63), 2**63, 2**64, 10**400, "16E", "9223372036854775808"])
def test_what_the_kernel_cannot_hold_is_refused(codec: Codec[Any, Any], value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        codec.encode(value)


@given(st.integers(0, codecs._V1_NO_LIMIT - 1))
def test_limits_come_back(number: int) -> None:
    for codec in (BYTES, MAX, COUNT, QUOTA):
        assert codec.decode(codec.encode(number)) == number == codec.normal(number)


@given(st.integers(-(2**63), 2**64 - 1))
def test_numbers_come_back(number: int) -> None:
    assert INT.normal(number) == number == INT.normal(str(number))


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.lists(st.integers())))
def test_any_value_is_taken_as_plain_digits_or_refused(value: Any) -> None:
    for codec in (INT, BYTES, MAX, COUNT):
        try:
            text = codec.encode(value)
        except ValueError:
            continue
        assert re.fullmatch(r"max|-?[0-9]+", text, re.ASCII)


@pytest.mark.parametrize(("value", "text"), [(True, "1"), (False, "0"), (1, "1"), (0, "0"), ("1", "1"), ("0", "0")])
def test_flags(value: Any, text: str) -> None:
    assert FLAG.encode(value) == text
    assert FLAG.normal(value) is (text == "1")


@pytest.mark.parametrize("value", [2, -1, "yes", "", None, 1.0, b"1", [1], "1\n0"])
def test_other_flags_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a bool"):
        FLAG.encode(value)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (12.5, "12.50"), ("max", "100.00"), ("7.25", "7.25"), (100, "100.00")]
)
def test_percentages(value: Any, text: str) -> None:
    assert PERCENT.encode(value) == text


@pytest.mark.parametrize("value", [-1, 100.01, math.nan, math.inf, "x", None, True, [], 10**400])
def test_other_percentages_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="percentage"):
        PERCENT.encode(value)


def test_a_fraction_is_a_percentage() -> None:
    assert PERCENT.encode(Fraction(25, 2)) == "12.50"  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["two\nlines", "nul\0", None, 1, b"x"])
def test_text_is_one_line(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not .*text"):
        TEXT.encode(value)


@pytest.mark.parametrize("value", ["nul\0", None, 1.5, True, b"x"])
def test_raw_text_has_no_nul(value: Any) -> None:
    with pytest.raises(ValueError, match="without NUL"):
        RAW.encode(value)


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_raw_text_comes_back(text: str) -> None:
    assert RAW.normal(text) == text


def test_words_of_a_set() -> None:
    state = Word("FROZEN", "THAWED")
    assert state.normal("FROZEN") == "FROZEN"
    for other in ("frozen", "", None, ["FROZEN"], "FROZEN\n"):
        with pytest.raises(ValueError, match="'FROZEN' or 'THAWED'"):
            state.encode(other)  # type: ignore[arg-type]


def test_tuples() -> None:
    assert WORDS.decode("cpu memory") == ("cpu", "memory")
    assert codecs.LINES.decode("a b\nc") == ("a b", "c")
    assert codecs.PIDS.decode("1\n2\n") == (1, 2)
    assert WORDS.decode("") == codecs.LINES.decode("") == codecs.PIDS.decode("") == ()


@pytest.mark.parametrize("codec", [WORDS, codecs.LINES, codecs.PIDS])
def test_what_only_reads_refuses_to_write(codec: Codec[Any, Any]) -> None:
    with pytest.raises(UnsupportedSettingError):
        codec.encode("x")


def test_every_codec_says_what_it_takes() -> None:
    for name, codec in vars(codecs).items():
        if isinstance(codec, Codec) and name not in ("WORDS", "LINES"):
            assert codec.takes, name
