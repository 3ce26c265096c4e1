# SPDX-License-Identifier: MIT
"""A system call that the kernel refuses, as old kernels and containers do, for the calling process and its children.

For all processors on which the call has the number that it has on x86_64.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE3 = 435
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER
_LOAD_NUMBER, _IS, _RETURN = (0x20, 0, 0, 0), 0x15, 0x06
_REFUSE, _ALLOW = 0x00050000, 0x7FFF0000


def refuse(call: int, error: int) -> None:
    """Have the kernel answer a system call with an error from now on."""
    steps = [_LOAD_NUMBER, (_IS, 0, 1, call), (_RETURN, 0, 0, _REFUSE | error), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, program, 0, 0)):
        if libc.prctl(*request) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    libc.syscall(call, 0, 0)
    if ctypes.get_errno() != error:
        raise OSError(ctypes.get_errno(), f"{os.strerror(error)} is what the call should have failed with")
