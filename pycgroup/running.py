# SPDX-License-Identifier: MIT
"""run(): subprocess.run inside a group, with what the group counted meanwhile."""

from __future__ import annotations

import subprocess
import time

from ._types import TYPE_CHECKING
from .results import Counts, Result
from .victims import position

if TYPE_CHECKING:
    from typing import Any

    from .starting import Starting


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
    _streams(options, data, capture_output=capture_output)
    before = None if group.is_fresh else Counts(group)
    logged = position() if check else 0
    began = time.monotonic()
    with group.popen(*given, **options) as process:
        output, errors = _waited(group, process, data, timeout)
    done = (process.args, process.returncode, output, errors)
    result = Result(done, before, Counts(group), time.monotonic() - began, process.cpu_time)
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


def _waited(group: Starting, process: subprocess.Popen[Any], data: Any, timeout: float | None) -> tuple[Any, Any]:
    try:
        output: tuple[Any, Any] = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired:
        group.kill()
        process.wait()
        raise
    except BaseException:
        process.kill()
        raise
    return output
