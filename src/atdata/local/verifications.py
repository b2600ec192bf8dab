"""Verifications of lenses in a team's index: the word of whoever may write to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

from atdata.arguments import checked_type
from atdata.atproto.syntax import AtUri
from atdata.index.verifications import ANEW, VerificationReport, drafted, judge, said_last
from atdata.local.records import LocalRecords, check_owner
from atdata.records import CodeHash, CodeReference, LensRecord, LensVerification, Listing, Trial
from atdata.records.address import LOCAL
from atdata.records.facts import Facts, warn_of_not_taken


class LocalVerifications:
    """Verifications of lenses, of this index or of the network. Nobody signs them: all who may write here are one verifier,
    `local`.

    Attributes:
        records: where they are.
    """

    records: LocalRecords

    @abstractmethod
    def get_lens(self, ref: str) -> LensRecord:
        """See `LensIndex`."""

    def publish_verification(
        self,
        lens: str | LensRecord,
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
        """Keep a verification of a lens, as it is now. The same again is the same record.

        Args:
            lens: one of this index, as `get_lens` takes it; or one of the network, as it was read from there.
            method: `codeReview`, `formalProof`, `signedHash`, or `automatedTest`.
            code_hash: as for `VerificationPublisher.publish`, as are the others.
            proof_ref: a proof, or tests.
            description: what was verified, in words.
            verdict: `holds`, which is meant where nothing is said, or `fails`.
            trial: the samples of a test.
            counterexample: a sample on which the lens fails, and how, without floats.
            lens_commit: the CID of the version that was verified, where it may have changed since.

        Raises:
            NotFoundError: there is no such lens.
            ConflictError: the lens is no longer the version that was verified.
            UsageError, LensError: an argument cannot be meant; nothing was written.
        """
        draft = drafted(
            self._lens(lens),
            method,
            code_hash=code_hash,
            proof_ref=proof_ref,
            description=description,
            verdict=verdict,
            trial=trial,
            counterexample=counterexample,
            lens_commit=lens_commit,
        )
        stands = self.records.transact([LensVerification], partial(said_last, draft=draft))
        warn_of_not_taken(stands, Facts.of(description).said, ANEW)
        return stands.located

    def list_verifications(
        self, repo: str | None = None, limit: int | None = None, *, prefix: str = ""
    ) -> Listing[LensVerification]:
        """Verifications, newest first; with `prefix` those of lenses whose addresses begin with it, by address."""
        check_owner(repo)
        if prefix:
            return self.records.under(LensVerification, prefix, limit)
        return self.records.read_all(None, LensVerification, limit)

    def verifications_of(self, lens: str | LensRecord) -> VerificationReport:
        """The verifications of a lens that this index keeps, the newest first, and whether each counts.

        Args:
            lens: as for `publish_verification`.

        Raises:
            NotFoundError: there is no such lens.
        """
        found = self._lens(lens)
        listing = self.list_verifications(prefix=str(found.located))
        return VerificationReport(found, tuple(judge(LOCAL, found, listing)))

    def _lens(self, lens: str | LensRecord) -> LensRecord:
        if isinstance(lens, str):
            return self.get_lens(lens)
        read: LensRecord = checked_type(lens, LensRecord, "lens", "Give a name, an address, or a lens that was read.")
        return read
