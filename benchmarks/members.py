"""Shards whose samples are one file a field, as `webdataset` writes them: read raw, and as stacked pixels.

The goals are ratios against `webdataset` in the same process; its loader with two workers is measured too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds

import atdata

SAMPLES, SIDE, BATCH = 4000, 224, 256
GOALS = {"raw": 10, "pixels": 2}


@atdata.packable
class Raw:
    """Files as they are."""

    jpg: bytes
    cls: bytes
    json: bytes


@atdata.packable
class Photo:
    """A picture and its class."""

    jpg: atdata.Image
    cls: int


def write(folder: Path, samples: int) -> list[str]:
    """Shards of smooth pictures, which compress as photographs do."""
    rng = np.random.default_rng(0)
    with wds.ShardWriter(str(folder / "photos-%06d.tar"), maxcount=1000, verbose=0) as sink:
        for number in range(samples):
            coarse = rng.integers(0, 255, (14, 14, 3)).astype(np.uint8)
            photo = np.asarray(atdata.Image(coarse).pil.resize((SIDE, SIDE), 3))
            sink.write({"__key__": f"{number:06d}", "jpg": photo, "cls": number % 10, "json": {"number": number}})
    return sorted(map(str, folder.glob("photos-*.tar")))


def seconds(work: Callable[[], Iterator[Any]]) -> float:
    """The time that somebody takes who only counts."""
    began = time.perf_counter()
    for _ in work():
        pass
    return time.perf_counter() - began


def stacked(pipeline: Any) -> Iterator[Any]:
    """Batches of pixels out of a pipeline of `webdataset`."""
    return iter(pipeline.decode("rgb8").to_tuple("jpg", "cls").batched(BATCH))


def measure(urls: list[str], cache: Path) -> dict[str, dict[str, float]]:
    """Seconds for all samples, once each."""

    def raw() -> Iterator[Any]:
        return iter(atdata.Dataset[Raw](urls, cache=cache).ordered(batch_size=BATCH))

    def pixels() -> Iterator[Any]:
        for batch in atdata.Dataset[Photo](urls, cache=cache).ordered(batch_size=BATCH):
            yield batch.decode_images("jpg"), batch.arrays["cls"]

    def pipeline() -> Any:
        return wds.WebDataset(urls, shardshuffle=False)

    def workers() -> Iterator[Any]:
        batches = wds.WebDataset(urls, shardshuffle=False, workersplitter=wds.split_by_worker)
        batches = batches.decode("rgb8").to_tuple("jpg", "cls").batched(BATCH)
        return iter(wds.WebLoader(batches, batch_size=None, num_workers=2))

    return {
        "raw": {"webdataset": seconds(lambda: iter(pipeline())), "first epoch": seconds(raw), "atdata": seconds(raw)},
        "pixels": {
            "webdataset": seconds(lambda: stacked(pipeline())),
            "with 2 workers": seconds(workers),
            "atdata": seconds(pixels),
        },
    }


def main(options: argparse.Namespace) -> bool:
    """Print the ratios; whether the goals are reached."""
    with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as name:
        folder = Path(name)
        urls = write(folder, SAMPLES // 4 if options.quick else SAMPLES)
        rounds = [measure(urls, folder / f"cache-{number}") for number in range(options.rounds)]
    reached = True
    for task, goal in GOALS.items():
        medians = {who: statistics.median(each[task][who] for each in rounds) for who in rounds[0][task]}
        ratio = medians["webdataset"] / medians["atdata"]
        reached &= ratio >= goal
        shown = ", ".join(f"{who} {1000 * median:.0f} ms" for who, median in medians.items())
        print(f"members {task}: {ratio:.1f} times webdataset (goal {goal}); {shown}")
    return reached
