"""`PolicyVerdict`: what a policy says of a dataset, with every fact that was used and every one that could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.display import Card, Grid

HOLDS, REFUSES, UNKNOWN = "holds", "refuses", "unknown"


@dataclass(frozen=True)
class PolicyFinding:
    """One fact, seen by one rule.

    Attributes:
        rule: what was asked for.
        outcome: `holds`; `refuses`; or `unknown`, where the fact could not be had, which refuses too.
        fact: what was found.
        record: the record it is about, or that says it, with its version.
        proof: what proves it.
    """

    rule: str
    outcome: str
    fact: str
    record: str = ""
    proof: str = ""


@dataclass(frozen=True)
class PolicyVerdict:
    """The judgement of a policy over a dataset. Its `str` is a table.

    Attributes:
        policy: the name of the policy.
        uri: the dataset's entry.
        cid: its version.
        at: when it was judged.
        findings: every fact that was used, in the order of the rules.
    """

    policy: str
    uri: AtUri
    cid: Cid
    at: datetime
    findings: tuple[PolicyFinding, ...]

    @property
    def allowed(self) -> bool:
        """True if nothing refuses, and nothing that was asked for is unknown."""
        return not self.refusals

    @property
    def refusals(self) -> tuple[PolicyFinding, ...]:
        """The findings that refuse, those that are unknown among them."""
        return tuple(finding for finding in self.findings if finding.outcome != HOLDS)

    def card(self) -> Card:
        """The verdict as people look at it."""
        rows = [[found.rule, found.outcome, found.fact, found.record, found.proof] for found in self.findings]
        when = self.at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Card(
            "allowed" if self.allowed else "refused",
            {"policy": self.policy, "record": self.uri, "cid": self.cid, "judged": when},
            [Grid(["rule", "outcome", "fact", "record", "proof"], rows, whole=True)],
        )

    def __str__(self) -> str:
        return self.card().text()

    def _repr_html_(self) -> str:
        return self.card().html()
