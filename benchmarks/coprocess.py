# SPDX-License-Identifier: MIT
"""A program that answers, a line for a line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent


class Coprocess:
    """A running program that is asked, and that ends with the block."""

    def __init__(self, *command: Any) -> None:
        self._name = " ".join(map(str, command[-4:]))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def line(self) -> str:
        """Return the next line that it prints. Raises RuntimeError where it has ended."""
        assert self._process.stdout
        if not (answer := self._process.stdout.readline()):
            raise RuntimeError(f"{self._name} ended; its reason is above")
        return answer.rstrip("\n")

    def ask(self, question: str) -> str:
        """Return its answer. Raises RuntimeError."""
        assert self._process.stdin
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
