"""A process in which code runs that nobody knows: without network, files or other processes, in bounded time and memory."""

from __future__ import annotations

import errno
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from atdata.errors import CodeError, SandboxError
from atdata.sandbox.lockdown import check_platform
from atdata.sandbox.messages import take, to_bytes

_BOOT = "import json, sys; sys.path[:] += json.loads(sys.argv[1]); from atdata.sandbox.worker import main; main()"
# Hashes of text are the same in each run, so that sets are in the same order; libraries of numbers start no threads.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_START = 120.0  # seconds, in which it imports what it needs
_PRINTED = 4096
_PIECE = 1 << 16
_SAID = 2000


@dataclass(frozen=True)
class SandboxLimits:
    """The bounds of what code in a sandbox may take.

    Attributes:
        seconds: for one call, by the clock and of the processor.
        memory: bytes of address space of its process, of which Python and numpy take some 150 MB.
        answers: bytes of all answers that are waited for at once.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    answers: int = 1 << 28


@dataclass
class _Child:
    """The process, and our ends of what leads to it."""

    process: subprocess.Popen[bytes]
    requests: int
    answers: int
    owner: int = field(default_factory=os.getpid)

    def end(self) -> None:
        """Kill it, and close what led to it; in a fork of its owner only the latter."""
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        else:
            self.process.returncode = 0  # nobody waits for it here
        for number in (self.requests, self.answers):
            with suppress(OSError):
                os.close(number)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Sandbox:
    """A locked process that calls one function of ours on what it is sent. It is started at once.

    Args:
        what: what runs in it, in words: `the lens simplify`.
        entry: `module:function`, of ours; see `atdata.sandbox.worker.Entry`.
        modules: what else is imported before the process is locked: afterwards nothing is read any more.
        limits: what it may take.

    Raises:
        SandboxError: a restriction cannot be had; `step` names it, and no code was sent.
    """

    def __init__(self, what: str, entry: str, modules: Sequence[str] = (), limits: SandboxLimits | None = None) -> None:
        check_platform()
        self.what, self.limits = what, limits or SandboxLimits()
        self._lock, self._received, self._printed = threading.RLock(), bytearray(), b""
        # Started by a thread that lasts: the kernel ends the process with the thread that started it.
        try:
            self._child = _starter().submit(_start, entry, tuple(modules), self.limits.memory).result()
        except (OSError, RuntimeError) as error:
            raise error if isinstance(error, SandboxError) else SandboxError.of("start", str(error)) from error
        self._end = weakref.finalize(self, self._child.end)
        for number in (self._child.requests, self._child.answers, *self._printing()):
            os.set_blocking(number, False)
        self._await_ready()

    @property
    def process(self) -> int:
        """The id of the process."""
        return self._child.process.pid

    @property
    def alive(self) -> bool:
        """True until the process has ended, or was closed."""
        return self._end.alive and self._child.owner == os.getpid() and self._child.process.poll() is None

    def close(self) -> None:
        """Kill the process: whoever waits for an answer of it is told so. It may be called twice."""
        if self._child.owner != os.getpid():  # a fork, in which nobody may hold the lock, and nobody can give it back
            self._end()
            return
        self._child.process.kill()
        with self._lock:
            self._end()

    def call(self, requests: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
        """The answers to some requests, each of which has the time of one call.

        Raises:
            CodeError: the code raised, crashed, took too much or answered nonsense, or its process was closed before;
                `reason` says which. After an exception the process goes on, otherwise it has ended.
        """
        with self._lock:
            if not self.alive:
                self._fail("closed", "its process ended before it was asked")
            try:
                self._check_silence()
                answers = self._exchange(b"".join(map(to_bytes, requests)), len(requests), self.limits.seconds)
                failed = next((said for status, *said in answers if status != b"done"), None)
                if failed is not None:
                    reason, text, raised = (*(part.decode("utf-8", "replace") for part in failed), "", "", "")[:3]
                    known = reason in ("exception", "memory")  # more it does not say itself
                    self._fail(reason if known else "answer", text, raised)
            except BaseException as error:
                if not (isinstance(error, CodeError) and error.reason in ("exception", "memory")):
                    self._end()
                raise
        return [parts for _, *parts in answers]

    def _exchange(self, sent: bytes, count: int, seconds: float) -> list[list[bytes]]:
        """Send, and take as many messages as there are requests: also what fails is answered."""
        rest, found, left = memoryview(sent), list[list[bytes]](), self.limits.answers
        with selectors.DefaultSelector() as selector:
            for number in (self._child.answers, *self._printing()):
                selector.register(number, selectors.EVENT_READ)
            selector.register(self._child.requests, selectors.EVENT_WRITE)
            deadline = self._allow(seconds)
            while True:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                for key, _ in ready:
                    if key.fd == self._child.requests:
                        rest = self._write(rest)
                        if not rest:
                            selector.unregister(key.fd)
                    elif not self._read(key.fd):
                        if key.fd == self._child.answers:
                            self._died()
                        selector.unregister(key.fd)
                before = len(found)
                while len(found) < count and (message := self._message(left)) is not None:
                    found.append(message)
                    left -= sum(map(len, message))
                if len(found) == count:
                    return found
                if len(found) > before:
                    deadline = self._allow(seconds)
                elif time.monotonic() >= deadline:
                    if self._child.process.poll() is not None:
                        self._died()
                    self._fail("time", f"it took longer than {seconds:g} seconds")

    def _check_silence(self) -> None:
        """Refuse an answer that nobody has asked for."""
        with suppress(BlockingIOError):
            self._received += os.read(self._child.answers, _PIECE)
        if self._received:
            self._fail("answer", "it answers what it was not asked")

    def _message(self, most: int) -> list[bytes] | None:
        try:
            message = take(self._received, most)
        except ValueError as error:
            self._fail("answer", str(error))
        if message is not None and (not message or message[0] not in (b"done", b"failed", b"ready", b"refused")):
            self._fail("answer", "bytes that are no answer")
        return message

    def _allow(self, seconds: float) -> float:
        """The deadline of a call that begins; the processor's time is bounded by the kernel, whatever becomes of us."""
        import resource  # not on every system

        try:
            used = time.clock_gettime((~self.process << 3) | 2)  # CPUCLOCK_SCHED of another process
            hard = resource.prlimit(self.process, resource.RLIMIT_CPU)[1]
            most = math.ceil(used + seconds) + 1
            resource.prlimit(
                self.process, resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
            )
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.EINVAL):  # it has ended, which its pipes tell
                raise SandboxError.of("processor time", str(error)) from error
        return time.monotonic() + seconds

    def _await_ready(self) -> None:
        try:
            (said,) = self._exchange(b"", 1, _START)
        except CodeError as error:
            self.close()
            raise SandboxError.of("start", error.actual or "") from error
        except BaseException:
            self.close()
            raise
        if said[0] != b"ready":
            self.close()
            step, why = (*(part.decode("utf-8", "replace") for part in said[1:]), "", "")[:2]
            raise SandboxError.of(step, why)

    def _write(self, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(self._child.requests, rest) :] if rest else rest
        except BlockingIOError:
            return rest
        except BrokenPipeError:
            self._died()

    def _read(self, number: int) -> int:
        """Take what came; the number of bytes, 0 at the end."""
        try:
            data = os.read(number, _PIECE)
        except BlockingIOError:
            return 1
        if number == self._child.answers:
            self._received += data
        else:
            self._printed = (self._printed + data)[-_PRINTED:]
        return len(data)

    def _printing(self) -> list[int]:
        process = self._child.process
        return [stream.fileno() for stream in (process.stdout, process.stderr) if stream is not None]

    def _died(self) -> NoReturn:
        """The error for a process that has closed its answers, which only its end does."""
        try:
            code = self._child.process.wait(5)
        except subprocess.TimeoutExpired:
            self._fail("crash", "it closed the way back")
        if code == -signal.SIGXCPU:
            self._fail("time", f"it took more of the processor than {self.limits.seconds:g} seconds")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with status {code}"
        for number in self._printing():
            with suppress(OSError):
                while self._read(number) > 1:
                    pass
        printed = self._printed.decode("utf-8", "replace").strip()[-500:]
        self._fail("crash", f"{how}; it printed: {printed}" if printed else how)

    def _fail(self, reason: str, said: str, raised: str = "") -> NoReturn:
        hint = "Look at its code; it may be allowed more time or memory."
        raise CodeError(
            f"{self.what} failed in its sandbox",
            reason=reason,
            raised=raised[:100],
            step=reason,
            actual=said[:_SAID],
            hint=hint,
        )


_starters: dict[int, ThreadPoolExecutor] = {}


def _starter() -> ThreadPoolExecutor:
    """The thread of this process that starts sandboxes. A fork has none of its parent's threads, but its own."""
    made = _starters.get(os.getpid())
    return made or _starters.setdefault(os.getpid(), ThreadPoolExecutor(1, "atdata-sandbox"))


def _start(entry: str, modules: tuple[str, ...], memory: int) -> _Child:
    if not sys.executable:
        raise SandboxError.of("start", "nobody knows where this Python is")
    theirs, requests = os.pipe()
    answers, back = os.pipe()
    said = {"requests": theirs, "answers": back, "parent": os.getpid(), "entry": entry, "modules": modules}
    paths = [str(Path(__file__).parents[2]), *filter(os.path.isabs, sys.path)]
    # Not -I: it would leave out PYTHONHASHSEED too. Nothing else of the environment is passed on.
    flags = ["-s", "-S", "-P", "-B", "-X", "utf8"]
    try:
        process = subprocess.Popen(
            [sys.executable, *flags, "-c", _BOOT, json.dumps(paths), json.dumps(said | {"memory": memory})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs, back),
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except BaseException:
        os.close(requests)
        os.close(answers)
        raise
    finally:
        os.close(theirs)
        os.close(back)
    return _Child(process, requests, answers)
