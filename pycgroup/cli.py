# SPDX-License-Identifier: MIT
"""The command line: `python -m pycgroup check`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from . import doctor, reaping
from .errors import CgroupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHECK = (
    "say what control groups can do on this host for this user, proving it in a scratch group that is removed again"
)
_REAP = "remove the groups of processes that were killed before they could remove them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status: 0, or 1 where something does not work."""
    parser = argparse.ArgumentParser("python -m pycgroup", description="Control groups for Python.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help=_CHECK, description=_CHECK.capitalize() + ". The status is 1 if anything fails."
    )
    check.add_argument("--json", action="store_true", help="as JSON, for programs")
    check.set_defaults(run=_check)
    reap = commands.add_parser("reap", help=_REAP, description=_REAP.capitalize() + ".")
    reap.set_defaults(run=_reap)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


def _check(options: argparse.Namespace) -> int:
    report = doctor.examine()
    print(as_json(report) if options.json else "\n".join(as_text(report)))
    return 0 if report.healthy else 1


def _reap(_: argparse.Namespace) -> int:
    try:
        for directory in reaping.reap():
            print(f"removed {directory}")
    except (CgroupError, OSError) as error:
        print(f"pycgroup: {error}", file=sys.stderr)
        return 1
    return 0


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
