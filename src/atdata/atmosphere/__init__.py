"""The AT Protocol: publish datasets under your own identity, load anyone's, with proof."""

from typing import TYPE_CHECKING

from atdata.lazy import attach

if TYPE_CHECKING:
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

# A program that only reads needs nothing of publishing: each comes when it is asked for.
__getattr__ = attach(
    __name__,
    {
        "atdata.atmosphere.blobs": (
            "BlobSource",
            "PDSBlobStore",
        ),
        "atdata.atmosphere.client": ("AtmosphereClient",),
        "atdata.atmosphere.code_lenses": ("AllowedCode",),
        "atdata.atmosphere.datasets": (
            "DatasetLoader",
            "DatasetPublisher",
        ),
        "atdata.atmosphere.index": ("AtmosphereIndex",),
        "atdata.atmosphere.labels": (
            "LabelLoader",
            "LabelPublisher",
        ),
        "atdata.atmosphere.lenses": (
            "LensLoader",
            "LensPublisher",
        ),
        "atdata.atmosphere.schemas": (
            "SchemaLoader",
            "SchemaPublisher",
        ),
        "atdata.atmosphere.service_answers": (
            "ServiceAnswers",
            "ServicePage",
        ),
        "atdata.atmosphere.service_records": (
            "RefusedRecord",
            "ServiceRecord",
        ),
        "atdata.atmosphere.services": (
            "AppViewClient",
            "ResolvedLabel",
        ),
        "atdata.atmosphere.trust": ("check_policy",),
        "atdata.atmosphere.verifications": (
            "VerificationLoader",
            "VerificationPublisher",
        ),
        "atdata.atproto.syntax": (
            "AtUri",
            "BlobUri",
        ),
        "atdata.atproto.verify": ("Evidence",),
    },
)

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


def __dir__() -> list[str]:
    return __all__
