# SPDX-License-Identifier: MIT
"""README's code runs, and shows what README says."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.capabilities import needs

README = Path(__file__).parents[2] / "README.md"
BLOCKS = {
    kind: re.findall(rf"```{kind}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for kind in ("python", "pycon")
}
TESTS = [code for code in BLOCKS["python"] if "def test_" in code]
SCRIPTS = [code for code in BLOCKS["python"] if code not in TESTS]


def with_name(code: str, name: str) -> str:
    """Put a test's group in the place of README's."""
    return re.sub(r"""(["'])/?test\1""", lambda match: f"{match[1]}/{name.lstrip('/')}{match[1]}", code)


@needs("root")
@needs("memory")
@needs("pids")
@pytest.mark.parametrize("block", range(len(SCRIPTS)))
def test_the_scripts_run(block: int, unique: Callable[..., str]) -> None:
    name = unique("memory", "pids")
    code = with_name(SCRIPTS[block], name)
    assert name in code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not oracle.exists("memory", name)
    assert not oracle.exists("pids", name)


@needs("root")
@needs("memory")
@needs("pids")
def test_the_tests_pass(tmp_path: Path) -> None:
    (code,) = TESTS
    (tmp_path / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "--cgroup-require", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout


@needs("root")
@needs("cpu", version=1)
def test_the_session_shows_what_readme_shows(unique: Callable[..., str]) -> None:
    name = unique("cpu")
    session = doctest.DocTestParser().get_doctest(with_name(BLOCKS["pycon"][0], name), {}, "README.md", str(README), 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(session, out=report.append)
    assert result.failed == 0, "".join(report)
    assert result.attempted > 5
    assert not oracle.exists("cpu", name)


def test_the_readme_names_files_that_exist() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not os.path.exists(README.parent / link)] == []
