"""Samples by what they are, wherever they stand: by their keys, and by hashes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.combined import CombinedView
from atdata.dataset.order import GOLDEN, Order, mixed
from atdata.dataset.reading.table import ShardTable
from atdata.dataset.view import View, of_shards
from atdata.errors import NotFoundError, UsageError
from atdata.numbers import Ints
from atdata.shards.proving import digest_of

T = TypeVar("T")

By: TypeAlias = Literal["sample", "key"]
Hashes: TypeAlias = NDArray[np.uint64]


def find(view: View[Any], key: str) -> int:
    """The number of the sample with a key; where several shards hold one, of that in the first of them.

    Raises:
        NotFoundError: no shard has it, or the view leaves it out.
        ShardError: a shard that had to be opened is damaged.
    """
    number = _in_components(view, key) if isinstance(view, CombinedView) else of_shards(view).table.find(key)
    if view.selection is not None and number not in view.selection:
        hint = "Take it from the dataset on which take, skip or select was called."
        raise NotFoundError("the sample with this key is not in this view", path=repr(key), hint=hint)
    return number


def _in_components(view: CombinedView[Any], key: str) -> int:
    error: NotFoundError | None = None
    for number, component in enumerate(view.components):
        try:
            return find(component, key) + (number << view.bits)
        except NotFoundError as one:
            error = error or one
    raise error or NotFoundError("no sample has this key", path=repr(key))


def sides(view: View[Any], shares: Sequence[Fraction], seed: int, by: By) -> list[Ints]:
    """The numbers of the samples that fall to each share. A sample falls where its hash does, whatever others there are. In
    parts of parts the hash is another: that of the first split has said all that it can.

    Args:
        view: the samples, in the stored order.
        shares: together 1.
        seed: selects the hash.
        by: `sample` hashes the shard's digest and the sample's place in it, `key` its key.

    Raises:
        UsageError: samples are to be known by their shards, and a remote shard has no digest.
    """
    numbers = view.at(Order(0), np.arange(view.extent, dtype=np.int64))
    bounds = [int(sum(shares[:end]) * (1 << 64)) for end in range(1, len(shares))]
    bounds = [min(bound, (1 << 64) - 1) for bound in bounds]
    side = np.searchsorted(np.array(bounds, np.uint64), _hashes(view, numbers, str(seed), by), "right")
    return [numbers[side == share] for share in range(len(shares))]


def part_of(view: View[T], numbers: Ints) -> View[T]:
    """The view of some samples that `sides` has told apart."""
    part: Any = view.only(numbers)
    parted: View[T] = replace(part, parted=view.parted + 1)
    return parted


def _hashes(view: View[Any], numbers: Ints, seed: str, by: By) -> Hashes:
    seed += "+" * view.parted
    found = np.zeros(len(numbers), np.uint64)
    if not len(numbers):
        return found
    if isinstance(view, CombinedView):
        for component, places, own in view.groups(numbers):
            hashes = _hashes(view.components[component], np.asarray(own, np.int64), seed, by)
            found[slice(None) if places is None else places] = hashes
        return found
    table = of_shards(view).table
    for shard, group, places in table.groups(numbers):
        found[group] = (_by_key if by == "key" else _by_place)(table, shard, places, seed)
    return found


def _by_place(table: ShardTable, shard: int, places: Ints, seed: str) -> Hashes:
    ref, shards = table.refs[shard], table.shards
    digest = digest_of(shards.source, ref, shards.cache)
    if digest is None:
        raise UsageError(
            "the digest of a remote shard is not known, so its samples are not known by it",
            path="by",
            actual=ref.url,
            hint="Split by the samples' keys, by='key', or insert the dataset into an index, which knows digests.",
        )
    return mixed(np.uint64(_hash(f"{seed} {digest}")) + (places + 1).astype(np.uint64) * GOLDEN)


def _by_key(table: ShardTable, shard: int, places: Ints, seed: str) -> Hashes:
    keys = table.shards.keys(shard)
    return np.array([_hash(f"{seed} {keys[place]}") for place in places.tolist()], np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
