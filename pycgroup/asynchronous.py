# SPDX-License-Identifier: MIT
"""asyncio: a subprocess inside a group, with asyncio's own objects. It needs no child watcher."""

from __future__ import annotations

import asyncio
import os
from asyncio import base_subprocess
from asyncio.subprocess import Process, SubprocessStreamProtocol

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from typing import Any

    from .starting import Starting

_LIMIT = 2**16  # asyncio's own


async def create_subprocess_exec(
    group: Starting,
    program: Any,
    /,
    *args: Any,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    limit: int = _LIMIT,
    **options: Any,
) -> Process:
    """Do what Cgroup.create_subprocess_exec() says."""
    _refuse(options)
    loop = asyncio.get_running_loop()
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    waiter = loop.create_future()
    given = ((program, *args), False, stdin, stdout, stderr, 0)
    transport = _Transport(loop, protocol, *given, waiter=waiter, inside=group, **options)
    try:
        await waiter
    except BaseException:
        transport.close()
        await transport._wait()  # noqa: SLF001  # as asyncio does
        raise
    return Process(transport, protocol, loop)


def _refuse(options: dict[str, Any]) -> None:
    """Raise ValueError, as asyncio does, for what has no meaning for streams of bytes."""
    for option in ("universal_newlines", "text", "encoding", "errors", "shell", "bufsize"):
        if options.pop(option, None):
            raise ValueError(f"{option} is not taken here: asyncio's streams are of bytes, and a program is executed")


class _Transport(base_subprocess.BaseSubprocessTransport):
    """asyncio's transport, but for the call that starts the process and for how its end is noticed."""

    def _start(  # noqa: PLR0917  # as asyncio calls it
        self,
        args: Any,
        shell: bool,  # noqa: FBT001  # asyncio's signature
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **options: Any,
    ) -> None:
        group: Starting = options.pop("inside")  # `group` is a number of users, as for subprocess
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        self._proc = process = group.popen(args, shell=shell, bufsize=bufsize, **streams, **options)
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._ended, process)

    def _ended(self, process: subprocess.Popen[Any]) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process_exited(process.wait())
