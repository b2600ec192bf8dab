"""Loaders inside Lightning and accelerate, and so inside the Trainer of transformers.

accelerate shares out among ranks what any iterable dataset gives, one batch or slice to each: of a rank's own share only
a part would ever be used. A loader that is read so says so, before its first batch.

A loader asks the stack who reads it: so it knows them also where it is inside a dataset of somebody's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from atdata.errors import UsageError

_ACCELERATE = "accelerate.data_loader"
_LIGHTNING = "lightning.pytorch.loops.fetchers", "pytorch_lightning.loops.fetchers"


def refuse_sharing() -> None:
    """Refuses to be read by what shares out again what a loader gives, which is one rank's share already.

    Raises:
        UsageError: accelerate does.
    """
    for reader in _readers(_ACCELERATE):
        state = getattr(reader, "state", None)  # of one that dispatches: all ranks get slices of what the first reads
        processes = getattr(reader if state is None else state, "num_processes", 1)
        if processes > 1:
            raise UsageError(
                "accelerate would share out again what this loader has shared among the ranks",
                actual=f"{type(reader).__name__} for {processes} processes",
                hint="Instead of Accelerator.prepare(batches), use accelerate.data_loader.prepare_data_loader(batches,"
                " device, num_processes=1, process_index=0, put_on_device=True, dispatch_batches=False).",
            )


def refuse_skipping() -> None:
    """Refuses to have batches skipped of whatever epoch a new loader happens to begin with.

    Raises:
        UsageError: accelerate would, as it does for a DataLoader that it has not prepared.
    """
    if any(getattr(reader, "skip_batches", 0) > 0 for reader in _readers(_ACCELERATE)):
        raise UsageError(
            "accelerate would skip batches of an epoch that nobody named",
            hint="Say which it is, loader.set_epoch(n), or give prepare_data_loader(...) the DataLoader first.",
        )


def ahead() -> str | None:
    """The framework that reads a batch ahead of what is used, where one reads now."""
    for reader in _readers(_ACCELERATE):
        if hasattr(reader, "end_of_dataloader") and not getattr(reader, "use_stateful_dataloader", False):
            return "accelerate"
    for reader in _readers(*_LIGHTNING):
        if getattr(reader, "prefetch_batches", 0) and not all(map(_sized, reader.combined_loader.flattened)):
            return "Lightning"
    return None


def _readers(*modules: str) -> Iterator[Any]:
    """The objects of some modules that ask for something now, from the inside out."""
    if not any(module in sys.modules for module in modules):
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in modules and "self" in frame.f_locals:
            yield frame.f_locals["self"]
        frame = frame.f_back


def _sized(batches: Any) -> bool:
    try:
        len(batches)
    except (TypeError, NotImplementedError):
        return False
    return True
