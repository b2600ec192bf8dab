"""Loaders for accelerate, which shares out among ranks what any other iterable dataset gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from atdata.errors import MissingExtraError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

Batches: TypeAlias = "DataLoader[Any]"


def prepare(device: Any, loader: Any, **options: Any) -> Batches:
    """A prepared `DataLoader` over a loader: batches on a device, and the loader's own share of them.

    `batches.set_epoch(n)` picks the epoch, and `accelerator.skip_first_batches(batches, n)` goes on in the middle of it.
    Do not give it to `Accelerator.prepare` again.

    Args:
        device: where batches are put, such as `accelerator.device`.
        loader: of `Dataset.loader`, with `format="torch"` where no `collate_fn` makes tensors.
        options: for `DataLoader`, such as `num_workers=2`.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    try:
        from accelerate.data_loader import prepare_data_loader
        from torch.utils.data import DataLoader
    except ImportError as error:
        raise MissingExtraError.of("accelerate", "a loader for accelerate") from error
    batches: Batches = prepare_data_loader(
        DataLoader(loader, batch_size=None, **options),
        device,
        num_processes=1,
        process_index=0,
        put_on_device=True,
        dispatch_batches=False,
    )
    return batches
