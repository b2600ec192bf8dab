"""Columns of a table as packed samples: with the loop in C, where this machine could compile it.

Packing samples one by one says what is right; this does the same for kinds of fields that are stored as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.native import native
from atdata.samples.codec import pack
from atdata.samples.kinds.containers import Maybe
from atdata.samples.kinds.kind import FieldType
from atdata.samples.kinds.scalars import Scalar

Ints: TypeAlias = NDArray[np.int64]
Buffer: TypeAlias = bytes | NDArray[Any]

STR, INT, FLOAT, BOOL = range(4)
_CODES = {"str": STR, "int": INT, "float": FLOAT, "bool": BOOL}


class TableColumn(NamedTuple):
    """A column of values.

    Attributes:
        kind: STR, INT, FLOAT or BOOL.
        values: int64, float64 or a byte for each; of text, the UTF-8 of all.
        starts: where each text begins in `values`, int64.
        ends: where it ends.
        missing: a byte for each, 1 for `None`; empty where there is none.
    """

    kind: int
    values: Buffer
    starts: Buffer = b""
    ends: Buffer = b""
    missing: Buffer = b""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """PackedRows samples, one after the other.

    Attributes:
        data: the bytes of all.
        ends: where each ends, int64.
    """

    data: bytes
    ends: Ints

    def __len__(self) -> int:
        return len(self.ends)


def column_kind(kind: FieldType) -> int | None:
    """The kind of the column for a field; `None` if it is not stored as it is, or no loop is compiled."""
    inner = kind.inner if isinstance(kind, Maybe) else kind
    return _CODES.get(inner.kind) if isinstance(inner, Scalar) and native is not None else None


def pack_columns(names: Sequence[str], columns: Sequence[TableColumn], rows: int) -> PackedRows:
    """Rows of columns as packed samples whose fields are in this order (formats.md 1).

    Raises:
        ValueError: a column has fewer values than rows, or there are more columns than a sample type may have fields.
    """
    assert native is not None, "column_kind has told so"
    ends = np.empty(rows, np.int64)
    packed = [(kind, pack({name: None})[1:-1], *rest) for name, (kind, *rest) in zip(names, columns, strict=True)]
    return PackedRows(native.pack_columns(rows, tuple(packed), ends), ends)
