"""Trust policies: data that say whose word a dataset needs before any of it is read, and the pure judge of them."""

from typing import TYPE_CHECKING

from atdata.lazy import attach

if TYPE_CHECKING:
    from atdata.policy.evaluation import evaluate, is_verified
    from atdata.policy.facts import LabelReading, LensFacts, PolicyFacts, Subject, VerificationFact, contents_of
    from atdata.policy.policy import Forbid, Policy, Require, Verify, policy_in_force
    from atdata.policy.verdict import PolicyFinding, PolicyVerdict

__getattr__ = attach(
    __name__,
    {
        "atdata.policy.evaluation": ("evaluate", "is_verified"),
        "atdata.policy.facts": (
            *("LabelReading", "LensFacts", "PolicyFacts", "Subject", "VerificationFact", "contents_of"),
        ),
        "atdata.policy.policy": ("Forbid", "Policy", "Require", "Verify", "policy_in_force"),
        "atdata.policy.verdict": ("PolicyFinding", "PolicyVerdict"),
    },
)

__all__ = [
    "Forbid",
    "LabelReading",
    "LensFacts",
    "Policy",
    "PolicyFacts",
    "PolicyFinding",
    "PolicyVerdict",
    "Require",
    "Subject",
    "VerificationFact",
    "Verify",
    "contents_of",
    "evaluate",
    "is_verified",
    "policy_in_force",
]


def __dir__() -> list[str]:
    return __all__
