# SPDX-License-Identifier: MIT
"""The C program that is 1.00: compiled on the spot, driven in turns."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.place import Place

SOURCE = Path(__file__).with_name("limit.c")


class Limit:
    """A running limit.c."""

    def __init__(self, program: Path, place: Place) -> None:
        arguments = [program, place.group, place.child, place.there, place.back]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self, operation: str, count: int) -> int:
        """Do an operation of limit.c ``count`` times, and return the nanoseconds it took."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{operation} {count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"limit.c ended during {operation!r}; its reason is above")
        return int(answer)

    def close(self) -> None:
        """End the program, which has then left its groups."""
        self._process.communicate()


@contextmanager
def limit(place: Place) -> Iterator[Limit]:
    """Compile and start limit.c, and end it."""
    with TemporaryDirectory(prefix="pycgroup-bench-") as directory:
        program = Path(directory, "limit")
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
        running = Limit(program, place)
        try:
            yield running
        finally:
            running.close()
