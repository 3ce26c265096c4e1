# SPDX-License-Identifier: MIT
"""What is said to systemd over D-Bus, and what its answers mean: against a bus with a manager that is scripted."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pycgroup import _systemd
from pycgroup.errors import CgroupError, PermissionDeniedError, UnavailableError
from tests.support.capabilities import needs

pytestmark = needs("jeepney")

JOB = "/org/freedesktop/systemd1/job/7"
PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"


class Bus(threading.Thread):
    """A bus with one client and one manager; `script` gives its answers to what is not about the bus itself."""

    def __init__(self, path: str, script: Callable[[Any], list[Any]]) -> None:
        super().__init__(daemon=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        self._script = script
        self.calls: list[tuple[str, Any]] = []

    def run(self) -> None:
        from jeepney.low_level import Parser

        connection, _ = self._server.accept()
        with connection, contextlib.suppress(ConnectionError):
            said = b""
            while b"BEGIN\r\n" not in said:
                said += connection.recv(4096)
                if said.endswith(b"\r\n") and b"BEGIN" not in said:
                    connection.sendall(b"OK 0123456789abcdef\r\n")
            parser, serial = Parser(), 0
            parser.add_data(said.partition(b"BEGIN\r\n")[2])
            while True:
                while (message := parser.get_next_message()) is None:
                    data = connection.recv(65536)
                    if not data:
                        return
                    parser.add_data(data)
                for answer in self._answers(message):
                    serial += 1
                    connection.sendall(answer.serialise(serial=serial))

    def _answers(self, message: Any) -> list[Any]:
        from jeepney import HeaderFields, new_method_return

        member = message.header.fields[HeaderFields.member]
        self.calls.append((member, message.body))
        if member not in ("Hello", "AddMatch", "Subscribe"):
            return self._script(message)
        return [new_method_return(message, "s", (":1.1",))]

    def close(self) -> None:
        self._server.close()


def started(message: Any) -> Any:
    from jeepney import new_method_return

    return new_method_return(message, "o", (JOB,))


def removed(job: str, result: str) -> Any:
    from jeepney import DBusAddress, new_signal

    return new_signal(DBusAddress(PATH, interface=MANAGER), "JobRemoved", "uoss", (7, job, "x.scope", result))


def refused(name: str) -> Callable[[Any], list[Any]]:
    from jeepney import new_error

    return lambda message: [new_error(message, name, "s", ("no such luck",))]


@contextlib.contextmanager
def bus(directory: Path, monkeypatch: pytest.MonkeyPatch, script: Callable[[Any], list[Any]]) -> Iterator[Bus]:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    running = Bus(str(directory / "bus"), script)
    running.start()
    try:
        yield running
    finally:
        running.close()


def start(*, user: bool = True, timeout: float = 20) -> None:
    _systemd.start_scope("x.scope", [11, 12], user=user, timeout=timeout, description="groups")


def test_a_scope_is_asked_for_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = removed("/org/freedesktop/systemd1/job/6", "failed")
    with bus(tmp_path, monkeypatch, lambda message: [started(message), others, removed(JOB, "done")]) as running:
        start()
    assert [member for member, _ in running.calls] == ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]
    unit, how, properties, others = running.calls[-1][1]
    assert (unit, how, others) == ("x.scope", "fail", [])
    assert dict(properties) == {
        "Description": ("s", "groups"),
        "PIDs": ("au", [11, 12]),
        "Delegate": ("b", True),
        "CollectMode": ("s", "inactive-or-failed"),
    }


def test_a_job_that_is_done_before_its_number_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bus(tmp_path, monkeypatch, lambda message: [removed(JOB, "done"), started(message)]):
        start()


def test_the_address_of_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bus(tmp_path, monkeypatch, lambda message: [started(message), removed(JOB, "done")]):
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
        start()


def test_a_job_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        bus(tmp_path, monkeypatch, lambda message: [started(message), removed(JOB, "failed")]),
        pytest.raises(CgroupError, match=r"could not start x\.scope: its job ended with 'failed'"),
    ):
        start()


def test_a_job_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        bus(tmp_path, monkeypatch, lambda message: [started(message)]),
        pytest.raises(CgroupError, match=r"did not start x\.scope within 0\.2 s"),
    ):
        start(timeout=0.2)


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        bus(tmp_path, monkeypatch, lambda _: []),
        pytest.raises(UnavailableError, match="no answer"),
    ):
        start(timeout=0.2)


@pytest.mark.parametrize("name", sorted(_systemd._DENIED))
def test_a_refusal(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        bus(tmp_path, monkeypatch, refused(name)),
        pytest.raises(PermissionDeniedError, match="systemd-run --user --scope -p Delegate=yes"),
    ):
        start()


def test_another_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        bus(tmp_path, monkeypatch, refused("org.freedesktop.systemd1.UnitExists")),
        pytest.raises(UnavailableError, match="no such luck"),
    ):
        start()


def test_no_bus_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(UnavailableError, match="loginctl enable-linger"):
        start()


def test_no_bus_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    with pytest.raises(UnavailableError, match="the system's systemd cannot be reached"):
        start(user=False)


def test_no_jeepney(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jeepney.io.blocking", None)
    with pytest.raises(UnavailableError, match=r"pip install 'pycgroup\[systemd\]'"):
        start()


@pytest.mark.parametrize(("unit", "kind"), [("x.scope", "Scope"), ("x.service", "Service")])
@pytest.mark.parametrize("delegated", [True, False])
def test_a_unit_is_delegated_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, kind: str, delegated: bool
) -> None:
    from jeepney import HeaderFields, new_method_return

    def answer(message: Any) -> list[Any]:
        if message.header.fields[HeaderFields.member] == "GetUnit":
            return [new_method_return(message, "o", (f"{PATH}/unit/x",))]
        assert message.header.fields[HeaderFields.path] == f"{PATH}/unit/x"
        return [new_method_return(message, "v", (("b", delegated),))]

    with bus(tmp_path, monkeypatch, answer) as running:
        assert _systemd.delegates(unit) is delegated
    assert running.calls[1:] == [("GetUnit", (unit,)), ("Get", (f"org.freedesktop.systemd1.{kind}", "Delegate"))]


def test_a_unit_that_is_not_known_is_not_delegated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bus(tmp_path, monkeypatch, refused("org.freedesktop.systemd1.NoSuchUnit")):
        assert not _systemd.delegates("x.scope")


def test_nothing_is_delegated_by_who_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not _systemd.delegates("x.scope")
    monkeypatch.setitem(sys.modules, "jeepney", None)
    assert not _systemd.delegates("x.scope")
