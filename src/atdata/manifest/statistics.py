"""Checking of the statistics in a Parquet file against its values: whoever prunes with them must miss nothing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from atdata.manifest.pages import Struct, damaged

_MIN, _MAX = (2, 6), (1, 5)  # in older files, and today
_NUMBERS = {"int64": "<q", "double": "<d", "bool": "<?"}


def check_statistics(arrow: Any, table: Any, columns: Sequence[int], groups: Sequence[Struct], uri: str) -> None:
    """Prove that each value is within the bounds of its column in its row group. What is not said says nothing.

    Args:
        arrow: the library.
        table: the values.
        columns: of each column of the table, the number that it has in the file.
        groups: the row groups of the footer.
        uri: what to call it in errors.

    Raises:
        ShardError: a value is out of bounds, or a bound is none.
    """
    start = 0
    for group in groups:
        chunks, rows = group.structs(1), group.number(3)
        for place, number in enumerate(columns):
            said = chunks[number].struct(3).fields.get(12)
            if isinstance(said, dict):
                _check(arrow, table.column(place).slice(start, rows), said, uri)
        start += rows


def _check(arrow: Any, values: Any, said: dict[int, Any], uri: str) -> None:
    if arrow.types.is_list(values.type):  # nulls are counted otherwise there
        values = arrow.compute.list_flatten(values)
    elif said.get(3) not in (None, values.null_count):
        raise damaged(uri, f"statistics that count {said[3]} nulls", f"{values.null_count}")
    if arrow.types.is_string(values.type):
        values = values.cast(arrow.binary())
    found = arrow.compute.min_max(values).as_py()
    bounds = [_bound(values.type, said[which], uri) for which in _MIN if which in said]
    if any(not bound <= found["min"] for bound in bounds if found["min"] is not None and found["min"] == found["min"]):
        raise damaged(uri, "statistics with a minimum above a value")
    bounds = [_bound(values.type, said[which], uri) for which in _MAX if which in said]
    if any(not bound >= found["max"] for bound in bounds if found["max"] is not None and found["max"] == found["max"]):
        raise damaged(uri, "statistics with a maximum below a value")


def _bound(kind: Any, raw: Any, uri: str) -> Any:
    """A bound of a column's type."""
    form = _NUMBERS.get(str(kind))
    if not isinstance(raw, bytes) or (form is not None and len(raw) != struct.calcsize(form)):
        raise damaged(uri, "statistics of another type")
    return raw if form is None else struct.unpack(form, raw)[0]
