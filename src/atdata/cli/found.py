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
    """The values that stand in the row of a record, by `COLUMNS`, as they are: the size in bytes, `None` where it is unknown."""
    entry = record if isinstance(record, Entry) else None
    return {
        "name": record.name if isinstance(record, Record) else "",
        "kind": "dataset" if kind == Entry.NSID else kind.rpartition(".")[2],
        "by": f"@{handle}" if handle else did,
        "license": (entry and entry.license) or "",
        "size": entry.size.bytes if entry else None,
        "description": getattr(record, "description", None) or "",
        "address": str(uri),
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a row, each in one line."""
    shown = {**row, "size": "" if row["size"] is None else size(row["size"])}
    return tuple(line(str(cell)).plain for cell in shown.values())


def show_facets(facets: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Print what most of the records have."""
    for key, counts in facets.items():
        if len(counts) > 1:
            say(f"{key}: " + ", ".join(f"{value} ({count})" for value, count in counts[:_FACETS]), "dim")
