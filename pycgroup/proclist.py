# SPDX-License-Identifier: MIT
"""What ps(1) would say of the processes of a group. All of it can be read while they are stopped in an OOM."""

from __future__ import annotations

from . import _kernfs
from ._types import TYPE_CHECKING
from .happenings import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

_KIB = 1024


class Process(Frozen):
    """A process: its ids and its effective user's, its memory in bytes (virtual and resident), and its command line."""

    __slots__ = ()
    pid: int
    ppid: int
    uid: int
    vsz: int
    rss: int
    args: str


def listed(pids: Iterable[int]) -> list[Process]:
    """Return what is known of processes, leaving out those that have ended."""
    found = []
    for pid in pids:
        try:
            found.append(_process(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _process(pid: int) -> Process:
    lines = _kernfs.read(f"/proc/{pid}/status").splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    arguments = _kernfs.read(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ")
    arguments = "".join(letter if letter.isprintable() else "?" for letter in arguments)  # one line, as ps has it
    vsz, rss = (int(fields.get(name, ["0"])[0]) * _KIB for name in ("VmSize", "VmRSS"))
    return Process(
        pid=pid,
        ppid=int(fields["PPid"][0]),
        uid=int(fields["Uid"][1]),  # real, effective, saved, of the file system: ps means the effective one
        vsz=vsz,
        rss=rss,
        args=arguments or f"[{' '.join(fields['Name'])}]",  # as ps does where there is no command line
    )
