# SPDX-License-Identifier: MIT
"""Sizes of huge pages, as HUGETLB takes them and as the kernel names its files by them."""

from __future__ import annotations

import pytest

from pycgroup import Cgroup, InvalidNameError
from pycgroup.sized import page_size, page_sizes


@pytest.mark.parametrize("size", ["2MB", "1GB", "64KB"])
def test_sizes_that_are_taken(size: str) -> None:
    assert page_size(size) == size
    assert Cgroup.HUGETLB("test", page_size=size).page_size == size


@pytest.mark.parametrize(
    "size", ["", "MB", "2", "2mb", "2 MB", "2TB", "../2MB", "2MB\n", "²MB", "-2MB", 2, b"2MB", True]
)
def test_sizes_that_are_not(size: object) -> None:
    with pytest.raises(InvalidNameError, match="size of huge pages"):
        Cgroup.HUGETLB("test", page_size=size)  # type: ignore[arg-type]


def test_the_default_is_one_of_the_machine() -> None:
    sizes = page_sizes()
    assert sizes == Cgroup.HUGETLB.page_sizes()
    assert not sizes or page_size(None) in sizes
