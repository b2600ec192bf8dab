"""Reading workload A through programs, against reading it as it is; and the search for a way among a thousand lenses."""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from workloads import Features, workloads

import atdata
from atdata.atproto.cid import Cid
from atdata.lens import DataLens, Program
from atdata.lens.search import LensEdge, best_ways

BATCH = 4096
ALLOWED = {"rename": 0.9, "scale": 0.5}
LENSES, SCHEMAS, SEARCHES, MILLISECONDS = 1000, 200, 200, 50


@atdata.packable
class Renamed:
    vector: NDArray[np.float32]
    label: int
    name: str


@atdata.packable
class Scaled:
    features: Annotated[NDArray[np.float32], atdata.Unit("mV")]
    label: int
    name: str


SCALE = {"op": "scale", "field": "features", "factor": "0.001", "offset": "0.5", "unit": "mV"}
LENS = {
    "rename": DataLens(Program.of({"op": "rename", "field": "features", "to": "vector"}), Features, Renamed),
    "scale": DataLens(Program.of(SCALE), Features, Scaled),
}


def seconds(read: Callable[[], Any]) -> float:
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


def reading(quick: bool, rounds: int, seed: int) -> bool:
    """Print the rates of reading through lenses as parts of that of plain reading, in rounds that take turns."""
    load, fast = workloads(quick, seed)["A"], True
    with tempfile.TemporaryDirectory() as scratch:
        _, paths = load.write(Path(scratch))
        data = atdata.Dataset[Features](paths)
        seen: dict[str, Any] = {"plain": data}
        for name, lens in LENS.items():
            seen[name] = data.as_type(lens.view_type, lens=lens)
        took: dict[str, list[float]] = {name: [] for name in seen}
        for _ in range(rounds + 1):
            for name, dataset in seen.items():
                took[name].append(seconds(lambda dataset=dataset: [len(b) for b in dataset.ordered(batch_size=BATCH)]))
        for name, least in ALLOWED.items():
            ratio = statistics.median(a / b for a, b in zip(took["plain"][1:], took[name][1:], strict=True))
            fast &= ratio >= least
            print(f"{name}: {ratio:.2f} of plain reading (at least {least})")
    return fast


def searching(seed: int) -> bool:
    """Print the time of a search among many lenses."""
    chance = random.Random(seed)
    schemas = [Cid.of_cbor(str(number).encode()) for number in range(SCHEMAS)]
    edges = [
        LensEdge(
            *chance.sample(schemas, 2), str(n), str(n), ("x",) if chance.random() < 0.3 else (), chance.random() < 0.3
        )
        for n in range(LENSES)
    ]
    took = [seconds(lambda: best_ways(edges, *chance.sample(schemas, 2))) * 1000 for _ in range(SEARCHES)]
    print(f"search: median {statistics.median(took):.1f} ms, longest {max(took):.1f} ms (at most {MILLISECONDS})")
    return statistics.median(took) <= MILLISECONDS


def main(options: argparse.Namespace) -> bool:
    """Measure both."""
    read = reading(options.quick, options.rounds or (3 if options.quick else 5), options.seed)
    return searching(options.seed) and read
