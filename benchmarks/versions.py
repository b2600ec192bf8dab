"""The difference between two datasets of a million samples: time and memory, from their manifests alone.

Run: python benchmarks/versions.py [--samples 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import atdata
from atdata.index.history import difference
from atdata.manifest import ManifestBuilder, manifest_paths
from atdata.records import Entry, HttpStorage, Schema, Size
from atdata.shards import Digest, FileSource, ShardRef

PER_SHARD = 100_000


@atdata.packable
class Row:
    """A sample with what a manifest indexes."""

    label: int
    score: float
    station: str


def write(folder: Path, name: str, samples: int, changed: int) -> list[ShardRef]:
    """The manifests of shards that nobody needs, in which every so many samples are others."""
    shards = []
    for first in range(0, samples, PER_SHARD):
        builder = ManifestBuilder(Row)
        for n in range(first, min(first + PER_SHARD, samples)):
            builder.add(f"{n:09d}", 512 + 1024 * (n - first), 400, Row(n % 10, n / 3, f"station-{n % 7}"))
            builder.add_digest(Digest.sha256(f"{n} {name if n % changed == 0 else ''}".encode()).cid.digest)
        path = folder / f"{name}-{first:09d}.tar"
        digest, size = Digest.sha256(str(path).encode()), 1024 * (PER_SHARD + 2)
        for file, raw in zip(manifest_paths(path), builder.finish(digest, size), strict=True):
            file.write_bytes(raw)
        shards.append(ShardRef(str(path), digest, size))
    return shards


def compare(folder: Path, one: list[ShardRef], other: list[ShardRef], results: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    """The time of a comparison and the most memory of a process that does nothing else."""
    schema = Schema.of(Row, version="1.0.0")
    entries = [
        Entry(name="rows", schema_ref="at://did:web:x.test/a.b.c/d", storage=HttpStorage(tuple(shards)), size=Size())
        for shards in (one, other)
    ]
    datasets = [
        atdata.Dataset(FileSource(tuple(shards)), sample_type=Row, cache=folder / "cache") for shards in (one, other)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, busy = time.perf_counter(), time.process_time()
    found = difference(*datasets, entries, [schema, schema])
    took = time.perf_counter() - began, time.process_time() - busy
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = [len(found.samples.added), len(found.samples.removed), len(found.samples.changed), found.samples.same]
    results.put((took, before / 1024, most / 1024, counts))


def main() -> None:
    """Write two datasets' manifests, and compare them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        one, other = write(folder, "a", samples, 1000), write(folder, "b", samples + samples // 100, 1000)
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        worker = context.Process(target=compare, args=(folder, one, other, results))
        worker.start()
        took, before, most, counts = results.get()
        worker.join()
    print(
        f"two datasets of {samples:,} samples, no shard in common: {took[0]:.2f} s ({took[1]:.2f} s of CPU), {most:.0f} MB at most"
    )
    print(f"({before:.0f} MB before; added, removed, changed, same: {counts})")


if __name__ == "__main__":
    main()
