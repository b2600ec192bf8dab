"""`Dataset[T]`: shards read as samples of one type."""

from __future__ import annotations

import itertools
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Generic, Self, TypeVar, overload

from atdata.dataset.pipeline import Batches, Samples
from atdata.errors import FieldTypeError, NotFoundError
from atdata.lens import Lens, find_lens, registered_lens
from atdata.protocols import DataSource, IndexEntry
from atdata.samples import DictSample, PackableSample
from atdata.settings import Settings
from atdata.shards import ShardRef, source_of
from atdata.shards.cache import ShardCache, open_shards
from atdata.shards.rows import count_rows, read_rows
from atdata.shards.writer import Row

T = TypeVar("T")
V = TypeVar("V")


class Dataset(Generic[T]):
    """Samples of type `T`, in shards.

    `Dataset[T](where)` takes a path, brace notation (`data-{000000..000009}.tar`), a URL, a list of these,
    or a source. Nothing is read until samples are. Without a type, samples are `DictSample`s.

    Attributes:
        source: the place its shards come from.
        metadata: what its publisher says about it.
        entry: the index entry it was loaded from, if it was.
    """

    # What `Dataset[T]` leaves on the instance (typing.Generic), and so a part of its state.
    __orig_class__: Any = None

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | DataSource,
        *,
        metadata: Mapping[str, Any] | None = None,
        entry: IndexEntry | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.source: DataSource = source_of(source)
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self.entry = entry
        self._cache = ShardCache(Settings.of(cache=cache).cache)
        self._stored_type: type[Any] | None = None
        self._lens: Lens[Any, T] | None = None
        self._count: int | None = None

    @classmethod
    def of(cls, source: Any, sample_type: type[T], **options: Any) -> Self:
        """`Dataset[sample_type](source, ...)`, for a type that is a value."""
        dataset = cls(source, **options)
        dataset._stored_type = _checked(sample_type)
        return dataset

    @property
    def sample_type(self) -> type[T]:
        """The type of the samples that iteration gives."""
        return self._lens.view_type if self._lens else self.stored_type

    @property
    def stored_type(self) -> type[Any]:
        """The type that the shards hold, before any lens.

        Raises:
            FieldTypeError: `Dataset[...]` was given something that is no sample type.
        """
        if self._stored_type is None:
            args = typing.get_args(self.__orig_class__)
            self._stored_type = _checked(args[0]) if args and not isinstance(args[0], TypeVar) else DictSample
        return self._stored_type

    @property
    def shards(self) -> Sequence[ShardRef]:
        """The shards, in order."""
        return self.source.shards

    def __len__(self) -> int:
        """How many samples there are: what the shards' references say, else what their headers say.

        Raises:
            ShardError: a shard whose headers had to be read is damaged.
        """
        if self._count is None:
            known = [shard.samples for shard in self.shards]
            unknown = [shard for shard in self.shards if shard.samples is None]
            counted = sum(
                count_rows(shard.file, shard.size, shard.ref.url)
                for shard in open_shards(self.source, unknown, self._cache)
            )
            self._count = counted + sum(count for count in known if count is not None)
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Every sample, in the stored order.

        Raises:
            ShardError: a shard is damaged or truncated.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the dataset's type.
        """
        return iter(self.ordered())

    @overload
    def ordered(self, batch_size: None = None) -> Samples[T]: ...
    @overload
    def ordered(self, batch_size: int) -> Batches[T]: ...
    def ordered(self, batch_size: int | None = None) -> Samples[T] | Batches[T]:
        """The samples in the stored order, one by one or in batches; what comes back can be iterated again.

        Args:
            batch_size: samples in a batch; the last batch may hold fewer. `None` gives single samples.
        """
        samples = Samples(self)
        return samples if batch_size is None else Batches(samples, batch_size)

    def head(self, count: int = 5) -> list[T]:
        """The first samples."""
        return list(self.ordered().take(count))

    def as_type(self, view_type: type[V]) -> Dataset[V]:
        """The same samples seen through the registered lens to another type, or with only some of their fields.

        A dataset without a type becomes one of `view_type`.

        Raises:
            LensNotFoundError: no lens leads there.
            FieldTypeError: it is no sample type.
        """
        _checked(view_type)
        stored = self.stored_type
        lens: Lens[Any, Any] | None = self._lens
        if lens is None and stored is DictSample and registered_lens(stored, view_type) is None:
            stored = view_type
        elif self.sample_type is not view_type:
            step = find_lens(self.sample_type, view_type)
            lens = step if lens is None else lens.then(step)
        view: Dataset[Any] = copy(self)
        view._stored_type, view._lens = stored, lens
        return view

    def rows(self) -> Iterator[Row]:
        """Keys and packed samples as they are stored, in order, each shard verified before its first."""
        return itertools.chain.from_iterable(self.rows_by_shard())

    def rows_by_shard(self) -> Iterator[Iterator[Row]]:
        """The same, shard by shard; each shard's rows must be taken before the next shard's."""
        for shard in open_shards(self.source, self.shards, self._cache):
            yield read_rows(shard.file, shard.size, shard.ref.url)

    def decode(self, packed: bytes) -> T:
        """The sample in packed bytes, seen through the dataset's lens."""
        stored = self.stored_type.from_bytes(packed)
        return self._lens.get(stored) if self._lens else stored

    def __repr__(self) -> str:
        return f"Dataset[{self.sample_type.__name__}]({len(self.shards)} shards)"


def _checked(sample_type: Any) -> type[Any]:
    if isinstance(sample_type, type) and issubclass(sample_type, PackableSample | DictSample):
        return sample_type
    raise FieldTypeError(f"{sample_type} is no sample type", hint="Decorate the class with @atdata.packable.")


class DatasetDict(dict[str, Dataset[T]]):
    """Datasets by the name of their split."""

    def __missing__(self, split: str) -> Dataset[T]:
        raise NotFoundError(f"there is no split {split!r}", expected=", ".join(self))

    def __repr__(self) -> str:
        return f"DatasetDict({dict.__repr__(self)})"
