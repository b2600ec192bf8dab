"""The difference between two datasets of a million samples: time and memory, from their manifests alone."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atdata
from atdata.atproto.syntax import AtUri
from atdata.index.history import difference
from atdata.manifest import Header, ManifestBuilder, manifest_paths
from atdata.records import Entry, HttpStorage, Schema
from atdata.shards import Digest, FileSource, ShardRef

SAMPLES, PER_SHARD = 1_000_000, 100_000
SECONDS, MEGABYTES = 2.0, 500


@atdata.packable
class Row:
    """A sample with what a manifest indexes."""

    label: int
    score: float
    station: str


def write(folder: Path, name: str, samples: int, changed: int) -> None:
    """The manifests of shards that nobody needs, in which every so many samples are others."""
    for first in range(0, samples, PER_SHARD):
        builder = ManifestBuilder(Row)
        for n in range(first, min(first + PER_SHARD, samples)):
            builder.add(f"{n:09d}", 512 + 1024 * (n - first), 400, Row(n % 10, n / 3, f"station-{n % 7}"))
            builder.add_digest(Digest.sha256(f"{n} {name if n % changed == 0 else ''}".encode()).cid.digest)
        path = folder / f"{name}-{first:09d}.tar"
        digest, size = Digest.sha256(str(path).encode()), 1024 * (PER_SHARD + 2)
        for file, raw in zip(manifest_paths(path), builder.finish(digest, size), strict=True):
            file.write_bytes(raw)


def compare(folder: Path) -> None:
    """Print the time of a comparison, and the most memory of this process, which does nothing else."""
    schema = Schema.of(Row, version="1.0.0")
    sides = []
    for name in ("a", "b"):
        paths = sorted(folder.glob(f"{name}-*.manifest.json"))
        headers = [Header.decode(path.read_bytes(), str(path)) for path in paths]
        names = [str(path).removesuffix(".manifest.json") + ".tar" for path in paths]
        shards = tuple(map(ShardRef, names, [header.shard.digest for header in headers]))
        storage = HttpStorage(shards)
        entry = Entry(name="rows", schema_ref=AtUri("at://did:web:example.com/a.b.c/d"), storage=storage)
        sides.append((entry, atdata.Dataset(FileSource(shards), sample_type=Row, cache=folder / "cache")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, busy = time.perf_counter(), time.process_time()
    found = difference(sides[0][1], sides[1][1], [entry for entry, _ in sides], [schema, schema])
    took = time.perf_counter() - began, time.process_time() - busy
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = [len(found.samples.added), len(found.samples.removed), len(found.samples.changed), found.samples.same]
    print(json.dumps([took, before / 1024, most / 1024, counts]))


def main() -> bool:
    """Write two datasets' manifests, and compare them in a process of its own; true if that is fast and small."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, "a", SAMPLES, 1000)
        write(folder, "b", SAMPLES + SAMPLES // 100, 1000)
        done = subprocess.run([sys.executable, __file__, scratch], capture_output=True, text=True, check=True)
    took, before, most, counts = json.loads(done.stdout)
    print(
        f"two datasets of {SAMPLES:,} samples, no shard in common: {took[0]:.2f} s ({took[1]:.2f} s of CPU), {most:.0f} MB"
    )
    print(f"({before:.0f} MB before; added, removed, changed, same: {counts})")
    return took[0] < SECONDS and most < MEGABYTES


if __name__ == "__main__":
    compare(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
