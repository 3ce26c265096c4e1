# SPDX-License-Identifier: MIT
"""One run of a guest: from a command to the status that it leaves in the folder shared with the host."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm import roots
from tests.vm.modes import LAYOUTS, Mode
from tests.vm.project import SOURCES

if TYPE_CHECKING:
    from tests.vm.roots import Release

GUEST = Path(__file__).parent / "guest"
SHARE = "/run/vm"  # the exchange directory, in the guest
SWAP = 512 << 20

KERNEL_WORDS = (
    "console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=on psi=1 hugepages=8 "
    # The timer check panics the kernel when the host is busy; a TSC calibrated then is wrong up to four times.
    "no_timer_check tsc=unstable"
)
SYSTEMD_WORDS = "systemd.unit=vm.target systemd.show_status=false systemd.log_target=console audit=0"
# Services that a guest does without; they are half of the time that systemd takes to boot.
MASKED = (
    "systemd-udevd",
    "systemd-udev-trigger",
    "systemd-journald",
    "systemd-journal-flush",
    "systemd-tmpfiles-setup",
    "systemd-tmpfiles-setup-dev",
    "systemd-sysusers",
    "systemd-binfmt",
    "systemd-random-seed",
    "systemd-update-utmp",
    "kmod-static-nodes",
)


@dataclass(frozen=True)
class Ended:
    """How a guest ended; a status of None is a guest that left none: it died or ran out of its time."""

    status: int | None
    timed_out: bool
    seconds: float


def run(mode: Mode, command: list[str], exchange: Path, timeout: float) -> Ended:
    """Boot a mode's kernel, run a shell command in its place and wait for the end, `timeout` seconds at most.

    `exchange` then holds output.log, console.log and whatever the command wrote to /run/vm.
    """
    fill(exchange, mode, command)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as swap:
        swap.truncate(SWAP)
        initramfs = _initramfs(mode.release, Path(directory))
        timed_out = _boot(qemu(mode, initramfs, Path(swap.name), exchange), timeout)
    status = exchange / "status"
    code = int(status.read_text()) if status.exists() and not timed_out else None
    return Ended(code, timed_out, time.monotonic() - started)


def fill(exchange: Path, mode: Mode, command: list[str]) -> None:
    """Write the exchange directory: guest/ without the initramfs' part, and what is this run's own."""
    shutil.rmtree(exchange, ignore_errors=True)
    shutil.copytree(GUEST, exchange)
    (exchange / f"enter-{mode.enter}.sh").rename(exchange / "enter.sh")
    (exchange / "mounts").write_text("".join(mount.line() + "\n" for mount in LAYOUTS[mode.layout]))
    (exchange / "command.sh").write_text(f"cd {SOURCES}\nexec {shlex.join(command)}\n")
    exchange.chmod(0o777)


def _initramfs(release: Release, directory: Path) -> Path:
    """Pack busybox, guest/init and the modules, in the order in which they are loaded."""
    tree, packed = directory / "tree", directory / "initramfs"
    for name in ("bin", "modules", "proc", "sys", "dev"):
        (tree / name).mkdir(parents=True)
    shutil.copy(release.root / "bin" / "busybox", tree / "bin")
    (tree / "bin" / "sh").symlink_to("busybox")
    shutil.copy(GUEST / "init", tree / "init")
    (tree / "init").chmod(0o755)
    for number, module in enumerate(_modules(release)):
        (tree / "modules" / f"{number:02}.ko").write_bytes(_unpacked_module(release.root / module.lstrip("/")))
    names = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    with packed.open("wb") as file:
        command = ["cpio", "--quiet", "--create", "--format=newc"]
        subprocess.run(command, cwd=tree, input=names.encode(), stdout=file, check=True)
    return packed


def _modules(release: Release) -> list[str]:
    """Return the modules' files, each once and behind what it depends on, as modprobe would load them."""
    command = ["modprobe", "--show-depends", "--set-version", release.kernel_release, "--all", *roots.MODULES]
    lines = release.run(*command).splitlines()
    return list(dict.fromkeys(line.split()[1] for line in lines if line.startswith("insmod")))


def _unpacked_module(path: Path) -> bytes:
    if path.suffix == ".ko":
        return path.read_bytes()
    return subprocess.run(["xz", "-dc", str(path)], stdout=subprocess.PIPE, check=True).stdout


def kernel_words(mode: Mode) -> str:
    """Return the kernel's command line."""
    if mode.layout != "systemd":
        return KERNEL_WORDS
    return " ".join([KERNEL_WORDS, SYSTEMD_WORDS, *(f"systemd.mask={service}.service" for service in MASKED)])


def qemu(mode: Mode, initramfs: Path, swap: Path, exchange: Path) -> list[str]:
    """Return QEMU's command line."""
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    command += ["-machine", "q35", "-cpu", "max,la57=off", "-accel", "tcg,thread=single,tb-size=1024"]
    command += ["-smp", "2", "-m", "1024"]
    command += ["-kernel", str(mode.release.directory / "vmlinux"), "-initrd", str(initramfs)]
    command += ["-append", kernel_words(mode)]
    command += ["-serial", f"file:{exchange / 'console.log'}"]
    command += ["-drive", f"if=virtio,file={swap},format=raw,cache=unsafe,discard=unmap"]
    for name, path, access in (("root", mode.release.root, ",readonly=on"), ("exchange", exchange, "")):
        command += ["-fsdev", f"local,id={name},path={path},security_model=none,multidevs=remap{access}"]
        command += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
    return command


_running: set[subprocess.Popen[bytes]] = set()


@contextmanager
def killing_all() -> Iterator[None]:
    """Kill the guests that are still running where the `with` block ends early: their threads wait for them."""
    try:
        yield
    finally:
        for process in _running.copy():
            process.kill()


def _boot(command: list[str], timeout: float) -> bool:
    """Run QEMU to its end; return whether the time ran out. It dies with this process, even by SIGKILL."""
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL) as process:
        _running.add(process)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return True
        finally:
            _running.discard(process)
            process.kill()
    return False
