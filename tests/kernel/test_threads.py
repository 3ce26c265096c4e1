# SPDX-License-Identifier: MIT
"""Many threads, and forked children: whole life cycles at once, without an error, a leak or a lock-up."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support import oracle, processes
from tests.support.capabilities import needs

pytestmark = needs("memory")

Unique = Callable[..., str]


COMMON = """
import os, sys, threading, time, traceback
from errno import EBUSY, EEXIST, ENODEV, ENOENT
from pycgroup import Cgroup, CgroupError, GroupExistsError, GroupNotFoundError, InvalidValueError
from tests.support.held import open_files, resident

top = sys.argv[1]
errors = []

def in_threads(count, function):
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        try:
            function(number)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads

def join(threads):
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]

def life(name):
    memory = Cgroup.MEMORY(name, limit_in_bytes="64M")
    memory.create()
    memory.limit_in_bytes = "32M"
    memory.modify(limit_in_bytes="48M", soft_limit_in_bytes="24M")
    assert memory.limit_in_bytes == 48 << 20
    assert memory.stat.cache >= 0
    inner = Cgroup.MEMORY(name + "/inner")
    inner.create()
    assert [child.group_name for child in memory.children()] != []
    try:
        memory.create()
    except GroupExistsError:
        pass
    try:
        memory.limit_in_bytes = "nonsense"
    except InvalidValueError:
        pass
    try:
        Cgroup.MEMORY(name + "-none").delete()
    except GroupNotFoundError:
        pass
    memory.attach_thread()
    assert threading.get_native_id() in memory.threads()
    memory.delete(recursive=True)
    assert not memory.exists()
"""

# v2 has no limit called soft_limit_in_bytes and moves no single threads.
V1_LIVES = """
cycles = [0] * 8
deadline = time.monotonic() + 4.0

def lives(number):
    while time.monotonic() < deadline:
        life(f"{top}/thread-{number}")
        cycles[number] += 1

life(f"{top}/first")
before = open_files()
join(in_threads(8, lives))
halfway = resident()
deadline = time.monotonic() + 2.0
join(in_threads(8, lives))
print(min(cycles), open_files() - before, resident() - halfway)
"""


@needs("memory", version=1)
def test_eight_threads_with_whole_life_cycles(made: str) -> None:
    cycles, descriptors, memory = map(int, processes.script(COMMON + V1_LIVES, made).split())
    assert cycles > 0
    assert descriptors == 0
    assert memory < 2 << 20
    assert [entry.name for entry in os.scandir(oracle.directory("memory", made)) if entry.is_dir()] == []


FIRST_USE = """
def first(number):
    with Cgroup.MEMORY(f"{top}/thread-{number}", limit_in_bytes="8M") as memory:
        assert memory.limit_in_bytes == 8 << 20

join(in_threads(8, first))
"""


def test_eight_threads_start_the_library_at_once(made: str) -> None:
    for _ in range(5):
        processes.script(COMMON + FIRST_USE, made)


EXCLUSIVE = """
def create(number):
    memory = Cgroup.MEMORY(f"{top}/{name}", limit_in_bytes=(number + 1) << 20)
    try:
        memory.create()
    except GroupExistsError:
        return
    winners.append(number)

for name in range(100):
    winners = []
    join(in_threads(8, create))
    limit = Cgroup.MEMORY(f"{top}/{name}").limit_in_bytes
    assert [(winner + 1) << 20 for winner in winners] == [limit], f"{winners} made it, and the limit is {limit}"
"""


def test_of_many_that_create_one_group_one_succeeds(made: str) -> None:
    processes.script(COMMON + EXCLUSIVE, made)


SIBLINGS = """
sys.setswitchinterval(1e-5)
cls, limit = getattr(Cgroup, sys.argv[2]), sys.argv[3]

def sibling(number):
    with cls(f"{parent.group_name}/{number}", limit_in_bytes=limit):
        pass

for number in range(200):
    with cls(f"{top}/{number}") as parent:
        join(in_threads(8, sibling))
"""


@pytest.mark.parametrize(
    ("controller", "limit"),
    [
        pytest.param("memory", "8M", marks=needs("memory", version=2)),
        pytest.param("hugetlb", "4M", marks=needs("hugetlb", version=2)),
    ],
)
def test_siblings_made_at_once_all_have_their_controller(unique: Unique, controller: str, limit: str) -> None:
    name = unique(controller)
    oracle.make(controller, name)
    processes.script(COMMON + SIBLINGS, name, controller.upper(), limit)


CONTENTION = """
seen = set()

def contend(number):
    memory = Cgroup.MEMORY(f"{top}/shared", limit_in_bytes="8M")
    for _ in range(200):
        for act in (memory.create, memory.pids, memory.delete, lambda: Cgroup.MEMORY(f"{top}/shared").delete()):
            try:
                act()
            except CgroupError as error:
                assert error.errno in (EEXIST, ENOENT, ENODEV, EBUSY), error
                seen.add(type(error).__name__)

join(in_threads(8, contend))
print(*sorted(seen))
"""


def test_threads_that_contend_for_one_group_get_typed_errors(made: str) -> None:
    """Each error says that the group was there already, was gone, or was in use, as it was at that moment."""
    assert "GroupExistsError" in processes.script(COMMON + CONTENTION, made)


FORKS = """
stop = threading.Event()

def lives(number):
    while not stop.is_set():
        with Cgroup.MEMORY(f"{top}/thread-{number}", limit_in_bytes="8M") as memory:
            memory["cgroup.procs"], memory.limit_in_bytes

def child(number):
    with Cgroup.MEMORY(f"{top}/child-{number}", limit_in_bytes="8M") as memory:
        memory.attach()
        assert memory.pids() == [os.getpid()]
        assert memory.limit_in_bytes == 8 << 20
    return 0

threads = in_threads(4, lives)
statuses = []
for number in range(40):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = child(number)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
join(threads)
print(*sorted(set(statuses)))
"""


def test_forked_children_use_the_library_while_threads_are_in_it(made: str) -> None:
    """A child forked while libcgroup's lock is held would hang in it for ever."""
    assert processes.script(COMMON + FORKS, made, forks=True) == "0\n"


FORK_AT_START = """
def start(number):
    Cgroup.MEMORY(f"{top}/thread-{number}", limit_in_bytes="8M").create()

threads = in_threads(4, start)
pids = []
for number in range(20):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            Cgroup.MEMORY(f"{top}/child-{number}", limit_in_bytes="8M").create()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    pids.append(pid)
join(threads)
print(*sorted({os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}))
"""


def test_a_fork_while_the_library_starts(made: str) -> None:
    assert processes.script(COMMON + FORK_AT_START, made, forks=True) == "0\n"
