# SPDX-License-Identifier: MIT
"""libcgroup's traps that pycgroup goes around, each shown on the installed libcgroup itself, by ctypes.

Each test shows beside it that pycgroup does not fall into the trap.

Where one of these tests fails, a newer libcgroup has lost the trap, and the comment in the code that names it is out of
date.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pycgroup import (
    Cgroup,
    CgroupError,
    GroupBusyError,
    GroupExistsError,
    InvalidNameError,
    InvalidValueError,
    PermissionDeniedError,
    ReadOnlySettingError,
    _native,
)
from tests.support import machine, oracle, processes
from tests.support.capabilities import needs

pytestmark = [needs("libcgroup"), needs("root")]

LIMIT, SWAPPINESS = "memory.limit_in_bytes", "memory.swappiness"
ECGROUPNOTEXIST, ECGROUPNOTALLOWED, ECGROUPVALUENOTEXIST, ECGOTHER = 50002, 50007, 50015, 50016
UNCHANGED = ctypes.c_uint(-1)
Values = Sequence[tuple[str, str]]


@functools.cache
def library() -> ctypes.CDLL:
    """Return the libcgroup that pycgroup is using, started by it."""
    _native.mount_point("memory")
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "/libcgroup.so" in line)
    lib = ctypes.CDLL(path)
    for name in ("cgroup_new_cgroup", "cgroup_add_controller"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib


@pytest.fixture
def lib() -> ctypes.CDLL:
    return library()


@pytest.fixture
def v3() -> bool:
    return _native.library_version() >= (3,)


def group(name: str, controller: str, values: Values = ()) -> ctypes.c_void_p:
    """Return a struct cgroup; what it holds is leaked, which a test may."""
    struct = ctypes.c_void_p(library().cgroup_new_cgroup(name.encode()))
    added = ctypes.c_void_p(library().cgroup_add_controller(struct, controller.encode()))
    for file, text in values:
        assert library().cgroup_add_value_string(added, file.encode(), text.encode()) == 0
    return struct


@pytest.fixture
def name(unique: Callable[..., str]) -> str:
    """Give the name of a memory group that exists."""
    name = unique("memory")
    oracle.make("memory", name)
    return name


@needs("memory", version=1)
def test_create_says_yes_to_a_group_that_exists(lib: ctypes.CDLL, name: str) -> None:
    assert lib.cgroup_create_cgroup(group(name, "memory"), 1) == 0
    with pytest.raises(GroupExistsError):
        Cgroup.MEMORY(name).create()


@needs("memory", version=1)
def test_a_refused_value_removes_an_existing_group_in_3(lib: ctypes.CDLL, v3: bool, name: str) -> None:
    with processes.idle(oracle.directory("memory", name)) as process:
        with pytest.raises(GroupExistsError):
            Cgroup.MEMORY(name, swappiness=1000).create()
        with pytest.raises(InvalidValueError):
            Cgroup.MEMORY(name).modify(swappiness=1000)
        assert oracle.pids("memory", name) == {process.pid}
        assert lib.cgroup_create_cgroup(group(name, "memory", [(SWAPPINESS, "1000")]), 1) == ECGOTHER
        assert oracle.exists("memory", name) is not v3
        assert (oracle.group_of("memory", process.pid) == name) is not v3


@needs("memory", version=1)
def test_a_refused_owner_removes_an_existing_group_in_3(v3: bool, name: str) -> None:
    delegated = oracle.directory("memory", name)
    for path in (delegated, f"{delegated}/tasks"):
        os.chown(path, processes.NOBODY, processes.NOBODY)
    library()

    def refused() -> None:
        os.mkdir(f"{delegated}/own")
        Cgroup.MEMORY(f"{name}/own").chown(0)

    with pytest.raises(PermissionDeniedError):
        processes.forked(refused, uid=processes.NOBODY)
    assert os.path.isdir(f"{delegated}/own")

    def give_to_root() -> int:
        struct = group(f"{name}/own", "memory")
        library().cgroup_set_uid_gid(struct, UNCHANGED, UNCHANGED, UNCHANGED, 0)
        return int(library().cgroup_create_cgroup(struct, 0))

    assert processes.forked(give_to_root, uid=processes.NOBODY) == ECGOTHER
    assert os.path.isdir(f"{delegated}/own") is not v3


@needs("memory", version=1)
def test_an_owner_that_is_to_stay_becomes_the_caller(lib: ctypes.CDLL, name: str) -> None:
    directory = oracle.directory("memory", name)
    os.chown(directory, processes.NOBODY, processes.NOBODY)
    Cgroup.MEMORY(name).chown(gid=12)
    assert (os.stat(directory).st_uid, os.stat(directory).st_gid) == (processes.NOBODY, 12)
    struct = group(name, "memory")
    lib.cgroup_set_uid_gid(struct, UNCHANGED, UNCHANGED, UNCHANGED, 12)
    assert lib.cgroup_create_cgroup(struct, 0) == 0
    assert (os.stat(directory).st_uid, os.stat(directory).st_gid) == (os.getuid(), 12)


@needs("memory", version=1)
def test_an_owner_is_given_to_the_groups_below_too(lib: ctypes.CDLL, name: str) -> None:
    below = oracle.make("memory", f"{name}/below")
    Cgroup.MEMORY(name).chown(processes.NOBODY)
    assert os.stat(below).st_uid == os.getuid()
    struct = group(name, "memory")
    lib.cgroup_set_uid_gid(struct, UNCHANGED, UNCHANGED, processes.NOBODY, UNCHANGED)
    assert lib.cgroup_create_cgroup(struct, 0) == 0
    assert os.stat(below).st_uid == processes.NOBODY


@needs("cpuset", version=1)
def test_empty_text_is_never_written(lib: ctypes.CDLL, unique: Callable[..., str]) -> None:
    name = unique("cpuset")
    oracle.make("cpuset", name)
    oracle.write("cpuset", name, "cpuset.cpus", "0")
    assert lib.cgroup_modify_cgroup(group(name, "cpuset", [("cpuset.cpus", "")])) == 0
    assert oracle.read("cpuset", name, "cpuset.cpus") == "0"
    Cgroup.CPUSET(name).cpus = ""
    assert oracle.read("cpuset", name, "cpuset.cpus") == ""


@needs("memory", version=1)
def test_several_lines_are_left_out_in_3(lib: ctypes.CDLL, v3: bool, name: str) -> None:
    before = oracle.read("memory", name, SWAPPINESS)
    assert lib.cgroup_modify_cgroup(group(name, "memory", [(SWAPPINESS, "11\n12")])) == 0
    assert oracle.read("memory", name, SWAPPINESS) == (before if v3 else "12")
    Cgroup.MEMORY(name)[SWAPPINESS] = "13\n14"
    assert oracle.read("memory", name, SWAPPINESS) == "14"


@needs("memory", version=1)
def test_a_read_only_file_is_left_out_in_3(lib: ctypes.CDLL, v3: bool, name: str) -> None:
    values = [("memory.usage_in_bytes", "1")]
    assert lib.cgroup_modify_cgroup(group(name, "memory", values)) == (0 if v3 else ECGOTHER)
    with pytest.raises(ReadOnlySettingError):
        Cgroup.MEMORY(name).modify(usage_in_bytes=1)
    with pytest.raises(InvalidValueError):
        Cgroup.MEMORY(name)["memory.usage_in_bytes"] = 1


@needs("memory", version=1)
def test_modify_stops_at_the_first_refusal(lib: ctypes.CDLL, name: str) -> None:
    assert lib.cgroup_modify_cgroup(group(name, "memory", [(SWAPPINESS, "1000"), (LIMIT, "1M")])) == ECGOTHER
    assert oracle.memory_limit(name) > 1 << 20
    with pytest.raises(InvalidValueError) as raised:
        Cgroup.MEMORY(name).modify(swappiness=1000, limit_in_bytes="1M")
    assert raised.value.setting == "swappiness"
    assert oracle.memory_limit(name) == 1 << 20


def unsupported(name: str) -> list[tuple[str, str]]:
    """Return a write that the kernel answers with EOPNOTSUPP: a thread leaves its v2 domain without its process.

    No v1 file answers so on every kernel; but libcgroup follows any path, and this one leads from memory to v2.
    """
    v1, v2 = machine.hierarchy_of("memory", 1), machine.hierarchy_of("freezer", 2)
    assert v1 is not None
    assert v2 is not None
    os.mkdir(v2.directory(name))
    return [(os.path.relpath(v2.directory(f"{name}/cgroup.threads"), v1.mount), str(os.getpid()))]


@needs("memory", version=1)
@needs("cgroup-v2")
def test_eopnotsupp_is_a_success_in_3(lib: ctypes.CDLL, v3: bool, name: str) -> None:
    with_it = unsupported(name)
    assert lib.cgroup_modify_cgroup(group("/", "memory", with_it)) == (0 if v3 else ECGOTHER)


@needs("freezer-on-v2")
def test_eopnotsupp_is_an_error_of_pycgroup(unique: Callable[..., str]) -> None:
    with Cgroup.FREEZER(unique("freezer")) as core, pytest.raises(InvalidValueError) as raised:
        core["cgroup.threads"] = os.getpid()
    assert raised.value.errno == errno.EOPNOTSUPP


@needs("memory", version=1)
@needs("cgroup-v2")
def test_after_eopnotsupp_every_refusal_is_a_success_in_3(lib: ctypes.CDLL, v3: bool, name: str) -> None:
    unopened = [(LIMIT, "1M")]
    assert lib.cgroup_modify_cgroup(group("/", "memory", unsupported(name))) in (0, ECGOTHER)
    assert lib.cgroup_get_last_errno() == errno.EOPNOTSUPP

    def without_rights() -> int:
        return int(library().cgroup_modify_cgroup(group(name, "memory", unopened)))

    assert processes.forked(without_rights, uid=processes.NOBODY) == (0 if v3 else ECGROUPVALUENOTEXIST)
    with pytest.raises(PermissionDeniedError):
        processes.forked(lambda: Cgroup.MEMORY(name).modify(limit_in_bytes="1M"), uid=processes.NOBODY)


@needs("memory", version=1)
def test_a_failed_open_has_one_code_for_most_reasons(lib: ctypes.CDLL, name: str) -> None:
    assert lib.cgroup_attach_task(group(f"{name}/tasks", "memory")) == ECGROUPNOTALLOWED
    assert processes.forked(lambda: attached(name), uid=processes.NOBODY) == ECGROUPNOTALLOWED
    with pytest.raises(CgroupError) as raised:
        Cgroup.MEMORY(f"{name}/tasks").attach_thread()
    assert (raised.value.errno, raised.value.code) == (errno.ENOTDIR, ECGROUPNOTALLOWED)
    with pytest.raises(PermissionDeniedError) as raised:
        processes.forked(Cgroup.MEMORY(name).attach_thread, uid=processes.NOBODY)
    assert (raised.value.errno, raised.value.code) == (errno.EACCES, ECGROUPNOTALLOWED)


def attached(name: str) -> int:
    return int(library().cgroup_attach_task(group(name, "memory")))


@needs("freezer-on-v2")
def test_it_knows_no_controller_that_v2_does_not_list(lib: ctypes.CDLL, unique: Callable[..., str]) -> None:
    core, found = Cgroup.FREEZER, ctypes.c_char_p()
    assert lib.cgroup_get_subsys_mount_point(core.__name__.lower().encode(), ctypes.byref(found)) == ECGROUPNOTEXIST
    inner = core(f"{unique('freezer')}/inner").create()
    with processes.idle(inner.path) as process:
        inner.delete()
        assert inner.parent is not None
        assert inner.parent.pids() == [process.pid]


@needs("memory", version=1)
def test_a_group_that_stays_has_lost_its_tasks(lib: ctypes.CDLL, name: str) -> None:
    oracle.make("memory", f"{name}/below")
    with processes.idle(oracle.directory("memory", name)) as process:
        with pytest.raises(GroupBusyError):
            Cgroup.MEMORY(name).delete()
        assert oracle.pids("memory", name) == {process.pid}
        assert lib.cgroup_delete_cgroup_ext(group(name, "memory"), 0) == ECGOTHER
        assert lib.cgroup_get_last_errno() == errno.EBUSY
        assert oracle.group_of("memory", process.pid) != name


@needs("memory", version=1)
def test_the_root_is_deleted_without_a_word(lib: ctypes.CDLL) -> None:
    assert lib.cgroup_delete_cgroup_ext(group("/", "memory"), 0) == 0
    with pytest.raises(InvalidNameError):
        _native.delete("/", "memory")
    with pytest.raises(InvalidNameError):
        Cgroup.MEMORY("/").delete()


@needs("memory", version=1)
def test_dots_lead_out_of_the_hierarchy(lib: ctypes.CDLL, tmp_path: Path) -> None:
    hierarchy = machine.hierarchy_of("memory", 1)
    assert hierarchy is not None
    outside = os.path.relpath(tmp_path / "outside", hierarchy.mount)
    assert lib.cgroup_create_cgroup(group(outside, "memory"), 1) == 0
    assert (tmp_path / "outside").is_dir()
    with pytest.raises(InvalidNameError):
        Cgroup.MEMORY(outside)


@needs("memory", version=1)
def test_a_long_name_stands_for_another_group(lib: ctypes.CDLL, name: str) -> None:
    long = f"{name}/{'x' * 5000}"
    assert lib.cgroup_create_cgroup(group(long, "memory"), 1) == 0
    (made,) = (entry.name for entry in os.scandir(oracle.directory("memory", name)) if entry.is_dir())
    os.rmdir(oracle.directory("memory", f"{name}/{made}"))
    assert len(made) < 5000
    with pytest.raises(InvalidNameError):
        Cgroup.MEMORY(long)


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    """Run code on libcgroup, which nothing of pycgroup has started, in a process of its own."""
    load = """
        import ctypes
        from pycgroup import _libcgroup
        lib = ctypes.CDLL(next(line.split()[-1] for line in open("/proc/self/maps") if "/libcgroup.so" in line))
    """
    script = textwrap.dedent(load) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, check=False)


def test_its_error_texts_crash_in_2(v3: bool) -> None:
    done = run("""
        lib.cgroup_strerror.restype = ctypes.c_char_p
        lib.cgroup_strerror(50030)
    """)
    assert -done.returncode == (0 if v3 else signal.SIGSEGV)


def test_it_prints_its_errors_to_stdout() -> None:
    done = run("""
        lib.cgroup_init()
        lib.cgroup_log(1, b"a line\\n")
        ctypes.CDLL(None).fflush(None)
    """)
    assert done.stdout == b"a line\n"
