"""Datasets as those of Hugging Face `datasets`: a copy with its types, and a stream that is read where it is.

The other way is `atdata.from_huggingface`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from atdata.dataset import Dataset
from atdata.errors import MissingExtraError, SampleError
from atdata.samples import Array, ClassLabel, DictSample, FieldType, Image, ListOf, fields_of
from atdata.samples.kinds import Misfit, bare
from atdata.samples.kinds.arrays import NUMBERS
from atdata.samples.kinds.media import ImageOf

if TYPE_CHECKING:
    import datasets

HuggingFaceDataset: TypeAlias = "datasets.Dataset"
Samples: TypeAlias = Any
"""The options of `Dataset.ordered` and `Dataset.shuffled`."""
HuggingFaceStream: TypeAlias = "datasets.IterableDataset"

BLOCK = 1024
"""Samples of a stream that are one shard to `datasets`."""

_DIMENSIONS = range(2, 6)  # of arrays that `datasets` has types for


def to_huggingface(dataset: Dataset[Any], cache_dir: str | None = None) -> HuggingFaceDataset:
    """A `datasets.Dataset` of the same samples, copied into the cache of `datasets`, where all that it has lies.

    Images are `datasets.Image`, classes `ClassLabel`, arrays of several dimensions `Array2D` and so on, those of one
    dimension lists, of one length where the type declares it; numbers, text and lists are what they are. All else is as in
    `Dataset.to_arrow`. Where a type declares no shape or dtype, that of the first sample is taken for all.

    Args:
        dataset: what is copied; a view of a dataset, too.
        cache_dir: the folder to copy to, if not where `datasets` has its own.

    Raises:
        MissingExtraError: `datasets` or pyarrow is not installed.
        SampleError: `datasets` has no type for a field, or a sample does not fit it; `path` names the field.
        AtdataError: as iteration raises.
    """
    columns = _columns(dataset)
    identity = str(dataset.view.fingerprint())  # another copy is made of other samples
    try:
        made: HuggingFaceDataset = _datasets().Dataset.from_generator(
            _All(dataset.ordered(), columns), _features(columns), cache_dir, gen_kwargs={"identity": identity}
        )
    except _datasets().exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None
    return made


def stream(
    dataset: Dataset[Any], *, shuffle: Literal[False, "global", "window"] = False, seed: int = 0, epoch: int = 0
) -> HuggingFaceStream:
    """A `datasets.IterableDataset` of the same samples, which are read when they are asked for, with the types of
    `to_huggingface`. A `state_dict` of it goes on exactly where it was.

    Args:
        dataset: what is read; a view of a dataset, too.
        shuffle: `False`, or the mode of `Dataset.shuffled`. Do not have `datasets` shuffle: it forgets what is in its buffer.
        seed: selects the shuffle.
        epoch: likewise: each epoch is a stream of its own.

    Raises:
        MissingExtraError: `datasets` or pyarrow is not installed.
        SampleError: `datasets` has no type for a field; `path` names it.
    """
    columns, starts = _columns(dataset), list(range(0, dataset.view.extent, BLOCK))
    samples = dataset.shuffled(seed=seed, epoch=epoch, mode=shuffle) if shuffle else dataset.ordered()
    made: HuggingFaceStream = _datasets().IterableDataset.from_generator(
        _Blocks(samples, columns), _features(columns), gen_kwargs={"starts": starts}
    )
    return made


@dataclass
class _Column:
    """A field as `datasets` has it.

    Attributes:
        kind: declared; `None` of samples without a type.
        feature: of `datasets`.
    """

    name: str
    kind: FieldType | None
    feature: Any

    def cell(self, sample: Any) -> Any:
        """The value of a sample."""
        value = sample.get(self.name) if isinstance(sample, DictSample) else getattr(sample, self.name)
        if value is None:
            return None
        if isinstance(value, Image):
            return {"bytes": value.data, "path": None}
        if isinstance(value, np.ndarray):
            return self._array(value)
        return value if self.kind is None or isinstance(self.kind, ListOf) else self.kind.to_cell(value)

    def _array(self, value: Any) -> Any:
        shape, dtype = getattr(self.feature, "shape", None), _dtype(self.feature)
        fits = value.ndim == 1 if shape is None else len(shape) == value.ndim
        if fits and shape is not None:
            fits = all(want in (None, size) for want, size in zip(shape, value.shape, strict=True))
        if not fits or value.dtype.name != dtype:
            raise SampleError(
                "an array is none of those that `datasets` has in this column",
                path=self.name,
                expected=str(self.feature),
                actual=f"{value.dtype} {list(value.shape)}",
                hint="Declare dtype and shape: Annotated[NDArray[np.float32], Shape(3, 4)].",
            )
        return value.astype(value.dtype.newbyteorder("="), copy=False)


class _Rows:
    """Rows of samples in some order, for `datasets` to call."""

    def __init__(self, samples: Samples, columns: list[_Column]) -> None:
        self.samples, self.columns = samples, columns

    def row(self, sample: Any) -> dict[str, Any]:
        """A sample as `datasets` takes it."""
        return {column.name: column.cell(sample) for column in self.columns}


class _All(_Rows):
    """All of them."""

    def __call__(self, identity: str) -> Iterator[dict[str, Any]]:
        return map(self.row, self.samples)


class _Blocks(_Rows):
    """The rows of some blocks of the order."""

    def __call__(self, starts: list[int]) -> Iterator[dict[str, Any]]:
        view, order = self.samples.view, self.samples.order
        places = [(start, min(start + BLOCK, view.extent)) for start in starts]
        for batch in view.read(view.numbers(order, places)):
            yield from map(self.row, batch)


def _columns(dataset: Dataset[Any]) -> list[_Column]:
    first = next(iter(dataset.head(1)), None)
    if not issubclass(dataset.sample_type, DictSample):
        kinds: dict[str, FieldType | None] = {field.name: field.type for field in fields_of(dataset.sample_type)}
    else:
        kinds = dict.fromkeys(first or ())
    return [_Column(name, kind and bare(kind), _feature(name, kind, first)) for name, kind in kinds.items()]


def _features(columns: list[_Column]) -> Any:
    return _datasets().Features({column.name: column.feature for column in columns})


def _feature(name: str, kind: FieldType | None, first: Any) -> Any:
    """The type of a field.

    Args:
        name: of the field.
        kind: declared.
        first: sample, for what is not declared.
    """
    api, kind = _datasets(), kind and bare(kind)
    value = None if first is None else first.get(name) if isinstance(first, DictSample) else getattr(first, name)
    if isinstance(kind, ClassLabel):
        return api.ClassLabel(names=list(kind.names))
    if isinstance(kind, ImageOf) or isinstance(value, Image):
        return api.Image()
    if isinstance(kind, Array) or isinstance(value, np.ndarray):
        return _array_feature(name, kind, value)
    try:
        return api.features.features.generate_from_arrow_type(
            _arrow().array([value]).type if kind is None else kind.arrow(_arrow())
        )
    except (ValueError, TypeError, Misfit, _arrow().ArrowException) as error:
        raise SampleError(
            "`datasets` has no type for a field",
            path=name,
            actual=str(kind or type(value).__name__),
            hint="Leave it out: dataset.columns(...); or map it to text.",
        ) from error


def _array_feature(name: str, kind: FieldType | None, value: Any) -> Any:
    """The type of a field of arrays."""
    api = _datasets()
    declared = kind if isinstance(kind, Array) else Array()
    scalar = declared.scalar if declared.scalar in NUMBERS else None if value is None else value.dtype.type
    shape = declared.shape.dims if declared.shape else None if value is None else value.shape
    if scalar is None or shape is None or np.dtype(scalar).kind not in "biufc" or not shape:
        raise SampleError(
            "`datasets` has no type for an array",
            path=name,
            expected="numbers in one dimension at least",
            actual="no dtype or no shape" if scalar is None or shape is None else f"{np.dtype(scalar)} {list(shape)}",
            hint="Declare dtype and shape: Annotated[NDArray[np.float32], Shape(3, 4)].",
        )
    item = np.dtype(scalar).name
    if len(shape) == 1:
        length = shape[0] if declared.shape and shape[0] is not None else -1
        return api.List(api.Value(item), length=length)
    if len(shape) not in _DIMENSIONS or None in shape[1:]:
        raise SampleError("`datasets` has no arrays of such a shape", path=name, actual=str(list(shape)))
    return getattr(api, f"Array{len(shape)}D")(shape=tuple(shape), dtype=item)


def _dtype(feature: Any) -> str:
    return str(feature.dtype if hasattr(feature, "shape") else feature.feature.dtype)


@lru_cache(maxsize=1)
def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError.of("huggingface", "a dataset of Hugging Face") from error
    return datasets


@lru_cache(maxsize=1)
def _arrow() -> Any:
    import pyarrow as pa  # which `datasets` requires

    return pa
