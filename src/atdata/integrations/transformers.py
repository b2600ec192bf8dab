"""Loaders for the `Trainer` of transformers."""

from __future__ import annotations

from typing import Any

from atdata.integrations.accelerate import prepare


class LoaderTrainer:
    """A base of trainers whose `train_dataset` is a loader: `class OwnTrainer(LoaderTrainer, transformers.Trainer): ...`.

    The loader, made with `format="torch"` and the columns that the model takes, says the size of batches and shuffles; what
    the trainer's arguments say of either counts for nothing. With several ranks give it `equal_steps`.
    """

    args: Any
    train_dataset: Any

    def get_train_dataloader(self) -> Any:
        """The batches of the loader, which `resume_from_checkpoint` skips exactly."""
        return prepare(self.args.device, self.train_dataset, num_workers=self.args.dataloader_num_workers)
