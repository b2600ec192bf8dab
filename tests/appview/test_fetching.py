"""Whoever asks for a record to be indexed now: strangers do not fill the database with accounts that are invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.appview.opening import open_appview
from atdata.appview.xrpc.fetching import MarkingFetcher
from atdata.atproto.syntax import Did
from atdata.errors import NetworkError
from support.appviews import ALICE, ENTRY, Author, entry


def test_no_more_accounts_are_taken_than_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.replica.writing.WAITING", 3)
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
