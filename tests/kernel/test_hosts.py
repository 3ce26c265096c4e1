# SPDX-License-Identifier: MIT
"""The hierarchies of this host as pycgroup finds them, also where the mount table is long or changes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pycgroup import Cgroup
from tests.support import machine, oracle
from tests.support.capabilities import needs
from tests.support.declared import CLASSES
from tests.support.processes import ROOT


@pytest.mark.parametrize("controller", [pytest.param(each, marks=needs(each)) for each in CLASSES])
def test_version_and_path(controller: str) -> None:
    handle = CLASSES[controller]("/pycgroup-none")
    hierarchy = machine.hierarchy_of(controller)
    assert hierarchy is not None
    assert handle.version == hierarchy.version
    assert str(handle.path) == oracle.directory(controller, "/pycgroup-none")
    assert str(CLASSES[controller]("/").path) == hierarchy.mount


LONG_TABLE = """
set -e
umount -l "$1"
for number in $(seq 100); do
    mkdir "$2/$number"
    mount -t tmpfs none "$2/$number"
done
mount -t cgroup -o memory none "$1"
shift 2
exec "$@"
"""

LOOK = "from pycgroup import Cgroup; print(Cgroup.MEMORY('/').path, Cgroup.MEMORY('/').exists())"


@needs("root")
@needs("memory", version=1)
def test_a_long_mount_table_is_read_to_its_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kernel hands it out page by page, and hosts with containers have many pages of it."""
    mount = os.path.dirname(oracle.directory("memory", "any"))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LONG_TABLE, "sh", mount]
    command += [str(tmp_path_factory.mktemp("mounts")), sys.executable, "-c", LOOK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == f"{mount} True\n", done.stderr


LATE = """
import os, sys
from pycgroup import Cgroup, UnavailableError
mount = sys.argv[1]
os.system(f"umount -l {mount}")
try:
    Cgroup.MEMORY("/").exists()
except UnavailableError as error:
    assert "mount -t cgroup -o memory" in str(error), error
else:
    raise SystemExit("it was not unmounted")
os.system(f"mount -t cgroup -o memory none {mount}")
print(Cgroup.MEMORY("/").path, Cgroup.MEMORY("/").exists())
"""


@needs("root")
@needs("memory", version=1)
def test_a_hierarchy_that_is_mounted_later_is_found() -> None:
    mount = os.path.dirname(oracle.directory("memory", "any"))
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", LATE, mount]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == f"{mount} True\n", done.stderr


@needs("memory")
def test_the_root_of_a_hierarchy_can_be_read() -> None:
    root = Cgroup.MEMORY("/")
    assert root.exists()
    assert (os.getpid() in root.pids()) == (oracle.group_of("memory") == "")
    assert root.stat
