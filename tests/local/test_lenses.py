"""Lenses in a team's index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

import atdata
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import ConflictError, LensError, UsageError
from atdata.local import LocalIndex

CODE = {"repository": "https://example.com/lenses.git", "commit": "0" * 40, "path": "lenses.py:shorten"}


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
    ranged = index.publish_lens(name="ranged", program=Keep(), source_schema_version="1.x", **ends)
    assert index.publish_lens(name="ranged", program=Keep(), source_schema_version="1.x", **ends) == ranged
    assert [lens.uri for lens in index.find_lenses("Long@1.0.0")] == [ranged, exact]
    assert [lens.uri for lens in index.find_lenses(str(later), "Short")] == [ranged]
    assert index.get_lens("ranged").program.cid == Keep().cid
    assert not index.get_lens("exact").has_putter
    with pytest.raises(UsageError):
        index.publish_lens(name="other", program=Keep(), source_schema_version="2.x", **ends)


@atdata.packable
class Longer:
    text: str
    number: int
    more: str | None = None


class Keep:
    """A program."""

    value: ClassVar[dict[str, Any]] = {"language": "atdata-lens", "version": 1, "steps": []}
    cid = Cid.of_cbor(cbor.encode(value))
