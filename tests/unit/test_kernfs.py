# SPDX-License-Identifier: MIT
"""Control-file I/O on plain files, and which exception an error of the kernel becomes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pycgroup import _kernfs, _tasks, errors
from pycgroup.making import Made
from tests.support import processes
from tests.support.capabilities import needs


def test_read_takes_the_last_newline_away(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\nb\n")
    assert _kernfs.read(f"{tmp_path}/f") == "a\nb"


def test_read_takes_a_file_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    assert len(_kernfs.read(f"{tmp_path}/f")) == 100_000


def test_read_keeps_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff")
    assert os.fsencode(_kernfs.read(f"{tmp_path}/f")) == b"\xff"


def test_numbers_are_sorted_and_there_once(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("3\n1\n3\n")
    assert _kernfs.numbers(f"{tmp_path}/f") == [1, 3]


def test_children_are_directories(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "tasks").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    assert _kernfs.children(str(tmp_path)) == ["a", "b"]


def test_write_writes_every_line() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    _kernfs.write(f"/proc/self/fd/{writer}", "a 1\nb 2")
    assert os.read(reader, 100) == b"a 1\nb 2"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("function", [_kernfs.read, lambda path: _kernfs.write(path, "x")])
def test_errors_of_the_kernel_are_left_to_the_caller_and_leak_no_descriptor(function: object, tmp_path: Path) -> None:
    assert callable(function)
    before = os.listdir("/proc/self/fd")
    for path in (f"{tmp_path}/missing", str(tmp_path)):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            function(path)
    assert os.listdir("/proc/self/fd") == before


TABLE = [
    (errno.EACCES, errors.PermissionDeniedError, "delegated"),
    (errno.EPERM, errors.PermissionDeniedError, "root"),
    (errno.EROFS, errors.PermissionDeniedError, "read-only"),
    (errno.EBUSY, errors.GroupBusyError, "in use"),
    (errno.ENODEV, errors.GroupNotFoundError, "does not exist"),
    (errno.ESRCH, errors.NoSuchProcessError, "No such process"),
    (errno.EINVAL, errors.InvalidValueError, "EINVAL"),
    (errno.ERANGE, errors.InvalidValueError, "ERANGE"),
    (errno.ENOSPC, errors.SettingError, "cpus and mems"),
    (errno.EIO, errors.SettingError, "EIO"),
]


@pytest.mark.parametrize(("number", "kind", "said"), TABLE)
def test_each_error_of_the_kernel_has_its_exception(
    number: int, kind: type[Exception], said: str, tmp_path: Path
) -> None:
    cause = OSError(number, os.strerror(number))
    error = _kernfs.error(cause, "writing '1' to x of /g", group="/g", directory=str(tmp_path), setting="x", value="1")
    assert type(error) is kind
    assert str(error).startswith("writing '1' to x of /g: ")
    assert said in str(error)
    assert (error.group, error.setting, error.value, error.errno) == ("/g", "x", "1", number)


def test_a_missing_file_of_a_group_is_not_a_missing_group(tmp_path: Path) -> None:
    cause = FileNotFoundError(errno.ENOENT, "")
    there = _kernfs.error(cause, "reading x", group="/g", directory=str(tmp_path), setting="x")
    gone = _kernfs.error(cause, "reading x", group="/g", directory=f"{tmp_path}/gone", setting="x")
    assert type(there) is errors.UnsupportedSettingError
    assert type(gone) is errors.GroupNotFoundError


def test_an_error_of_the_group_itself(tmp_path: Path) -> None:
    error = _kernfs.error(OSError(errno.ENOSPC, ""), "attaching", group="/g", directory=str(tmp_path))
    assert type(error) is errors.CgroupError


def test_an_unknown_error_is_shown_by_number(tmp_path: Path) -> None:
    error = _kernfs.error(OSError(9999, ""), "attaching", group="/g", directory=str(tmp_path))
    assert "9999" in str(error)


@needs("root")
def test_nothing_is_written_where_nothing_may_be() -> None:
    """A file that takes no value on this version, as memory.events, takes what changes nothing."""
    processes.forked(lambda: _kernfs.write("/proc/uptime", ""), uid=processes.NOBODY)
    with pytest.raises(FileNotFoundError):
        _kernfs.write("/proc/nothing", "")


def test_a_mount_point_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    mount = f"{tmp_path}/cgroup"
    for make in (_tasks.make, Made().make):
        with pytest.raises(FileNotFoundError):
            make(f"{mount}/a/b", mount)
        assert os.listdir(tmp_path) == []


def test_what_is_not_to_be_read_is_unsupported(tmp_path: Path) -> None:
    cause = OSError(errno.EOPNOTSUPP, "", f"{tmp_path}/f")
    options = {"group": "/g", "directory": str(tmp_path), "setting": "x"}
    read = _kernfs.error(cause, "cannot read f", **options)
    assert type(read) is errors.UnsupportedSettingError
    assert "Operation not supported" in str(read)
    assert type(_kernfs.error(cause, "cannot write f", value=5, **options)) is errors.InvalidValueError


def test_a_limit_of_the_tree_is_not_told_of_a_file(tmp_path: Path) -> None:
    cause = OSError(errno.EAGAIN, "")
    options = {"group": "/g", "directory": str(tmp_path)}
    assert "cgroup.max.depth" in str(_kernfs.error(cause, "cannot create it", **options))
    assert "cgroup.max" not in str(_kernfs.error(cause, "cannot write", setting="reclaim", value=5, **options))
