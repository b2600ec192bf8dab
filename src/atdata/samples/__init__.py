"""Samples: typed rows, their encoding as bytes, and batches of them."""

from atdata.samples.batch import SampleBatch
from atdata.samples.kinds import (
    Array,
    Audio,
    ClassLabel,
    DictOf,
    Dtype,
    FieldType,
    Image,
    ListOf,
    Maybe,
    Plain,
    Safetensors,
    Scalar,
    Shape,
    TupleOf,
    Video,
)
from atdata.samples.kinds.field import Doc, Field, Unit
from atdata.samples.packable import PackableSample, fields_of, packable
from atdata.samples.untyped import DictSample

__all__ = [
    "Array",
    "Audio",
    "ClassLabel",
    "DictOf",
    "DictSample",
    "Doc",
    "Dtype",
    "Field",
    "FieldType",
    "Image",
    "ListOf",
    "Maybe",
    "PackableSample",
    "Plain",
    "Safetensors",
    "SampleBatch",
    "Scalar",
    "Shape",
    "TupleOf",
    "Unit",
    "Video",
    "fields_of",
    "packable",
]
