# SPDX-License-Identifier: MIT
"""Capabilities, unique names for groups, and the check that nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests.support import capabilities, groups, machine

# The same examples in every run, and no time limit: an emulated guest is many times slower than this machine.
hypothesis.settings.register_profile("pycgroup", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("pycgroup")

_required = pytest.StashKey[set[str]]()
_before = pytest.StashKey[list[str]]()
_suspects = pytest.StashKey[dict[str, str]]()
_enabled = pytest.StashKey[dict[machine.Hierarchy, frozenset[str]]]()
_left = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="capabilities (memory:v1, root, ...) that must be here: a skip for want of one is a failure",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(name): a capability of the machine; see tests/support/capabilities.py")
    required = {name.strip() for option in config.getoption("--require") for name in option.split(",") if name.strip()}
    if unknown := sorted(name for name in required if not capabilities.known(name)):
        known = ", ".join(capabilities.names())
        raise pytest.UsageError(f"--require: unknown capability {', '.join(unknown)}; known: {known}")
    config.stash[_required] = required
    config.stash[_before] = list(machine.groups())
    config.stash[_suspects] = {}
    config.stash[_enabled] = {each: machine.subtree_control(each) for each in machine.hierarchies()}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        (name,) = mark.args
        if reason := capabilities.missing(name):
            _refuse(item.config, name, reason)


def _refuse(config: pytest.Config, name: str, reason: str) -> None:
    if capabilities.implied_by(name, config.stash[_required]):
        pytest.fail(f"required capability {name} is missing: {reason}", pytrace=False)
    pytest.skip(f"needs {name}: {reason}")


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Give `unique("memory")`: a new group name for these controllers. What the test leaves of them is removed."""
    before = set(groups.leftovers(groups.SESSION))
    yield lambda *controllers: groups.unique_name(request.node.name, *controllers)
    for directory in groups.leftovers(groups.SESSION):
        if directory not in before:
            groups.remove(directory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Note behind which test a group came to stay."""
    try:
        yield
    finally:
        for directory in _new_groups(item.config):
            item.config.stash[_suspects].setdefault(directory, item.nodeid)


def _new_groups(config: pytest.Config) -> list[str]:
    before = config.stash[_before]
    return [
        directory
        for directory in sorted(set(machine.groups()).difference(before))
        if not groups.made_by_another_session(directory)
    ]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that leaves a group behind."""
    left = _new_groups(session.config)
    session.config.stash[_left] = left
    for hierarchy, before in session.config.stash[_enabled].items():
        machine.restore_subtree_control(hierarchy, before)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_left, []):
        terminalreporter.section("control groups left behind", red=True)
        for directory in left:
            terminalreporter.line(f"{directory}  made by {config.stash[_suspects].get(directory, 'no test')}")
