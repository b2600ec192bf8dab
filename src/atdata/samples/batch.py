"""Rows side by side: one column per field."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from atdata.arguments import checked_text
from atdata.display import MOST_COLUMNS, Card
from atdata.errors import NotFoundError, SampleError, UsageError
from atdata.plain import plain
from atdata.samples.forms import DTYPES, Numbers, Ragged
from atdata.samples.jax import register_tree
from atdata.samples.numeric import arrays_of, forms_of, masked_of, ragged_of, to_jax, to_torch
from atdata.samples.pictures import stack_pixels
from atdata.samples.stacking import stack, unstack

if TYPE_CHECKING:
    import pyarrow as pa
    import scipy.sparse as sparse

SparseArray: TypeAlias = "sparse.csr_array"
ArrowTable: TypeAlias = "pa.Table"

T = TypeVar("T")
V = TypeVar("V")  # of a batch that is made: a checker does not know the type of `SampleBatch` without one


class SampleBatch(Generic[T]):
    """Samples of one type as columns: `batch.image` is an array of shape `(len(batch), ...)`.

    A field of arrays that share dtype and shape is stacked; every other field is a list with one item per
    sample, also a field of arrays that do not share them. `batch["name"]` reaches any field, also one whose
    name is taken by an attribute here; by its `keys()` a batch is to `dict(batch)` and `f(**batch)` what a mapping is,
    while its length and iteration are those of samples. `batch.arrays["name"]` is an array of numbers too.

    JAX has it as a tree, whose leaves are the columns of numbers; what is made of such a tree has no others.

    Attributes:
        sample_type: of the samples.
        stored: columns as they were read: arrays, `Numbers` or lists.
        declared: the type that declares the columns: of samples without a type, whose fields were chosen, the one they were
            chosen from.
        rows: the samples, where columns alone cannot tell what they were.
        step: which of its rank's steps it is, from 0, in the pass of the loader that gave it. The steps that were passed
            over are counted too: `loader.state_dict(step=batch.step)`.
    """

    __slots__ = ("_listed", "declared", "rows", "sample_type", "step", "stored")

    def __init__(
        self,
        sample_type: type[T],
        columns: Mapping[str, Any],
        rows: Sequence[T] | None = None,
        step: int | None = None,
        declared: type[Any] | None = None,
    ) -> None:
        self.sample_type = sample_type
        self.declared = declared or sample_type
        self.stored = columns
        self.rows = rows
        self.step = step
        self._listed: dict[str, list[Any]] = {}
        if "jax" in sys.modules:
            register_tree(SampleBatch, SampleBatch._leaves, SampleBatch._of_leaves)

    @staticmethod
    def of(sample_type: type[V], samples: Sequence[V]) -> SampleBatch[V]:
        """The batch of some samples, in order. Where samples without a type lack a field that others have, it is `None`.
        What is no sample is in a column `value`.
        """
        from atdata.samples.packable import VALUE, PackableSample, fields_of, is_plain

        rows: Sequence[Any] = samples
        if not all(isinstance(row, PackableSample | Mapping) for row in rows):
            return SampleBatch(sample_type, {VALUE: stack(list(rows))}, samples)
        if rows and isinstance(rows[0], Mapping):
            names = list(dict.fromkeys(name for row in rows for name in row))
            return SampleBatch(sample_type, {name: stack([row.get(name) for row in rows]) for name in names}, samples)
        if issubclass(sample_type, Mapping):
            return SampleBatch(sample_type, {}, samples)

        names = [field.name for field in fields_of(sample_type)]
        kept = None if names and is_plain(sample_type) else samples
        return SampleBatch(sample_type, {name: stack([getattr(row, name) for row in rows]) for name in names}, kept)

    def keys(self) -> KeysView[str]:
        """The names of all columns."""
        return self.stored.keys()

    @property
    def columns(self) -> dict[str, Any]:
        """All columns by name, each an array or a list."""
        return {name: self[name] for name in self.stored}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Columns as arrays `(len(batch), ...)`, where they can be: fields of arrays that are stacked, and fields of
        numbers or truth values of which none is missing, as int64 (if it holds them), float64 or bool.
        """
        found = _Arrays()
        found.stored = self.stored
        for name, column in self.stored.items():
            array = column.array if isinstance(column, Numbers) and not _is_masked(column) else _numbers(column)
            if array is not None:
                found[name] = array
        return found

    def decode_images(
        self, name: str, size: int | tuple[int, int] | None = None, mode: str = "RGB"
    ) -> NDArray[np.uint8]:
        """The pixels of a field of images, decoded in threads and stacked.

        Args:
            name: the field.
            size: height and width that all are brought to, or one number for both; without it they must have one size.
            mode: `RGB`, `RGBA` or `L`.

        Returns:
            uint8 `(len(batch), height, width, channels)`, or `(len(batch), height, width)` for `L`.

        Raises:
            NotFoundError: the batch has no such field.
            MissingExtraError: Pillow is not installed.
            UsageError: the mode is another.
            SampleError: a value is no image or cannot be decoded, or they are not of one size; `path` names it.
        """
        from atdata.samples.kinds import Image  # what nobody needs who has no images

        encoded = [value.data if isinstance(value, Image) else value for value in self[name]]
        for number, value in enumerate(encoded):
            if not isinstance(value, bytes):
                raise SampleError(
                    "a value is no image", path=f"{name}[{number}]", expected="Image", actual=type(value).__name__
                )
        try:
            return stack_pixels(encoded, (size, size) if isinstance(size, int) else size, mode)
        except SampleError as error:
            error.path = f"{name}{error.path}"
            raise

    def masked_array(self, name: str) -> np.ma.MaskedArray[Any, Any]:
        """A field of numbers or truth values that may be `None`: the values, and a mask that is true where there is none.

        Raises:
            NotFoundError: the batch has no such field.
            SampleError: a value is no number; `path` names it.
        """
        column = masked_of(self.declared, name, self._column(name))
        mask = np.zeros(len(column), bool) if column.mask is None else column.mask
        return np.ma.MaskedArray(column.array, mask)

    def ragged_array(self, name: str) -> Ragged:
        """A field of arrays of any length, or of lists of numbers: all items behind each other, and where each value begins.

        Raises:
            NotFoundError: the batch has no such field.
            SampleError: a value is `None` or no array, or they differ in more than the first dimension; `path` names it.
        """
        return ragged_of(self.declared, name, self._column(name))

    def sparse_array(self, name: str) -> SparseArray:
        """A field of sparse matrices below each other, as one `scipy.sparse.csr_array`.

        Raises:
            NotFoundError: the batch has no such field.
            SampleError: a value is no sparse matrix, or they differ in their number of columns; `path` names it.
        """
        from atdata.samples.kinds.sparse import stacked  # what nobody needs who has no such field

        return stacked(name, self[name])

    def to_torch(self, device: Any = None, non_blocking: bool = False) -> dict[str, Any]:
        """The columns as tensors of PyTorch, of the dtypes that they have here and sharing their memory.

        A field of numbers or arrays that may be `None` is two tensors, the values and `{name}_mask`, true where there is
        none. Arrays of several lengths are a nested tensor in the jagged layout, sparse matrices one in CSR. What is none of
        these stays a list.

        Args:
            device: where they shall be; by default in memory.
            non_blocking: as of `torch.Tensor.to`.

        Raises:
            MissingExtraError: PyTorch is not installed.
            SampleError: PyTorch has no such dtype; `path` names the field.
            UsageError: a field has the name of a mask.
        """
        return to_torch(self._forms(), device, non_blocking)

    def to_jax(self) -> dict[str, Any]:
        """The columns as arrays of JAX, as `to_torch` has them; arrays of several lengths are a dict of `values` and
        `offsets`, sparse matrices a `BCSR`. Items of 64 bits have 32 unless `jax_enable_x64` is set, as all in JAX.

        Raises:
            MissingExtraError: JAX is not installed.
            SampleError: JAX has no such dtype, or a number is none of 32 bits; `path` names the field.
            UsageError: a field has the name of a mask.
        """
        return to_jax(self._forms())

    def _forms(self) -> dict[str, Any]:
        if not self.stored and len(self):
            raise UsageError(
                "samples of several types have no columns together",
                actual=", ".join(sorted({type(row).__name__ for row in self.samples}))[:160],
                hint="Map them to one type, or take the batch without format=.",
            )
        return forms_of(self.declared, self.stored)

    def to_arrow(self) -> ArrowTable:
        """The columns as an Arrow table, with the types of `Dataset.to_arrow`; those that a declaration leaves open are as
        these samples have them.

        Raises:
            MissingExtraError: pyarrow is not installed.
            SampleError: values that Arrow has no type for; `path` names the field.
        """
        from atdata.samples.tables import table_of

        return table_of(self.declared, self.columns)

    def _leaves(self) -> tuple[list[Any], tuple[type[Any], tuple[str, ...]]]:
        """The columns of numbers, and what `_of_leaves` makes a batch of them by."""
        from atdata.samples.untyped import DictSample

        found = arrays_of(self.declared, self.stored)
        whole = found.keys() == self.stored.keys()
        return list(found.values()), (self.sample_type if whole else DictSample, tuple(found))

    @staticmethod
    def _of_leaves(structure: tuple[type[V], tuple[str, ...]], leaves: Sequence[Any]) -> SampleBatch[V]:
        sample_type, names = structure
        return SampleBatch(sample_type, dict(zip(names, leaves, strict=True)))

    @property
    def samples(self) -> list[T]:
        """The rows again. Their arrays are views into the batch, but for types whose making runs code of their own."""
        if self.rows is not None:
            return list(self.rows)
        build: Any = self.sample_type
        names, columns = list(self.columns), [unstack(column) for column in self.columns.values()]
        rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
        if issubclass(build, Mapping):
            return [build(row) for row in rows]
        from atdata.samples.packable import maker_of

        return list(map(maker_of(build), rows))

    def __len__(self) -> int:
        return len(next(iter(self.stored.values()), ()) if self.rows is None else self.rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self.samples)

    def __contains__(self, given: object) -> bool:
        """True for the name of a column, and for a sample that is here."""
        return given in self.stored if isinstance(given, str) else given in self.samples

    def _column(self, name: str) -> Any:
        """A column as it is stored."""
        given: Any = name
        if not isinstance(given, str) or name not in self.stored:
            checked_text(given, "a field's name", "batch['label'] is a column; batch.samples[3] is a sample.")
            raise NotFoundError(f"this batch has no field {name!r}", expected=", ".join(self.stored))
        return self.stored[name]

    def __getitem__(self, name: str) -> Any:
        column = self._column(name)
        if not isinstance(column, Numbers):
            return column
        if name not in self._listed:
            self._listed[name] = column.tolist()
        return self._listed[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"this batch has no field {name!r}; it has {', '.join(map(plain, self.stored))}"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.sample_type, {**self.stored, **self._listed}, self.rows, self.step, self.declared)

    def __repr__(self) -> str:
        def brief(column: Any) -> str:
            is_array = hasattr(column, "dtype")  # of numpy, or of JAX
            return f"{column.dtype} {list(column.shape)}" if is_array else f"list of {len(column)}"

        shown = [f"{plain(name)}: {brief(self.columns[name])}" for name in itertools.islice(self.columns, MOST_COLUMNS)]
        more = len(self.columns) - len(shown)
        fields = ", ".join([*shown, *([f"and {more:,} more"] if more else [])])
        return f"SampleBatch[{self.sample_type.__name__}]({len(self)} samples; {fields})"

    def _repr_html_(self) -> str:
        from atdata.samples.preview import SHOWN, preview

        some = self.samples[:SHOWN]
        return Card(repr(self), {}, [preview(some, f"first {len(some)}")]).html()


class _Arrays(dict[str, NDArray[Any]]):
    """The columns that are arrays; of the others it says why they are none. What is made of it, or sent, is a dict."""

    stored: Mapping[str, Any] = MappingProxyType({})

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __missing__(self, name: str) -> NDArray[Any]:
        if name not in self.stored:
            raise NotFoundError(f"this batch has no field {name!r}", expected=", ".join(self.stored or self))
        raise NotFoundError(
            f"the values of {name!r} in this batch cannot be one array",
            expected="arrays of one dtype and shape, or numbers or truth values, none of them missing",
            actual=", ".join(sorted({type(value).__name__ for value in self.stored[name]})),
            hint=f"Take them as a list: batch[{name!r}].",
        )


def _is_masked(column: Numbers) -> bool:
    return column.mask is not None and bool(column.mask.any())


def _numbers(column: Any) -> NDArray[Any] | None:
    if isinstance(column, Numbers):
        return None
    if isinstance(column, np.ndarray):
        return column
    dtype = DTYPES.get(type(column[0])) if len(column) else None
    if dtype is not None and len(set(map(type, column))) == 1:
        with suppress(OverflowError):
            return np.array(column, dtype)
    return None
