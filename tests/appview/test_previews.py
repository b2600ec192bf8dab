"""Samples on the pages of a service: offered, fetched once somebody asks, verified, and why there are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.appview.opening import open_appview
from atdata.appview.previews import PublishedPreviews
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, RateLimit
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.preview import Background, FetchLimits
from atdata.records import Entry
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.appviews import ENTRY, SCHEMA, Asker, Author, answering, entry
from support.browsers import browser, opened
from support.networks import fresh_handle


@atdata.packable
class Row:
    n: int
    picture: NDArray[np.uint8]


def row(number: int) -> Row:
    return Row(number, np.full((9, 9, 3), 100 + number, np.uint8))


class Shown:
    """A published dataset, and a service that knows it."""

    def __init__(self, devnet: Devnet, asker: Asker, published: Entry) -> None:
        self.devnet, self.asker, self.entry = devnet, asker, published
        self.path = "/at/" + str(published.uri).removeprefix("at://")

    def page(self, path: str = "") -> str:
        said = self.asker.send("GET", self.path + path)
        assert said.status == 200
        return said.body.decode()

    def looked(self) -> str:
        until = time.monotonic() + 60
        while "being fetched" in (shown := self.page("?samples")):
            assert time.monotonic() < until
            time.sleep(0.1)
        return shown


@pytest.fixture
def shown(devnet: Devnet, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    client = devnet.client(devnet.create_account(fresh_handle()))
    data = atdata.write_samples(map(row, range(20)), tmp_path / "rows-%06d.tar", maxcount=10)
    published = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(data, name="rows")
    most = getattr(request, "param", 32_000_000)
    previews = PublishedPreviews(devnet.client(), FetchLimits(bytes=most)) if most else None
    replica = open_appview(tmp_path / "a.db")
    schema = client.reader.record(published.schema_ref)
    record = client.reader.record(published.located)
    keys = {f"{uri.collection}/{uri.rkey}": found.value for uri, found in ((schema.uri, schema), (record.uri, record))}
    Author(replica, client.did).write(keys)
    try:
        with AppViewServer(AppViewService(replica, limit=RateLimit(0), previews=previews)) as server:
            asker = Asker(server.url)
            yield Shown(devnet, asker, published)
            asker.close()
    finally:
        devnet.tell(None)
        replica.close()


def blobs_asked(devnet: Devnet, hold: threading.Event | None = None) -> list[str]:
    asked: list[str] = []

    def tell(request: Request, honest: Answer) -> Answer:
        if "getBlob" in request.path:
            asked.append(request.param("cid"))
            if hold is not None:
                hold.wait(30)
        return honest

    devnet.tell(tell)
    return asked


def test_samples_are_fetched_once_somebody_asks(shown: Shown):
    asked = blobs_asked(shown.devnet)
    for _ in range(3):
        offered = shown.page()
        assert 'rel="nofollow"' in offered
        assert "data:image/png" not in offered
    assert asked == []
    looked = shown.looked()
    assert looked.count("data:image/png;base64,") == 8
    assert "Each was verified" in looked
    assert "As the manifests of all 2 shards say" in looked
    assert asked
    asked.clear()
    assert shown.page().count("data:image/png;base64,") == 8
    assert asked == []


def test_a_page_does_not_wait_for_slow_storage(shown: Shown):
    hold = threading.Event()
    asked = blobs_asked(shown.devnet, hold)
    for _ in range(4):
        began = time.monotonic()
        assert "being fetched" in shown.page("?samples")
        assert time.monotonic() - began < 3
    assert len(asked) <= 2
    hold.set()
    assert shown.looked().count("data:image/png;base64,") == 8


def test_what_was_not_published_is_not_shown(shown: Shown):
    def tell(request: Request, honest: Answer) -> Answer:
        return Answer(200, honest.body[:-1] + b"x") if "getBlob" in request.path else honest

    shown.devnet.tell(tell)
    looked = shown.looked()
    assert "No samples can be shown" in looked
    assert "data:image/png" not in looked


@pytest.mark.parametrize("shown", [0, 1000], indirect=True)
def test_a_page_says_why_there_are_no_samples(shown: Shown):
    asked = blobs_asked(shown.devnet)
    assert "No samples can be shown" in shown.page()
    assert "No samples can be shown" in shown.page("?samples")
    assert asked == []


def test_a_dataset_that_names_no_digest_is_not_asked_for(devnet: Devnet, tmp_path: Path):
    previews = PublishedPreviews(devnet.client(), FetchLimits())
    storage = {"$type": "science.alt.dataset.storageExternal", "urls": ["https://example.org/a.tar"]}
    with answering(tmp_path / "a.db", previews=previews) as (replica, asker):
        author = Author(replica)
        author.write({f"{ENTRY}/a": entry("a", f"at://{author.did}/{SCHEMA}/x:1.0.0", storage=storage)})
        said = asker.send("GET", f"/at/{author.did}/{ENTRY}/a?samples").body.decode()
        assert "nothing can prove what is in it" in said


def test_looking_costs_more_than_reading(devnet: Devnet, tmp_path: Path):
    previews = PublishedPreviews(devnet.client(), FetchLimits())
    limit = RateLimit(per_second=0.01, burst=15)
    with answering(tmp_path / "a.db", previews=previews, limit=limit) as (replica, asker):
        author = Author(replica)
        author.write({f"{ENTRY}/a": entry("a")})
        path = f"/at/{author.did}/{ENTRY}/a"
        assert [asker.send("GET", path + more).status for more in ("", "?samples", "?samples", "")] == [
            200,
            200,
            429,
            200,
        ]
        assert b"Disallow: /*?samples" in asker.send("GET", "/robots.txt").body


def test_work_is_done_once_and_no_more_than_may_wait():
    hold, done = threading.Event(), list[int]()

    def work(number: int) -> str:
        hold.wait(30)
        done.append(number)
        return str(number)

    background: Background[str] = Background(2, 3, 4, 0.05, lambda _: 60.0)
    assert background.ask(0, None) == "unasked"
    for number in (0, 1):
        assert background.ask(number, lambda number=number: work(number)) == "pending"  # type: ignore[misc]
    said = [background.ask(number, lambda number=number: work(number)) for number in range(2, 8)]  # type: ignore[misc]
    assert said == ["pending"] * 3 + ["busy"] * 3
    assert background.ask(0, lambda: work(100)) == "pending"
    hold.set()
    until = time.monotonic() + 30
    while len(done) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert [background.ask(number, None) for number in range(5)].count("unasked") == 1  # four are kept


def test_people_ask_for_samples_in_a_browser(shown: Shown):
    with browser() as chromium, opened(chromium, shown.asker.url + shown.path, java_script_enabled=False) as tab:
        assert tab.locator("img").count() == 0
        tab.get_by_role("link", name="Show the first samples").click()
        for _ in range(100):
            if not tab.get_by_role("link", name="Look again").count():
                break
            tab.get_by_role("link", name="Look again").click()
        assert tab.locator("section.preview img").count() == 8
        assert tab.locator("img").first.evaluate("image => image.naturalWidth") == 9
