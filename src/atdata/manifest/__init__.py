"""Manifests: what is in a shard, beside it, so that a reader finds samples without reading all of it."""

from atdata.manifest.aggregates import Aggregate
from atdata.manifest.build import (
    ManifestBuilder,
    ManifestWriter,
    discard_shard,
    manifest_files,
    manifest_paths,
    remove_manifest,
)
from atdata.manifest.field import Indexed, ManifestField, indexed_fields
from atdata.manifest.header import File, Header, SchemaReference
from atdata.manifest.manifest import Manifest
from atdata.manifest.pinned import pinned_header, pinned_manifest

__all__ = [
    "Aggregate",
    "File",
    "Header",
    "Indexed",
    "Manifest",
    "ManifestBuilder",
    "ManifestField",
    "ManifestWriter",
    "SchemaReference",
    "discard_shard",
    "indexed_fields",
    "manifest_files",
    "manifest_paths",
    "pinned_header",
    "pinned_manifest",
    "remove_manifest",
]
