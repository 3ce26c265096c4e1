# SPDX-License-Identifier: MIT
"""What /proc says of cgroup mounts, of a process's groups and of the kernel's controllers: text in, values out."""

from __future__ import annotations

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# How the kernel writes blanks in a mount point.
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}
_KINDS = frozenset(("cgroup", "cgroup2"))
# What a v1 mount may be given beside its controllers (cgroup1_show_options() in the kernel, and SELinux).
_NO_CONTROLLERS = frozenset(
    ("rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "seclabel", "none")
)


def mounts(mountinfo: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (file system, mount point, mounted group, options) of each cgroup mount in /proc/PID/mountinfo.

    What another mount covers is left out: it has no path.
    """
    rows = {fields[0]: fields for fields in (line.split(" ") for line in _lines(mountinfo))}
    for fields in rows.values():
        if fields[0] == fields[1]:
            fields[1] = ""  # an initramfs is its own parent
    below: dict[str, list[str]] = {}
    for fields in rows.values():
        below.setdefault(fields[1], []).append(fields[4])
    for fields in rows.values():
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind in _KINDS and _reachable(fields, rows, below):
            yield kind, _unescaped(fields[4]), _unescaped(fields[3]), options


def _reachable(fields: list[str], rows: dict[str, list[str]], below: dict[str, list[str]]) -> bool:
    """Tell whether a path leads to a mount: nothing is mounted on its own root, nor over anything that it is below.

    `below` has the mount points in each mount.
    """
    number, parent, point = fields[0], fields[1], fields[4]
    if point in below.get(number, ()) or any(_is_above(other, point) for other in below[parent]):
        return False
    above = rows.get(parent)
    while above is not None and above[4] == point:
        above = rows.get(above[1])  # past what this mount itself covers
    return above is None or _reachable(above, rows, below)


def _is_above(point: str, other: str) -> bool:
    return point != other and other.startswith(f"{point.rstrip('/')}/")


def controllers(options: str) -> frozenset[str]:
    """Return the controllers among the options of a v1 mount; a named hierarchy's is 'name=x'."""
    found = frozenset(options.split(",")) - _NO_CONTROLLERS
    return frozenset(option for option in found if not option.startswith("release_agent="))


def memberships(text: str) -> dict[str, str]:
    """Return {controller: path} from /proc/PID/cgroup; a named hierarchy is 'name=x', v2 is ''."""
    found: dict[str, str] = {}
    for line in _lines(text):
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found


def known(text: str) -> dict[str, tuple[bool, bool]]:
    """Return {controller: (it is on a v1 hierarchy, it is enabled)} from /proc/cgroups."""
    rows = (line.split() for line in _lines(text) if not line.startswith("#"))
    return {row[0]: (row[1] != "0", row[3] != "0") for row in rows}


def disabled(command_line: str) -> frozenset[str]:
    """Return the controllers that a kernel's command line, as /proc/cmdline has it, disables."""
    lists = (word.partition("=") for word in command_line.split())
    return frozenset(name for key, _, names in lists if key == "cgroup_disable" for name in names.split(","))


def _lines(text: str) -> list[str]:
    """Return the lines as the kernel ends them: in names it leaves what else Unicode takes for the end of a line."""
    return text.removesuffix("\n").split("\n") if text else []


def _unescaped(path: str) -> str:
    for escape, letter in _ESCAPES.items():
        path = path.replace(escape, letter)
    return path
