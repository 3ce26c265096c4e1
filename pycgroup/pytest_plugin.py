# SPDX-License-Identifier: MIT
"""pytest: tests with limits that the kernel keeps, and groups as fixtures.

@pytest.mark.cgroup(memory="64M", pids=20) runs a test in a forked child inside a group of its own: its child processes
and the memory of its C libraries count, and the kernel's OOM killer ends that child instead of the whole run. What a
fixture of a wider scope makes first in such a test is made in the child, for that test alone.

This module is loaded in every run of pytest, so that it imports nothing before it is needed.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from .errors import CgroupError
    from .group import Cgroup
    from .limits import Limits


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option and the ini value."""
    group = parser.getgroup("cgroup", "control groups")
    group.addoption("--cgroup-require", action="store_true", help="fail, not skip, where this host cannot limit a test")
    parser.addini("cgroup", "limits for every test, such as 'memory=1G pids=100'", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and read the limits for every test."""
    config.addinivalue_line(
        "markers", "cgroup(memory='64M', pids=20, ...): run the test in a child with these limits; see pycgroup.Limits"
    )
    for text in config.getini("cgroup"):
        if "=" not in text:
            raise pytest.UsageError(f"cgroup = {text}: limits are written as WORD=VALUE, such as memory=1G")
    try:
        if config.getini("cgroup"):
            _limits(config, [])
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"cgroup = {' '.join(config.getini('cgroup'))}: {error}") from error


@pytest.fixture
def cgroup_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Cgroup]]:
    """Give a function that makes a group: `cgroup_factory(memory="64M")`. All are removed after the test."""
    from . import owners, pytest_child
    from .errors import CgroupError
    from .group import Cgroup

    with ExitStack() as stack:

        def make(name: str | None = None, **limits: object) -> Cgroup:
            if name is None and pytest_child.inside is not None:
                name = f"{pytest_child.inside}/{owners.unique_name()}"  # bounded by what bounds the test
            try:
                return stack.enter_context(Cgroup(name, **limits))  # type: ignore[arg-type]  # checked by Cgroup
            except CgroupError as error:
                _refuse(request.config, error)

        yield make


@pytest.fixture
def cgroup(cgroup_factory: Callable[..., Cgroup]) -> Cgroup:
    """Give a group without limits, in which to run programs, and remove it after the test."""
    return cgroup_factory()


def _refuse(config: pytest.Config, error: CgroupError) -> NoReturn:
    from .errors import InvalidNameError, InvalidValueError

    if isinstance(error, InvalidNameError | InvalidValueError):
        raise error
    if config.getoption("--cgroup-require"):
        pytest.fail(f"--cgroup-require: {error}", pytrace=False)
    pytest.skip(f"this host cannot limit a test: {error}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test that has limits in a child."""
    marks = list(item.iter_markers("cgroup"))
    if not marks and not item.config.getini("cgroup"):
        return None
    from . import pytest_limited

    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in pytest_limited.reports(
        item, nextitem, lambda: _limits(item.config, marks), _refuse, marked=bool(marks)
    ):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _limits(config: pytest.Config, marks: list[pytest.Mark]) -> Limits:
    """Return the limits of a test: the nearest mark says most, the ini file least."""
    from .errors import InvalidValueError
    from .limits import Limits

    words: dict[str, Any] = dict(text.split("=", 1) for text in config.getini("cgroup"))
    if "cpus" in words:
        words["cpus"] = float(words["cpus"])  # the others are taken as text
    for mark in reversed(marks):
        if mark.args:
            raise InvalidValueError(f"cgroup{mark.args}: the mark takes limits in words, such as cgroup(memory='64M')")
        words |= mark.kwargs
    return Limits(**words)
