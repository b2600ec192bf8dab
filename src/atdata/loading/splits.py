"""Splits: which one a shard is of, by the names of its folders and its own, as users of Hugging Face know it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from atdata.errors import UsageError
from atdata.shards.listing import did_you_mean

T = TypeVar("T")

Parts: TypeAlias = tuple[str, ...]

TRAIN = "train"
SPLITS = {
    TRAIN: ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The splits that names are searched for, in the order in which they are given, and the words for each."""

_CANONICAL = {word: split for split, words in SPLITS.items() for word in words}
# Letters on either side make another word of it (`trainer`, `latest`); digits and signs do not (`train2`, `my_test-0`).
_WORD = re.compile(rf"(?<![^\W\d_])(?ai:{'|'.join(_CANONICAL)})(?![^\W\d_])")


def canonical(split: str) -> str:
    """The name under which a split is found: `validation` for `val`; its own for any other."""
    return _CANONICAL.get(split.lower(), split)


def said(parts: Sequence[str]) -> str | None:
    """The split that the folders of a file and its name say, if they say any.

    Folders count before the file's name, the nearest first; in one name, the first word counts.
    """
    *folders, name = parts or [""]
    for part in (*reversed(folders), name):
        if match := _WORD.search(part):
            return canonical(match[0])
    return None


def split_of(parts: Sequence[str]) -> str:
    """The split of a file, by the folders it is in and its name (see `said`): `train` where no word says another."""
    return said(parts) or TRAIN


def by_split(files: Iterable[tuple[T, Parts]]) -> dict[str, list[T]]:
    """Files by their split, the splits in the order of `SPLITS`, each one's files in the order given."""
    found: dict[str, list[T]] = {split: [] for split in SPLITS}
    for file, parts in files:
        found[split_of(parts)].append(file)
    return {split: files for split, files in found.items() if files}


def named(splits: Mapping[str, Any], split: str) -> str:
    """The name, of those there are, that was asked for: the very name, or another word for it.

    Raises:
        UsageError: there is none, or there are several; it names those there are.
    """
    if not isinstance(split, str):
        raise TypeError(f"a split is named by text, not {type(split).__name__}")
    if split in splits:
        return split
    same = [name for name in splits if canonical(name) == canonical(split)]
    if len(same) == 1:
        return same[0]
    raise UsageError(
        f"{'which of' if same else 'there is no'} split {split!r}",
        expected=f"one of: {', '.join(splits)}",
        actual=split,
        hint=did_you_mean(split, list(splits)) or "Ask for one of those, or leave split= out for all of them.",
    )
