"""Processes that outlive the one which started them, told apart from any later process with the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """One process. Numbers are given out again, so its start says which one is meant.

    Attributes:
        pid: its number.
        started: when it started, in the system's own terms, and under which boot of the machine.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has a number now; `None` where it has ended."""
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    @property
    def running(self) -> bool:
        """True if this very process still runs."""
        return _start_of(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to it, and to no other process; `True` if it was running."""
        try:
            return _send(self, number)
        except ProcessLookupError:
            return False

    def wait(self, seconds: float) -> bool:
        """Wait for it to end; `True` if it did in time."""
        end = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def reap(self) -> None:
        """Reap it as a child that has ended, if it is one of this process."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


if sys.platform == "linux":

    def _send(process: Process, number: signal.Signals) -> bool:
        held = os.pidfd_open(process.pid)  # its number is not given to another process meanwhile
        try:
            running = process.running
            if running:
                signal.pidfd_send_signal(held, number)
            return running
        finally:
            os.close(held)

    def _start_of(pid: int) -> str | None:
        """The start of a process that runs. One that has ended, and was not yet waited for, does not."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:
            return None
        state, *rest = stat.rpartition(")")[2].split()  # a name may hold spaces and brackets: proc(5)
        # The first thread may have ended while others still hold files and ports: only the last one's end is the end.
        ended = state == "X" or (state == "Z" and int(rest[16]) <= 1)
        return None if ended else f"{rest[18]}/{_BOOT.read_text('ascii').strip()}"

else:

    def _send(process: Process, number: signal.Signals) -> bool:
        running = process.running
        if running:
            os.kill(process.pid, number)
        return running

    def _start_of(pid: int) -> str | None:
        """The start of a process that runs. One that has ended, and was not yet waited for, does not."""
        shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout
        state, _, started = shown.strip().partition(" ")
        return None if not state or state.startswith("Z") else started.strip()
