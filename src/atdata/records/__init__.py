"""The records of `science.alt.dataset`, one frozen class each, and the lexicons they obey."""

from atdata.records.address import Address
from atdata.records.entry import Entry, Predecessor, Size
from atdata.records.label import Label, Retraction
from atdata.records.lens import CodeReference, LensProgram, LensRecord, ProgramMember
from atdata.records.listing import Listing, Malformed, parse_record
from atdata.records.manifests import ShardManifest
from atdata.records.record import IndexKeys, Record, check_outgoing, lexicons, newest
from atdata.records.schema import Schema
from atdata.records.storage import Blob, BlobStorage, ExternalStorage, HttpStorage, S3Storage, Storage
from atdata.records.verification import METHODS, CodeHash, LensVerification, Trial
from atdata.records.version import Version, VersionRange, is_semver

__all__ = [
    "METHODS",
    "Address",
    "Blob",
    "BlobStorage",
    "CodeHash",
    "CodeReference",
    "Entry",
    "ExternalStorage",
    "HttpStorage",
    "IndexKeys",
    "Label",
    "LensProgram",
    "LensRecord",
    "LensVerification",
    "Listing",
    "Malformed",
    "Predecessor",
    "ProgramMember",
    "Record",
    "Retraction",
    "S3Storage",
    "Schema",
    "ShardManifest",
    "Size",
    "Storage",
    "Trial",
    "Version",
    "VersionRange",
    "check_outgoing",
    "is_semver",
    "lexicons",
    "newest",
    "parse_record",
]
