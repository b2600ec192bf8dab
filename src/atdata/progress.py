"""Progress of long work: bars in a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from atdata.plain import plain

_WIDTH = 60  # characters of a title


class Progress(Protocol):
    """The progress of long work. Sizes are bytes."""

    def begin(self, title: str, total: int) -> None:
        """A part of the work, `total` bytes long, begins."""

    def advance(self, amount: int) -> None:
        """Note that so many bytes of the current part are done."""


class _Silent:
    def begin(self, title: str, total: int) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass


class _Bars:
    """One bar for the whole, one for the part at hand."""

    def __init__(self, display: Any, title: str, total: int) -> None:
        self._display, self._whole = display, display.add_task(plain(title, _WIDTH), total=total)
        self._part: Any = None

    def begin(self, title: str, total: int) -> None:
        if self._part is not None:
            self._display.remove_task(self._part)
        self._part = self._display.add_task(plain(title, _WIDTH), total=total)

    def advance(self, amount: int) -> None:
        self._display.advance(self._part, amount)
        self._display.advance(self._whole, amount)


@contextmanager
def progress(title: str, total: int) -> Generator[Progress]:
    """Progress of work on `total` bytes, shown on standard error where that is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}", markup=False),  # a stranger's name is no markup
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Display(*columns, console=Console(stderr=True), transient=True) as display:
        yield _Bars(display, title, total)
