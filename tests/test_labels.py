"""Which label a dataset gets under a name: the rule that every index decides by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import ConflictError, LimitError
from atdata.index import NamedRecords, next_patch, next_version, planned_label
from atdata.records import Label

ONE, OTHER = (
    AtUri(f"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.entry/{key}") for key in ("one", "other")
)


def listed(version: str | None, dataset: AtUri = OTHER, key: str = "label") -> Label:
    label = Label(name="rows", dataset_uri=dataset, version=version)
    return label.at(AtUri.of(dataset.authority, Label.NSID, key), Cid.of_cbor(b"\xa0"))


def planned(version: str | None, *there: Label) -> Label:
    return planned_label(NamedRecords(there), Label(name="rows", dataset_uri=ONE, version=version))


@pytest.mark.parametrize(
    ("there", "version"),
    [
        ([], None),
        ([None], None),
        (["1.0.0"], "1.0.1"),
        ([None, "1.0.0"], "1.0.1"),
        (["1.0.0", "2.3.4", None], "2.3.5"),
        (["1.0.0-rc.1"], "1.0.0"),
        (["draft"], "1.0.0"),
        (["draft", "0.1.0"], "0.1.1"),
    ],
)
def test_without_a_version_the_name_leads_to_it(there: list[str | None], version: str | None) -> None:
    before = [replace(listed(one), created_at=f"2026-01-0{n + 1}T00:00:00.000Z") for n, one in enumerate(there)]
    label = planned(None, *before)
    assert (label.uri, label.version) == (None, version)
    found = NamedRecords([*before, label.at(ONE, Cid.of_cbor(b"\xa0"))]).newest()
    assert found is not None
    assert found.dataset_uri == ONE


def test_what_is_listed_already_is_listed_once() -> None:
    for version in (None, "1.0.0"):
        there = listed(version, ONE)
        assert planned(version, there) is there
        assert planned(None, there, listed(None if version is None else "1.1.0", key="newer")) is there
    there = listed("1.0.0", ONE)
    assert planned("1.1.0", there).version == "1.1.0"


def test_one_that_no_name_led_to_gets_a_version() -> None:
    assert planned(None, listed(None, ONE), listed("1.0.0")).version == "1.0.1"


def test_a_version_stands_for_one_dataset() -> None:
    with pytest.raises(ConflictError, match=r"rows@1\.0\.0 already stands for another dataset"):
        planned("1.0.0", listed("1.0.0"))


def test_after_the_last_version() -> None:
    assert next_version(None) is None
    assert next_patch("1.0.999999998") == "1.0.999999999"
    with pytest.raises(LimitError, match="no patch after"):
        next_patch("1.0.999999999")
