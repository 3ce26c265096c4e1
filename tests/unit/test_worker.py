# SPDX-License-Identifier: MIT
"""What a worker answers, without a process or a group of its own."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from pycgroup import Cgroup, GroupNotFoundError, _tasks, worker
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


def ask(function: Any, *args: Any, entering: Sequence[Path] = ()) -> tuple[bool, Any]:
    """Ask a worker in a thread."""
    mine, theirs = Pipe()
    serving = threading.Thread(target=worker.enter_and_serve, args=([str(file) for file in entering], theirs))
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


@pytest.mark.parametrize(("alone", "written"), [(True, "tasks"), (False, "cgroup.procs")])
def test_entering_is_a_write_for_each_group(
    alone: bool,
    written: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What takes all threads takes longer: it is for who has several."""
    monkeypatch.setattr(_tasks, "single_threaded", lambda: alone)
    for name in "ab":
        (tmp_path / name).mkdir()
    files = [tmp_path / name / "tasks" for name in "ab"]
    for file in files:
        file.with_name(written).touch()
    assert ask(divmod, 7, 2, entering=files) == (True, (3, 1))
    assert [file.with_name(written).read_text() for file in files] == ["0", "0"]


def test_a_group_that_cannot_be_entered_is_the_answer(tmp_path: Path) -> None:
    succeeded, error = ask(divmod, 7, 2, entering=[tmp_path / "none" / "tasks"])
    assert (succeeded, type(error)) == (False, GroupNotFoundError)
    assert f"cannot start a process in {tmp_path}/none" in str(error)


def test_what_is_printed_is_written_before_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(print, "some words") == (True, None)
    assert capsys.readouterr().out == "some words\n"


async def coroutine() -> None:
    raise AssertionError


def generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize("function", [coroutine, generator])
def test_what_does_not_end_with_a_value_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="cannot leave the process"):
        limited(pids=5)(function)
    with pytest.raises(TypeError, match="cannot leave the process"):
        Cgroup("/any").call(function)


class Methods:
    @staticmethod
    @limited(pids=5)
    def static(number: int) -> int:
        return number

    @classmethod
    @limited(pids=5)
    def of_class(cls, number: int) -> tuple[str, int]:
        return cls.__name__, number


def test_limited_methods() -> None:
    assert ask(worker.Unwrapped(vars(Methods)["static"].__func__), 7) == (True, 7)
    assert ask(worker.Unwrapped(vars(Methods)["of_class"].__func__), Methods, 7) == (True, ("Methods", 7))


def test_a_limited_function_that_is_not_there_in_the_new_process() -> None:
    with pytest.raises(AttributeError, match=r"has no typed_at_the_prompt in a new process: put .* into a module"):
        worker._unwrapped(__name__, "typed_at_the_prompt")


def test_a_limited_function_that_cannot_be_found_cannot_be_sent() -> None:
    @limited(pids=5)
    def local() -> None:
        raise AssertionError

    with pytest.raises(pickle.PicklingError, match="is not to be found"):
        pickle.dumps(worker.Unwrapped(local))
