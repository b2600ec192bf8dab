"""What became of a dataset: its versions, and the difference between two of them, on every index."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.dataset import Dataset
from atdata.errors import NotFoundError
from atdata.local import LocalIndex
from atdata.manifest import SampleChanges, SampleDigests

pytest.importorskip("pyarrow")


@atdata.packable
class Row:
    n: int


@atdata.packable
class Wider:
    n: int
    text: str | None


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int, kind: Any = Row, manifest: bool = True, name: str = "rows") -> Dataset[Any]:
    samples = [kind(n) if kind is Row else kind(n, None) for n in numbers]
    pattern = f"{name}-{'-'.join(map(str, numbers))}-%d.tar"
    return atdata.write_samples(samples, pattern, maxcount=2, manifest=manifest, overwrite=True)


def test_history(place: Any, index: Any) -> None:
    index.insert_dataset(rows(1, 2), name="rows", version="1.0.0")
    index.append("rows", rows(3, 4, 5), notes="more")
    index.insert_dataset(rows(1, 2, kind=Wider, name="wider"), name="rows", version="2.0.0")
    index.append("rows", rows(9))
    index.retract("rows", "2.1.0", reason="nine is wrong")
    newest, wider, more, first = index.history("rows")
    assert [item.version for item in (newest, wider, more, first)] == ["2.1.0", "2.0.0", "1.1.0", "1.0.0"]
    assert first.changes is None
    assert (more.notes, more.predecessor) == ("more", "1.0.0")
    assert (more.changes.added, more.changes.removed, more.changes.samples) == (2, 0, 3)
    assert not more.changes.fields
    assert (wider.changes.added, wider.changes.removed, wider.changes.samples) == (1, 3, -3)
    assert wider.changes.fields.added == {"text": "str | None"}
    assert (newest.entry, newest.changes, newest.retraction.reason) == (None, None, "nine is wrong")
    assert {item.author for item in (newest, more)} == {place.where.did if place.public else None}
    assert all(item.created_at.startswith("20") for item in (newest, more))
    with pytest.raises(NotFoundError):
        index.history("absent")


def test_what_was_made_by_appending_is_compared_with_that(index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    entry = index.append("rows", rows(2))
    index.insert_dataset(rows(7, 8, 9), name="rows", version="1.0.5")
    index.add_label(entry, name="rows", version="3.0.0")
    assert [(item.version, item.predecessor) for item in index.history("rows")] == [
        ("3.0.0", "1.0.0"),
        ("1.1.0", "1.0.0"),
        ("1.0.5", "1.0.0"),
        ("1.0.0", None),
    ]


@pytest.mark.parametrize("manifest", [True, False])
def test_diff(index: Any, manifest: bool) -> None:
    index.insert_dataset(rows(1, 2, 3, 4, manifest=manifest), name="a", license="MIT")
    index.insert_dataset(rows(1, 2, 5, 4, 6, manifest=manifest), name="b")
    found = index.diff("a", "b")
    assert found.shards == 1
    assert (found.samples.added, found.samples.removed) == (["000000004"], [])
    assert (found.samples.changed, found.samples.same) == (["000000002"], 3)
    assert (found.facts, bool(found.fields)) == (("license",), False)
    back = index.diff("b", "a")
    assert (back.samples.added, back.samples.removed) == ([], ["000000004"])
    index.insert_dataset(rows(1, kind=Wider, name="wider"), name="c")
    assert index.diff("a", "c").fields.added == {"text": "str | None"}
    assert index.diff("c", "a").fields.removed == {"text": "str | None"}
    nothing = index.diff("a", "a")
    assert (nothing.samples, nothing.facts) == (SampleChanges([], [], [], 4), ())


def test_a_diff_of_versions_reads_only_manifests(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "index.sqlite")
    for version, dataset in (("1.0.0", rows(1, 2, 3)), ("2.0.0", rows(1, 2, 4))):
        index.insert_dataset(dataset, name="rows", version=version)
        for shard in dataset.shards:
            Path(shard.url).unlink()
    found = index.diff("rows@1.0.0", "rows@2.0.0")
    assert (found.samples.changed, found.samples.same) == (["000000002"], 2)


pairs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=12)


def digests(samples: list[tuple[str, int]]) -> SampleDigests:
    return SampleDigests.of(
        [key for key, _ in samples], b"".join(hashlib.sha256(b"%d" % n).digest() for _, n in samples)
    )


@given(pairs, pairs, st.integers(0, 12), st.integers(0, 12))
def test_changes_are_those_of_multisets(one: Any, other: Any, cut: int, at: int) -> None:
    found = SampleChanges.between([digests(one[:cut]), digests(one[cut:])], [digests(other[:at]), digests(other[at:])])
    before, after = Counter(one), Counter(other)
    lost, won = (
        Counter(key for key, _ in (before - after).elements()),
        Counter(k for k, _ in (after - before).elements()),
    )
    assert found.same == (before & after).total()
    assert Counter(found.changed) == lost & won
    assert Counter(found.added) == won - lost
    assert Counter(found.removed) == lost - won
