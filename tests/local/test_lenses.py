"""Lenses in a team's index."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata.errors import ConflictError, LensError
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
