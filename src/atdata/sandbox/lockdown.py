"""A process that gives up all that it may do, but to compute and to answer (Linux: seccomp and resource limits).

What stays is an allow-list of system calls, and every other is refused: no file is opened, no socket made, no process
started, signalled or traced, whoever runs it, root too. It takes no rights to set, so it is the same in a container.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from atdata.errors import SandboxError

# What Python and numpy need to compute, to wait and to answer over what is open, with its number in each kernel table.
_ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128),
    "rt_sigreturn": (15, 139),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_NEVER_EXECUTABLE = {"mmap": (9, 222), "mprotect": (10, 226)}
_MACHINES = ("x86_64", "aarch64")
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_X32 = 0x40000000  # system calls of another kind, under numbers of their own
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_NO_NEW_PRIVS = 1, 4, 38
_PROT_EXEC = 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF
_NUMBER, _ARCH, _THIRD_ARGUMENT = 0, 4, 16 + 8 * 2  # offsets in struct seccomp_data; little-endian


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def check_platform() -> None:
    """Refuse a system on which no process can be locked.

    Raises:
        SandboxError: it is no Linux, or on a processor whose system calls are not known here.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError.of("platform", f"this system is {sys.platform}, not Linux")
    machine = os.uname().machine
    if machine not in _MACHINES or struct.calcsize("P") != 8 or sys.byteorder != "little":
        raise SandboxError.of("platform", f"the system calls of {machine} are not known here")


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends.

    Args:
        parent: the process id of the parent, as it was when it started this one.

    Raises:
        SandboxError: the kernel does not do it.
    """
    if _libc().prctl(_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        _fail("end with its parent")
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def lock(memory: int) -> None:
    """Lock this process, for ever: what it has open stays, and nothing else.

    Args:
        memory: bytes of address space that it may have.

    Raises:
        SandboxError: a restriction cannot be had; `step` names it.
    """
    import resource  # not on every system

    signal.signal(signal.SIGXCPU, signal.SIG_DFL)  # whoever started us may have it ignored, or blocked
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    limits = {
        "memory": (resource.RLIMIT_AS, memory),
        "processes": (resource.RLIMIT_NPROC, 0),
        "files": (resource.RLIMIT_FSIZE, 0),
        "core dumps": (resource.RLIMIT_CORE, 0),
    }
    for name, (which, most) in limits.items():
        try:
            hard = resource.getrlimit(which)[1]  # whoever started us may allow less
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (most, most))
        except (OSError, ValueError) as error:
            raise SandboxError.of(name, f"the limit cannot be set: {error}") from error
    libc = _libc()
    if libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        _fail("core dumps")
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        _fail("privileges")
    machine = os.uname().machine
    code = b"".join(_filter(machine))
    program = _Program(len(code) // 8, ctypes.cast(ctypes.create_string_buffer(code), ctypes.c_void_p))
    if libc.syscall(_SECCOMP[machine], 1, 1, ctypes.byref(program)):  # SECCOMP_SET_MODE_FILTER, of all threads
        _fail("system calls")


def check_locked(memory: int) -> None:
    """Try what must not be possible any more.

    Raises:
        SandboxError: it is possible; `step` names the restriction that does not hold.
    """
    libc, parent = _libc(), os.getppid()
    trials: list[tuple[str, Callable[[], int]]] = [
        *(("network", lambda family=family: libc.socket(family, 1, 0)) for family in (1, 2, 10, 16)),
        ("network", lambda: libc.socketpair(1, 1, 0, ctypes.create_string_buffer(8))),
        ("files", lambda: libc.open(b"/", os.O_RDONLY)),
        ("files", lambda: libc.open(sys.executable.encode(), os.O_RDONLY)),
        ("files", lambda: libc.access(b"/", 0)),
        ("files", lambda: libc.mkdir(b"/", 0)),
        ("processes", lambda: _started(libc.fork())),
        ("processes", lambda: libc.execve(b"/", None, None)),
        ("signals", lambda: libc.kill(parent, 0)),
        ("signals", lambda: libc.kill(os.getpid(), 0)),
        ("tracing", lambda: libc.ptrace(0, 0, 0, 0)),
        ("signals", lambda: libc.sigaction(signal.SIGXCPU, None, ctypes.create_string_buffer(256))),
        ("privileges", lambda: libc.prctl(_SET_PDEATHSIG, 0, 0, 0, 0)),
        ("limits", lambda: libc.setrlimit(0, ctypes.create_string_buffer(16))),
        ("code", lambda: _mapped(libc, 4096, _PROT_EXEC | 1)),
    ]
    for name, trial in trials:
        ctypes.set_errno(0)
        if trial() != -1 or ctypes.get_errno() != errno.EPERM:
            raise SandboxError.of(name, "it was set, and does not hold")
    if _mapped(libc, memory, 1) != -1:
        raise SandboxError.of("memory", "it was set, and does not hold")


def _filter(machine: str) -> Iterator[bytes]:
    """The BPF program (`man 2 seccomp`) that says which system calls are allowed, one instruction each."""
    yield _instruction(_LOAD, _ARCH)
    yield _instruction(_EQUAL, _ARCHITECTURE[machine], 1, 0)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER)
    yield _instruction(_AT_LEAST, _X32, 0, 1)
    yield _instruction(_RETURN, _REFUSE)
    table = _MACHINES.index(machine)
    for numbers in _ALLOWED.values():
        yield _instruction(_EQUAL, numbers[table], 0, 1)
        yield _instruction(_RETURN, _ALLOW)
    for numbers in _NEVER_EXECUTABLE.values():
        yield _instruction(_EQUAL, numbers[table], 0, 4)
        yield _instruction(_LOAD, _THIRD_ARGUMENT)
        yield _instruction(_ANY_BIT, _PROT_EXEC, 0, 1)
        yield _instruction(_RETURN, _REFUSE)
        yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _REFUSE)


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, value)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mapped(libc: ctypes.CDLL, size: int, protection: int) -> int:
    libc.mmap.restype = ctypes.c_ssize_t
    address: int = libc.mmap(None, ctypes.c_size_t(size), protection, 0x22, -1, ctypes.c_long(0))  # private, anonymous
    return address


def _started(process: int) -> int:
    if process == 0:
        os._exit(0)
    return process


def _fail(restriction: str) -> NoReturn:
    code = ctypes.get_errno()
    raise SandboxError.of(restriction, f"the kernel says {errno.errorcode.get(code, code)}: {os.strerror(code)}")
