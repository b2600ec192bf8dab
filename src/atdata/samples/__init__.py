"""Samples: typed rows, their encoding as bytes, and batches of them."""

from atdata.samples.batch import SampleBatch
from atdata.samples.kinds import Array, ClassLabel, DictOf, FieldType, ListOf, Maybe, Plain, Scalar, Shape, TupleOf
from atdata.samples.kinds.field import Doc, Field, Unit
from atdata.samples.packable import DictSample, PackableSample, fields_of, packable

__all__ = [
    "Array",
    "ClassLabel",
    "DictOf",
    "DictSample",
    "Doc",
    "Field",
    "FieldType",
    "ListOf",
    "Maybe",
    "PackableSample",
    "Plain",
    "SampleBatch",
    "Scalar",
    "Shape",
    "TupleOf",
    "Unit",
    "fields_of",
    "packable",
]
