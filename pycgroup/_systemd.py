# SPDX-License-Identifier: MIT
"""systemd over D-Bus: start a transient scope that is delegated, and wait until it is ready.

By jeepney, which is pure Python and packaged wherever keyring is; the optional extra `pycgroup[systemd]`.
"""

from __future__ import annotations

import os
import time

from ._types import TYPE_CHECKING
from .errors import CgroupError, PermissionDeniedError, UnavailableError

if TYPE_CHECKING:
    from typing import Any, Self

_PATH = "/org/freedesktop/systemd1"
_INTERFACE = "org.freedesktop.systemd1.Manager"
_WITHOUT = "start the program with: systemd-run {}--scope -p Delegate=yes PROGRAM"
_NO_JEEPNEY = "jeepney, which speaks to systemd, is not installed: pip install 'pycgroup[systemd]'; or {}"
_NO_BUS = "{} cannot be reached ({}); {}"
_HINTS = {
    True: "a user's systemd runs where the user has logged in, or after `loginctl enable-linger USER`, and is found by "
    "XDG_RUNTIME_DIR=/run/user/UID",
    False: "the system's D-Bus runs where dbus is installed; without it, start the program by `systemd-run --scope "
    "-p Delegate=yes PROGRAM`",
}
_DENIED = frozenset(
    (
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        "org.freedesktop.PolicyKit1.Error.NotAuthorized",
    )
)


def without(*, user: bool) -> str:
    """Return what to do in the shell instead."""
    return _WITHOUT.format("--user " if user else "")


def start_scope(unit: str, pids: list[int], *, user: bool, timeout: float, description: str) -> None:
    """Move processes into a new scope of the user's systemd or of the system's, delegated to them, and wait for it.

    `timeout` is seconds. Raises UnavailableError where jeepney or systemd is not there, PermissionDeniedError where
    systemd refuses, CgroupError where the scope does not come to be.
    """
    try:
        import jeepney.io.blocking  # noqa: F401 - the first of all imports, so that one message tells
    except ImportError as error:
        raise UnavailableError(_NO_JEEPNEY.format(without(user=user))) from error
    properties = [
        ("Description", ("s", description)),
        ("PIDs", ("au", pids)),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),  # what has failed does not stay behind
    ]
    with _Manager(user=user, timeout=timeout) as manager:
        manager.start(unit, properties)


def delegates(unit: str, *, timeout: float = 2.0) -> bool:
    """Return whether the user's systemd says that it delegates a unit; False, too, where it cannot be asked."""
    try:
        import jeepney  # noqa: F401 - as above

        with _Manager(user=True, timeout=timeout) as manager:
            return manager.delegates(unit)
    except (ImportError, UnavailableError, PermissionDeniedError):
        return False


class _Manager:
    """A systemd's connection for the length of a `with` block."""

    def __init__(self, *, user: bool, timeout: float) -> None:
        self._timeout = timeout
        self._name = "the user's systemd" if user else "the system's systemd"
        self._user = user

    def __enter__(self) -> Self:
        from jeepney.io.blocking import open_dbus_connection

        try:
            self._bus = open_dbus_connection(self._address())
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise UnavailableError(_NO_BUS.format(self._name, error, _HINTS[self._user])) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()

    def _address(self) -> str:
        if not self._user:
            return "SYSTEM"
        if "DBUS_SESSION_BUS_ADDRESS" in os.environ:
            return "SESSION"
        directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        return f"unix:path={directory}/bus"

    def start(self, unit: str, properties: list[tuple[str, Any]]) -> None:
        """Start a transient unit and wait until its job is done."""
        from jeepney import MatchRule, message_bus

        jobs = MatchRule(type="signal", interface=_INTERFACE, member="JobRemoved", path=_PATH)
        self._answer(message_bus.AddMatch(jobs))
        self._call("Subscribe")  # systemd tells of jobs only where somebody asks
        with self._bus.filter(jobs, bufsize=1000) as removed:
            job = self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []))[0]
            deadline = time.monotonic() + self._timeout
            while True:
                _, path, _, result = self._next(removed, unit, deadline)
                if path == job:
                    break
        if result != "done":
            raise CgroupError(f"{self._name} could not start {unit}: its job ended with {result!r}")

    def delegates(self, unit: str) -> bool:
        """Return the unit's property Delegate."""
        path = self._call("GetUnit", "s", (unit,))[0]
        kind = f"org.freedesktop.systemd1.{unit.rpartition('.')[2].capitalize()}"
        asked = (kind, "Delegate")
        (_, value) = self._call("Get", "ss", asked, path=path, interface="org.freedesktop.DBus.Properties")[0]
        return bool(value)

    def _next(self, removed: Any, unit: str, deadline: float) -> Any:
        try:
            return self._bus.recv_until_filtered(removed, timeout=max(0, deadline - time.monotonic())).body
        except TimeoutError as error:
            raise CgroupError(f"{self._name} did not start {unit} within {self._timeout} s") from error

    def _call(
        self,
        method: str,
        signature: str | None = None,
        body: tuple[Any, ...] = (),
        *,
        path: str = _PATH,
        interface: str = _INTERFACE,
    ) -> Any:
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(path, bus_name="org.freedesktop.systemd1", interface=interface)
        return self._answer(new_method_call(address, method, signature, body))

    def _answer(self, message: Any) -> Any:
        from jeepney.wrappers import DBusErrorResponse, unwrap_msg

        try:
            return unwrap_msg(self._bus.send_and_get_reply(message, timeout=self._timeout))
        except TimeoutError as error:
            raise UnavailableError(_NO_BUS.format(self._name, "no answer", _HINTS[self._user])) from error
        except DBusErrorResponse as error:
            kind = PermissionDeniedError if error.name in _DENIED else UnavailableError
            raise kind(f"{self._name} refused it: {error}; {without(user=self._user)}") from error
