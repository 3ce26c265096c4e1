# SPDX-License-Identifier: MIT
"""The words for limits: what they stand for, and what is refused before any group is touched."""

from __future__ import annotations

from typing import Any

import pytest

from pycgroup import UNLIMITED, Cgroup, InvalidValueError, Limits, limited


@pytest.mark.parametrize(
    ("words", "kind", "values"),
    [
        ({"memory": "64M"}, Cgroup.MEMORY, {"limit_in_bytes": "64M"}),
        ({"memory": "1M", "swap": 0}, Cgroup.MEMORY, {"limit_in_bytes": "1M", "memsw_limit_in_bytes": 1 << 20}),
        ({"memory": 4096, "swap": "1K"}, Cgroup.MEMORY, {"limit_in_bytes": 4096, "memsw_limit_in_bytes": 5120}),
        ({"cpus": 0.5}, Cgroup.CPU, {"cfs_period_us": 100_000, "cfs_quota_us": 50_000}),
        ({"cpus": UNLIMITED}, Cgroup.CPU, {"cfs_period_us": 100_000, "cfs_quota_us": UNLIMITED}),
        ({"cpu_shares": 512}, Cgroup.CPU, {"shares": 512}),
        ({"cpuset": "0-1", "mems": "0"}, Cgroup.CPUSET, {"cpus": "0-1", "mems": "0"}),
        ({"pids": 32}, Cgroup.PIDS, {"max": 32}),
        (
            {"io": {"8:0": {"rbps": "10M", "wiops": 5}, "8:16": {"rbps": 1}}},
            Cgroup.BLKIO,
            {"throttle_read_bps_device": {"8:0": "10M", "8:16": 1}, "throttle_write_iops_device": {"8:0": 5}},
        ),
    ],
)
def test_a_word_stands_for_settings(words: dict[str, Any], kind: Any, values: dict[str, Any]) -> None:
    assert Limits(**words).settings() == {kind: values}


def test_nothing_is_limited_without_words() -> None:
    assert not Limits()
    assert not Limits(memory=None, cpus=None)
    assert Limits(memory=None).settings() == {}


def test_a_limit_of_zero_is_a_limit() -> None:
    assert Limits(pids=0).settings() == {Cgroup.PIDS: {"max": 0}}


@pytest.mark.parametrize("cpus", [0, -1, 0.001, "1", True, float("nan")])
def test_cpus_is_a_number_of_cpus(cpus: Any) -> None:
    with pytest.raises(InvalidValueError, match="not a number of CPUs"):
        Limits(cpus=cpus)


def test_swap_needs_memory() -> None:
    with pytest.raises(InvalidValueError, match="needs memory="):
        Limits(swap=0)


def test_a_decimal_unit_is_refused_with_the_word_that_had_it() -> None:
    with pytest.raises(InvalidValueError, match=r"memory='64MB'.*write '64M'"):
        Limits(memory="64MB", swap=0)


@pytest.mark.parametrize("io", [{"8:0": {"speed": 1}}, {"8:0": 5}, "8:0 5"])
def test_io_is_by_device_and_word(io: Any) -> None:
    with pytest.raises(InvalidValueError, match="rbps, wbps, riops, wiops"):
        Limits(io=io)


@pytest.mark.parametrize("amount", [0, "0", "0K"])
def test_io_of_nothing_is_refused(amount: Any) -> None:
    """A kernel of v1 takes 0 for no limit at all."""
    with pytest.raises(InvalidValueError, match="at least 1"):
        Limits(io={"8:0": {"rbps": amount}})


@pytest.mark.parametrize("cpus", ["", [], set()])
@pytest.mark.parametrize("word", ["cpuset", "mems"])
def test_a_set_of_no_cpus_is_refused(word: str, cpus: Any) -> None:
    with pytest.raises(InvalidValueError, match=f"{word}=.* is empty"):
        Limits(**{word: cpus})


def test_an_iterator_of_cpus_is_read_once() -> None:
    assert (Limits(cpuset=iter([0, 1])) | Limits(pids=5)).settings()[Cgroup.CPUSET] == {"cpus": "0-1"}


@pytest.mark.parametrize("words", [{"memory": "64X"}, {"memory": True}, {"pids": True}, {"pids": "many"}, {"pids": -2}])
def test_what_no_kernel_takes_is_refused_at_once(words: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(words))):
        Limits(**words)


@pytest.mark.parametrize("make", [Cgroup, lambda _, limits: limited(limits)])
def test_limits_are_an_object_or_words(make: Any) -> None:
    with pytest.raises(TypeError, match="no object of Limits: write limits in words"):
        make("test", "64M")


@pytest.mark.parametrize("word", ["cpus", "pids", "memory"])
def test_words_that_were_given_before_are_not_taken_for_others(word: str) -> None:
    assert Limits.joined(None, {word: 1}) is Limits.joined(None, {word: 1})  # type: ignore[misc]
    with pytest.raises(InvalidValueError, match=f"{word}=True"):
        Limits.joined(None, {word: True})  # type: ignore[misc]
    assert repr(Limits.joined(None, {word: "1"} if word != "cpus" else {word: 1.0})) != f"Limits({word}=1)"  # type: ignore[misc]


def test_a_value_that_changes_is_read_each_time() -> None:
    numbers = {"first": 0}
    cpus = numbers.values()
    assert Limits.joined(None, {"cpuset": cpus}).settings()[Cgroup.CPUSET] == {"cpus": "0"}
    numbers["second"] = 1
    assert Limits.joined(None, {"cpuset": cpus}).settings()[Cgroup.CPUSET] == {"cpus": "0-1"}


def test_the_nearest_word_is_named() -> None:
    with pytest.raises(TypeError, match="no limit 'memroy'; did you mean 'memory'"):
        Limits(memroy="64M")  # type: ignore[call-arg]


def test_an_unknown_word_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="memroy"):
        Limits(memroy="64M")  # type: ignore[call-arg]


def test_two_are_joined_and_the_second_wins() -> None:
    assert Limits(memory="1M", pids=5) | Limits(memory="2M") == Limits(memory="2M", pids=5)
    assert Limits(memory="1M") != Limits()


def test_it_shows_what_it_was_given() -> None:
    assert repr(Limits(pids=32, memory="64M")) == "Limits(memory='64M', pids=32)"
