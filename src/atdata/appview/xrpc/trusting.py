"""Trust in answers: which list of verifiers was used, and what each verification is worth by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from atdata.appview.xrpc.asking import AskedQuery
from atdata.appview.xrpc.cursors import cursor_of, place_of
from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.appview.xrpc.views import View, moment_text
from atdata.errors import NotFoundError
from atdata.records import LensVerification
from atdata.replica import StoredRecord
from atdata.trust import (
    LensVerifications,
    TrustChange,
    VerificationJudge,
    VerifierList,
    changes_of,
    labelers,
    verifiers_at,
)

_SHOWN = 20  # verifications in the view of each lens of a page
_SHOWN_ALONE = 100


class TrustViews:
    """Verifications as one answer shows them.

    Args:
        asked: the question; its parameter `verifiers` is a list of the client's own, used instead of the service's.
    """

    def __init__(self, asked: AskedQuery) -> None:
        self._asked = asked
        self.own = verifiers_at(asked.reading.sql)
        with requested():
            given = asked.params.get("verifiers")
            self.used = self.own if given is None else VerifierList.of(given)
        self._judge = VerificationJudge(asked.reading)

    @property
    def said(self) -> View:
        """The list that was used."""
        of_client = self.used is not self.own
        chosen = {"verifiers": list(self.used.verifiers)} if of_client else {}
        return {"list": "client" if of_client else "service", "serviceVersion": self.own.version, **chosen}

    def members(self, verification: StoredRecord) -> View:
        """The members of a verification's view: whether it is of the lens as it is now, and what it is worth."""
        found = self._judge.standing(verification, self.used)
        service = found if self.used is self.own else self._judge.standing(verification, self.own)
        standing = {
            "counts": found.counts,
            **({} if found.counts else {"reason": "absent" if found.lens is None else found.reason, "why": found.why}),
            "trust": found.trust,
            "serviceTrust": service.trust,
        }
        return {"stale": found.stale, "standing": standing}

    def of_lens(self, lens: StoredRecord, limit: int) -> View:
        """The members of a lens's view: its verifications, those of trusted verifiers first."""
        found = LensVerifications.of(self._asked.reading.sql, str(lens.uri), self.used, limit)
        return {
            "verifications": [self._summary(record) for record in found.shown],
            "verificationsTotal": found.total,
            "trust": self.said,
        }

    def _summary(self, record: StoredRecord) -> View:
        said, handle = record.parse(), self._asked.views.handle(record.did)
        assert isinstance(said, LensVerification)
        return {
            "uri": str(record.uri),
            "cid": str(record.cid),
            "verifier": str(record.did),
            **({} if handle is None else {"handle": str(handle)}),
            "method": said.method,
            "lensCommit": said.lens_commit,
            **({} if said.verdict is None else {"verdict": said.verdict}),
            "createdAt": said.created_at,
            "verifiedAt": moment_text(record.verified_at),
            **self.members(record),
        }


def lens_views(asked: AskedQuery, lenses: Iterable[StoredRecord], alone: bool = False) -> list[View]:
    """The views of lenses, each with its verifications."""
    trust, lenses = TrustViews(asked), list(lenses)
    limit = _SHOWN_ALONE if alone else _SHOWN
    return [{**view, **trust.of_lens(lens, limit)} for lens, view in zip(lenses, asked.views.all(lenses), strict=True)]


def get_trusted_verifiers(asked: AskedQuery) -> dict[str, Any]:
    """The service's list of trusted verifiers, as it is or was, and its changes."""
    sql, place = asked.reading.sql, place_of("getTrustedVerifiers", asked.params.get("cursor"), 1)
    try:
        found = verifiers_at(sql, asked.params.get("version"))
    except NotFoundError as error:
        raise QueryFailure.absent("VersionNotFound", error.what) from error
    before = place[0] if place else (found.version or 0) + 1
    limit = asked.params["limit"]
    changes = changes_of(sql, before, limit + 1)
    return {
        "version": found.version,
        **({"at": moment_text(found.moment)} if found.moment else {}),
        "verifiers": [
            {
                "did": str(one.did),
                **_handle(asked, one.did),
                "since": moment_text(one.since),
                "why": one.why,
                "methods": list(one.methods),
            }
            for one in sorted(found.verifiers.values(), key=lambda one: (one.since, one.did))
        ],
        "changes": [_change(change) for change in changes[:limit]],
        **({"cursor": cursor_of("getTrustedVerifiers", [changes[limit - 1].version])} if len(changes) > limit else {}),
    }


def get_labelers(asked: AskedQuery) -> dict[str, Any]:
    """The labelers that the service follows, and when each was read last."""
    return {
        "labelers": [
            {
                "did": str(one.did),
                **_handle(asked, one.did),
                "since": moment_text(one.since),
                "why": one.why,
                **({"readAt": moment_text(one.read_at)} if one.read_at else {}),
                "failing": bool(one.failure),
            }
            for one in labelers(asked.reading.sql)
        ]
    }


def _handle(asked: AskedQuery, did: Any) -> View:
    handle = asked.views.handle(did)
    return {} if handle is None else {"handle": str(handle)}


def _change(change: TrustChange) -> View:
    shown = {"version": change.version, "at": moment_text(change.moment), "did": str(change.did), "why": change.why}
    action = "distrust" if change.methods is None else "trust"
    return {**shown, "action": action, **({} if change.methods is None else {"methods": list(change.methods)})}
