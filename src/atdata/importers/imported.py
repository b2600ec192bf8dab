"""The result of every importer: a sample type built from data, and samples of it, any number of times."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata.arguments import path_text
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.writing import write_items
from atdata.errors import UsageError
from atdata.importers.declaration import declaration
from atdata.loading.splits import SPLITS, TRAIN, find_split, split_of
from atdata.numbers import checked_int
from atdata.plain import plain
from atdata.records.entry import SPLITS as ENTRY_SPLITS
from atdata.samples import PackableSample
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
        packed: gives the same pass with many samples packed at once, where those are no sooner made than packed.
    """

    sample_type: type[Any]
    read: Callable[[str], Iterator[Any]]
    splits: Mapping[str, int]
    kind: str
    notes: tuple[str, ...] = ()
    layout: Mapping[str, str] | None = None
    stored: Callable[[str, Path, Limits], FileSource] | None = None
    packed: Callable[[str], Iterator[Any]] | None = None

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
        options["manifest"] = manifest
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
            split: self._write(split, pattern if alone else pattern.parent / split / pattern.name, **options)
            for split in sorted(self.splits, key=TRAIN.__eq__)
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
        for split in self.splits:
            part: FileSource | Dataset[Any]
            if self.stored is not None:
                part = self.stored(split, folder, Limits.of(maxcount, maxsize))
                listed.update(part.listed)
            else:
                part = self._write(split, folder / f"{split}-%06d.tar", maxcount=maxcount, maxsize=maxsize)
            numbers[split] = list(range(len(shards), len(shards) + len(part.shards)))
            shards += part.shards
        metadata = {} if list(numbers) == [TRAIN] else {ENTRY_SPLITS: numbers}
        layout = self.layout if self.stored is not None else None
        source = FileSource(tuple(shards), listed)
        return Dataset(source, sample_type=self.sample_type, metadata=metadata, layout=layout)

    def _write(
        self, split: str, path: Path, manifest: bool = False, layout: Mapping[str, str] | None = None, **options: Any
    ) -> Dataset[Any]:
        alone = manifest or layout is not None  # each sample is looked at
        items = (self.packed if self.packed is not None and not alone else self.read)(split)
        return write_items(
            items, self.sample_type, self.splits[split], path, manifest=manifest, layout=layout, **options
        )
