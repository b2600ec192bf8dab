"""Cards of facts and tables, for people who would rather look than read: as text and as HTML.

All text on a card may be a stranger's: it is escaped here, and nowhere else.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from atdata.plain import plain

MOST = 200
"""Characters of a cell or a fact that are shown."""
MOST_ROWS, MOST_COLUMNS = 60, 20
"""Rows and columns of a table that are shown; of more it is said how many there are."""

_STYLE = """
.atdata{font:13px/1.45 system-ui,sans-serif;margin:.4em 0;max-width:100%;overflow-x:auto}
.atdata h3{font-size:15px;margin:0 0 .3em}.atdata h4{font-size:13px;margin:.8em 0 .2em}
.atdata table{border-collapse:collapse}.atdata td,.atdata th{padding:.15em .7em .15em 0;text-align:left;vertical-align:top;
border:0;background:none}.atdata th{font-weight:600;opacity:.7}.atdata dl{display:grid;grid-template-columns:max-content
auto;gap:.1em 1em;margin:0}.atdata dt{opacity:.65}.atdata dd{margin:0;overflow-wrap:anywhere}.atdata img{display:block;
max-width:96px;max-height:96px;image-rendering:pixelated}.atdata p{margin:.5em 0 0;opacity:.75}
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title><style>:root{{color-scheme:light dark}}body{{margin:2em}}</style></head><body>
{body}
</body></html>
"""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture.

    Attributes:
        png: its file.
        caption: what it is, where it cannot be shown.
    """

    png: bytes
    caption: str

    def __str__(self) -> str:
        return self.caption


Cell: TypeAlias = object
"""A `Thumbnail`, or what is shown as text."""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        columns: their names.
        rows: of cells, each as many as there are columns.
        title: what it shows.
        whole: whether all of it is shown, however much that is.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str | None = None
    whole: bool = False

    @property
    def shown(self) -> Grid:
        """The part that is shown."""
        if self.whole:
            return self
        return replace(
            self, columns=self.columns[:MOST_COLUMNS], rows=[row[:MOST_COLUMNS] for row in self.rows[:MOST_ROWS]]
        )

    @property
    def more(self) -> str | None:
        """A sentence about what is not shown."""
        counts = {"rows": len(self.rows) - len(self.shown.rows), "columns": len(self.columns) - len(self.shown.columns)}
        left = " and ".join(f"{count:,} more {what}" for what, count in counts.items() if count)
        return f"and {left}" if left else None


@dataclass(frozen=True)
class Card:
    """Facts and tables about something, to be looked at.

    Attributes:
        title: what it is.
        facts: names and values; those that are `None` or empty are left out.
        grids: tables.
        notes: sentences at the end.
    """

    title: str
    facts: Mapping[str, object] = field(default_factory=dict)
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = ()

    @property
    def known(self) -> dict[str, object]:
        """The facts that have a value."""
        return {name: value for name, value in self.facts.items() if value not in (None, "", (), [])}

    def text(self) -> str:
        """The card for a terminal, in lines."""
        lines = [plain(self.title), *(f"  {plain(name)}: {plain(value, MOST)}" for name, value in self.known.items())]
        for grid in self.grids:
            lines += ["", *([plain(grid.title)] if grid.title else []), *_aligned(grid.shown)]
            lines += [grid.more] if grid.more else []
        return "\n".join([*lines, *([""] if self.notes else []), *map(plain, self.notes)])

    def html(self) -> str:
        """The card as a part of a page."""
        facts = "".join(f"<dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd>" for name, value in self.known.items())
        body = [f"<h3>{_escaped(self.title)}</h3>", f"<dl>{facts}</dl>" if facts else "", *map(_table, self.grids)]
        body += [f"<p>{_escaped(note)}</p>" for note in self.notes]
        return f'<div class="atdata"><style>{_STYLE}</style>{"".join(body)}</div>'

    def page(self) -> str:
        """The card as a page of its own, which loads nothing from anywhere."""
        return _PAGE.format(title=_escaped(self.title), body=self.html())


def _aligned(grid: Grid) -> list[str]:
    rows = [[plain(name) for name in grid.columns], *([plain(cell, MOST) for cell in row] for row in grid.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _table(whole: Grid) -> str:
    grid, more = whole.shown, f"<p>{_escaped(whole.more)}</p>" if whole.more else ""
    head = "".join(f"<th>{_escaped(name)}</th>" for name in grid.columns)
    rows = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    title = f"<h4>{_escaped(grid.title)}</h4>" if grid.title else ""
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Thumbnail):
        return _escaped(cell)
    data = base64.b64encode(cell.png).decode()
    return f'<img alt="{_escaped(cell.caption)}" src="data:image/png;base64,{data}">'


def _escaped(text: object) -> str:
    return html.escape(plain(text, MOST))
