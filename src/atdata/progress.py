"""Progress of long work: bars in a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from atdata.plain import plain

T = TypeVar("T")

_WIDTH = 60  # characters of a title
_STEP = 64  # items that are noted together


class Progress(Protocol):
    """The progress of long work, in bytes or in what else it counts."""

    def begin(self, title: str, total: int | None) -> None:
        """A part of the work, `total` bytes long, begins."""

    def advance(self, amount: int) -> None:
        """Note that so many bytes of the current part are done."""


class _Silent:
    def begin(self, title: str, total: int | None) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass


class _Bars:
    """One bar for the whole, one for the part at hand."""

    def __init__(self, display: Any, title: str, total: int | None) -> None:
        self._display, self._whole = display, display.add_task(plain(title, _WIDTH), total=total)
        self._part: Any = None

    def begin(self, title: str, total: int | None) -> None:
        if self._part is not None:
            self._display.remove_task(self._part)
        self._part = self._display.add_task(plain(title, _WIDTH), total=total)

    def advance(self, amount: int) -> None:
        self._display.advance(self._part, amount)
        self._display.advance(self._whole, amount)


@contextmanager
def progress(title: str, total: int | None, unit: str = "bytes") -> Generator[Progress]:
    """Progress of work on `total` bytes, or others of a unit, shown on standard error where that is a terminal.

    Args:
        title: what is done.
        total: how much there is to do; `None` where nobody knows.
        unit: what is counted.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Silent()
        return
    from rich import progress as rich
    from rich.console import Console

    counts = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if unit == "bytes" else (rich.MofNCompleteColumn(),)
    columns = (
        rich.TextColumn("{task.description}", markup=False),  # a stranger's name is no markup
        rich.BarColumn(),
        *counts,
        rich.TextColumn("" if unit == "bytes" else unit, markup=False),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield _Bars(display, title, total)


def counted(
    items: Iterable[T], bars: Progress, title: str, total: int | None, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """The same items, each noted as done when the next is asked for, some at once.

    Args:
        items: what is counted.
        bars: where it is shown.
        title: of this part of the work.
        total: how much it is; `None` where nobody knows.
        size: gives for how much an item counts.
    """
    bars.begin(title, total)
    done = 0
    for item in items:
        yield item
        done += size(item)
        if done >= _STEP:
            bars.advance(done)
            done = 0
    bars.advance(done)
