"""The loader as PyTorch's DataLoader knows iterables."""

from __future__ import annotations

from atdata.dataset.loader import Loader, T
from atdata.errors import MissingExtraError

try:
    from torch.utils.data import IterableDataset
except ImportError as error:
    raise MissingExtraError.of("torch", "a loader for DataLoader") from error


class TorchLoader(Loader[T], IterableDataset):  # type: ignore[misc]
    """A loader that `torch.utils.data.DataLoader(loader, batch_size=None, num_workers=n)` takes as it is."""
