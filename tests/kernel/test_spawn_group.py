# SPDX-License-Identifier: MIT
"""Cgroup(...): several controllers as one group, made and removed as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pycgroup import (
    UNLIMITED,
    Cgroup,
    GroupBusyError,
    GroupExistsError,
    GroupNotFoundError,
    InvalidValueError,
    Limits,
    NoSuchProcessError,
    PermissionDeniedError,
    UnavailableError,
)
from pycgroup.combined import _attach_if_alive
from pycgroup.hosts import here
from pycgroup.steps import steps
from tests.support import machine, oracle
from tests.support.capabilities import needs
from tests.support.groups import leftovers
from tests.support.processes import NOBODY, forked, idle
from tests.support.whereabouts import outside

pytestmark = [needs("memory"), needs("pids")]

PIPE = subprocess.PIPE
MIB = 1 << 20


def _places(text: str) -> list[str]:
    return sorted(each for each in machine.groups() if os.path.basename(each) == text)


def test_it_is_made_with_its_limits_and_removed(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, memory="64M", pids=32) as group:
        assert oracle.cgget(name, "pids.max") == "32"
        assert group.memory.limit_in_bytes == 64 * MIB
        assert group.pids.max == 32
        assert group.exists()
        assert all(map(os.path.isdir, group.paths))
        paths = group.paths
    assert not any(map(os.path.exists, paths))
    assert not group.exists()


def test_without_a_name_each_has_its_own() -> None:
    with Cgroup(pids=5) as one, Cgroup(pids=6) as two:
        assert one.name != two.name
        assert (one.pids.max, two.pids.max) == (5, 6)


def test_the_same_object_can_be_entered_again(unique: Callable[..., str]) -> None:
    group = Cgroup(unique("pids"), pids=5)
    for _ in range(2):
        with group:
            assert group.run(["true"]).returncode == 0
        assert not group.exists()


@needs("cpu")
@needs("cpuset")
def test_every_word_at_once(unique: Callable[..., str]) -> None:
    name = unique("memory", "cpu", "cpuset", "pids")
    with Cgroup(name, memory="64M", cpus=0.5, cpu_shares=512, cpuset="0", pids=9) as group:
        assert group.cpu.cfs_quota_us == group.cpu.cfs_period_us // 2
        assert group.cpu.shares == 512
        assert group.cpuset.cpus == {0}
        done = group.run(["grep", "Cpus_allowed_list", "/proc/self/status"], stdout=PIPE, text=True)
        assert done.stdout.split() == ["Cpus_allowed_list:", "0"]


@needs("cpuset")
def test_a_cpuset_below_a_group_that_is_missing(unique: Callable[..., str]) -> None:
    name = unique("cpuset")
    with Cgroup(f"{name}/inner", cpuset="0") as group:
        assert group.run(["true"]).returncode == 0
    assert not any(leftovers(os.path.basename(name)))


@needs("memory.memsw.limit_in_bytes:v1")
def test_no_swap() -> None:
    with Cgroup(memory="64M", swap=0) as group:
        assert group.memory.memsw_limit_in_bytes == 64 * MIB


def test_limits_as_an_object_and_words_beside_it(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), Limits(pids=5), memory="16M") as group:
        assert group.limits == Limits(pids=5, memory="16M")
        assert group.pids.max == 5


LIMITS = Limits(memory="16M", pids=5)


@pytest.mark.parametrize("make", [lambda name: Cgroup(name, memory="16M", pids=5), lambda name: Cgroup(name, LIMITS)])
def test_each_of_several_groups_is_limited(unique: Callable[..., str], make: Callable[[str], Cgroup]) -> None:
    """What limits come to is worked out once for all groups that have them."""
    name = unique("memory", "pids")
    for number in range(3):
        with make(f"{name}-{number}"):
            assert oracle.read("pids", f"{name}-{number}", "pids.max") == "5"
            assert oracle.memory_limit(f"{name}-{number}") == 16 * MIB


def test_what_limits_come_to_is_worked_out_again_for_another_mount_table() -> None:
    group = Cgroup(limits=LIMITS)
    first = steps(group)
    assert steps(Cgroup(limits=LIMITS)) is first
    here(again=True)
    assert steps(group) is not first


def test_what_the_kernel_refuses_it_refuses_each_time(unique: Callable[..., str]) -> None:
    name, said = unique("memory", "pids"), set()
    for _ in range(2):
        with pytest.raises(InvalidValueError, match=r"pids\.max") as caught, Cgroup(name, memory="16M", pids=2**22 + 1):
            raise AssertionError
        said.add(str(caught.value))
    assert len(said) == 1
    assert _places(os.path.basename(name)) == []


@pytest.mark.parametrize(
    "words",
    [{"pids": -5}, {"memory": "64M", "pids": "many"}, pytest.param({"cpuset": "4000"}, marks=needs("cpuset"))],
)
def test_a_limit_that_is_refused_leaves_nothing_behind(unique: Callable[..., str], words: dict[str, str]) -> None:
    name = unique("memory", "pids")
    with pytest.raises(InvalidValueError), Cgroup(name, **words):  # type: ignore[arg-type]  # what is shown
        raise AssertionError
    assert _places(os.path.basename(name)) == []


@needs("root")
def test_what_this_user_may_not_make_leaves_nothing_behind(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    with pytest.raises(PermissionDeniedError):
        forked(lambda: Cgroup(name, memory="64M", pids=5).create(), uid=NOBODY)
    assert _places(os.path.basename(name)) == []


def test_what_was_there_before_stays(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    directory = oracle.make("pids", name)
    with Cgroup(name, memory="64M", pids=5):
        assert oracle.read("pids", name, "pids.max") == "5"
        assert oracle.exists("memory", name)
    assert os.path.isdir(directory)
    os.rmdir(directory)


def test_create_and_delete(unique: Callable[..., str]) -> None:
    group = Cgroup(unique("memory", "pids"), pids=5)
    assert repr(group).endswith("pids=5 (does not exist)>")
    assert group.create() is group
    assert group.exists()
    with pytest.raises(GroupExistsError):
        group.create()
    group.delete()
    assert not group.exists()
    with pytest.raises(GroupNotFoundError):
        group.delete()


@pytest.mark.parametrize("user", [None, 0])
def test_a_group_that_was_killed_goes_on(user: int | None) -> None:
    with Cgroup(memory="64M", pids=20) as group:
        process = group.popen(["sleep", "1000"])
        group.kill()
        assert process.wait(timeout=60) == -9
        assert group.run(["true"], user=user if os.geteuid() == 0 else None).returncode == 0


def test_it_is_marked_by_its_name_in_repr(unique: Callable[..., str]) -> None:
    name = unique("pids")
    with Cgroup(name, pids=5) as group:
        assert repr(group) == f"<Cgroup '/{name.lstrip('/')}' pids=5>"


def test_what_it_started_is_killed_even_what_has_let_go(unique: Callable[..., str]) -> None:
    name = unique("pids")
    with Cgroup(name, pids=50) as group:
        process = group.popen(["sh", "-c", "(setsid sleep 1000 &); echo; exec sleep 1000"], stdout=PIPE)
        assert process.stdout is not None
        process.stdout.readline()
    assert process.wait(timeout=60) == -9
    process.stdout.close()
    assert not oracle.exists("pids", name)


def test_what_was_brought_in_is_moved_out_alive(unique: Callable[..., str]) -> None:
    other = oracle.make("pids", unique("pids"))
    with idle(other) as brought:
        with Cgroup(unique("pids"), pids=50) as group:
            group.attach(brought.pid)
            assert brought.pid in group.processes()
            started = group.popen(["sleep", "1000"])
        assert started.wait(timeout=60) == -9
        assert brought.poll() is None
        assert brought.stdin is not None
        brought.stdin.close()
        assert brought.wait(timeout=60) == 0


def test_what_came_by_itself_before_the_first_start_is_moved_out_alive(unique: Callable[..., str]) -> None:
    name = unique("pids")
    outer = oracle.make("pids", unique("pids"))
    with idle(outer) as guest, Cgroup(name, pids=50) as group:
        oracle.write("pids", name, "cgroup.procs", str(guest.pid))
        _let_a_tick_pass()
        group.run(["true"])
        group.__exit__(None, None, None)
        assert guest.poll() is None
        group.__enter__()


def _let_a_tick_pass() -> None:
    """Wait until the kernel's clock of start times has gone on."""
    tick = 2 / os.sysconf("SC_CLK_TCK")
    end = time.monotonic() + tick
    while time.monotonic() < end:
        pass


def test_an_exception_in_the_block_changes_nothing(unique: Callable[..., str]) -> None:
    name = unique("pids")
    started = []

    def interrupted() -> None:
        with Cgroup(name, pids=50) as group:
            started.append(group.popen(["sleep", "1000"]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (process,) = started
    assert process.wait(timeout=60) == -9
    assert _places(os.path.basename(name)) == []


def test_this_process_goes_in_and_comes_back() -> None:
    def inside() -> tuple[list[str], str, str]:
        before = Path("/proc/self/cgroup").read_text()
        with Cgroup(pids=50) as group:
            group.attach()
            strays = outside(Path("/proc/self/cgroup").read_text(), group.paths)
        return strays, before, Path("/proc/self/cgroup").read_text()

    strays, before, after = forked(inside)
    assert strays == []
    assert before == after


def test_attach_to_all_or_to_none(unique: Callable[..., str]) -> None:
    with Cgroup(unique("memory", "pids"), memory="64M", pids=5) as group:
        with pytest.raises(NoSuchProcessError):
            group.attach(2**22 - 1)
        assert group.processes() == []


def test_of_a_process(unique: Callable[..., str]) -> None:
    with Cgroup(unique("memory", "pids"), memory="64M", pids=7) as group, group.popen(["cat"], stdin=PIPE) as process:
        there = Cgroup.of(process.pid)
        assert there.pids.max == 7
        assert there.memory.path == group.memory.path
        assert there.memory.limit_in_bytes == 64 << 20
        assert set(group.paths) <= set(there.paths)
        process.communicate()


def test_of_a_process_that_does_not_exist() -> None:
    with pytest.raises(NoSuchProcessError):
        Cgroup.of(2**22 - 1)


@pytest.mark.parametrize("pid", ["x", 0, -1, 1.5, True, None])
def test_of_what_is_no_process(pid: object) -> None:
    with pytest.raises(InvalidValueError, match="is not the id of a process"):
        Cgroup.of(pid)  # type: ignore[arg-type]


def test_a_word_that_means_nothing_is_not_kept(unique: Callable[..., str]) -> None:
    group = Cgroup(unique("memory"))
    with pytest.raises(AttributeError):
        group.limit_in_bytes = "64M"  # type: ignore[attr-defined]


def test_current() -> None:
    assert os.getpid() in Cgroup.current().view(Cgroup.PIDS).pids() or Cgroup.current().paths


def test_children_and_walk(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    with Cgroup(name, pids=9) as group, Cgroup(f"{name}/a", pids=8), Cgroup(f"{name}/b/c", pids=7):
        assert [os.path.basename(child.name) for child in group.children()] == ["a", "b"]
        assert group.children()[0].pids.max == 8
        assert [each.name.lstrip("/").removeprefix(name.lstrip("/")) for each in group.walk()] == [
            "",
            "/a",
            "/b",
            "/b/c",
        ]


def test_move_takes_all_of_another_group(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=9) as one, Cgroup(unique("pids"), pids=9) as two:
        started = [one.popen(["sleep", "1000"]) for _ in range(3)]
        two.move(tasks_from=one)
        assert one.processes() == []
        assert two.processes() == sorted(process.pid for process in started)
        one.move(tasks_from=two.pids)
        assert started[0].pid in one.pids.pids()
        one.kill()
        assert {process.wait(timeout=60) for process in started} == {-9}


def test_kill_ends_all(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=50) as group:
        process = group.popen(["sh", "-c", "while :; do sleep 1000 & sleep 1000; done"])
        group.kill()
        assert process.wait(timeout=60) == -9
        assert group.processes() == []


def test_delete_refuses_where_asked(unique: Callable[..., str]) -> None:
    group = Cgroup(unique("pids"), pids=50).create()
    process = group.popen(["sleep", "1000"])
    with pytest.raises(GroupBusyError):
        group.delete("refuse")
    group.delete("kill")
    assert process.wait(timeout=60) == -9


def test_import_stays_light() -> None:
    unwanted = "{'asyncio', 'subprocess', 'typing', 're', 'functools', 'collections'}"
    code = f"import pycgroup, sys; pycgroup.Cgroup; sys.exit(bool({unwanted} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-S", "-c", code], check=False, env=_environment()).returncode == 0


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_this_very_process_goes_in_and_is_moved_out(unique: Callable[..., str]) -> None:
    before = Path("/proc/self/cgroup").read_text()
    with Cgroup(unique("pids"), pids=500) as group:
        group.attach()
        assert os.getpid() in group.processes()
        group.detach()
        assert Path("/proc/self/cgroup").read_text() == before
        group.attach()
    assert Path("/proc/self/cgroup").read_text() == before


def test_a_controller_that_is_nowhere_mounted_is_not_had(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=5) as group:
        assert group.has(Cgroup.PIDS)
        assert group.rdma.group_name == group.pids.group_name if group.has(Cgroup.RDMA) else True


def test_every_controller_of_this_host_is_an_attribute(unique: Callable[..., str]) -> None:
    words = "cpu cpuacct cpuset blkio memory pids freezer devices hugetlb net_cls net_prio perf_event rdma misc"
    names = words.split()  # shorter than a list of so many
    group = Cgroup(unique("pids"))
    seen = []
    for name in names:
        try:
            seen.append(getattr(group, name))
        except UnavailableError:
            continue
    assert {type(view) for view in seen} >= {Cgroup.MEMORY, Cgroup.PIDS}
    assert all(view.path.endswith(f"/{group.name.lstrip('/')}") for view in seen)


def test_a_group_below_one_that_is_missing_takes_that_along(unique: Callable[..., str]) -> None:
    name = unique("pids")
    with Cgroup(f"{name}/a/b", pids=5) as group:
        assert group.pids.max == 5
        assert oracle.exists("pids", name)
    assert not oracle.exists("pids", name)


def test_unlimited_takes_a_controller_along_to_count(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=UNLIMITED) as group:
        assert group.pids.max == UNLIMITED
        assert group.run(["true"]).pids_peak is not None or not os.path.exists(f"{group.pids.path}/pids.peak")


def test_a_mount_table_that_is_read_again_changes_nothing(unique: Callable[..., str]) -> None:
    with Cgroup(unique("memory"), memory="32M") as group:
        here(again=True)
        assert group.has(Cgroup.MEMORY)
        assert group.run(["true"]).memory_peak is not None


def test_attach_to_a_group_that_is_partly_gone_moves_nothing(unique: Callable[..., str]) -> None:
    before = Path("/proc/self/cgroup").read_text()
    with Cgroup(unique("memory", "pids"), memory="64M", pids=5) as group:
        os.rmdir(group.paths[-1])
        if len(group.paths) > 1:
            with pytest.raises(GroupNotFoundError):
                group.attach()
    assert Path("/proc/self/cgroup").read_text() == before


@needs("memory", version=1)
@needs("pids", version=1)
def test_limits_that_are_not_kept_are_told_before_anything_starts(unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    oracle.make("pids", name)
    job = Cgroup(name, memory="64M", pids=5)
    before = Path("/proc/self/cgroup").read_text()
    for use in (lambda: job.run(["true"]), lambda: job.popen(["true"]), job.attach, lambda: job.wrap(["true"])):
        with pytest.raises(GroupNotFoundError, match="its limits are not kept"):
            use()
    assert Path("/proc/self/cgroup").read_text() == before
    assert job.paths == (oracle.directory("pids", name),)
    job.delete()


def test_a_group_that_was_here_and_what_it_started_there(unique: Callable[..., str]) -> None:
    name = unique("pids")
    directory = oracle.make("pids", name)
    with Cgroup(name, pids=50) as group:
        process = group.popen(["sleep", "1000"])
    assert process.wait(timeout=60) == -9
    assert os.path.isdir(directory)
    os.rmdir(directory)


def test_move_of_a_process_that_ends_meanwhile(unique: Callable[..., str]) -> None:
    with Cgroup(unique("pids"), pids=50) as group:
        _attach_if_alive(group.pids, 2**22 - 1)
        assert group.processes() == []
