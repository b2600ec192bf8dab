"""lensVerification records on the network: `VerificationPublisher` and `VerificationLoader`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from atdata.arguments import checked_list, checked_text
from atdata.atmosphere.client import AtmosphereClient, checked_client
from atdata.atproto.syntax import AtUri, typed_identifier
from atdata.atproto.verify import VerifiedIdentity
from atdata.errors import AtdataError, NotFoundError, UsageError
from atdata.index.verifications import (
    ANEW,
    Discount,
    JudgedVerification,
    VerificationReport,
    drafted,
    judge,
    said_last,
)
from atdata.records import CodeHash, CodeReference, LensRecord, LensVerification, Listing, Trial
from atdata.records.facts import Facts, warn_of_not_taken

_LENS = "Give the address of a lens: at://..."


class VerificationPublisher:
    """Publishes what the client's account found out about lenses."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = checked_client(client)

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
            UsageError, LensError, DataModelError, LexiconError: an argument cannot be meant; nothing was written.
        """
        draft = drafted(
            self._client.read(checked_text(lens_uri, "lens_uri", _LENS), LensRecord),
            method,
            code_hash=code_hash,
            proof_ref=proof_ref,
            description=description,
            verdict=verdict,
            trial=trial,
            counterexample=counterexample,
            lens_commit=lens_commit,
        )
        stands = self._client.records.transact([LensVerification], partial(said_last, draft=draft))
        warn_of_not_taken(stands, Facts.of(description).said, ANEW)
        return stands.located


class VerificationLoader:
    """Reads verifications of anybody's; each is verified itself."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = checked_client(client)

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
        hint = 'Name them in a list: verifiers=["did:plc:..."].'
        named = () if isinstance(verifiers, str) else checked_list(verifiers, str, "verifiers", hint)
        if not named:
            raise UsageError(
                "nobody says whose verifications are meant",
                path="verifiers",
                expected="a list of DIDs or handles",
                actual=repr(verifiers)[:100],
                hint=hint,
            )
        accounts = [str(typed_identifier(who)) for who in named]
        lens = self._client.read(checked_text(lens_uri, "lens_uri", _LENS), LensRecord)
        judged: dict[str, list[JudgedVerification]] = {}
        for account in accounts:
            verifier, found = self._by(account, lens)
            judged.setdefault(verifier, found)
        return VerificationReport(lens, tuple(item for found in judged.values() for item in found))

    def _by(self, verifier: str, lens: LensRecord) -> tuple[str, list[JudgedVerification]]:
        """The verifications by one account."""
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
