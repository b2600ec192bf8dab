"""Lenses in a team's index."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import ArgumentTypeError, ConflictError, LensError, NotFoundError, UsageError
from atdata.index.verifications import Discount, VerificationReport
from atdata.lens import Program
from atdata.local import LocalIndex
from atdata.local.integrity import check
from atdata.records import LensRecord

CODE = {"repository": "https://example.com/lenses.git", "commit": "0" * 40, "path": "lenses.py:shorten"}
KEEP = Program.of({"op": "drop", "field": "number"})


@atdata.packable
class Long:
    text: str
    number: int


@atdata.packable
class Short:
    text: str


@pytest.fixture
def index(index_url: str) -> LocalIndex:
    return LocalIndex(index_url)


def test_lenses(index: LocalIndex, tmp_path: Path) -> None:
    source, target = index.publish_schema(Long), index.publish_schema(Short)
    facts = {"source_schema": source, "target_schema": target, "getter_code": CODE, "putter_code": CODE}
    uri = index.publish_lens(name="shorten", **facts)
    assert index.publish_lens(name="shorten", **facts) == uri, "the same lens is one record"
    other = index.publish_lens(name="back", **{**facts, "source_schema": target, "target_schema": source})
    assert index.get_lens("shorten") == index.get_lens(uri) == index.get_lens("atdata://local/lens/shorten")
    assert [lens.name for lens in index.list_lenses()] == ["back", "shorten"]
    assert [lens.uri for lens in index.find_lenses("Long")] == [uri]
    assert [lens.uri for lens in index.find_lenses("Short", "Long")] == [other]
    assert index.find_lenses("Long", "Long") == []
    with pytest.raises(KeyError):
        index.get_lens("nothing")
    with pytest.raises(KeyError):
        index.find_lenses("Nothing")
    with pytest.raises(ConflictError):
        index.remove_schema("Long")
    with pytest.raises(LensError):
        index.publish_lens(name="loose", **{**facts, "getter_code": {**CODE, "commit": "main"}})


def test_programs_and_ranges_of_versions(index: LocalIndex) -> None:
    source, target = index.publish_schema(Long, version="1.0.0"), index.publish_schema(Short, version="1.0.0")
    later = index.publish_schema(Longer, name="Long", version="1.1.0")
    ends = {"source_schema": source, "target_schema": target}
    exact = index.publish_lens(name="exact", getter_code=CODE, **ends)
    ranged = index.publish_lens(name="ranged", program=KEEP, source_schema_version="1.x", **ends)
    assert index.publish_lens(name="ranged", program=KEEP, source_schema_version="1.x", **ends) == ranged
    assert [lens.uri for lens in index.find_lenses("Long@1.0.0")] == [ranged, exact]
    assert [lens.uri for lens in index.find_lenses(str(later), "Short")] == [ranged]
    assert index.get_lens("ranged").program.cid == KEEP.cid
    assert not index.get_lens("exact").has_putter
    with pytest.raises(UsageError):
        index.publish_lens(name="other", program=KEEP, source_schema_version="2.x", **ends)


@pytest.fixture
def lens(index: LocalIndex) -> LensRecord:
    ends = {"source_schema": index.publish_schema(Long), "target_schema": index.publish_schema(Short)}
    return index.get_lens(index.publish_lens(name="keep", program=KEEP, **ends))


def reasons(report: VerificationReport) -> list[Discount | None]:
    return [item.reason for item in report]


def test_verifications_are_kept_and_the_last_word_counts(index: LocalIndex, lens: LensRecord) -> None:
    """Also where the same is said again after something else."""
    assert list(index.verifications_of("keep")) == []
    uri = index.publish_verification("keep", "codeReview", description="Read it.")
    assert index.publish_verification(lens, "codeReview", description="Read it.") == uri, "the same is one record"
    (item,) = index.verifications_of(lens.located)
    assert (item.verifier, item.counts, item.uri) == ("local", True, uri)
    assert item.record is not None
    assert (item.record.lens, item.record.lens_commit) == (lens.uri, str(lens.cid))
    index.publish_verification("keep", "codeReview", verdict="fails", counterexample={"text": ""})
    assert reasons(index.verifications_of("keep")) == [Discount.NEGATIVE, Discount.SUPERSEDED]
    index.publish_verification("keep", "codeReview", description="Read it.")
    index.publish_verification("keep", "automatedTest", trial={"samples": 1, "seed": "", "space": "s", "language": "l"})
    report = index.verifications_of("keep")
    assert sorted(map(str, reasons(report))) == ["None", "None", "superseded", "superseded"]
    assert {item.record.method for item in report.counting if item.record} == {"codeReview", "automatedTest"}
    assert len(index.list_verifications()) == 4
    assert len(index.list_verifications(limit=3)) == 3
    assert check(index) == []


def test_a_verification_is_of_one_lens_in_one_version(index: LocalIndex, lens: LensRecord) -> None:
    """The lens may be one of the network, as it was read from there."""
    where = AtUri.of("did:web:lab.test", LensRecord.NSID, "keep")
    remote = lens.at(where, Cid.of_cbor(b"\x01"))
    longer = lens.at(AtUri.of("did:web:lab.test", LensRecord.NSID, "keeper"), Cid.of_cbor(b"\x01"))
    index.publish_verification(remote, "codeReview")
    assert reasons(index.verifications_of(remote)) == [None]
    assert reasons(index.verifications_of(remote.at(where, Cid.of_cbor(b"\x02")))) == [Discount.STALE]
    index.publish_verification(longer, "codeReview", verdict="fails")
    assert reasons(index.verifications_of(remote)) == [None]
    assert list(index.verifications_of("keep")) == []
    with pytest.raises(ConflictError, match="changed since"):
        index.publish_verification(remote, "codeReview", lens_commit=str(lens.cid))


def test_what_verifies_nothing_is_refused(index: LocalIndex, lens: LensRecord) -> None:
    for method, facts in (("vibes", {}), ("signedHash", {}), ("codeReview", {"verdict": "perhaps"})):
        with pytest.raises(UsageError):
            index.publish_verification(lens, method, **facts)
    with pytest.raises(NotFoundError):
        index.publish_verification("nothing", "codeReview")
    with pytest.raises(ArgumentTypeError):
        index.publish_verification(5, "codeReview")
    with pytest.raises(UsageError):
        index.list_verifications("alice.test")
    assert index.list_verifications() == []


def test_verifications_are_copied_with_their_lenses(index: LocalIndex, lens: LensRecord, tmp_path: Path) -> None:
    index.publish_verification(lens, "codeReview")
    other = LocalIndex(tmp_path / "other.sqlite")
    assert index.copy_to(other).copied == 4
    assert reasons(other.verifications_of("keep")) == [None]
    assert index.copy_to(other).same == 4


@atdata.packable
class Longer:
    text: str
    number: int
    more: str | None = None


def test_what_does_not_lead_between_its_schemas_is_not_listed(index: LocalIndex) -> None:
    """By the same rule as on the network."""
    ends = {"source_schema": index.publish_schema(Long), "target_schema": index.publish_schema(Short)}
    swapped = {"source_schema": ends["target_schema"], "target_schema": ends["source_schema"]}
    for said in ({"program": Program.of(), **ends}, {"program": KEEP, **swapped}):
        with pytest.raises(LensError):
            index.publish_lens(name="unfit", **said)
    for end in ends:
        for does in ({"program": KEEP}, {"getter_code": CODE}):
            for wrong in ("at://did:plc:x/science.alt.dataset.schema/A", "nonsense", f"{ends[end]}9", None):
                with pytest.raises((UsageError, NotFoundError)) as caught:
                    index.publish_lens(name="unfit", **does, **{**ends, end: wrong})
                assert caught.value.path == end
                assert caught.value.hint
            with pytest.raises(UsageError, match=f"{end}_version is neither"):
                index.publish_lens(name="unfit", **does, **ends, **{f"{end}_version": "two"})
    assert index.list_lenses() == []
    index.publish_lens(name="named", program=KEEP, source_schema="Long", target_schema="Short@1.0.0")
    assert [index.get_lens("named").source_schema, index.get_lens("named").target_schema] == [*ends.values()]
