# SPDX-License-Identifier: MIT
"""Stat files: frozen objects with attributes that answer on either version, and mappings of the kernel's own keys."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

from pycgroup import stats
from pycgroup.controllers import HUGETLB
from pycgroup.errors import UnsupportedSettingError

MEMORY_V1 = "cache 4096\nrss 8192\ntotal_cache 4096\nhierarchical_memory_limit 8192"
MEMORY_V2 = "anon 8192\nfile 4096\nfile_mapped 1"
HZ = os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("text", [MEMORY_V1, MEMORY_V2])
def test_memory_stat_answers_to_the_names_of_both_versions(text: str) -> None:
    stat = stats.MEMORY_STAT.decode(text)
    assert stat.cache == stat.file == 4096
    assert stat.rss == stat.anon == 8192


def test_the_mapping_holds_what_the_kernel_wrote() -> None:
    stat = stats.MEMORY_STAT.decode(MEMORY_V1)
    assert dict(stat) == {"cache": 4096, "rss": 8192, "total_cache": 4096, "hierarchical_memory_limit": 8192}
    assert "file" not in stat
    assert stat["cache"] == 4096
    assert len(stat) == 4
    assert stat == stats.MEMORY_STAT.decode(MEMORY_V1)


def test_a_key_that_the_kernel_does_not_write() -> None:
    stat = stats.MEMORY_STAT.decode(MEMORY_V1)
    assert not hasattr(stat, "shmem")
    with pytest.raises(AttributeError, match=r"MemoryStat has no 'shmem'; it has cache, rss"):
        _ = stat.shmem
    with pytest.raises(KeyError):
        _ = stat["shmem"]


def test_dir_lists_what_answers() -> None:
    names = dir(stats.MEMORY_STAT.decode(MEMORY_V1))
    assert {"cache", "file", "rss", "anon", "total_cache", "keys"} <= set(names)
    assert "file_mapped" not in names


def test_stats_are_frozen() -> None:
    stat = stats.MEMORY_STAT.decode(MEMORY_V1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        stat.cache = 1
    with pytest.raises(TypeError):
        stat["cache"] = 1  # type: ignore[operator]


def test_stats_can_be_copied_and_pickled() -> None:
    stat = stats.MEMORY_STAT.decode(MEMORY_V1)
    for other in (copy.copy(stat), copy.deepcopy(stat), pickle.loads(pickle.dumps(stat))):
        assert type(other) is stats.MemoryStat
        assert other == stat


def test_repr_shows_the_figures() -> None:
    assert repr(stats.STAT.decode("a 1\nb 2")) == "Stat(a=1, b=2)"
    assert repr(stats.FrozenMap({"a": 1})) == "{'a': 1}"


def test_an_odd_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        stats.STAT.decode("a 1\nb")


def test_oom_control() -> None:
    control = stats.OOM_CONTROL.decode("oom_kill_disable 1\nunder_oom 0\noom_kill 3")
    assert (control.oom_kill_disable, control.under_oom, control.oom_kill) == (True, False, 3)
    assert control["oom_kill_disable"] == 1


def test_oom_control_on_v2_is_never_disabled() -> None:
    control = stats.OOM_ALWAYS_ON.decode("low 0\nhigh 0\nmax 5\noom 2\noom_kill 1")
    assert (control.oom_kill_disable, control.under_oom, control.oom_kill) == (False, False, 1)


@pytest.mark.parametrize(("value", "text"), [(True, "1"), (False, "0"), (1, "1"), ("0", "0")])
def test_oom_control_takes_a_bool(value: object, text: str) -> None:
    assert stats.OOM_CONTROL.encode(value) == text
    assert stats.OOM_CONTROL.normal(value).oom_kill_disable is (text == "1")


@pytest.mark.parametrize("value", [2, None, "yes", [1], b"1", 1.0])
def test_oom_control_takes_nothing_else(value: object) -> None:
    with pytest.raises(ValueError, match="is not a bool"):
        stats.OOM_CONTROL.encode(value)


def test_memory_events() -> None:
    events = stats.MEMORY_EVENTS.decode("low 0\nhigh 1\nmax 5\noom 2\noom_kill 1")
    assert (events.high, events.max, events.oom_kill) == (1, 5, 1)
    assert not hasattr(events, "oom_group_kill")


def test_cpu_stat_counts_throttled_time_in_the_unit_that_the_name_says() -> None:
    v1 = stats.CPU_STAT.decode("nr_periods 4\nnr_throttled 2\nthrottled_time 5000\nburst_time 1000")
    v2 = stats.CPU_STAT.decode("usage_usec 9\nthrottled_usec 5\nburst_usec 1")
    assert v1.throttled_time == v2.throttled_time == 5000
    assert v1.throttled_usec == v2.throttled_usec == 5
    assert v1.burst_time == v2.burst_time == 1000
    assert v1.burst_usec == v2.burst_usec == 1


def test_cpuacct_stat_is_in_clock_ticks_on_either_version() -> None:
    v1 = stats.CPUACCT_STAT.decode(f"user {HZ}\nsystem {2 * HZ}")
    v2 = stats.CPUACCT_STAT.decode("usage_usec 3000000\nuser_usec 1000000\nsystem_usec 2000000")
    assert v1.user == v2.user == HZ
    assert v1.system == v2.system == 2 * HZ


def test_a_field_of_a_stat_file() -> None:
    assert stats.Field("usage_usec", 1000, "ns").decode("usage_usec 7\nuser_usec 3") == 7000


def test_pressure() -> None:
    text = "some avg10=0.50 avg60=1.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    pressure = stats.PRESSURE.decode(text)
    assert pressure["some"]["avg10"] == 0.5
    assert pressure["some"]["total"] == 12
    assert set(pressure) == {"some", "full"}


def test_numa_stat() -> None:
    text = "total=5 N0=3 N1=2\nfile=1 N0=1 N1=0\nhierarchical_total=5 N0=3 N1=2"
    stat = stats.NUMA_STAT.decode(text)
    assert stat["total"] == {"total": 5, "N0": 3, "N1": 2}
    assert stat["file"]["N0"] == 1


def test_usage_all() -> None:
    usage = stats.USAGE_ALL.decode("cpu user system\n0 5 6\n1 7 8")
    assert usage[1].user == 7
    assert usage[0]["system"] == 6


def test_huge_pages_of_v2_have_the_lines_of_v1() -> None:
    assert HUGETLB.numa_stat.v2 is not None
    assert HUGETLB.numa_stat.v2.codec.decode("total=2097152 N0=2097152") == {"total": {"total": 2097152, "N0": 2097152}}


def test_swap_in_use_is_not_what_the_swap_cache_holds() -> None:
    v2 = stats.MEMORY_STAT.decode("anon 5\nswapcached 4096")
    assert v2.swapcached == 4096
    with pytest.raises(AttributeError, match="no 'swap'"):
        _ = v2.swap


def test_costs_of_io_may_be_fractions() -> None:
    assert stats.IO_STAT.decode("8:0 rbytes=5 cost.vrate=99.50") == {"8:0": {"rbytes": 5, "cost.vrate": 99.5}}
    assert type(stats.IO_STAT.decode("8:0 rbytes=5")["8:0"]["rbytes"]) is int


def test_the_killer_that_is_always_on_may_be_staged_as_on() -> None:
    assert not stats.OOM_ALWAYS_ON.normal(False).oom_kill_disable
    with pytest.raises(UnsupportedSettingError):
        stats.OOM_ALWAYS_ON.normal(True)
