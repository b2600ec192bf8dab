"""Rows of record batches, many at once, of which whole columns are packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata.importers.arrow_values import bare_array
from atdata.samples import FieldType, Maybe
from atdata.samples.arrow import arrow
from atdata.samples.table import BOOL, FLOAT, INT, STR, TableColumn, column_kind


@dataclass(frozen=True)
class ArrowBlock:
    """Some rows of record batches: `TableBlock`.

    Attributes:
        count: how many.
        arrays: the columns; `None` for one whose values are not Arrow's.
        values: gives their rows, one by one.
    """

    count: int
    arrays: Sequence[Any]
    values: Callable[[Sequence[Any]], Iterable[tuple[Any, ...]]]

    def __len__(self) -> int:
        return self.count

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """See `TableBlock`."""
        return self.values(self.arrays)

    def column(self, index: int, kind: FieldType) -> TableColumn | None:
        """See `TableBlock`."""
        code, array, pa = column_kind(kind), self.arrays[index], arrow()
        if array is None or code is None:
            return None
        array = bare_array(array)
        if not _is_alike(code, array.type) or (array.null_count and not isinstance(kind, Maybe)):
            return None
        missing = array.is_null().cast(pa.uint8()).to_numpy(zero_copy_only=False) if array.null_count else b""
        try:
            if code == STR:
                array.validate(full=True)
                text = array.cast(pa.large_string())
                _, offsets, content = text.buffers()
                ends = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
                return TableColumn(STR, np.frombuffer(content or b"", np.uint8), ends[:-1], ends[1:], missing)
            stored = (pa.int64(), pa.float64(), pa.uint8())[code - INT]
            values = array.cast(stored).fill_null(0).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:  # an int beyond 64 bits, or text that is none
            return None
        return TableColumn(code, np.ascontiguousarray(values), missing=missing)


def _is_alike(code: int, kind: Any) -> bool:
    """True if the values of an Arrow type are those of a column as they are."""
    is_ = arrow().types
    if code == STR:
        return bool(is_.is_string(kind) or is_.is_large_string(kind))
    return bool({INT: is_.is_integer, FLOAT: is_.is_floating, BOOL: is_.is_boolean}[code](kind))
