"""Promise: people may look instead of reading: fields, values, first samples, in a terminal, a notebook and a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DatasetDict, DictSample, Doc, Unit
from support.rawhttp import FileServer


@atdata.packable
class Cell:
    number: int
    name: Annotated[str, Doc("what <b>it</b> is called")]
    depth: Annotated[float | None, Unit("um")]
    trace: NDArray[np.float32]
    image: atdata.Image


def cell(number: int) -> Cell:
    pixels = np.full((8, 8, 3), number, np.uint8)
    depth = None if number % 4 == 0 else number / 2
    return Cell(
        number, f"<i>cell\u202e {number % 3}", depth, np.zeros(number % 2 + 1, np.float32), atdata.Image(pixels)
    )


@pytest.fixture
def cells(tmp_path: Path) -> Dataset[Cell]:
    return atdata.write_samples(map(cell, range(40)), tmp_path / "cells-%06d.tar", maxcount=15)


def test_a_dataset_shows_its_fields_with_units_and_docs(cells: Dataset[Cell]) -> None:
    shown = str(cells.schema)
    assert shown.splitlines()[0] == "Cell:"
    assert "  depth: float | None (um)" in shown
    assert "what <b>it</b> is called" in shown
    assert [field.name for field in cells.columns("number", "depth").schema.fields] == ["number", "depth"]
    assert Dataset(cells.shards[0].url).schema.fields == ()


def test_a_page_loads_nothing_and_runs_nothing_of_a_strangers(cells: Dataset[Cell]) -> None:
    page = cells.card().page()
    assert "<i>" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "\\u202e" in page
    assert page.count('src="data:image/png;base64,') == 5
    assert re.findall(r'(?:src|href)="(?!data:)|url\(|@import', page) == []
    assert "script" not in page
    assert "Content-Security-Policy" in page


@pytest.mark.parametrize(
    "make", [lambda ds: ds, lambda ds: ds[:3], lambda ds: DatasetDict(train=ds), lambda ds: ds.map(str)]
)
def test_a_notebook_shows_it(cells: Dataset[Cell], make: Any) -> None:
    assert make(cells)._repr_html_().startswith('<div class="atdata">')


def test_what_is_not_here_is_not_fetched_to_be_shown(tmp_path: Path) -> None:
    atdata.write_samples([DictSample(x=1)], tmp_path / "x.tar")
    with FileServer(files={"/x.tar": (tmp_path / "x.tar").read_bytes()}) as server:
        card = Dataset(f"{server.url}/x.tar", cache=tmp_path / "cache").card()
        assert "head() fetches it" in card.notes[0]
        assert server.requests == []


def test_a_description_is_what_the_values_are(cells: Dataset[Cell]) -> None:
    found = cells.describe()
    assert found.basis == "all 40 samples"
    number, name, depth = found["number"], found["name"], found["depth"]
    assert (number.count, number.missing, number.facts["range"], number.facts["mean"]) == (40, 0, "0 to 39", "19.5")
    assert name.facts["most frequent"].count("(1") == 3
    assert (depth.count, depth.missing, depth.facts["range"]) == (30, 10, "0.5 to 19.5")
    assert found["trace"].facts["shape"] == "float32[1], float32[2]"
    assert found["image"].facts["format"] == "image/png"
    assert "missing" in repr(found).splitlines()[3]
    assert cells.describe(limit=10).basis == "the first 10 samples"
    with pytest.raises(KeyError):
        _ = found["nothing"]


def test_a_description_goes_by_manifests_where_all_shards_have_one(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    written = atdata.write_samples(map(cell, range(40)), tmp_path / "c-%06d.tar", maxcount=15, manifest=True)
    found, read = written.describe(limit=5), written.describe()
    for name in ("number", "depth"):
        one, other = found[name], read[name]
        assert (one.count, one.missing, one.facts["range"], one.facts["mean"]) == (
            other.count, other.missing, other.facts["range"], other.facts["mean"],
        )  # fmt: skip
    assert "the manifests of 3 shards" in found.basis
    assert "trace, image: the first 5 samples" in found.basis
    assert written.filter(bool).describe(limit=5).basis == "the first 5 samples"


@pytest.mark.parametrize(
    "values",
    [
        [True, False, True], [None, None], [1, 2.5, float("nan")], [float("inf"), 1.0], [b"a", b""], [[1], [1, 2]],
        [{"a": 1}], ["x", 1], [np.float32(1)], [object(), object()], [10**30, 1], [-(2**70)], [1 + 2j],
    ],
)  # fmt: skip
def test_anything_is_described(cells: Dataset[Cell], values: list[Any]) -> None:
    taken = cells.take(len(values)).map(lambda sample: values[sample.number])
    assert "value" in repr(taken.describe())
    taken._repr_html_()


def test_small_habits() -> None:
    assert DictSample(name=1, other="x") == DictSample({"name": 1}, other="x")
    assert DictSample(name=1).to_dict() == {"name": 1}
    assert cell(3).to_dict()["number"] == 3
    assert list(cell(3).to_dict()) == ["number", "name", "depth", "trace", "image"]


def test_map_gives_anything(cells: Dataset[Cell]) -> None:
    assert list(cells.map(lambda sample: sample.number).take(3)) == [0, 1, 2]
    (batch,) = cells.take(3).map(lambda sample: sample.number).ordered(batch_size=8)
    assert batch.value == [0, 1, 2]
    assert list(batch) == [0, 1, 2]
    (batch,) = cells.take(3).map(lambda sample: sample.image.array).ordered(batch_size=8)
    assert batch.value.shape == (3, 8, 8, 3)
    assert next(iter(cells.map(lambda s: (s.number, s.name)).loader(2))).value[1][0] == 1
    assert list(cells.map(lambda sample: sample.number).filter(lambda n: n > 37)) == [38, 39]


@pytest.mark.parametrize("limit", [0, 1, 17, 40, 100])
def test_the_first_samples_as_a_table(cells: Dataset[Cell], limit: int) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    count = min(limit, 40)
    for some in (cells, cells.columns("number", "name"), cells.filter(lambda cell: cell.number != 0)):
        whole = some.to_pandas()["number"].tolist()
        assert some.to_pandas(limit=limit)["number"].tolist() == whole[:count]
        assert some.to_arrow(limit=limit)["number"].to_pylist() == whole[:count]
        assert some.to_polars(limit=limit)["number"].to_list() == whole[:count]
        assert list(some.to_dict(limit)["number"]) == whole[:count]
    assert cells.map(lambda cell: cell.number).to_pandas(limit=2)["value"].tolist() == [0, 1]
