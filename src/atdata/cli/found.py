"""Records that a search found, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atdata.atproto.syntax import AtUri, Handle
from atdata.cli.output import line, say, size
from atdata.records import Entry, Malformed, Record

COLUMNS = ("name", "kind", "by", "license", "size", "description", "address")

_FACETS = 5


def described_row(record: Record | Malformed, kind: str, did: str, handle: Handle | None, uri: AtUri) -> dict[str, Any]:
    """The values that stand in the row of a record, by `COLUMNS`, as they are."""
    entry = record if isinstance(record, Entry) else None
    return {
        "name": record.name if isinstance(record, Record) else "",
        "kind": kind.rpartition(".")[2],
        "by": f"@{handle}" if handle else did,
        "license": (entry and entry.license) or "",
        "size": size(entry.size.bytes) if entry and entry.size.bytes is not None else "",
        "description": getattr(record, "description", None) or "",
        "address": str(uri),
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a row, each in one line."""
    return tuple(line(str(cell)).plain for cell in row.values())


def show_facets(facets: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Print what most of the records have."""
    for kind, counts in facets.items():
        if len(counts) > 1:
            say(f"{kind}: " + ", ".join(f"{value} ({count})" for value, count in counts[:_FACETS]), "dim")
