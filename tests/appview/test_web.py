"""Pages: what each shows, of whom; that strangers' text is text; what is sent with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.appview.ingest.lease import IngestLease
from atdata.appview.web import DatasetPage, render, schema_table
from atdata.appview.web.addresses import record_path, search_path, web_link
from atdata.appview.xrpc import RateLimit
from atdata.atproto.syntax import Did
from atdata.records import Schema
from atdata.replica import Replica
from atdata.samples import fields_of
from atdata.search import written
from support.appviews import ALICE, BOB, ENTRY, LABEL, LENS, SCHEMA, Asker, Author, Said, answering, entry, label


@atdata.packable
class Point:
    x: NDArray[np.float32]
    y: int


@atdata.packable
class Place:
    x: NDArray[np.float32]
    y: float
    z: int


def at(key: str, did: str = ALICE) -> str:
    return f"at://{did}/{key}"


def path(key: str, did: str = ALICE) -> str:
    return f"/at/{did}/{key}"


class Reader(HTMLParser):
    """The text, links and elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", dict[str, dict[str, str | None]](), list[str]()
        self.attributes = set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if tag == "a" and found.get("href") is not None:
            self.links[str(found["href"])] = found

    def handle_data(self, data: str) -> None:
        self.text += data


def read(said: Said) -> Reader:
    assert said.headers["content-type"] == "text/html; charset=utf-8"
    reader = Reader()
    reader.feed(said.body.decode())
    return reader


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replica, Asker]]:
    with answering(tmp_path_factory.mktemp("web") / "a.db") as pair:
        first, second = (Schema.of(kind, name="Point", version=v) for kind, v in ((Point, "1.0.0"), (Place, "2.0.0")))
        records = {f"{SCHEMA}/point:{schema.version}": schema.to_record() for schema in (first, second)}
        code = {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}
        ends = {"sourceSchema": at(f"{SCHEMA}/point:1.0.0"), "targetSchema": at(f"{SCHEMA}/point:2.0.0")}
        lens = {"$type": LENS, "name": "points to places", "createdAt": "2026-01-01T00:00:00.000Z", **ends}
        more = {"description": "From https://example.org/retina.\n\nTwo eyes.", "license": "CC-BY-4.0"}
        Author(pair[0]).write(
            {
                **records,
                f"{LENS}/a": {**lens, "getterCode": code, "putterCode": code},
                f"{ENTRY}/old": entry("retina", at(f"{SCHEMA}/point:1.0.0"), tags=["eye"], **more),
                f"{ENTRY}/new": entry("retina", at(f"{SCHEMA}/point:2.0.0"), tags=["eye", "two words"], **more),
                f"{LABEL}/old": label("retina", at(f"{ENTRY}/old"), "1.0.0"),
                f"{LABEL}/new": label("retina", at(f"{ENTRY}/new"), "2.0.0"),
            }
        )
        Author(pair[0], BOB).write({f"{LABEL}/b": label("eyes", at(f"{ENTRY}/new"), "7.0.0")})
        yield pair


def test_each_thing_has_a_page_and_says_who_published_it(service: Any) -> None:
    _, asker = service
    for key, said in {
        f"{ENTRY}/new": "retina",
        f"{SCHEMA}/point:2.0.0": "Point",
        f"{LENS}/a": "points to places",
        f"{LABEL}/new": "A label by",
    }.items():
        page = read(asker.send("GET", path(key)))
        assert said in page.text
        assert "@alice.example" in page.text
        assert path(key) + "/proof" in page.links
    assert "3" not in read(asker.send("GET", "/")).text.split("datasets")[0][-4:]
    assert path(f"{ENTRY}/new") in read(asker.send("GET", "/")).links
    assert path(f"{ENTRY}/new") in read(asker.send("GET", path("")[:-1])).links


def test_a_tag_with_quotation_marks_is_asked_for_by_its_link(tmp_path: Path) -> None:
    tags = ['12" vinyl', "C:\\new", '\\"']
    with answering(tmp_path / "a.db") as (replica, asker):
        records = {f"{ENTRY}/{n}": entry(f"disc {n}", tags=[tag]) for n, tag in enumerate(tags)}
        Author(replica).write({**records, f"{ENTRY}/plain": entry("plain")})
        page = read(asker.send("GET", "/search?q="))
        for number, tag in enumerate(tags):
            link = search_path(str(written("tag", tag)))
            assert link in page.links
            found = read(asker.send("GET", link))
            assert path(f"{ENTRY}/{number}") in found.links
            assert "1 found" in found.text
            (entry_found,) = asker.get("searchDatasets", q=written("tag", tag)).json["entries"]
            assert entry_found["name"] == f"disc {number}"


def test_a_nul_is_refused_as_programs_hear_it(service: Any) -> None:
    _, asker = service
    said = asker.send("GET", "/search?q=retina%00")
    assert said.status == 400
    assert "NUL" in read(said).text
    assert (
        asker.error("searchDatasets", q="retina\0") == asker.error("searchRecords", q="\0") == (400, "InvalidRequest")
    )


def test_a_dataset_shows_its_versions_and_what_changed_in_its_schema(service: Any) -> None:
    _, asker = service
    page = read(asker.send("GET", path(f"{ENTRY}/new")))
    assert path(f"{ENTRY}/old") in page.links
    changes = re.sub(r"\s+", " ", page.text[page.text.index("What changed in the schema") :])
    assert "changed y" in changes
    assert "added z" in changes
    assert 'atdata.load_dataset("@alice.example/retina@2.0.0", split="train")' in page.text
    assert f"sha256:{'ab' * 32}" in page.text
    assert "eyes 7.0.0 by @bob.example" in re.sub(r"\s+", " ", page.text)
    assert path(f"{LENS}/a") in page.links
    assert page.links["https://spdx.org/licenses/CC-BY-4.0.html"]["rel"] == "nofollow noopener ugc"
    assert page.links["https://example.org/retina"]["rel"] == "nofollow noopener ugc"


def test_names_and_handles_lead_to_the_address_of_a_thing(service: Any) -> None:
    _, asker = service
    for asked, there in {
        "/@alice.example/retina": path(f"{ENTRY}/new"),
        "/@alice.example/retina@1.0.0": path(f"{ENTRY}/old"),
        f"/@{ALICE}/retina": path(f"{ENTRY}/new"),
        "/@alice.example": f"/at/{ALICE}",
        "/at/alice.example": f"/at/{ALICE}",
        f"/at/alice.example/{ENTRY}/new": path(f"{ENTRY}/new"),
        f"/at/alice.example/{ENTRY}/new/proof.car": path(f"{ENTRY}/new/proof.car"),
    }.items():
        said = asker.send("GET", asked)
        assert (said.status, said.headers["location"]) == (302, there)


def test_what_is_not_there_is_a_page_that_says_so(service: Any) -> None:
    _, asker = service
    for asked, status in {
        "/nowhere": 404,
        path(f"{ENTRY}/nothing"): 404,
        path(f"{ENTRY}/nothing/proof"): 404,
        f"/at/{ALICE[:-1]}a": 404,
        "/@nobody.example": 404,
        "/@nobody.example/retina": 404,
        "/@alice.example/retina@9.9.9": 404,
        "/at/nobody/x/y": 400,
        path("not-a-collection/x"): 400,
        "/search?q=samples:7": 400,
        "/search?q=x&cursor=nonsense": 400,
        f"/search?q={'x' * 1001}": 400,
        "/search?q=%ff": 400,
    }.items():
        said = asker.send("GET", asked)
        assert said.status == status, asked
        assert "<h1" in said.body.decode()
    assert asker.send("POST", "/about").status == 405


def test_facets_lead_to_the_question_with_and_without_them(service: Any) -> None:
    _, asker = service
    page = read(asker.send("GET", search_path("retina")))
    assert "2 found" in page.text
    narrower = search_path('retina tag:"two words"')
    assert page.links[narrower]
    page = read(asker.send("GET", narrower))
    assert "1 found" in page.text
    assert page.links[search_path("retina")]


def test_pages_of_a_search_give_each_thing_once(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        Author(replica).write({f"{ENTRY}/{n:03}": entry(f"thing {n}") for n in range(50)})
        asked, seen = search_path("thing"), list[str]()
        while asked:
            page = read(asker.send("GET", asked))
            seen += [link for link in page.links if link.startswith(path(ENTRY))]
            asked = next((link for link in page.links if "cursor=" in link), "")
        assert sorted(seen) == [path(f"{ENTRY}/{n:03}") for n in range(50)]


def test_what_is_sent_with_a_page_lets_nothing_run(service: Any) -> None:
    _, asker = service
    for asked in ("/", "/about", "/search?q=retina", "/nowhere", path(f"{ENTRY}/new"), path(f"{ENTRY}/new/proof.car")):
        headers = asker.send("GET", asked).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_page_that_is_had_is_not_sent_again_and_head_has_no_body(service: Any) -> None:
    _, asker = service
    said = asker.send("GET", path(f"{ENTRY}/new"))
    again = asker.send("GET", path(f"{ENTRY}/new"), If_None_Match=said.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    head = asker.send("HEAD", path(f"{ENTRY}/new"))
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", said.headers["etag"])
    style = re.search(r"/style-\w+\.css", said.body.decode())
    assert style is not None
    sheet = asker.send("GET", style[0])
    assert (sheet.status, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in sheet.headers["cache-control"]


def test_who_asks_too_much_is_told_to_wait(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db", limit=RateLimit(per_second=0.1, burst=2)) as (_, asker):
        statuses = [asker.send("GET", "/").status for _ in range(3)]
        said = asker.send("GET", "/about")
        assert statuses == [200, 200, 429]
        assert f"Wait {said.headers['retry-after']} s" in said.body.decode()
        assert 0 < int(said.headers["retry-after"]) <= 10
        assert "Too many questions" in said.body.decode()


def test_the_service_says_whether_it_reads_whom_it_follows(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        add = "INSERT INTO ingest_upstreams (url, cursor) VALUES ('wss://relay.example', 5)"
        replica.write(lambda writing: writing.sql.run(add) and None)
        said = [asker.send("GET", "/about").body.decode()]
        lease = IngestLease(replica, 60)
        assert lease.take()
        said.append(asker.send("GET", "/about").body.decode())
        assert ["wss://relay.example" in each for each in said] == [True, True]
        assert ["Just now it reads none" in each for each in said] == [True, False]
        assert "reaches:at://" in said[0]


def test_a_dataset_of_this_machine_is_shown_without_a_database() -> None:
    page = DatasetPage(name="<rows>", served=False, fields=schema_table(fields_of(Point)), load=("import atdata",))
    html = render(page)
    assert "&lt;rows&gt;" in html
    assert "NDArray[float32]" in html
    assert "/search" not in html


def test_linked_data_say_what_the_dataset_is(service: Any) -> None:
    _, asker = service
    html = asker.send("GET", path(f"{ENTRY}/new")).body.decode()
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    said = json.loads(found[1])
    assert (said["@type"], said["name"], said["license"]) == (
        "Dataset",
        "retina",
        "https://spdx.org/licenses/CC-BY-4.0.html",
    )
    assert said["distribution"][0]["sha256"] == "ab" * 32
    assert [each["name"] for each in said["variableMeasured"]] == ["x", "y", "z"]


STRANGER = Did("did:plc:" + "a" * 24)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eevil\u202c \u200b\u2066",
    "NUL \x00 and \x1b[31m",
    "́" * 50,
    "x" * 70_000,
    "]]><!--",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_strangers_write_is_text(service: Any, number: int) -> None:
    replica, asker = service
    text, did = HOSTILE[number], STRANGER
    hostile = entry(text or "x", description=f"{text}\n\n{text}", license=text, tags=[text[:100]], metadata=b"\x80")
    hostile["storage"]["shards"] = [{"url": text, "checksum": {"algorithm": text, "digest": text}}] * 3
    schema = Schema.of(Point, name=text[:100] or "x", version="1.0.0", description=text).to_record()
    Author(replica, did).write(
        {
            f"{ENTRY}/h": hostile,
            f"{SCHEMA}/h": schema,
            f"{LABEL}/h": label(text[:500], at(f"{ENTRY}/h", did), text[:100]),
        }
    )
    for asked in (
        "/",
        f"/at/{did}",
        *(path(f"{kind}/h", did) for kind in (ENTRY, SCHEMA, LABEL)),
        search_path(text[:900]),
    ):
        said = asker.send("GET", asked)
        assert said.status in (200, 400 if asked.startswith("/search") and "\0" in text else 404)
        page = read(said)
        assert page.tags.count("script") == (said.body.count(b"application/ld+json"))
        assert not {name for name in page.attributes if name.startswith("on")} | page.attributes & {"style", "srcdoc"}
        assert not [tag for tag in page.tags if tag in ("img", "iframe", "object", "b", "base")]
        assert all(re.match(r"/|#|https?://", link) for link in page.links)
        assert not set(said.body.decode()) & set("\u202e\u202c\u200b\u2066\x00\x1b")
        assert len(said.body) < 200_000


def test_only_addresses_of_the_web_are_followed() -> None:
    for good in ("https://example.org", "http://example.org:8080/a?b=c#d", "https://example.org/%3Cb%3E"):
        assert web_link(good) == good
    for bad in (
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " https://example.org",
        "https://",
        "https:///x",
        "//example.org",
        "data:text/html,x",
        "https://user@example.org",
        'https://example.org/"onclick',
        "https://example.org/\u202e",
        "https://ex ample.org",
        "https://[::1",
        "https://example.org:99999",
        "https://example.org/" + "x" * 3000,
        None,
    ):
        assert web_link(bad) is None


def test_addresses_are_made_of_at_uris() -> None:
    assert record_path(f"at://{ALICE}") == f"/at/{ALICE}"
    assert record_path("at://did:web:localhost%3A80/a.b.c/x:1") == "/at/did:web:localhost%253A80/a.b.c/x:1"
    assert record_path("javascript:alert(1)") is None
    assert record_path("at://a.example/a.b.c") is None
