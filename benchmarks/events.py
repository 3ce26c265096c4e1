# SPDX-License-Identifier: MIT
"""Events beside a C listener: ``python -m benchmarks.events [--rounds N]``.

Latency is from the page that crosses the threshold, or that runs into the limit, to the event being in hand. One
listener at a time, in a process of its own; they take turns of some tens of events. The listener has a processor of its
own, and before each event all rest, so that it sleeps as deeply as it does where events are rare: otherwise it is a
matter of chance on which processor it wakes and whether that was asleep, which makes a difference of 50 us to anybody.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from benchmarks.place import PREFIX, NoPlaceError, place
from benchmarks.rounds import several

HERE = Path(__file__).parent
BARE = ("bare read", "bare selectors", "bare asyncio")
TARGETS = {"wait": (1.5, 1.5), "for": (1.5, 1.5), "selectors": (2.0, 1.8), "asyncio": (2.8, 2.3)}
REGISTRATION, RESIDENT = 1.4, 512
#: Events that a listener is there for: enough that what it does now and then is in the figures.
A_TURN = 40
#: Turns of each that are compared with C's of the same time. The host stops this machine now and then, for longer than
#: an event takes, and that is what few of the slowest show: hence the median of several such comparisons.
COMPARED = 6
REST = 20.0  # milliseconds
THRESHOLD = 1 << 20
COUNT = 4000
#: The kernel, for a tenth of a second, walks the list of those registered to take out those of who has exited, one by
#: one, and locks it meanwhile.
CLEARING = 0.3

Latencies = dict[str, list[float]]


@contextmanager
def conversing(*command: str, on: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says when it is ready, on a processor, by default where this one runs."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    ) as process:
        try:
            if on is not None:
                os.sched_setaffinity(process.pid, {on})
            if answer(process) != "ready":
                raise RuntimeError(f"{command} did not get ready")
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    return process.stdout.readline().strip() if process.stdout else ""


def order(process: subprocess.Popen[str], rest: float) -> None:
    """Send a line to a program, after a rest of so many seconds."""
    time.sleep(rest)
    if process.stdin:
        process.stdin.write("\n")
        process.stdin.flush()


class Bench:
    """The programs and the group that they share."""

    def __init__(self, program: str, group: Path, stamp: str, rest: float) -> None:
        self.program = program
        self.group = group
        self.stamp = stamp
        self.rest = rest
        here, *others = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {here})
        #: The listener's processor; the same as all others' where there is only one.
        self.its = others[0] if others else here

    def listener(self, style: str, *threshold: str) -> list[str]:
        """Return the command of a listener; "C" is the limit."""
        file = "memory.usage_in_bytes" if threshold else "memory.oom_control"
        if style == "C":
            return [self.program, "listen", str(self.group), file, *(threshold or [""])]
        if style in BARE:
            return [sys.executable, str(HERE / "listener.py"), style, str(self.group), file, *(threshold or [""])]
        return [sys.executable, str(HERE / "listener.py"), style, self.group.name, *threshold]

    def thresholds(self, style: str) -> list[float]:
        """Return the latencies of a turn of crossings, those upward."""
        limit = str(THRESHOLD)
        taken = []
        with (
            conversing(*self.listener(style, limit), on=self.its) as listener,
            conversing(self.program, "drive", str(self.group), limit) as driver,
        ):
            for _ in range(A_TURN):
                for upward in (True, False):
                    order(driver, self.rest)
                    crossed, heard = int(answer(driver)), int(answer(listener))
                    if upward:
                        taken.append((heard - crossed) / 1000)
        return taken

    def ooms(self, style: str) -> list[float]:
        """Return the latencies of a turn of OOM kills."""
        taken = []
        (self.group / "memory.limit_in_bytes").write_text("4M")
        with conversing(*self.listener(style), on=self.its) as listener:
            for _ in range(A_TURN):
                with conversing(self.program, "die", str(self.group), self.stamp) as victim:
                    order(victim, self.rest)
                    heard = int(answer(listener))
                    victim.wait()
                (stamp,) = struct.unpack("q", Path(self.stamp).read_bytes()[:8])
                taken.append((heard - stamp) / 1000)
        (self.group / "memory.limit_in_bytes").write_text("-1")
        return taken

    def registration(self) -> tuple[int, ...]:
        """Return nanoseconds for one registration in C, there with what tells kills, and by pycgroup, and its bytes."""
        figures = []
        for command in ([self.program, "register", str(self.group), str(COUNT)], self.listener("register", str(COUNT))):
            time.sleep(CLEARING)
            figures += subprocess.check_output(command, cwd=HERE.parent).split()
        return tuple(map(int, figures))


def percentiles(latencies: list[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    return median(latencies), quantiles(latencies, n=100)[98]


def parts(latencies: list[float]) -> list[tuple[float, float]]:
    """Return p50 and p99 of some turns after the other."""
    size = len(latencies) // max(1, len(latencies) // (COMPARED * A_TURN))
    return [percentiles(latencies[at : at + size]) for at in range(0, len(latencies) - size + 1, size)]


def table(title: str, found: Latencies) -> None:
    """Print the latencies of all styles as ratios to C's."""
    limits = parts(found["C"])
    limit = [median(each) for each in zip(*limits, strict=True)]
    how = f"{len(limits)} x {len(found['C']) // len(limits)} events"
    print(f"\n{title}  ({how}; 1.00 = C read(): p50 {limit[0]:.1f} us, p99 {limit[1]:.1f} us)")
    for style, latencies in found.items():
        if style != "C":
            pairs = zip(parts(latencies), limits, strict=True)
            compared = [[own / its for own, its in zip(*pair, strict=True)] for pair in pairs]
            ratios = [median(each) for each in zip(*compared, strict=True)]
            print(f"  {style:<16}p50 {ratios[0]:5.2f}   p99 {ratios[1]:5.2f}{verdict(style, ratios)}")


def verdict(style: str, ratios: list[float]) -> str:
    """Return the target of a style and whether it is met; nothing for those without pycgroup."""
    if style not in TARGETS:
        return "   without pycgroup"
    met = all(ratio <= target for ratio, target in zip(ratios, TARGETS[style], strict=True))
    return "   target <= {:.1f} / {:.1f}: {}".format(*TARGETS[style], "met" if met else "NOT MET")


def main() -> int:
    """Return 0 when the tables were printed, 1 when this host cannot run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description="Compare events with C.")
    parser.add_argument("--rounds", type=several, default=30, metavar="N", help=f"turns of {A_TURN} events each (30)")
    parser.add_argument("--rest", type=float, default=REST, metavar="MS", help=f"before each event ({REST:.0f} ms)")
    given = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, -20)  # inherited by the programs: others on the machine count for less
    try:
        with place() as here, tempfile.TemporaryDirectory(prefix=PREFIX) as scratch:
            run(here.group, Path(scratch), given.rounds, given.rest / 1000)
    except NoPlaceError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def run(group: Path, scratch: Path, rounds: int, rest: float) -> None:
    """Build the C program, take turns, print the tables."""
    program, stamp = str(scratch / "events"), scratch / "stamp"
    subprocess.run(["cc", "-O2", "-Wall", "-o", program, str(HERE / "events.c")], check=True)
    stamp.write_bytes(bytes(os.sysconf("SC_PAGE_SIZE")))
    bench = Bench(program, group, str(stamp), rest)
    registrations(bench, rounds)  # first, as most are for groups in which nobody was killed yet
    for title, turn in (("threshold crossings", bench.thresholds), ("OOM kills", bench.ooms)):
        found: Latencies = {style: [] for style in ("C", *BARE, *TARGETS)}
        for number in range(rounds):
            first = number % len(found)
            for style in list(found)[first:] + list(found)[:first]:
                found[style] += turn(style)
        table(title, found)


def registrations(bench: Bench, rounds: int) -> None:
    """Print what a registration takes."""
    figures = [bench.registration() for _ in range(rounds)]
    print(f"registration  ({COUNT} subscriptions)")
    for at, which in enumerate(("that only registers", "that could tell kills and the removal, too")):
        cost, ratio = median(each[at] for each in figures), median(each[2] / each[at] for each in figures)
        print(f"  time    {ratio:6.2f} of C {which} ({cost / 1000:.1f} us)   {against(ratio, REGISTRATION)}")
    size = median(each[3] for each in figures)
    print(f"  memory  {size:6.0f} bytes each   {against(size, RESIDENT)}")


def against(figure: float, target: float) -> str:
    """Return a target, and whether it is met."""
    return f"target <= {target}: {'met' if figure <= target else 'NOT MET'}"


if __name__ == "__main__":
    sys.exit(main())
