# SPDX-License-Identifier: MIT
"""The C program that is 1.00: compiled on the spot, driven in turns."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.coprocess import Coprocess

if TYPE_CHECKING:
    from benchmarks.place import Place

SOURCE = Path(__file__).with_name("limit.c")


class Limit(Coprocess):
    """A running limit.c. It has left its groups when it has ended."""

    def turn(self, operation: str, count: int) -> int:
        """Do an operation of limit.c ``count`` times, and return the nanoseconds it took."""
        return int(self.ask(f"{operation} {count}"))


@contextmanager
def limit(place: Place) -> Iterator[Limit]:
    """Compile and start limit.c, and end it."""
    with TemporaryDirectory(prefix="pycgroup-bench-") as directory:
        program = Path(directory, "limit")
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
        with Limit(program, place.group, place.child, place.there, place.back) as running:
            yield running
