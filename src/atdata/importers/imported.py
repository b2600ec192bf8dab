"""What every importer gives: a sample type built from data, and samples of it, any number of times."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atdata.errors import LimitError, UsageError
from atdata.importers.files import Snapshot, some
from atdata.importers.infer import Columns, fit
from atdata.samples import Field, FieldType, Maybe, PackableSample
from atdata.schema import SampleSchema, type_of
from atdata.schema.python import MAX_FIELDS


@dataclass(frozen=True)
class Imported:
    """Data that can be published: its type is inferred, every row has been read once.

    Attributes:
        sample_type: the type of the samples.
        samples: gives a fresh pass over them; one at a time is held in memory. A pass raises `ConflictError`
            where a file is no longer what it was.
        count: how many there are.
        kind: what the data is, for people: `images in class folders`, `table (CSV)`.
        notes: what inference decided or left out, for people.
    """

    sample_type: type[PackableSample]
    samples: Callable[[], Iterator[PackableSample]]
    count: int
    kind: str
    notes: tuple[str, ...] = ()


def import_mappings(
    kind: str,
    type_name: str,
    read: Callable[[], Iterator[tuple[str, Mapping[str, Any]]]],
    *,
    uri: str,
    files: Snapshot,
    notes: Sequence[str] = (),
) -> Imported:
    """Samples from rows that hold values already. `read` gives a pass over them, each with where it is.

    Raises:
        SampleError: values that no field can hold, alone or together.
        UsageError: there are no rows.
    """
    columns = Columns(uri)
    for where, row in read():
        columns.add_row(row, where)
    fields = columns.fields()

    def values() -> Iterator[list[Any]]:
        for _, row in read():
            yield [fit(row.get(name), field_type) for name, field_type in fields]

    notes = (*notes, *columns.notes())
    return import_values(kind, type_name, fields, values, uri=uri, count=columns.rows, files=files, notes=notes)


def import_values(
    kind: str,
    type_name: str,
    fields: Sequence[tuple[str, FieldType]],
    read: Callable[[], Iterator[Sequence[Any]]],
    *,
    uri: str,
    count: int,
    files: Snapshot,
    notes: Sequence[str] = (),
) -> Imported:
    """Samples from rows of known types. `read` gives a pass over them, values in the order of `fields`.

    Raises:
        UsageError: there are no rows, or no columns.
        LimitError: there are more columns than a sample type may have.
    """
    if not count or not fields:
        raise UsageError("there is nothing to publish here", uri=uri, actual="no rows" if fields else "no columns")
    if len(fields) > MAX_FIELDS:
        raise LimitError(
            "more columns than a sample type may have fields",
            uri=uri,
            expected=f"at most {MAX_FIELDS}",
            actual=len(fields),
            hint="Put columns that belong together into one array, as .npz or Parquet lists.",
        )
    given = [name for name, _ in fields]
    names = field_names(given)
    schema = SampleSchema(type_name, tuple(Field(name, kind) for name, (_, kind) in zip(names, fields, strict=True)))
    sample_type: Any = type_of(schema)
    optional = {field.name: index for index, field in enumerate(schema.fields) if isinstance(field.type, Maybe)}
    required = [index for index, name in enumerate(names) if name not in optional]

    def samples() -> Iterator[PackableSample]:
        files.check()
        for row in read():  # by position where it can be: hundreds of keywords take their time
            yield sample_type(*(row[index] for index in required), **{name: row[i] for name, i in optional.items()})

    return Imported(sample_type, samples, count, kind, (*notes, *_renamed(given, names)))


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
