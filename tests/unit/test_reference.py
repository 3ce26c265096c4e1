# SPDX-License-Identifier: MIT
"""docs/reference.md says what the declarations say."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "script" / "reference.py"))
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert script["page"]() == written, "run script/reference"
