"""Arrow tables: the types of their columns as kinds of fields, and their rows as values.

Arrow types say most of a field's type; the rows say the rest: whether there are nulls, and ints beyond a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np

from atdata.errors import MissingExtraError, SampleError
from atdata.importers import guesses
from atdata.importers.files import Snapshot
from atdata.importers.imported import Imported, import_values
from atdata.importers.wanted import Wanted, converter, misfit_at
from atdata.progress import progress
from atdata.samples import Array, FieldType, ListOf, Maybe, Plain, Scalar, Shape
from atdata.samples.kinds import Misfit

_EXACT = 2**53  # floats hold every int up to here


def import_batches(
    what: str,
    wanted: Wanted,
    splits: Mapping[str, Callable[[], Iterator[tuple[str, Any]]]],
    *,
    uri: str,
    files: Snapshot,
    notes: Sequence[str] = (),
    kinds: Mapping[str, FieldType] | None = None,
) -> Imported:
    """The rows of record batches, split after split.

    Args:
        what: the data are, for people.
        wanted: the sample type.
        splits: for each a function that gives a fresh pass over its batches, each with where it is.
        uri: of the data, for people.
        files: that they are in.
        notes: for people.
        kinds: of columns, as the data say themselves, in place of what their Arrow types are to us.

    Raises:
        SampleError: a column is of a type that no field can be, or has no one type in all batches.
        UsageError: there are no rows.
    """
    own, seen = dict(kinds or {}), dict[str, SeenColumn]()
    counts = dict.fromkeys(splits, 0)
    with progress("Reading", None, "rows") as bars:
        for split, read in splits.items():
            bars.begin(split, None)
            for where, batch in read():
                for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
                    seen.setdefault(name, SeenColumn(name)).types.setdefault(where, kind)
                counts[split] += len(batch)
                bars.advance(len(batch))
                for name, array in zip(batch.schema.names, batch.columns, strict=True):
                    seen[name].see(array)
    count, fields, decided = sum(counts.values()), list[tuple[str, FieldType]](), list(notes)
    for name, column in seen.items():
        empty = count - column.values
        if name in own:
            fields.append((name, Maybe(own[name]) if empty else own[name]))
        elif wanted.declares(name):
            fields.append((name, Plain()))
        else:
            guess = column.guess(count, uri)
            fields.append((name, guesses.settle(guess)))
            decided += [*guesses.describe(name, guess, empty), *describe(name, column.types.values())]
    convert = {name: converter(kind) for name, kind in fields if name in own}

    def values(split: str) -> Iterator[tuple[Any, ...]]:
        for where, batch in splits[split]():
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            absent, columns = arrow().nulls(len(batch)), list[Any]()
            for name, kind in fields:
                raw = values_of(arrays.get(name, absent), Plain() if name in convert else kind)
                try:
                    columns.append([convert[name](value) for value in raw] if name in convert else raw)
                except Misfit as misfit:
                    raise misfit_at(misfit, uri, where, name) from None
            yield from zip(*columns, strict=True)

    return import_values(what, wanted, fields, values, uri=uri, counts=counts, files=files, notes=decided)


@dataclass
class SeenColumn:
    """A column in all files.

    Attributes:
        types: its Arrow type in each file that has it, by where that is.
        values: how many rows have a value.
        inner_nulls: whether lists hold nulls.
        wide: whether there are ints beyond what a float holds.
    """

    name: str
    types: dict[str, Any] = field(default_factory=dict)
    values: int = 0
    inner_nulls: bool = False
    wide: bool = False

    def see(self, array: Any) -> None:
        """Update the facts with some rows."""
        array = _bare(array)
        self.values += len(array) - array.null_count
        while _is_list(array.type):
            array = _bare(array.flatten())
            self.inner_nulls |= array.null_count > 0 and not _is_time(array.type)  # arrays of times have NaT
        if arrow().types.is_integer(array.type) and array.type.bit_width == 64:
            ends = arrow().compute.min_max(array).as_py()
            self.wide |= ends["min"] is not None and not -_EXACT <= ends["min"] <= ends["max"] <= _EXACT
        elif arrow().types.is_nested(array.type):
            _plain(array)  # may find a map with one key twice

    def guess(self, rows: int, uri: str) -> guesses.Guess:
        """The type that its values in all files have in common.

        Raises:
            SampleError: nothing, or its type in one file is none that a field can have.
        """
        column = guesses.InferredColumn()
        for path, kind in self.types.items():
            column.add(self._guess(kind, path), partial(str, path))
        if column.clash is not None:
            raise guesses.clash_error(uri, self.name, column.clash)
        return column.guess if self.values == rows else guesses.join(column.guess, guesses.NONE)

    def _guess(self, kind: Any, path: str) -> guesses.Guess:
        is_, bare = arrow().types, _bare_type(kind)
        if isinstance(kind, arrow().FixedShapeTensorType) and kind.permutation is None:
            return guesses.Guess(Array(_scalar_class(kind.value_type), Shape(*kind.shape)))
        if is_.is_integer(bare):
            return guesses.WHOLE if self.wide else guesses.INT
        if _is_time(bare):
            return guesses.Guess(Array(_scalar_class(bare), Shape()))
        if _is_list(bare):
            dims, leaf = _dims(bare)
            if dims and not self.inner_nulls:
                return guesses.Guess(Array(_scalar_class(leaf), Shape(*dims)))
            item = self._guess(bare.value_type, path)
            return guesses.Guess(guesses.Items(guesses.join(item, guesses.NONE) if self.inner_nulls else item))
        known = [(is_.is_null, guesses.Guess()), (is_.is_boolean, guesses.BOOL), (is_.is_floating, guesses.FLOAT)]
        known += [
            (_is_bytes, guesses.BYTES),
            (_is_text, guesses.STR),
            (is_.is_struct, guesses.DICT),
            (is_.is_map, guesses.DICT),
        ]
        for test, guess in known:
            if test(bare):
                return guess
        raise SampleError("a column's type is not supported", uri=path, path=self.name, actual=kind)


# What Arrow types are to us. A dictionary is its values, an extension its storage, an image as Hugging Face writes
# it, {bytes, path}, its bytes.


def _bare_type(kind: Any) -> Any:
    pa = arrow()
    if isinstance(kind, pa.BaseExtensionType):
        return _bare_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _bare_type(kind.value_type)
    return kind.field("bytes").type if _is_image(kind) else kind


def _bare(array: Any) -> Any:
    pa = arrow()
    if isinstance(array.type, pa.BaseExtensionType):
        return _bare(array.storage)
    if pa.types.is_dictionary(array.type):
        return _bare(array.dictionary_decode())
    return array.flatten()[array.type.get_field_index("bytes")] if _is_image(array.type) else array


def _is_image(kind: Any) -> bool:
    if not arrow().types.is_struct(kind) or {part.name for part in kind} != {"bytes", "path"}:
        return False
    return _is_bytes(kind.field("bytes").type) and _is_text(kind.field("path").type)


def _is_bytes(kind: Any) -> bool:
    is_ = arrow().types
    return bool(
        is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind) or is_.is_binary_view(kind)
    )


def _is_text(kind: Any) -> bool:
    is_ = arrow().types
    text = is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind)
    return bool(text or is_.is_decimal(kind) or is_.is_time(kind))


def _is_time(kind: Any) -> bool:
    is_ = arrow().types
    return bool(is_.is_timestamp(kind) or is_.is_date(kind) or is_.is_duration(kind))


def _is_list(kind: Any) -> bool:
    is_ = arrow().types
    return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind))


def _scalar_class(kind: Any) -> type[np.generic] | None:
    """The numpy class of numbers and times."""
    is_ = arrow().types
    if _is_time(kind):
        return np.timedelta64 if is_.is_duration(kind) else np.datetime64
    if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind):
        scalar: type[np.generic] = np.dtype(kind.to_pandas_dtype()).type
        return scalar
    return None


def _dims(kind: Any) -> tuple[list[int | None], Any]:
    """The dimensions of lists of numbers, and what the numbers are: lists of one size in each other are one array.

    No dimensions where the lists do not hold numbers, or hold lists of several sizes.
    """
    dims = [kind.list_size if arrow().types.is_fixed_size_list(kind) else None]
    leaf = kind.value_type
    while arrow().types.is_fixed_size_list(leaf):
        dims.append(leaf.list_size)
        leaf = leaf.value_type
    return ([] if _scalar_class(leaf) is None else dims), leaf


# Values, a batch at a time. Each function gives one Python value for each row, None for null.


def values_of(array: Any, wanted: FieldType) -> list[Any]:
    """One Python value for each row, `None` for null."""
    if arrow().types.is_null(array.type):
        return [None] * len(array)
    match wanted:
        case Maybe(inner):
            return values_of(array, inner)
        case Array():
            return _times(array) if _is_time(_bare_type(array.type)) else _arrays(array)
        case ListOf(item) if not isinstance(item, Plain):
            array = _bare(array)
            return _cut(array, values_of(array.flatten(), item))
        case Scalar("float"):
            return [None if value is None else float(value) for value in _plain(array)]
    return _plain(array)


def _times(array: Any) -> list[Any]:
    array = _bare(array)
    moments = array.to_numpy(zero_copy_only=False)
    return [moments[index, ...].copy() if valid else None for index, valid in enumerate(array.is_valid().to_pylist())]


def _arrays(array: Any) -> list[Any]:
    """Lists of numbers as arrays."""
    shape = array.type.shape if isinstance(array.type, arrow().FixedShapeTensorType) else None
    array = _bare(array)
    dims, _ = _dims(array.type)
    numbers = array.flatten()
    for _ in dims[1:]:
        numbers = numbers.flatten()
    items = numbers.to_numpy(zero_copy_only=False).reshape(-1, *dims[1:])
    rows = [None if row is None else row.copy() for row in _cut(array, items)]
    return rows if shape is None else [None if row is None else row.reshape(shape) for row in rows]


def _cut(array: Any, items: Any) -> list[Any]:
    """The items of all lists, flattened, as one piece for each list."""
    pieces, start = [], 0
    for length in arrow().compute.list_value_length(array).to_pylist():
        pieces.append(None if length is None else items[start : start + length])
        start += length or 0
    return pieces


def _plain(array: Any) -> list[Any]:
    """Values as msgpack has them: times and decimals as text."""
    is_, array = arrow().types, _bare(array)
    if is_.is_struct(array.type):
        names = [part.name for part in array.type]
        rows = zip(*(_plain(part) for part in array.flatten()), strict=True)
        return [
            dict(zip(names, row, strict=True)) if valid else None
            for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)
        ]
    if _is_list(array.type):
        return _cut(array, _plain(array.flatten()))
    if is_.is_map(array.type):
        return _maps(array)
    if _is_time(array.type):
        zone = "Z" if is_.is_timestamp(array.type) and array.type.tz else ""
        return [None if moment is None else f"{moment}{zone}" for moment in _times(array)]
    if is_.is_time(array.type):
        return list(array.cast(arrow().string()).to_pylist())
    if is_.is_decimal(array.type):
        return [None if number is None else f"{number:f}" for number in array.to_pylist()]
    return list(array.to_pylist())


def _maps(array: Any) -> list[Any]:
    """Maps as dicts; a key that is no text becomes its text."""
    keys, items = _plain(array.keys), _plain(array.items)
    ends = array.offsets.to_pylist()
    maps: list[Any] = []
    for start, end, valid in zip(ends, ends[1:], array.is_valid().to_pylist(), strict=False):
        entries = {str(key): item for key, item in zip(keys[start:end], items[start:end], strict=True)}
        if len(entries) < end - start:
            raise SampleError("a map has a key twice", actual=str(keys[start:end])[:80])
        maps.append(entries if valid else None)
    return maps


def describe(name: str, kinds: Iterable[Any]) -> list[str]:
    """Notes about a column whose values are converted."""
    is_, notes = arrow().types, dict[str, None]()
    for kind in kinds:
        if is_.is_decimal(kind):
            notes[f"{name}: {kind} as text, digit for digit"] = None
        if is_.is_timestamp(kind) and kind.tz:
            notes[f"{name}: moments in UTC; that they were shown in {kind.tz} is left out"] = None
        if _is_image(kind):
            notes[f"{name}: the bytes of files; their paths are left out"] = None
    return list(notes)


@lru_cache(maxsize=1)
def arrow() -> Any:
    """pyarrow, with its parts.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise MissingExtraError.of("tables", "reading Arrow and Parquet") from error
    return pyarrow
