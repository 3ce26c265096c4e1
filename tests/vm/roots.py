# SPDX-License-Identifier: MIT
"""Guests' file systems and kernels, made once in a cache outside the checkout."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("PYCGROUP_VM_CACHE", Path.home() / ".cache" / "pycgroup-vm"))

# What the host runs, and the Debian package that brings it.
HOST_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "cpio": "cpio",
    "xz": "xz-utils",
    "zstd": "zstd",
    "pip3": "python3-pip",
}

ROOT_PACKAGES = (
    "linux-image-amd64,kmod,busybox-static,"
    "systemd-sysv,libpam-systemd,dbus,dbus-user-session,"
    "python3-venv,python3-dev,gcc,libc6-dev,pkg-config,libcgroup-dev,cgroup-tools,procps,strace,e2fsprogs"
)

USER = "tester"  # the unprivileged user of every guest

# Virtio is built as modules into Debian's kernels; the initramfs loads these and what they depend on.
MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay")


@dataclass(frozen=True)
class Release:
    """A Debian release as a guest: its root directory, kernel and modules."""

    suite: str
    python: str

    @property
    def directory(self) -> Path:
        return CACHE / self.suite

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def kernel(self) -> Path:
        """The one kernel that the root's packages installed, as they installed it."""
        (kernel,) = (self.root / "boot").glob("vmlinuz-*")
        return kernel

    @property
    def kernel_release(self) -> str:
        return self.kernel.name.removeprefix("vmlinuz-")

    def run(self, *command: str) -> str:
        """Run a command in the root on the host's kernel; return its output."""
        environment = {"PATH": "/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(
            ["chroot", str(self.root), *command], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout


DEBIAN_12 = Release("bookworm", "3.11")
DEBIAN_13 = Release("trixie", "3.13")


def install_host_programs() -> None:
    """Install what the host lacks with its package manager."""
    missing = [package for program, package in HOST_PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)  # noqa: T201 - it takes a minute
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "--quiet=2", *command], stdout=subprocess.DEVNULL, check=True)


def prepare(release: Release) -> None:
    """Make the release's root unless the cache holds it; takes minutes and some 700 MB once."""
    once(release.directory / "recipe", ROOT_PACKAGES, lambda: _make(release))


def once(stamp: Path, recipe: str, make: Callable[[], object]) -> None:
    """Make something, unless the stamp says that this very recipe has been followed to its end."""
    if not stamp.exists() or stamp.read_text() != recipe:
        make()
        stamp.write_text(recipe)


def _make(release: Release) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", str(release.directory)], check=True)
    release.directory.mkdir(parents=True)
    _debootstrap(release)
    (release.directory / "vmlinux").write_bytes(unpacked_kernel(release.kernel.read_bytes()))


def _debootstrap(release: Release) -> None:
    print(f"making the root of {release.suite} in {release.root} (once)", flush=True)  # noqa: T201 - it takes minutes
    include = f"--include={ROOT_PACKAGES}"
    # In a mount namespace of its own, so that debootstrap's mounts go whatever happens to it.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", include, release.suite, str(release.root)]
    with (release.directory / "debootstrap.log").open("w") as log:
        subprocess.run([*command, *_mirror()], stdout=log, check=True)
    release.run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    release.run("python3", "-m", "venv", "/opt/venv")


def _mirror() -> list[str]:
    """Return the Debian mirror of the host's own apt; without one debootstrap takes its default."""
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    targets = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return [target for target in targets if "security" not in target][:1]


def unpacked_kernel(image: bytes) -> bytes:
    """Return the ELF file inside a bzImage (Documentation/arch/x86/boot.rst); a guest would take 3 s to unpack it."""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    program = {b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}[payload[:4]]
    # The kernel appends the unpacked size, which the programs report as trailing garbage: judge by the result.
    unpacked = subprocess.run([program, "-dcq"], input=payload, capture_output=True, check=False).stdout
    if not unpacked.startswith(b"\x7fELF"):
        raise ValueError("no ELF file in the kernel image")
    return unpacked
