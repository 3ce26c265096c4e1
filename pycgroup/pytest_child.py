# SPDX-License-Identifier: MIT
"""Run one test in a forked child inside a group, and tell pytest what became of it."""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings

import pytest
from _pytest.runner import runtestprotocol

from . import _kernfs
from ._types import TYPE_CHECKING
from .codecs import UNLIMITED
from .errors import CgroupError
from .group import Cgroup
from .results import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .limits import Limits

    Refuse = Callable[[pytest.Config, CgroupError], None]

_MIB = 1 << 20


def reports(
    item: pytest.Item, nextitem: pytest.Item | None, limits: Callable[[], Limits], refuse: Refuse, *, marked: bool
) -> Iterator[pytest.TestReport]:
    """Run the test and yield its reports. Only a test that is marked is skipped where this host cannot limit it."""
    required = item.config.getoption("--cgroup-require")
    group, failure = _entered(item, limits, refuse)
    if group is None and (marked or required or not failure.skipped):
        yield failure
    elif group is None:
        yield from runtestprotocol(item, nextitem=nextitem, log=False)
        return
    else:
        yield from _reports(item, group)
    yield from _left(item, nextitem)


def _entered(item: pytest.Item, limits: Callable[[], Limits], refuse: Refuse) -> tuple[Cgroup | None, Any]:
    """Return the group, or the report that says why there is none."""
    groups: list[Cgroup] = []

    def enter() -> None:
        refused = None
        group = Cgroup(limits=limits())
        try:
            groups.append(group.__enter__())
        except CgroupError as error:
            refused = error
        if refused:
            refuse(item.config, refused)

    call = pytest.CallInfo.from_call(enter, when="setup")
    report = pytest.TestReport.from_item_and_call(item, call)
    return (groups[0], None) if groups else (None, report)


def _left(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
    """Do here what the child's end has not done: tear down what the next test does not need."""
    state = item.session._setupstate  # noqa: SLF001  # the hook would also undo a set-up that was done in the child
    call = pytest.CallInfo.from_call(lambda: state.teardown_exact(nextitem), when="teardown")
    yield pytest.TestReport.from_item_and_call(item, call)


def _reports(item: pytest.Item, group: Cgroup) -> Iterator[pytest.TestReport]:
    began = time.perf_counter()
    try:
        answer, status = _ask(item, group)
        counts = Counts(group)
        limit = group.memory.limit_in_bytes if counts.memory_peak is not None else None
    finally:
        group.__exit__(None, None, None)
    found = [_restored(item, data) for data in pickle.loads(answer)] if answer else []  # noqa: S301  # from our child
    shown = _figures(limit, counts)
    if not found or counts.oom_kills:
        reason = _reason(item, shown, status, killed=bool(counts.oom_kills))
        yield from (report for report in found if report.when == "setup" and report.passed)
        yield _failed(item, reason, found, time.perf_counter() - began)
        return
    for report in found:
        if report.failed:
            report.sections.append(("control group", shown))
        # The teardown comes once more, from this process.
        if report.when != "teardown" or not report.passed:
            yield report


def _ask(item: pytest.Item, group: Cgroup) -> tuple[bytes, int]:
    """Return what the child has to say, nothing if it was killed, and its exit status."""
    files = group.begin().files
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12, where threads are running
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(item, files, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    return answer, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class _Sibling:
    """A next test of the same class and module, so that nothing of theirs is torn down in the child."""

    def __init__(self, item: pytest.Item) -> None:
        self._chain = item.listchain()[:-1]

    def listchain(self) -> list[Any]:
        return self._chain


def _child(item: pytest.Item, files: list[str], writer: int) -> None:  # pragma: no cover  # in a forked process
    status = 1
    try:
        for file in files:
            _kernfs.write(file, "0")
        sibling: Any = _Sibling(item)
        found = runtestprotocol(item, log=False, nextitem=sibling)
        to_data = item.config.hook.pytest_report_to_serializable
        answer = pickle.dumps([to_data(config=item.config, report=report) for report in found])
        with open(writer, "wb") as pipe:
            pipe.write(answer)
        status = 0
    finally:
        os._exit(status)


def _restored(item: pytest.Item, data: Any) -> pytest.TestReport:
    report: pytest.TestReport = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
    return report


def _figures(limit: float | None, counts: Counts) -> str:
    peak = "unknown" if counts.memory_peak is None else f"{counts.memory_peak / _MIB:.1f} MiB"
    shown = "none" if limit in (None, UNLIMITED) else f"{(limit or 0) / _MIB:.1f} MiB"
    return f"memory limit {shown}, peak {peak}, processes at most {counts.pids_peak}, OOM kills {counts.oom_kills or 0}"


def _reason(item: pytest.Item, figures: str, status: int, *, killed: bool) -> str:
    if not killed:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"the process of the test ended with {how}\n{figures}"
    whom = item.name if status == -signal.SIGKILL else "a child process of the test"
    return f"memory limit exceeded: the kernel killed {whom}\n{figures}"


def _failed(item: pytest.Item, reason: str, found: list[pytest.TestReport], duration: float) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=reason,
        when="call",
        sections=[section for report in found for section in report.sections] or _captured(item),
        duration=duration,
    )


def _captured(item: pytest.Item) -> list[tuple[str, str]]:
    """Return what the child had printed before it was killed."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is None or not capture.is_globally_capturing():
        return []
    texts = zip(("stdout", "stderr"), capture.read_global_capture(), strict=True)
    return [(f"Captured {name} call", text) for name, text in texts if text]
