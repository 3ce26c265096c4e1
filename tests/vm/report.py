# SPDX-License-Identifier: MIT
"""What the guests' junit files say, as one table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.vm.machine import Ended
    from tests.vm.modes import Mode

HEADING = f"{'mode':<22} {'kernel':<21} {'passed':>6} {'failed':>6} {'skipped':>7} {'seconds':>7}  outcome"
TAIL = 60  # lines of a log


@dataclass(frozen=True)
class Tests:
    """The outcomes of one junit file; `failed` are (test, first line of the reason), `skipped` counts reasons."""

    passed: int
    failed: tuple[tuple[str, str], ...]
    skipped: Counter[str]


@dataclass(frozen=True)
class Result:
    """One row of the table; `tests` is None where the command left no junit file."""

    mode: Mode
    ended: Ended
    tests: Tests | None
    exchange: Path

    @property
    def outcome(self) -> str:
        """Say "ok" where the command succeeded in a guest that lived to its end, else what happened."""
        if self.ended.timed_out:
            return "TIMED OUT"
        if self.ended.status is None:
            return "DIED"
        return "ok" if self.ended.status == 0 else f"FAILED (status {self.ended.status})"


def parse(junit: str) -> Tests:
    """Read a junit file's text as pytest writes it."""
    failed, skipped, passed = [], Counter[str](), 0
    for case in ET.fromstring(junit).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        wrong = [case.find("failure"), case.find("error")]
        skip = case.find("skipped")
        failed += [(name, _first_line(element)) for element in wrong if element is not None]
        if skip is not None:
            skipped[_skip_reason(skip)] += 1
        passed += skip is None and wrong == [None, None]
    return Tests(passed, tuple(failed), skipped)


def _first_line(element: ET.Element) -> str:
    return (element.get("message") or "").partition("\n")[0]


def _skip_reason(element: ET.Element) -> str:
    """Return the capability that was missing, by its name alone, or the reason of any other skip."""
    message = _first_line(element)
    match = re.match(r"needs ([\w.:-]+): ", message)
    return match[1] if match else message


def row(result: Result) -> str:
    """Return one line of the table."""
    tests = result.tests
    counts = (tests.passed, len(tests.failed), tests.skipped.total()) if tests else ("-", "-", "-")
    passed, failed, skipped = counts
    return (
        f"{result.mode.name:<22} {result.mode.release.kernel_release:<21} {passed:>6} {failed:>6} {skipped:>7} "
        f"{result.ended.seconds:>7.0f}  {result.outcome}"
    )


def table(results: list[Result]) -> str:
    """Return the whole table: a row per mode, below it the reasons of its skips."""
    lines = [HEADING]
    for result in results:
        lines.append(row(result))
        if result.tests and result.tests.skipped:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in result.tests.skipped.most_common())
            lines.append(f"    skipped for want of: {reasons}")
    return "\n".join(lines)


def details(result: Result) -> str:
    """Return what one needs to see of a mode that is not ok: its failures, and the ends of the guest's logs."""
    lines = [f"== {result.mode.name}: {result.outcome}; everything is in {result.exchange}"]
    lines += [f"{name}: {reason}" for name, reason in (result.tests.failed if result.tests else ())]
    for log in ("output.log", "console.log"):
        lines += [f"-- the end of {log}:", tail(result.exchange / log)]
    return "\n".join(lines)


def tail(path: Path) -> str:
    """Return a text file's last lines, "" where there is no such file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-TAIL:]) if path.exists() else ""
