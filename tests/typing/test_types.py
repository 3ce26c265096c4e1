# SPDX-License-Identifier: MIT
"""mypy agrees with every line of declared.py, and finds an error where one is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.capabilities import needs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(*files: Path) -> str:
    options = ["--strict", "--warn-unused-ignores", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *options, *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600).stdout


@needs("mypy")
def test_what_is_declared() -> None:
    assert mypy(HERE / "declared.py") == ""


@needs("mypy")
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("reveal_type(Cgroup.MEMORY('x').limit_in_bytes)", 'Revealed type is "int | float"'),
        ("Cgroup.MEMORY('x').usage_in_bytes = 5", "Incompatible types in assignment"),
        ("Cgroup.MEMORY('x').limit_in_bytes = 5  # type: ignore[assignment]", 'Unused "type: ignore" comment'),
    ],
)
def test_mypy_finds_what_is_wrong(tmp_path: Path, code: str, said: str) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"from pycgroup import Cgroup\n{code}\n")
    assert said in mypy(wrong)
