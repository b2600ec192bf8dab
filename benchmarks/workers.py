"""Batches out of the workers of a DataLoader, against the same loader in this process: passes that take turns, workers that
stay, page cache warm, and nothing done with a batch.

A process that reads alone has threads that read and decode on the other cores, so on few cores there is little that workers
could win; what is measured is what they cost. No way to send batches can do better than workers that read and send one
number for each, nor than those that do not even read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workloads import Workload, workloads

from atdata import Dataset, write_samples

GOALS = {  # workload, samples in a batch, workers: the least part of the rate in this process
    ("A", 256, 0): 0.8,
    ("A", 256, 2): 0.4,
    ("A", 4096, 0): 0.8,
    ("A", 4096, 2): 0.7,
    ("B", 256, 0): 0.8,
    ("B", 256, 2): 0.7,
}
WORKERS = (0, 2)
GIVEN = ("batches", "tensors")
ALONE = (-1, "")


def seconds(batches: Iterable[Any]) -> float:
    """The time of a pass."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def measure(data: Dataset[Any], size: int, rounds: int) -> dict[tuple[int, str], list[float]]:
    """The seconds of each way to read all samples, round by round: alone, and by numbers of workers and what they give."""
    from torch.utils.data import DataLoader

    def loader(format: Any) -> Any:  # noqa: A002
        return data.loader(size, rank=0, world_size=1, format=format)

    ways: dict[tuple[int, str], Any] = {ALONE: loader(None)}
    for count in WORKERS:
        for given in GIVEN:
            made = loader("torch" if given == "tensors" else None)
            ways[count, given] = DataLoader(made, batch_size=None, num_workers=count, persistent_workers=count > 0)
    steps = range(-(-len(data) // size))
    for given, read, collate in (("lengths", loader(None), len), ("numbers", steps, None)):
        ways[max(WORKERS), given] = DataLoader(
            read, batch_size=None, num_workers=max(WORKERS), persistent_workers=True, collate_fn=collate
        )
    for way in ways.values():
        seconds(way)
    times: dict[tuple[int, str], list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(way))
    return times


def open_dataset(workload: Workload, folder: Path) -> Dataset[Any]:
    """The workload as shards of ours."""
    write_samples(workload.samples(), folder / "%06d.tar", maxcount=-(-workload.count // 8))
    return Dataset(str(folder / "*.tar"), sample_type=workload.sample_type, cache=folder / "cache")


def main(options: argparse.Namespace) -> bool:
    """Print the ratios; whether the goals are reached."""
    warnings.filterwarnings("ignore", "This DataLoader will create|'set_vital' is deprecated|.*use of fork")
    known, reached = workloads(options.quick, options.seed), True
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for letter in ("A", "B"):
        with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as folder:
            data = open_dataset(known[letter], Path(folder))
            for size in (256, 4096) if letter == "A" else (256,):
                times = measure(data, size, options.rounds)
                print(
                    f"workers {letter}, batches of {size}: {known[letter].count / min(times[ALONE]):,.0f} samples/s alone"
                )
                for (count, given), taken in times.items():
                    if (count, given) == ALONE:
                        continue
                    pairs = zip(times[ALONE], taken, strict=True)  # on a busy machine, rounds differ
                    ratio = statistics.median(alone / other for alone, other in pairs)
                    goal = GOALS[letter, size, count] if given in GIVEN else 0
                    said = f"goal {goal}" if goal else "a bound"
                    each = 1e6 * min(taken) / -(-known[letter].count // size)
                    reached &= ratio >= goal
                    print(f"  {count} workers, {given}: {ratio:.2f} of that ({said}), {each:,.0f} us a batch at best")
    print(f"load {os.getloadavg()[0]:.1f}")
    return reached
