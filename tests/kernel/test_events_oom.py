# SPDX-License-Identifier: MIT
"""OOM events: each kill counted, victims named, both patterns of oom-notify, and removal told from OOM."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pycgroup import UNLIMITED, Cgroup, GroupNotFoundError, GroupRemovedError, UnsupportedSettingError
from pycgroup.stats import OomControl
from tests.support import oracle
from tests.support.capabilities import needs
from tests.support.hogs import MIB, PATIENCE, Hogs, bound, held, holding, next_kill, no_kill_is_left, soon

if TYPE_CHECKING:
    from pycgroup.controllers import MEMORY

pytestmark = needs("memory")
Unique = Callable[..., str]


@pytest.fixture
def memory(unique: Unique) -> Iterator[MEMORY]:
    """Give a memory group of 4 MiB, without swap."""
    with Cgroup.MEMORY(unique("memory"), limit_in_bytes="4M") as group:
        bound(group, "4M")
        yield group


def kernel_kills(memory: MEMORY) -> int:
    """Return what the kernel's own file counts."""
    file = "memory.oom_control" if memory.version < 2 else "memory.events"
    words = oracle.read("memory", memory.group_name, file).split()
    return int(words[words.index("oom_kill") + 1])


def test_a_kill_is_one_event(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        assert (event.kills, kernel_kills(memory)) == (1, 1)
        assert event.ooms >= 1
        assert event.group == memory._path
        assert event.limit == 4 * MIB
        assert event.peak == 4 * MIB
        assert event.usage is not None
        assert event.failcnt is not None
        assert not event.under_oom
        assert not event.oom_kill_disable
        assert event.confidence in ("counted", "named")
        assert no_kill_is_left(events)


@needs("kernel-log")
def test_the_victim_is_named(memory: MEMORY, hog: Hogs) -> None:
    deadline = time.monotonic() + PATIENCE
    with memory.oom_events() as events:
        pid = hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        # The kernel logs the groups of ten victims in five seconds; earlier tests may have had theirs.
        while event.confidence == "counted":
            assert time.monotonic() < deadline
            pid = hog.be_killed(memory.path)
            event = next_kill(events)
        (victim,) = event.victims
        assert victim.pid == pid
        assert victim.name.startswith("python")
        assert MIB < victim.anon_rss < 32 * MIB  # with what it shares with its parent
        assert event.confidence == "named"


def test_no_event_without_an_oom(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        assert hog.take(memory.path, MIB) == 0
        assert events.wait(0) is None
        assert events.wait(0.01) is None


def test_events_that_nobody_took_become_one_and_lose_no_kill(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        for _ in range(5):
            hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
        assert event.kills == kernel_kills(memory) == 5
        assert event.ooms >= 5


def test_events_that_nobody_looked_at_share_the_kills(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        taken = []
        for _ in range(4):
            hog.order(memory.path)
            taken.append(soon(events.wait(PATIENCE)))
            hog.outcome()
        assert sum(event.kills for event in taken) == kernel_kills(memory) == 4


def test_an_event_is_completed_when_the_subscription_is_closed(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
    memory.delete()
    memory.create()
    assert event.kills == 1


def test_kills_before_the_subscription_do_not_count(memory: MEMORY, hog: Hogs) -> None:
    hog.be_killed(memory.path)
    with memory.oom_events() as events:
        assert events.wait(0) is None
        hog.be_killed(memory.path)
        assert soon(events.wait(PATIENCE)).kills == 1


def test_an_event_cannot_be_changed_and_can_be_sent(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        event = soon(events.wait(PATIENCE))
    with pytest.raises(AttributeError, match="cannot be changed"):
        event.ooms = 7
    with pytest.raises(AttributeError, match="cannot be changed"):
        del event.ooms
    again = pickle.loads(pickle.dumps(event))
    assert again == event
    assert hash(again) == hash(event)
    assert repr(again) == repr(event)
    assert "kills=1" in repr(event)


@needs("memory", version=1)
def test_killer_on_as_oom_notify(memory: MEMORY, hog: Hogs) -> None:
    bound(memory, "10M")
    memory.oom_control = False
    with memory.oom_events() as events:
        assert hog.take(memory.path, MIB) == 0
        assert events.wait(0) is None
        bound(memory, "1M")
        hog.be_killed(memory.path)
        assert soon(events.wait(PATIENCE)).kills == 1
        assert no_kill_is_left(events)


@needs("memory", version=1)
def test_killer_off_as_oom_notify(memory: MEMORY) -> None:
    # Raising two limits, one after the other, would wake the task between them, into another OOM.
    if hasattr(memory, "memsw_limit_in_bytes"):
        memory.memsw_limit_in_bytes = UNLIMITED
    memory.swappiness = 0  # which keeps it out of swap all the same
    memory.oom_control = True
    assert memory.oom_control.oom_kill_disable
    with memory.oom_events() as events, holding(memory.path, 6 * MIB) as task:
        event = soon(events.wait(PATIENCE))
        assert event.oom_kill_disable
        assert event.kills == 0
        assert memory.oom_control.under_oom
        # The signal comes a moment before the kernel's flag; what the event says of it is what was read then.
        assert event.confidence == ("counted" if event.under_oom else "signalled")
        assert events.wait(0) is None
        memory.limit_in_bytes = "10M"
        held(task)
        assert not memory.oom_control.under_oom
        assert events.wait(0) is None
        assert task.poll() is None


@needs("memory", version=1)
def test_a_late_subscription_hears_of_an_oom_that_lasts(memory: MEMORY) -> None:
    memory.oom_control = True
    with memory.oom_events() as first, holding(memory.path, 6 * MIB):
        soon(first.wait(PATIENCE))
        while not memory.oom_control.under_oom:
            pass
        with memory.oom_events() as late:
            assert soon(late.wait(PATIENCE)).under_oom


@needs("memory", version=1)
def test_oom_control_reads_as_an_object_and_is_set_with_a_bool(memory: MEMORY) -> None:
    for switch in (True, False):
        memory.oom_control = switch
        control = memory.oom_control
        assert isinstance(control, OomControl)
        assert control.oom_kill_disable is switch
        assert (control.under_oom, control.oom_kill) == (False, 0)


def test_a_kill_in_a_group_below_is_the_parents(memory: MEMORY, hog: Hogs) -> None:
    below = Cgroup.MEMORY(f"{memory.group_name}/below").create()
    with memory.oom_events() as events:
        hog.be_killed(below.path)
        event = soon(events.wait(PATIENCE))
        assert event.kills == 1
        assert event.group == memory._path
    below.delete()


def test_removal_is_not_an_oom(memory: MEMORY) -> None:
    with memory.oom_events() as events, memory.oom_events() as others:
        memory.delete()
        with pytest.raises(GroupRemovedError, match=memory.group_name):
            events.wait(PATIENCE)
        with pytest.raises(GroupRemovedError, match=memory.group_name):
            events.wait(0)
        assert list(others) == []
        assert "removed" in repr(others)
    memory.create()


@needs("memory", version=1)
def test_an_oom_before_the_removal_is_told_first(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        hog.be_killed(memory.path)
        memory.delete()
        while signals(events.fileno()) < 2:
            pass  # until the kernel has signalled the removal too
        (event,) = events
        assert event.ooms >= 1
        assert event.confidence in ("signalled", "named")
        assert event.usage is None
        with pytest.raises(GroupRemovedError):
            events.wait()
    memory.create()


def signals(descriptor: int) -> int:
    """Return how often an eventfd was signalled, without taking that."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        words = file.read().split()
    return int(words[words.index("eventfd-count:") + 1], 16)


def test_a_group_made_anew_is_another_group(memory: MEMORY, hog: Hogs) -> None:
    with memory.oom_events() as events:
        memory.delete()
        bound(memory.create(), "4M")
        hog.be_killed(memory.path)
        assert list(events) == []


def test_a_group_that_does_not_exist(unique: Unique) -> None:
    name = unique("memory")
    with pytest.raises(GroupNotFoundError, match=name):
        Cgroup.MEMORY(name).oom_events()


@needs("memory", version=1)
def test_registration_as_in_mruby(memory: MEMORY, hog: Hogs) -> None:
    eventfd = os.eventfd(0)
    control = os.open(f"{memory.path}/memory.oom_control", os.O_RDONLY)
    memory.cgroup_event_control = f"{eventfd} {control}"
    os.close(control)
    with memory.oom_events() as events:
        for _ in range(3):
            hog.be_killed(memory.path)
        assert os.eventfd_read(eventfd) == soon(events.wait(PATIENCE)).ooms >= 3
    os.close(eventfd)


LISTENER = """
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* listener CONTROL EVENT_CONTROL: prints how often the eventfd was signalled until the group was gone. */
int main(int count, char **arguments)
{
	char line[64];
	uint64_t signals, all = 0;
	int event = eventfd(0, 0), file = open(arguments[1], O_RDONLY), control = open(arguments[2], O_WRONLY);
	int length = snprintf(line, sizeof line, "%d %d", event, file);
	if (count != 3 || write(control, line, length) != length)
		return 1;
	puts("ready");
	fflush(stdout);
	while (pread(file, line, sizeof line, 0) > 0 && read(event, &signals, sizeof signals) == sizeof signals)
		all += signals;
	printf("%llu\\n", (unsigned long long)all);
}
"""


@needs("memory", version=1)
@needs("gcc")
def test_a_listener_in_c_counts_the_same(memory: MEMORY, hog: Hogs, tmp_path: os.PathLike[str]) -> None:
    program = f"{tmp_path}/listener"
    subprocess.run(["gcc", "-O2", "-x", "c", "-o", program, "-"], input=LISTENER, text=True, check=True)
    files = [f"{memory.path}/memory.oom_control", f"{memory.path}/cgroup.event_control"]
    command = [program, *files]
    with memory.oom_events() as events, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        taken = []
        for _ in range(20):
            hog.be_killed(memory.path)
            taken.append(soon(events.wait(PATIENCE)))
        # One kill may take the kernel two attempts, of which it signals each.
        taken += iter(lambda: events.wait(0), None)
        assert sum(event.kills for event in taken) == kernel_kills(memory) == 20
        memory.delete()
        theirs = int(listener.stdout.readline()) - 1  # the removal is signalled too
    assert sum(event.ooms for event in taken) == theirs
    memory.create()


@needs("memory", version=2)
def test_the_killer_cannot_be_turned_off_on_v2(memory: MEMORY) -> None:
    with pytest.raises(UnsupportedSettingError, match=r"memory\.high"):
        memory.oom_control = True
