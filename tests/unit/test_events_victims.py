# SPDX-License-Identifier: MIT
"""The kernel log's lines, from a file that a test writes as the kernel writes /dev/kmsg: a record at a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pycgroup import _native, victims
from pycgroup.happenings import Event, PopulatedEvent, ThresholdEvent, Victim
from tests.support import processes
from tests.support.hogs import PATIENCE
from tests.support.interrupts import interrupt, interrupted
from tests.support.kmsg import written_log

if TYPE_CHECKING:
    from pycgroup.victims import KernelLog


class Write(Protocol):
    """Writes lines into the log, as the kernel unless `priority` is another's."""

    def __call__(self, text: str, priority: int = 6, flags: str = "-") -> None: ...


KILL = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={0},task_memcg={0},task={2},pid={1},uid=0"
KILLED = "Memory cgroup out of memory: Killed process {1} ({2}) total-vm:42100kB, anon-rss:8064kB, file-rss:5692kB"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[KernelLog, Write]]:
    kernel_log, writer = written_log(tmp_path)

    def write(text: str, priority: int = 6, flags: str = "-") -> None:
        for line in text.split("\n"):
            os.write(writer, f"{priority},1,2,{flags};{line}\n".encode())

    yield kernel_log, write
    kernel_log.close()
    os.close(writer)


def escaped(text: str) -> str:
    """Return a name as the kernel writes it: each byte that is not printable ASCII, and the backslash, in hex."""
    raw = text.encode(errors="surrogateescape")
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in raw)


def kill(group: str, pid: int, name: str = "hog") -> str:
    return f"{KILL}\n{KILLED}".format(group, pid, name)


def test_a_victim(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write("something else\n" + kill("/g", 7))
    position, found, _ = reader.since("/g", 0, 1, None)
    assert found == (Victim(pid=7, name="hog", anon_rss=8064 * 1024, group="/g"),)
    assert reader.since("/g", position, 0, None) == (position, (), 0)
    assert reader.position() == position == 1


def test_victims_of_others_and_below(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    for group in ("/g", "/other", "/g/below", "/gg"):
        write(kill(group, 7))
    _, found, _ = reader.since("/g", 0, 2, None)
    assert [each.group for each in found] == ["/g", "/g/below"]


def test_the_next_events_victims_are_left_to_it(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    for pid in (7, 8, 9):
        write(kill("/g", pid))
    position, first, _ = reader.since("/g", 0, 1, 1)
    assert [each.pid for each in first] == [7]
    assert [each.pid for each in reader.since("/g", position, 2, None)[1]] == [8, 9]


NAMES = [
    "a b",
    "x) total-vm:1kB (y",
    "pid=3,uid=4",
    "oom-kill:",
    "oom-kill:constraint=",
    "Killed process 1 (",
    ",task=a,pid=1,uid=0",
    ",oom_memcg=/o",
    "caf\u00e9",
    "back\\slash",
    "new\nline",
    "\udcff",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind(log: tuple[KernelLog, Write], name: str) -> None:
    reader, write = log
    write(kill("/g", 7, escaped(name)))
    (victim,) = reader.since("/g", 0, 1, None)[1]
    assert (victim.name, victim.pid, victim.group) == (name, 7, "/g")


@pytest.mark.parametrize("group", ["/gr\u00f6\u00dfe", "/a,task=b,pid=1,uid=0", "/a,task_memcg=/b", "/" + "long" * 300])
def test_groups_of_any_name(log: tuple[KernelLog, Write], group: str) -> None:
    reader, write = log
    announced, killed = kill(escaped(group), 7).split("\n")
    # The kernel cuts a line of more than a thousand bytes into records, all but the first of which it marks.
    write(announced[:1000])
    for start in range(1000, len(announced), 1000):
        write(announced[start : start + 1000], flags="c")
    write(killed)
    (victim,) = reader.since(group, 0, 1, None)[1]
    assert (victim.group, victim.pid) == (group, 7)


def test_a_victim_of_the_whole_machine(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
        "task_memcg=/g,task=hog,pid=7,uid=0"
    )
    write("Out of memory: Killed process 7 (hog) total-vm:42100kB, anon-rss:8064kB, file-rss:5692kB")
    assert [each.pid for each in reader.since("/g", 0, 1, None)[1]] == [7]
    assert reader.heard("/g", 0) == ([], True)
    assert reader.heard("/h", 0) == ([], True)
    assert reader.is_certain("/h", 0)


def test_what_a_user_writes_into_the_log_is_no_kill(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g", 7), priority=8 + 6)
    assert reader.position() == 0


def test_the_victims_of_a_full_group_above(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    above = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={},task_memcg={},task=hog,pid=7,uid=0"
    write(above.format("/g", "/g/b"))
    write(KILLED.format("", 7, "hog"))
    assert reader.heard("/g/a", 0) == ([(1, True)], True)
    assert reader.heard("/g/b", 0) == ([(1, False)], True)
    assert reader.heard("/g", 0) == ([(1, False)], True)
    assert reader.heard("/h", 0) == ([], True)
    assert reader.heard("/", 0) == ([], True)
    assert reader.heard("/g/a", 1) == ([], True)
    assert reader.is_certain("/g/b", 0)
    assert not reader.is_certain("/g/a", 0)


def test_the_victims_of_a_full_group_below_were_not_heard_of(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g/a", 7))
    write(kill("/g", 8))
    assert reader.heard("/g", 0) == ([(2, False)], True)
    assert [each.pid for each in reader.since("/g", 0, 2, None)[1]] == [7, 8]
    assert [each.pid for each in reader.since("/g", 0, 0, None, heard=True)[1]] == [8]


def test_nothing_is_certain_where_a_group_was_left_out(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    assert reader.is_certain("/g", 0)
    write(KILLED.format("", 7, "hog"))
    assert not reader.is_certain("/g", 0)
    assert reader.heard("/g", 0) == ([], False)


def test_kills_whose_group_the_kernel_left_out(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(KILLED.format("/g", 7, "hog"))
    write("Killed process 8 (odd)")
    assert reader.since("/g", 0, 2, None) == (2, (), 0)


def test_a_group_that_is_killed_as_a_whole(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g", 7))
    write("Tasks in /g are going to be killed due to memory.oom.group set")
    write(KILLED.format("/g", 8, "hog"))
    write(KILLED.format("/g", 9, "hog"))
    assert [each.pid for each in reader.since("/g", 0, 3, None)[1]] == [7, 8, 9]


def test_only_so_many_are_remembered(log: tuple[KernelLog, Write], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(victims, "_MOST", 2)
    reader, write = log
    for pid in (7, 8, 9):
        write(kill("/g", pid))
    assert [each.pid for each in reader.since("/g", 0, 2, None)[1]] == [8, 9]


def test_waiting_for_a_victim_is_over_soon(log: tuple[KernelLog, Write]) -> None:
    assert log[0].since("/g", 0, 1, None) == (0, (), 1)


def test_victims_that_the_log_is_late_with_are_not_the_next_events(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/other", 6))
    position, found, late = reader.since("/g", 0, 2, 2)
    assert (position, found, late) == (1, (), 2)
    for pid in (7, 8, 9):
        write(kill("/g", pid))
    position, found, late = reader.since("/g", position, 0, 0, late=late)
    assert (position, found, late) == (3, (), 0)
    assert [each.pid for each in reader.since("/g", position, 1, 1)[1]] == [9]


def test_those_whose_group_was_left_out_are_the_events_in_their_order_where_there_are_no_others(
    log: tuple[KernelLog, Write],
) -> None:
    reader, write = log
    for pid in (7, 8):
        write(KILLED.format("", pid, "hog"))
    write(kill("/g", 9))
    found, position = [], 0
    for later in (lambda: 2, lambda: 1, lambda: 0):
        position, victims, late = reader.since("/g", position, 1, 1, later=later)
        found.append(([each.pid for each in victims], late))
    assert found == [([], 0), ([], 0), ([9], 0)]
    assert position == 3


def test_where_all_can_be_named_they_are(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(KILLED.format("", 6, "hog"))  # of another group
    write(kill("/g", 7))
    write(kill("/g", 8))
    write(KILLED.format("", 9, "hog"))
    position, victims, _ = reader.since("/g", 0, 1, 1, later=lambda: 1)
    assert ([each.pid for each in victims], position) == ([7], 2)
    position, victims, _ = reader.since("/g", position, 1, 1, later=int)
    assert ([each.pid for each in victims], position) == ([8], 4)


def test_who_is_named_may_be_the_victim_of_an_event_that_is_open_yet(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(KILLED.format("", 7, "hog"))
    write(kill("/g", 8))
    position, victims, _ = reader.since("/g", 0, 1, 1, later=lambda: 1)
    assert (victims, position) == ((), 1)
    assert [each.pid for each in reader.since("/g", position, 1, 1, later=int)[1]] == [8]


def test_a_kill_that_is_counted_while_the_log_is_read_is_looked_for_there(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(KILLED.format("", 6, "hog"))  # of another group
    write(kill("/g", 7))
    counted = iter((0, 1, 1, 1))

    def later() -> int:
        now = next(counted)
        if now and reader.last == 2:
            write(kill("/g", 8))
        return now

    position, victims, _ = reader.since("/g", 0, 1, 1, later=later)
    assert ([each.pid for each in victims], position) == ([7], 2)


def test_who_was_in_a_group_below_that_is_gone_is_told_but_no_later_one(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g", 7))
    assert reader.since("/g", 0, 0, 1, later=lambda: 1) == (0, (), 0)  # the later event's
    write(kill("/g", 8))
    position, victims, _ = reader.since("/g", 0, 0, 1, later=lambda: 1)
    assert ([each.pid for each in victims], position) == ([7], 1)


def test_those_that_are_behind_are_late_when_it_is_their_turn(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g", 7))
    position, victims, late = reader.since("/g", 0, 1, 1, later=lambda: 2)
    assert ([each.pid for each in victims], late) == ([7], 0)
    assert reader.since("/g", position, 2, 2, until=0) == (1, (), 2)


def test_late_victims_are_left_out_of_those_that_were_heard_of(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(kill("/g/below", 7))
    write(kill("/g", 8))
    write(kill("/g/below", 9))
    write(kill("/g", 10))
    write(kill("/g", 11))
    position, found, late = reader.since("/g", 0, 0, 2, late=1, heard=True)
    assert (position, [each.pid for each in found], late) == (4, [8, 10], 0)


def test_a_late_victim_may_be_one_whose_group_was_left_out(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    write(KILLED.format("", 7, "hog"))
    write(kill("/g", 8))
    assert [each.pid for each in reader.since("/g", 0, 1, 1, late=1)[1]] == [8]


def test_a_log_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def child() -> bool:
        monkeypatch.setattr(victims.KernelLog.__init__, "__defaults__", ("/nothing",))
        return victims.kernel_log() is None and victims.kernel_log() is None

    assert processes.forked(child)


def test_a_log_whose_reader_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def child() -> bool:
        monkeypatch.setattr(_native, "_module", None)
        monkeypatch.setitem(sys.modules, "pycgroup._libcgroup", None)
        before = os.listdir("/proc/self/fd")
        return victims.kernel_log() is None and os.listdir("/proc/self/fd") == before

    assert processes.forked(child)


def test_a_kernel_that_says_who_called(log: tuple[KernelLog, Write]) -> None:
    """With CONFIG_PRINTK_CALLER a record's head has one field more."""
    reader, write = log
    write(kill("/g", 7), flags="-,caller=T7")
    assert [each.pid for each in reader.since("/g", 0, 1, None)[1]] == [7]


def test_more_than_one_call_reads(log: tuple[KernelLog, Write]) -> None:
    reader, write = log
    for pid in range(1, 5):
        write(kill("/g", pid, "x" * 3500))
    assert [each.pid for each in reader.since("/g", 0, 4, None)[1]] == [1, 2, 3, 4]


def test_a_kill_that_is_being_noted_is_known(log: tuple[KernelLog, Write], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads has taken it from the log, so that another finds nothing new there."""
    reader, write = log
    reading, go_on = threading.Event(), threading.Event()
    found = victims.KernelLog._kill

    def finds(self: KernelLog, text: str) -> tuple[Victim | None, str]:
        reading.set()
        go_on.wait(PATIENCE)
        return found(self, text)

    monkeypatch.setattr(victims, "shared", reader)
    monkeypatch.setattr(victims.KernelLog, "_kill", finds)
    write(kill("/g", 7))
    with ThreadPoolExecutor(2) as threads:
        threads.submit(reader.position)
        assert reading.wait(PATIENCE)
        other = threads.submit(victims.position, news=0)
        assert not wait([other], 0.05).done
        go_on.set()
        assert other.result(PATIENCE) == 1
    assert victims.position(news=0) == 1


STEPS = pytest.mark.parametrize(
    "function", ["_catch_up", "_has_read_on", "read_log", "_note_next", "_kill", "_decoded"]
)


@STEPS
def test_an_interrupt_loses_no_kill(
    log: tuple[KernelLog, Write], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, write = log
    monkeypatch.setattr(victims, "shared", reader)
    for pid in (7, 8):
        write(kill("/g", pid))
    with pytest.raises(InterruptedError), interrupted(function, interrupt):
        reader.position()
    if function not in ("_catch_up", "_has_read_on", "read_log"):
        assert victims.position(news=0) == 2, "what has been read is known, though nothing is new in the log"
    assert [each.pid for each in reader.since("/g", 0, 2, None)[1]] == [7, 8]


def test_nor_does_one_right_behind_the_reading(log: tuple[KernelLog, Write], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, write = log
    monkeypatch.setattr(victims, "shared", reader)
    write(kill("/g", 7))
    read = _native.read_log

    def reads(log: Any, beginnings: bytes, *, goes_on: bool) -> None:
        read(log, beginnings, goes_on=goes_on)
        interrupt()

    with monkeypatch.context() as patched:
        patched.setattr(_native, "read_log", reads)
        with pytest.raises(InterruptedError):
            reader.position()
    assert victims.position(news=0) == 1
    assert [each.pid for each in reader.since("/g", 0, 1, None)[1]] == [7]


@STEPS
def test_a_signal_handler_that_reads_meanwhile(log: tuple[KernelLog, Write], function: str) -> None:
    reader, write = log

    def handler() -> None:
        write(kill("/g", 9))
        reader.position()
        assert reader.is_behind is (function != "_catch_up"), "who was interrupted goes on"

    for pid in (7, 8):
        write(kill("/g", pid))
    with interrupted(function, handler):
        assert reader.position() == 3
    assert not reader.is_behind
    assert [each.pid for each in reader.since("/g", 0, 3, None)[1]] == [7, 8, 9]


def test_events_are_frozen_values() -> None:
    event = ThresholdEvent(group="/g", time=1.5, threshold=4096, usage=8192, above=True, crossings=3)
    same = ThresholdEvent(group="/g", time=1.5, threshold=4096, usage=8192, above=True, crossings=3)
    assert event == same
    assert hash(event) == hash(same)
    assert event != PopulatedEvent(group="/g", time=1.5, populated=True)
    assert event.direction == "up"
    assert repr(event).startswith("ThresholdEvent(group='/g', time=1.5, threshold=4096")
    assert "usage" in dir(event)
    assert not hasattr(event, "nothing")
    with pytest.raises(AttributeError, match="cannot be changed"):
        event.usage = 1
    assert isinstance(event, Event)
