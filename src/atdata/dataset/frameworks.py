"""Loaders inside PyTorch's DataLoader, Lightning and accelerate, and so inside the Trainer of transformers.

accelerate splits among ranks what any iterable dataset yields, one batch or slice to each: of a rank's own share only a
part would ever be used. A loader refuses to be read so, before its first batch.

A loader finds its readers on the call stack, also where it is inside a dataset of somebody's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from atdata.errors import UsageError

_ACCELERATE = "accelerate.data_loader"
_LIGHTNING = "lightning.pytorch.loops.fetchers", "pytorch_lightning.loops.fetchers"
_DATALOADERS = "torch.utils.data.dataloader", "torchdata.stateful_dataloader.stateful_dataloader"
_FETCHERS = ("torch.utils.data._utils.fetch",)


def refuse_sampling() -> None:
    """Refuses a DataLoader that would choose the order of what a loader yields. It is asked for where a DataLoader, while
    it is made, asks a loader for its class.

    Raises:
        UsageError: a DataLoader is being made with `shuffle=True` or a sampler.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == "abc":
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") not in _DATALOADERS:
        return
    said = frame.f_locals
    if wrong := [name for name in ("shuffle", "sampler", "batch_sampler") if said.get(name) not in (None, False)]:
        raise UsageError(
            "the order of a loader is its own",
            path=wrong[0],
            actual=f"DataLoader(loader, {wrong[0]}=...)",
            hint='Shuffle in the loader: DataLoader(dataset.loader(batch_size, shuffle="global"), batch_size=None).',
        )


def keep_as_they_are(instead: Callable[[Any], Any] | None = None) -> None:
    """Have a DataLoader that reads give out columns of tensors as they are: the conversion that it has for what somebody
    else may give it looks at each text by itself.

    Args:
        instead: a conversion of ours in its place.
    """
    convert = getattr(sys.modules.get("torch.utils.data"), "default_convert", None)
    for reader in _readers(*_FETCHERS):
        if convert is not None and reader.collate_fn is convert:
            reader.collate_fn = instead or _as_it_is


def _as_it_is(batch: Any) -> Any:
    return batch


def collates() -> bool:
    """True if a DataLoader reads that collates what it is given: it was made with a batch size."""
    return any(getattr(reader, "auto_collation", False) for reader in _readers(*_FETCHERS))


def refuse_sharing() -> None:
    """Refuses a reader that splits among ranks what a loader yields, which is one rank's share already.

    Raises:
        UsageError: accelerate reads, for several processes.
    """
    for reader in _readers(_ACCELERATE):
        state = getattr(reader, "state", None)  # of a dispatcher: all ranks get slices of what the first reads
        processes = getattr(reader if state is None else state, "num_processes", 1)
        if processes > 1:
            raise UsageError(
                "accelerate would split each rank's batches among the ranks again",
                actual=f"{type(reader).__name__} for {processes} processes",
                hint="Instead of Accelerator.prepare(batches), use accelerate.data_loader.prepare_data_loader(batches,"
                " device, num_processes=1, process_index=0, put_on_device=True, dispatch_batches=False).",
            )


def refuse_skipping() -> None:
    """Refuses a reader that skips batches of an epoch that nobody has set.

    Raises:
        UsageError: accelerate does, with a DataLoader that it has not prepared.
    """
    if any(getattr(reader, "skip_batches", 0) > 0 for reader in _readers(_ACCELERATE)):
        raise UsageError(
            "accelerate would skip batches of an epoch that was not set",
            hint="Set it with loader.set_epoch(n), or give prepare_data_loader(...) the DataLoader first.",
        )


def prefetching_framework() -> str | None:
    """The framework that reads this process's batches now, if it prefetches one."""
    for reader in _readers(_ACCELERATE):
        if hasattr(reader, "end_of_dataloader") and not getattr(reader, "use_stateful_dataloader", False):
            return "accelerate"
    for reader in _readers(*_LIGHTNING):
        if getattr(reader, "prefetch_batches", 0) and not all(map(_sized, reader.combined_loader.flattened)):
            return "Lightning"
    return None


def _readers(*modules: str) -> Iterator[Any]:
    """Yields the objects of some modules whose methods are on the call stack, the innermost first."""
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
