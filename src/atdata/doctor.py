"""Checks of what this machine and its team keep: faults and leftovers are found, said, and mended where that is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from atdata.atmosphere.evidence import reader_of
from atdata.atmosphere.publishing import JOURNAL
from atdata.errors import AtdataError
from atdata.files.own import SCRATCH, STALE, TEMPORARY, OwnFile, own_files
from atdata.local import LocalIndex, S3DataStore
from atdata.local.integrity import check
from atdata.progress import progress
from atdata.records import Entry
from atdata.settings import Settings
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.addresses import file_path
from atdata.shards.cache import ShardCache
from atdata.shards.opening import open_shard
from atdata.shards.urls import scheme_of

_FORGOTTEN = 7 * STALE  # seconds after which nobody goes on with a publication


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        what: one line.
        where: the file, record or server.
        hint: what to do about it; what `mend` would do, where there is one.
        mend: does it; `None` where only people can.
    """

    what: str
    where: str
    hint: str
    mend: Callable[[], object] | None = None


def examine(
    index: LocalIndex,
    *,
    store: S3DataStore | None = None,
    account: str | None = None,
    deep: bool = False,
    settings: Settings | None = None,
) -> Iterator[Finding]:
    """Everything that is wrong, as it is found.

    Args:
        index: whose records are checked, and the files that it lists.
        store: a bucket that is searched for uploads that were never finished.
        account: a handle or DID, whose records on the network are looked at.
        deep: read every shard on this machine, and what the cache holds, and check their digests now.
        settings: where cache and journals are; those of the index by default.

    Raises:
        AuthError, NetworkError, StorageError: the index or the bucket cannot be looked at.
    """
    settings = settings or index.settings
    yield from _of_index(index)
    yield from _of_shards(index, settings, deep)
    if deep:
        yield from _of_cache(settings)
    yield from _left_over(settings)
    yield from _journals(settings)
    if store is not None:
        yield from _of_store(store)
    if account is not None:
        yield from _of_account(account, settings)


def _of_index(index: LocalIndex) -> Iterator[Finding]:
    where = repr(index.records.database)
    for line in check(index):
        yield Finding(line, where, "Restore the index from a backup, or insert the dataset again.")
    for line in index.records.database.risks():
        yield Finding(line, where, "Nothing is lost so far; see the deployment page of the documentation.")


def _of_shards(index: LocalIndex, settings: Settings, deep: bool) -> Iterator[Finding]:
    """Files of this machine that the index lists."""
    cache = ShardCache(settings.cache, revalidate=True)
    listed = ((entry, shard) for entry in index.entries for shard in _shards(entry))
    local = [(entry, shard, Path(file_path(shard.url))) for entry, shard in listed if scheme_of(shard.url) == "file"]
    total = sum(path.stat().st_size for *_, path in local if deep and path.is_file())
    with progress("Reading shards", total) as bars:
        for entry, shard, path in local:
            needed = f"{entry.name} needs it: bring it back, or take {entry.name} out of the index."
            if not path.is_file():
                yield Finding("a shard is gone", str(path), needed)
            elif deep:
                bars.begin(entry.name, path.stat().st_size)
                try:
                    open_shard(FileSource((shard,)), replace(shard, url=str(path)), cache).file.close()
                except AtdataError as error:
                    yield Finding(error.what, str(path), needed)
                bars.advance(path.stat().st_size)


def _of_cache(settings: Settings) -> Iterator[Finding]:
    """The cache, read again."""
    files = list(ShardCache(settings.cache).files())
    with progress("Reading the cache", sum(file.size for file in files)) as bars:
        for file in files:
            bars.begin(file.name, file.size)
            named = Digest(file.parts[1], file.name.removesuffix(".tar"))
            with suppress(OSError):  # it has gone meanwhile
                if Digest.of_file(file.path, named.algorithm) != named:
                    hint = "It is removed, and fetched anew when it is needed."
                    yield Finding(
                        "what the cache holds is not what was fetched", str(file.path), hint, _removal([file])
                    )
            bars.advance(file.size)


def _shards(entry: Entry) -> Sequence[ShardRef]:
    with suppress(AtdataError):  # check() has said so
        return entry.shards
    return ()


def _left_over(settings: Settings) -> Iterator[Finding]:
    """The files that killed processes left in our own folders."""
    places: tuple[tuple[Path, tuple[str, ...]], ...] = (
        (settings.cache, ("shards",)),
        (settings.cache, ("scratch",)),
        (settings.data, ("shards",)),
        (settings.data, ("shards", ".scratch")),
    )
    links = set[Path]()
    for root, folders in places:
        if linked := _linked(root, folders):
            if linked in links:
                continue
            links.add(linked)
            hint = "Set ATDATA_CACHE or ATDATA_DATA to where it leads, or make it a folder."
            yield Finding("a folder of atdata's is a link, so nothing in it is ever removed", str(linked), hint)
            continue
        scratch = "scratch" in folders[-1]  # in which we make no folders: those in it are somebody's
        forms = (TEMPORARY, SCRATCH) if scratch else (TEMPORARY,)
        files = [left for form in forms for left in own_files(root, folders, form, deep=not scratch, age=STALE)]
        if files:
            what = f"{len(files)} unfinished files, {sum(left.size for left in files):,} bytes"
            where = str(root.joinpath(*folders))
            yield Finding(what, where, "They are removed: no one writes them any more.", _removal(files))


def _linked(root: Path, folders: Sequence[str]) -> Path | None:
    places = (root.joinpath(*folders[:count]) for count in range(1, len(folders) + 1))
    return next((place for place in places if place.is_symlink()), None)


def _journals(settings: Settings) -> Iterator[Finding]:
    journals = own_files(settings.data, ("publications",), JOURNAL, age=STALE)
    for left in sorted(journals, key=lambda left: left.name):
        forgotten = time.time() - left.changed > _FORGOTTEN
        yield Finding(
            "a publication was begun and never finished",
            str(left.path),
            "Publish the same again, and it goes on from there"
            + ("; or forget it: what was published stays." if forgotten else "."),
            _removal([left]) if forgotten else None,
        )


def _of_account(account: str, settings: Settings) -> Iterator[Finding]:
    hint = "It is passed over, and keeps nobody from the others. Its owner can delete it, or write it again."
    for record in reader_of(settings).malformed(account):
        yield Finding(f"a record that cannot be read: {record.reason.what}", record.uri, hint)


def _of_store(store: S3DataStore) -> Iterator[Finding]:
    uploads = store.unfinished()
    if uploads:
        oldest = min(upload.begun for upload in uploads)
        yield Finding(
            f"{len(uploads)} uploads were begun and never finished, the oldest on {oldest:%Y-%m-%d}",
            repr(store),
            "They are ended, and the room they take is free again.",
            lambda: store.abort(uploads),
        )


def _removal(files: Sequence[OwnFile]) -> Callable[[], None]:
    def remove() -> None:
        for left in files:
            with suppress(FileNotFoundError):
                left.remove()

    return remove
