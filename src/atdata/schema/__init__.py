"""Schemas: sample types as JSON Schema, and back; which of them read each other's samples."""

from atdata.schema.compatibility import (
    Compatibility,
    CompatibilityMode,
    FieldComparison,
    SchemaComparison,
    Step,
    check_mode,
    check_reads,
    compare,
    compatibility_of,
    is_transitive,
)
from atdata.schema.jsonschema import from_json_schema, to_json_schema
from atdata.schema.model import SampleSchema
from atdata.schema.python import schema_of, type_of

__all__ = [
    "Compatibility",
    "CompatibilityMode",
    "FieldComparison",
    "SampleSchema",
    "SchemaComparison",
    "Step",
    "check_mode",
    "check_reads",
    "compare",
    "compatibility_of",
    "from_json_schema",
    "is_transitive",
    "schema_of",
    "to_json_schema",
    "type_of",
]
