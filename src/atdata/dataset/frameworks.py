"""Loaders inside accelerate, and so inside the Trainer of transformers.

It shares out among ranks what any iterable dataset gives, one batch or slice to each: of a rank's own share only a
part would ever be used. A loader that is read so says so, before its first batch.
"""

from __future__ import annotations

import sys
from typing import Any

from atdata.errors import UsageError


def refuse_sharing(loader: object) -> None:
    """See that nobody shares out what a loader gives, which is one rank's share already.

    Raises:
        UsageError: accelerate does.
    """
    reader = _reader_of(loader)
    if reader is None:
        return
    state = getattr(
        reader, "state", None
    )  # one that dispatches has it: all ranks get slices of what the first one reads
    processes = getattr(reader.dataset, "num_processes", 1) if state is None else state.num_processes
    if processes > 1:
        raise UsageError(
            "accelerate would share out again what this loader has shared among the ranks",
            actual=f"{type(reader.dataset if state is None else reader).__name__} for {processes} processes",
            hint="Instead of Accelerator.prepare(batches), use accelerate.data_loader.prepare_data_loader(batches, device,"
            " num_processes=1, process_index=0, put_on_device=True, dispatch_batches=False).",
        )


def refuse_skipping(loader: object) -> None:
    """See that batches are not skipped of whatever epoch a new loader happens to begin with.

    Raises:
        UsageError: accelerate would, as it does for a DataLoader that it has not prepared.
    """
    reader = _reader_of(loader)
    if getattr(reader, "skip_batches", 0) > 0:
        raise UsageError(
            "accelerate would skip batches of an epoch that nobody named",
            hint="Say which it is, loader.set_epoch(n), or give prepare_data_loader(...) the DataLoader first.",
        )


def refuse_state(loader: object) -> None:
    """See that what a loader has given out is what was used.

    Raises:
        UsageError: accelerate holds one more batch.
    """
    reader = _reader_of(loader)
    if hasattr(reader, "end_of_dataloader") and not getattr(reader, "use_stateful_dataloader", False):
        raise UsageError(
            "accelerate reads one batch ahead, so the loader cannot know what was used",
            hint="Say how many batches of this pass were used: state_dict(batches=n).",
        )


def _reader_of(loader: object) -> Any:
    """The DataLoader of accelerate that reads from a loader now."""
    state: Any = sys.modules.get("accelerate.state")
    if state is None or not state.GradientState._shared_state:
        return None
    for reader in state.GradientState().dataloader_references:
        read = getattr(reader, "dataset", None)
        if loader is read or loader is getattr(read, "dataset", None):
            return reader
    return None
