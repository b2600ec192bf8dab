"""A labeler: signs labels, and gives them out over XRPC as the reference labeler (Ozone) does.

https://atproto.com/specs/label, and the lexicon `com.atproto.label.queryLabels`. For each address, value and version it
keeps only what it said last, as Ozone does; one suite of tests runs against both.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.labels import SignedLabel
from atdata.atproto.plc import build_labeler_operation, did_of_genesis, operation_cid, sign_operation
from atdata.atproto.syntax import Did
from atdata.testing.devnet.plc import PlcDirectory
from atdata.testing.http import Answer, Refusal, Request

MOST, USUAL = 250, 50  # labels on a page
_QUERY = "/xrpc/com.atproto.label.queryLabels"


class Labeler:
    """The labeler's state and its XRPC interface.

    Attributes:
        did: who it is, once `register` was called.
        key: signs its labels.
    """

    def __init__(self, plc: PlcDirectory) -> None:
        self.key, self._rotation_key = PrivateKey.generate("k256"), PrivateKey.generate("k256")
        self.did = Did("did:web:nobody.invalid")
        self._plc, self._url = plc, ""
        self._newest: Cid | None = None
        self._said: dict[tuple[str, str, Cid | None], tuple[int, SignedLabel]] = {}
        self._count = 0
        self._lock = threading.Lock()

    def register(self, url: str) -> None:
        """Make an identity whose labeler is at a URL."""
        self._url = url
        self._submit()

    def rotate(self) -> None:
        """Take another key, and sign with it anew whatever was said."""
        self.key = PrivateKey.generate("k256")
        self._submit()
        with self._lock:
            self._said = {place: (number, self._again(label)) for place, (number, label) in self._said.items()}

    def label(
        self, uri: str, val: str, cid: Cid | None = None, *, exp: datetime | None = None, cts: datetime | None = None
    ) -> SignedLabel:
        """Say a label.

        Args:
            uri: of a record, or the DID of an account.
            val: the label.
            cid: the only version that is meant.
            exp: when it ends.
            cts: when it is said; now by default.
        """
        return self._say(uri, val, cid, False, exp, cts)

    def negate(self, uri: str, val: str, cid: Cid | None = None, *, cts: datetime | None = None) -> SignedLabel:
        """Take a label back; see `label`."""
        return self._say(uri, val, cid, True, None, cts)

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path != _QUERY:
            raise Refusal(400, "InvalidRequest", f"No service configured for {request.path}")
        patterns, sources = request.query.get("uriPatterns", []), request.query.get("sources", [])
        limit, after = request.param("limit", str(USUAL)), request.param("cursor", "0")
        if not patterns or not limit.isdecimal() or not 1 <= int(limit) <= MOST or not after.isdecimal():
            raise Refusal(400, "InvalidRequest", "Error: Params must have uriPatterns, a limit and a cursor")
        with self._lock:
            said = sorted(self._said.values(), key=lambda numbered: numbered[0])
        found = [
            (number, label)
            for number, label in said
            if number > int(after)
            and (not sources or label.src in sources)
            and any(_matches(label.uri, pattern) for pattern in patterns)
        ][: int(limit)]
        cursor = {"cursor": str(found[-1][0])} if found else {}
        return Answer.json({**cursor, "labels": [label.to_json() for _, label in found]})

    def _say(
        self, uri: str, val: str, cid: Cid | None, neg: bool, exp: datetime | None, cts: datetime | None
    ) -> SignedLabel:
        with self._lock:
            until = None if exp is None else _text(exp)
            when = _text(cts or datetime.now(UTC))
            label = SignedLabel.sign(
                self.key, src=self.did, uri=str(uri), val=val, cts=when, cid=cid, neg=neg, exp=until
            )
            self._count += 1
            self._said[label.uri, val, cid] = self._count, label
            return label

    def _again(self, label: SignedLabel) -> SignedLabel:
        exp = None if label.exp is None else _text(label.exp)
        return SignedLabel.sign(
            self.key,
            src=self.did,
            uri=label.uri,
            val=label.val,
            cts=_text(label.cts),
            cid=label.cid,
            neg=label.neg,
            exp=exp,
        )

    def _submit(self) -> None:
        operation = build_labeler_operation(
            rotation_keys=[self._rotation_key.public.did_key],
            label_key=self.key.public.did_key,
            labeler=self._url,
            prev=self._newest,
        )
        signed = sign_operation(operation, self._rotation_key)
        if self._newest is None:
            self.did = did_of_genesis(signed)
        self._plc.submit(self.did, signed)
        self._newest = operation_cid(signed)


def _matches(uri: str, pattern: str) -> bool:
    return uri.startswith(pattern[:-1]) if pattern.endswith("*") else uri == pattern


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
