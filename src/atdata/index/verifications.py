"""Verifications of lenses, wherever they are kept: what is said of one version of a lens, and what of that counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from atdata.arguments import checked_map, checked_text, maybe_text
from atdata.atproto.syntax import Tid
from atdata.errors import AtdataError, ConflictError, UsageError
from atdata.index.deciding import Decision, Write
from atdata.index.ports import RecordState
from atdata.records import (
    METHODS,
    CodeHash,
    CodeReference,
    LensRecord,
    LensVerification,
    Listing,
    Malformed,
    Trial,
    check_outgoing,
)
from atdata.records.record import datetime_text, moment, newest_first

ANEW = "A verification stays as it was published; publish another, by the same method: the last one counts."
"""The way to say something else than what was not taken."""


def drafted(
    lens: LensRecord,
    method: str,
    *,
    code_hash: Mapping[str, Any] | CodeHash | None = None,
    proof_ref: Mapping[str, Any] | CodeReference | None = None,
    description: str | None = None,
    verdict: str | None = None,
    trial: Mapping[str, Any] | Trial | None = None,
    counterexample: Mapping[str, Any] | None = None,
    lens_commit: str | None = None,
) -> LensVerification:
    """A verification of a lens as it is now, about to be published; the arguments are those of `VerificationPublisher`.

    Raises:
        ConflictError: the lens is no longer the version that was verified.
        UsageError, LensError, DataModelError, LexiconError: an argument cannot be meant; `path` names it.
    """
    draft = LensVerification(
        lens=lens.located,
        lens_commit=str(lens.cid) if lens_commit is None else checked_text(lens_commit, "lens_commit"),
        method=checked_text(method, "method", f"Give one of {', '.join(METHODS)}."),
        code_hash=None if code_hash is None else CodeHash.of(code_hash),
        proof_ref=None if proof_ref is None else CodeReference.of(proof_ref, "proof_ref", function=False),
        description=maybe_text(description, "description"),
        verdict=maybe_text(verdict, "verdict", "Give holds or fails, or leave it out."),
        trial=None if trial is None else Trial.of(trial),
        counterexample=None if counterexample is None else checked_map(counterexample, "counterexample"),
    )
    check_outgoing(draft, bounded=False)  # before it is looked up: what is wrong is so in any case
    if draft.lens_commit != str(lens.cid):
        raise ConflictError(
            "the lens has changed since it was verified",
            uri=lens.located,
            expected=lens_commit,
            actual=lens.cid,
            hint="Verify it as it is now.",
        )
    return draft


def said_last(state: RecordState, draft: LensVerification) -> Decision[LensVerification]:
    """The decision that makes a verification the last word about its version by its method. The same as the last word is
    no second record.
    """
    named = state.named(LensVerification, draft.name)
    newest = named.last()  # first: who says something after this look is noticed
    said = newest_first(named.all())
    last = next((found for found in said if _subject(found) == _subject(draft)), None)
    if last is not None and last.index_keys.content == draft.index_keys.content:
        return Decision(last)
    new = draft if last is None else replace(draft, created_at=_after(last.created_at, draft.created_at))
    new = state.place(new, Tid.now())
    return Decision(new, [Write.create(new)], newest)


class Discount(StrEnum):
    """The reason for which a verification does not count."""

    STALE = "stale"
    NEGATIVE = "negative"
    INVALID = "invalid"
    SUPERSEDED = "superseded"
    MALFORMED = "malformed"
    INACTIVE = "inactive"
    UNPROVEN = "unproven"
    ABSENT = "absent"

    @property
    def words(self) -> str:
        """The reason in words."""
        return _WORDS[self]


_WORDS = {
    Discount.STALE: "it is of another version of the lens",
    Discount.NEGATIVE: "it does not say that the lens holds",
    Discount.INVALID: "it is a signedHash without the hash of the code",
    Discount.SUPERSEDED: "its verifier has said something else since",
    Discount.MALFORMED: "it cannot be read",
    Discount.INACTIVE: "its verifier's account is not active, or not there",
    Discount.UNPROVEN: "it cannot be proven what its verifier says",
    Discount.ABSENT: "its verifier says nothing about this lens",
}


@dataclass(frozen=True)
class JudgedVerification:
    """A verification and whether it counts; or a verifier of whom there is none that could.

    Attributes:
        verifier: the account, as a DID; as it was asked for, where that is not known.
        reason: why it does not count; `None` where it does.
        record: the verification, proven, with its evidence.
        uri: its address.
        error: what went wrong, where something did.
    """

    verifier: str
    reason: Discount | None
    record: LensVerification | None = None
    uri: str | None = None
    error: AtdataError | None = field(default=None, compare=False)

    @property
    def counts(self) -> bool:
        """True if it is a valid verification of the lens as it is, by an active account, that says that the lens holds."""
        return self.reason is None

    @property
    def why(self) -> str:
        """The reason in words; an empty text where it counts."""
        return "" if self.reason is None else self.reason.words


@dataclass(frozen=True)
class VerificationReport:
    """The verifications of a lens by some accounts, each with whether it counts, and why not.

    Attributes:
        lens: the lens as it is now, proven.
        found: the verifications, in the order of the verifiers that were asked for, the newest first.
    """

    lens: LensRecord
    found: tuple[JudgedVerification, ...]

    @property
    def counting(self) -> tuple[JudgedVerification, ...]:
        """Verifications that count."""
        return tuple(item for item in self.found if item.counts)

    def __iter__(self) -> Iterator[JudgedVerification]:
        return iter(self.found)

    def __bool__(self) -> bool:
        """Refuses: whoever asks must say how many, whose, and by which method.

        Raises:
            UsageError: always.
        """
        raise UsageError("a report on verifications is no yes or no", hint="Ask for those that count: report.counting.")


def judge(verifier: str, lens: LensRecord, listing: Listing[LensVerification]) -> list[JudgedVerification]:
    """The verifications of a lens among all that a verifier has, the newest first, and whether each counts.

    Args:
        verifier: an active account, or `local` for what one's own index keeps.
        lens: as it is now.
        listing: all that the verifier has, of which nothing was left out.
    """
    about = newest_first(found for found in listing if found.lens == lens.uri)
    said: set[tuple[str, str]] = set()
    judged = []
    for found in about:
        reason = _discount(found, lens, _subject(found) in said)
        said.add(_subject(found))
        judged.append(JudgedVerification(str(verifier), reason, found, str(found.uri)))
    unread = (passed for passed in listing.malformed if _names(passed, lens))
    return judged + [
        JudgedVerification(str(verifier), Discount.MALFORMED, uri=passed.uri, error=passed.reason) for passed in unread
    ]


def _discount(found: LensVerification, lens: LensRecord, said_anew: bool) -> Discount | None:
    if found.lens_commit != str(lens.cid):
        return Discount.STALE
    if said_anew:
        return Discount.SUPERSEDED
    if not found.is_valid:
        return Discount.INVALID
    return None if found.holds else Discount.NEGATIVE


def _after(last: str, present: str) -> str:
    """The time of what is said after something else, also where that was dated ahead."""
    if moment(present) > moment(last):
        return present
    with suppress(OverflowError):  # at the end of time
        return datetime_text(moment(last) + timedelta(milliseconds=1))
    return last


def _subject(found: LensVerification) -> tuple[str, str]:
    """The version and the method: about these an account says one thing, the last."""
    return found.lens_commit, found.method


def _names(passed: Malformed, lens: LensRecord) -> bool:
    return isinstance(passed.value, Mapping) and passed.value.get("lens") == str(lens.uri)
