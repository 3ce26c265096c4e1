# SPDX-License-Identifier: MIT
"""The build: what it compiles, what it packs, and what it says where something is missing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_libcgroup
from tests.support.capabilities import needs

ROOT = Path(__file__).parents[2]

pytestmark = [needs("gcc"), needs("libcgroup")]


def python(
    *arguments: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"CC": "no-such-compiler"}, "there is no C compiler (no-such-compiler)"),
        ({"PATH": "/nowhere", "CC": sys.executable}, "pkg-config is missing"),
        ({"PKG_CONFIG_LIBDIR": "/nowhere"}, "pkg-config does not know libcgroup"),
        ({"CFLAGS": "-nostdinc"}, "stdio.h is missing (Debian's libc6-dev)"),
    ],
)
def test_what_is_missing_is_said_with_the_packages_that_bring_it(environment: dict[str, str], missing: str) -> None:
    before = (ROOT / build_libcgroup.FILE).stat()
    done = python("build_libcgroup.py", environment=environment)
    assert done.returncode == 1
    assert missing in done.stderr
    assert "apt-get install gcc libc6-dev pkg-config libcgroup-dev python3-dev" in done.stderr
    assert "Traceback" not in done.stderr
    assert (ROOT / build_libcgroup.FILE).stat() == before


def test_the_hook_says_so_too(tmp_path: Path) -> None:
    command = ("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    done = python(*command, environment={"CC": "no-such-compiler"})
    assert done.returncode == 1
    assert "libcgroup-dev" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_of_the_compiler_is_shown_and_leaves_the_module_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_libcgroup, "SHIM", "#error broken on purpose\n")
    (target := tmp_path / "module.so").write_text("the old one")
    with pytest.raises(RuntimeError, match="broken on purpose"):
        build_libcgroup.build(target)
    assert [path.name for path in tmp_path.iterdir()] == ["module.so"]
    assert target.read_text() == "the old one"


def test_the_module_keeps_to_the_stable_abi(tmp_path: Path) -> None:
    target = tmp_path / "_libcgroup.abi3.so"
    build_libcgroup.build(target)
    loader = importlib.machinery.ExtensionFileLoader("_libcgroup", str(target))
    spec = importlib.util.spec_from_loader("_libcgroup", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert hasattr(module.lib, "cgroup_version") is (int(module.ffi.string(module.lib.PYCGROUP_HEADERS)[:1]) >= 3)
    assert b"_PyObject_" not in target.read_bytes()


def test_what_only_newer_headers_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known, unknown = "int known(void);", "int unknown(void);"
    monkeypatch.setattr(build_libcgroup, "OPTIONAL", {"ECGOTHER": known, "cgroup_of_the_future()->x": unknown})
    assert build_libcgroup.optional_cdef(build_libcgroup.Compiler()) == known


def test_the_source_distribution_builds_by_itself(tmp_path: Path) -> None:
    done = python("-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert not list(source.rglob("*.so"))

    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=source)
    assert done.returncode == 0, done.stderr
    assert not list(source.rglob("*.so"))
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith(f"-{build_libcgroup.wheel_tag()}.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {"pycgroup", wheel.name.split("-cp")[0] + ".dist-info"}
    assert [name for name in names if name.endswith(".so")] == [build_libcgroup.FILE]
    assert {"pycgroup/py.typed", "pycgroup/_native.py"} < set(names)


def test_the_tag_is_that_of_the_oldest_python() -> None:
    assert build_libcgroup.wheel_tag().startswith("cp311-abi3-linux_")
    oldest = ".".join(map(str, build_libcgroup.ABI))
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text()
