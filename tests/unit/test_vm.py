# SPDX-License-Identifier: MIT
"""The kernel matrix without a guest: its tables, QEMU's command line, the copy of the checkout, the report."""

from __future__ import annotations

import lzma
import os
import struct
from collections import Counter
from pathlib import Path

import pytest

from tests.support import capabilities
from tests.vm import __main__ as command_line
from tests.vm import machine, modes, project, report, roots

BY_NAME = {mode.name: mode for mode in modes.MODES}


def test_modes_have_a_name_each_and_know_their_layout_and_place() -> None:
    assert len(BY_NAME) == len(modes.MODES)
    for mode in modes.MODES:
        assert mode.layout in modes.LAYOUTS
        assert (machine.GUEST / f"enter-{mode.enter}.sh").is_file()


def test_required_capabilities_exist_and_do_not_contradict_the_layout() -> None:
    for mode in modes.MODES:
        assert [name for name in mode.requires if not capabilities.known(name)] == []
        assert len({"root", "unprivileged"} & set(mode.requires)) == 1
        offered = {mount.options for mount in modes.LAYOUTS[mode.layout]}
        v1 = {name.removesuffix(":v1") for name in mode.requires if name.endswith(":v1")}
        assert v1 <= {controller for options in offered for controller in options.split(",")}


def test_co_mounted_hierarchy_has_a_link_per_controller() -> None:
    (mount,) = (each for each in modes.CO_MOUNTED if each.options == "cpu,cpuacct")
    assert mount.line() == ("cgroup cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct")


def test_separate_hierarchies_have_no_links() -> None:
    assert {mount.links for mount in modes.SEPARATE} == {()}


def test_chosen_keeps_the_tables_order_and_refuses_unknown_modes() -> None:
    assert [mode.name for mode in modes.chosen(["v2", "v1"])] == ["v1", "v2"]
    assert modes.chosen([]) == list(modes.MODES)
    with pytest.raises(ValueError, match="no such mode: v3; there are v1, "):
        modes.chosen(["v1", "v3"])


def test_pytest_is_given_the_requirements_and_other_commands_nothing() -> None:
    mode = BY_NAME["v2-user"]
    command = command_line.command_for(mode, ["pytest", "tests/kernel", "-k", "oom"])
    assert command[:3] == [project.PYTHON, "-m", "pytest"]
    assert command[-3:] == ["tests/kernel", "-k", "oom"]
    assert f"--require={','.join(mode.requires)}" in command
    assert command_line.command_for(mode, ["cat", "/proc/mounts"]) == ["cat", "/proc/mounts"]


def test_command_line_is_split_at_the_dashes() -> None:
    options, command = command_line.arguments(["v1", "--timeout", "9", "--", "pytest", "--", "x"])
    assert [mode.name for mode in options.modes] == ["v1"]
    assert options.timeout == 9
    assert command == ["pytest", "--", "x"]
    assert command_line.arguments([])[1] == command_line.DEFAULT_COMMAND


def test_unknown_mode_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.arguments(["v3"])
    assert "no such mode: v3" in capsys.readouterr().err


def test_list_names_every_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BY_NAME)


def test_qemu_starts_the_modes_kernel_on_its_root() -> None:
    mode = BY_NAME["v2-debian13"]
    command = machine.qemu(mode, Path("/t/initramfs"), Path("/t/swap"), Path("/t/exchange"))
    assert str(roots.CACHE / "trixie" / "vmlinux") in command
    root = f"local,id=root,path={roots.CACHE}/trixie/root,security_model=none,multidevs=remap,readonly=on"
    assert root in command
    assert "local,id=exchange,path=/t/exchange,security_model=none,multidevs=remap" in command


def test_only_systemd_modes_speak_to_systemd() -> None:
    for mode in modes.MODES:
        assert ("systemd.unit=vm.target" in machine.kernel_words(mode)) == (mode.layout == "systemd")


def test_exchange_holds_what_the_guest_reads(tmp_path: Path) -> None:
    exchange = tmp_path / "exchange"
    machine.fill(exchange, BY_NAME["hybrid"], ["echo", "it's"])
    assert (exchange / "command.sh").read_text() == "cd /src\nexec echo 'it'\"'\"'s'\n"
    assert (exchange / "enter.sh").read_text() == (machine.GUEST / "enter-root.sh").read_text()
    mounts = (exchange / "mounts").read_text().splitlines()
    assert mounts[:2] == ["tmpfs mode=755 /sys/fs/cgroup", "cgroup none,name=systemd /sys/fs/cgroup/systemd"]
    assert mounts[-1] == "cgroup2 nsdelegate /sys/fs/cgroup/unified"


def test_exchange_keeps_nothing_of_the_last_run(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("0")
    machine.fill(tmp_path, BY_NAME["v1"], ["true"])
    assert not (tmp_path / "status").exists()


def bzimage(payload: bytes, setup_sectors: int) -> bytes:
    header = bytearray(512)
    header[0x1F1] = setup_sectors
    setup = bytes(header) + bytes((setup_sectors or 4) * 512)
    image = bytearray(setup + b"decompressor" + payload)
    struct.pack_into("<II", image, 0x248, len(b"decompressor"), len(payload))
    return bytes(image)


@pytest.mark.parametrize("setup_sectors", [0, 2, 39])
def test_kernel_is_unpacked(setup_sectors: int) -> None:
    elf = b"\x7fELF" + os.urandom(5000)
    size = struct.pack("<I", len(elf))
    assert roots.unpacked_kernel(bzimage(lzma.compress(elf) + size, setup_sectors)) == elf


def test_kernel_that_is_no_elf_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no ELF file"):
        roots.unpacked_kernel(bzimage(lzma.compress(b"MZ..."), 4))


def test_recipe_is_followed_once_and_again_after_a_failure(tmp_path: Path) -> None:
    made = []
    for recipe in ("a", "a", "b"):
        roots.once(tmp_path / "stamp", recipe, lambda recipe=recipe: made.append(recipe))  # type: ignore[misc]
    assert made == ["a", "b"]
    with pytest.raises(ZeroDivisionError):
        roots.once(tmp_path / "stamp", "c", lambda: 1 // 0)
    assert (tmp_path / "stamp").read_text() == "b"


def test_copy_follows_the_checkout_and_keeps_what_was_built(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source / "package" / "a.py", target / "package" / "gone.py", target / "package" / "_it.abi3.so"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    os.utime(source / "package" / "a.py", (5, 5))
    project.synchronise([Path("package/a.py")], source, target)
    assert sorted(path.name for path in target.rglob("*.*")) == ["_it.abi3.so", "a.py"]
    assert (target / "package" / "a.py").stat().st_mtime == 5


def test_requirements_are_those_to_build_run_and_test() -> None:
    text = """
        [build-system]
        requires = ["hatchling"]
        [project]
        dependencies = ["cffi"]
        optional-dependencies = {test = ["pytest", "cffi"], bench = ["other"]}
    """
    assert project.requirements(text) == ["cffi", "hatchling", "pytest"]


JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="3" tests="6">
<testcase classname="kernel.test_a" name="test_good" time="0.1" />
<testcase classname="kernel.test_a" name="test_bad"><failure message="assert 1 == 2&#10; more">E</failure></testcase>
<testcase classname="kernel.test_a" name="test_setup"><error message="failed on setup">E</error></testcase>
<testcase classname="kernel.test_a" name="test_one"><skipped message="needs memory:v1: none" /></testcase>
<testcase classname="kernel.test_a" name="test_two"><skipped message="needs memory:v1: none" /></testcase>
<testcase classname="kernel.test_a" name="test_odd"><skipped message="no such thing" /></testcase>
</testsuite></testsuites>"""


def result(status: int | None, tests: report.Tests | None, exchange: Path, *, timed_out: bool = False) -> report.Result:
    return report.Result(BY_NAME["v2"], machine.Ended(status, timed_out, 12.3), tests, exchange)


def test_junit_is_counted_by_outcome() -> None:
    tests = report.parse(JUNIT)
    assert tests.passed == 1
    assert tests.failed == (
        ("kernel.test_a::test_bad", "assert 1 == 2"),
        ("kernel.test_a::test_setup", "failed on setup"),
    )
    assert tests.skipped == Counter({"memory:v1": 2, "no such thing": 1})


def test_outcome_names_the_guests_end(tmp_path: Path) -> None:
    assert result(0, None, tmp_path).outcome == "ok"
    assert result(1, None, tmp_path).outcome == "FAILED (status 1)"
    assert result(None, None, tmp_path).outcome == "DIED"
    assert result(None, None, tmp_path, timed_out=True).outcome == "TIMED OUT"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the root that holds the kernel."""
    monkeypatch.setattr(roots.Release, "kernel_release", "6.1.0-50-amd64")


@pytest.mark.usefixtures("kernel")
def test_table_has_a_row_per_mode_and_the_reasons_of_skips(tmp_path: Path) -> None:
    lines = report.table([result(1, report.parse(JUNIT), tmp_path), result(0, None, tmp_path)]).splitlines()
    assert lines[1].split() == ["v2", "6.1.0-50-amd64", "1", "2", "3", "12", "FAILED", "(status", "1)"]
    assert lines[2].strip() == "skipped for want of: memory:v1 (2), no such thing (1)"
    assert lines[3].split() == ["v2", "6.1.0-50-amd64", "-", "-", "-", "12", "ok"]


def test_details_name_the_tests_that_failed(tmp_path: Path) -> None:
    lines = report.details(result(1, report.parse(JUNIT), tmp_path)).splitlines()
    assert lines[1:3] == ["kernel.test_a::test_bad: assert 1 == 2", "kernel.test_a::test_setup: failed on setup"]


@pytest.mark.parametrize("tests", [None, report.parse(JUNIT)])
def test_details_show_the_ends_of_the_logs(tmp_path: Path, tests: report.Tests | None) -> None:
    (tmp_path / "output.log").write_text("".join(f"line {number}\n" for number in range(99)))
    (tmp_path / "console.log").write_text("Kernel panic\n")
    lines = report.details(result(2, tests, tmp_path)).splitlines()
    assert lines[-2:] == ["-- the end of console.log:", "Kernel panic"]
    assert lines[-2 - report.TAIL : -2] == [f"line {number}" for number in range(99 - report.TAIL, 99)]


def test_guest_that_has_logged_nothing_has_no_log(tmp_path: Path) -> None:
    assert report.tail(tmp_path / "output.log") == ""
