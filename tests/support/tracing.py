# SPDX-License-Identifier: MIT
"""What a program asks of the kernel, seen from outside by strace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT


def traced(folder: Path, code: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run Python code under strace; return the system calls that it made, one a line."""
    log = folder / "strace"
    command = ["strace", *options, "-o", str(log), sys.executable, "-c", code, *arguments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return log.read_text()
