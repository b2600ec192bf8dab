"""What a sandbox is tried with: it runs the code that it is sent, and Python's own processes under a kernel that refuses."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

SECCOMP = {"x86_64": 317, "aarch64": 277}


def run(parts: Sequence[bytes]) -> Sequence[bytes]:
    """The entry: run code that defines `main`, and give what that gives for the other parts."""
    names = {"sent": parts[1:]}
    exec(parts[0], names)
    return names["main"](*parts[1:])  # type: ignore[operator]


def can_lock() -> bool:
    """True if this kernel filters system calls; asked without any code of the sandbox."""
    number = SECCOMP.get(os.uname().machine)
    action = ctypes.c_uint32(0x00050000)  # SECCOMP_RET_ERRNO
    return number is not None and ctypes.CDLL(None).syscall(number, 2, 0, ctypes.byref(action)) == 0


def refuse(system_call: int) -> None:
    """From here on, the kernel refuses this process and its children one system call, as that of a container may."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(
        struct.pack("<HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),
            (0x15, 0, 1, system_call),
            (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    text = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(text))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
