"""Schemas: sample types as JSON Schema, and back."""

from atdata.schema.jsonschema import from_json_schema, to_json_schema
from atdata.schema.model import SampleSchema
from atdata.schema.python import schema_of, type_of

__all__ = ["SampleSchema", "from_json_schema", "schema_of", "to_json_schema", "type_of"]
