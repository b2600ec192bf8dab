"""Tensors of Arrow, as messages of its IPC: the lexicon's `arrowTensor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atdata.errors import MissingExtraError
from atdata.samples.kinds.kind import Build, Derived, FieldType, Misfit, Parse, described
from atdata.samples.kinds.references import reference, references
from atdata.samples.kinds.scalars import Scalar

FORMAT, VERSION = "arrowTensor", "1.0.0"
REFERENCES = references(FORMAT)


@dataclass(frozen=True)
class TensorOf(Derived):
    """A `pyarrow.Tensor`."""

    label = "tensor"

    def __str__(self) -> str:
        return "pyarrow.Tensor"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        named = isinstance(annotation, type) and annotation.__name__ == "Tensor"
        return TensorOf() if named and annotation.__module__.split(".")[0] == "pyarrow" else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return _arrow().Tensor

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("bytes")

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        pa = _arrow()
        if not isinstance(value, pa.Tensor):
            raise Misfit(str(self), described(value), hint="Make one of an array: pyarrow.Tensor.from_numpy(array).")
        sink = pa.BufferOutputStream()
        try:
            pa.ipc.write_tensor(value, sink)
        except pa.ArrowException as error:
            raise Misfit(str(self), str(error)[:120]) from None
        return sink.getvalue().to_pybytes()

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        pa = _arrow()
        try:
            tensor = pa.ipc.read_tensor(pa.BufferReader(stored))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Misfit(f"{self}, as a message of Arrow", str(error)[:120]) from None
        # Arrow takes the word of a message for how far its items reach.
        body = len(stored) - 8 - int.from_bytes(stored[4:8], "little")
        reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        inside = min(tensor.strides, default=0) >= 0 and reach + tensor.type.bit_width // 8 <= body
        if tensor.size and not inside:
            raise Misfit(f"{self}, as a message of Arrow", "items outside of the message")
        return tensor

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"$ref": reference(FORMAT)}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield FORMAT, VERSION

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """The kind that a node with one of `REFERENCES` says."""
        return TensorOf()


@lru_cache(maxsize=1)
def _arrow() -> Any:
    try:
        import pyarrow.ipc
    except ImportError as error:
        raise MissingExtraError.of("tables", "a field of Arrow tensors") from error
    return pyarrow
