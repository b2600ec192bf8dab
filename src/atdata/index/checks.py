"""Checks of what is inserted into an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.stored import packed_by_shard, stored_decoder
from atdata.errors import SchemaError, UsageError
from atdata.index.publication import Publication
from atdata.records import Schema
from atdata.records.entry import SPLITS
from atdata.samples import Field
from atdata.schema import schema_of


def check_splits(publication: Publication, count: int, origins: Sequence[int] | None) -> None:
    """Refuse splits in the metadata, which name shards by number, where the shards become others.

    Args:
        publication: what is said.
        count: how many shards the dataset has.
        origins: of each shard as it is stored the number of the dataset's that it stands for; `None` for none.

    Raises:
        UsageError: they do.
    """
    if SPLITS in publication.facts.said.get("metadata", {}) and (origins is None or [*origins] != [*range(count)]):
        raise UsageError(
            "splits name shards by number, and these are cut anew",
            path="metadata.splits",
            expected=f"the {count} shards of the dataset",
            actual="other shards",
            hint="Write each split to shards of its own that are small enough, and insert those without limits.",
        )


def check_fits(sample_type: type, schema: Schema) -> None:
    """Refuse samples that are not what a schema describes.

    Raises:
        SchemaError: a field is missing, too many, or of a type that the schema's does not take.
    """
    declared = {field.name: field for field in schema.sample_schema.fields}
    for field in schema_of(sample_type).fields:
        if field.name not in declared or not takes(declared.pop(field.name), field):
            raise SchemaError(
                "the samples are not what the schema describes",
                uri=schema.uri,
                path=f"{sample_type.__name__}.{field.name}",
                expected=str({f.name: f.shown for f in schema.sample_schema.fields}),
                actual=field.shown,
                hint="Leave schema_ref out, and the dataset's own schema is published.",
            )
    if declared:
        raise SchemaError("the samples lack fields that the schema describes", uri=schema.uri, path=", ".join(declared))


def takes(declared: Field, given: Field) -> bool:
    """True if every value of a field of samples is one of a schema's. Of a unit that samples do not say the schema's holds."""
    return declared.accepts(replace(given, unit=declared.unit if given.unit is None else given.unit))


def check_first(dataset: Dataset[Any], schema: Schema) -> None:
    """Refuse a dataset without a type whose first sample, as it would be stored, is not what a schema describes.

    Raises:
        SampleError: it is not.
    """
    decode = stored_decoder(schema.sample_type, dataset.view.about.layout)
    for rows in packed_by_shard(dataset.view):
        for _, stored, _ in rows:
            decode(stored)
            return
