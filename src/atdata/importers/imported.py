"""The result of every importer: a sample type built from data, and samples of it, any number of times."""

from __future__ import annotations

import itertools
import keyword
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata.arguments import path_text
from atdata.dataset import Dataset, DatasetDict, write_samples
from atdata.errors import LimitError, UsageError
from atdata.importers.declaration import declaration
from atdata.importers.files import Snapshot, passed_over, some
from atdata.importers.guesses import Columns, fit
from atdata.importers.wanted import Wanted, converter, misfit_at
from atdata.loading.splits import SPLITS, TRAIN, find_split, split_of
from atdata.numbers import checked_int
from atdata.plain import plain
from atdata.progress import counted, progress
from atdata.records.entry import SPLITS as ENTRY_SPLITS
from atdata.samples import Field, FieldType, PackableSample, fields_of
from atdata.samples.kinds import Misfit
from atdata.samples.packable import maker_of
from atdata.schema import SampleSchema, type_of
from atdata.schema.python import MAX_FIELDS
from atdata.shards import FileSource, Limits, ShardRef
from atdata.shards.transaction import State


@dataclass(frozen=True, repr=False)
class Imported:
    """Data as typed samples, in splits. Every row has been looked at once; samples are made when they are asked for.

    Attributes:
        sample_type: the type of the samples.
        read: gives a fresh pass over the samples of a split.
        splits: how many samples each split has, in the order in which they come.
        kind: what the data is, for people: `images in class folders`, `table (CSV)`.
        notes: what inference decided or left out, for people.
        layout: of shards whose samples are one file a field: the extension of each field's file.
        stored: gives the shards of a split as they are; what is larger than the limits is cut, into a folder. `None` where
            samples are in no such shards.
    """

    sample_type: type[Any]
    read: Callable[[str], Iterator[Any]]
    splits: Mapping[str, int]
    kind: str
    notes: tuple[str, ...] = ()
    layout: Mapping[str, str] | None = None
    stored: Callable[[str, Path, Limits], FileSource] | None = None

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(self.splits.values())

    @property
    def declaration(self) -> str:
        """The sample type as Python source, to paste and change, and to give as `sample_type=`."""
        return declaration(self.sample_type)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return self.samples()

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {count}" for name, count in self.splits.items())
        lines = [f"{self.kind}: {self.count} samples ({splits})", *(f"note: {note}" for note in self.notes)]
        return "\n".join([*map(plain, lines), "", self.declaration])

    def samples(self) -> Iterator[Any]:
        """A fresh pass over the samples, split after split; one at a time is held in memory.

        Raises:
            ConflictError: a file is no longer what it was.
            SampleError: a value does not fit the field that the caller declared; its row, column and file are named.
        """
        return itertools.chain.from_iterable(map(self.read, self.splits))

    def head(self, count: int = 5) -> list[Any]:
        """The first samples.

        Raises:
            ConflictError, SampleError: as `samples`.
            UsageError: the count is none.
        """
        return list(itertools.islice(self, checked_int(count, "count")))

    def split(self, name: str) -> Imported:
        """The samples of one split; `val` and `dev` stand for `validation`, as in `load_dataset`.

        Raises:
            UsageError: there is none.
        """
        found = find_split(self.splits, name)
        return replace(self, splits={found: self.splits[found]})

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        maxcount: int | None = None,
        maxsize: float | None = None,
        manifest: bool = False,
        layout: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> Dataset[Any] | DatasetDict[Any]:
        """Write the samples to shards: where there are splits, each to a set of its own in a folder with its name.

        `load_dataset` of the folder gives them back. The set of a split appears whole, and that of `train` last: who finds
        it after this was killed finds all of them. With `overwrite` others may be new by then, and `train` the old one.

        Args:
            path: `out/digits-%06d.tar`; with splits the shards are `out/train/digits-000000.tar` and so on.
            maxcount: as for `write_samples`, like the others.
            maxsize: most bytes in a shard file.
            manifest: whether to write a manifest beside each shard.
            layout: writes each field to a file of its own, as WebDataset does.
            overwrite: whether to replace the shards that are there.

        Returns:
            The dataset; where there is another split than `train`, one for each.

        Raises:
            ConflictError: a file is no longer what it was, or there are shards of this name.
            SampleError: as `samples`.
            UsageError: the path does not fit, or a split has a name by which `load_dataset` would not find it.
            LimitError, MissingExtraError, StorageError: see `write_samples`.
        """
        options: dict[str, Any] = {"maxcount": maxcount, "maxsize": maxsize, "layout": layout, "overwrite": overwrite}
        pattern = Path(path_text(path))
        strange = [name for name in self.splits if split_of((name, "")) != name]
        if len(self.splits) > 1 and strange:
            raise UsageError(
                "a split has a name that nobody would find it by",
                path=strange[0],
                expected=", ".join(SPLITS),
                hint=f"Write it by itself: .split({strange[0]!r}).write(...).",
            )
        alone = len(self.splits) == 1 and (TRAIN in self.splits or bool(strange))
        found = {
            split: write_samples(
                _Pass(self.read, split, count),
                pattern if alone else pattern.parent / split / pattern.name,
                manifest=manifest,
                **options,
            )
            for split, count in sorted(self.splits.items(), key=lambda item: item[0] == TRAIN)
        }
        return next(iter(found.values())) if alone else DatasetDict({split: found[split] for split in self.splits})

    def gather(
        self, folder: Path, *, maxcount: int | None = None, maxsize: float | None = None
    ) -> Dataset[PackableSample]:
        """Write the samples to shards, each of one split only, as an entry lists them. Shards of one file a field stay as
        they are, and where they are, unless they are too large.

        Returns:
            All of them; where there is another split than `train`, its metadata say which shards are of which.

        Raises:
            ConflictError, SampleError, LimitError, StorageError: as `write`.
        """
        shards: list[ShardRef] = []
        listed: dict[str, State] = {}
        numbers: dict[str, list[int]] = {}
        for split, count in self.splits.items():
            part: FileSource | Dataset[Any]
            if self.stored is not None:
                part = self.stored(split, folder, Limits.of(maxcount, maxsize))
                listed.update(part.listed)
            else:
                place = folder / f"{split}-%06d.tar"
                part = write_samples(_Pass(self.read, split, count), place, maxcount=maxcount, maxsize=maxsize)
            numbers[split] = list(range(len(shards), len(shards) + len(part.shards)))
            shards += part.shards
        metadata = {} if list(numbers) == [TRAIN] else {ENTRY_SPLITS: numbers}
        layout = self.layout if self.stored is not None else None
        source = FileSource(tuple(shards), listed)
        return Dataset(source, sample_type=self.sample_type, metadata=metadata, layout=layout)


@dataclass(frozen=True)
class _Pass:
    """A pass over a split, whose length is known."""

    read: Callable[[str], Iterator[Any]]
    split: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return self.read(self.split)


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
) -> Imported:
    """Samples from rows of known types. `read` gives a pass over a split, values in the order of `fields`.

    Of columns that the caller declares, the type in `fields` does not count. `locate` gives the file and the place in
    it of a row, by its split and number.

    Raises:
        UsageError: there are no rows, or no columns, or none for a field that every sample must have.
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
    wanted.check(given, uri)
    if wanted.sample_type is None:
        names = field_names(given)
        kinds = [wanted.fields[name].type if wanted.declares(name) else kind for name, kind in fields]
        schema = SampleSchema(wanted.name, tuple(map(Field, names, kinds)))
        sample_type: Any = type_of(schema)
        places = list(enumerate(names))
    else:
        sample_type, names = wanted.sample_type, given
        places = [(index, name) for index, name in enumerate(given) if wanted.declares(name)]
    types = {each.name: each.type for each in fields_of(sample_type)}
    convert = [
        (index, given[index], converter(types[name]) if wanted.declares(given[index]) else None)
        for index, name in places
    ]
    plain_rows = wanted.sample_type is None and not wanted.schema
    make = maker_of(sample_type)

    def converted(split: str) -> Iterator[Any]:
        for number, row in enumerate(read(split)):
            values = list(row)
            for index, name, make in convert:
                if make is not None:
                    try:
                        values[index] = make(values[index])
                    except Misfit as misfit:
                        place = (uri, f"row {number + 1}") if locate is None else locate(split, number)
                        raise misfit_at(misfit, *place, name) from None
            yield values

    def samples(split: str) -> Iterator[PackableSample]:
        files.check()
        if wanted.sample_type is not None:
            for row in converted(split):
                yield sample_type(**{name: row[index] for index, name in places})
            return
        for row in read(split) if plain_rows else converted(split):
            yield make(dict(zip(names, row, strict=True)))

    empty = passed_over([split for split in counts if split not in splits], "splits without rows")
    renamed = _renamed(given, names)
    if wanted.sample_type is not None:
        renamed = passed_over([name for name in given if not wanted.declares(name)], "columns that no field is for")
    return Imported(sample_type, samples, splits, kind, (*notes, *empty, *renamed))


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
