"""Reading and writing, against peers, the disk and the goals: interleaved rounds in one process, page cache warm.

Every reader gives batches of 256 samples, of which every byte of every number and array is summed as 64-bit words; the
sums must be the same for all. An epoch before the rounds, not measured, also checks text and what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from goals import Results, show
from peers import BATCH, PEERS, RANDOM_BATCHES, Atdata, Epoch, hash_alone, installed, read_alone, stacked
from rich.console import Console
from workloads import MASK, Columns, Workload, contents, words, workloads, write_with_webdataset

from atdata.dataset import write_samples

console = Console(stderr=True)


@dataclass
class Task:
    """Something to measure.

    Attributes:
        run: does it once, in an empty folder of its own.
        samples: how many samples it takes.
        check: does it once more carefully, before the clock runs.
    """

    run: Callable[[Path], None]
    samples: int
    check: Callable[[Path], None] | None = None


@dataclass
class Bench:
    """One workload: what to measure, and where.

    Attributes:
        tasks: by name.
        fallback_share: of the chunks, that were read sample by sample.
    """

    workload: Workload
    folder: Path
    tasks: dict[str, Task] = field(default_factory=dict)
    fallback_share: float = 0.0

    def prepare(self) -> None:
        theirs, ours = self.workload.write(self.folder)
        self.tasks["read(2)"] = Task(lambda _: read_alone(theirs), self.workload.count)
        self.tasks["read(2), own shards"] = Task(lambda _: read_alone(ours), self.workload.count)
        self.tasks["sha-256"] = Task(lambda _: hash_alone(theirs) and None, self.workload.count)
        atdata = Atdata(self.workload, theirs, ours, self.folder)
        samples = self.workload.samples()
        whole = self._whole(iter(lambda: stacked(map(vars, itertools.islice(samples, BATCH))), {}))
        self._add_epochs(atdata.epochs(), whole)
        self.fallback_share = atdata.fallback_share()
        peers = {"atdata": atdata}
        for peer in PEERS:
            # The two that copy the data need columns of known types, which E has not.
            if installed(*peer.modules) and (self.workload.name != "E" or peer.name == "webdataset"):
                console.print(f"[dim]  {peer.name}: preparing")
                with quiet():
                    peers[peer.name] = peer(self.workload, theirs, self.folder)
                self._add_epochs(peers[peer.name].epochs(), whole)
        if self.workload.name == "A":
            self._add_special(peers, whole)
        self._add_writers()

    def _whole(self, epoch: Iterable[Columns]) -> np.ndarray:
        """What a whole epoch holds."""
        found = sum((contents(columns, self.workload.numbers) for columns in epoch), np.zeros(5, np.uint64))
        assert found[0] == self.workload.count, f"{found[0]} samples of {self.workload.count}"
        return found

    def _add_epochs(self, epochs: dict[str, Epoch], whole: np.ndarray) -> None:
        for name, epoch in epochs.items():
            self._add(name, epoch, self.workload.count, whole, int(whole[1]))

    def _add(self, name: str, epoch: Epoch, samples: int, whole: np.ndarray, total: int | None) -> None:
        """An epoch, of which all samples must be `whole`, and each time all words must be `total`; `None`: not asked."""
        numbers = self.workload.numbers

        def run(empty: Path) -> None:
            found = 0
            for columns in epoch(empty):
                if total is not None:
                    found += words(columns, numbers)
            assert total is None or found & MASK == total, f"{name}: other bytes than the others read"

        def check(empty: Path) -> None:
            found = self._whole(epoch(empty))
            assert (found == whole).all(), f"{name}: {found}, others read {whole}"

        self.tasks[name] = Task(run, samples, check)

    def _add_special(self, peers: dict[str, object], whole: np.ndarray) -> None:
        """Random batches, and samples one by one: these are not summed, for that would be most of the work."""
        for name in ("atdata", "webdataset"):
            if name in peers:
                self._add(f"{name}, one by one", peers[name].one_by_one(), self.workload.count, whole, None)
        sums = set()
        for name in ("atdata", "datasets"):
            if name in peers:
                epoch = peers[name].random_batches()
                taken = [words(columns, self.workload.numbers) for columns in epoch(self.folder)]
                sums.add(sum(taken) & MASK)
                assert len(sums) == 1, "random batches differ"
                self._add(f"{name}, random batches", epoch, BATCH * RANDOM_BATCHES, whole, sum(taken) & MASK)
                self.tasks[f"{name}, random batches"].check = None

    def _add_writers(self) -> None:
        samples = list(self.workload.samples(self.workload.written))
        half = -(-len(samples) // 2)
        self.tasks["webdataset, write"] = Task(
            lambda empty: write_with_webdataset(iter(samples), empty, half), len(samples)
        )
        self.tasks["atdata, write"] = Task(
            lambda empty: write_samples(samples, empty / "%06d.tar", maxcount=half), len(samples)
        )
        self.tasks["atdata, write with manifest"] = Task(
            lambda empty: write_samples(samples, empty / "%06d.tar", maxcount=half, manifest=True), len(samples)
        )

    def check(self) -> None:
        for task in self.tasks.values():
            with empty_folder(self.folder) as empty:
                (task.check or task.run)(empty)

    def measure(self, rounds: int) -> dict[str, list[float]]:
        """Samples per second of each task in each round."""
        rates: dict[str, list[float]] = {name: [] for name in self.tasks}
        for number in range(rounds):
            console.print(f"[dim]  round {number + 1} of {rounds}")
            for name, task in self.tasks.items():
                with empty_folder(self.folder) as empty:
                    began = time.perf_counter()
                    task.run(empty)
                    rates[name].append(task.samples / (time.perf_counter() - began))
        return rates


@contextlib.contextmanager
def empty_folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what peers print while they copy."""
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield


def main(options: argparse.Namespace) -> bool:
    """Measure, show, and say whether every goal was reached."""
    left_out = [peer.name for peer in PEERS if not installed(*peer.modules)]
    results = Results(options.seed)
    known = workloads(options.quick, options.seed)
    for letter in options.only:
        with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as folder:
            bench = Bench(known[letter], Path(folder))
            console.print(f"{letter}: {bench.workload.title}, {bench.workload.count} samples", markup=False)
            bench.prepare()
            bench.check()
            results.add(bench.workload, bench.measure(options.rounds), bench.fallback_share)
    reached = show(results)
    if left_out:
        print(f"Left out, for they are not installed: {', '.join(left_out)}.")
    if options.picture:
        import picture

        picture.draw(results, options.picture)
    return reached
