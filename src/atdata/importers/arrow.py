"""Arrow tables: the types of their columns as kinds of fields, and their rows as values.

Arrow types say most of a field's type; the rows say the rest: whether there are nulls, and ints beyond a float.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atdata.errors import SampleError
from atdata.importers import guesses
from atdata.importers.arrow_blocks import ArrowBlock
from atdata.importers.arrow_values import (
    bare_array,
    bare_type,
    cells_of,
    dims_of,
    is_bytes,
    is_image,
    is_list,
    is_text,
    is_time,
    plain_values,
    scalar_class,
    tensor_shape,
    values_of,
)
from atdata.importers.files import Snapshot
from atdata.importers.imported import Imported
from atdata.importers.rows import import_values
from atdata.importers.wanted import Wanted, converter, misfit_at
from atdata.progress import progress
from atdata.samples import Array, FieldType, Maybe, Plain, Shape
from atdata.samples.arrow import arrow
from atdata.samples.kinds import Misfit

_EXACT = 2**53  # floats hold every int up to here
_AT_ONCE = 1 << 13  # rows that are packed together


def import_batches(
    what: str,
    wanted: Wanted,
    splits: Mapping[str, Callable[[], Iterator[tuple[str, Any]]]],
    *,
    uri: str,
    files: Snapshot,
    notes: Sequence[str] = (),
    kinds: Mapping[str, FieldType] | None = None,
    held: Mapping[str, Sequence[Any]] | None = None,
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
        held: the values of some columns, of all rows, in place of those in the batches.

    Raises:
        SampleError: a column is of a type that no field can be, or has no one type in all batches.
        UsageError: there are no rows.
    """
    own, seen, objects = dict(kinds or {}), dict[str, SeenColumn](), dict(held or {})
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
        empty = sum(value is None for value in objects[name]) if name in objects else count - column.values
        if wanted.declares(name):
            fields.append((name, Plain()))
        elif name in own:
            fields.append((name, Maybe(own[name]) if empty else own[name]))
        else:
            guess = column.guess(count, uri)
            fields.append((name, guesses.settle(guess)))
            decided += [*guesses.describe(name, guess, empty), *describe(name, column.types.values())]
    convert = {name: converter(kind) for name, kind in fields if name in own and not wanted.declares(name)}

    def values(where: str, rows: slice, arrays: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        columns = list[Any]()
        for (name, kind), array in zip(fields, arrays, strict=True):
            if name in objects:
                raw = objects[name][rows]
            elif wanted.declares(name):
                raw = cells_of(array, wanted.fields[name].type)
            else:
                raw = values_of(array, Plain() if name in convert else kind)
            try:
                columns.append([convert[name](value) for value in raw] if name in convert else raw)
            except Misfit as misfit:
                raise misfit_at(misfit, uri, where, name) from None
        return zip(*columns, strict=True)

    def blocks(split: str) -> Iterator[ArrowBlock]:
        first = 0
        for where, batch in splits[split]():
            for part in (batch.slice(start, _AT_ONCE) for start in range(0, len(batch), _AT_ONCE)):
                found = dict(zip(part.schema.names, part.columns, strict=True))
                absent = arrow().nulls(len(part))
                arrays = [None if name in objects else found.get(name, absent) for name, _ in fields]
                rows = slice(first, first + len(part))
                yield ArrowBlock(len(part), arrays, partial(values, where, rows))
                first = rows.stop

    def read_rows(split: str) -> Iterator[tuple[Any, ...]]:
        return itertools.chain.from_iterable(block.rows() for block in blocks(split))

    options: dict[str, Any] = {"uri": uri, "counts": counts, "files": files, "notes": decided}
    return import_values(what, wanted, fields, read_rows, blocks=blocks, **options)


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
        array = bare_array(array)
        self.values += len(array) - array.null_count
        while is_list(array.type):
            array = bare_array(array.flatten())
            self.inner_nulls |= array.null_count > 0 and not is_time(array.type)  # arrays of times have NaT
        if arrow().types.is_integer(array.type) and array.type.bit_width == 64:
            ends = arrow().compute.min_max(array).as_py()
            self.wide |= ends["min"] is not None and not -_EXACT <= ends["min"] <= ends["max"] <= _EXACT
        elif arrow().types.is_nested(array.type):
            plain_values(array)  # may find a map with one key twice

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
        is_, bare = arrow().types, bare_type(kind)
        if (shape := tensor_shape(kind)) is not None:
            return guesses.Guess(Array(scalar_class(kind.value_type), Shape(*shape)))
        if is_.is_integer(bare):
            return guesses.WHOLE if self.wide else guesses.INT
        if is_time(bare):
            return guesses.Guess(Array(scalar_class(bare), Shape()))
        if is_list(bare):
            dims, leaf = dims_of(bare)
            if dims and not self.inner_nulls:
                return guesses.Guess(Array(scalar_class(leaf), Shape(*dims)))
            item = self._guess(bare.value_type, path)
            return guesses.Guess(guesses.Items(guesses.join(item, guesses.NONE) if self.inner_nulls else item))
        known = [(is_.is_null, guesses.Guess()), (is_.is_boolean, guesses.BOOL), (is_.is_floating, guesses.FLOAT)]
        known += [
            (is_bytes, guesses.BYTES),
            (is_text, guesses.STR),
            (is_.is_struct, guesses.DICT),
            (is_.is_map, guesses.DICT),
        ]
        for test, guess in known:
            if test(bare):
                return guess
        raise SampleError("a column's type is not supported", uri=path, path=self.name, actual=kind)


def describe(name: str, kinds: Iterable[Any]) -> list[str]:
    """Notes about a column whose values are converted."""
    is_, notes = arrow().types, dict[str, None]()
    for kind in kinds:
        if is_.is_decimal(kind):
            notes[f"{name}: {kind} as text, digit for digit"] = None
        if is_.is_timestamp(kind) and kind.tz:
            notes[f"{name}: moments in UTC; that they were shown in {kind.tz} is left out"] = None
        if is_image(kind):
            notes[f"{name}: the bytes of files; their paths are left out"] = None
    return list(notes)
