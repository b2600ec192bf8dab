"""Splits: that of a shard is told by the names of its folders and its own, as users of Hugging Face know it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from atdata.arguments import checked_text, did_you_mean
from atdata.errors import UsageError

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
    """The canonical name of a split: `validation` for `val`; its own for any other."""
    return _CANONICAL.get(split.lower(), split)


def named_split(parts: Sequence[str]) -> str | None:
    """The split that the folders of a file or its name tell, if any.

    Folders count before the file's name, the nearest first; in one name, the first word counts.
    """
    *folders, name = parts or [""]
    for part in (*reversed(folders), name):
        if match := _WORD.search(part):
            return canonical(match[0])
    return None


def split_of(parts: Sequence[str]) -> str:
    """The split of a file, by the folders it is in and its name (see `named_split`): by default `train`."""
    return named_split(parts) or TRAIN


def by_split(files: Iterable[tuple[T, Parts]]) -> dict[str, list[T]]:
    """Files by their split, the splits in the order of `SPLITS`, each one's files in the order given."""
    found: dict[str, list[T]] = {split: [] for split in SPLITS}
    for file, parts in files:
        found[split_of(parts)].append(file)
    return {split: files for split, files in found.items() if files}


def strays(files: Iterable[tuple[T, Parts]]) -> list[T]:
    """The files of a folder that are no part of its data: where folders in it say splits, those beside them that say none.

    Args:
        files: each with its path below the folder.
    """
    found = [(file, len(parts) > 1, named_split(parts) is not None) for file, parts in files]
    told = any(inside and says for _, inside, says in found)
    return [file for file, inside, says in found if told and not inside and not says]


def find_split(splits: Mapping[str, Any], split: str) -> str:
    """The name of the requested split among those there are: equal, or another word for it.

    Raises:
        UsageError: there is none, or there are several.
    """
    checked_text(split, "split", f"Give the name of one: {', '.join(splits)}.")
    if split in splits:
        return split
    same = [name for name in splits if canonical(name) == canonical(split)]
    if len(same) == 1:
        return same[0]
    raise UsageError(
        f"the name of the split is ambiguous: {split!r}" if same else f"there is no split {split!r}",
        expected=f"one of: {', '.join(splits)}",
        actual=split,
        hint=did_you_mean(split, list(splits)) or "Ask for one of those, or leave split= out for all of them.",
    )
