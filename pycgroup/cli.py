# SPDX-License-Identifier: MIT
"""The command line: `python -m pycgroup check`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from . import doctor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHECK = (
    "say what control groups can do on this host for this user, proving it in a scratch group that is removed again"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status: 0, or 1 where something does not work."""
    parser = argparse.ArgumentParser("python -m pycgroup", description="Control groups for Python.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help=_CHECK, description=_CHECK.capitalize() + ". The status is 1 if anything fails."
    )
    check.add_argument("--json", action="store_true", help="as JSON, for programs")
    options = parser.parse_args(arguments)
    report = doctor.examine()
    print(as_json(report) if options.json else "\n".join(as_text(report)))
    return 0 if report.healthy else 1


def as_json(report: doctor.Report) -> str:
    """Return a report as JSON."""
    plain = report._asdict()
    plain["controllers"] = [seat._asdict() for seat in report.controllers]
    plain["findings"] = [finding._asdict() for finding in report.findings]
    return json.dumps({"healthy": report.healthy, **plain}, indent=2)


def as_text(report: doctor.Report) -> Iterator[str]:
    """Yield the lines of a report for people."""
    manager = "systemd" if report.systemd else "no systemd"
    yield f"cgroups     {report.mode}  (Linux {report.kernel}, {manager})"
    yield f"user        {'root' if report.user == 0 else report.user}"
    yield f"libcgroup   {report.libcgroup}"
    yield ""
    for seat in report.controllers:
        yield f"{seat.controller:<12}{_sits(seat)}"
    yield ""
    for finding in report.findings:
        yield f"{finding.ability:<15}{'works: ' + finding.seen if finding.works else 'FAILS: ' + finding.why}"
        if finding.mend:
            yield f"{'':<15}mend:  {finding.mend}"


def _sits(seat: doctor.Seat) -> str:
    if seat.directory is None:
        return f"-   {seat.why}"
    return f"v{seat.version}  {seat.directory}  ({seat.why or 'writable'})"
