# SPDX-License-Identifier: MIT
"""Names of groups and of control files: what is let through, and that nothing let through leaves the hierarchy."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycgroup.errors import InvalidNameError
from pycgroup.names import LONGEST, file_name, group_name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("test", "/test"),
        ("/test", "/test"),
        ("/test/", "/test"),
        ("//a///b", "/a/b"),
        ("a/b/c/d/e/f", "/a/b/c/d/e/f"),
        ("/", "/"),
        ("a..b", "/a..b"),
        ("...", "/..."),
        ("..a", "/..a"),
        (".hidden", "/.hidden"),
        ("with blank", "/with blank"),
        ("größe", "/größe"),
        ("raw-\udcff", "/raw-\udcff"),
        ("-dash", "/-dash"),
        ("a" * LONGEST, "/" + "a" * LONGEST),
    ],
)
def test_taken(name: str, path: str) -> None:
    assert group_name(name) == path


WRONG = [
    "",
    ".",
    "..",
    "../x",
    "a/..",
    "a/../b",
    "/..",
    "a/./b",
    "a\n",
    "\n",
    "a\nb",
    "a\0",
    "\0",
    "\ud800",
    "a" * (LONGEST + 1),
]


@pytest.mark.parametrize(
    "name", [*WRONG, None, 0, 1.5, b"test", ["test"], object(), True, "ü" * LONGEST], ids=lambda each: repr(each)[:30]
)
def test_refused(name: object) -> None:
    with pytest.raises(InvalidNameError):
        group_name(name)


def test_a_message_is_never_longer_than_a_screen() -> None:
    with pytest.raises(InvalidNameError) as caught:
        group_name("a" * 10**6)
    assert len(str(caught.value)) < 300


@given(
    st.one_of(st.text(), st.text(alphabet="./a\n\0 "), st.lists(st.sampled_from(["..", ".", "a", ""])).map("/".join))
)
def test_whatever_is_let_through_stays_inside(name: str) -> None:
    try:
        path = group_name(name)
    except InvalidNameError:
        return
    assert path.startswith("/")
    assert os.path.normpath(f"/sys/fs/cgroup/memory{path}") == f"/sys/fs/cgroup/memory{path}".rstrip("/")
    assert "\0" not in path
    assert "\n" not in path
    assert len(os.fsencode(path)) <= LONGEST + 1


@pytest.mark.parametrize(
    "name", ["tasks", "cgroup.procs", "memory.limit_in_bytes", "hugetlb.2MB.max", "memory.kmem.tcp.failcnt"]
)
def test_control_files(name: str) -> None:
    assert file_name(name) == name


FILES = ["", ".", "..", "../x", "a/b", "/etc/passwd", "memory.stat\n", "memory.stat\0", "a b", "ü", "\ud800", "a" * 256]


@pytest.mark.parametrize("name", [*FILES, None, 1, b"tasks", ["tasks"]], ids=lambda each: repr(each)[:30])
def test_what_is_no_control_file(name: object) -> None:
    with pytest.raises(InvalidNameError):
        file_name(name)


@given(st.text())
def test_a_control_file_is_one_component(name: str) -> None:
    try:
        assert "/" not in file_name(name)
    except InvalidNameError:
        return
    assert name not in ("", ".", "..")
