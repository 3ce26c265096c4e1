# SPDX-License-Identifier: MIT
"""What an import adds to a whole process, from start to exit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.rounds import Turn

TARGET = 2.0  # milliseconds over an empty program
NOTHING = "python -c pass"
STATEMENTS = {
    "pycgroup": "import pycgroup",
    "pycgroup, with its classes": "from pycgroup import Cgroup",
    "benchexec": "import benchexec.cgroups",
    "cgroupspy": "import cgroupspy.trees",
    "libcgroup": "import libcgroup",
}
UNWANTED = ("asyncio", "subprocess")

# Installed packages have byte code, so the checkout's gets it too.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def turns() -> dict[str, Turn]:
    """Return one turn per import that succeeds, and one for the empty program."""
    programs = {NOTHING: "pass"} | STATEMENTS
    return {name: _starting(program) for name, program in programs.items() if _runs(program)}


def loaded() -> list[str]:
    """Return which of the unwanted modules come along, also when the classes are used."""
    program = f"{STATEMENTS['pycgroup, with its classes']}; import sys; print(*sys.modules.keys() & {set(UNWANTED)})"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def _starting(program: str) -> Turn:
    # posix_spawn: what the harness itself does beside the child is small and always the same.
    arguments = [sys.executable, "-W", "ignore", "-c", program]

    def turn(count: int) -> int:
        start = time.perf_counter_ns()
        for _ in range(count):
            os.waitpid(os.posix_spawn(sys.executable, arguments, ENVIRONMENT), 0)
        return time.perf_counter_ns() - start

    return turn


def _runs(program: str) -> bool:
    """Run it once: this also writes the byte code that later runs find."""
    arguments = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, check=False)
    return done.returncode == 0
