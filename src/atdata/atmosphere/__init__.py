"""The AT Protocol: publish datasets under your own identity, load anyone's, with proof."""

from atdata.atmosphere.blobs import BlobSource, PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.code_lenses import AllowedCode
from atdata.atmosphere.datasets import DatasetLoader, DatasetPublisher
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atmosphere.labels import LabelLoader, LabelPublisher
from atdata.atmosphere.lenses import LensLoader, LensPublisher
from atdata.atmosphere.schemas import SchemaLoader, SchemaPublisher
from atdata.atmosphere.service_answers import ServiceAnswers, ServicePage
from atdata.atmosphere.service_records import RefusedRecord, ServiceRecord
from atdata.atmosphere.services import AppViewClient, ResolvedLabel
from atdata.atmosphere.trust import check_policy
from atdata.atmosphere.verifications import VerificationLoader, VerificationPublisher
from atdata.atproto.syntax import AtUri, BlobUri
from atdata.atproto.verify import Evidence

__all__ = [
    "AllowedCode",
    "AppViewClient",
    "AtUri",
    "AtmosphereClient",
    "AtmosphereIndex",
    "BlobSource",
    "BlobUri",
    "DatasetLoader",
    "DatasetPublisher",
    "Evidence",
    "LabelLoader",
    "LabelPublisher",
    "LensLoader",
    "LensPublisher",
    "PDSBlobStore",
    "RefusedRecord",
    "ResolvedLabel",
    "SchemaLoader",
    "SchemaPublisher",
    "ServiceAnswers",
    "ServicePage",
    "ServiceRecord",
    "VerificationLoader",
    "VerificationPublisher",
    "check_policy",
]
