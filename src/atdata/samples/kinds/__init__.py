"""The kinds of fields: each is one class, and stands in the table here."""

from atdata.samples.kinds import arrays
from atdata.samples.kinds.arrays import Array, Shape
from atdata.samples.kinds.choices import ClassLabel, EnumOf, LiteralOf
from atdata.samples.kinds.containers import DictOf, ListOf, Maybe, Plain, bare
from atdata.samples.kinds.kind import Derived, FieldType, Labelled, Marker, Misfit, same
from atdata.samples.kinds.media import Audio, AudioOf, Image, ImageOf, Video, VideoOf
from atdata.samples.kinds.moments import Date, DateTime, Duration, Time
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.kinds.scalars import Scalar, ScalarKind
from atdata.samples.kinds.tuples import TupleOf
from atdata.samples.kinds.values import DecimalNumber, Uuid

KINDS: tuple[type[FieldType], ...] = (
    *(Scalar, Plain, Array, Maybe, ListOf, DictOf, TupleOf, SampleOf),
    *(DateTime, Date, Time, Duration, DecimalNumber, Uuid, EnumOf, LiteralOf, ClassLabel),
    *(ImageOf, AudioOf, VideoOf),
)
"""All kinds, in the order in which an annotation is offered to them."""

LABELS: dict[str, type[Labelled]] = {kind.label: kind for kind in KINDS if issubclass(kind, Labelled)}
"""The kinds that schemas name."""

REFERENCES = dict.fromkeys(arrays.REFERENCES, Array)
"""The kinds that schemas refer to."""

__all__ = [
    "KINDS",
    "LABELS",
    "REFERENCES",
    "Array",
    "Audio",
    "ClassLabel",
    "Derived",
    "DictOf",
    "FieldType",
    "Image",
    "Labelled",
    "ListOf",
    "Marker",
    "Maybe",
    "Misfit",
    "Plain",
    "SampleOf",
    "Scalar",
    "ScalarKind",
    "Shape",
    "TupleOf",
    "Video",
    "bare",
    "same",
]
