"""The rows of a manifest as Parquet: where each sample is, and its indexed values. Written and read with `pyarrow`.

Only a part of Parquet is written, and no more is read: no dictionaries, every page with its checksum, and as many bytes
of all pages, once they are no longer compressed, as a file may have. So what reading one takes is bounded. Row groups
are small and have statistics, so that whoever looks for some values reads only the groups that may have them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import LimitError, MissingExtraError, ShardError
from atdata.manifest.aggregates import Aggregate
from atdata.manifest.field import DIGEST, KEY, OFFSET, SIZE
from atdata.manifest.pages import MAX_FILE, MAX_FOOTER, check_pages, damaged
from atdata.manifest.statistics import check_statistics

GROUP = 4096
"""Rows of a row group; more where a footer would be longer than readers take."""


class RowsColumn:
    """One column being filled.

    Args:
        kind: `int`, `float`, `bool` or `str`; in brackets, as in `[str]`, for lists of them.
    """

    def __init__(self, kind: str) -> None:
        arrow, item = _arrow(), _item_types()
        self.kind = kind
        self._type = arrow.list_(item[kind[1:-1]]) if kind.startswith("[") else item[kind]
        self._chunks: list[Any] = []
        self.fits = True

    def add(self, values: Sequence[Any]) -> None:
        """Add values; `None` is null. From a value on that needs another type the column no longer `fits`."""
        arrow = _arrow()
        try:
            self._chunks.append(arrow.array(values, self._type))
        except (OverflowError, arrow.ArrowInvalid):  # an int of 64 bits without sign
            self.fits = False
            self._chunks.clear()

    def _whole(self) -> Any:
        return _arrow().chunked_array(self._chunks, self._type)


def encode_rows(
    keys: RowsColumn,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    digests: bytes,
    fields: Mapping[str, RowsColumn],
) -> bytes:
    """The Parquet file of some rows; equal rows give equal bytes with one version of pyarrow.

    Raises:
        LimitError: they are more than a manifest may hold.
    """
    arrow = _arrow()
    raw = arrow.FixedSizeBinaryArray.from_buffers(arrow.binary(32), len(offsets), [None, arrow.py_buffer(digests)])
    columns = [keys._whole(), arrow.array(offsets), arrow.array(sizes), raw]
    columns += [column._whole() for column in fields.values()]
    schema = arrow.schema(
        [arrow.field(name, column.type, nullable=False) for name, column in zip(_FIXED, columns, strict=False)]
        + [arrow.field(name, column._type) for name, column in fields.items()]
    )
    table, group = arrow.Table.from_arrays(columns, schema=schema), GROUP
    while int.from_bytes((written := _written(table, group))[-8:-4], "little") > MAX_FOOTER:
        if group > len(offsets):
            raise _too_large(f"a footer of {MAX_FOOTER} bytes", "a longer one")
        group *= 2
    return written


def _written(table: Any, group: int) -> bytes:
    """A table as a file with so many rows in a row group."""
    sink, found = io.BytesIO(), list[Any]()
    _arrow().parquet.write_table(
        table,
        sink,
        row_group_size=group,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={OFFSET: "DELTA_BINARY_PACKED", SIZE: "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
        write_statistics=True,
        store_schema=False,
        data_page_version="1.0",
        version="2.6",
        metadata_collector=found,
    )
    groups = (found[0].row_group(number) for number in range(found[0].num_row_groups))
    plain = sum(one.total_byte_size for one in groups)
    if plain > MAX_FILE or sink.tell() > MAX_FILE:
        raise _too_large(f"{MAX_FILE} bytes", f"{max(plain, sink.tell())} bytes")
    return sink.getvalue()


def _too_large(expected: str, actual: str) -> LimitError:
    return LimitError(
        "a manifest is too large for an entry",
        expected=expected,
        actual=actual,
        hint="Write fewer samples to a shard (maxcount), or exclude fields with ManifestField('exclude').",
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a manifest: a Parquet file with one for each sample.

    Attributes:
        keys: what the samples are called.
        offsets: where their first bytes are, int64 `[n]`.
        sizes: how many bytes they have, int64 `[n]`.
        digests: the sha-256 of those bytes, uint8 `[n, 32]`.
        fields: the names of the indexed fields that have a column.
    """

    keys: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    digests: NDArray[np.uint8]
    fields: tuple[str, ...]
    _table: Any

    def contradict(self, name: str, said: Aggregate) -> bool:
        """True if the values of an indexed field are not those of its aggregates. What these leave out says nothing."""
        arrow, column = _arrow(), self._table.column(len(_FIXED) + self.fields.index(name))
        item = _item_types().get(said.type)
        if item is None or column.type != (arrow.list_(item) if said.kind == "set" else item):
            return True
        present = column.drop_null()
        if (said.count, said.nulls) != (len(present), column.null_count):
            return True
        if said.kind == "set":
            items = arrow.compute.unique(arrow.compute.list_flatten(present)) if said.items is not None else ()
            return said.items is not None and set(said.items) != set(map(_python, items))
        if said.kind == "categorical":
            found = arrow.compute.value_counts(present) if said.counts is not None else ()
            counts = {_python(value["values"]): _python(value["counts"]) for value in found}
            return said.counts is not None and dict(said.counts) != counts
        numbers = present.to_numpy()
        nans = np.isnan(numbers) if said.type == "float" else np.zeros(len(numbers), bool)
        numbers = numbers[~nans]
        facts = {"nans": nans.sum(), **({"min": numbers.min(), "max": numbers.max()} if len(numbers) else {})}
        if any(getattr(said, fact) not in (None, facts.get(fact)) for fact in ("nans", "min", "max")):
            return True
        if said.mean is None or not len(numbers):
            return said.mean is not None
        with np.errstate(all="ignore"):
            mean, most = float(numbers.mean()), float(np.abs(numbers.astype(np.float64)).max())
        return math.isfinite(mean) and not math.isclose(said.mean, mean, rel_tol=1e-6, abs_tol=1e-9 * most)

    def column(self, name: str) -> Any:
        """The values of an indexed field: an array where all are there and are numbers, else a list with `None`."""
        column = self._table.column(len(_FIXED) + self.fields.index(name)).combine_chunks()
        is_ = _arrow().types
        number = is_.is_integer(column.type) or is_.is_floating(column.type) or is_.is_boolean(column.type)
        return column.to_numpy(zero_copy_only=False) if number and not column.null_count else column.to_pylist()


def decode_rows(raw: bytes, uri: str) -> Rows:
    """The rows in a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ShardError: the file is damaged, or is not of the form that is written here.
    """
    with _refusing(uri):
        table = _read(raw, uri)
    names = tuple(table.schema.names[len(_FIXED) :])
    offsets, sizes = (table.column(index).combine_chunks().to_numpy() for index in (1, 2))
    return Rows(table.column(0).to_pylist(), offsets, sizes, _digests(table.column(3)), names, table)


@dataclass(frozen=True, eq=False)
class SampleDigests:
    """The keys and digests of the samples of a shard.

    Attributes:
        keys: what the samples are called, as Arrow has them.
        digests: the sha-256 of each, uint8 `[n, 32]`.
    """

    keys: Any
    digests: NDArray[np.uint8]

    @classmethod
    def of(cls, keys: Sequence[str], digests: bytes) -> SampleDigests:
        """The same out of other hands.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        arrow = _arrow()
        return cls(
            arrow.chunked_array([arrow.array(keys, arrow.string())]), np.frombuffer(digests, np.uint8).reshape(-1, 32)
        )

    @classmethod
    def decode(cls, raw: bytes, uri: str) -> SampleDigests:
        """The keys and digests in a Parquet file, of which nothing else is decoded. Raises what `decode_rows` does."""
        with _refusing(uri):
            table = _read(raw, uri, (KEY, DIGEST))
        return cls(table.column(0), _digests(table.column(1)))


def numbered(parts: Sequence[SampleDigests]) -> tuple[NDArray[np.int32], Any]:
    """The number of each sample's key among the keys that differ, and these, as Arrow has them."""
    encoded = _arrow().concat_arrays([chunk for part in parts for chunk in part.keys.chunks]).dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary


def _digests(column: Any) -> NDArray[np.uint8]:
    """A column of digests as an array."""
    chunks = [
        np.frombuffer(chunk.buffers()[1] or b"", np.uint8)[chunk.offset * 32 :][: len(chunk) * 32].reshape(-1, 32)
        for chunk in column.chunks
    ]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [_NONE])


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Says of whatever pyarrow finds wrong that the rows are damaged."""
    arrow = _arrow()
    try:
        yield
    except (arrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, ShardError):
            raise
        raise damaged(uri, f"{type(error).__name__}: {error}") from error


def _read(raw: bytes, uri: str, columns: Sequence[str] | None = None) -> Any:
    """The table in a file, or only the columns that are there in any."""
    if len(raw) > MAX_FILE:
        raise damaged(uri, f"{len(raw)} bytes", f"at most {MAX_FILE} bytes")
    arrow = _arrow()
    groups = check_pages(raw, uri, None if columns is None else [_FIXED.index(name) for name in columns])
    with arrow.parquet.ParquetFile(
        arrow.BufferReader(raw),
        page_checksum_verification=True,
        thrift_string_size_limit=1 << 20,
        thrift_container_size_limit=1 << 16,
    ) as file:
        schema = file.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            raise damaged(uri, "two columns of one name")
        for index, (name, kind) in enumerate(_fixed().items()):
            if index >= len(schema) or schema.field(index) != arrow.field(name, kind, nullable=False):
                raise damaged(uri, str(schema.names[:4])[:200], f"column {index}: {name} {kind} not null")
        for field in list(schema)[len(_FIXED) :]:
            if not _known(field.type):
                raise damaged(uri, f"{field.name}: {field.type}"[:200])
        names = schema.names if columns is None else columns
        table = file.read(columns=columns, use_threads=False)
    table.validate(full=True)
    check_statistics(arrow, table, [schema.names.index(name) for name in names], groups, uri)
    return table


_NONE = np.empty((0, 32), np.uint8)
_FIXED = (KEY, OFFSET, SIZE, DIGEST)


def _python(scalar: Any) -> Any:
    return scalar.as_py()


def _item_types() -> dict[str, Any]:
    arrow = _arrow()
    return {"int": arrow.int64(), "float": arrow.float64(), "bool": arrow.bool_(), "str": arrow.string()}


def _fixed() -> dict[str, Any]:
    arrow = _arrow()
    kinds = (arrow.string(), arrow.int64(), arrow.int64(), arrow.binary(32))
    return dict(zip(_FIXED, kinds, strict=True))


def _known(kind: Any) -> bool:
    arrow = _arrow()
    if arrow.types.is_list(kind):
        return bool(kind.value_type == arrow.string() or kind.value_type == arrow.int64())
    return any(kind == known for known in (arrow.int64(), arrow.float64(), arrow.bool_(), arrow.string()))


def require_parquet() -> None:
    """Do nothing where pyarrow is installed.

    Raises:
        MissingExtraError: it is not.
    """
    _arrow()


@lru_cache(maxsize=1)
def _arrow() -> Any:
    try:
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise MissingExtraError.of("tables", "a manifest (its rows are Parquet)") from error
    return pyarrow
