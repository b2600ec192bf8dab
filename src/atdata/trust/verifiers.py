"""The list of trusted verifiers: public, and with a new version for every change of it.

What is kept are the changes; the list of a version is what they come to. So the past cannot be told anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from atdata.arguments import checked_list, checked_text
from atdata.atproto.syntax import Did
from atdata.errors import IdentifierError, LimitError, NotFoundError, UsageError
from atdata.records import METHODS
from atdata.records.address import LOCAL
from atdata.replica import Statements

if TYPE_CHECKING:
    from atdata.policy import Policy

MAX_LISTED = 1_000
"""Verifiers on a list."""
MAX_WHY = 1_000
"""Characters of a reason."""


class TrustedVerifier(Struct, frozen=True):
    """A verifier on a list.

    Attributes:
        did: the account.
        methods: of which its word counts; without any, of all.
        since: since when it has been on the list, without a break, in microseconds since 1970; 0 on a list of no history.
        why: the reason that was given last.
    """

    did: Did
    methods: tuple[str, ...] = ()
    since: int = 0
    why: str = ""

    def has(self, method: str) -> bool:
        """True if its word counts where it verified by a method."""
        return not self.methods or method in self.methods


class TrustChange(Struct, frozen=True):
    """A change of the list.

    Attributes:
        version: of the list that it made.
        moment: when, in microseconds since 1970.
        did: the verifier.
        methods: of which its word counts from now on, without any of all; `None` where it was taken off the list.
        why: the reason.
    """

    version: int
    moment: int
    did: Did
    methods: tuple[str, ...] | None
    why: str

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """The change of a row of the table."""
        version, moment, did, methods, why = row
        said = None if methods is None else tuple(filter(None, methods.split(",")))
        return cls(version, moment, Did(did), said, bytes(why).decode())


@dataclass(frozen=True)
class VerifierList:
    """Verifiers whose word counts for somebody.

    Attributes:
        verifiers: by their DIDs.
        version: of the list; `None` for one that has no versions, such as one that came with a question.
        moment: when it became this, in microseconds since 1970; 0 for one that has no versions, and for the first.
        count: how many of them have to say that a lens holds.
    """

    verifiers: Mapping[str, TrustedVerifier] = field(default_factory=dict)
    version: int | None = None
    moment: int = 0
    count: int = 1

    @classmethod
    def of(cls, dids: Iterable[str], methods: Sequence[str] = (), count: int = 1) -> Self:
        """A list of somebody's own.

        Raises:
            IdentifierError: one is no DID.
            UsageError: there is no such method.
        """
        known = _methods(methods)
        return cls({str(did): TrustedVerifier(did, known) for did in map(Did, dids)}, count=count)


def lists_of(policy: Policy | None) -> tuple[VerifierList, ...]:
    """The lists of verifiers of a policy, one for each of its rules, all of which have to be satisfied.

    Who is `local` there verifies in one's own index, of which nothing is in a replica: nothing of that counts.
    """
    rules = () if policy is None else policy.verify
    return tuple(
        VerifierList.of((who for who in rule.verifiers if who != LOCAL), rule.methods, rule.count) for rule in rules
    )


def verifiers_at(sql: Statements, version: int | None = None) -> VerifierList:
    """The list of trusted verifiers as it is, or as it was in a version.

    Raises:
        NotFoundError: there was no such version.
    """
    (newest,) = sql.first("SELECT coalesce(max(version), 0) FROM trust_changes")
    wanted = newest if version is None else version
    if not 0 <= wanted <= newest:
        raise NotFoundError(
            "the list of trusted verifiers has no such version", expected=f"0 to {newest}", actual=wanted
        )
    listed: dict[str, TrustedVerifier] = {}
    moment, rows = 0, "SELECT version, moment, did, methods, why FROM trust_changes WHERE version <= ? ORDER BY version"
    for change in map(TrustChange.of_row, sql.all(rows, wanted)):
        moment, before = change.moment, listed.get(change.did)
        if change.methods is None:
            listed.pop(change.did, None)
        else:
            since = change.moment if before is None else before.since
            listed[change.did] = TrustedVerifier(change.did, change.methods, since, change.why)
    return VerifierList(listed, wanted, moment)


def changes_of(sql: Statements, before: int | None, limit: int) -> list[TrustChange]:
    """Changes of the list, the newest first: those that made a version below one, at most so many."""
    rows = (
        "SELECT version, moment, did, methods, why FROM trust_changes WHERE version < ? ORDER BY version DESC LIMIT ?"
    )
    return [TrustChange.of_row(row) for row in sql.all(rows, 2**62 if before is None else before, limit)]


def trust(sql: Statements, did: str, why: str, methods: Sequence[str], moment: int) -> int:
    """Put a verifier on the list, or change what is said of it there. The version of the list; the same again makes none.

    Args:
        sql: in a transaction that writes.
        did: the account.
        why: the reason, which everybody may read.
        methods: of which its word counts; without any, of all.
        moment: of now, in microseconds since 1970.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no such method, or no reason.
        LimitError: the list is full.
    """
    who, said, known = checked_did(did), checked_reason(why), _methods(methods)
    _alone(sql)
    now = verifiers_at(sql)
    before = now.verifiers.get(who)
    assert now.version is not None
    if before is not None and (before.methods, before.why) == (known, said):
        return now.version
    if before is None and len(now.verifiers) >= MAX_LISTED:
        raise LimitError(
            "the list of trusted verifiers is full",
            expected=f"at most {MAX_LISTED}",
            hint="Take those off the list that nobody asks for.",
        )
    return _write(sql, now.version + 1, moment, who, ",".join(known), said)


def distrust(sql: Statements, did: str, why: str, moment: int) -> int:
    """Take a verifier off the list; the version of the list. What it verified counts by it no more, from now on.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no reason.
        NotFoundError: it is not on the list.
    """
    who, said = checked_did(did), checked_reason(why)
    _alone(sql)
    now = verifiers_at(sql)
    assert now.version is not None
    if who not in now.verifiers:
        raise NotFoundError("a verifier is not on the list", uri=who, hint="The list names those that are.")
    return _write(sql, now.version + 1, moment, who, None, said)


def _write(sql: Statements, version: int, moment: int, did: Did, methods: str | None, why: str) -> int:
    insert = "INSERT INTO trust_changes (version, moment, did, methods, why) VALUES (?, ?, ?, ?, ?)"
    sql.run(insert, version, moment, did, methods, why.encode("utf-8", "replace"))
    return version


def _alone(sql: Statements) -> None:
    """Let nobody else change the list before this transaction has ended."""
    sql.first(f"SELECT one FROM trust_lock {sql.dialect.lock}")  # noqa: S608


def checked_did(text: str) -> Did:
    """The DID that an operator wrote.

    Raises:
        IdentifierError: it is none.
    """
    try:
        return Did(text)
    except IdentifierError as error:
        error.hint = "Name accounts by their DIDs: a handle may pass to somebody else."
        raise


def checked_reason(text: str) -> str:
    """The reason that an operator wrote.

    Raises:
        ArgumentTypeError, UsageError: it is none, or too long.
    """
    said = checked_text(text, "why").strip()
    if not 0 < len(said) <= MAX_WHY:
        raise UsageError(
            "the reason of a decision is too long" if said else "a decision needs a reason",
            path="why",
            expected=f"1 to {MAX_WHY} characters",
            actual=len(said),
            hint="Say why, in a sentence; on the command line with --reason.",
        )
    return said


def _methods(given: Sequence[str]) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(checked_list(given, str, "methods", f"Name some of {', '.join(METHODS)}.")))
    if unknown := set(known) - set(METHODS):
        raise UsageError(
            "a method of verification is unknown",
            path="methods",
            expected=", ".join(METHODS),
            actual=min(unknown),
            hint="Leave it out to let all count.",
        )
    return tuple(method for method in METHODS if method in known)
