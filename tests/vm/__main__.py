# SPDX-License-Identifier: MIT
"""Run a command on real kernels, once per mode, and print one table.

    script/matrix                            the project's kernel tests in every mode
    script/matrix v2 hybrid                  in these modes
    script/matrix v2 -- pytest tests/kernel -k oom
    script/matrix v1 -- cat /proc/self/cgroup
    script/matrix --list                     the modes and what they require

A command that begins with `pytest` is given the mode's required capabilities and its results are counted. It runs in
/src, a copy of this checkout, and may leave files for the host in /run/vm. The first run downloads two Debian roots
into ~/.cache/pycgroup-vm (or $PYCGROUP_VM_CACHE) and installs QEMU where it is missing; it needs root.
"""

from __future__ import annotations

# ruff: noqa: T201 - it is a program
import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.vm import machine, modes, project, report, roots

if TYPE_CHECKING:
    from tests.vm.modes import Mode

DEFAULT_COMMAND = ["pytest", "tests/vm", "tests/kernel"]
JUNIT = "junit.xml"
TEST_TIMEOUT = 300  # seconds for one test; the longest take a minute where all is well


def command_for(mode: Mode, command: list[str]) -> list[str]:
    """Return the command as the guest runs it: pytest with the mode's requirements, anything else as it is."""
    if command[0] != "pytest":
        return command
    options = ["--verbose", "--durations=15", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT}"]
    options += [f"--junit-xml={machine.SHARE}/{JUNIT}", f"--require={','.join(mode.requires)}"]
    return [project.PYTHON, "-m", "pytest", *options, *command[1:]]


def run(mode: Mode, command: list[str], timeout: float) -> report.Result:
    """Run a command in one mode and collect what it left."""
    exchange = roots.CACHE / "results" / mode.name
    ended = machine.run(mode, command_for(mode, command), exchange, timeout)
    junit = exchange / JUNIT
    return report.Result(mode, ended, report.parse(junit.read_text()) if junit.exists() else None, exchange)


@contextmanager
def the_only_run() -> Iterator[None]:
    """Hold the cache's lock: of several runs on one machine one waits for the other."""
    roots.CACHE.mkdir(parents=True, exist_ok=True)
    with (roots.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run to release {lock.name}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(mode: Mode) -> None:
    """Make the mode's root if need be and bring the project in it up to date."""
    roots.install_host_programs()
    roots.prepare(mode.release)
    project.install(mode.release)


def show(result: report.Result) -> None:
    """Print a mode's row and, where it is not ok, why; of a command that is no test run its output."""
    if result.outcome != "ok":
        print(report.details(result))
    elif result.tests is None:
        print((result.exchange / "output.log").read_text(errors="replace"), end="")
    print(report.row(result), flush=True)


def matrix(selected: list[Mode], command: list[str], timeout: float, jobs: int) -> int:
    """Run the modes, some at a time; return the exit status, 1 where a mode is not ok."""
    results = []
    with the_only_run():
        for mode in selected:
            prepare(mode)
        with ThreadPoolExecutor(jobs) as pool, machine.killing_all():
            print(f"running {', '.join(mode.name for mode in selected)}, {jobs} at a time", flush=True)
            for result in pool.map(lambda mode: run(mode, command, timeout), selected):
                results.append(result)
                show(result)
    print("", report.table(results), sep="\n")
    return 0 if all(result.outcome == "ok" for result in results) else 1


def prepare_all(selected: list[Mode]) -> int:
    """Make what the modes need; return the exit status."""
    with the_only_run():
        for mode in selected:
            prepare(mode)
    return 0


def arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into the options and the command behind "--"."""
    cut = argv.index("--") if "--" in argv else len(argv)
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser("script/matrix", description=__doc__, formatter_class=layout)
    parser.add_argument("modes", nargs="*", metavar="MODE", help="all when none is given")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one guest (default 3600)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="guests at a time (default: one a CPU)")
    parser.add_argument("--prepare", action="store_true", help="make what the guests need and run none")
    parser.add_argument("--list", action="store_true", help="list the modes")
    options = parser.parse_args(argv[:cut])
    try:
        options.modes = modes.chosen(options.modes)
    except ValueError as error:
        parser.error(str(error))
    return options, argv[cut + 1 :] or DEFAULT_COMMAND


def main(argv: list[str]) -> int:
    """Do what the command line says."""
    options, command = arguments(argv)
    if options.list:
        for mode in options.modes:
            print(f"{mode.name:<22} {mode.release.suite:<9} requires {' '.join(mode.requires)}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files go
    return (
        prepare_all(options.modes) if options.prepare else matrix(options.modes, command, options.timeout, options.jobs)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
