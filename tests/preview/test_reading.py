"""Promise: the first samples of a dataset, and what its manifests say, as models; what cannot be read is said in its place."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, load_dataset
from atdata.manifest import Aggregate, File, Header, SchemaReference
from atdata.preview import PreviewLimits, preview_of, statistics_of, statistics_of_dataset
from atdata.samples.codec import pack
from atdata.samples.kinds import ClassLabel
from atdata.shards import Digest


@atdata.packable
class Leaf:
    number: int
    kind: Annotated[int, ClassLabel(["oak", "beech"])]
    width: float | None
    pixels: NDArray[np.uint8]


def leaf(number: int) -> Leaf:
    return Leaf(number, number % 2, None if number % 5 == 0 else number / 2, np.full((6, 7, 3), number, np.uint8))


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Leaf]:
    folder = tmp_path_factory.mktemp("leaves")
    return atdata.write_samples(map(leaf, range(40)), folder / "leaves-%06d.tar", maxcount=15, manifest=True)


def numbers(dataset: Dataset[Any], first: int = 0, samples: int = 8) -> list[int]:
    return [shown.number for shown in preview_of(dataset, first, PreviewLimits(samples=samples)).samples]


def test_samples_are_shown_page_by_page(leaves: Dataset[Leaf]):
    first = preview_of(leaves)
    assert first.fields == ("number", "kind", "width", "pixels")
    assert [shown.value("number").text for shown in first.samples] == [str(n) for n in range(8)]
    assert first.samples[0].value("width").sort == "missing"
    assert [shown.value("kind").text for shown in first.samples[:2]] == ["oak (0)", "beech (1)"]
    assert first.samples[1].value("pixels").picture is not None
    assert first.more
    assert not first.why
    assert numbers(leaves, 12) == [*range(12, 20)]
    last = preview_of(leaves, 36)
    assert ([shown.number for shown in last.samples], last.more) == ([36, 37, 38, 39], False)
    assert preview_of(leaves, 40).samples == ()
    assert preview_of(leaves, 10**15).samples == ()


def test_shards_without_a_type_are_shown_as_they_are(leaves: Dataset[Leaf]):
    untyped = load_dataset(str(Path(leaves.shards[0].url).parent), split="train")
    assert preview_of(untyped).samples[3].value("number").text == "3"


def test_a_sample_that_is_none_is_said_among_the_others(tmp_path: Path):
    path = tmp_path / "mixed.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(4):
            data = leaf(number).packed if number != 2 else pack({"number": "two"})
            member = tarfile.TarInfo(f"{number:03}.msgpack")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    shown = preview_of(Dataset[Leaf](path)).samples
    assert [bool(sample.why) for sample in shown] == [False, False, True, False]
    assert "Leaf" in shown[2].why


def test_shards_that_are_none_are_said(tmp_path: Path):
    path = tmp_path / "bad.tar"
    path.write_bytes(b"no tar" * 1000)
    assert "tar" in preview_of(Dataset(path)).why
    gone = Dataset(atdata.write_samples([leaf(1)], tmp_path / "gone-%06d.tar").shards[0].url)
    (tmp_path / "gone-000000.tar").unlink()
    assert "there is no such shard" in preview_of(gone).why
    (tmp_path / "empty.tar").write_bytes(b"\0" * 10240)
    shown = preview_of(Dataset(tmp_path / "empty.tar"))
    assert (shown.samples, shown.why, shown.more) == ((), "", False)


def test_manifests_are_plotted(leaves: Dataset[Leaf]):
    for dataset in (leaves, load_dataset(str(Path(leaves.shards[0].url).parent), split="train")):
        found = statistics_of_dataset(dataset)
        assert found is not None
        assert (found.shards, found.of, found.samples) == (3, 3, 40)
        fields = {field.name: field for field in found.fields}
        assert dict(fields["width"].facts)["without a value"] == "8"
        assert dict(fields["number"].facts)["range"] == "0 to 39"
        assert [(shown.first, shown.low, shown.high) for shown in fields["number"].ranges] == [
            (0, 0, 14),
            (1, 15, 29),
            (2, 30, 39),
        ]
        assert fields["number"].ranges[0].box == (0.0, 14 / 39, 7 / 39)


def test_a_manifest_of_other_bytes_is_not_plotted(tmp_path: Path):
    dataset = atdata.write_samples(map(leaf, range(4)), tmp_path / "a-%06d.tar", manifest=True)
    path = Path(dataset.shards[0].url)
    other = atdata.write_samples(map(leaf, range(5, 9)), tmp_path / "b-%06d.tar")
    path.write_bytes(Path(other.shards[0].url).read_bytes())
    assert statistics_of_dataset(load_dataset(str(path), split="train")) is None


def header(*fields: Aggregate) -> Header:
    file = File(Digest.sha256(b""), 0)
    named = {f"f{number}": field for number, field in enumerate(fields)}
    return Header(shard=file, samples=3, rows=file, schema=SchemaReference(type="T"), fields=named)


def test_values_are_bars_the_most_frequent_first():
    some = Aggregate(kind="categorical", type="str", count=3, nulls=0, counts=(("a", 1), ("<b>\u202e", 2)))
    more = Aggregate(kind="categorical", type="str", count=3, nulls=1, counts=(("a", 3),))
    found = statistics_of([header(some), header(more)], 5)
    assert found is not None
    assert (found.shards, found.of) == (2, 5)
    bars = found.fields[0].bars
    assert [(bar.label, bar.count, bar.share) for bar in bars] == [("a", 4, 1.0), ("<b>\\u202e", 2, 0.5)]
    many = Aggregate(kind="categorical", type="int", count=100, nulls=0, counts=tuple((n, 5) for n in range(20)))
    assert statistics_of([header(many)], 1).fields[0].rest == (8, 40)
    assert statistics_of([], 3) is None
    assert statistics_of([header()], 3) is None


HUGE = st.none() | st.integers(-(10**400), 10**400) | st.floats()


@given(st.lists(st.tuples(HUGE, HUGE, HUGE, st.integers(-3, 10), st.integers(0, 3)), min_size=1, max_size=120))
def test_whatever_manifests_say_is_plotted_within_its_box(said: list[Any]):
    parts = [
        header(Aggregate(kind="numeric", type="float", count=count, nulls=0, nans=nans, min=low, max=high, mean=mean))
        for low, high, mean, count, nans in said
    ]
    found = statistics_of(parts, len(parts))
    assert found is not None
    assert len(found.fields[0].ranges) <= 60
    for shown in found.fields[0].ranges:
        assert all(0 <= place <= 1 for place in shown.box)
