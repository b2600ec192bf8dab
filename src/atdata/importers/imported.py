"""The result of every importer: a sample type built from data, and samples of it, any number of times."""

from __future__ import annotations

import itertools
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset, write_samples
from atdata.errors import LimitError, UsageError
from atdata.importers.files import Snapshot, passed_over, some
from atdata.importers.infer import Columns, fit
from atdata.loading.splits import TRAIN
from atdata.records.entry import SPLITS
from atdata.samples import Field, FieldType, Maybe, PackableSample
from atdata.schema import SampleSchema, type_of
from atdata.schema.python import MAX_FIELDS
from atdata.shards import FileSource, ShardRef


@dataclass(frozen=True)
class Imported:
    """Data that can be published: its type is inferred, every row has been read once.

    Attributes:
        sample_type: the type of the samples.
        samples: gives a fresh pass over them, split after split; one at a time is held in memory. A pass raises
            `ConflictError` where a file is no longer what it was.
        splits: how many samples each split has, in the order in which they come.
        kind: what the data is, for people: `images in class folders`, `table (CSV)`.
        notes: what inference decided or left out, for people.
    """

    sample_type: type[PackableSample]
    samples: Callable[[], Iterator[PackableSample]]
    splits: Mapping[str, int]
    kind: str
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(self.splits.values())

    def write(
        self, folder: Path, *, maxcount: int | None = None, maxsize: float | None = None
    ) -> Dataset[PackableSample]:
        """Write the samples to shards, each of one split only.

        Args:
            folder: where the shards will be.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.

        Returns:
            All of them; where there is another split than `train`, its metadata say which shards are of which.

        Raises:
            ConflictError: a file is no longer what it was.
            LimitError, StorageError: see `atdata.write_samples`.
        """
        samples = self.samples()
        shards: list[ShardRef] = []
        numbers: dict[str, list[int]] = {}
        for split, count in self.splits.items():
            place = folder / f"{split}-%06d.tar"
            part = write_samples(itertools.islice(samples, count), place, maxcount=maxcount, maxsize=maxsize)
            numbers[split] = list(range(len(shards), len(shards) + len(part.shards)))
            shards += part.shards
        metadata = {} if list(numbers) == [TRAIN] else {SPLITS: numbers}
        return Dataset(FileSource(tuple(shards)), sample_type=self.sample_type, metadata=metadata)


def import_mappings(
    kind: str,
    type_name: str,
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
    for split, read in reads.items():
        before = columns.rows
        for where, row in read():
            columns.add_row(row, where)
        counts[split] = columns.rows - before
    fields = columns.fields()

    def values(split: str) -> Iterator[list[Any]]:
        for _, row in reads[split]():
            yield [fit(row.get(name), field_type) for name, field_type in fields]

    notes = (*notes, *columns.notes())
    return import_values(kind, type_name, fields, values, uri=uri, counts=counts, files=files, notes=notes)


def import_values(
    kind: str,
    type_name: str,
    fields: Sequence[tuple[str, FieldType]],
    read: Callable[[str], Iterator[Sequence[Any]]],
    *,
    uri: str,
    counts: Mapping[str, int],
    files: Snapshot,
    notes: Sequence[str] = (),
) -> Imported:
    """Samples from rows of known types. `read` gives a pass over a split, values in the order of `fields`.

    Raises:
        UsageError: there are no rows, or no columns.
        LimitError: there are more columns than a sample type may have.
    """
    splits = {split: count for split, count in counts.items() if count}
    if not splits or not fields:
        raise UsageError("there are no samples to publish", uri=uri, actual="no rows" if fields else "no columns")
    if len(fields) > MAX_FIELDS:
        raise LimitError(
            "a table has more columns than a sample type may have fields",
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
        for row in itertools.chain.from_iterable(map(read, splits)):
            # By position where it can be: hundreds of keywords take their time.
            yield sample_type(*(row[index] for index in required), **{name: row[i] for name, i in optional.items()})

    empty = passed_over([split for split in counts if split not in splits], "splits without rows")
    return Imported(sample_type, samples, splits, kind, (*notes, *empty, *_renamed(given, names)))


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
