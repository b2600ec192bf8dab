"""JSON lines: an object a line, whose members are columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from atdata.errors import LimitError, SampleError
from atdata.importers.files import Snapshot, reading
from atdata.importers.imported import Imported
from atdata.importers.rows import import_mappings
from atdata.importers.wanted import Wanted
from atdata.samples.unambiguous import pairs_in, read_json_text

SUFFIXES = (".jsonl", ".ndjson")
_LONGEST = 1 << 26  # bytes of a line
_DECODER = msgspec.json.Decoder()


def open_files(splits: Mapping[str, Sequence[Path]], wanted: Wanted, uri: str, notes: Sequence[str] = ()) -> Imported:
    """The objects in files, split after split. Empty lines are none; an object need not have every member.

    Raises:
        SampleError: a line is no JSON object, or the values of a member have no one type.
        UsageError: there are no objects.
        LimitError: a line is longer than 64 MiB.
    """
    files = Snapshot.of(path for paths in splits.values() for path in paths)
    several = sum(map(len, splits.values())) > 1
    reads = {split: partial(_rows, paths, several) for split, paths in splits.items()}
    return import_mappings("JSON lines", wanted, reads, uri=uri, files=files, notes=notes)


def _rows(paths: Sequence[Path], several: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        prefix = f"{path.name} " if several else ""
        with reading(path), path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST + 1):
                number += 1
                if len(line) > _LONGEST:
                    raise LimitError("a line is too long", uri=str(path), path=f"line {number}", expected="64 MiB")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.isspace() and line:
                    yield f"{prefix}line {number}", _object(line, path, number)


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = _DECODER.decode(line)
        if line.count(b":") != pairs_in(value):  # a text may have some, or a key stands twice
            read_json_text(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        try:
            value = read_json_text(line)  # which takes NaN, as many writers say it
        except (ValueError, RecursionError) as error:
            raise SampleError(
                "a line is not JSON", uri=str(path), path=f"line {number}", actual=str(error)[:200]
            ) from None
    if not isinstance(value, dict):
        raise SampleError(
            "a line is no JSON object",
            uri=str(path),
            path=f"line {number}",
            expected='{"name": value, ...}',
            actual=type(value).__name__,
        )
    return value
