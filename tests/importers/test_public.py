"""What importers give to users: a source that says what it is, and writes shards that `load_dataset` gives back."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import ConflictError, SampleError, StorageError, UsageError

CSV = "id,who,when,price\n1,ann,2024-02-03,1.50\n2,bob,2024-02-04,2.25\n3,ann,,3\n"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    return path


def test_a_source_says_what_it_is(people: Path) -> None:
    source = atdata.open(people)
    assert (len(source), source.count, source.splits) == (3, 3, {"train": 3})
    assert source.sample_type.__name__ == "People"
    assert [sample.id for sample in source] == [1, 2, 3] == [sample.id for sample in source.head(9)]
    assert source.head(1)[0].price == 1.5
    assert repr(source).startswith("table (CSV): 3 samples (train: 3)\nnote: when: empty in 1 row")
    assert "class People:\n    id: int\n    who: str\n    when: str\n    price: float" in repr(source)


def test_the_declaration_declares_the_same_type(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((3, 4, 5), np.uint8), label=np.arange(3), when=np.zeros(3, "M8[s]"))
    for source in (atdata.from_npz(tmp_path / "x.npz"),):
        namespace: dict[str, Any] = {"__name__": "pasted"}
        exec(compile(source.declaration, "pasted", "exec", dont_inherit=True), namespace)
        own = atdata.open(tmp_path / "x.npz", sample_type=namespace["X"])
        assert [s.packed for s in own] == [s.packed for s in source]


@pytest.mark.parametrize("manifest", [False, True])
def test_without_splits_one_set_is_written(people: Path, tmp_path: Path, manifest: bool) -> None:
    source = atdata.from_csv(people)
    (tmp_path / "out").mkdir()
    written = source.write(tmp_path / "out" / "p-%06d.tar", maxcount=2, manifest=manifest)
    assert isinstance(written, atdata.Dataset)
    assert list(written) == list(source)
    assert (tmp_path / "out" / "p-000001.manifest.json").exists() == manifest
    loaded = atdata.load_dataset(tmp_path / "out", source.sample_type)
    assert list(loaded) == ["train"]
    assert list(loaded["train"]) == list(source)
    with pytest.raises(ConflictError):
        source.write(tmp_path / "out" / "p-%06d.tar")
    source.write(tmp_path / "out" / "p-%06d.tar", overwrite=True)


def test_each_split_is_a_set_that_loading_gives_back(people: Path, tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.csv").write_text(CSV + f"9,{name},,1\n")
    source = atdata.open(tmp_path / "data")
    written = source.write(tmp_path / "out" / "rows-%06d.tar")
    assert isinstance(written, atdata.DatasetDict)
    loaded = atdata.load_dataset(tmp_path / "out", source.sample_type)
    assert list(loaded) == list(written) == ["train", "validation", "test"]
    for name, dataset in loaded.items():
        assert list(dataset) == list(written[name]) == list(source.split(name))
    assert [s.who for s in source.split("dev")][-1] == "val"
    with pytest.raises(UsageError, match="no split"):
        source.split("gone")


@atdata.packable
class Person:
    who: Annotated[int, atdata.ClassLabel(["ann", "bob"])]
    price: Decimal
    id: str
    when: dt.date | None = None


def test_a_type_of_ones_own(people: Path, tmp_path: Path) -> None:
    source = atdata.open(people, sample_type=Person)
    assert source.sample_type is Person
    assert list(source) == [
        Person(0, Decimal("1.50"), "1", when=dt.date(2024, 2, 3)),
        Person(1, Decimal("2.25"), "2", when=dt.date(2024, 2, 4)),
        Person(0, Decimal("3"), "3"),
    ]
    assert list(source.write(tmp_path / "x.tar")) == list(source)


def test_kinds_of_some_columns(people: Path) -> None:
    source = atdata.from_csv(people, schema={"id": str, "who": Literal["ann", "bob"]})
    assert [(s.id, s.who, s.price) for s in source] == [("1", "ann", 1.5), ("2", "bob", 2.25), ("3", "ann", 3.0)]
    assert "who: Literal['ann', 'bob']" in source.declaration
    with pytest.raises(UsageError, match="not both"):
        atdata.open(people, sample_type=Person, schema={"id": str})


@atdata.packable
class Odd:
    id: int
    price: int


def test_a_value_that_does_not_fit_is_named_with_file_row_and_column(people: Path, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="does not fit") as caught:
        atdata.open(people, sample_type=Odd).write(tmp_path / "x.tar")
    assert (caught.value.uri, caught.value.path) == (str(people), "line 2, price")
    assert not (tmp_path / "x.tar").exists()
    with pytest.raises(UsageError, match="no column for a field") as missing:
        atdata.open(people, sample_type=Person, schema=None).split("train")
        (tmp_path / "y.csv").write_text("id\n1\n")
        atdata.open(tmp_path / "y.csv", sample_type=Odd)
    assert missing.value.path == "price"


# -- JSON lines


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"a": 1, "tags": ["x", "y"], "box": {"w": 1}}, {"a": 2.5, "tags": [], "box": {}, "late": True}]
    source = atdata.from_jsonl(lines(tmp_path / "r.jsonl", *rows))
    first, second = source
    assert (first.a, first.tags, first.box, first.late) == (1.0, ["x", "y"], {"w": 1}, None)
    assert (second.a, second.late) == (2.5, True)
    assert source.notes == ("late: empty in 1 row, so it is optional",)
    assert list(atdata.open(tmp_path / "r.jsonl")) == [first, second]


@atdata.packable
class Boxed:
    a: float
    vector: NDArray[np.float32]


def test_json_lines_of_a_type(tmp_path: Path) -> None:
    path = lines(tmp_path / "r.jsonl", {"a": 1, "vector": [1, 2.5]}, {"a": 2, "vector": [3, "x"]})
    source = atdata.from_jsonl(path, sample_type=Boxed)
    (first,) = source.head(1)
    assert first.a == 1.0
    assert first.vector.dtype == np.float32
    with pytest.raises(SampleError) as caught:
        list(source)
    assert (caught.value.uri, caught.value.path) == (str(path), "line 2, vector")


@pytest.mark.parametrize(
    ("text", "what"), [("{\n", "not JSON"), ("[1]\n", "no JSON object"), ('{"a": 1}\n\x00', "JSON")]
)
def test_lines_that_are_no_objects(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(SampleError, match=what) as caught:
        atdata.open(tmp_path / "r.jsonl")
    assert caught.value.path.startswith("line ")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": {"t": "10:30", "b": 1, "b": 1}}', '{"a": 1e999}'])
def test_json_lines_lose_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "http://example.com:80/", "b": {"c": [{"d": 1}]}}\n' + text + "\n")
    with pytest.raises(SampleError) as caught:
        atdata.from_jsonl(path)
    assert caught.value.path == "line 2"
    assert caught.value.actual
    path.write_text('{"a": Infinity}\n{"a": NaN}\n')
    assert atdata.from_jsonl(path).head()[0].a == float("inf")


@pytest.mark.parametrize("value", ["9" * 30, "9" * 400, "-" + "9" * 30, "[1, " + "9" * 400 + "]", "[" * 90 + "]" * 90])
@pytest.mark.parametrize("inside", ["%s", '{"b": [%s]}', '[[{"c": %s}]]'])
def test_what_no_sample_can_hold_is_found_when_it_is_opened(tmp_path: Path, value: str, inside: str) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n' + json.dumps({"b": 0}) + "\n" + '{"c": ' + inside % value + "}\n")
    with pytest.raises(SampleError) as caught:
        atdata.open(tmp_path / "r.jsonl")
    assert str(caught.value.path).startswith("line 3, c")


def test_a_path_that_no_file_can_have_is_named() -> None:
    for read in (atdata.open, atdata.from_csv, atdata.from_images, atdata.Image):
        with pytest.raises(StorageError, match=r"name too long|cannot be read"):
            read("x" * 5000)
    with pytest.raises(FileNotFoundError) as caught:
        atdata.Image("there-is-none.png")
    assert isinstance(caught.value, atdata.AtdataError)
