"""The content-addressed cache: shards on disk under their digests.

It holds only what passed; it is bounded, may be shared by processes, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from atdata.files import atomic_file, disk_errors, write_all
from atdata.files.own import STALE, TEMPORARY, OwnFile, own_files, scratch_name
from atdata.shards.digest import ALGORITHMS, Digest
from atdata.shards.fetching import fetch_bytes, stream_bytes
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.verified_files import VerifiedFiles, state_of

DEFAULT_LIMIT = 64 * 10**9
_PAIR = re.compile("[0-9a-f]{2}")

_seen: dict[Path, tuple[int, int]] = {}
"""The bytes of each cache folder, as far as this process knows, and those stored since it last looked."""


@dataclass(frozen=True)
class ShardCache:
    """Shards on disk under their digests.

    Attributes:
        root: the folder.
        limit: bytes it may hold; what was used longest ago goes first.
        revalidate: whether every shard is hashed and scanned now, whatever was verified before: for who gives a verdict,
            to people or in a record.
    """

    root: Path
    limit: int = DEFAULT_LIMIT
    revalidate: bool = False

    @property
    def verified(self) -> VerifiedFiles:
        """The facts that this machine has verified of shard files."""
        return VerifiedFiles(self.root, self.revalidate)

    def path(self, digest: Digest) -> Path:
        """The path of the shard with this digest, if it is here."""
        return self.root / "shards" / digest.algorithm / digest.hex[:2] / f"{digest.hex}.tar"

    def scratch(self) -> Path:
        """A temporary path at which a shard may be written until it is moved in."""
        return self.root / "scratch" / scratch_name()

    def open(self, digest: Digest) -> BinaryIO | None:
        """The shard with this digest, verified; `None` where it is not here, or is damaged."""
        path = self.path(digest)
        with suppress(OSError), ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            stat = os.fstat(file.fileno())
            if self.verified.known(state_of(stat)).digest == str(digest) or _digest(file, digest) == digest:
                self.verified.use(str(digest))
                stack.pop_all()
                return file
            self.verified.forget(state_of(stat))
            OwnFile(self.root, path.relative_to(self.root).parts[:-1], path.name).remove()
        return None

    def add(self, file: Path, digest: Digest) -> None:
        """Move a file in, whose digest was computed while it was written."""
        place = self.path(digest)
        with disk_errors(place):
            size = file.stat().st_size
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        self._stored(size)

    def add_file(self, file: Path) -> ShardRef:
        """Move a small file in; the reference to it there."""
        digest, size = Digest.of_file(file), file.stat().st_size
        self.add(file, digest)
        return ShardRef(str(self.path(digest)), digest, size)

    def add_bytes(self, content: bytes) -> ShardRef:
        """Write a small file that is in memory; the reference to it there."""
        digest = Digest.sha256(content)
        place = self.path(digest)
        with atomic_file(place) as file:
            write_all(file, content, place)
        self._stored(len(content))
        return ShardRef(str(place), digest, len(content))

    def fetch(self, source: DataSource, ref: ShardRef, digest: Digest, stopped: threading.Event) -> BinaryIO:
        """Fetch a shard from its source, and open it if it has the digest.

        Raises:
            DigestError: it is not.
        """
        place, hasher = self.path(digest), digest.hasher()
        with ExitStack() as stack:
            with atomic_file(place) as file, closing(fetch_bytes(source, ref, stopped)) as pieces:
                for piece in pieces:
                    hasher.update(piece)
                    write_all(file, piece, place)
                digest.check(hasher.hexdigest(), ref.url)  # in here: what fails it never gets its name
                # and before it has its name: another process may evict it at once
                opened = stack.enter_context(Path(file.name).open("rb"))
            stack.pop_all()
        self._stored(os.fstat(opened.fileno()).st_size)
        return opened

    def fetch_undigested(self, source: DataSource, ref: ShardRef, stopped: threading.Event) -> ShardRef:
        """Fetch a shard whose digest is not known; the reference with its sha-256."""
        hasher, size = hashlib.sha256(), 0
        scratch = self.scratch()
        with atomic_file(scratch) as file, closing(stream_bytes(source, ref, stopped)) as pieces:
            for piece in pieces:
                hasher.update(piece)
                size += len(piece)
                write_all(file, piece, scratch)
        digest = Digest("sha256", hasher.hexdigest())
        self.add(scratch, digest)
        return replace(ref, digest=digest, size=size)

    def spool(self, source: DataSource, ref: ShardRef, stopped: threading.Event) -> BinaryIO:
        """Fetch a shard whose digest is not known, to a file without a name."""
        with ExitStack() as stack:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                raw = stack.enter_context(tempfile.TemporaryFile(dir=self.root, buffering=0))
            with closing(stream_bytes(source, ref, stopped)) as pieces:
                for piece in pieces:
                    write_all(raw, piece, self.root)
            raw.seek(0)
            stack.pop_all()
            return BufferedReader(raw)

    def _stored(self, size: int) -> None:
        """Evict shards where the folder may be full, looked at now and then for what other processes stored."""
        held, unseen = _seen.get(self.root, (self.limit, 0))
        held, unseen = held + size, unseen + size
        if held > self.limit or unseen > self.limit // 100:
            held, unseen = self._evict(), 0
        _seen[self.root] = held, unseen

    def _evict(self) -> int:
        for left in self.unfinished():
            with suppress(OSError):  # another process evicts too
                left.remove()
        files, uses = list(self.files()), self.verified.uses()
        total, gone = sum(file.size for file in files), []
        for file in sorted(files, key=lambda file: uses.get(_named(file), file.changed)):
            if total <= self.limit:
                break
            with suppress(OSError):
                file.remove()  # who reads it has it open
            gone.append(_named(file))
            total -= file.size
        self.verified.drop(gone)
        return total

    def files(self) -> Iterator[OwnFile]:
        """The shards in the cache. Whatever else is in the folder belongs to somebody else."""
        for algorithm, length in ALGORITHMS.items():
            name = re.compile(rf"[0-9a-f]{{{length}}}\.tar")
            for file in own_files(self.root, ("shards", algorithm, _PAIR), name):
                if file.name.startswith(file.parts[-1]):
                    yield file

    def unfinished(self) -> Iterator[OwnFile]:
        """The unfinished files that killed processes left."""
        for algorithm in ALGORITHMS:
            yield from own_files(self.root, ("shards", algorithm, _PAIR), TEMPORARY, age=STALE)


def _named(file: OwnFile) -> str:
    """The digest that the name of a shard in the cache stands for."""
    return f"{file.parts[1]}:{file.name.removesuffix('.tar')}"


def _digest(file: BinaryIO, like: Digest) -> Digest:
    digest = Digest.of_stream(file, like.algorithm)
    file.seek(0)
    return digest
