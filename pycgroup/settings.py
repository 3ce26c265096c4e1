# SPDX-License-Identifier: MIT
"""The descriptors by which a class of groups declares its control files, one line each.

    limit_in_bytes = Setting(BYTES, v1="memory.limit_in_bytes", v2=File("memory.max", MAX), doc="...")

Setting reads and writes, Reading only reads, WriteOnly only writes; actions.py has the files that make the kernel do
something. A column left out means that this version has no such thing.
"""

from __future__ import annotations

import errno
import os

from . import _kernfs
from ._types import TYPE_CHECKING, Generic, T, V, overload
from .codecs import shown
from .errors import (
    CgroupError,
    InvalidValueError,
    ReadOnlySettingError,
    SettingError,
    UnsupportedSettingError,
)

if TYPE_CHECKING:
    from typing import Any, ClassVar, Never, NoReturn, Protocol, Self

    from .codecs import Codec
    from .hierarchy import Place

    class Holder(Protocol):
        """What a declaration needs of the group that it is read from or written to."""

        _path: str
        _located: Place | None
        _staged: dict[Setting[Any, Any], Any]

        @property
        def group_name(self) -> str: ...
        @property
        def _place(self) -> Place: ...
        def _locate(self) -> Place: ...
        def _label(self) -> str: ...


#: What the kernel answers to a value that something else bounds.
_BOUNDED = frozenset(
    {errno.EINVAL, errno.EBUSY, errno.ENOSPC, errno.ERANGE, errno.ENODEV, errno.EOPNOTSUPP, errno.EAGAIN}
)


class File(Generic[T, V]):
    """One column of a declaration: the control file and its format on one version.

    `beside` names a second file of the group whose text the codec needs too, after the first's.
    """

    __slots__ = ("beside", "codec", "name")

    def __init__(self, name: str, codec: Codec[T, V], *, beside: str = "") -> None:
        self.name = name
        self.codec = codec
        self.beside = beside

    def text(self, prefix: str) -> str:
        """Return what the file (and the one beside it) holds. Raises OSError."""
        text = _kernfs.read(prefix + self.name)
        return f"{text}\n{_kernfs.read(prefix + self.beside)}" if self.beside else text

    def encode(self, prefix: str, value: V) -> str:
        """Return the text to write for a value. Raises OSError, and ValueError for a value that is refused."""
        codec = self.codec
        return codec.encode(value, self.text(prefix)) if codec.reads_current else codec.encode(value)


class Declaration(Generic[T, V]):
    """One control file of a class of groups, on each version."""

    #: Whether it takes values, and whether it gives them.
    writable: ClassVar[bool] = False
    readable: ClassVar[bool] = True
    #: What help() says about its use, where that is not reading and assigning.
    use: ClassVar[str] = ""

    def __init__(
        self,
        codec: Codec[T, V],
        *,
        v1: str | File[T, V] | None = None,
        v2: str | File[T, V] | None = None,
        doc: str = "",
        needs: str = "",
        bounds: str = "",
    ) -> None:
        self.v1 = File(v1, codec) if isinstance(v1, str) else v1
        self.v2 = File(v2, codec) if isinstance(v2, str) else v2
        self.columns = (self.v1, self.v2)
        self.doc = doc
        #: What a kernel or host must have for the file to be there.
        self.needs = needs
        #: What else bounds the value, for the message when the kernel refuses one.
        self.bounds = bounds
        self.name = ""
        self.aliases: tuple[str, ...] = ()

    def __set_name__(self, owner: type, name: str) -> None:
        if self.name:
            self.aliases += (name,)
        else:
            self.name = name
        self.__doc__ = self._described()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.files}>"

    def __delete__(self, group: Holder) -> None:
        raise AttributeError(f"{group._label()}.{self.name}: a control file cannot be deleted; UNLIMITED is no limit")

    @property
    def files(self) -> str:
        """The kernel files behind it, for people: 'memory.limit_in_bytes (v1), memory.max (v2)'."""
        named = [f"{file.name} (v{number})" for number, file in enumerate(self.columns, 1) if file is not None]
        return ", ".join(named)

    @property
    def takes(self) -> str:
        """The value's type and unit, for people."""
        return next((file.codec.takes for file in self.columns if file is not None), "")

    def _described(self) -> str:
        names = f"Names: {', '.join((self.name, *self.aliases))}." if self.aliases else ""
        value = f"Value: {self.takes}. {self.use}".rstrip() if self.takes else self.use
        needs = f"Needs {self.needs}." if self.needs else ""
        return "\n".join(line for line in (self.doc, value, f"Kernel file: {self.files}.", names, needs) if line)

    def file(self, group: Holder, place: Place) -> File[T, V]:
        """Return the column for the group's version. Raises UnsupportedSettingError where there is none."""
        file = self.columns[place.column]
        if file is None:
            raise self._unsupported(group, place)
        return file

    def _unsupported(self, group: Holder, place: Place) -> UnsupportedSettingError:
        here = f"{place.controller} is on cgroup v{place.hierarchy.version} on this host"
        message = f"{group._label()}.{self.name}: only {self.files} has it, and {here}"
        return UnsupportedSettingError(message, group=place.directory, setting=self.name)

    def read(self, group: Holder) -> T:
        """Return the kernel's value now, whatever is staged."""
        place = group._located or group._locate()
        file = self.file(group, place)
        try:
            text = file.text(place.prefix)
        except OSError as cause:
            name = os.path.basename(cause.filename or file.name)
            raise self.failed(cause, f"read {name}", group, place) from cause
        try:
            return file.codec.decode(text)
        except (ValueError, LookupError) as cause:
            message = f"{group._label()}.{self.name}: pycgroup does not understand {file.name}: {text[:80]!r}"
            raise SettingError(message, group=place.directory, setting=self.name, value=text) from cause

    def failed(self, cause: OSError, attempt: str, group: Holder, place: Place, value: object = None) -> CgroupError:
        """Return the exception for what the kernel said."""
        return _kernfs.error(
            cause,
            f"{group._label()}.{self.name}: cannot {attempt}",
            group=place.directory,
            directory=place.directory,
            setting=self.name,
            value=value,
            hint=self._hint(cause),
        )

    def _hint(self, cause: OSError) -> str:
        if isinstance(cause, FileNotFoundError):
            return f"needs {self.needs}" if self.needs else ""
        # A cpuset answers EACCES to what its parent has not; to others than root it means what it says.
        bounded = cause.errno in _BOUNDED or (cause.errno == errno.EACCES and os.geteuid() == 0)
        return self.bounds if bounded else ""

    def refused(self, refusal: Exception, group: Holder, place: Place, value: object) -> SettingError:
        """Return the exception for what the codec says of a value: it is wrong, or this version takes none."""
        kind = UnsupportedSettingError if isinstance(refusal, UnsupportedSettingError) else InvalidValueError
        message = f"{group._label()}.{self.name}: {refusal}"
        return kind(message, group=place.directory, setting=self.name, value=value)


class Writing(Declaration[T, V]):
    """What writes: the parts that Setting and Command share."""

    writable = True

    def write(self, group: Holder, value: V) -> None:
        """Write a value to the control file now. Raises SettingError and its kind, GroupNotFoundError."""
        place = group._located or group._locate()
        file = self.file(group, place)
        try:
            self._put(group, place, file, value)
        except OSError as cause:
            raise self._denied(cause, file, group, place, value) from cause

    def _put(self, group: Holder, place: Place, file: File[T, V], value: V) -> None:
        try:
            text = file.encode(place.prefix, value)
        except (ValueError, UnsupportedSettingError) as refusal:
            raise self.refused(refusal, group, place, value) from None
        _kernfs.write(place.prefix + file.name, text)

    def _denied(self, cause: OSError, file: File[T, V], group: Holder, place: Place, value: object) -> CgroupError:
        if cause.errno == errno.ENODEV and file.codec.of_devices:
            refusal = f"{value!r} names a device that does not exist, or a part of one: name the whole disk"
            return self.refused(ValueError(refusal), group, place, value)
        if cause.errno == errno.ENOENT and cause.filename is None:  # it is not the file that is missing
            refusal = f"{value!r} names something that is not there, such as a controller that the group above lacks"
            return self.refused(ValueError(refusal), group, place, value)
        return self.failed(cause, f"write {shown(value)} to {file.name}", group, place, value)


class Reading(Declaration[T, "Any"]):
    """A control file that the kernel only reports."""

    use = "Read only."

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> T: ...
    def __get__(self, group: Holder | None, owner: type) -> Self | T:
        return self if group is None else self.read(group)

    def __set__(self, group: Holder, value: Never) -> NoReturn:
        raise ReadOnlySettingError(
            f"{group._label()}.{self.name}: the kernel reports {self.files} and takes no value", setting=self.name
        )


class Setting(Writing[T, V]):
    """A control file that reads and takes values.

    On a group that exists an assignment takes effect at once, with one open, one write and one close. On one that does
    not exist yet the value is checked and staged, for create() or modify() to apply.
    """

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> T: ...
    def __get__(self, group: Holder | None, owner: type) -> Self | T:
        if group is None:
            return self
        if group._staged and self in group._staged:
            place = group._located or group._locate()
            value: V = group._staged[self]
            return self.file(group, place).codec.normal(value)
        return self.read(group)

    def __set__(self, group: Holder, value: V) -> None:
        place = group._located or group._locate()
        file = self.file(group, place)
        try:
            self._put(group, place, file, value)
        except FileNotFoundError as cause:
            error = self._denied(cause, file, group, place, value)
            # On v2 the directory may be there without the controller, which create() enables.
            is_there = place.hierarchy.offers(place.directory, place.controller)
            if isinstance(error, InvalidValueError) or (is_there and isinstance(error, UnsupportedSettingError)):
                raise error from cause
            self.stage(group, value)
        except OSError as cause:
            raise self._denied(cause, file, group, place, value) from cause
        else:
            group._staged.pop(self, None)

    def stage(self, group: Holder, value: V) -> None:
        """Keep a value until the group exists, after proving that it can be written. Raises InvalidValueError."""
        self.check(group, value)
        group._staged[self] = value

    def check(self, group: Holder, value: V) -> None:
        """Raise InvalidValueError or UnsupportedSettingError unless the value can be written."""
        place = group._located or group._locate()
        file = self.file(group, place)
        try:
            file.codec.normal(value)
        except (ValueError, UnsupportedSettingError) as refusal:
            raise self.refused(refusal, group, place, value) from None


class WriteOnly(Setting[T, V]):
    """A control file that takes values and gives none."""

    readable = False
    use = "Write only."

    def read(self, group: Holder) -> T:
        message = f"{group._label()}.{self.name}: the kernel takes values in {self.files} and gives none"
        raise UnsupportedSettingError(message, setting=self.name)


def _is_beside(file: File[Any, Any] | None) -> bool:
    return file is not None and bool(file.beside)


def apply(group: Holder, values: dict[Setting[Any, Any], Any], *, note: bool = False) -> None:
    """Write several values in an order that the kernel accepts.

    Some settings bound each other (memsw is never below the limit, the burst never above the quota), and which to
    write first depends on the values now: those that the kernel refuses are tried again after the others. Where none
    of the rest is accepted, the first refusal is raised, if wanted with a note on what has been applied.
    """
    pending, applied = values, []
    if len(values) > 1:
        # Whose text depends on another file's waits for that one.
        column = (group._located or group._locate()).column
        pending = dict(sorted(values.items(), key=lambda item: _is_beside(item[0].columns[column])))
    while pending:
        refused: dict[Setting[Any, Any], Any] = {}
        errors: list[CgroupError] = []
        for setting, value in pending.items():
            try:
                setting.write(group, value)
                applied.append(setting.name)
            except CgroupError as error:
                refused[setting] = value
                errors.append(error)
        if len(refused) == len(pending):
            if note and applied:
                errors[0].add_note(f"already applied: {', '.join(applied)}")
            raise errors[0]
        pending = refused
