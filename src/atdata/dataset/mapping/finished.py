"""Shards that are written already: found by what their manifests say, proved to be what these say."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atdata.dataset.mapping.work import ShardWork
from atdata.errors import DigestError, ShardError, ShardNotFoundError
from atdata.manifest import Header, header_beside, manifest_files
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.opening import open_shard
from atdata.shards.proving import digest_of

_AT_ONCE = 4


@dataclass(frozen=True)
class Finished:
    """A shard that is written, where it stands."""

    shard: int
    ref: ShardRef


@dataclass(frozen=True)
class OtherFile:
    """A file in the place of a shard that is of other work.

    Attributes:
        shard: the number of the shard.
        path: of the file.
        expected: what its manifest would say.
        actual: what it says.
        foreign: whether its manifest says so; else nothing tells what it is.
    """

    shard: int
    path: Path
    expected: str
    actual: str
    foreign: bool = False


def look_for(work: ShardWork, shards: Iterable[int], folder: Path) -> list[Finished | OtherFile]:
    """The files in a folder that stand in the places of some shards: those that are finished, and all others."""
    there = [shard for shard in shards if (folder / work.pattern(shard).name).exists()]
    with ThreadPoolExecutor(_AT_ONCE, "atdata-prove") as pool:
        return list(pool.map(lambda shard: _look_at(work, shard, folder / work.pattern(shard).name), there))


def _look_at(work: ShardWork, shard: int, path: Path) -> Finished | OtherFile:
    table = work.view.table
    ref, header = table.refs[shard], header_beside(path)
    if header is None:
        return OtherFile(shard, path, "the manifest of a shard that map_shards has written", "there is none")
    digest = digest_of(table.shards.source, ref, table.shards.cache)
    if digest is None:
        return OtherFile(shard, path, "a known digest of the shard that is read", "there is none")
    expected = work.record(digest)
    said = {name: text for name, text in header.provenance.items() if name != "software"}
    if said != expected:
        name = next(name for name in [*expected, *said] if said.get(name) != expected.get(name))
        return OtherFile(shard, path, f"{name}: {expected.get(name)}", f"{name}: {said.get(name)}", foreign=True)
    if (found := _proved(path, header, work)) is None:
        return OtherFile(shard, path, f"{header.shard.digest}, as its manifest says", "other bytes")
    return Finished(shard, found)


def _proved(path: Path, header: Header, work: ShardWork) -> ShardRef | None:
    """The reference to a shard, if it and the rows of its manifest are what the header says."""
    ref = ShardRef(str(path), header.shard.digest, header.shard.size, header.samples)
    files = manifest_files(path)
    with suppress(ShardError, ShardNotFoundError, DigestError, OSError):
        open_shard(FileSource((ref,)), ref, work.view.table.shards.cache).file.close()
        if len(files) == 2 and Digest.of_file(files[1]) == header.rows.digest:
            return ref
    return None
