"""Rows of a table as samples: what every importer of tables ends in."""

from __future__ import annotations

import itertools
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from atdata.errors import LimitError, UsageError
from atdata.importers.files import Snapshot, passed_over, some
from atdata.importers.guesses import Columns, fit
from atdata.importers.imported import Imported
from atdata.importers.wanted import Wanted, converter, misfit_at
from atdata.progress import counted, progress
from atdata.samples import Field, FieldType, PackableSample, fields_of
from atdata.samples.kinds import Misfit
from atdata.samples.packable import is_plain, maker_of
from atdata.samples.table import TableColumn, column_kind, pack_columns
from atdata.schema import SampleSchema, type_of
from atdata.schema.python import MAX_FIELDS


class TableBlock(Protocol):
    """Some rows of a table, of which columns can be had whole."""

    def __len__(self) -> int:
        """The number of rows."""

    def column(self, index: int, kind: FieldType) -> TableColumn | None:
        """The values of a column as a kind of field; `None` if not all are, or it cannot be told but one by one."""

    def rows(self) -> Iterable[Sequence[Any]]:
        """Its rows, values in the order of the columns."""


def import_mappings(
    kind: str,
    wanted: Wanted,
    reads: Mapping[str, Callable[[], Iterator[tuple[str, Mapping[str, Any]]]]],
    *,
    uri: str,
    files: Snapshot,
    notes: Sequence[str] = (),
) -> Imported:
    """Samples from rows that hold values already. Each of `reads` gives a pass over a split, rows with where they are.

    Raises:
        SampleError: values that no field can hold, alone or together.
        UsageError: there are no rows.
    """
    columns = Columns(uri)
    counts: dict[str, int] = {}
    with progress("Reading", None, "rows") as bars:
        for split, read in reads.items():
            before = columns.rows
            for where, row in counted(read(), bars, split, None):
                columns.add_row(row, where, wanted.fields)
            counts[split] = columns.rows - before
    fields = columns.fields(wanted.fields)

    def values(split: str) -> Iterator[list[Any]]:
        for _, row in reads[split]():
            yield [fit(row.get(name), field_type) for name, field_type in fields]

    def locate(split: str, number: int) -> tuple[str, str]:
        return uri, next(itertools.islice(reads[split](), number, None))[0]

    notes = (*notes, *columns.notes(wanted.fields))
    return import_values(kind, wanted, fields, values, uri=uri, counts=counts, files=files, notes=notes, locate=locate)


def import_values(
    kind: str,
    wanted: Wanted,
    fields: Sequence[tuple[str, FieldType]],
    read: Callable[[str], Iterator[Sequence[Any]]],
    *,
    uri: str,
    counts: Mapping[str, int],
    files: Snapshot,
    notes: Sequence[str] = (),
    locate: Callable[[str, int], tuple[str, str]] | None = None,
    blocks: Callable[[str], Iterator[TableBlock]] | None = None,
) -> Imported:
    """Samples from rows of known types. `read` gives a pass over a split, values in the order of `fields`; so does
    `blocks`, many rows at once.

    Of columns that the caller declares, the type in `fields` does not count. `locate` gives the file and the place in
    it of a row, by its split and number.

    Raises:
        UsageError: there are no rows, or no columns, or none for a field that every sample must have.
        LimitError: there are more columns than a sample type may have.
    """
    splits = {split: count for split, count in counts.items() if count}
    if not splits or not fields:
        raise UsageError("there are no samples", uri=uri, actual="no rows" if fields else "no columns")
    if len(fields) > MAX_FIELDS:
        raise LimitError(
            "a table has more columns than a sample type may have fields",
            uri=uri,
            expected=f"at most {MAX_FIELDS}",
            actual=len(fields),
            hint="Put columns that belong together into one array, as .npz or Parquet lists.",
        )
    given = [name for name, _ in fields]
    wanted.check(given, uri)
    if wanted.sample_type is None:
        names = field_names(given)
        kinds = [wanted.fields[name].type if wanted.declares(name) else kind for name, kind in fields]
        schema = SampleSchema(wanted.name, tuple(map(Field, names, kinds)))
        sample_type: Any = type_of(schema)
        places = dict(zip(names, range(len(names)), strict=True))
        left_out = _renamed(given, names)
    else:
        sample_type = wanted.sample_type
        places = {name: index for index, name in enumerate(given) if wanted.declares(name)}
        left_out = passed_over([name for name in given if not wanted.declares(name)], "columns that no field is for")
    rows = _Rows(uri, sample_type, places, wanted, given, read, blocks, locate)
    empty = passed_over([split for split in counts if split not in splits], "splits without rows")

    def samples(split: str) -> Iterator[Any]:
        files.check()
        yield from rows.samples(split)

    def packed(split: str) -> Iterator[Any]:
        files.check()
        yield from rows.packed(split)

    notes = (*notes, *empty, *left_out)
    return Imported(sample_type, samples, splits, kind, notes, packed=packed if rows.packable else None)


@dataclass(frozen=True)
class _Rows:
    """Rows of a table as samples.

    Attributes:
        uri: what to call the table in errors.
        sample_type: the type of the samples.
        places: the column of each field.
        wanted: the type that the caller wants.
        given: the names of the columns.
        read: gives a pass over the rows of a split.
        blocks: gives the same, many rows at once.
        locate: gives the file and the place in it of a row.
    """

    uri: str
    sample_type: Any
    places: Mapping[str, int]
    wanted: Wanted
    given: Sequence[str]
    read: Callable[[str], Iterator[Sequence[Any]]]
    blocks: Callable[[str], Iterator[TableBlock]] | None
    locate: Callable[[str, int], tuple[str, str]] | None

    @cached_property
    def types(self) -> dict[str, FieldType]:
        """The kind of each field."""
        return {each.name: each.type for each in fields_of(self.sample_type)}

    @cached_property
    def packable(self) -> bool:
        """True if packing columns does what making samples and packing those would."""
        told = self.blocks is not None and self.types.keys() == self.places.keys() and is_plain(self.sample_type)
        return told and all(column_kind(kind) is not None for kind in self.types.values())

    def samples(self, split: str) -> Iterator[Any]:
        """A pass over a split."""
        return itertools.starmap(self._maker(split), enumerate(self.read(split)))

    def packed(self, split: str) -> Iterator[Any]:
        """The same, with those packed whose columns are had whole."""
        make, number = self._maker(split), 0
        for block in self.blocks(split) if self.blocks else ():
            columns = [column for name, kind in self.types.items() if (column := block.column(self.places[name], kind))]
            if len(columns) == len(self.types):
                yield pack_columns(list(self.types), columns, len(block))
            else:
                yield from itertools.starmap(make, enumerate(block.rows(), number))
            number += len(block)

    def _maker(self, split: str) -> Callable[[int, Sequence[Any]], Any]:
        """The function that makes a sample of a row and its number."""
        make, names = maker_of(self.sample_type), list(self.places)
        if self.wanted.sample_type is None and not self.wanted.schema:
            return lambda _, row: make(dict(zip(names, row, strict=True)))
        converters = [
            (name, index, converter(self.types[name]) if self.wanted.declares(self.given[index]) else None)
            for name, index in self.places.items()
        ]

        def converted(number: int, row: Sequence[Any]) -> Any:
            values = {}
            for name, index, convert in converters:
                try:
                    values[name] = row[index] if convert is None else convert(row[index])
                except Misfit as misfit:
                    place = (self.uri, f"row {number + 1}") if self.locate is None else self.locate(split, number)
                    raise misfit_at(misfit, *place, self.given[index]) from None
            return make(values) if self.wanted.sample_type is None else self.sample_type(**values)

        return converted


def field_names(given: Sequence[str]) -> list[str]:
    """Names that fields can have, for names that columns have; each as close to its column's as can be."""
    names: list[str] = []
    taken = set(given)  # a made name does not take another column's own
    for number, name in enumerate(given, 1):
        made = _field_name(name, number)
        wanted, again = made, 2
        while made in names or (made != name and made in taken):
            made, again = f"{wanted}_{again}", again + 1
        names.append(made)
    return names


def _field_name(name: str, number: int) -> str:
    # Python reads identifiers in the form NFKC, so other forms would be other names.
    plain = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name.strip()))
    if plain.startswith("__"):
        plain = plain.lstrip("_")
    if not plain.strip("_"):
        return f"column_{number}"
    if not plain.isidentifier():
        plain = f"_{plain}"
    if keyword.iskeyword(plain) or hasattr(PackableSample, plain):
        return f"{plain}_"
    return plain


def _renamed(given: Sequence[str], names: Sequence[str]) -> list[str]:
    changed = [f"{old!r} is {new}" for old, new in zip(given, names, strict=True) if old != new]
    return [f"renamed, for a field's name is a Python name: {some(changed)}"] if changed else []
