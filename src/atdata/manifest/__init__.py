"""Manifests: descriptions of shards, so that a reader finds samples without reading all of one."""

from atdata.manifest.aggregates import Aggregate
from atdata.manifest.build import (
    ManifestBuilder,
    ManifestWriter,
    discard_shard,
    header_beside,
    link_shard,
    manifest_files,
    remove_manifest,
)
from atdata.manifest.changes import SampleChanges
from atdata.manifest.field import Indexed, ManifestField, indexed_fields
from atdata.manifest.files import manifest_paths
from atdata.manifest.finding import (
    carried_files,
    manifest_beside,
    pinned_header,
    pinned_manifest,
    proved_files,
    sample_digests,
)
from atdata.manifest.header import File, Header, SchemaReference
from atdata.manifest.manifest import Manifest
from atdata.manifest.parquet import SampleDigests, require_parquet

__all__ = [
    "Aggregate",
    "File",
    "Header",
    "Indexed",
    "Manifest",
    "ManifestBuilder",
    "ManifestField",
    "ManifestWriter",
    "SampleChanges",
    "SampleDigests",
    "SchemaReference",
    "carried_files",
    "discard_shard",
    "header_beside",
    "indexed_fields",
    "link_shard",
    "manifest_beside",
    "manifest_files",
    "manifest_paths",
    "pinned_header",
    "pinned_manifest",
    "proved_files",
    "remove_manifest",
    "require_parquet",
    "sample_digests",
]
