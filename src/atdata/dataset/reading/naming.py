"""Errors of what is done with a sample name it: by its shard, its key, and its place in the shard."""

from __future__ import annotations

from typing import TypeVar

from atdata.errors import AtdataError

E = TypeVar("E", bound=Exception)


def named(error: E, uri: str, key: str | None, place: int) -> E:
    """An error that says which sample it is about: by its facts, where it is one of atdata's; else by a note.

    Args:
        error: as it was raised; if it says of which shard or record it is, that stays.
        uri: the shard.
        key: the sample's, where it is known.
        place: of the sample in the shard, from 0.
    """
    sample = f"sample {place} of the shard" if key is None else f"{key} (sample {place} of the shard)"
    if isinstance(error, AtdataError) and error.uri is None:
        error.uri, error.path = uri, f"{sample}: {error.path}" if error.path else sample
    elif (note := f"The sample was {sample} {uri}.") not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error
