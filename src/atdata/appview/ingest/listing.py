"""The accounts that an upstream lists: a relay those that have records in our collections, a PDS all that it has.

Listed is not believed: an account that is not followed yet is marked, and then compared with its own server.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from atdata.appview.ingest.lease import IngestLease
from atdata.appview.ingest.rejected import REFUSED, Rejected
from atdata.appview.ingest.upstream import Upstream, UpstreamReader
from atdata.atproto.fetch import refusal
from atdata.atproto.syntax import Did
from atdata.errors import IdentifierError, NetworkError, NotFoundError, XrpcError
from atdata.json_reader import read_json
from atdata.replica import Replica, Statements, Writing, many_wait, now
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import HeadRow
from atdata.transport import Get, Response, Transport

log = logging.getLogger("atdata.appview.ingest")

LISTED_EVERY = 86_400 * 1_000_000
"""Microseconds between two listings of an upstream."""
AGAIN_AFTER = 300 * 1_000_000
"""Microseconds after which one that failed is tried again."""
LISTED = "it was listed"
"""The reason for which an account is marked that is on a list."""
ON_A_PAGE = 500
PAGES_AT_ONCE = 20
"""Pages after which the next upstream has its turn: a list may have no end."""
MAX_PAGE = 2_000
MAX_CURSOR = 1000
_ANSWERS = frozenset({200, 400, 401, 403, 404, 429, 500, 501, 502, 503})
_NOT_SERVED = (400, 401, 404, 501)


class Lister:
    """Asks upstreams for accounts that may have records of ours.

    Args:
        replica: where they are marked.
        transport: trusts the upstreams, which the operator named.
        lease: under which this is done.
        wake: called once something was marked.
        counted: counts what happens.
    """

    def __init__(
        self,
        replica: Replica,
        transport: Transport,
        lease: IngestLease,
        wake: Callable[[], None],
        counted: Counter[str],
    ) -> None:
        self._replica, self._transport, self._lease, self._wake = replica, transport, lease, wake
        self._counted = counted

    def run(self, readers: Sequence[UpstreamReader], stopping: threading.Event) -> None:
        """List each upstream once a day, until the end: not before its events come, so that none falls in between."""
        while not stopping.wait(0.25):
            for reader in readers:
                last = self._last(reader.upstream) if reader.reached else None
                if last is not None and last < now() - LISTED_EVERY:
                    self._list_once(reader.upstream, last, stopping)

    def _last(self, upstream: Upstream) -> int:
        found = "SELECT listed_at FROM ingest_upstreams WHERE id = ?"
        (listed_at,) = self._replica.read(lambda reading: reading.sql.first(found, upstream.number))
        return int(listed_at)

    def _list_once(self, upstream: Upstream, last: int, stopping: threading.Event) -> None:
        begun, refused, whole = now(), None, True
        try:
            whole = self.list_accounts(upstream, stopping)
        except (NetworkError, NotFoundError, *REFUSED) as error:
            begun, refused = begun + AGAIN_AFTER - LISTED_EVERY, Rejected.of("listing", error)
            log.warning("a list was refused", extra={"facts": {"upstream": upstream.url, "error": error.what}})
        if stopping.is_set() or not whole:
            return  # not all of it: the others have their turn first

        def note(writing: Writing) -> None:
            update = "UPDATE ingest_upstreams SET listed_at = ? WHERE id = ? AND listed_at = ?"
            writing.sql.run(update, begun, upstream.number, last)  # unless it is to be listed again
            if refused is not None:
                refused.write(writing.sql, now())

        self._lease.write(note)

    def list_accounts(self, upstream: Upstream, stopping: threading.Event) -> bool:
        """Mark the accounts that an upstream lists and that are not followed; `False` where that is not all of them yet.

        Raises:
            NetworkError, NotFoundError: it refuses, or answers something else.
            DataModelError, LimitError: its answer is not JSON, or too long.
        """
        for collection in COLLECTIONS:
            whole = self._list(upstream, "listReposByCollection", collection, stopping)
            if whole is None:
                return self._list(upstream, "listRepos", "", stopping) is not False
            if not whole:
                return False
        return True

    def _list(self, upstream: Upstream, method: str, collection: str, stopping: threading.Event) -> bool | None:
        """Take pages of a list from where it was read to: whether that was the end; `None` where the server has no such list."""
        about = (("collection", collection),) if collection else ()
        kept = "SELECT cursor FROM ingest_listings WHERE upstream = ? AND collection = ?"
        row = self._replica.read(lambda reading: reading.sql.first(kept, upstream.number, collection))
        cursor = None if row is None else bytes(row[0]).decode()
        for _ in range(PAGES_AT_ONCE):
            if self._wait(stopping):
                return True
            after = () if cursor is None else (("cursor", cursor),)
            page = self._ask(upstream, f"sync.{method}", (*about, ("limit", str(ON_A_PAGE)), *after))
            if page is None:
                return None
            repos, cursor = page.get("repos"), page.get("cursor")
            if not isinstance(repos, list) or not _is_cursor(cursor):
                raise NetworkError("a server's answer lists no repositories", uri=upstream.server)
            found = list(self._wanted(upstream, repos, with_all=not collection))
            self._lease.write(partial(self._keep, upstream, collection, found, cursor))
            self._wake()
            if cursor is None or not repos:
                return True
        return False

    def _wait(self, stopping: threading.Event) -> bool:
        """Wait while many accounts are still to be looked at: a list without end shall not fill the database. Is it the end?"""
        while self._replica.read(lambda reading: many_wait(reading.sql)):
            if stopping.wait(1.0):
                break
        return stopping.is_set()

    def _wanted(self, upstream: Upstream, repos: Sequence[Any], *, with_all: bool) -> Iterable[Did]:
        """The accounts on a page that are to be compared with their servers."""
        for item in repos[:MAX_PAGE]:
            try:
                did = Did(item["did"])
            except (IdentifierError, KeyError, TypeError):
                continue
            head = self._head(did)
            if head is None:
                if not with_all or self._has_ours(upstream, did):
                    yield did
            elif with_all and isinstance(item.get("rev"), str) and (head.rev or "") < item["rev"]:
                yield did

    def _head(self, did: Did) -> HeadRow | None:
        return self._replica.read(lambda reading: HeadRow.read(reading.sql, did))

    def _has_ours(self, upstream: Upstream, did: Did) -> bool:
        try:
            said = self._ask(upstream, "repo.describeRepo", (("repo", did),))
        except NotFoundError:
            return False
        held = None if said is None else said.get("collections")
        return isinstance(held, list) and any(collection in held for collection in COLLECTIONS)

    def _ask(self, upstream: Upstream, method: str, params: tuple[tuple[str, str], ...]) -> dict[str, Any] | None:
        url = f"{upstream.server}/xrpc/com.atproto.{method}"
        answer: Response = self._transport.get(Get(url, params, accept=_ANSWERS))
        if answer.status != 200:
            error = refusal(answer, url)
            if isinstance(error, XrpcError) and answer.status in _NOT_SERVED:
                return None
            raise error
        page = read_json(answer.body)
        if not isinstance(page, dict):
            raise NetworkError("a server's answer is not a JSON object", uri=url)
        return page

    def _keep(
        self, upstream: Upstream, collection: str, found: Iterable[Did], cursor: str | None, writing: Writing
    ) -> None:
        for did in found:
            writing.mark_behind(did, LISTED)
        if cursor is None and collection:
            return  # the last one is good for ever: what comes later stands behind it
        gone = "DELETE FROM ingest_listings WHERE upstream = ? AND collection = ?"
        writing.sql.run(gone, upstream.number, collection)
        if cursor is not None:
            insert = "INSERT INTO ingest_listings (upstream, collection, cursor) VALUES (?, ?, ?)"
            writing.sql.run(insert, upstream.number, collection, cursor.encode())


def list_again(sql: Statements, upstream: int, moment: int) -> None:
    """Let an upstream be listed again soon, also where it is being listed: an account was let go of which it spoke."""
    update = (
        "UPDATE ingest_upstreams SET listed_at = CASE WHEN listed_at > ? THEN ? ELSE listed_at - 1 END WHERE id = ?"
    )
    due = moment + AGAIN_AFTER - LISTED_EVERY
    sql.run(update, due, due, upstream)


def _is_cursor(cursor: object) -> bool:
    return cursor is None or (isinstance(cursor, str) and len(cursor) <= MAX_CURSOR and cursor.isascii())
