# SPDX-License-Identifier: MIT
"""Running one test in a forked child inside a group, and handing on what that has reported."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import sys
import warnings
from contextlib import ExitStack

import pytest
from _pytest.runner import runtestprotocol
from _pytest.skipping import evaluate_xfail_marks

from . import controllers, pytest_child
from ._types import TYPE_CHECKING
from .codecs import UNLIMITED
from .errors import CgroupError
from .group import Cgroup
from .results import Counts, counted, memory_limit
from .spawn import Entrance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from .hierarchy import Hierarchy
    from .limits import Limits
    from .pytest_child import Record

    Refuse = Callable[[pytest.Config, CgroupError], None]

_MIB = 1 << 20
_CHUNK = 1 << 16


def reports(
    item: pytest.Item, nextitem: pytest.Item | None, limits: Callable[[], Limits], refuse: Refuse, *, marked: bool
) -> Iterator[pytest.TestReport]:
    """Run the test and yield its reports. Only a test that is marked is skipped where this host cannot limit it."""
    required = item.config.getoption("--cgroup-require")
    with ExitStack() as stack:
        run, failure = _prepared(item, limits, refuse, stack)
        if run is None and not (marked or required or not failure.skipped):
            yield from runtestprotocol(item, nextitem=nextitem, log=False)
            return
        yield from [failure] if run is None else run.reports()
        ended = pytest.CallInfo.from_call(stack.close, when="teardown")
        if ended.excinfo is not None:
            yield pytest.TestReport.from_item_and_call(item, ended)
    yield _left(item, nextitem)


def _prepared(
    item: pytest.Item, limits: Callable[[], Limits], refuse: Refuse, stack: ExitStack
) -> tuple[_Run | None, Any]:
    """Return the run in its groups, or the report that says why there are none."""
    runs: list[_Run] = []

    def prepare() -> None:
        refused = None
        try:
            runs.append(stack.enter_context(_Run(item, limits())))
        except CgroupError as error:
            refused = error
        if refused:
            refuse(item.config, refused)

    call = pytest.CallInfo.from_call(prepare, when="setup")
    report = pytest.TestReport.from_item_and_call(item, call)
    return (runs[0], None) if runs else (None, report)


def _left(item: pytest.Item, nextitem: pytest.Item | None) -> pytest.TestReport:
    """Do here what the child's end has not done: tear down what the next test does not need."""
    state = item.session._setupstate  # noqa: SLF001  # the hook would also undo a set-up that was done in the child
    call = pytest.CallInfo.from_call(lambda: state.teardown_exact(nextitem), when="teardown")
    return pytest.TestReport.from_item_and_call(item, call)


class _Run:
    """One test in its group."""

    def __init__(self, item: pytest.Item, limits: Limits) -> None:
        self._item = item
        self._group = Cgroup(limits=limits)
        #: Where it runs below its group: where it makes groups of its own, and the kernel wants no process beside them.
        self._below: dict[Hierarchy, str] = {}
        self._makes_groups = "cgroup_factory" in getattr(item, "fixturenames", ())

    def __enter__(self) -> Self:
        self._group.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._group.__exit__(kind, error, at)

    def reports(self) -> Iterator[pytest.TestReport]:
        """Run the test and yield its reports."""
        answers: list[tuple[list[Record], int]] = []
        ending = _ending_exceptions(self._item.config)
        call = pytest.CallInfo.from_call(lambda: answers.append(self._ask()), when="call", reraise=ending)
        if not answers:
            # Such as a timeout of the test's, by a signal to this process.
            yield pytest.TestReport.from_item_and_call(self._item, call)
            return
        ((records, status),) = answers
        shown, kills = self._figures()
        found = list(_replayed(self._item, records))
        texts = [text for kind, text in records if kind == "failure"]
        if found and not kills and not texts:
            yield from _completed(found, shown)
            return
        reason = "\n".join([*texts, shown]) if texts else self._reason(shown, status, killed=bool(kills))
        yield from (report for report in found if report.when == "setup" and report.passed)
        yield self._failed(reason, found, call.duration)

    def _ask(self) -> tuple[list[Record], int]:
        """Return what the child has to say, nothing if it was killed, and its exit status."""
        factory = getattr(self._item.config, "_tmp_path_factory", None)
        if factory is not None:
            factory.getbasetemp()  # one for all: each child would make its own
        start = self._group.begin()
        entrance = Entrance(self._places())
        reader, writer = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12, where threads are running
            pid = os.fork()
        if pid == 0:
            os.close(reader)
            pytest_child.run(self._item, self._group.name, entrance.files, writer)
        os.close(writer)
        self._group.started(start, pid)
        with open(reader, "rb", buffering=0) as pipe:
            answer, status = _answer(pid, pipe.fileno())
        return _unpickled(answer), status

    def _places(self) -> dict[Hierarchy, str]:
        places = self._group.there()
        for tree in places if self._makes_groups else ():
            if not tree.inner_processes:
                self._below[tree] = f"{places[tree]}/test"
                os.mkdir(self._below[tree])
        return places | self._below

    def _kills(self, counts: Counts) -> int:
        """Return how many the OOM killer killed; those in the groups that a test has made are its own affair."""
        if not self._makes_groups:
            return counts.oom_kills or 0
        kills = _kills_in(self._group.memory) if self._group.has(controllers.MEMORY) else 0
        for tree, directory in self._below.items():
            if self._group.memory._place.hierarchy is tree:  # noqa: SLF001
                kills += _kills_in(controllers.MEMORY(directory.removeprefix(tree.path)))
        return kills

    def _figures(self) -> tuple[str, int]:
        """Return what the group counted, for people, and how many the OOM killer killed in it."""
        counts, limit = counted(self._group), memory_limit(self._group)
        peak = "unknown" if counts.memory_peak is None else f"{counts.memory_peak / _MIB:.1f} MiB"
        shown = "none" if limit in (None, UNLIMITED) else f"{(limit or 0) / _MIB:.1f} MiB"
        most = "unknown" if counts.pids_peak is None else counts.pids_peak
        kills = self._kills(counts)
        text = f"memory limit {shown}, peak {peak}, processes at most {most}, OOM kills {kills}"
        return text, kills

    def _reason(self, figures: str, status: int, *, killed: bool) -> str:
        if not killed:
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            return f"the process of the test ended with {how}\n{figures}"
        whom = self._item.name if status == -signal.SIGKILL else "a child process of the test"
        return f"memory limit exceeded: the kernel killed {whom}\n{figures}"

    def _failed(self, reason: str, found: list[pytest.TestReport], duration: float) -> pytest.TestReport:
        item = self._item
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords=dict.fromkeys(item.keywords, 1),
            outcome="failed",
            longrepr=reason,
            when="call",
            sections=[section for report in found for section in report.sections] or _captured(item),
            duration=duration,
        )
        expected = evaluate_xfail_marks(item)
        if expected is not None and expected.raises is None and not item.config.option.runxfail:
            report.outcome, report.wasxfail = "skipped", expected.reason
        return report


def _ending_exceptions(config: pytest.Config) -> tuple[type[BaseException], ...]:
    """Return what ends the whole run, as in pytest's own protocol."""
    return (pytest.exit.Exception, *([] if config.getoption("usepdb", default=False) else [KeyboardInterrupt]))


def _answer(pid: int, reader: int) -> tuple[bytes, int]:
    """Return what a child sends and its exit status. It may leave children, who hold its end of the pipe."""
    pidfd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            for descriptor in (reader, pidfd):
                selector.register(descriptor, selectors.EVENT_READ)
            data = _read(selector, reader)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(pidfd)
    return data, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _read(selector: selectors.BaseSelector, reader: int) -> bytes:
    head = pytest_child.HEAD
    data = b""
    while len(data) < head.size or len(data) < head.size + head.unpack_from(data)[0]:
        if all(key.fd != reader for key, _ in selector.select()):
            break  # the child has ended, and all that it had sent is read
        chunk = os.read(reader, _CHUNK)
        if not chunk:
            break
        data += chunk
    return data[head.size :]


def _unpickled(answer: bytes) -> list[Record]:
    try:
        records: list[Record] = pickle.loads(answer) if answer else []  # noqa: S301  # from our own child
    except (EOFError, pickle.UnpicklingError):
        return []  # it was killed while it spoke
    return records


def _replayed(item: pytest.Item, records: list[Record]) -> Iterator[pytest.TestReport]:
    """Do here what was noted there: yield reports, warn, end the run."""
    for kind, data in records:
        if kind == "report":
            yield item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        elif kind == "warning":
            with warnings.catch_warnings():
                warnings.simplefilter("always")  # the test's own filters have let it through
                warnings.warn_explicit(*data)
        elif kind == "exit":
            pytest.exit(*data)
        elif kind == "interrupt":
            raise KeyboardInterrupt


def _completed(found: list[pytest.TestReport], shown: str) -> Iterator[pytest.TestReport]:
    for report in found:
        if report.failed:
            report.sections.append(("control group", shown))
        # The teardown comes once more, from this process.
        if report.when != "teardown" or not report.passed:
            yield report


def _captured(item: pytest.Item) -> list[tuple[str, str]]:
    """Return what the child had printed before it was killed."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is None or not capture.is_globally_capturing():
        return []
    texts = zip(("stdout", "stderr"), capture.read_global_capture(), strict=True)
    return [(f"Captured {name} call", text) for name, text in texts if text]


def _kills_in(group: controllers.MEMORY) -> int:
    """Return how many were killed in a group, without those below; 0 where it has no memory controller of its own."""
    try:
        if hasattr(group, "events_local"):
            return group.events_local.oom_kill
        return group.oom_control.oom_kill if hasattr(group, "oom_control") else 0
    except (CgroupError, LookupError):
        return 0  # the test has removed it; or before Linux 4.13
