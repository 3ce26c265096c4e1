# SPDX-License-Identifier: MIT
"""What the binding does before it calls libcgroup, and where libcgroup cannot be had."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import build_libcgroup
import pycgroup
from pycgroup import _codes, _log, _native
from pycgroup.errors import InvalidNameError
from tests.support.capabilities import needs

PACKAGE = Path(pycgroup.__file__).parent


def python(code: str, path: Path) -> str:
    """Run code in a new process that imports the package in `path`, and return what it prints."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["", "..", "a/../b", "a\0b", "a\nb", "x" * 5000, "\ud800", None, 5, b"a"])
@pytest.mark.parametrize("function", [_native.delete, _native.attach_thread])
def test_a_name_is_refused_before_libcgroup_is_started(function: Any, name: Any) -> None:
    with pytest.raises(InvalidNameError):
        function(name, "memory")


def test_every_code_is_one_that_libcgroup_has() -> None:
    assert set(_codes.CODES) | {"ECGOTHER"} == {
        word.strip(",") for word in build_libcgroup.CDEF.split() if word.startswith("ECG")
    }
    assert set(_codes.CODES) > _codes.FAILED_OPEN


def test_every_call_is_checked() -> None:
    """A function of the cdef that returns something has its check, but the one that cannot fail."""
    words = build_libcgroup.CDEF.replace("*", " ").replace("(", " (").split()
    declared = {word for word, after in itertools.pairwise(words) if after.startswith("(")}
    assert declared - {"cgroup_get_last_errno"} == set(_native._SUCCEEDED)
    with pytest.raises(KeyError):
        _native._call("cgroup_free")


@needs("libcgroup")
def test_the_version_is_the_installed_one() -> None:
    major, minor, release = _native.library_version()
    assert (major, minor) >= (2, 0)
    assert release >= 0
    said = build_libcgroup.pkg_config("--modversion") if shutil.which("pkg-config") else f"{major}.{minor}"
    assert f"{major}.{minor}.{release}".startswith(said)


def test_an_import_loads_neither_the_compiled_module_nor_logging() -> None:
    code = """
        import sys
        from pycgroup import _native
        print([name for name in sys.modules if "cffi" in name or name.endswith("_libcgroup") or name == "logging"])
    """
    assert python(code, PACKAGE.parent) == "[]\n"


SAY = """
    from pycgroup import UnavailableError, _native
    try:
        _native.library_version()
    except UnavailableError as error:
        print(error)
"""


def copy(tmp_path: Path) -> Path:
    """Return the compiled module in a copy of the package that may be broken."""
    shutil.copytree(PACKAGE, tmp_path / "pycgroup", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / build_libcgroup.FILE


def test_where_it_is_not_built_the_error_says_what_to_run(tmp_path: Path) -> None:
    copy(tmp_path).unlink()
    said = python(SAY, tmp_path)
    assert "compiled part is missing" in said
    assert "script/setup" in said


@needs("libcgroup")
def test_where_libcgroup_is_not_installed_the_error_names_the_package(tmp_path: Path) -> None:
    module = copy(tmp_path)
    linked = b"libcgroup.so."
    data = module.read_bytes()
    number = data[data.index(linked) + len(linked) :][:1]
    module.write_bytes(data.replace(linked + number, linked + b"9"))
    said = python(SAY, tmp_path)
    assert "libcgroup.so.9" in said
    for package in ("libcgroup2", "libcgroup3", "Fedora"):
        assert package in said


def test_nothing_is_logged_where_nobody_has_imported_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "logging")
    assert _log.threshold() == 0


@pytest.mark.parametrize(("level", "threshold"), [(10, 4), (20, 3), (30, 2), (40, 1), (50, 0), (60, 0), (1, 5)])
def test_lines_are_kept_as_far_as_the_logger_wants_them(
    caplog: pytest.LogCaptureFixture, level: int, threshold: int
) -> None:
    caplog.set_level(level, "pycgroup.libcgroup")
    assert _log.threshold() == threshold


def test_levels_are_those_of_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1, "pycgroup.libcgroup")
    _log.emit([(0, "more\n"), (1, "error\n"), (2, "a warning"), (3, "%s"), (4, "debug")], lost=3)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "more"),
        ("ERROR", "error"),
        ("WARNING", "a warning"),
        ("INFO", "%s"),
        ("DEBUG", "debug"),
        ("WARNING", "3 more lines of libcgroup are lost"),
    ]
