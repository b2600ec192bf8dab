"""The content-addressed cache, and the one door through which shards are read.

A shard with a known digest is hashed before a byte of it is used, whatever place it came from. The cache holds
only what passed, under its digest; it is bounded, may be shared by processes, and may be deleted at any time.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from atdata.errors import DigestError, NetworkError
from atdata.protocols import DataSource
from atdata.shards.digest import ALGORITHMS, CHUNK, Digest
from atdata.shards.source import FileSource, ShardRef
from atdata.shards.writer import atomic_file, disk_errors, write_all

MAX_SHARD = 1 << 40
DEFAULT_LIMIT = 64 * 10**9
AHEAD = 2
STALE = 86_400.0

_seen: dict[Path, tuple[int, int]] = {}
"""By cache folder: the bytes it holds as far as this process knows, and those stored since it last looked."""


@dataclass(frozen=True)
class OpenShard:
    """A shard as a local file, at its start; its digest, where it has one, has been checked."""

    ref: ShardRef
    file: BinaryIO
    size: int


@dataclass(frozen=True)
class ShardCache:
    """Shards on disk under their digests.

    Attributes:
        root: the folder.
        limit: bytes it may hold; what was used longest ago goes first.
    """

    root: Path
    limit: int = DEFAULT_LIMIT

    def path(self, digest: Digest) -> Path:
        """Where a shard with this digest is, if it is here."""
        return self.root / "shards" / digest.algorithm / digest.hex[:2] / f"{digest.hex}.tar"

    def open(self, digest: Digest) -> BinaryIO | None:
        """The shard with this digest, hashed just now; `None` where it is not here or no longer what it was."""
        path = self.path(digest)
        with suppress(OSError), ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            if Digest.of_stream(file, digest.algorithm) == digest:
                os.utime(path)
                file.seek(0)
                stack.pop_all()
                return file
            path.unlink(missing_ok=True)
        return None

    def take(self, file: Path, digest: Digest) -> None:
        """Move a file in, whose digest was computed while it was written."""
        place = self.path(digest)
        with disk_errors(place):
            size = file.stat().st_size
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        self._stored(size)

    def fetch(self, source: DataSource, ref: ShardRef, digest: Digest, stopped: threading.Event) -> BinaryIO:
        """Bring a shard in from its source, and give it only if it is what it should be.

        Raises:
            DigestError: it is not.
        """
        place, hasher = self.path(digest), digest.hasher()
        with ExitStack() as stack:
            with atomic_file(place) as file, source.open(ref) as stream:
                for piece in _pieces(stream, ref, stopped):
                    hasher.update(piece)
                    write_all(file, piece, place)
                digest.check(hasher.hexdigest(), ref.url)  # in here: what fails it never gets its name
                # and before it has its name: another process may make room at once
                opened = stack.enter_context(Path(file.name).open("rb"))
            stack.pop_all()
        self._stored(os.fstat(opened.fileno()).st_size)
        return opened

    def spool(self, source: DataSource, ref: ShardRef, stopped: threading.Event) -> BinaryIO:
        """Bring in a shard that has no digest, to a file without a name."""
        with ExitStack() as stack:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                raw = stack.enter_context(tempfile.TemporaryFile(dir=self.root, buffering=0))
            with source.open(ref) as stream:
                for piece in _pieces(stream, ref, stopped):
                    write_all(raw, piece, self.root)
            raw.seek(0)
            stack.pop_all()
            return BufferedReader(raw)

    def _stored(self, size: int) -> None:
        """Look at what the folder holds only when it may be full, and now and then for what other processes stored."""
        held, unseen = _seen.get(self.root, (self.limit, 0))
        held, unseen = held + size, unseen + size
        if held > self.limit or unseen > self.limit // 100:
            held, unseen = self._make_room(), 0
        _seen[self.root] = held, unseen

    def _make_room(self) -> int:
        files = []
        for entry in self._entries():
            with suppress(OSError):  # another process makes room too
                stat = entry.stat()
                if entry.suffix == ".tar":
                    files.append((stat.st_mtime, stat.st_size, entry))
                elif time.time() - stat.st_mtime > STALE:  # of a process that was killed
                    entry.unlink()
        total = sum(size for _, size, _ in files)
        for _, size, entry in sorted(files):
            if total <= self.limit:
                break
            with suppress(OSError):
                entry.unlink()  # who reads it has it open
            total -= size
        return total

    def _entries(self) -> Iterator[Path]:
        """The cache's own files. Whatever else is in the folder is somebody's."""
        for algorithm, length in ALGORITHMS.items():
            name = re.compile(rf"[0-9a-f]{{{length}}}\.tar|\.[0-9a-f]{{{length}}}\.tar\.[0-9a-f]{{8}}\.tmp")
            for entry in (self.root / "shards" / algorithm).glob("??/*"):
                if name.fullmatch(entry.name):
                    yield entry


def open_shards(source: DataSource, refs: Iterable[ShardRef], cache: ShardCache) -> Generator[OpenShard]:
    """The shards of a source one after the other, each closed when the next is asked for; the next ones are
    fetched meanwhile.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be had.
        DigestError: a shard is not the one that was published; nothing of it was given out.
    """
    stopped, upcoming = threading.Event(), iter(refs)
    pool = ThreadPoolExecutor(AHEAD, "atdata-fetch")
    waiting: deque[Future[OpenShard]] = deque()

    def look_ahead() -> None:
        for ref in itertools.islice(upcoming, AHEAD - len(waiting)):
            waiting.append(pool.submit(open_shard, source, ref, cache, stopped))

    try:
        look_ahead()
        while waiting:
            shard = waiting.popleft().result()
            look_ahead()
            with shard.file:
                yield shard
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for future in waiting:
            future.add_done_callback(_close_unused)


def _close_unused(future: Future[OpenShard]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()


def open_shard(
    source: DataSource, ref: ShardRef, cache: ShardCache, stopped: threading.Event | None = None
) -> OpenShard:
    """One shard as a local file, verified where its digest is known. Files of this machine stay where they are.

    Raises:
        ShardNotFoundError, NetworkError: it cannot be had.
        DigestError: it is not the one that was published.
    """
    stopped = stopped or threading.Event()
    if isinstance(source, FileSource):
        with ExitStack() as stack:
            file = stack.enter_context(source.open(ref))
            if ref.digest is not None:
                ref.digest.check(Digest.of_stream(file, ref.digest.algorithm).hex, ref.url)
                file.seek(0)
            stack.pop_all()
    elif ref.digest is not None:
        file = cache.open(ref.digest) or cache.fetch(source, ref, ref.digest, stopped)
    else:
        file = cache.spool(source, ref, stopped)
    return OpenShard(ref, file, os.fstat(file.fileno()).st_size)


def _pieces(stream: BinaryIO, ref: ShardRef, stopped: threading.Event) -> Iterator[bytes]:
    """A body in pieces, no longer than its record says: a stranger does not fill our disk."""
    total = 0
    while piece := stream.read(CHUNK):
        total += len(piece)
        if total > (MAX_SHARD if ref.size is None else ref.size):
            expected = f"{ref.size} bytes" if ref.size is not None else f"at most {MAX_SHARD} bytes"
            raise DigestError("a shard is longer than it may be", step="shard digest", uri=ref.url, expected=expected)
        if stopped.is_set():
            raise NetworkError("reading was stopped", uri=ref.url)
        yield piece
