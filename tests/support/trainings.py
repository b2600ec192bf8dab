"""Training runs of two ranks, as users write them: `python trainings.py RUN FOLDER`, with what a launcher sets.

Each rank leaves in FOLDER which samples its model saw, in order: {part of the run: [[epoch, [id, ...]], ...]}. A run
that is stopped and resumed has the parts `... stopped` and `... resumed`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

import atdata
import atdata.integrations.accelerate
import atdata.integrations.transformers
from atdata import integrations
from atdata.errors import UsageError

SAMPLES, SIZE, STEPS = 640, 32, 10  # ten steps of two ranks
STOP = 14  # in the middle of the second epoch
EPOCHS = 2

Seen = list[tuple[int, list[int]]]


@atdata.packable
class Item:
    id: int
    values: NDArray[np.float32]


def write(folder: Path) -> None:
    items = (Item(n, np.full(4, n, np.float32)) for n in range(SAMPLES))
    atdata.write_samples(items, folder / "s-%03d.tar", maxcount=100)


def loader(folder: Path, **options: Any) -> Any:
    return atdata.Dataset[Item](str(folder / "s-*.tar")).loader(SIZE, shuffle="global", seed=3, **options)


def tensors(batch: Any) -> dict[str, torch.Tensor]:
    return {"values": torch.from_numpy(batch.values.copy()), "id": torch.tensor(batch.id)}


class Samples(IterableDataset[dict[str, torch.Tensor]]):
    """A dataset of somebody's own, with a loader inside."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def __iter__(self) -> Any:
        for batch in map(tensors, self.made):
            yield from ({name: values[row] for name, values in batch.items()} for row in range(len(batch["id"])))


def leave(folder: Path, rank: int, seen: dict[str, Any]) -> None:
    (folder / f"rank-{rank}.json").write_text(json.dumps(seen))


def refusal(act: Callable[[], Any]) -> str:
    """The first line of the error that something ends in."""
    try:
        act()
    except UsageError as error:
        return str(error)
    return "no error"


# --- PyTorch alone ------------------------------------------------------------------------------------------------------


def spawned(folder: Path) -> None:
    """The loader is made in the process that spawns the ranks, long before there is a process group."""
    made = loader(folder)
    assert str(made.rank) == "rank 0 of 1"
    torch.multiprocessing.spawn(one_spawned, (folder, made), nprocs=2)


def one_spawned(rank: int, folder: Path, made: Any) -> None:
    warnings.filterwarnings("ignore", "'set_vital' is deprecated|.*use of fork")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen: dict[str, Any] = {}
    for workers, method in ((0, None), (2, "fork"), (1, "spawn"), (1, "forkserver")):
        again = method == "fork"
        batches = DataLoader(
            made, batch_size=None, num_workers=workers, multiprocessing_context=method, persistent_workers=again
        )
        made.set_epoch(0)
        parts: Seen = []
        for epoch in range(2 if again else 1):
            parts += [(epoch, batch.id) for batch in batches]
        assert len(batches) == STEPS
        seen[f"{workers} workers, {method}"] = parts
        if workers:
            made.set_epoch(0)
            stopped = zip(range(3), batches, strict=False)
            seen[f"{method} stopped"] = [(0, batch.id) for _, batch in stopped]
            state = made.state_dict(batches=3)
            assert state["position"] == 3 * SIZE * 2
            other = loader(folder)
            other.load_state_dict(state)
            seen[f"{method} resumed"] = [(0, batch.id) for batch in other]
    said = loader(folder, rank=rank, world_size=2)
    seen["said"] = [(0, batch.id) for batch in said]
    seen["refused"] = [
        refusal(lambda: next(iter(loader(folder, rank=0, world_size=1)))),
        refusal(lambda: next(iter(loader(folder, rank=1 - rank, world_size=2)))),
        refusal(lambda: next(iter(DataLoader(loader(folder, rank=0, world_size=3), batch_size=None)))),
        refusal(lambda: len(loader(folder, rank=0, world_size=1))),
    ]
    alone = [torch.distributed.new_group([number]) for number in (0, 1)][rank]
    assert sorted(number for batch in loader(folder, group=alone) for number in batch.id) == list(range(SAMPLES))
    state = made.state_dict(step=2)
    torch.distributed.destroy_process_group()
    assert made.state_dict(step=2) == state  # the pass had two ranks, whoever asks later
    leave(folder, rank, seen)


def filtered(folder: Path) -> None:
    """A filter that leaves one of two ranks nothing in most steps: both end together."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    seen: dict[str, Any] = {}
    for name, keep in (("first", first_half), ("few", few), ("none", none)):
        items = atdata.Dataset[Item](str(folder / "s-*.tar")).filter(keep)
        for workers in (0, 2):
            padded = items.loader(SIZE, equal_steps="pad")
            batches = DataLoader(padded, batch_size=None, collate_fn=tensors, num_workers=workers)
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
            parts: Seen = []
            for batch in batches:
                model(batch["values"]).mean().backward()  # the ranks wait for each other
                parts.append((0, batch["id"].tolist()))
            seen[f"{name}, {workers} workers"] = parts
            assert len(padded) == STEPS
    torch.distributed.destroy_process_group()
    leave(folder, rank, seen)


def first_half(item: Item) -> bool:
    return item.id % 64 < 32


def few(item: Item) -> bool:
    return item.id in (70, 71, 500)


def none(item: Item) -> bool:
    return False


# --- Lightning ----------------------------------------------------------------------------------------------------------


def lightning(folder: Path) -> None:
    """Lightning starts the other rank itself, and has no process group before `fit`."""
    import lightning as L
    from torchdata.stateful_dataloader import StatefulDataLoader

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.seen = torch.nn.Linear(4, 1), list[Any]()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-6)

        def training_step(self, batch: Any, _: int) -> Any:
            batch = batch if isinstance(batch, dict) else tensors(batch)
            self.seen.append((self.current_epoch, batch["id"].tolist()))
            return self.line(batch["values"]).mean()

    class Stop(L.Callback):
        def __init__(self, step: int = STOP) -> None:
            self.step = step

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == self.step:
                trainer.save_checkpoint(folder / "lightning.ckpt")
                trainer.should_stop = True

    def fit(batches: Any, *callbacks: Any, resumed: bool = False) -> Seen:
        module, quiet = Module(), ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = L.Trainer(
            accelerator="cpu",
            devices=2,
            strategy="ddp",
            max_epochs=EPOCHS,
            callbacks=[*callbacks],
            **dict.fromkeys(quiet, False),
        )
        trainer.fit(module, batches, ckpt_path=folder / "lightning.ckpt" if resumed else None)
        return module.seen

    class Data(L.LightningDataModule):
        def train_dataloader(self) -> Any:
            return StatefulDataLoader(loader(folder, format="torch"), batch_size=None, num_workers=1)

    makers = {
        "a DataModule": Data,
        "the loader": lambda: loader(folder),
        "0 workers": lambda: StatefulDataLoader(loader(folder), batch_size=None, collate_fn=tensors),
        "2 workers": lambda: StatefulDataLoader(loader(folder), batch_size=None, collate_fn=tensors, num_workers=2),
    }
    seen: dict[str, Any] = {"DataLoader": fit(DataLoader(loader(folder), batch_size=None, num_workers=2))}
    for name, make in makers.items():
        seen[name] = fit(make())
        seen[f"{name} stopped"] = fit(make(), Stop())
        seen[f"{name} resumed"] = fit(make(), resumed=True)

    def unsized() -> Any:
        return atdata.Dataset[Item](str(folder / "s-*.tar")).filter(first_half).loader(SIZE // 2)

    makers = {
        "the loader": unsized,
        "0 workers": lambda: StatefulDataLoader(unsized(), batch_size=None, collate_fn=tensors),
        "2 workers": lambda: StatefulDataLoader(unsized(), batch_size=None, collate_fn=tensors, num_workers=2),
    }
    seen["unsized"] = [refusal(lambda make=make: fit(make(), Stop(1))) for make in makers.values()]
    leave(folder, torch.distributed.get_rank(), seen)


# --- accelerate, transformers -------------------------------------------------------------------------------------------


def prepared(made: Any, device: Any, workers: int) -> Any:
    """As docs/frameworks/accelerate.md says, but with batches that a function turns to tensors."""
    return integrations.accelerate.prepare(device, made, collate_fn=tensors, num_workers=workers)


def batches_after(folder: Path, state: Any) -> Any:
    made = loader(folder)
    made.load_state_dict(state)
    return made


def accelerate(folder: Path) -> None:
    from accelerate import Accelerator
    from accelerate.data_loader import prepare_data_loader
    from accelerate.utils import DataLoaderConfiguration

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(torch.nn.Linear(4, 1))

    def train(batches: Any, epoch: int, most: int = STEPS) -> Seen:
        seen = []
        for _, batch in zip(range(most), batches, strict=False):
            batch = batch if isinstance(batch, dict) else tensors(batch)
            accelerator.backward(model(batch["values"]).mean())
            seen.append((epoch, batch["id"].tolist()))
        return seen

    seen: dict[str, Any] = {}
    itself = accelerator.prepare(loader(folder))
    seen["the loader"] = train(itself, 0) + train(itself, 1)
    itself.set_epoch(1)
    seen["the loader stopped"] = train(itself, 1, 4)
    accelerator.register_for_checkpointing(itself)
    accelerator.save_state(folder / "accelerate")
    accelerator.wait_for_everyone()
    itself.set_epoch(0)
    accelerator.load_state(folder / "accelerate")
    seen["the loader resumed"] = train(itself, 1)

    for workers in (0, 2):
        batches = prepared(loader(folder), accelerator.device, workers)
        seen[f"{workers} workers"] = train(batches, 0) + train(batches, 1)
        made = loader(folder)
        batches = prepared(made, accelerator.device, workers)
        batches.set_epoch(1)
        seen[f"{workers} workers stopped"] = train(batches, 1, 4)
        seen[f"{workers} workers, reads ahead"] = [refusal(made.state_dict)]
        state = made.state_dict(batches=4)
        batches = prepared(loader(folder), accelerator.device, workers)
        batches.set_epoch(1)
        seen[f"{workers} workers resumed"] = train(accelerator.skip_first_batches(batches, 4), 1)
        seen[f"{workers} workers, state stopped"] = seen[f"{workers} workers stopped"]
        made = loader(folder)
        made.load_state_dict(state)
        batches = prepared(made, accelerator.device, workers)
        seen["other epoch"] = [refusal(lambda batches=batches: next(iter(batches)))]
        batches.set_epoch(1)
        seen[f"{workers} workers, state resumed"] = train(batches, 1)

    shared = accelerator.prepare(DataLoader(loader(folder), batch_size=None, collate_fn=tensors))
    seen["shared"] = [refusal(lambda: next(iter(shared)))]
    other = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False))
    shared = other.prepare(DataLoader(loader(folder), batch_size=1, collate_fn=lambda one: tensors(one[0])))
    seen["shared"] += [refusal(lambda: next(iter(shared)))]
    for workers in (0, 1):
        for method in ("fork", "spawn")[: 2 * workers] or (None,):
            batches = DataLoader(Samples(loader(folder)), SIZE, num_workers=workers, multiprocessing_context=method)
            batches = other.prepare(batches)
            seen["shared"] += [refusal(lambda batches=batches: next(iter(batches)))]
    skipped = [DataLoader(loader(folder), batch_size=None), DataLoader(Samples(loader(folder)), SIZE)]
    seen["skipped"] = [refusal(lambda a=a: next(iter(accelerator.skip_first_batches(a, 4)))) for a in skipped]
    made = loader(folder)
    batches = DataLoader(Samples(made), SIZE)
    batches = prepare_data_loader(batches, num_processes=1, process_index=0)
    seen["own"] = train(batches, 0, 4)
    seen["reads ahead"] = [refusal(made.state_dict)]
    seen["own"] += [(0, batch.id) for batch in batches_after(folder, made.state_dict(batches=4))]
    leave(folder, accelerator.process_index, seen)


def transformers(folder: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

    config = BertConfig(
        vocab_size=SAMPLES, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )

    class Model(BertForSequenceClassification):
        def forward(self, id: Any, values: Any) -> Any:
            self.seen.append(id.tolist())
            return super().forward(input_ids=id[:, None], labels=(values[:, 0] > SAMPLES / 2).long())

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step == STOP

    class OwnTrainer(integrations.transformers.LoaderTrainer, Trainer):
        pass

    def train(kind: type[Trainer], workers: int, resumed: bool = False, **options: Any) -> Seen:
        arguments = TrainingArguments(
            str(folder / "trainer"),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            num_train_epochs=EPOCHS,
            save_steps=STOP,
            logging_strategy="no",
            dataloader_num_workers=workers,
            remove_unused_columns=False,
        )
        model = Model(config)
        model.seen = []
        trainer = kind(model, arguments, **options)
        trainer.train(resume_from_checkpoint=str(folder / "trainer" / f"checkpoint-{STOP}") if resumed else None)
        first = STOP if resumed else 0
        return [((first + step) // STEPS, ids) for step, ids in enumerate(model.seen)]

    seen: dict[str, Any] = {}
    for workers in (0, 2):
        for part, options in {"": {}, " stopped": {"callbacks": [Stop()]}, " resumed": {"resumed": True}}.items():
            own = loader(folder, format="torch")
            seen[f"{workers} workers{part}"] = train(OwnTrainer, workers, train_dataset=own, **options)
    seen["shared"] = [refusal(lambda: train(Trainer, 0, train_dataset=loader(folder)))]

    class PlainTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            return DataLoader(loader(folder), batch_size=None, collate_fn=tensors)

    seen["plain"] = train(PlainTrainer, 0)
    seen["skipped"] = [refusal(lambda: train(PlainTrainer, 0, resumed=True))]
    leave(folder, int(os.environ["RANK"]), seen)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
