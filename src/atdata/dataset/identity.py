"""Samples by what they are, wherever they stand: by their keys, and by hashes of them."""

from __future__ import annotations

from typing import Any

from atdata.dataset.view import View, of_shards
from atdata.errors import NotFoundError


def find(view: View[Any], key: str) -> int:
    """The number of the sample with a key; where several shards hold one, of that in the first of them.

    Raises:
        NotFoundError: no shard has it, or the view leaves it out.
        ShardError: a shard that had to be opened is damaged.
    """
    number = of_shards(view).table.find(key)
    if view.selection is not None and number not in view.selection:
        hint = "Take it from the dataset on which take, skip or select was called."
        raise NotFoundError("the sample with this key is not in this view", path=repr(key), hint=hint)
    return number
