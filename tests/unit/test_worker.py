# SPDX-License-Identifier: MIT
"""What a worker answers, without a process or a group of its own."""

from __future__ import annotations

import pickle
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from pycgroup import worker
from pycgroup.limiting import limited


class OddError(Exception):
    """It can be pickled, but not be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail(kind: str) -> None:
    raise OddError("o", "dd") if kind == "odd" else LookupError(kind)


@limited(pids=5)
def double(number: int) -> int:
    return 2 * number


def ask(function: Any, *args: Any) -> tuple[bool, Any]:
    """Ask a worker in a thread."""
    mine, theirs = Pipe()
    serving = threading.Thread(target=worker.serve, args=(theirs,))
    serving.start()
    mine.send_bytes(pickle.dumps((function, args, {})))
    answer: tuple[bool, Any] = pickle.loads(mine.recv_bytes())
    mine.close()
    serving.join()
    theirs.close()
    return answer


def test_a_value() -> None:
    assert ask(divmod, 7, 2) == (True, (3, 1))


def test_an_exception_with_where_it_came_from() -> None:
    succeeded, error = ask(fail, "this")
    assert (succeeded, type(error), error.args) == (False, LookupError, ("this",))
    assert "in fail" in error.__notes__[0]


def test_an_exception_that_cannot_be_made_again() -> None:
    succeeded, error = ask(fail, "odd")
    assert (succeeded, str(error)) == (False, "OddError: odd")
    assert "in fail" in error.__notes__[0]


def test_a_value_that_cannot_be_sent() -> None:
    succeeded, error = ask(threading.Lock)
    assert not succeeded
    assert "pickle" in str(error)


def test_the_function_behind_a_limited_one() -> None:
    function = worker.Unwrapped(double)
    assert function.__qualname__ == "double"
    assert ask(function, 21) == (True, 42)


def test_entering_is_a_write_to_each_file(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.touch()
    mine, theirs = Pipe()
    mine.close()
    worker.enter_and_serve([str(file) for file in files], theirs)
    theirs.close()
    assert [file.read_text() for file in files] == ["0", "0"]


def test_entering_what_is_not_there(tmp_path: Path) -> None:
    mine, theirs = Pipe()
    with pytest.raises(FileNotFoundError):
        worker.enter_and_serve([str(tmp_path / "none")], theirs)
    mine.close()
    theirs.close()
