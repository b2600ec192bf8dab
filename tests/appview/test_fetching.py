"""Whoever asks for a record to be indexed now: strangers do not fill the database with accounts that are invented."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.appview.xrpc.fetching import MarkingFetcher
from atdata.atproto.syntax import Did
from atdata.errors import NetworkError, NotFoundError
from atdata.replica import Replica
from atdata.testing import Devnet
from support.appviews import ALICE, ENTRY, NAMESPACE, Asker, Author, answering, at, entry
from support.ingesting import Writer, ingesting, until_begun


def test_no_more_accounts_are_taken_than_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.replica.writing.WAITING", 30)
    replica = open_appview(tmp_path / "a.db")
    try:
        Author(replica).write({f"{ENTRY}/a": entry("a")})
        fetcher = MarkingFetcher(replica, patience=0.1)
        for number in range(5):
            words = "not fetched in time" if number < 3 else "too many accounts wait"
            with pytest.raises(NetworkError, match=words):
                fetcher.fetch(Did(f"did:web:invented{number}.test"))
        with pytest.raises(NetworkError, match="not fetched in time"):
            fetcher.fetch(ALICE)
        found = replica.read(
            lambda reading: reading.sql.all("SELECT did FROM replica_accounts WHERE behind IS NOT NULL")
        )
        assert len(found) == 4
    finally:
        replica.close()


def test_of_an_account_that_has_nothing_of_ours_nothing_is_kept(replica: Replica, net: Devnet, writer: Writer) -> None:
    fetcher = MarkingFetcher(replica)
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        inactive = Writer(net, writer.upstream)
        inactive.held.status = "deactivated"
        for did in (writer.did, inactive.did, Did("did:web:invented.test")):
            with pytest.raises(NotFoundError):
                fetcher.fetch(did)
        assert operator.status(replica).accounts == {}
        operator.add(replica, writer.did)
        fetcher.fetch(writer.did)
        assert operator.status(replica).accounts == {"active": 1}, "an operator's choice is another matter"


class _Slow:
    def __init__(self) -> None:
        self.asked, self.go = list[Did](), threading.Event()

    def fetch(self, did: Did) -> None:
        self.asked.append(did)
        self.go.wait(60)


def test_questions_are_answered_while_many_records_are_fetched(tmp_path: Path) -> None:
    slow = _Slow()
    with answering(tmp_path / "a.db", fetcher=slow) as (replica, asker):
        Author(replica).write({f"{ENTRY}/a": entry("a")})
        body = json.dumps({"uri": at(f"{ENTRY}/a")}).encode()

        def ask() -> None:
            Asker(asker.url).send("POST", f"/xrpc/{NAMESPACE}.indexNow", body, Content_Type="application/json")

        threads = [threading.Thread(target=ask) for _ in range(60)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 60
        while len(slow.asked) < 16:
            assert time.monotonic() < until
            time.sleep(0.01)
        for _ in range(3):
            assert asker.send("GET", "/health").status == 200
            assert asker.get("listEntries").status == 200
        assert len(slow.asked) == 16
        slow.go.set()
        for thread in threads:
            thread.join()
        assert len(slow.asked) == 60
