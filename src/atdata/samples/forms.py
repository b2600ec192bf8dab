"""The forms that columns have beside arrays and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples import torch
from atdata.samples.arrow import list_array

if TYPE_CHECKING:
    from pyarrow import Array
    from torch import Tensor as TorchTensor

ArrowArray: TypeAlias = "Array"
Tensor: TypeAlias = "TorchTensor"

DTYPES: dict[type, str] = {int: "=i8", float: "=f8", bool: "?"}
"""The dtypes of columns of Python's numbers."""


class Numbers:
    """A column of numbers or truth values, kept as an array until a list is asked for.

    Attributes:
        array: int64, float64 or bool `(n,)`.
        mask: bool `(n,)`, true where there is no number and `array` holds a zero; `None` where there is one everywhere.
    """

    __slots__ = ("array", "mask")

    def __init__(self, array: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> None:
        self.array, self.mask = array, mask

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, some: slice | NDArray[np.int64]) -> Numbers:
        return Numbers(self.array[some], None if self.mask is None else self.mask[some])

    @property
    def given(self) -> NDArray[Any]:
        """The numbers that there are."""
        return self.array if self.mask is None else self.array[~self.mask]

    def tolist(self) -> list[Any]:
        """The numbers as Python has them, `None` where there is none."""
        values: list[Any] = self.array.tolist()
        if self.mask is not None and self.mask.any():
            return [None if absent else value for value, absent in zip(values, self.mask.tolist(), strict=True)]
        return values


class Ragged:
    """Values of several lengths: all their items behind each other, and where each value begins.

    Attributes:
        values: the items of all, `(items, ...)`.
        offsets: int64 `(n + 1,)`: value `i` is `values[offsets[i] : offsets[i + 1]]`.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.values, self.offsets = values, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> NDArray[Any]:
        row = range(len(self))[number]
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def to_torch(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """A nested tensor of PyTorch, in its jagged layout.

        Args:
            device: where it shall be; by default in memory, where it shares what is here.
            non_blocking: as of `torch.Tensor.to`.

        Raises:
            MissingExtraError: PyTorch is not installed.
            SampleError: PyTorch has no such dtype.
        """
        found: Tensor = torch.moved(torch.nested("values", self.values, self.offsets), device, non_blocking)
        return found

    def to_arrow(self) -> ArrowArray:
        """A `pyarrow.ListArray`; lists of fixed size in it, where the items are arrays.

        Raises:
            MissingExtraError: pyarrow is not installed.
            SampleError: Arrow has no type for the items.
        """
        found: ArrowArray = list_array(self.values, self.offsets)
        return found

    def __repr__(self) -> str:
        return f"Ragged({len(self)} values of {self.values.dtype}, {len(self.values)} items)"


def numbers_of(name: str, column: Any, dtype: str | None = None) -> Numbers:
    """The numbers of a list, `None` among them.

    Args:
        name: of the field.
        column: the list.
        dtype: of the array, where there is no number that tells it; float64 by default.

    Raises:
        SampleError: a value is no number, or they are of several types, or not of 64 bits; `path` names the field.
    """
    values = list(column)
    kinds = {type(value) for value in values if value is not None}
    dtype = DTYPES.get(next(iter(kinds))) if len(kinds) == 1 else dtype or "=f8" if not kinds else None
    try:
        if dtype is not None:
            mask = np.array([value is None for value in values], bool)
            return Numbers(np.array([0 if value is None else value for value in values], dtype), mask)
    except OverflowError:
        pass
    raise SampleError(
        "the values of a field are not numbers of one type",
        path=name,
        expected="int of 64 bits, float or bool, or None",
        actual=", ".join(sorted(kind.__name__ for kind in kinds)),
    )


def ragged(name: str, column: Any, empty: NDArray[Any] | None = None) -> Ragged:
    """The ragged form of a column of arrays, or of lists of numbers.

    Args:
        name: of the field.
        column: its values.
        empty: what no items are, where none tells it; float64 by default.

    Raises:
        SampleError: a value is none of these, or they differ in more than the first dimension; `path` names it.
    """
    if isinstance(column, np.ndarray) and column.ndim > 1:
        count, length = column.shape[:2]
        return Ragged(column.reshape(count * length, *column.shape[2:]), np.arange(count + 1, dtype=np.int64) * length)
    parts = [_part(name, number, value) for number, value in enumerate(column)]
    given = [part for part in parts if len(part)]
    for number, part in enumerate(parts):
        if len(part) and (part.dtype != given[0].dtype or part.shape[1:] != given[0].shape[1:]):
            raise SampleError(
                "the values of a field differ in more than their length",
                path=f"{name}[{number}]",
                expected=_described(given[0]),
                actual=_described(part),
            )
    sizes = np.array([len(part) for part in parts], np.int64)
    if not given and parts and isinstance(column[0], np.ndarray):
        given = parts[:1]
    values = np.concatenate(given) if given else np.empty(0) if empty is None else empty
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))


def _part(name: str, number: int, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    if isinstance(value, list | tuple) and None not in value:
        return numbers_of(f"{name}[{number}]", value).array
    raise SampleError(
        "a value has no length",
        path=f"{name}[{number}]",
        expected="an array of one dimension at least, or a list of numbers",
        actual=type(value).__name__,
    )


def _described(part: NDArray[Any]) -> str:
    return f"{part.dtype} {['*', *part.shape[1:]]}".replace("'", "")
