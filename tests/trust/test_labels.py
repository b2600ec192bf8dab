"""Labels of labelers: shown and searched with what they are about, only as they were signed, as long as they are in force."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atdata.appview import operator
from atdata.atproto.cid import Cid
from atdata.atproto.labels import SignedLabel
from atdata.atproto.syntax import AtUri
from atdata.errors import AtdataError, IdentifierError, LimitError, NotFoundError, UsageError
from atdata.replica import Replica
from atdata.search import SearchIndex
from atdata.testing import Devnet, Labeler, Teller, label_lies
from atdata.trust import labels
from atdata.trust.reading import LabelerReader
from support.appviews import ALICE, BOB, ENTRY, LENS, SCHEMA, Asker, Author, answering, entry
from support.ingesting import settings_of, until

URI, OTHER = f"at://{ALICE}/{ENTRY}/a", f"at://{ALICE}/{ENTRY}/b"
LIES = [lie.name for lie in label_lies("")]


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet() as made:
        yield made


@dataclass
class Scene:
    """An AppView, a publisher of two datasets, and a labeler that is followed."""

    replica: Replica
    asker: Asker
    net: Devnet
    labeler: Labeler
    author: Author = field(init=False)

    def __post_init__(self) -> None:
        self.author = Author(self.replica)
        self.author.write({f"{ENTRY}/a": entry("one"), f"{ENTRY}/b": entry("two")})
        self.reader = LabelerReader(self.replica, settings_of(self.net))
        operator.follow_labeler(self.replica, self.labeler.did, "looks at data")

    def read(self) -> str:
        """Read what the labeler says; what went wrong."""
        while self.reader.read(self.labeler.did):
            pass
        self.catch_up()
        return operator.followed_labelers(self.replica)[0].failure

    def catch_up(self) -> None:
        search = SearchIndex()
        while self.replica.read(lambda reading: search.is_behind(reading.sql)):
            self.replica.write(lambda writing: search.catch_up(writing.sql))

    def cid(self, uri: str = URI) -> Cid:
        found = self.replica.read(lambda reading: reading.get(AtUri(uri)))
        assert found is not None
        return found.cid

    def shown(self, uri: str = URI) -> dict[str, str]:
        """The labels of a record, and which versions each is about."""
        view = self.asker.get("getEntry", uri=uri).json["entry"]
        for label in view["labels"]:
            SignedLabel.parse(label).verify(self.labeler.key.public)
        return {label["val"]: label["concerns"] for label in view["labels"]}

    def found(self, question: str) -> set[str]:
        self.catch_up()
        return {view["name"] for view in self.asker.get("searchDatasets", q=question).json["entries"]}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def scene(request: pytest.FixtureRequest, net: Devnet, tmp_path: Path) -> Iterator[Scene]:
    where = request.getfixturevalue("postgres_url") if request.param == "postgresql" else tmp_path / "appview.db"
    with answering(where) as (replica, asker):
        yield Scene(replica, asker, net, net.create_labeler())
    net.tell(None)


def test_labels_are_shown_whole_and_searched(scene: Scene) -> None:
    scene.labeler.label(URI, "retracted", scene.cid())
    scene.labeler.label(OTHER, "Reviewed")
    scene.labeler.label("at://did:web:elsewhere.test/app.bsky.feed.post/1", "spam")
    assert scene.read() == ""
    (label,) = scene.asker.get("getEntry", uri=URI).json["entry"]["labels"]
    assert (label["src"], label["cid"], label["concerns"]) == (scene.labeler.did, str(scene.cid()), "this")
    assert abs(datetime.fromisoformat(label["verifiedAt"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert not label["disputed"]
    assert scene.shown(OTHER) == {"Reviewed": "all"}
    assert scene.found("labelled:retracted") == {"one"}
    assert scene.found("-labelled:retracted") == {"two"}
    assert scene.found("labelled:reviewed,retracted") == {"one", "two"}
    assert scene.found(f"labelled:retracted@{scene.labeler.did}") == {"one"}
    assert scene.found(f"labelled:retracted@{BOB}") == set()
    assert scene.found("label:retracted") == set()  # names that publishers give are something else
    facets = scene.asker.get("searchDatasets", facets="true").json["facets"]
    (counts,) = [facet["values"] for facet in facets if facet["kind"] == "labelled"]
    assert {one["value"]: one["count"] for one in counts} == {"Reviewed": 1, "retracted": 1}
    assert scene.replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM trust_labels"))[0] == 2


def test_a_label_ends_by_negation_by_expiry_and_with_its_labeler(scene: Scene) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    scene.labeler.label(URI, "spam")
    scene.labeler.label(URI, "retracted", exp=soon)
    scene.labeler.label(OTHER, "spam")
    assert scene.read() == ""
    assert scene.shown() == {"spam": "all", "retracted": "all"}
    assert scene.found("labelled:retracted") == {"one"}
    scene.labeler.negate(URI, "spam")
    assert scene.read() == ""
    assert scene.found("labelled:spam") == {"two"}
    while datetime.now(UTC) < soon:
        time.sleep(0.1)
    assert (scene.shown(), scene.found("labelled:retracted")) == ({}, set())
    operator.unfollow_labeler(scene.replica, scene.labeler.did)
    assert (scene.shown(OTHER), scene.found("labelled:spam")) == ({}, set())
    assert operator.followed_labelers(scene.replica) == []


def test_a_label_of_one_version_follows_what_that_version_says(scene: Scene) -> None:
    """The identity of content of decision 40: the same data under another description are the same data."""
    scene.labeler.label(URI, "contaminated", scene.cid())
    scene.labeler.label(OTHER, "contaminated", Cid.of_cbor(b"\xa0"))  # a version that nobody here has seen
    scene.read()
    assert (scene.shown(), scene.shown(OTHER)) == ({"contaminated": "this"}, {"contaminated": "unknown"})
    scene.author.write({f"{ENTRY}/a": entry("one", description="a better text")})
    assert (scene.shown(), scene.found("labelled:contaminated")) == ({"contaminated": "sameContent"}, {"one", "two"})
    shard = {"url": "https://example.org/b.tar", "checksum": {"algorithm": "sha256", "digest": "cd" * 32}}
    made = entry("one")
    scene.author.write({f"{ENTRY}/a": {**made, "storage": {**made["storage"], "shards": [shard]}}})
    assert (scene.shown(), scene.found("labelled:contaminated")) == ({"contaminated": "other"}, {"two"})


def test_labels_of_an_account_are_of_all_that_it_has(scene: Scene) -> None:
    scene.labeler.label(ALICE, "impersonation")
    scene.read()
    assert scene.shown() == scene.shown(OTHER) == {"impersonation": "all"}
    assert scene.found("labelled:impersonation") == {"one", "two"}
    scene.author.write({f"{ENTRY}/c": entry("three")})
    assert scene.found("labelled:impersonation") == {"one", "two", "three"}


def test_labels_that_came_before_their_record_are_there_with_it(scene: Scene) -> None:
    late = f"at://{BOB}/{ENTRY}/late"
    scene.labeler.label(late, "retracted")
    scene.read()
    Author(scene.replica, BOB).write({f"{ENTRY}/late": entry("late")})
    assert (scene.shown(late), scene.found("labelled:retracted")) == ({"retracted": "all"}, {"late"})


@pytest.mark.parametrize("name", LIES)
def test_a_labeler_that_lies_adds_nothing_and_takes_nothing(net: Devnet, tmp_path: Path, name: str) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        scene = Scene(replica, asker, net, net.create_labeler())
        scene.labeler.label(URI, "reviewed", scene.cid())
        assert scene.read() == ""
        (before,) = operator.followed_labelers(replica)
        scene.labeler.label(OTHER, "spam", scene.cid(OTHER))
        lie = next(lie for lie in label_lies(scene.labeler.did) if lie.name == name)
        teller = Teller(lie)
        net.tell(teller)
        scene.reader = LabelerReader(replica, settings_of(net))  # which has not asked before who that is
        failure = scene.read()
        assert failure
        assert teller.told
        lied = {*scene.shown(), *scene.shown(OTHER)}
        assert lied in ({"reviewed"}, {"reviewed", "spam"})  # a page that is true and leads nowhere is true
        (during,) = operator.followed_labelers(replica)
        assert (during.read_at, during.tried_at > before.tried_at) == (before.read_at, True)
        net.tell(None)
        assert scene.read() == ""
        assert (scene.shown(), scene.shown(OTHER)) == ({"reviewed": "this"}, {"spam": "this"})


def test_a_labeler_that_is_gone_leaves_its_labels_with_their_age(net: Devnet, tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        scene = Scene(replica, asker, net, net.create_labeler())
        scene.labeler.label(URI, "reviewed")
        assert scene.read() == ""
        (then,) = operator.followed_labelers(replica)
        before = asker.get("getEntry", uri=URI).json["entry"]["labels"]
        net.tell(lambda request, answer: None if "queryLabels" in request.path else answer)  # type: ignore[arg-type,return-value]
        assert scene.read()
        net.tell(None)
        (now,) = operator.followed_labelers(replica)
        assert (now.read_at, bool(now.failure)) == (then.read_at, True)
        (said,) = asker.get("getLabelers").json["labelers"]
        assert (said["did"], said["failing"], said["why"]) == (scene.labeler.did, True, "looks at data")
        assert datetime.fromisoformat(said["readAt"]) <= datetime.now(UTC)
        assert asker.get("getEntry", uri=URI).json["entry"]["labels"] == before != []


def test_a_labeler_that_hangs_keeps_no_other_from_being_read(net: Devnet, tmp_path: Path) -> None:
    went_on, stopping = threading.Event(), threading.Event()
    with answering(tmp_path / "appview.db") as (replica, asker):
        hangs = net.create_labeler()
        net.labeler_servers[-1].before = lambda _: went_on.wait(60) and None
        operator.follow_labeler(replica, hangs.did, "is slow")
        scene = Scene(replica, asker, net, net.create_labeler())
        scene.reader = LabelerReader(replica, replace(settings_of(net), patience=1.0), pause=0.05)
        reading = threading.Thread(target=scene.reader.run, args=(stopping,))
        reading.start()
        try:
            for number in range(10):
                scene.labeler.label(URI, str(number))
                until(lambda number=number: str(number) in scene.shown(), 10)
            first, _ = operator.followed_labelers(replica)
            assert first.failure
            assert len([one for one in net.labeler_servers[-2].requests if "queryLabels" in one]) < 5
        finally:
            went_on.set()
            stopping.set()
            reading.join()


def test_a_labeler_that_takes_another_key_is_followed_on(net: Devnet, tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        scene = Scene(replica, asker, net, net.create_labeler())
        scene.labeler.label(URI, "reviewed")
        assert scene.read() == ""
        scene.labeler.rotate()
        scene.labeler.label(OTHER, "reviewed")
        assert scene.read() == ""  # the key is asked for anew
        assert scene.shown(OTHER) == {"reviewed": "all"}
        operator.follow_labeler(replica, scene.labeler.did, "from the beginning")
        assert scene.read() == ""
        assert scene.shown() == {"reviewed": "all"}  # signed anew


def test_more_than_a_page_is_read_in_order(net: Devnet, tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        scene = Scene(replica, asker, net, net.create_labeler())
        for number in range(260):
            scene.labeler.label(f"at://{ALICE}/{ENTRY}/x{number}", "spam")
        scene.labeler.label(URI, "spam")
        assert scene.read() == ""
        assert scene.shown() == {"spam": "all"}
        assert replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM trust_labels"))[0] == 261


def test_what_is_kept_is_bounded(net: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_OF_ONE", 3)
    with answering(tmp_path / "a.db") as (replica, asker):
        scene = Scene(replica, asker, net, net.create_labeler())
        for number in range(4):
            scene.labeler.label(URI, f"v{number}")
        assert scene.read() == ""
        assert scene.shown() == {"v1": "all", "v2": "all", "v3": "all"}, "the last are kept"
        monkeypatch.setattr(labels, "MAX_LABELERS", 1)
        with pytest.raises(LimitError):
            operator.follow_labeler(replica, BOB, "x")


def test_an_address_of_which_a_labeler_changes_its_mind_again_and_again_stops_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MAX_OF_ONE", 5)
    for _ in range(6):
        scene.labeler.label(URI, "spam")
        assert scene.read() == ""
        assert scene.shown() == {"spam": "all"}
        scene.labeler.negate(URI, "spam")
        assert scene.read() == ""
        assert scene.shown() == {}
    for _ in range(6):
        scene.labeler.label(URI, "old", scene.cid())
        scene.author.write({f"{ENTRY}/a": entry("one", description=str(time.monotonic_ns()))})
    scene.labeler.label(URI, "spam")
    scene.labeler.label(OTHER, "malware")
    assert scene.read() == ""
    assert scene.shown(OTHER) == {"malware": "all"}
    assert scene.shown()["spam"] == "all"
    count = scene.replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM trust_labels"))[0]
    assert count <= 6


@pytest.mark.parametrize(
    ("did", "why", "error"),
    [("alice.example", "x", IdentifierError), (BOB, "", UsageError), (BOB, "y" * 2000, UsageError)],
)
def test_who_is_no_labeler_is_not_followed(tmp_path: Path, did: str, why: str, error: type[AtdataError]) -> None:
    with answering(tmp_path / "a.db") as (replica, _):
        with pytest.raises(error):
            operator.follow_labeler(replica, did, why)
        with pytest.raises(NotFoundError):
            operator.unfollow_labeler(replica, BOB)
        assert operator.followed_labelers(replica) == []


@pytest.mark.parametrize(
    ("uri", "ours"),
    [
        (URI, True),
        (f"at://{ALICE}/{LENS}/a", True),
        (f"at://{ALICE}/{SCHEMA}/a", True),
        (ALICE, True),
        ("did:web:alice.example", True),
        (f"at://{ALICE}/app.bsky.feed.post/1", False),
        (f"at://{ALICE}", False),
        (f"at://{ALICE}/{ENTRY}", False),
        (f"at://alice.example/{ENTRY}/a", False),
        ("https://example.org", False),
        ("at://\x00", False),
        ("", False),
    ],
)
def test_labels_of_others_things_are_passed_over(uri: str, ours: bool) -> None:
    assert labels.is_of_ours(uri) is ours


def test_a_label_that_is_served_is_the_one_that_was_signed(scene: Scene) -> None:
    made = scene.labeler.label(URI, "späm <b>", scene.cid(), exp=datetime.now(UTC) + timedelta(days=1))
    scene.read()
    (label,) = scene.asker.get("getEntry", uri=URI).json["entry"]["labels"]
    assert SignedLabel.parse(label).signed == made.signed
