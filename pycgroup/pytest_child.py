# SPDX-License-Identifier: MIT
"""The child that runs one test inside its groups, and what it has to say of it: a list of records, pickled.

("report", data)        a report, be it of a subtest, in the form that pytest sends to other processes
("warning", arguments)  what warnings.warn_explicit() takes
("exit", arguments)     pytest.exit() was called
("interrupt", ())       a KeyboardInterrupt
("failure", text)       something is wrong with the records themselves
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import warnings

import pytest
from _pytest.runner import runtestprotocol

from . import _kernfs
from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Record = tuple[str, Any]

HEAD = struct.Struct("Q")
#: The group that the test of this process runs in; None in the process that runs the tests.
inside: str | None = None


class _Recorder:
    """The plugin that gets the reports, in the order in which they come."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self.records: list[Record] = []
        manager = item.config.pluginmanager
        for plugin in manager.get_plugins():
            # Others, such as the terminal or a worker's link to its master, will get them in the other process.
            if hasattr(plugin, "pytest_runtest_logreport") and not isinstance(plugin, pytest.Session):
                manager.unregister(plugin)
        manager.register(self)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        hook = self._item.config.hook
        # A test whose subtests have failed is found to have failed when its status is asked for.
        hook.pytest_report_teststatus(report=report, config=self._item.config)
        self.records.append(("report", hook.pytest_report_to_serializable(config=self._item.config, report=report)))


class _Sibling:
    """A next test of the same class and module, so that nothing of theirs is torn down."""

    def __init__(self, item: pytest.Item) -> None:
        self._chain = item.listchain()[:-1]

    def listchain(self) -> list[Any]:
        return self._chain


def run(item: pytest.Item, group: str, files: list[str], writer: int) -> None:  # pragma: no cover  # a forked process
    """Enter the groups, run the test, send the records, and end this process."""
    global inside
    inside = group
    status = 1
    try:
        for file in files:
            _kernfs.write(file, "0")
        answer = _pickled(_records(item))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with open(writer, "wb") as pipe:
            pipe.write(HEAD.pack(len(answer)) + answer)
        status = 0
    finally:
        os._exit(status)


def _records(item: pytest.Item) -> list[Record]:  # pragma: no cover  # a forked process
    recorder, known = _Recorder(item), _set_up(item)
    records = recorder.records
    with warnings.catch_warnings(record=True) as warned:
        try:
            runtestprotocol(item, log=True, nextitem=_Sibling(item))  # type: ignore[arg-type]  # all that is asked of it
        except pytest.exit.Exception as error:
            records.append(("exit", (str(error.msg), error.returncode)))
        except KeyboardInterrupt:
            records.append(("interrupt", ()))
        call = pytest.CallInfo.from_call(lambda: _tear_down(item, known), when="teardown")
    if call.excinfo is not None:
        recorder.pytest_runtest_logreport(pytest.TestReport.from_item_and_call(item, call))
    given = ((each.message, each.category, each.filename, each.lineno) for each in warned)
    return [*(("warning", arguments) for arguments in given), *records]


def _set_up(item: pytest.Item) -> dict[Any, int]:
    """Return how many finalizers each node has by now: what comes to them here is to be undone here."""
    return {node: len(finalizers) for node, (finalizers, _) in item.session._setupstate.stack.items()}  # noqa: SLF001


def _tear_down(item: pytest.Item, known: dict[Any, int]) -> None:  # pragma: no cover  # a forked process
    """Undo what was set up for classes, modules and the session."""
    for finalize in _finalizers(item, known):
        finalize()


def _finalizers(item: pytest.Item, known: dict[Any, int]) -> Iterator[Any]:  # pragma: no cover  # a forked process
    for node, (finalizers, _) in reversed(list(item.session._setupstate.stack.items())):  # noqa: SLF001
        while len(finalizers) > known.get(node, 0):
            yield finalizers.pop()


def _pickled(records: list[Record]) -> bytes:  # pragma: no cover  # a forked process
    try:
        return pickle.dumps(records)
    except Exception as error:  # noqa: BLE001  # a class of the test's may raise anything
        kept = [each for each in records if each[0] != "warning"]
        return pickle.dumps([("failure", f"the test's reports cannot be sent: {error!r}: {kept!r:.500}")])
