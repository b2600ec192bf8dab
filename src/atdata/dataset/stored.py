"""The samples of a view as they are stored: keys and packed samples, shard by shard."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from atdata.dataset.iteration import Samples
from atdata.dataset.order import Order
from atdata.dataset.reading.members import MemberReader
from atdata.dataset.reading.naming import named
from atdata.dataset.transforms import views_of
from atdata.dataset.view import ShardView, View, of_shards
from atdata.errors import NoHomeError, SampleError
from atdata.samples import DictSample, PackableSample, fields_of
from atdata.samples.layout import Layout
from atdata.shards.index import SampleMembers
from atdata.shards.opening import open_shards
from atdata.shards.rows import read_rows
from atdata.shards.tar import cut_off
from atdata.shards.writer import Row, SampleRow


def is_whole(view: View[Any]) -> TypeGuard[ShardView[Any]]:
    """True if a view is every sample of its shards as it is stored: then their bytes can stand for it."""
    return keeps_shards(view) and view.lens is None


def keeps_shards(view: View[Any]) -> TypeGuard[ShardView[Any]]:
    """True if each sample of a view stands for one that is stored, in the same shard and place."""
    whole = isinstance(view, ShardView) and view.selection is None and not view.transforms and view.fields is None
    return whole and not view.filtered


def rows_by_shard(view: View[Any]) -> Iterator[Iterator[Row]]:
    """Yields for each shard the keys and packed samples in it, regardless of what the view leaves out or changes.

    Each shard is verified before its first row. Its rows must be taken before the next shard's.
    """
    table = of_shards(view).table
    for shard in open_shards(table.shards.source, table.refs, table.shards.cache):
        yield read_rows(shard.file, shard.size, shard.ref.url)


def packed_by_shard(view: View[Any]) -> Iterator[Iterator[SampleRow]]:
    """Yields keys, packed samples and samples as a view sees them; where it selects or transforms them, in one piece."""
    if keeps_shards(view):
        for shard, rows in zip(view.table.refs, rows_by_shard(view), strict=True):
            seen = decoded(view, rows, shard.url)
            if view.lens is None:
                yield itertools.starmap(_kept, seen)
            else:
                yield (_packed(key, sample) for key, _, sample in seen)
    else:
        samples: Iterable[Any] = Samples(view, Order(0))
        yield (_packed(f"{number:09d}", sample) for number, sample in enumerate(samples))


def first_rows(view: View[Any], count: int, most: int) -> list[bytes]:
    """The first samples of a view's shards as they are stored, verified: of one that is several files, `SampleMembers`.

    Of remote shards with a manifest only these are fetched, in a source that gives ranges.

    Args:
        view: of shards.
        count: how many.
        most: bytes of all of them; those after are left out, but for the first.

    Raises:
        DigestError: one is not what was published.
        ShardError, NetworkError: the shards cannot be read.
    """
    table = of_shards(view).table.random_access()
    found, left = list[bytes](), most
    for place in range(table.resolve_stop(count)):
        shard = table.shard_of(place)
        index = table.shards.open(shard).index
        number = place - table.span_of(shard)[0]
        start, size = int(index.starts[number]), int(index.sizes[number])
        if found and size > left:
            break
        with table.shards.used(shard, index.starts[number : number + 1]) as opened:
            data = os.pread(opened.file.fileno(), size, start)  # not by its buffer, which may be older than the sample
        if len(data) != size:
            raise cut_off(table.refs[shard].url, start + len(data))
        found.append(data if index.packed else SampleMembers(data))
        left -= size
    return found


def decoded(view: ShardView[Any], rows: Iterable[Row], uri: str) -> Iterator[SampleRow]:
    """Yields the rows of a shard with their samples, seen through the view's lens; with `None` for one of which it has no view,
    if the view skips such. An error names the sample.
    """
    decode = stored_decoder(view.stored_type, view.layout)
    for place, (key, stored) in enumerate(rows):
        try:
            sample = decode(stored)
            if view.lens is not None:
                (sample,) = views_of(view.lens, [sample])
        except Exception as error:
            if not (isinstance(error, NoHomeError) and view.undefined == "skip"):
                named(error, uri, key, place)
                raise
            sample = None
        yield key, stored, sample


def stored_decoder(sample_type: type[Any], layout: Layout | None) -> Callable[[bytes], Any]:
    """The function from a stored sample to the sample: packed, or the files that a layout says."""
    unpack = sample_type.from_bytes
    fields = () if issubclass(sample_type, DictSample) else fields_of(sample_type)
    members = MemberReader(sample_type, fields, None, layout)
    return lambda stored: members.sample(stored) if isinstance(stored, SampleMembers) else unpack(stored)


def layout_of(view: View[Any]) -> Layout | None:
    """The layout that somebody gave of the samples as `packed_by_shard` gives them; `None` where they are packed, or where
    their type tells.
    """
    if not is_whole(view) or view.layout is None or not view.table.refs:
        return None
    return None if view.table.shards.open(0).index.packed else view.layout


def _kept(key: str, stored: bytes, sample: Any) -> SampleRow:
    return (key, stored, sample) if isinstance(stored, SampleMembers) else _packed(key, sample)


def _packed(key: str, sample: Any) -> SampleRow:
    if isinstance(sample, Mapping):
        sample = DictSample(sample)
    if not isinstance(sample, PackableSample | DictSample):
        raise SampleError(
            "only samples can be stored",
            path=f"sample {key}",
            actual=type(sample).__name__,
            hint="Let map(...) return samples of a class with @atdata.packable, or mappings.",
        )
    return key, sample.packed, sample
