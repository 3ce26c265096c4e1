# SPDX-License-Identifier: MIT
"""run(): subprocess.run inside a group, with what the group counted meanwhile."""

from __future__ import annotations

import subprocess
import time

from . import _native
from ._types import TYPE_CHECKING
from .errors import CgroupError
from .results import Counters, Counts, Result, counted
from .spawn import Child, Popen, bide, bury, left
from .victims import position

if TYPE_CHECKING:
    from typing import Any

    from .starting import Starting

_PATIENCE = 5.0  # seconds


def run(
    group: Starting,
    given: tuple[Any, ...],
    options: dict[str, Any],
    data: Any,
    timeout: float | None,
    *,
    capture_output: bool,
    check: bool,
) -> Result:
    """Do what Cgroup.run() says."""
    if data is not None or capture_output:
        _streams(options, data, capture_output=capture_output)
    before = None if group.is_fresh else counted(group)
    logged = position() if check else 0
    began = time.monotonic()
    process: Any
    if options or given[1:] or timeout is not None:
        process = group.popen(*given, **options)
        output, errors, counts = _waited(group, process, data, timeout)
    else:
        process, counts = _plainly(group, given[0])
        output = errors = None
    done = (process.args, process.returncode, output, errors)
    result = Result(done, before, counts, time.monotonic() - began, process.cpu_time)
    if check:
        result.check(group, process.pid, logged)
    return result


def _streams(options: dict[str, Any], data: Any, *, capture_output: bool) -> None:
    if data is not None:
        if options.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        options["stdin"] = subprocess.PIPE
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        options["stdout"] = options["stderr"] = subprocess.PIPE


def _plainly(group: Starting, args: Any) -> tuple[Child, Counts]:
    """Run a program that takes no options; return it, and what the group has counted."""
    entrance = group.begin()
    try:
        child = Child(args, entrance=entrance)
        group.started(entrance, child.pid)
        counters = Counters(group)  # while it runs
        return child, Counts(counters, child.finish(counters.names))
    except BaseException as error:
        if (report := entrance.child) is not None:
            # No function of Python's is called before each of these, where a signal handler may raise.
            try:
                left.append(report)
                if isinstance(error, KeyboardInterrupt):
                    bide(report)  # as who has interrupted this process (Ctrl-C) has interrupted the child
            finally:
                _native.let_go(report)
            bide(report)
            bury()
        group.started(entrance)
        raise


def _waited(group: Starting, process: Popen, data: Any, timeout: float | None) -> tuple[Any, Any, Counts]:
    """Return what the program has written, and what the group has counted."""
    try:
        counters = Counters(group)  # while it runs
        output, errors = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        _end(group, process, expired)
        raise
    except BaseException:
        with process:  # which waits for it, and closes its pipes
            process.kill()
        raise
    return output, errors, Counts(counters, _native.read(counters.names))


def _end(group: Starting, process: subprocess.Popen[Any], expired: subprocess.TimeoutExpired) -> None:
    """Kill what was started; what does not end, as one that waits for a server's file, keeps nobody waiting."""
    try:
        group.end_started()
    except CgroupError as error:
        expired.add_note(f"its descendants are not all killed: {error}")
    process.kill()
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        stream.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        expired.add_note(f"process {process.pid} has not ended {_PATIENCE} s after SIGKILL")
