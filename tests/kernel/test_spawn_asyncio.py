# SPDX-License-Identifier: MIT
"""create_subprocess_exec(): asyncio's own objects, inside the group."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import contextlib
from collections.abc import Callable, Coroutine
from subprocess import PIPE
from typing import Any

import pytest

from pycgroup import Cgroup, GroupNotFoundError
from tests.support.capabilities import needs
from tests.support.processes import NOBODY
from tests.support.whereabouts import LOOK, outside

pytestmark = [needs("memory"), needs("pids")]


def in_group(check: Callable[[Cgroup], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        with Cgroup(memory="64M", pids=50) as group:
            await check(group)

    asyncio.run(main(), debug=True)


def test_it_is_inside_and_asyncio_s_own() -> None:
    async def check(group: Cgroup) -> None:
        process = await group.create_subprocess_exec(*LOOK, stdout=PIPE)
        assert isinstance(process, asyncio.subprocess.Process)
        output, errors = await process.communicate()
        assert outside(output.decode(), group.paths) == []
        assert (errors, process.returncode) == (None, 0)

    in_group(check)


def test_streams_both_ways() -> None:
    async def check(group: Cgroup) -> None:
        process = await group.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"line\n")
        assert await process.stdout.readline() == b"line\n"
        process.stdin.close()
        assert await process.wait() == 0

    in_group(check)


def test_many_at_once() -> None:
    async def check(group: Cgroup) -> None:
        async def one() -> list[str]:
            process = await group.create_subprocess_exec(*LOOK, stdout=PIPE)
            return outside((await process.communicate())[0].decode(), group.paths)

        assert await asyncio.gather(*[one() for _ in range(20)]) == [[]] * 20

    in_group(check)


def test_kill_and_wait() -> None:
    async def check(group: Cgroup) -> None:
        process = await group.create_subprocess_exec("sleep", "1000")
        process.kill()
        assert await process.wait() == -9

    in_group(check)


@needs("root")
def test_users_and_groups_are_subprocess_s() -> None:
    async def main() -> bytes:
        with Cgroup(pids=20) as group:
            process = await group.create_subprocess_exec("id", "-g", group=NOBODY, stdout=PIPE)
            return (await process.communicate())[0]

    assert int(asyncio.run(main())) == NOBODY


def test_a_program_that_does_not_exist() -> None:
    async def check(group: Cgroup) -> None:
        with pytest.raises(FileNotFoundError):
            await group.create_subprocess_exec("pycgroup-no-such-program")

    in_group(check)


def test_a_group_that_is_gone() -> None:
    async def main() -> None:
        with Cgroup(pids=5) as group:
            group.delete()
            with pytest.raises(GroupNotFoundError):
                await group.create_subprocess_exec("true")

    asyncio.run(main())


def test_what_is_cancelled_does_not_run_on() -> None:
    async def check(group: Cgroup) -> None:
        starting = asyncio.ensure_future(group.create_subprocess_exec("sleep", "1000", stdin=PIPE))
        await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        group.kill()
        assert group.processes() == []

    in_group(check)


def test_the_end_of_the_block_ends_it() -> None:
    async def main() -> None:
        with Cgroup(pids=5) as group:
            process = await group.create_subprocess_exec("sleep", "1000")
        assert await process.wait() == -9

    asyncio.run(main())
