"""A relay: joins the firehoses of several servers under numbers of its own, and knows who has records of a collection."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from atdata.atproto.events import CommitEvent
from atdata.atproto.syntax import Nsid
from atdata.testing.devnet.firehose import SUBSCRIBE, Firehose, Numbered
from atdata.testing.devnet.pds import Pds
from atdata.testing.http import Answer, Refusal, Request

MOST, USUAL = 2000, 500  # accounts on a page
_BY_COLLECTION = "/xrpc/com.atproto.sync.listReposByCollection"


class Relay:
    """The relay's state and its XRPC interface.

    It lists an account for every collection that it has ever seen a record of, in the order of that, and forgets none:
    so a cursor can be kept for ever.

    Attributes:
        url: where it is reached.
        firehose: what it sends on.
        overlooked: accounts that it does not list, as if it had missed their commits.
    """

    def __init__(self, pdses: Iterable[Pds]) -> None:
        self.url = ""
        self.firehose = Firehose()
        self.overlooked: set[str] = set()
        self._holders: dict[str, dict[str, None]] = {}
        self._lock = threading.Lock()
        for pds in pdses:
            pds.firehose.listeners.append(self._take)
            for account in pds.accounts.values():
                self._note(account.did, account.repo.records)

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path == SUBSCRIBE:
            return self.firehose.answer(request)
        if request.path != _BY_COLLECTION:
            raise Refusal(404, "MethodNotImplemented", f"No service configured for {request.path}")
        limit, cursor = request.param("limit", str(USUAL)), request.param("cursor", "0")
        if not limit.isdecimal() or not 1 <= int(limit) <= MOST or not cursor.isdecimal():
            raise Refusal(400, "InvalidRequest", "Error: Params must have a limit and a cursor")
        with self._lock:
            dids = list(self._holders.get(Nsid(request.param("collection")), ()))
        start, end = int(cursor), int(cursor) + int(limit)
        listed = [{"did": did} for did in dids[start:end] if did not in self.overlooked]
        return Answer.json({"repos": listed, **({"cursor": str(end)} if end < len(dids) else {})})

    def _take(self, event: Numbered) -> None:
        if isinstance(event, CommitEvent):
            self._note(event.did, [each.key for each in event.operations if each.cid is not None])
        self.firehose.add(event)

    def _note(self, did: str, keys: Iterable[str]) -> None:
        with self._lock:
            for collection in {key.partition("/")[0] for key in keys}:
                self._holders.setdefault(collection, {})[did] = None
