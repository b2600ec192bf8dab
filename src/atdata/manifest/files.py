"""The two files of a manifest beside its shard: their names, and their bytes."""

from __future__ import annotations

from pathlib import Path

from atdata.shards import ShardRef
from atdata.shards.digest import CHUNK
from atdata.shards.ports import DataSource


def manifest_urls(shard: str) -> tuple[str, str]:
    """The addresses of header and rows: `X.manifest.json`, `X.manifest.parquet` for `X.tar`."""
    name = shard.removesuffix(".tar")
    return f"{name}.manifest.json", f"{name}.manifest.parquet"


def manifest_paths(shard: Path) -> tuple[Path, Path]:
    """The same of a file; of one without a name in `.tar` in place of its last suffix."""
    return shard.with_suffix(".manifest.json"), shard.with_suffix(".manifest.parquet")


def read_file(source: DataSource, file: ShardRef, most: int) -> bytes:
    """The bytes of a file, at most one more than it may have: so it shows where it is too long.

    Raises:
        ShardNotFoundError, NetworkError, StorageError: it cannot be read.
        DigestError: a digest is known, and is another.
    """
    content = bytearray()
    with source.open(file) as stream:
        while len(content) <= most and (piece := stream.read(min(CHUNK, most + 1 - len(content)))):
            content += piece
    read = bytes(content)
    if file.digest is not None:
        hasher = file.digest.hasher()
        hasher.update(read)
        file.digest.check(hasher.hexdigest(), file.url)
    return read
