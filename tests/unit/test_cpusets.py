# SPDX-License-Identifier: MIT
"""Lists of CPUs: what is taken, how it prints, and that a set comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycgroup.cpusets import CPUS, CpuSet


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("0-2,5", "0-2,5"),
        ("5, 0-2", "0-2,5"),
        ("1,0", "0-1"),
        ("0-7:1/2", "0,2,4,6"),
        ("0-7:2/4", "0-1,4-5"),
        (" 3\n", "3"),
        (3, "3"),
        ({0, 1, 2, 5}, "0-2,5"),
        ([5, 0, 5], "0,5"),
        (range(4), "0-3"),
        (CpuSet({1}), "1"),
        (["0", 1], "0-1"),
    ],
)
def test_lists(value: Any, text: str) -> None:
    assert CPUS.encode(value) == text
    assert str(CPUS.normal(value)) == text


@pytest.mark.parametrize("value", ["", [], set(), " \n"])
def test_the_empty_set_is_written_as_a_newline(value: Any) -> None:
    assert CPUS.encode(value) == "\n"
    assert CPUS.normal(value) == set()


WRONG = [
    "a",
    "2-1",
    "0-",
    "-1",
    "0,,1",
    "0-7:3/2",
    "0-7:0/2",
    "1.5",
    "0x1",
    "0-99999999999",
    "9999999",
    "\ud800",
    "0\x00",
]


@pytest.mark.parametrize("value", [*WRONG, -1, 1.5, None, True, b"0", [b"0"], [-1], {2**30}, [[0]], object()])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a list of CPUs"):
        CPUS.encode(value)


@pytest.mark.parametrize("text", ["0-", "-1", "2-x", "0-3:"])
def test_what_is_refused_is_shown_whole(text: str) -> None:
    with pytest.raises(ValueError, match=f"^'{text}' is not a list"):
        CPUS.encode(text)


@given(st.frozensets(st.integers(0, 8191), max_size=50))
def test_sets_come_back(numbers: frozenset[int]) -> None:
    assert CpuSet.parse(str(CpuSet(numbers))) == numbers == CPUS.normal(numbers)


@given(st.text(alphabet="0123456789-,:/ \nax"))
def test_any_text_is_a_set_or_refused(text: str) -> None:
    try:
        cpus = CpuSet.parse(text)
    except ValueError:
        return
    assert CpuSet.parse(str(cpus)) == cpus


def test_a_cpu_set_is_a_set_of_ints() -> None:
    cpus = CpuSet.parse("0-2,5")
    assert cpus == {0, 1, 2, 5}
    assert 5 in cpus
    assert len(cpus) == 4
    assert cpus | {6} == {0, 1, 2, 5, 6}
    assert hash(cpus) == hash(frozenset({0, 1, 2, 5}))
    assert repr(cpus) == "CpuSet('0-2,5')"
