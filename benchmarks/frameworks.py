"""Loaders inside the frameworks that train with them, against the same loader alone: passes that take turns in one process,
page cache warm, columns of numbers (what a model takes), and a step that does nothing. From a framework that has a loop of
its own, what that takes is counted with the loader: the same loop over as many batches that are ready. Beside them what users
of PyTorch read otherwise: LitData, MosaicML's streaming and `datasets`, each with a copy of the same samples, in its own loader.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from peers import installed
from workers import open_dataset
from workloads import Workload, workloads

from atdata import Dataset

GOALS = {("A", 4096): 0.8, ("B", 256): 0.9, ("A", 256): None}
OTHERS = ("datasets", "LitData", "MosaicML")
READY = ", ready batches"

Pass = Callable[[], Any]


def drained(batches: Iterable[Any]) -> Pass:
    """A pass over batches."""

    def run() -> None:
        for _ in batches:
            pass

    return run


def passes(data: Dataset[Any], size: int, folder: Path) -> dict[str, Pass]:
    """A pass of each framework that is installed, and first that of the loader alone."""

    def loader(format: Any = "torch") -> Any:  # noqa: A002
        return data.loader(size, rank=0, world_size=1, format=format)

    found = {"loader": drained(loader())}
    steps = -(-len(data) // size)
    if installed("torch"):
        from torch.utils.data import DataLoader

        found["DataLoader"] = drained(DataLoader(loader(), batch_size=None))
    if installed("torchdata"):
        from torchdata.stateful_dataloader import StatefulDataLoader

        found["StatefulDataLoader"] = drained(StatefulDataLoader(loader(), batch_size=None))
    if installed("accelerate"):
        from atdata.integrations.accelerate import prepare

        found["accelerate"] = drained(prepare("cpu", loader()))
    if installed("lightning"):
        found["Lightning"] = lightning(loader())
        found["Lightning" + READY] = lightning(ready(loader(), steps))
    if installed("grain"):
        from atdata.integrations.grain import batches

        found["grain"] = drained(batches(loader(None)))
    if installed("transformers", "accelerate"):
        found["Trainer"] = trainer(loader(), steps, folder)
        found["Trainer" + READY] = trainer(ready(loader(), steps), steps, folder)
    others = {
        "datasets": (hugging_face, "datasets"),
        "LitData": (litdata, "litdata"),
        "MosaicML": (mosaicml, "streaming"),
    }
    for name, (made, module) in others.items():
        if installed(module, "torch"):
            found[name] = made(data, size, folder)
    return found


def ready(loader: Any, steps: int) -> Any:
    """As many batches as a pass has, which need not be read."""
    from torch.utils.data import DataLoader

    return DataLoader([next(iter(loader))] * steps, batch_size=None)  # type: ignore[arg-type]


def lightning(batches: Any) -> Pass:
    """An epoch of `fit`, in which nothing is trained."""
    import lightning as lit

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Nothing(lit.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, _: int) -> None:
            pass

        def configure_optimizers(self) -> None:
            pass

    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return lambda: lit.Trainer(accelerator="cpu", max_epochs=1, **dict.fromkeys(off, False)).fit(Nothing(), batches)


def trainer(batches: Any, steps: int, folder: Path) -> Pass:
    """An epoch of the `Trainer` of transformers, in which nothing is trained."""
    import torch
    import transformers

    from atdata.integrations.transformers import LoaderTrainer

    transformers.logging.set_verbosity_error()

    class Nothing(LoaderTrainer, transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            is_ready = isinstance(batches, torch.utils.data.DataLoader)
            return batches if is_ready else super().get_train_dataloader()

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            return torch.zeros(())

    off = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    options = transformers.TrainingArguments(str(folder / "run"), num_train_epochs=1, max_grad_norm=0, **off)

    def run() -> None:
        made = Nothing(torch.nn.Linear(1, 1), options, train_dataset=batches)
        made.remove_callback(transformers.PrinterCallback)
        assert made.train().global_step == steps

    return run


def litdata(data: Dataset[Any], size: int, folder: Path) -> Pass:
    """What users of LitData do."""
    import litdata as lit
    from litdata.streaming.cache import Cache

    place = folder / f"litdata-{size}"
    place.mkdir()
    cache = Cache(str(place), chunk_bytes="64MB")
    for number, sample in enumerate(data.ordered(batch_size=None)):
        cache[number] = sample.to_dict()
    cache.done()
    cache.merge()
    return lambda: drained(lit.StreamingDataLoader(lit.StreamingDataset(str(place)), batch_size=size))()


def mosaicml(data: Dataset[Any], size: int, folder: Path) -> Pass:
    """What users of MosaicML's streaming do."""
    import numpy as np
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    place = str(folder / f"mosaicml-{size}")
    first = next(iter(data.ordered(batch_size=None))).to_dict()
    kinds = {
        name: f"ndarray:{value.dtype}:{','.join(map(str, value.shape))}"
        if isinstance(value, np.ndarray)
        else {int: "int64", float: "float64", bool: "uint8", str: "str"}[type(value)]
        for name, value in first.items()
    }
    with MDSWriter(out=place, columns=kinds) as writer:
        for sample in data.ordered(batch_size=None):
            writer.write(sample.to_dict())
    copy = StreamingDataset(local=place, batch_size=size, shuffle=False)
    return drained(DataLoader(copy, batch_size=size))


def hugging_face(data: Dataset[Any], size: int, folder: Path) -> Pass:
    """What users of `datasets` do, with a copy of the same samples."""
    import datasets

    from atdata.integrations.huggingface import to_huggingface

    datasets.disable_progress_bars()
    copy = to_huggingface(data, str(folder / "copies")).with_format("torch")
    return lambda: drained(copy.iter(size))()


def measure(workload: Workload, data: Dataset[Any], size: int, folder: Path, rounds: int) -> bool:
    """Print the part of the loader's own rate that each gives; whether the goals are reached."""
    ways = passes(data, size, folder)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            if number:  # the first is to warm up
                times[name].append(time.perf_counter() - began)
    steps, goal, reached = -(-workload.count // size), GOALS[workload.name, size], True
    print(
        f"frameworks {workload.name}, batches of {size}: {workload.count / min(times['loader']):,.0f} samples/s alone"
    )
    nothing = [0.0] * rounds
    for name, taken in times.items():
        own = times.get(name + READY, nothing)  # what the framework's loop takes by itself
        alone = [one + other for one, other in zip(times["loader"], own, strict=True)]
        ratio = statistics.median(one / other for one, other in zip(alone, taken, strict=True))
        cost = 1e6 * (min(taken) - min(times["loader"])) / steps
        if name.endswith(READY):
            print(f"  {name}: {1e6 * min(taken) / steps:,.0f} us a batch")
            continue
        wanted = goal is not None and name not in ("loader", *OTHERS)
        reached &= not wanted or ratio >= (goal or 0)
        print(f"  {name}: {ratio:.2f}{f' (goal {goal})' if wanted else ''}, {cost:,.0f} us a batch beside the loader")
    for name in times.keys() & {*OTHERS}:
        ratio = statistics.median(one / other for one, other in zip(times[name], times["DataLoader"], strict=True))
        reached &= ratio >= 1
        print(f"  our DataLoader has {ratio:.1f} times the rate of {name} (goal 1)")
    return reached


def main(options: argparse.Namespace) -> bool:
    """Print the ratios; whether the goals are reached."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    known, reached = workloads(options.quick, options.seed), True
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for letter in ("A", "B"):
        with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as name:
            data = open_dataset(known[letter], Path(name)).columns(*known[letter].numbers)
            for size in (256, 4096) if letter == "A" else (256,):
                reached &= measure(known[letter], data, size, Path(name), options.rounds)
    print(f"load {os.getloadavg()[0]:.1f}")
    return reached
