"""Samples: typed rows, their encoding as bytes, and batches of them."""

from atdata.samples.batch import SampleBatch
from atdata.samples.fields import Array, DictOf, Field, FieldType, ListOf, Maybe, Plain, Scalar, Shape
from atdata.samples.packable import DictSample, PackableSample, fields_of, packable

__all__ = [
    "Array",
    "DictOf",
    "DictSample",
    "Field",
    "FieldType",
    "ListOf",
    "Maybe",
    "PackableSample",
    "Plain",
    "SampleBatch",
    "Scalar",
    "Shape",
    "fields_of",
    "packable",
]
