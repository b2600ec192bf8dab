"""`Dataset[T]`: shards read as samples of one type."""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from atdata.arguments import checked_call, checked_text, checked_type
from atdata.dataset.delivery import Format, convert_samples, items
from atdata.dataset.entry import IndexEntry
from atdata.dataset.identity import By, find, part_of, sides
from atdata.dataset.iteration import Batches, Samples, Shuffle
from atdata.dataset.loader import EqualSteps, Loader
from atdata.dataset.looks import Looks, count
from atdata.dataset.mapping.run import Engine, map_shards
from atdata.dataset.mixture import Repetition
from atdata.dataset.order import WINDOW, Order
from atdata.dataset.ranks import Ranks
from atdata.dataset.reading.table import ShardTable
from atdata.dataset.tables.frames import Tables
from atdata.dataset.transforms import Filter, Map, Transform, Undefined
from atdata.dataset.view import MaybeSized, ShardView, View
from atdata.dataset.weights import Weight, shares_of
from atdata.display import Card, Grid
from atdata.errors import FieldTypeError, NoSampleError, NotFoundError, UsageError
from atdata.lens import Lens, find_lens, fitted, registered_lens
from atdata.numbers import Ints, checked_int
from atdata.samples import DictSample, PackableSample, SampleBatch, fields_of
from atdata.samples.layout import Layout
from atdata.settings import Settings
from atdata.shards import FileSource, ShardRef, source_of
from atdata.shards.cache import ShardCache
from atdata.shards.ports import DataSource

if TYPE_CHECKING:
    import typing_extensions

    T = typing_extensions.TypeVar("T", default=Any)  # `Dataset(where)`; and `Dataset` as an annotation takes each
else:
    T = TypeVar("T")
V = TypeVar("V")


class Dataset(MaybeSized, Tables[T], Looks[T]):
    """Samples of type `T`, in shards.

    `Dataset[T](where)` takes a path, brace notation (`data-{000000..000009}.tar`), a URL, a list of these,
    or a source. Nothing is read until samples are. Without a type, samples are `DictSample`s.

    Methods that give a dataset give a view of the same shards: nothing is copied, and nothing changes here.

    Example:
        >>> import atdata
        >>> @atdata.packable
        ... class Digit:
        ...     label: int
        >>> ds = atdata.write_samples([Digit(n) for n in range(10)], "digits-%06d.tar", maxcount=4)
        >>> ds
        Dataset[Digit](3 shards)
        >>> ds[3]
        Digit(label=3)
        >>> [batch.label for batch in ds.filter(lambda digit: digit.label > 3).ordered(batch_size=5)]
        [[4], [5, 6, 7, 8, 9]]
        >>> [digit.label for digit in ds.shuffled(seed=1).take(3)]
        [9, 8, 3]

    Attributes:
        metadata: the metadata that its publisher gave.
        entry: the index entry from which it was loaded, if it was.

    Args:
        source: the shards.
        sample_type: the type of the samples, in place of `Dataset[T]`.
        metadata: the metadata that their publisher gave.
        entry: the index entry.
        cache: the folder for fetched shards.
        layout: where each sample is one file a field, as WebDataset writes them: the extension of each field's file,
            `{"image": "jpg|png", "label": "cls"}`. By default the type's fields and their names tell.
        samples: the number of samples that the publisher claims; refused where it is wrong.
    """

    # Set on the instance by `Dataset[T]` (typing.Generic), and so a part of its state.
    __orig_class__: Any = None

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | DataSource,
        *,
        sample_type: type[T] | None = None,
        metadata: Mapping[str, Any] | None = None,
        entry: IndexEntry | None = None,
        cache: str | os.PathLike[str] | None = None,
        layout: Mapping[str, str] | None = None,
        samples: int | None = None,
    ) -> None:
        self.metadata: Mapping[str, Any] = dict({} if metadata is None else checked_type(metadata, Mapping, "metadata"))
        self.entry = entry
        claimed = None if samples is None else checked_int(samples, "samples")
        self._table = ShardTable(source_of(source), ShardCache(Settings.of(cache=cache).cache), claimed)
        self._given_type = None if sample_type is None else _checked(sample_type)
        self._layout = None if layout is None else Layout.of(layout)
        self._view: View[T] | None = None

    @property
    def view(self) -> View[T]:
        """The view that iteration, loaders and tables work on.

        Raises:
            FieldTypeError: `Dataset[...]` was given something that is no sample type.
            UsageError: `Dataset[...]` and `sample_type=` name different types.
        """
        if self._view is None:  # only now: `Dataset[T](...)` has its type after `__init__`
            args = typing.get_args(self.__orig_class__)
            named = None if not args or isinstance(args[0], TypeVar) else args[0]
            given = self._given_type
            if given is not None and isinstance(named, type) and named not in (given, Any):
                raise UsageError(
                    "Dataset[...] and sample_type= name different types",
                    expected=named.__name__,
                    actual=given.__name__,
                    hint=f"Give one type. To see samples as another: Dataset[{named.__name__}](...).as_type(...).",
                )
            sample_type = given or _checked(named or DictSample)
            if self._layout is not None and sample_type is not DictSample:
                self._layout.check(fields_of(sample_type))
            self._view = ShardView(self._table, sample_type, sample_type, layout=self._layout)
        return self._view

    @property
    def layout(self) -> dict[str, str] | None:
        """The extensions of the files that fields stand in, as they were given."""
        layout = self.view.about.layout
        return None if layout is None else layout.said()

    @property
    def sample_type(self) -> type[T]:
        """The type of the samples that iteration gives.

        Raises:
            FieldTypeError: `Dataset[...]` was given something that is no sample type.
        """
        return self.view.sample_type

    @property
    def shards(self) -> Sequence[ShardRef]:
        """The shards, in order."""
        return self.view.about.shards

    def __len__(self) -> int:
        """The number of samples, without reading them: by the shards' references, else their publisher, else their
        manifests, else their headers.

        Raises:
            ShardError: a shard whose headers had to be read is damaged, or the publisher's number is wrong.
            UnsizedError: the samples are filtered, and only reading can tell how many are kept.
        """
        return len(self.view)

    def __iter__(self) -> Iterator[T]:
        """Every sample, in the stored order.

        Raises:
            ShardError: a shard is damaged or truncated.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the dataset's type.
        """
        return iter(self.ordered())

    # --- orders

    @overload
    def ordered(self, batch_size: None = None) -> Samples[T]: ...
    @overload
    def ordered(self, batch_size: int) -> Batches[T]: ...
    def ordered(self, batch_size: int | None = None) -> Samples[T] | Batches[T]:
        """The samples in the stored order, one by one or in batches; the result can be iterated again.

        Args:
            batch_size: samples in a batch; the last batch may hold fewer. `None` gives single samples.
        """
        return self._in_order(Order(0), batch_size)

    @overload
    def shuffled(
        self, batch_size: None = None, *, seed: int = 0, epoch: int = 0, mode: Shuffle = "global", window: int = WINDOW
    ) -> Samples[T]: ...
    @overload
    def shuffled(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, mode: Shuffle = "global", window: int = WINDOW
    ) -> Batches[T]: ...
    def shuffled(
        self,
        batch_size: int | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
        mode: Shuffle = "global",
        window: int = WINDOW,
    ) -> Samples[T] | Batches[T]:
        """The samples in a shuffled order: a pure function of the dataset, `seed` and `epoch`.

        Args:
            batch_size: samples in a batch; the last batch may hold fewer. `None` gives single samples.
            seed: selects the shuffle.
            epoch: each epoch has an order of its own.
            mode: `global` is a permutation of all samples; `window` reads runs of 32 samples, and permutes within
                windows: nearly as random, and friendlier to disks.
            window: samples in a window, a multiple of 32.
        """
        return self._in_order(Order(self.view.extent, mode, seed, epoch, window), batch_size)

    def _in_order(self, order: Order, batch_size: int | None) -> Samples[T] | Batches[T]:
        return Samples(self.view, order) if batch_size is None else Batches(self.view, order, batch_size)

    @overload
    def loader(
        self,
        batch_size: int,
        *,
        shuffle: Literal[False] | Shuffle = ...,
        seed: int = ...,
        window: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        group: Any = ...,
        drop_last: bool = ...,
        equal_steps: EqualSteps | None = ...,
        format: None = None,
    ) -> Loader[SampleBatch[T]]: ...
    @overload
    def loader(
        self,
        batch_size: int,
        *,
        shuffle: Literal[False] | Shuffle = ...,
        seed: int = ...,
        window: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        group: Any = ...,
        drop_last: bool = ...,
        equal_steps: EqualSteps | None = ...,
        format: Format,
    ) -> Loader[dict[str, Any]]: ...
    def loader(
        self,
        batch_size: int,
        *,
        shuffle: Literal[False] | Shuffle = False,
        seed: int = 0,
        window: int = WINDOW,
        rank: int | None = None,
        world_size: int | None = None,
        group: Any = None,
        drop_last: bool = False,
        equal_steps: EqualSteps | None = None,
        format: Format | None = None,  # noqa: A002
    ) -> Loader[Any]:
        """Batches for training: this rank's share of an epoch, pass after pass, to be stopped and resumed anywhere.

        `torch.utils.data.DataLoader(loader, batch_size=None, num_workers=n)` takes it as it is.

        Args:
            batch_size: samples in a batch of one rank.
            shuffle: `False`, or the mode of `shuffled`.
            seed: selects the shuffle; the same on every rank.
            window: samples in a window, for `window`.
            rank: this process among those that share the epoch. By default it is looked up when a pass begins: in
                `torch.distributed`, else in the environment (`RANK` and `WORLD_SIZE`, or Slurm's, or Open MPI's), else
                it is 0 of 1. Where `torch.distributed` is initialized, its rank must be the one given here.
            world_size: the number of processes that share it.
            group: the process group of `torch.distributed` whose ranks share the epoch, where not all do.
            drop_last: leave out a batch that is not full, before any filter.
            equal_steps: make all ranks end together. `pad` fills the last step with the epoch's first samples again,
                and a step that a filter empties with the kept samples that come next; `drop` leaves out a step in which
                some rank has no full batch, and does not work with a filter. Without it every sample comes exactly
                once, a step that a filter empties is skipped, and some ranks may take more steps than others.
            format: give plain dicts, as `SampleBatch.to_torch` or `SampleBatch.to_jax` makes them.
        """
        return Loader(
            self.view,
            batch_size,
            mode=shuffle or "ordered",
            seed=seed,
            window=window,
            ranks=Ranks(rank, world_size, group),
            drop_last=drop_last,
            equal_steps=equal_steps,
            format=format,
        )

    def head(self, count: int = 5) -> list[T]:
        """The first samples."""
        return list(self.ordered().take(count))

    # --- random access

    @overload
    def __getitem__(self, which: int) -> T: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int] | NDArray[np.integer[Any]]) -> SampleBatch[T]: ...
    def __getitem__(self, which: Any) -> T | SampleBatch[T]:
        """`ds[i]` is a sample; `ds[a:b]` and `ds[[i, j, ...]]` are batches.

        Of a remote shard with a manifest, in a source that gives byte ranges, only these samples are fetched, each
        verified by its own digest. If they are more than half of a shard, it is fetched whole and verified by its digest.

        Raises:
            NoSampleError: there is no such sample.
            DigestError: fetched bytes are not the published ones.
        """
        if isinstance(which, int | np.integer) and not isinstance(which, bool):
            convert_samples()
            (sample,) = self._batch(self._numbers(self._position(int(which)))).samples
            return sample
        return self._batch(self._numbers(self._positions(which)))

    def __getitems__(self, which: Sequence[int]) -> list[T]:
        """Some samples: so a DataLoader asks for those of a batch."""
        return items(self._batch(self._numbers(self._positions(which))).samples)

    def select(self, which: slice | Sequence[int] | NDArray[np.integer[Any]]) -> Dataset[T]:
        """A view of some samples, in the order given.

        Raises:
            NoSampleError: there is no such sample.
            UsageError: the samples are filtered, and only reading can tell their numbers.
        """
        return self._seen(self._random_access.only(self._numbers(self._positions(which))))

    def take(self, count: int) -> Dataset[T]:
        """A view of the first samples.

        Raises:
            UsageError: the samples are filtered; `filtered.ordered().take(count)` gives the first that a filter keeps.
        """
        return self.select(slice(None, checked_int(count, "count")))

    def skip(self, count: int) -> Dataset[T]:
        """A view of all but the first samples.

        Raises:
            UsageError: the samples are filtered.
        """
        return self.select(slice(checked_int(count, "count"), None))

    def get(self, key: str) -> T:
        """The sample with a key; where several shards hold one, that in the first of them.

        Keys are read once: from the manifests of remote shards, where they have one, else from the shards' headers.

        Raises:
            NotFoundError: no shard has it, or this view leaves it out.
            ArgumentTypeError: the key is no text.
        """
        checked_text(key, "key", "Give the text of a key; ds[3] is the sample with a number.")
        (sample,) = self._batch(np.array([find(self._random_access, key)])).samples
        return sample

    def _numbers(self, positions: Ints) -> Ints:
        return self.view.at(Order(0), positions)

    def _batch(self, numbers: Ints) -> SampleBatch[T]:
        return next(self._random_access.read([numbers]))

    @property
    def _random_access(self) -> View[T]:
        if self.view.filtered:
            raise UsageError(
                "samples of a filtered dataset have no numbers before they are read",
                hint="Use take, skip, select and dataset[...] before filter. The first samples that a filter keeps:"
                " filtered.head(n), or filtered.ordered().take(n).",
            )
        return self.view.each(ShardView.random_access)

    def _position(self, which: int) -> Ints:
        extent = self._extent(which + 1 if which >= 0 else None)
        if not -extent <= which < extent:
            raise _no_sample(which, extent)
        return np.array([which if which >= 0 else which + extent])

    def _positions(self, which: Any) -> Ints:
        if isinstance(which, slice):
            given = zip(("start", "stop", "step"), (which.start, which.stop, which.step), strict=True)
            which = slice(*(None if bound is None else checked_int(bound, name, None) for name, bound in given))
            if which.step == 0:
                raise UsageError("the step of a slice must not be 0", path="step")
            bounds = [which.start or 0, which.stop, which.step or 1]
            known = all(isinstance(bound, int) and bound >= 0 for bound in bounds)
            return np.arange(*which.indices(self._extent(which.stop if known else None)), dtype=np.int64)
        positions = np.asarray(which)
        if positions.dtype == bool and positions.shape == (self.view.extent,):
            return np.flatnonzero(positions)
        if positions.ndim != 1 or (len(positions) and positions.dtype.kind not in "iu"):
            raise UsageError(
                "samples must be selected by an integer, a slice, a list of integers or a mask of all samples",
                actual=repr(which)[:60],
                hint="Use dataset[3], dataset[10:20], dataset[[1, 5, 2]], or a bool array as long as the dataset.",
            )
        positions = positions.astype(np.int64)
        extent = self._extent(int(positions.max(initial=-1)) + 1 if (positions >= 0).all() else None)
        wrong = (positions < -extent) | (positions >= extent)
        if wrong.any():
            raise _no_sample(positions[wrong][0], extent)
        return np.where(positions < 0, positions + extent, positions)

    def _extent(self, stop: int | None) -> int:
        """The number of samples, or `stop` where that is fewer: no more shards are opened than that takes."""
        return self._random_access.resolve_stop(stop)

    # --- views

    def as_type(
        self,
        view_type: type[V],
        *,
        lens: Lens[Any, Any] | None = None,
        layout: Mapping[str, str] | None = None,
        undefined: Undefined | None = None,
    ) -> Dataset[V]:
        """A view of the samples through the registered lens to another type, or with only some of their fields.

        A dataset without a type becomes one of `view_type`, whose fields stand in the files that a layout names.

        Args:
            view_type: the type.
            lens: to go through this one instead.
            layout: as for `Dataset`, of one without a type.
            undefined: what is done about samples of which the lens has no view, for which it raises `NoHomeError`: `raise`,
                or `skip`, which leaves them out as `filter` does. By default what was said before, else `raise`.

        Raises:
            LensNotFoundError: there is no lens to it.
            LensError: the lens is one between other types.
            FieldTypeError: it is not a sample type.
            UsageError: the layout does not fit, or the dataset has a type.
        """
        _checked(view_type)
        said = None if layout is None else Layout.of(layout)
        if undefined not in (None, "raise", "skip"):
            raise UsageError(
                "unknown value of undefined", path="undefined", expected="'raise' or 'skip'", actual=undefined
            )
        if lens is not None:
            checked_type(lens, Lens, "lens", "Give a lens: @atdata.lens, or DataLens(program, Source, View).")
        return self._seen(self.view.each(lambda view: _as_type(view, view_type, said, lens, undefined)))

    def columns(self, *names: str) -> Dataset[DictSample]:
        """A view that reads some fields and decodes nothing else; its samples are `DictSample`s.

        Raises:
            UsageError: there is no such field, or the samples are mapped or filtered already.
        """
        seen = self.view.each(lambda view: _columns(view, names))
        known = [field.name for field in fields_of(self.sample_type)] if self.sample_type is not DictSample else names
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{self.sample_type.__name__} has no field {name!r}",
                    expected=", ".join(known),
                    hint="Choose among the fields of the samples.",
                )
        return self._seen(seen)

    @overload
    def map(self, function: Callable[[T], Mapping[str, Any]], sample_type: None = None) -> Dataset[DictSample]: ...
    @overload
    def map(self, function: Callable[[T], V], sample_type: type[V] | None = None) -> Dataset[V]: ...
    def map(self, function: Callable[[T], Any], sample_type: type[Any] | None = None) -> Dataset[Any]:
        """A view of the results of a function for each sample: samples of another type, mappings, or anything else. A batch
        of what is no sample has one column, `value`.

        Args:
            function: must be importable by name where worker processes are started.
            sample_type: of the results; by default that of its annotation, else `DictSample`.
        """
        transform = Map.of(function, sample_type)
        return self._seen(self.view.each(lambda view: _then(view, transform, transform.sample_type)))

    def filter(self, keep: Callable[[T], bool]) -> Dataset[T]:
        """A view of the samples for which a function is true.

        The order of an epoch, and the window of it that makes a batch, never depend on data: a batch is the part of its
        window that is kept, and may be short; where nothing is kept it is skipped.
        """
        checked_call(keep, "keep", "Give a function of a sample, such as lambda sample: sample.label > 3.")
        transform = Filter(keep)
        return self._seen(self.view.each(lambda view: _then(view, transform, view.sample_type)))

    def repeat(self, count: int) -> Dataset[T]:
        """A view of the samples this many times, shuffled anew each time."""
        times = checked_int(count, "count")
        return self._seen(Repetition(self.sample_type, (self.view,), weights=(Fraction(1),), times=times))

    def split(self, shares: Mapping[str, Weight], *, seed: int = 0, by: By = "sample") -> DatasetDict[T]:
        """Views that have each sample once, at random and about in these shares.

        The side of a sample depends on the seed and the sample alone, so it stays when shards are added. Parts are split
        again as anything else is, with the same seed too.

        Args:
            shares: of each view, by its name: numbers of any kind, shares of their sum.
            seed: selects the split.
            by: what a sample is known by. `sample`: the digest of its shard, and its place there; files are read once for
                it. `key`: its key, so that samples of one key are never apart, however they are stored.

        Raises:
            UsageError: the samples are filtered, a share is no number, negative or not finite, or the digest of a remote
                shard is not known.
        """
        if by not in ("sample", "key"):
            raise UsageError("unknown way to split", path="by", expected="sample or key", actual=by)
        checked_type(shares, Mapping, "shares", 'Give names and shares: {"train": 0.9, "val": 0.1}.')
        named, seed = dict(shares), checked_int(seed, "seed", None)
        numbers = sides(self._random_access, shares_of(list(named.values()), "shares"), seed, by)
        views = {name: self._seen(part_of(self.view, own)) for name, own in zip(named, numbers, strict=True)}
        return DatasetDict(views)

    # --- work

    def map_shards(
        self,
        function: Callable[[Iterator[T]], Iterable[V]],
        out: str | os.PathLike[str],
        *,
        sample_type: type[V] | None = None,
        engine: Engine = "processes",
        workers: int | None = None,
        overwrite: bool = False,
    ) -> Dataset[V]:
        """Map each shard to one of its own, in several processes, and give the dataset they are.

        A shard is done when it and its manifest are written: which says the digest of the shard that was read, the name of
        the function, and the types. Called again, after whatever ended it, it does what is not done. All shards appear at
        once when the last is. A function of one sample is mapped by `dataset.map(function).map_shards(iter, out)`.

        Args:
            function: is given an iterator over the samples of one shard, and gives samples: as many as it likes, each
                as soon as it can. Where `engine` is `processes`, it and the functions of the view must be importable by name
                from a module or script: no lambda, no function inside another, none of a notebook; but a `partial` of one
                that is, and any object that pickles.
            out: `small-%06d.tar`; the shards have the numbers of those that they are made of.
            sample_type: of the results; by default as the function is annotated (`-> Iterator[Digit]`), else this type.
            engine: `processes` of this machine, or `ray`: tasks in the cluster to which this process is connected, all
                of whose machines must have the folder of `out`.
            workers: the most shards at a time; by default as many as there are processors.
            overwrite: whether to replace shards of this name that are there, and unfinished ones of another function.

        Raises:
            FailedShardsError: the function failed on some shards; the others are finished.
            ConflictError: shards of this name are there already, or unfinished ones of other work.
            UsageError: samples are selected, the path does not fit, or the function cannot be sent to other processes.
            ArgumentTypeError: the function cannot be called.
            FieldTypeError: `sample_type` is not a sample type.
            MissingExtraError: manifests need the extra `tables`, and Ray the extra `ray`.
            StorageError: the disk is full or fails; nothing new is in sight.
        """
        if sample_type is not None:
            _checked(sample_type)
        kind, shards = map_shards(
            self.view, function, out, sample_type=sample_type, engine=engine, workers=workers, overwrite=overwrite
        )
        return Dataset(FileSource(shards), sample_type=kind)

    def _seen(self, view: View[Any]) -> Dataset[Any]:
        """The same dataset in another view."""
        dataset: Dataset[Any] = copy(self)
        dataset._view = view
        return dataset

    def __repr__(self) -> str:
        title = self.view.about.title
        if not isinstance(self.view, ShardView):
            samples = "filtered" if self.view.filtered else f"{count(self.view) or 'not counted'} samples"
            title = f"{title}, {samples}"
        return f"Dataset[{self.sample_type.__name__}]({title})"


def dataset_of(view: View[T]) -> Dataset[T]:
    """The dataset that shows a view of several."""
    dataset: Dataset[T] = object.__new__(Dataset)
    dataset.metadata, dataset.entry, dataset._view = {}, None, view
    return dataset


def _as_type(
    view: ShardView[Any],
    view_type: type[Any],
    layout: Layout | None,
    given: Lens[Any, Any] | None,
    undefined: Undefined | None,
) -> ShardView[Any]:
    if view.fields is not None or view.transforms:
        raise UsageError("as_type must come before columns, map and filter", hint="Call as_type first.")
    stored, lens, said = view.stored_type, view.lens, view.layout
    if given is not None:
        given = fitted(given, view.sample_type, view_type)
        lens = given if lens is None else lens.then(given)
    elif lens is None and stored is DictSample and registered_lens(stored, view_type) is None:
        stored, said = view_type, said if layout is None else layout
        if said is not None and stored is not DictSample:
            said.check(fields_of(stored))
    elif layout is not None:
        what = f"the layout of {view.sample_type.__name__} is given where the dataset is made"
        raise UsageError(what, path="layout", hint="Pass it to Dataset(...), or leave it out.")
    elif view.sample_type is not view_type:
        next_lens = find_lens(view.sample_type, view_type)
        lens = next_lens if lens is None else lens.then(next_lens)
    undefined = undefined or view.undefined
    return replace(view, stored_type=stored, lens=lens, sample_type=view_type, layout=said, undefined=undefined)


def _columns(view: ShardView[Any], names: tuple[str, ...]) -> ShardView[Any]:
    if view.transforms or not names:
        raise UsageError(
            "columns needs names of fields, and must come before map and filter",
            actual=", ".join(names),
            hint="Call columns first, with at least one name.",
        )
    return replace(view, fields=names, sample_type=DictSample)


def _then(view: ShardView[Any], transform: Transform, sample_type: type[Any]) -> ShardView[Any]:
    return replace(view, transforms=(*view.transforms, transform), sample_type=sample_type)


def _checked(sample_type: Any) -> type[Any]:
    if isinstance(sample_type, type) and issubclass(sample_type, PackableSample | DictSample):
        return sample_type
    raise FieldTypeError(f"{sample_type} is not a sample type", hint="Decorate the class with @atdata.packable.")


def _no_sample(which: int, extent: int) -> NoSampleError:
    there = f"-{extent} to {extent - 1}" if extent else "there are no samples"
    hint = "Numbers count from 0, and below it from the end."
    return NoSampleError(f"there is no sample {which}", expected=there, actual=which, hint=hint)


class DatasetDict(dict[str, Dataset[T]]):
    """Datasets by the name of their split.

    Raises:
        UsageError: a split has no name, or is no dataset.
    """

    def __init__(self, *datasets: Any, **named: Dataset[T]) -> None:
        if datasets and not isinstance(datasets[0], Iterable):
            checked_type(datasets[0], Mapping, "datasets", "Give them by the name of their split.")
        super().__init__(*datasets, **named)
        for dataset in self.values():
            checked_type(dataset, Dataset, "each split", "Give Datasets, or use a plain dict.")
        names: list[Any] = list(self)
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise UsageError("each split must have a name", actual=repr(names)[:80], hint="Name it, such as 'train'.")

    def __missing__(self, split: str) -> Dataset[T]:
        raise NotFoundError(f"there is no split {split!r}", expected=", ".join(self), hint="Choose one of these.")

    def __repr__(self) -> str:
        return f"DatasetDict({dict.__repr__(self)})"

    def card(self) -> Card:
        """The splits as people look at them."""
        rows = [[name, dataset.sample_type.__name__, len(dataset.shards)] for name, dataset in self.items()]
        first = next(iter(self.values()), None)
        card = Card("DatasetDict", {"splits": len(self)}, [Grid(["split", "samples are", "shards"], rows)])
        return card if first is None else replace(card, grids=[*card.grids, *first.card().grids])

    def _repr_html_(self) -> str:
        return self.card().html()
