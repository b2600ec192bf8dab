"""Work on all shards of a dataset by tasks of Ray, against the processes of this machine: `map_shards` with either engine.

The work is real: pictures are shrunk and stored as WebP, some seconds a shard. The start of the cluster is left out, that of
the processes is not. The engines take turns.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import atdata

GOAL = 1.15
SECONDS = 60.0
WORKERS = 2
PER_SHARD = 25


@atdata.packable
class Picture:
    id: int
    pixels: NDArray[np.uint8]


@atdata.packable
class Thumbnail:
    id: int
    webp: bytes


def shrunk(pictures: Iterator[Picture]) -> Iterator[Thumbnail]:
    for picture in pictures:
        file = io.BytesIO()
        small = Image.fromarray(picture.pixels).resize((256, 256), Image.Resampling.LANCZOS)
        small.save(file, "WEBP", quality=90, method=6)
        yield Thumbnail(picture.id, file.getvalue())


def write(folder: Path, count: int) -> atdata.Dataset[Picture]:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (16, 512, 512, 3), np.uint8)
    samples = (Picture(n, np.roll(base[n % 16], n, 0)) for n in range(count))
    return atdata.write_samples(samples, folder / "pictures-%06d.tar", maxcount=PER_SHARD)


def processor_time() -> float:
    """The seconds of processors that this process has taken, with all that it has started: on a machine that does other work
    too it tells more than a clock does.
    """
    seconds = sum(os.times()[:4])
    parents, times = dict[int, int](), dict[int, float]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            facts = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(facts[1])
            times[int(stat.parent.name)] = sum(map(int, facts[11:15])) / os.sysconf("SC_CLK_TCK")
    for process in times:
        above = parents[process]
        while above not in (0, os.getpid()):
            above = parents.get(above, 0)
        seconds += times[process] if above else 0
    return seconds


def timed(dataset: atdata.Dataset[Picture], folder: Path, engine: str) -> tuple[float, float]:
    began, busy = time.perf_counter(), processor_time()
    made = dataset.map_shards(shrunk, folder / f"{engine}-%06d.tar", engine=engine, workers=WORKERS, overwrite=True)  # type: ignore[arg-type]
    took = time.perf_counter() - began, processor_time() - busy
    assert len(made) == len(dataset)
    return took


def main(options: argparse.Namespace) -> bool:
    try:
        import ray
    except ImportError:
        print("Ray is not installed: pip install 'atdata[ray]'")
        return True
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(atdata.__file__).parents[1]), here])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  else whatever runs beside it goes first
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # elsewhere too it stands for the loopback address
    ray.init(
        address="local", _node_ip_address="127.0.0.1", include_dashboard=False, num_cpus=WORKERS, log_to_driver=False
    )
    with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as scratch:
        folder = Path(scratch)
        few = write(folder / "few", 8 * WORKERS * PER_SHARD)  # their start counts for little
        timed(few, folder / "few", "ray")  # starts the workers
        speed = len(few) / timed(few, folder / "few", "processes")[0]
        count = round(speed * (SECONDS / 10 if options.quick else SECONDS * 1.5) / PER_SHARD + 1) * PER_SHARD
        pictures = write(folder, count)
        rounds = [
            {engine: timed(pictures, folder, engine) for engine in ("processes", "ray")} for _ in range(options.rounds)
        ]
        same = all(
            (folder / f"ray-{n:06d}.tar").read_bytes() == (folder / f"processes-{n:06d}.tar").read_bytes()
            for n in range(len(pictures.shards))
        )
    ray.shutdown()
    for each in rounds:
        print(", ".join(f"{engine}: {took:.1f} s, {busy:.1f} s of processors" for engine, (took, busy) in each.items()))
    time_ratio, busy_ratio = (
        statistics.median(each["ray"][fact] / each["processes"][fact] for each in rounds) for fact in (0, 1)
    )
    print(f"{count:,} pictures in {len(pictures.shards)} shards, {WORKERS} workers; the same bytes: {same}")
    print(
        f"Ray takes {time_ratio:.2f} times as long as processes  (goal: at most {GOAL}); of processors {busy_ratio:.2f}"
    )
    return same and time_ratio <= GOAL
