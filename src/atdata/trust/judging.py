"""The worth of verifications of lenses: joined when they are asked for, with each lens as it is at that moment.

Whether a verification counts is one question (`atdata.index.verifications.judge`, the same as everywhere), whether its
verifier is trusted another. No answer to either is kept, so that none can be old.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Self

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import LimitError
from atdata.index.verifications import Discount, JudgedVerification, judge
from atdata.records import LensRecord, LensVerification, Listing, Malformed
from atdata.records.nsids import LENS, LENS_VERIFICATION, today
from atdata.replica import Reading, Statements, StoredRecord
from atdata.replica.reading import fitting, numbered, records_where
from atdata.replica.tables import SHOWN
from atdata.trust.verifiers import VerifierList

MAX_SAID = 100
"""Verifications of one lens by one account that are weighed: of an account that has more, none counts."""
MAX_SAID_BYTES = 1_000_000
"""Bytes of these together, as above."""
MAX_WEIGHED, MAX_WEIGHED_BYTES = 3_000, 16_000_000
"""Verifications that are weighed for one question, and their bytes; what comes after these does not count."""
MAX_COUNTED = 5_000
"""Verifications of a lens that are counted."""

_CHUNK = 400
_SHOWN_BYTES = 200_000  # of one lens


class Trust(StrEnum):
    """The place of a verifier on a list, or off it."""

    TRUSTED = "trusted"
    OTHER_METHOD = "otherMethod"
    UNLISTED = "unlisted"


class Standing(Struct, frozen=True):
    """The worth of a verification, now.

    Attributes:
        reason: why it does not count, whoever is trusted; `None` where it counts.
        trust: whether the verifier is on the list that was asked for, for its method.
        lens: the lens as it is now; `None` where that is not there, or cannot be read.
    """

    reason: Discount | None
    trust: Trust
    lens: StoredRecord | None = None

    @property
    def counts(self) -> bool:
        """True if it is a valid word of an active account, its last, that the lens as it is now holds."""
        return self.reason is None

    @property
    def stale(self) -> bool:
        """True if it is of another version of the lens than is there now."""
        return self.reason is Discount.STALE or self.lens is None

    @property
    def negative(self) -> bool:
        """True if it is its verifier's last word, and does not say that the lens holds."""
        return self.reason is Discount.NEGATIVE

    @property
    def why(self) -> str:
        """The reason in words; an empty text where it counts."""
        if self.lens is None:
            return "the lens is not there"
        return "" if self.reason is None else self.reason.words


class VerificationJudge:
    """Weighs verifications of one state of a replica.

    Args:
        reading: the state.
    """

    def __init__(self, reading: Reading) -> None:
        self._sql = reading.sql
        self._reading = reading
        self._left, self._bytes = MAX_WEIGHED, MAX_WEIGHED_BYTES
        self._lenses: dict[str, tuple[StoredRecord, LensRecord] | None] = {}
        self._judged: dict[tuple[str, Did], list[JudgedVerification] | None] = {}

    def standing(self, verification: StoredRecord, verifiers: VerifierList) -> Standing:
        """The standing of a verification by a list of verifiers.

        Args:
            verification: a record of one that can be read.
            verifiers: who is trusted.
        """
        said = verification.parse()
        if not isinstance(said, LensVerification):
            return Standing(Discount.MALFORMED, Trust.UNLISTED)
        trust = trust_of(verifiers, verification.did, said.method)
        lens = self._lens(said.lens)
        if lens is None:
            return Standing(Discount.STALE, trust)
        reasons = self._reasons(lens[1], verification.did)
        return Standing(reasons.get(str(verification.uri), Discount.UNPROVEN), trust, lens[0])

    def endorsement(self, lens: str, trusted: Sequence[VerifierList]) -> tuple[Cid | None, tuple[tuple[str, str], ...]]:
        """The version of a lens that holds by every one of some lists, and who says so by which method.

        Args:
            lens: its address.
            trusted: of each of these enough have to say that the lens as it is now holds, and none that it fails.

        Returns:
            No version where it does not.
        """
        found = self._lens(AtUri(lens))
        if found is None:
            return None, ()
        dids = sorted({did for one in trusted for did in one.verifiers})
        saying: set[tuple[str, str]] = set()
        failing: set[tuple[str, str]] = set()
        for did in _verifiers_of(self._sql, lens, dids):
            judged = self._said(found[1], did)
            if judged is None:  # nobody knows whether it says that the lens fails
                return None, ()
            for item in judged:
                if item.record is not None and item.reason in (None, Discount.NEGATIVE):
                    (failing if item.reason else saying).add((str(did), item.record.method))
        for one in trusted:
            listed = {did for did, method in saying if trust_of(one, Did(did), method) is Trust.TRUSTED}
            refused = any(trust_of(one, Did(did), method) is Trust.TRUSTED for did, method in failing)
            if refused or len(listed) < one.count:
                return None, ()
        counted = {
            (did, method)
            for did, method in saying
            if any(trust_of(one, Did(did), method) is Trust.TRUSTED for one in trusted)
        }
        return found[0].cid, tuple(sorted(counted))

    def _lens(self, uri: AtUri) -> tuple[StoredRecord, LensRecord] | None:
        if uri not in self._lenses:
            is_lens = isinstance(uri.authority, Did) and uri.collection is not None and uri.rkey is not None
            stored = self._reading.get(uri) if is_lens and today(str(uri.collection)) == LENS else None
            parsed = None if stored is None else stored.parse()
            known = stored is not None and isinstance(parsed, LensRecord)
            self._lenses[uri] = (stored, parsed) if known else None  # type: ignore[assignment]
        return self._lenses[uri]

    def _reasons(self, lens: LensRecord, did: Did) -> Mapping[str, Discount | None]:
        """The reason for which each verification by an account does not count, by address."""
        return {str(item.uri): item.reason for item in self._said(lens, did) or () if item.uri is not None}

    def _said(self, lens: LensRecord, did: Did) -> Sequence[JudgedVerification] | None:
        """The verifications of a lens by an account, and whether each counts; `None` where there are too many."""
        place = (lens.located, did)
        if place not in self._judged:
            try:
                records = by_account(self._sql, lens.located, did, MAX_SAID + 1, min(MAX_SAID_BYTES, self._bytes))
            except LimitError:
                self._judged[place] = None
                return None
            self._left -= len(records)
            self._bytes -= sum(len(record.block or b"") for record in records)
            if len(records) > MAX_SAID or self._left < 0:
                self._judged[place] = None
                return None
            listing: Listing[LensVerification] = Listing()
            for parsed in (record.parse() for record in records):
                if isinstance(parsed, LensVerification | Malformed):
                    listing.add(parsed)
            self._judged[place] = judge(did, lens, listing)
        return self._judged[place]


def trust_of(verifiers: VerifierList, did: Did, method: str) -> Trust:
    """The place of an account on a list, for a method."""
    listed = verifiers.verifiers.get(did)
    if listed is None:
        return Trust.UNLISTED
    return Trust.TRUSTED if listed.has(method) else Trust.OTHER_METHOD


_FROM = "FROM replica_records r JOIN replica_accounts a ON a.id = r.account"
_OF_LENS = f"WHERE r.target = ? AND r.kind = ? AND {SHOWN} AND r.validity <> 'invalid'"


def by_account(sql: Statements, lens: str, did: Did, limit: int, most: int) -> list[StoredRecord]:
    """The verifications of a lens by an account, at most so many.

    Raises:
        LimitError: they have more than `most` bytes together.
    """
    where = f"{_OF_LENS} AND a.did = ? LIMIT ?"
    return records_where(sql, where, lens.encode(), LENS_VERIFICATION, did, limit, most=most)


class LensVerifications(Struct, frozen=True):
    """The verifications of a lens, of any version and by anybody.

    Attributes:
        shown: some of them, those of listed verifiers first, then the newest.
        total: how many there are; of many, `MAX_COUNTED`.
    """

    shown: list[StoredRecord]
    total: int

    @classmethod
    def of(cls, sql: Statements, lens: str, verifiers: VerifierList, limit: int) -> Self:
        """The verifications of a lens, at most so many of them shown."""
        found = f"SELECT r.id, a.did {_FROM} {_OF_LENS} ORDER BY r.sorted_at DESC, r.id DESC LIMIT ?"
        rows = sql.all(found, lens.encode(), LENS_VERIFICATION, MAX_COUNTED)
        listed = [number for number, did in rows if did in verifiers.verifiers]
        if len(rows) == MAX_COUNTED:  # whoever says much shall not hide who is listed
            listed = list(_listed(sql, lens, sorted(verifiers.verifiers), limit))
        numbers = list(dict.fromkeys([*listed, *(number for number, _ in rows)]))[:limit]
        return cls(numbered(sql, fitting(sql, numbers, _SHOWN_BYTES)), len(rows))


def _verifiers_of(sql: Statements, lens: str, dids: Sequence[str]) -> Iterator[Did]:
    """Yields those of some accounts that have said something of a lens."""
    for some in (dids[start : start + _CHUNK] for start in range(0, len(dids), _CHUNK)):
        found = f"SELECT DISTINCT a.did {_FROM} {_OF_LENS} AND a.did IN ({', '.join('?' * len(some))})"
        yield from (Did(did) for (did,) in sql.all(found, lens.encode(), LENS_VERIFICATION, *some))


def _listed(sql: Statements, lens: str, dids: Sequence[str], limit: int) -> Iterator[int]:
    """Yields the newest verifications of a lens by some accounts."""
    for at in range(0, len(dids), _CHUNK):
        some = dids[at : at + _CHUNK]
        found = f"""SELECT r.id {_FROM} {_OF_LENS} AND a.did IN ({", ".join("?" * len(some))})
            ORDER BY r.sorted_at DESC, r.id DESC LIMIT ?"""
        yield from (number for (number,) in sql.all(found, lens.encode(), LENS_VERIFICATION, *some, limit))
