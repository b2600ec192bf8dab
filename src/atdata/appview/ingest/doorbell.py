"""A doorbell: a Jetstream, which says in JSON, unsigned, who has written. What it says is believed of nobody.

An account for which it rings is marked, and then compared with its own server; so a doorbell that lies costs a question,
and one that is silent delays what the daily comparison finds. https://github.com/bluesky-social/jetstream, `/subscribe`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal
from urllib.parse import urlencode

import msgspec

from atdata.appview.ingest.accounts import UNKNOWN
from atdata.appview.ingest.lease import IngestLease
from atdata.appview.ingest.upstream import Upstream, sweep, upstream_url
from atdata.atproto.syntax import Did
from atdata.errors import DataModelError, IdentifierError, LimitError, NetworkError
from atdata.json_reader import read_json
from atdata.replica import Replica, Writing, doubt_identity, many_wait, now
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import HeadRow
from atdata.transport.budget import backoff
from atdata.transport.websocket import WebSocket

MAX_MESSAGE = 1 << 21
EARLIER = 5 * 1_000_000
"""Microseconds before the last ring from which it is read again: its order is by arrival, and only about so."""
WRITTEN_EVERY = 60 * 1_000_000
"""Microseconds after which the time of the last ring is written, where it was for nobody who is followed."""
KEPT = 3600 * 1_000_000
"""Microseconds of silence after which it may have dropped rings, so that all repositories are compared."""


class _Commit(msgspec.Struct):
    collection: str
    rev: str = ""


class Ring(msgspec.Struct):
    """A message, as far as it is read; other members are passed over.

    Attributes:
        did: whose.
        time_us: when the Jetstream had it, in microseconds since 1970.
        kind: what has changed.
        commit: of a commit, the collection and the revision.
    """

    did: str
    time_us: int
    kind: Literal["commit", "identity", "account"]
    commit: _Commit | None = None


def doorbell_url(text: str) -> str:
    """The address of a doorbell's stream, of the root of its server.

    Raises:
        UsageError: it is no root of a server.
    """
    return f"{upstream_url(text)}/subscribe"


class Doorbell:
    """Marks the accounts for which a Jetstream rings.

    Args:
        replica: where they are marked.
        upstream: its row, under `doorbell_url`; the cursor is the time of the last ring.
        followed: the accounts of which something is kept.
        lease: under which this is done.
        wake: called once something was marked.
        sweep_after: microseconds between two sweeps.
        counted: counts what happens.
    """

    def __init__(
        self,
        replica: Replica,
        upstream: Upstream,
        followed: set[str],
        lease: IngestLease,
        wake: Callable[[], None],
        sweep_after: int,
        counted: Counter[str],
    ) -> None:
        self._replica, self._upstream, self._followed, self._lease = replica, upstream, followed, lease
        self._wake, self._sweep_after, self._counted = wake, sweep_after, counted
        self._reached = False

    def run(self, stopping: threading.Event) -> None:
        """Listen until the end."""
        failures = 0
        while not stopping.is_set():
            before = self._counted["rings"]
            try:
                self._listen(stopping)
            except (NetworkError, LimitError):
                failures = 0 if self._counted["rings"] > before else failures + 1
                stopping.wait(backoff(failures))

    def _listen(self, stopping: threading.Event) -> None:
        found = "SELECT cursor FROM ingest_upstreams WHERE id = ?"
        (last,) = self._replica.read(lambda reading: reading.sql.first(found, self._upstream.number))
        asked = [("wantedCollections", collection) for collection in COLLECTIONS]
        asked += [] if last is None else [("cursor", str(last - EARLIER))]
        # The operator named the server, so it is dialled as it is.
        url = f"{self._upstream.url}?{urlencode(asked)}"
        with WebSocket(url, max_message=MAX_MESSAGE, allow_loopback=None, stopping=stopping) as socket:
            if last is None or now() - last > KEPT:  # at once where nobody followed, else not again and again
                pause = self._sweep_after if self._reached else 0
                self._lease.write(lambda writing: sweep(writing.sql, self._upstream.number, pause))
            self._reached = True
            written, missed = last or 0, None
            while not stopping.is_set():
                is_full = self._replica.read(lambda reading: many_wait(reading.sql))
                if missed is not None and not is_full:
                    self._lease.write(partial(self._take, (), missed - 1 + EARLIER))
                    return  # and it is asked once more for what it said from just then on: earlier ones had their turn
                heard = list(self._heard(socket.receive(0.5)))
                rings = [ring for ring in heard if _is_ours(ring) or ring.did in self._followed]
                if is_full:  # those that are followed do not wait for those of whom nothing is known
                    unknown = [ring.time_us for ring in rings if ring.did not in self._followed]
                    missed = min([*unknown, *([] if missed is None else [missed])], default=None)
                    rings = [ring for ring in rings if ring.did in self._followed]
                # No time of the future: it would be silent until then.
                last = max([last or 0, *(min(ring.time_us, now()) for ring in heard)])
                if rings or last - written > WRITTEN_EVERY:
                    self._lease.write(partial(self._take, rings, last if missed is None else min(last, missed)))
                    written = last
                    self._followed.update(ring.did for ring in rings if _is_ours(ring))
                    self._wake()

    def _heard(self, messages: Iterable[bytes]) -> Iterable[Ring]:
        for message in messages:
            try:
                ring = read_json(message, Ring)
                Did(ring.did)
            except (DataModelError, IdentifierError):
                self._counted["unread rings"] += 1
                continue
            self._counted["rings"] += 1
            yield ring

    def _take(self, rings: Sequence[Ring], last: int, writing: Writing) -> None:
        for ring in rings:
            did = Did(ring.did)
            if ring.commit is None:
                doubt_identity(writing, did, "a doorbell rang")
            elif not _is_there(head := HeadRow.read(writing.sql, did), ring.commit.rev):
                writing.mark_behind(did, UNKNOWN if head is None else "a doorbell rang")
        update = "UPDATE ingest_upstreams SET cursor = ?, event_at = ? WHERE id = ?"
        writing.sql.run(update, last, now(), self._upstream.number)


def _is_ours(ring: Ring) -> bool:
    return ring.commit is not None and ring.commit.collection in COLLECTIONS


def _is_there(head: HeadRow | None, rev: str) -> bool:
    return head is not None and head.root is not None and (head.rev or "") >= rev
