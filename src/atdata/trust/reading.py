"""The reading of labelers: whatever each says, page by page from where it was read to, each label verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from atdata.atproto.datamodel import shown
from atdata.atproto.fetch import LABELS_AT_ONCE, fetch_label_page
from atdata.atproto.labels import SignedLabel
from atdata.atproto.resolve import fetch_identity
from atdata.atproto.syntax import Did
from atdata.atproto.verify import VerifiedLabeler, verify_labeler
from atdata.errors import AtdataError, DataModelError, LimitError, NetworkError, SignatureError, StorageError
from atdata.replica import Replica, Writing, now
from atdata.settings import Settings
from atdata.transport import Transport
from atdata.trust.labels import FollowedLabeler, is_of_ours, keep, labelers, note_contents

IDENTITY_SECONDS = 300.0
"""The time for which a labeler's verified identity is used again; a label that it does not verify asks for it anew."""
PAGES_AT_ONCE = 40
"""Pages of one labeler that are read before another has its turn."""
MAX_CURSOR = 1_000
PATIENCE = 20.0
"""Seconds that a labeler may take for one answer: while it does, the others wait."""
REST = 10.0
"""One whose reading failed is left alone this many times as long as that took, so that it costs the others little."""

_EVERYTHING = ("*",)


class LabelerReader:
    """Reads the labelers that a replica's database has on its list.

    A page is taken whole or not at all: one answer on it that is no label of the labeler leaves it where it was, to be
    read again. Who altered one label could as well have altered the one that matters (decision 40).

    Args:
        replica: in whose database labels are kept.
        settings: in force.
        pause: seconds between two readings of a labeler that was read to the end.
    """

    def __init__(self, replica: Replica, settings: Settings, pause: float = 5.0) -> None:
        self._replica, self._settings, self._pause = replica, settings, pause
        self._transport = Transport.of(replace(settings, patience=min(settings.patience, PATIENCE)))
        self._known: dict[Did, tuple[VerifiedLabeler, float]] = {}
        self._resting: dict[Did, float] = {}

    def run(self, stopping: threading.Event) -> None:
        """Read each labeler again and again, until the end."""
        more = False
        while not stopping.wait(0 if more else self._pause):
            more = False
            for labeler in self._replica.read(lambda reading: labelers(reading.sql)):
                rests = time.monotonic() < self._resting.get(labeler.did, 0.0)
                more |= not (stopping.is_set() or rests) and self.read(labeler.did)

    def read(self, did: Did) -> bool:
        """Read some of what a labeler says; true if there may be more. What went wrong is noted with the labeler."""
        begun = time.monotonic()
        try:
            return self._read(did)
        except StorageError:
            raise
        except AtdataError as error:
            self._known.pop(did, None)
            self._resting[did] = time.monotonic() + REST * (time.monotonic() - begun)
            failure = str(error).encode("utf-8", "replace")[:1000]
            note = "UPDATE trust_labelers SET tried_at = ?, failure = ? WHERE did = ?"
            self._replica.write(lambda writing: writing.sql.run(note, now(), failure, did) and None)
            return False

    def _read(self, did: Did) -> bool:
        for _ in range(PAGES_AT_ONCE):
            labeler = self._listed(did)
            if labeler is None:
                return False
            answers, after = self._transport.run(fetch_label_page(self._identity(did), _EVERYTHING, labeler.cursor))
            if len(answers) > LABELS_AT_ONCE or len(after or "") > MAX_CURSOR:
                raise LimitError("a labeler sends more than was asked for", uri=did, expected=LABELS_AT_ONCE)
            key, labels = self._verified(did, answers)
            if answers and after == labeler.cursor:
                raise NetworkError("a labeler's pages lead nowhere", uri=did, actual=after)
            if not self._keep(did, labeler.cursor, labels, key, after, done=not answers or after is None):
                return False
        return True

    def _listed(self, did: Did) -> FollowedLabeler | None:
        found = self._replica.read(lambda reading: labelers(reading.sql))
        return next((labeler for labeler in found if labeler.did == did), None)

    def _identity(self, did: Did, anew: bool = False) -> VerifiedLabeler:
        known = self._known.get(did)
        if known is None or anew or time.monotonic() - known[1] > IDENTITY_SECONDS:
            found = verify_labeler(self._transport.run(fetch_identity(did, self._settings.plc_url)))
            known = self._known[did] = found, time.monotonic()
        return known[0]

    def _verified(self, did: Did, answers: Sequence[Any]) -> tuple[str, list[SignedLabel]]:
        """The key of a labeler, and the labels on a page that concern us; all are verified."""
        labels = [SignedLabel.parse(answer) for answer in answers]
        if others := [label.src for label in labels if label.src != did]:
            raise DataModelError("a label is another labeler's", uri=did, actual=shown(others[0]))
        identity = self._identity(did)
        try:
            _check(labels, identity)
        except SignatureError:  # the key may be another by now
            identity = self._identity(did, anew=True)
            _check(labels, identity)
        return identity.key.did_key, [label for label in labels if is_of_ours(label.uri)]

    def _keep(
        self, did: Did, before: str | None, labels: Sequence[SignedLabel], key: str, after: str | None, *, done: bool
    ) -> bool:
        """Keep the labels of a page, and how far was read; false at the end, or where somebody else was here."""

        def work(writing: Writing) -> bool:
            sql, moment = writing.sql, now()
            cursor = None if (after or before) is None else (after or before or "").encode("utf-8", "replace")
            update = """UPDATE trust_labelers SET cursor = ?, tried_at = ?, failure = NULL WHERE did = ?
                AND coalesce(cursor, ?) = ?"""
            was = b"" if before is None else before.encode()
            if sql.run(update, cursor, moment, did, b"", was).rowcount == 0:
                return False
            keep(sql, labels, key, moment)
            note_contents(sql, dict.fromkeys(label.uri for label in labels))
            if done:
                sql.run("UPDATE trust_labelers SET read_at = ? WHERE did = ?", moment, did)
            return not done

        return self._replica.write(work)


def _check(labels: Sequence[SignedLabel], identity: VerifiedLabeler) -> None:
    for label in labels:
        label.verify(identity.key)
