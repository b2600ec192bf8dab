"""The kinds of fields: each is one class, and stands in the table here."""

from typing import Any

from atdata.samples.kinds import arrays, frames, safetensors, sparse, structured, tensors
from atdata.samples.kinds.arrays import Array, Shape
from atdata.samples.kinds.choices import ClassLabel, EnumOf, LiteralOf
from atdata.samples.kinds.containers import DictOf, ListOf, Maybe, Plain, bare
from atdata.samples.kinds.frames import FrameOf
from atdata.samples.kinds.kind import Derived, FieldType, Labelled, Marker, Misfit, same
from atdata.samples.kinds.media import Audio, AudioOf, Image, ImageOf, Video, VideoOf
from atdata.samples.kinds.moments import Date, DateTime, Duration, Time
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.kinds.safetensors import Safetensors, SafetensorsOf
from atdata.samples.kinds.scalars import Scalar, ScalarKind
from atdata.samples.kinds.sparse import SparseOf
from atdata.samples.kinds.structured import Dtype, StructuredOf
from atdata.samples.kinds.tensors import TensorOf
from atdata.samples.kinds.tuples import TupleOf
from atdata.samples.kinds.values import DecimalNumber, Uuid

KINDS: tuple[type[FieldType], ...] = (
    *(Scalar, Plain, Array, Maybe, ListOf, DictOf, TupleOf, SampleOf),
    *(DateTime, Date, Time, Duration, DecimalNumber, Uuid, EnumOf, LiteralOf, ClassLabel),
    *(ImageOf, AudioOf, VideoOf),
    *(StructuredOf, SparseOf, TensorOf, SafetensorsOf, FrameOf),
)
"""All kinds, in the order in which an annotation is offered to them."""

REFERENCES: dict[str, Any] = {
    **dict.fromkeys(arrays.REFERENCES, Array),
    **dict.fromkeys(structured.REFERENCES, StructuredOf),
    **dict.fromkeys(sparse.REFERENCES, SparseOf),
    **dict.fromkeys(tensors.REFERENCES, TensorOf),
    **dict.fromkeys(safetensors.REFERENCES, SafetensorsOf),
    **dict.fromkeys(frames.REFERENCES, FrameOf),
}
"""The kinds that schemas refer to."""

LABELS: dict[str, type[Labelled]] = {
    kind.label: kind for kind in KINDS if issubclass(kind, Labelled) and kind not in REFERENCES.values()
}
"""The kinds that schemas name."""

__all__ = [
    "KINDS",
    "LABELS",
    "REFERENCES",
    "Array",
    "Audio",
    "ClassLabel",
    "Derived",
    "DictOf",
    "Dtype",
    "FieldType",
    "Image",
    "Labelled",
    "ListOf",
    "LiteralOf",
    "Marker",
    "Maybe",
    "Misfit",
    "Plain",
    "Safetensors",
    "SampleOf",
    "Scalar",
    "ScalarKind",
    "Shape",
    "TupleOf",
    "Video",
    "bare",
    "same",
]
