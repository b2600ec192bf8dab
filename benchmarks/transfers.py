"""Shards to and from S3, against `boto3` alone with one pass of sha-256 over the file: goal within 10 %.

Ours proves each shard by its digest on its way, and syncs what it fetched to the disk. Both use one server, started
for this, and take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOAL = 0.9
MB = 1_000_000


def main(options: argparse.Namespace) -> bool:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.s3_servers import running_server

    size, rounds = (64 if options.quick else 400) * MB, options.rounds
    with running_server() as server, server.new_bucket() as bucket, tempfile.TemporaryDirectory() as folder:
        bench = Bench(server, bucket, Path(folder), size)
        reached = True
        for title, ours, peer in (
            (f"upload of {size // MB} MB", bench.upload, bench.boto3_upload),
            (f"upload of {bench.FEW} shards of 1 MB", bench.upload_small, bench.boto3_upload_small),
            (f"download of {size // MB} MB", bench.download, bench.boto3_download),
        ):
            reached &= compare(title, ours, peer, bench.forget, rounds, server.kind)
    return reached


def compare(
    title: str,
    ours: Callable[[], None],
    peer: Callable[[], None],
    between: Callable[[], None],
    rounds: int,
    kind: str,
) -> bool:
    times: dict[str, list[float]] = {"ours": [], "boto3": []}
    for turn in range(rounds + 1):
        for name, run in (("ours", ours), ("boto3", peer))[:: 1 if turn % 2 else -1]:
            between()
            began = time.perf_counter()
            run()
            if turn:  # the first round only warms
                times[name].append(time.perf_counter() - began)
    mine, theirs = (statistics.median(times[name]) for name in ("ours", "boto3"))
    ratio = theirs / mine
    spread = ", ".join(f"{t / m:.2f}" for m, t in zip(times["ours"], times["boto3"], strict=True))
    print(
        f"{title} ({kind}): ours {mine:.2f} s, boto3 + sha-256 {theirs:.2f} s, ratio {ratio:.2f}"
        f"  (rounds {spread}; goal at least {GOAL})"
    )
    return ratio >= GOAL


class Bench:
    FEW = 40

    def __init__(self, server: Any, bucket: str, folder: Path, size: int) -> None:
        from atdata import Dataset
        from atdata.local.s3 import S3DataStore
        from atdata.shards import FileSource, write_shard

        self.server, self.bucket, self.folder = server, bucket, folder
        self.store = S3DataStore(server.credentials, bucket=bucket, cache=folder / "cache")
        rows = ((f"{number:06d}", os.urandom(MB)) for number in range(size // MB))
        self.shard = write_shard(folder / "large.tar", rows)
        self.small = tuple(
            write_shard(folder / f"small-{number}.tar", [("0", os.urandom(MB))]) for number in range(self.FEW)
        )
        self.large_set = Dataset(FileSource((self.shard,)), cache=folder / "cache")
        self.small_set = Dataset(FileSource(self.small), cache=folder / "cache")
        self.client = server.client
        self.client.upload_file(self.shard.url, bucket, "kept.tar")

    def forget(self) -> None:
        for key in self.server.keys(self.bucket):
            if key != "kept.tar":
                self.client.delete_object(Bucket=self.bucket, Key=key)
        for path in (self.folder / "cache").rglob("*"):
            if path.is_file():
                path.unlink()
        (self.folder / "got.tar").unlink(missing_ok=True)

    def upload(self) -> None:
        self.store.write_shards(self.large_set, prefix="bench")

    def boto3_upload(self) -> None:
        assert sha256(Path(self.shard.url)) == self.shard.digest.hex
        self.client.upload_file(self.shard.url, self.bucket, "bench.tar")

    def upload_small(self) -> None:
        self.store.write_shards(self.small_set, prefix="bench")

    def boto3_upload_small(self) -> None:
        for shard in self.small:
            assert sha256(Path(shard.url)) == shard.digest.hex
            self.client.upload_file(shard.url, self.bucket, f"bench/{shard.digest.hex}.tar")

    def download(self) -> None:
        from dataclasses import replace

        from atdata.shards.cache import ShardCache

        ref = replace(self.shard, url=f"s3://{self.bucket}/kept.tar")
        source = self.store.create_source([ref.url])
        ShardCache(self.folder / "cache").fetch(source, ref, ref.digest, threading.Event()).close()

    def boto3_download(self) -> None:
        got = self.folder / "got.tar"
        self.client.download_file(self.bucket, "kept.tar", str(got))
        assert sha256(got) == self.shard.digest.hex


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
