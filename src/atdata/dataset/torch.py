"""The loader as PyTorch's DataLoader knows iterables."""

from __future__ import annotations

from torch.utils.data import IterableDataset

from atdata.dataset.loader import Loader, T


class TorchLoader(Loader[T], IterableDataset):  # type: ignore[misc]
    """A loader that `torch.utils.data.DataLoader(loader, batch_size=None, num_workers=n)` takes as it is."""
