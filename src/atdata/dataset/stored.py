"""The samples of a view as they are stored: keys and packed samples, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from atdata.dataset.iteration import Samples
from atdata.dataset.order import Order
from atdata.dataset.view import View
from atdata.errors import SampleError
from atdata.samples import DictSample, PackableSample
from atdata.shards.opening import open_shards
from atdata.shards.rows import read_rows
from atdata.shards.writer import Row, SampleRow


def is_whole(view: View[Any]) -> bool:
    """True if a view is every sample of its shards as it is stored: then their bytes can stand for it."""
    return view.selection is None and view.fields is None and view.lens is None and not view.transforms


def keeps_shards(view: View[Any]) -> bool:
    """True if each sample of a view stands for one that is stored, in the same shard and place."""
    return view.selection is None and not view.transforms and view.fields is None


def rows_by_shard(view: View[Any]) -> Iterator[Iterator[Row]]:
    """Yields for each shard the keys and packed samples in it, regardless of what the view leaves out or changes.

    Each shard is verified before its first row. Its rows must be taken before the next shard's.
    """
    table = view.table
    for shard in open_shards(table.shards.source, table.refs, table.shards.cache):
        yield read_rows(shard.file, shard.size, shard.ref.url)


def packed_by_shard(view: View[Any]) -> Iterator[Iterator[SampleRow]]:
    """Yields keys, packed samples and samples as a view sees them; where it selects or transforms them, in one piece."""
    if keeps_shards(view):
        decode = decoder(view)
        for rows in rows_by_shard(view):
            yield (_packed(key, decode(packed)) for key, packed in rows)
    else:
        samples: Iterable[Any] = Samples(view, Order(0))
        yield (_packed(f"{number:09d}", sample) for number, sample in enumerate(samples))


def decoder(view: View[Any]) -> Callable[[bytes], Any]:
    """The function from a packed sample to the sample, seen through the view's lens."""
    if view.lens is None:
        decode: Callable[[bytes], Any] = view.stored_type.from_bytes
        return decode
    see = view.lens.get
    return lambda packed: see(view.stored_type.from_bytes(packed))


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
