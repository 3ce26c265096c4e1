# SPDX-License-Identifier: MIT
"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pycgroup import Cgroup, GroupBusyError, pytest_plugin
from tests.support.capabilities import needs
from tests.support.whereabouts import made_by_cgroup

pytestmark = [needs("memory"), needs("pids")]

_numbers = itertools.count()

TESTS = """
import os, pytest, subprocess, sys

EAT = "block = bytearray(200 << 20)"
mark = pytest.mark.cgroup

@pytest.fixture(scope="module")
def wide():
    print("wide up")
    yield os.getpid()

@pytest.fixture
def narrow(tmp_path):
    yield tmp_path
    (tmp_path / "torn").touch()
    assert os.path.exists("/proc")

def test_plain(wide): assert wide == os.getpid()
@mark(memory="64M", swap=0, pids=20)
def test_within(wide, narrow): assert bytearray(8 << 20)
@mark(memory="64M", swap=0, pids=20)
def test_beyond() -> None:
    print("some words before")
    exec(EAT)
@mark(memory="64M", swap=0)
def test_child_beyond(): subprocess.run([sys.executable, "-S", "-c", EAT])
@mark(pids=1)
def test_forks(): os.fork()
@mark(memory="64M", swap=0)
def test_fails(): assert [1] == [2]
@mark(memory="64M", swap=0)
def test_skips(): pytest.skip("for a reason")
@mark(memory="64M", swap=0)
def test_exits(): os._exit(3)
@mark(memory="64M", swap=0)
def test_leaves_a_child(): subprocess.Popen(["sleep", "1000"])
@mark(memory="64M", swap=0)
class TestClass:
    def test_marked(self): assert "pycgroup-" in open("/proc/self/cgroup").read()
    @mark(pids=9)
    def test_marked_twice(self): assert "pids:/pycgroup-" in open("/proc/self/cgroup").read() or True
def test_plain_again(wide): assert wide == os.getpid()
def test_fixtures(cgroup, cgroup_factory) -> None:
    assert cgroup.run(["true"]).returncode == 0
    assert cgroup_factory(memory="8M").memory.limit_in_bytes == 8 << 20
"""


# A host that cannot: its hierarchies are read-only, for this program alone, as in most containers.
READ_ONLY = """
for place in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do mount -o remount,bind,ro "$place" || exit 99; done
exec "$@"
"""
CANNOT = ("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh")


def run(
    folder: Path, text: str, *options: str, ini: str = "", through: tuple[str, ...] | None = None
) -> tuple[str, dict[str, int]]:
    """Run a file of tests, here or through a program; return what pytest printed and how many passed, failed ..."""
    file = folder / f"test_{next(_numbers)}.py"
    file.write_text(text)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    arguments = ["-rA", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", str(folder / "pytest.ini"), *options]
    shown = _here([*arguments, str(file)]) if through is None else _through([*through], [*arguments, str(file)])
    last = next(line for line in reversed(shown.splitlines()) if " in " in line and "=" in line)
    words = last.strip("= ").partition(" in ")[0].replace("no tests ran", "").replace(",", "").split()
    return shown, dict(zip(words[1::2], map(int, words[::2]), strict=True))


def _here(arguments: list[str]) -> str:
    # Without the outer run's filters, which make errors of warnings.
    with contextlib.redirect_stdout(io.StringIO()) as shown, warnings.catch_warnings(action="default"):
        pytest.main(arguments)
    return shown.getvalue()


def _through(program: list[str], arguments: list[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [*program, sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def test_a_run(tmp_path: Path) -> None:
    before = made_by_cgroup()
    shown, counts = run(tmp_path, TESTS)
    assert counts == {"passed": 7, "failed": 5, "skipped": 1, "warnings": 3}, shown
    assert "ResourceWarning: subprocess" in shown
    assert "memory limit exceeded: the kernel killed test_beyond\nmemory limit 64.0 MiB, peak 64.0 MiB" in shown
    assert "some words before" in shown
    # Whom the kernel picks depends on how large this run is that the child was forked from.
    killed = ("a child process of the test", "test_child_beyond")
    assert any(f"the kernel killed {whom}\nmemory limit 64.0 MiB" in shown for whom in killed)
    assert "the process of the test ended with exit status 3" in shown
    assert "BlockingIOError" in shown
    assert "assert [1] == [2]" in shown
    assert "OOM kills 0" in shown.partition("assert [1] == [2]")[2]
    assert made_by_cgroup() <= before


WHOLE = """
import multiprocessing, os, pytest, subprocess, sys, time, warnings

mark = pytest.mark.cgroup(memory="64M", swap=0)

@pytest.fixture(scope="session")
def widest(tmp_path_factory):
    log = tmp_path_factory.getbasetemp() / "log"
    log.open("a").write("up ")
    yield log
    log.open("a").write("down ")

class TestParts:
    @mark
    def test_subtests(self, subtests):
        for number in range(3):
            with subtests.test(number=number):
                assert number != 1

@mark
def test_leaves_a_fork():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True).start()
@mark
def test_leaves_a_fork_and_is_killed():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True).start()
    bytearray(200 << 20)
@mark
@pytest.mark.xfail(reason="known to eat")
def test_eats(): bytearray(200 << 20)
@mark
def test_unpicklable(record_property): record_property("lambda", lambda: None)
@mark
def test_wide(widest): assert widest.read_text().count("up") == 1
@mark
def test_wide_again(widest): assert widest.read_text() == "up down up "
@mark
def test_own_groups_are_bounded(cgroup, cgroup_factory):
    for group in (cgroup, cgroup_factory(pids=9), cgroup_factory(memory="32M", swap=0)):
        assert "pycgroup-" in os.path.dirname(group.memory.path)
        assert group.run([sys.executable, "-S", "-c", "bytearray(200 << 20)"]).oom_killed
def test_plain(): pass
"""


def test_all_that_a_test_can_do(tmp_path: Path) -> None:
    before = made_by_cgroup()
    options = ("-W", "ignore::ResourceWarning", "--basetemp", str(tmp_path / "base"))
    # In a process of its own: the larger this one is, the sooner the kernel picks it.
    shown, counts = run(tmp_path, WHOLE, *options, through=())
    assert counts == {"passed": 5, "failed": 4, "xfailed": 1} | extra(counts), shown
    assert "contains 1 failed subtest" in shown
    assert "the kernel killed test_leaves_a_fork_and_is_killed" in shown
    assert "the test's reports cannot be sent" in shown
    assert "known to eat" in shown
    assert made_by_cgroup() <= before


def extra(counts: dict[str, int]) -> dict[str, int]:
    """Return what pytest adds to the numbers in some releases: each subtest that passed or failed."""
    return {name: number for name, number in counts.items() if name in ("subtests", "warnings")}


REMOVES_ITS_GROUP = """
import os, pytest
@pytest.mark.cgroup(memory="64M")
def test_removes_its_group(cgroup_factory):
    own = [line.split(":")[2].strip() for line in open("/proc/self/cgroup") if ":memory:" in line][0]
    open("/sys/fs/cgroup/memory/cgroup.procs", "w").write("0")
    for place, _, _ in os.walk("/sys/fs/cgroup/memory" + own, topdown=False):
        os.rmdir(place)
def test_after(): pass
"""


@needs("root")
@needs("memory:v1")
def test_a_test_that_removes_its_own_group(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, REMOVES_ITS_GROUP)
    assert counts["passed"] == 2, shown


def test_output_that_is_not_captured_comes_once_and_whole(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, SPEAKS, "-s", through=("env",))
    assert counts == {"passed": 2}
    assert shown.count("some words") == shown.count("other words") == 1


SPEAKS = """
import pytest
def test_first(): print("some words")
@pytest.mark.cgroup(memory="64M")
def test_second(): print("other words")
"""


@pytest.mark.parametrize(
    ("statement", "said"),
    [("pytest.exit('enough')", "enough"), ("raise KeyboardInterrupt", "KeyboardInterrupt")],
)
def test_what_ends_the_run_ends_it(tmp_path: Path, statement: str, said: str) -> None:
    before = made_by_cgroup()
    text = f"""
import pytest
@pytest.mark.cgroup(memory="64M")
def test_first(): {statement}
def test_second(): print("not run")
"""
    shown, counts = run(tmp_path, text)
    assert said in shown
    assert counts == {}
    assert made_by_cgroup() <= before


def test_a_timeout_of_the_run_s_own(tmp_path: Path) -> None:
    before = made_by_cgroup()
    text = """
import pytest, time
@pytest.mark.timeout(0.5)
@pytest.mark.cgroup(memory="64M")
def test_first(): time.sleep(1000)
def test_second(): pass
"""
    shown, counts = run(tmp_path, text)
    assert counts == {"passed": 1, "failed": 1}, shown
    assert "Timeout" in shown
    assert made_by_cgroup() <= before


@needs("xdist")
def test_the_same_with_xdist(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, TESTS, "-n", "2", through=())
    assert counts == {"passed": 7, "failed": 5, "skipped": 1}, shown
    assert "the kernel killed test_beyond" in shown


PLAIN = """
def test_within(): pass
def test_beyond(): bytearray(200 << 20)
"""


def test_limits_for_every_test(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, PLAIN, ini="cgroup = memory=64M swap=0 pids=100 cpus=2")
    assert counts == {"passed": 1, "failed": 1}
    assert "memory limit 64.0 MiB" in shown


def test_the_mark_says_more_than_the_ini_file(tmp_path: Path) -> None:
    text = PLAIN.replace("def test_beyond", "import pytest\n@pytest.mark.cgroup(memory='400M')\ndef test_beyond")
    assert run(tmp_path, text, ini="cgroup = memory=64M swap=0")[1] == {"passed": 2}


def test_a_word_that_does_not_exist(tmp_path: Path) -> None:
    marked = "import pytest\n@pytest.mark.cgroup(memroy='64M')\ndef test_it(): pass\n"
    shown, counts = run(tmp_path, marked)
    assert counts == {"error": 1}
    assert "memroy" in shown


def test_a_limit_without_its_word(tmp_path: Path) -> None:
    marked = "import pytest\n@pytest.mark.cgroup('64M')\ndef test_it(): pass\n"
    shown, counts = run(tmp_path, marked)
    assert counts == {"error": 1}
    assert "cgroup('64M',): the mark takes limits in words" in shown


@pytest.mark.parametrize(("ini", "said"), [("memroy=64M", "did you mean 'memory'"), ("cpus=x", "'x'"), ("pids=", "''")])
def test_an_ini_value_that_is_none_ends_the_run_at_once(tmp_path: Path, ini: str, said: str) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ncgroup = {ini}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"cgroup = {ini}" in done.stderr
    assert said in done.stderr


def test_a_value_that_is_none(tmp_path: Path) -> None:
    marked = "import pytest\n@pytest.mark.cgroup(memory='64MB', pids=3)\ndef test_it(): pass\n"
    shown, counts = run(tmp_path, marked)
    assert counts == {"error": 1}
    assert "decimal unit" in shown


def test_an_ini_value_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ncgroup = 64M\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "WORD=VALUE" in done.stderr


MARKED = """
import pytest
@pytest.mark.cgroup(memory="64M", swap=0)
def test_marked(): pass
def test_plain(): pass
def test_fixture(cgroup): pass
"""


@needs("root")
def test_a_host_that_cannot_is_a_skip_with_a_reason(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, MARKED, through=CANNOT)
    assert counts == {"passed": 1, "skipped": 2}, shown
    assert "this host cannot limit a test" in shown


@needs("root")
def test_limits_for_every_test_need_not_be_kept(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, MARKED, ini="cgroup = pids=50", through=CANNOT)
    assert counts == {"passed": 1, "skipped": 2}, shown


@needs("root")
def test_a_host_that_cannot_is_a_failure_where_required(tmp_path: Path) -> None:
    shown, counts = run(tmp_path, MARKED, "--cgroup-require", ini="cgroup = pids=50", through=CANNOT)
    assert counts == {"errors": 3}, shown
    assert "--cgroup-require: " in shown


def test_the_plugin_loads_without_libcgroup(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pycgroup._libcgroup'] = None; import pycgroup.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "pycgroup._native" not in done.stdout


@pytest.mark.parametrize(("required", "outcome"), [(True, pytest.fail.Exception), (False, pytest.skip.Exception)])
def test_what_the_fixtures_do_on_a_host_that_cannot(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, required: bool, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(pytestconfig.option, "cgroup_require", required)
    with pytest.raises(outcome, match="busy"):
        pytest_plugin._refuse(pytestconfig, GroupBusyError("busy"))


@pytest.mark.cgroup(memory="128M")
def test_this_suite_uses_it_too(cgroup: Cgroup) -> None:
    assert "pycgroup-" in Path("/proc/self/cgroup").read_text()
    assert cgroup.run(["true"]).returncode == 0
