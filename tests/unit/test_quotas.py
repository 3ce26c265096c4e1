# SPDX-License-Identifier: MIT
"""What v2 keeps in one file or in another unit: the conversions, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycgroup.codecs import UNLIMITED
from pycgroup.quotas import CPU_PERIOD, CPU_QUOTA, MEMSW, MEMSW_USAGE, SHARES


def test_the_quota_is_the_first_number_of_cpu_max() -> None:
    assert CPU_QUOTA.decode("30000 100000") == 30000
    assert CPU_QUOTA.decode("max 100000") == UNLIMITED
    # The kernel keeps the period where only one number is written.
    assert CPU_QUOTA.encode(30000) == "30000"
    assert CPU_QUOTA.encode(-1) == "max"


def test_the_period_is_the_second_number_of_cpu_max() -> None:
    assert CPU_PERIOD.decode("30000 50000") == 50000
    assert CPU_PERIOD.encode(50000, "30000 100000") == "30000 50000"
    assert CPU_PERIOD.encode("50000", "max 100000") == "max 50000"
    assert CPU_PERIOD.normal(50000) == 50000


@pytest.mark.parametrize(("shares", "weight"), [(1024, 100), (2048, 200), (512, 50), (2, 1), (262144, 10000), (1, 1)])
def test_shares_are_weights_of_the_same_ratio(shares: int, weight: int) -> None:
    assert SHARES.encode(shares) == str(weight)


@given(st.integers(1, 10000))
def test_a_weight_comes_back_as_itself(weight: int) -> None:
    assert SHARES.encode(SHARES.decode(str(weight))) == str(weight)


@given(st.integers(11, 102400))
def test_shares_come_back_to_a_tenth(shares: int) -> None:
    assert abs(SHARES.normal(shares) - shares) <= max(10.24, shares * 0.1)


@pytest.mark.parametrize(
    ("swap", "memory", "total"),
    [("8192", "4096", 12288), ("0", "4096", 4096), ("max", "4096", UNLIMITED), ("max", "max", UNLIMITED)],
)
def test_memory_and_swap_are_two_files(swap: str, memory: str, total: Any) -> None:
    assert MEMSW.decode(f"{swap}\n{memory}") == total
    assert MEMSW.encode(total, f"{swap}\n{memory}") == swap


@pytest.mark.parametrize("value", [4095, 0, "1K"])
def test_memory_and_swap_is_at_least_memory(value: Any) -> None:
    with pytest.raises(ValueError, match="at least limit_in_bytes"):
        MEMSW.encode(value, "max\n4096")


def test_memory_and_swap_needs_a_memory_limit() -> None:
    with pytest.raises(ValueError, match="set limit_in_bytes first"):
        MEMSW.encode("1G", "max\nmax")


def test_memory_and_swap_is_staged_as_it_will_be() -> None:
    assert MEMSW.normal("1G") == 1 << 30
    assert MEMSW.normal(-1) == UNLIMITED


def test_usage_is_the_sum_of_two_files() -> None:
    assert MEMSW_USAGE.decode("4096\n8192") == 12288


def test_shares_below_nothing_are_refused_as_on_v1() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        SHARES.encode(-5)
