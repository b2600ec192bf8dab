"""The command line in this process, and what it says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from atdata.cli import main, output


class Terminal:
    """Runs commands, and keeps what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        monkeypatch.setenv("COLUMNS", "250")
        monkeypatch.setenv("TERM", "xterm")  # a dumb one is taken for 80 columns wide
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["atdata", *arguments])
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        self.out, self.err = self._capsys.readouterr()
        return int(code)

    def json(self, *arguments: str) -> Any:
        assert self.run(*arguments, "--json") == 0, self.out + self.err
        return json.loads(self.out)


class Screen:
    """Runs commands in this process on a real terminal, of which every byte is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int = 160) -> None:
        self._monkeypatch, self._columns = monkeypatch, columns
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.delenv("NO_COLOR", raising=False)
        self.raw = b""

    def run(self, *arguments: str, keys: bytes = b"") -> int:
        """Run a command; its exit code. `keys` are pressed before it begins."""
        self._monkeypatch.setattr(sys, "argv", ["atdata", *arguments])
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._columns, 0, 0))
        pieces: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(master, pieces))
        reader.start()
        try:
            os.write(master, keys)
            with _on(slave):
                main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            os.close(slave)
            reader.join()
            os.close(master)
        self.raw = b"".join(pieces)
        return int(code)

    @property
    def text(self) -> str:
        """What was written, without what colours it and redraws bars."""
        return _STYLING.sub("", self.raw.decode("utf-8"))


_STYLING = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\x1b\[0?K")


def _read_all(master: int, pieces: list[bytes]) -> None:
    with suppress(OSError):  # so Linux says that nobody writes any more
        while piece := os.read(master, 1 << 16):
            pieces.append(piece)


@contextmanager
def _on(slave: int) -> Iterator[None]:
    """The terminal as this process's input, output and errors."""
    kept = [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    output.console.cache_clear()
    try:
        for number in range(3):
            os.dup2(slave, number)
        with open(0, closefd=False) as stdin, open(1, "w", closefd=False) as out, open(2, "w", closefd=False) as errors:
            sys.stdin, sys.stdout, sys.stderr = stdin, out, errors
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, before in enumerate(kept):
            os.dup2(before, number)
            os.close(before)
        output.console.cache_clear()
