# SPDX-License-Identifier: MIT
"""The checkout's copy in a guest's root, installed there with its extension built against the root's libcgroup."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm import roots

if TYPE_CHECKING:
    from tests.vm.roots import Release

CHECKOUT = Path(__file__).parents[2]
SOURCES = "/src"  # in the guest
PYTHON = "/opt/venv/bin/python"
PIP = (PYTHON, "-m", "pip", "--quiet", "install", "--no-index")
BUILD_INPUTS = ("pyproject.toml", "build_libcgroup.py", "src/*")
BUILT = (".pyc", ".so")  # made in the root


def install(release: Release) -> None:
    """Bring a release's root up to date with the checkout; downloads only when the project's requirements change."""
    sources = release.root / SOURCES.strip("/")
    synchronise(listed_files(), CHECKOUT, sources)
    wanted = requirements((CHECKOUT / "pyproject.toml").read_text())
    roots.once(release.directory / "requirements", "\n".join(wanted), lambda: _install_requirements(release, wanted))
    built_from = [path for pattern in BUILD_INPUTS for path in sorted(CHECKOUT.glob(pattern))]
    inputs = hashlib.sha256(b"".join(path.read_bytes() for path in built_from)).hexdigest()
    roots.once(release.directory / "built-from", inputs, lambda: _build(release))
    release.run("chown", "-R", roots.USER, SOURCES)  # as a user's checkout is the user's
    # Compiling a module takes the emulated processor ten times as long as it takes here.
    release.run(PYTHON, "-m", "compileall", "-q", SOURCES, "/opt/venv/lib")


def listed_files() -> list[Path]:
    """Return the checkout's files, uncommitted ones too, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [Path(name) for name in names.split("\0") if name and (CHECKOUT / name).is_file()]


def synchronise(files: list[Path], source: Path, target: Path) -> None:
    """Make `target` hold these files of `source` with their times, and nothing else but what was built there."""
    present = [path for path in target.rglob("*") if path.is_file() and path.suffix not in BUILT]
    for path in present:
        if path.relative_to(target) not in files:
            path.unlink()
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def requirements(pyproject: str) -> list[str]:
    """Return what the project needs to be built, run and tested, by the text of its pyproject.toml."""
    table = tomllib.loads(pyproject)
    project = table["project"]
    extras = project["optional-dependencies"]
    return sorted({*table["build-system"]["requires"], *project["dependencies"], *extras["test"]})


def _install_requirements(release: Release, wanted: list[str]) -> None:
    """Download with the host's pip, whose configuration is the one that works here, and install in the root."""
    wheels = release.root / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    target = ["--python-version", release.python, "--implementation", "cp", "--only-binary=:all:"]
    subprocess.run(["pip3", "-qq", "download", "--dest", str(wheels), *target, *wanted], check=True)
    release.run(*PIP, "--upgrade", "--find-links", "/wheels", *wanted)


def _build(release: Release) -> None:
    release.run(*PIP, "--no-deps", "--no-build-isolation", "--editable", SOURCES)
