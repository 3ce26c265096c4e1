# SPDX-License-Identifier: MIT
"""Control files that are methods: Command takes a value, Trigger none; and EventFile, which is there to be watched."""

from __future__ import annotations

from ._types import TYPE_CHECKING, T, V, overload
from .errors import UnsupportedSettingError
from .settings import Declaration, Writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never, NoReturn, Self

    from .codecs import Codec
    from .settings import Holder


class EventFile(Declaration[str, str]):
    """A control file that is there to be watched: it takes event registrations, and neither reads nor takes values."""

    readable = False
    use = "To be watched, not read."

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> NoReturn: ...
    def __get__(self, group: Holder | None, owner: type) -> Self:
        if group is None:
            return self
        message = f"{group._label()}.{self.name}: {self.files} is there to be watched for events, not to be read"
        raise UnsupportedSettingError(message, setting=self.name)


class Command(Writing[T, V]):
    """A write-only control file that makes the kernel do something: a method that takes the value."""

    readable = False
    use = "A method that takes the value."

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> Callable[[V], None]: ...
    def __get__(self, group: Holder | None, owner: type) -> Self | Callable[[V], None]:
        if group is None:
            return self

        def command(value: V) -> None:
            self.write(group, value)

        command.__doc__ = self.__doc__
        return command

    def __set__(self, group: Holder, value: Never) -> NoReturn:
        raise UnsupportedSettingError(f"{group._label()}.{self.name} is a method: call it with the value")


class Trigger(Writing[str, str]):
    """A write-only control file that makes the kernel do one thing: a method without arguments."""

    readable = False
    use = "A method without arguments."

    def __init__(
        self,
        codec: Codec[str, str],
        writes: str,
        *,
        v1: str | None = None,
        v2: str | None = None,
        doc: str = "",
        needs: str = "",
    ) -> None:
        super().__init__(codec, v1=v1, v2=v2, doc=doc, needs=needs)
        self._writes = writes

    @property
    def takes(self) -> str:
        """Nothing."""
        return ""

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Holder, owner: type) -> Callable[[], None]: ...
    def __get__(self, group: Holder | None, owner: type) -> Self | Callable[[], None]:
        if group is None:
            return self

        def trigger() -> None:
            self.write(group, self._writes)

        trigger.__doc__ = self.__doc__
        return trigger

    def __set__(self, group: Holder, value: Never) -> NoReturn:
        raise UnsupportedSettingError(f"{group._label()}.{self.name} is a method: call it")
