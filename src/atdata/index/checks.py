"""What may not be inserted into an index as it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata.dataset import Dataset
from atdata.errors import SchemaError, UsageError
from atdata.records import (
    Schema,
)
from atdata.records.entry import SPLITS
from atdata.samples.fields import accepts
from atdata.schema import schema_of


def check_uncut(maxcount: int | None, maxsize: float | None) -> None:
    """Refuse limits for shards where there is no data store that could cut any.

    Raises:
        UsageError: there is one.
    """
    if maxcount is not None or maxsize is not None:
        raise UsageError(
            "shards that stay where they are are not cut anew",
            path="maxsize" if maxcount is None else "maxcount",
            hint="Give the index a store with data_store=, or leave the limit out.",
        )


def check_splits(
    said: Mapping[str, Any], dataset: Dataset[Any], stored: int | None = None, *, cut: bool = False
) -> None:
    """Refuse splits in the metadata, which name shards by number, where the shards become others.

    Args:
        said: facts about the dataset.
        dataset: what is inserted.
        stored: how many shards it has where it is stored, once that is known.
        cut: whether limits are given, so that shards are cut anew, across splits.

    Raises:
        UsageError: they do.
    """
    if SPLITS in said.get("metadata", {}) and (cut or stored not in (None, len(dataset.shards))):
        raise UsageError(
            "splits name shards by number, and these are cut anew",
            path="metadata.splits",
            expected=f"the {len(dataset.shards)} shards of the dataset",
            actual="other shards" if stored is None else f"{stored} shards",
            hint="Write each split to shards of its own that are small enough, and insert those without limits.",
        )


def check_fits(sample_type: type, schema: Schema) -> None:
    """Refuse samples that are not what a schema describes.

    Raises:
        SchemaError: a field is missing, too many, or of a type that the schema's does not take.
    """
    declared = {field.name: field.type for field in schema.sample_schema.fields}
    for field in schema_of(sample_type).fields:
        if field.name not in declared or not accepts(declared.pop(field.name), field.type):
            raise SchemaError(
                "the samples are not what the schema describes",
                uri=schema.uri,
                path=f"{sample_type.__name__}.{field.name}",
                expected=str({f.name: str(f.type) for f in schema.sample_schema.fields}),
                actual=str(field.type),
                hint="Leave schema_ref out, and the dataset's own schema is published.",
            )
    if declared:
        raise SchemaError("the samples lack what the schema describes", uri=schema.uri, path=", ".join(declared))
