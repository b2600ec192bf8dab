"""Grouping of a tar's members to samples, as WebDataset defines them.

Members side by side whose names begin alike, up to the first dot of the last component, are one sample; the rest of
the name, in lower case, is its extension (github.com/webdataset/webdataset, "The WebDataset Format"). What `webdataset`
passes over is passed over here; what it would read as two halves of a sample is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from atdata.errors import ShardError
from atdata.shards.index import EXTENSION, Members, ShardIndex
from atdata.shards.tar import Member

_METADATA = re.compile(r"__[^/]*__(/|\Z)")
_MOST_EXTENSIONS = 1 << 16
_HINT = "Write it again, the members of a sample side by side (tar --sort=name), each with an extension of its own."


def grouped(members: Iterable[Member], uri: str) -> Iterator[list[Member]]:
    """Yields the members of each sample, in order: all samples are packed, or all are one file a field.

    Of samples that are one file a field, what is no part of a sample is passed over: names without an extension, and
    `__name__`.

    Raises:
        ShardError: a sample has two members of one extension, or its members do not stand side by side; or packed
            samples are beside other files.
    """
    passed: list[Member] = []
    packed: bool | None = None
    for group in _groups(members, passed, uri):
        if packed is None:
            packed = is_packed(group)
        stray = passed if packed else ()
        if is_packed(group) != packed or stray or (packed and group[0].extension != EXTENSION):
            raise _no_sample((*stray, *group)[0], uri)
        yield group
    if passed and packed is not False:
        raise _no_sample(passed[0], uri)


def is_packed(group: Sequence[Member]) -> bool:
    """True if a sample is one file that holds all of its fields."""
    return len(group) == 1 and group[0].extension.lower() == EXTENSION


def _no_sample(member: Member, uri: str) -> ShardError:
    return ShardError(
        "a shard contains a file that is not a sample",
        uri=uri,
        path=member.name,
        expected="{key}.msgpack for every sample, or for every sample one file a field",
        hint="Write samples with atdata.write_samples, or sink.write({**sample.as_wds, '__key__': key}).",
    )


def _groups(members: Iterable[Member], passed: list[Member], uri: str) -> Iterator[list[Member]]:
    """Members side by side with one key; what is no part of a sample goes to `passed`."""
    seen: set[str] = set()
    group: list[Member] = []
    extensions: set[str] = set()
    for member in members:
        if not _is_part(member, uri):
            passed.append(member)
            continue
        key, extension = member.key, member.extension.lower()
        if not group or key != group[0].key:
            if group:
                yield group
            if key in seen:
                raise ShardError(
                    "a shard contains a key twice", uri=uri, path=member.name, actual=repr(key)[:80], hint=_HINT
                )
            seen.add(key)
            group, extensions = [], set()
        if extension in extensions:
            what = "a key twice" if extension == EXTENSION else "two files of one sample with the same extension"
            raise ShardError(f"a shard contains {what}", uri=uri, path=member.name, hint=_HINT)
        extensions.add(extension)
        group.append(member)
    if group:
        yield group


def _is_part(member: Member, uri: str) -> bool:
    """True if a member is a part of a sample."""
    folder, _, base = member.name.rpartition("/")
    if "." not in base or _METADATA.match(member.name) or (base.startswith(".") and folder in ("", ".")):
        return False
    if base.startswith("."):
        hint = "Write it again without hidden files: tar --exclude='.*', and for those of macOS COPYFILE_DISABLE=1."
        raise ShardError("a file in a shard has a name without a key", uri=uri, path=member.name, hint=hint)
    return True


def index_of(groups: Sequence[Sequence[Member]], uri: str) -> ShardIndex:
    """The index of the samples of a shard."""
    every = [member for group in groups for member in group]
    starts, sizes = np.array([(member.offset, member.size) for member in every], np.int64).reshape(-1, 2).T.copy()
    if not groups or is_packed(groups[0]):
        return ShardIndex(starts, sizes)
    codes = {name: code for code, name in enumerate(sorted({member.extension.lower() for member in every}))}
    numbers = [codes[member.extension.lower()] for member in every]
    if len(codes) > _MOST_EXTENSIONS:
        raise ShardError("a shard has too many extensions", uri=uri, expected=_MOST_EXTENSIONS, actual=len(codes))
    first = np.cumsum([0, *map(len, groups)], dtype=np.int64)
    heads = np.array([group[0].head for group in groups], np.int64)
    members = Members(tuple(codes), first, np.array(numbers, np.uint16), starts, sizes)
    return members.index(heads)
