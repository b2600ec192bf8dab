"""Trust, kept in the database of a replica: the list of trusted verifiers, what verifications of lenses
are worth by it or by somebody else's, and the labels of labelers.

Nothing here says that a lens is good. It says who says so, of which version, by which method, and whether the one who
asked, or the one who answers, has that verifier on a list.
"""

from __future__ import annotations

from atdata.trust.judging import LensVerifications, Standing, Trust, VerificationJudge
from atdata.trust.labels import Concern, FollowedLabeler, KeptLabel, follow, labelers, labels_of, unfollow
from atdata.trust.tables import TABLES
from atdata.trust.verifiers import (
    TrustChange,
    TrustedVerifier,
    VerifierList,
    changes_of,
    checked_reason,
    distrust,
    lists_of,
    trust,
    verifiers_at,
)

__all__ = [
    "TABLES",
    "Concern",
    "FollowedLabeler",
    "KeptLabel",
    "LensVerifications",
    "Standing",
    "Trust",
    "TrustChange",
    "TrustedVerifier",
    "VerificationJudge",
    "VerifierList",
    "changes_of",
    "checked_reason",
    "distrust",
    "follow",
    "labelers",
    "labels_of",
    "lists_of",
    "trust",
    "unfollow",
    "verifiers_at",
]
