"""lensVerification records: `VerificationPublisher`, `VerificationLoader`, and which of them count for a lens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from atdata.arguments import checked_text
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import AtUri, Did, Tid, typed_identifier
from atdata.atproto.verify import VerifiedIdentity
from atdata.errors import AtdataError, ConflictError, NotFoundError, UsageError
from atdata.index.deciding import Decision, Write
from atdata.records import CodeHash, CodeReference, LensRecord, LensVerification, Listing, Malformed, Trial
from atdata.records.facts import Facts, warn_of_not_taken
from atdata.records.record import datetime_text, moment, newest_first

_ANEW = "A verification stays as it was published; delete it, and publish another."


class VerificationPublisher:
    """Publishes what the client's account found out about lenses."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def publish(
        self,
        lens_uri: str,
        method: str,
        *,
        code_hash: Mapping[str, Any] | CodeHash | None = None,
        proof_ref: Mapping[str, Any] | CodeReference | None = None,
        description: str | None = None,
        verdict: str | None = None,
        trial: Mapping[str, Any] | Trial | None = None,
        counterexample: Mapping[str, Any] | None = None,
        lens_commit: str | None = None,
    ) -> AtUri:
        """Publish a verification of a lens, as its record is now. The same again is the same record.

        What an account says last, by one method about one version of a lens, is what it says: what it said before counts
        no longer.

        Args:
            lens_uri: the lens.
            method: `codeReview`, `formalProof`, `signedHash`, or `automatedTest`.
            code_hash: `{"algorithm": "sha256", "digest": "..."}` of the code; a `signedHash` needs it.
            proof_ref: `{"repository": url, "commit": full hash, "path": "dir/file"}` of a proof or of tests.
            description: what was verified, in words.
            verdict: `holds`, which is meant where nothing is said, or `fails`.
            trial: `{"samples": count, "seed": text, "space": text, "language": text}` of a test.
            counterexample: a sample on which the lens fails, and how, without floats.
            lens_commit: the CID of the version that was verified, where it may have changed since.

        Raises:
            NotFoundError: there is no such lens.
            VerificationError: a link to it broke; `step` names it.
            ConflictError: the lens is no longer the version that was verified.
            UsageError, LensError: an argument cannot be meant; nothing was written.
        """
        lens = self._client.read(checked_text(lens_uri, "lens_uri"), LensRecord)
        if lens_commit is not None and lens_commit != str(lens.cid):
            raise ConflictError(
                "the lens has changed since it was verified",
                uri=lens.located,
                expected=lens_commit,
                actual=lens.cid,
                hint="Verify it as it is now.",
            )
        draft = LensVerification(
            lens=lens.located,
            lens_commit=str(lens.cid),
            method=method,
            code_hash=None if code_hash is None else CodeHash.of(code_hash),
            proof_ref=None if proof_ref is None else CodeReference.of(proof_ref, "proof_ref", function=False),
            description=description,
            verdict=verdict,
            trial=None if trial is None else Trial.of(trial),
            counterexample=counterexample,
        )
        draft.check_complete()

        def decide(state: State) -> Decision[LensVerification]:
            said = state.named(LensVerification, draft.name).all()
            last = next((found for found in said if _subject(found) == _subject(draft)), None)
            if last is not None and last.index_keys.content == draft.index_keys.content:
                return Decision(last)
            new = draft if last is None else replace(draft, created_at=_after(last.created_at, draft.created_at))
            new = state.place(new, Tid.now())
            return Decision(new, [Write.create(new)])

        stands = self._client.records.transact([LensVerification], decide)
        warn_of_not_taken(stands, Facts.of(description).said, _ANEW)
        return stands.located


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


class VerificationLoader:
    """Reads verifications of anybody's; each is verified itself."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def get(self, uri: str) -> LensVerification:
        """The verification at an address. Whether it counts is another question: see `of`.

        Raises:
            NotFoundError: there is none.
            VerificationError: a link to it broke.
        """
        return self._client.read(uri, LensVerification)

    def list_all(self, repo: str | None = None, limit: int | None = None) -> Listing[LensVerification]:
        """Verifications by a DID or handle, newest first; the client's own by default."""
        return self._client.records.read_all(repo, LensVerification, limit)

    def of(self, lens_uri: str, *, verifiers: Sequence[str]) -> VerificationReport:
        """The verifications of a lens by some accounts, and whether each counts.

        One counts while the lens is the very version that it names, its account is active, and it is proven to be in the
        account's repository now. What cannot be proven or read of one verifier takes nothing from the others.

        Args:
            lens_uri: the lens.
            verifiers: DIDs or handles.

        Raises:
            NotFoundError: there is no such lens.
            VerificationError, NetworkError: it cannot be proven what the lens is now.
            UsageError, IdentifierError: there are no verifiers, or one is neither DID nor handle.
        """
        if isinstance(verifiers, str) or not verifiers:
            raise UsageError(
                "nobody says whose verifications are meant",
                path="verifiers",
                expected="a list of DIDs or handles",
                actual=repr(verifiers)[:100],
            )
        lens = self._client.read(checked_text(lens_uri, "lens_uri"), LensRecord)
        judged: dict[str, list[JudgedVerification]] = {}
        for who in verifiers:
            verifier, found = self._by(who, lens)
            judged.setdefault(verifier, found)
        return VerificationReport(lens, tuple(item for found in judged.values() for item in found))

    def _by(self, who: str, lens: LensRecord) -> tuple[str, list[JudgedVerification]]:
        """The verifications by one account."""
        verifier = str(typed_identifier(checked_text(who, "verifiers")))
        try:
            identity = self._client.reader.identity(verifier)
            verifier = str(identity.did)
            return verifier, self._judged(identity, lens)
        except NotFoundError as error:
            return verifier, [JudgedVerification(verifier, Discount.INACTIVE, error=error)]
        except AtdataError as error:
            return verifier, [JudgedVerification(verifier, Discount.UNPROVEN, error=error)]

    def _judged(self, identity: VerifiedIdentity, lens: LensRecord) -> list[JudgedVerification]:
        self._client.reader.check_active(identity)
        listing = self._client.reader.read_all(identity.did, LensVerification)
        found = judge(identity.did, lens, listing)
        return found or [JudgedVerification(str(identity.did), Discount.ABSENT)]


def judge(verifier: Did, lens: LensRecord, listing: Listing[LensVerification]) -> list[JudgedVerification]:
    """The verifications of a lens among all that an active account has, the newest first, and whether each counts.

    Args:
        verifier: the account.
        lens: as it is now.
        listing: all that the account has, proven complete.
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
