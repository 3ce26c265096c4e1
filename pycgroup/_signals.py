# SPDX-License-Identifier: MIT
"""How the kernel wakes a watcher: eventfd on v1, POLLPRI on the events files of v2, pressure triggers. And removal.

A signal has a descriptor that polls readable (`fileno`), and `text()` gives the watched file as it is now; that raises
OSError with ENODEV once the group is gone. This is one of the places where the versions differ; those who use a signal
need not know which it is. One waiter at a time, which the subscription sees to.
"""

from __future__ import annotations

import errno
import os

from . import _native
from ._removals import removals
from ._types import TYPE_CHECKING, Any
from ._waiting import LONGEST_POLL

if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from ._removals import Removals

_READ = os.O_RDONLY | os.O_CLOEXEC
_CHUNK = 4096
_BILLION = 1_000_000_000
# How long the kernel may take to signal a removal, in milliseconds; eventfd.c says why.
_REMOVAL = 250


class Signal:
    """What the three kinds have in common."""

    __slots__ = ("_name", "_prefix", "file")
    #: The group's directory with a slash, and the watched file's name: strings that others hold, where a path would be
    #: one more for each of thousands.
    _prefix: str
    _name: str
    #: The descriptor of the watched file, or -1 where it is not kept.
    file: int
    #: What is known since the watch began, of _native.register().
    found: int = 0
    #: Who counts the signals, where they are counted, once there is a waiter().
    listener: Any = None

    @property
    def _path(self) -> str:
        return self._prefix + self._name

    def fileno(self) -> int:
        """Return a descriptor that polls readable when there is something to take."""
        raise NotImplementedError

    def waiter(self) -> Callable[[int], int]:
        """Return what waits for so many nanoseconds, below 0 for ever, and returns how often it was signalled.

        0 means that the time is over, or that a signal handler has to run. A number below 0 stands for as many signals,
        after which the group may be gone: text() tells. On v1 it returns them again until `listener` has them as told.
        """
        raise NotImplementedError

    def wake(self) -> None:
        """Make it poll readable, from whatever thread, so that its waiter returns; on v2 for ever, as at its end."""
        raise NotImplementedError

    def text(self) -> str:
        """Return what the watched file holds now. Raises OSError, with ENODEV when the group is gone.

        On v2 the kernel tells of a change until the file has been read: whoever reads it must take what it says.
        """
        return os.pread(self.file, _CHUNK, 0).decode()

    def is_gone(self) -> bool:
        """Return whether the group is gone, and what is at its path is another; without reading the file."""
        try:
            return os.stat(self._path).st_ino != self._number()
        except FileNotFoundError:
            return True

    def _number(self) -> int:
        """Return the watched file's inode, which no other file has had or will have."""
        return os.fstat(self.file).st_ino

    def before_removal(self, signals: int, *, patient: bool) -> tuple[int, int]:
        """Return at least and at most how often it was signalled before the group went away.

        `signals` is how often it was in all, as far as is known; `patient` if it may wait to know it exactly.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.file)


class EventFd(Signal):
    """v1: an eventfd registered in cgroup.event_control. The kernel adds one for each event, and one on removal."""

    __slots__ = ("_descriptor", "_inode", "_top", "_waiter", "found", "listener")

    def __init__(self, prefix: str, file: str, registered: int, top: Any) -> None:
        self._prefix, self._name = prefix, file
        #: Held for those that are registered next.
        self._top = top
        self._descriptor, self.file, self.found = _native.unpacked(registered)
        self.listener = None
        self._waiter: Callable[[int], int] | None = None
        # To keep the file tells at once that the group is gone, but the registration does not need it any more.
        if self.found & _native.SCARCE:
            self._inode = self._number()
            os.close(self.file)
            self.file = -1

    def fileno(self) -> int:
        return self._descriptor

    def waiter(self) -> Callable[[int], int]:
        # In C to the end; and kept, so that who has been woken need not take it down first.
        if self._waiter is None:
            self.listener = _native.listener(self._descriptor, self.file)
            self._waiter = _native.waiting(self.listener)
        return self._waiter

    def taker(self) -> tuple[Callable[[int], int], int]:
        """Return what does the same without waiting, and its argument: see _native.taking()."""
        self.waiter()
        return _native.taking(self.listener)

    def wake(self) -> None:
        os.eventfd_write(self._descriptor, 1)

    def pending(self, milliseconds: int = 0) -> bool:
        """Return whether there is something to take, as soon as there is."""
        import select

        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def before_removal(self, signals: int, *, patient: bool) -> tuple[int, int]:
        # The kernel signals the removal as the last of all, some milliseconds later.
        if patient and self.pending(_REMOVAL):
            signals = max(signals, -self.waiter()(0))
        return max(0, signals - 1), signals - 1 if patient else signals

    def text(self) -> str:
        try:
            return super().text() if self.file >= 0 else self._reopened()
        except OSError as error:
            # memory.pressure_level cannot be read, and says so as long as it is there.
            if error.errno == errno.EINVAL:
                return ""
            raise

    def _reopened(self) -> str:
        """Return the text of the file at the same path, if it still is that file and not one of a group made since."""
        # Before it is opened, for which there may be no descriptor.
        if self.is_gone():
            raise _gone()
        try:
            file = os.open(self._path, _READ)
        except FileNotFoundError as cause:
            raise _gone() from cause
        try:
            if os.fstat(file).st_ino != self._inode:
                raise _gone()
            return os.pread(file, _CHUNK, 0).decode()
        finally:
            os.close(file)

    def _number(self) -> int:
        return super()._number() if self.file >= 0 else self._inode

    def close(self) -> None:
        self._top = None
        os.close(self._descriptor)
        if self.file >= 0:
            super().close()


class Changes(Signal):
    """v2: a file such as memory.events, which polls POLLPRI when it has changed since it was read, and on removal.

    asyncio and others wait for reading, and such a file can be read at any time: hence an epoll descriptor before it,
    which itself polls readable.
    """

    __slots__ = ("_epoll", "_woken")
    _FLAGS = _READ

    def __init__(self, prefix: str, file: str, trigger: bytes = b"") -> None:
        import select

        self._prefix, self._name, self.file = prefix, file, -1
        self._epoll: select.epoll = select.epoll()
        #: Who wakes it when the group is removed; a trigger does so itself.
        self._woken: Removals | None = None
        try:
            self.file = os.open(self._path, self._FLAGS)
            if trigger:
                # Before it is registered: epoll waits for what the file has then.
                os.write(self.file, trigger)
            self._epoll.register(self.file, select.EPOLLPRI)
            self._woken = None if trigger else removals()
            if self._woken is not None:
                self._woken.add(os.path.dirname(prefix), self)
        except BaseException:
            Changes.close(self)
            raise

    def fileno(self) -> int:
        return self._epoll.fileno()

    def waiter(self) -> Callable[[int], int]:
        return self._wait

    def _wait(self, nanoseconds: int) -> int:
        # The kernel says that the file has changed until it has been read, which tells of the removal too.
        seconds = None if nanoseconds < 0 else min(nanoseconds / _BILLION, LONGEST_POLL)
        return -1 if self._epoll.poll(seconds) else 0

    def before_removal(self, signals: int, *, patient: bool) -> tuple[int, int]:  # noqa: ARG002  # v1 needs to know
        return signals, signals

    def wake(self) -> None:
        import select

        # Such a file can be read at any time. Another one that is readable for ever would not do for all of them: the
        # kernel lets a file wake a thousand epoll descriptors, and five hundred that are in another one.
        self._epoll.modify(self.file, select.EPOLLIN)

    def close(self) -> None:
        if self._woken is not None:
            self._woken.discard(os.path.dirname(self._prefix), self)
        self._epoll.close()
        if self.file >= 0:
            super().close()


class Trigger(Changes):
    """A pressure trigger, on whichever version has the file: `some 150000 2000000`, in microseconds."""

    __slots__ = ()
    _FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK

    def __init__(self, prefix: str, file: str, trigger: str) -> None:
        # The kernel takes the last byte for the NUL that ends it, whatever it is.
        super().__init__(prefix, file, trigger.encode() + b"\0")


class Stall(Trigger):
    """Two triggers of a kind, which strike together.

    The kernel forgets that a trigger has struck when it is polled, be it from outside through the epoll descriptor; and
    the file does not tell, as it weighs what each processor has seen otherwise. Hence one for those who poll from
    outside, and one for those who take what they have heard of.
    """

    __slots__ = ("_outside",)

    def __init__(self, prefix: str, file: str, trigger: str) -> None:
        self._outside = Trigger(prefix, file, trigger)
        try:
            super().__init__(prefix, file, trigger)
        except BaseException:
            self._outside.close()
            raise

    def fileno(self) -> int:
        return self._outside.fileno()

    def wake(self) -> None:
        self._outside.wake()
        super().wake()

    def close(self) -> None:
        self._outside.close()
        super().close()


def _gone() -> OSError:
    return OSError(errno.ENODEV, os.strerror(errno.ENODEV))
