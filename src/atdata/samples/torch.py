"""Arrays as tensors of PyTorch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError


def tensor(name: str, array: NDArray[Any]) -> Any:
    """The tensor that shares the memory of an array, where PyTorch can have it as it is; of what are no numbers, a list.

    Raises:
        MissingExtraError: PyTorch is not installed.
        SampleError: PyTorch has no such dtype; `path` is the name.
    """
    if array.dtype.kind not in "biufc":
        return array.tolist()
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()
    try:
        return _torch().from_numpy(array)
    except TypeError:
        raise SampleError(
            "PyTorch has no such dtype", path=name, actual=str(array.dtype), hint="Leave the field out: columns(...)."
        ) from None


def nested(name: str, values: NDArray[Any], offsets: NDArray[Any]) -> Any:
    """Ragged values as a nested tensor in the jagged layout. Raises as `tensor`."""
    items = tensor(name, values)
    return _torch().nested.nested_tensor_from_jagged(items, tensor(name, offsets))


def sparse(name: str, matrix: Any) -> Any:
    """A `csr_array` as a tensor in CSR. Raises as `tensor`."""
    parts = [tensor(name, part) for part in (matrix.indptr, matrix.indices, matrix.data)]
    return _torch().sparse_csr_tensor(*parts, size=matrix.shape, check_invariants=False)  # scipy has checked


def moved(value: Any, device: Any, non_blocking: bool) -> Any:
    """A tensor on a device; anything else as it is."""
    return value.to(device, non_blocking=non_blocking) if isinstance(value, _torch().Tensor) else value


@lru_cache(maxsize=1)
def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError.of("torch", "making tensors of PyTorch") from error
    return torch
