"""A lens that fails in a dataset names the sample: its shard, its key and its place, beside field and step; whichever way the
sample was read.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.dataset import Dataset
from atdata.dataset.verdict import read_for_verdict
from atdata.errors import FailedShardsError, LensError, NoHomeError
from atdata.lens import DataLens, Lens, Program


@atdata.packable
class Peak:
    id: int
    mz: NDArray[np.float32]
    counts: int
    name: str


@atdata.packable
class Scaled:
    id: int
    mz: NDArray[np.float32]
    counts: int
    name: str


@atdata.packable
class Named:
    id: int
    first: str
    last: str


BAD = 7  # in a shard of five: the third of the second one
KEY = "000000007"


def peak(number: int) -> Peak:
    bad = number == BAD
    mz = np.full(3, 3e38 if bad else number, np.float32)
    return Peak(number, mz, 1000 if bad else number, f"A{number}" if bad else f"A {number}")


def first_last(sample: Peak) -> Named:
    first, space, last = sample.name.partition(" ")
    if not space:
        raise NoHomeError("no space in the name", path="name")
    return Named(sample.id, first, last)


def divided(sample: Peak) -> Named:
    return Named(sample.id, str(sample.id // (sample.id - BAD)), "")


def ending(sample: Peak) -> Named:
    return next(iter([] if sample.id == BAD else [Named(sample.id, "", "")]))


def nothing(sample: Peak) -> Named:
    return None if sample.id == BAD else Named(sample.id, "", "")  # type: ignore[return-value]


SCALE = Program.of({"op": "scale", "field": "mz", "factor": 1000})
CAST = Program.of(
    {"op": "cast", "field": "counts", "to": "float", "min": 0, "max": 100},
    {"op": "cast", "field": "counts", "to": "int", "min": 0, "max": 100},
)
SPLIT = Program.of(
    {"op": "drop", "field": "mz"},
    {"op": "drop", "field": "counts"},
    {"op": "split", "field": "name", "separator": " ", "to": ["first", "last"]},
)

LENSES: dict[str, Lens[Any, Any]] = {
    "getter": Lens(first_last),
    "overflow": DataLens(SCALE, Peak, Scaled),
    "cast": DataLens(CAST, Peak, Scaled),
    "split": DataLens(SPLIT, Peak, Named),
    "composed": Lens.identity(Peak) | DataLens(SPLIT, Peak, Named),
}
FIELDS = {"getter": "name", "overflow": "mz", "cast": "counts", "split": "name", "composed": "name"}


@pytest.fixture
def data(tmp_path: Path) -> Dataset[Peak]:
    return atdata.write_samples(map(peak, range(12)), tmp_path / "p-%06d.tar", maxcount=5)


def batches_of(dataset: Dataset[Any]) -> list[Any]:
    return list(dataset.ordered(batch_size=5))


READS: dict[str, Callable[[Dataset[Any]], Any]] = {
    "sample": lambda ds: ds[BAD],
    "several": lambda ds: ds[[1, BAD, 2]],
    "items": lambda ds: ds.__getitems__([1, BAD]),
    "key": lambda ds: ds.get(KEY),
    "iteration": list,
    "batches": batches_of,
    "shuffled": lambda ds: list(ds.shuffled(batch_size=4, seed=3)),
    "loader": lambda ds: list(ds.loader(3, shuffle="global")),
    "selected": lambda ds: list(ds.select([3, BAD])),
    "mixture": lambda ds: list(atdata.mix([(ds, 1), (ds, 1)], stop="all")),
    "dict": lambda ds: ds.to_dict(),
    "written": lambda ds: atdata.write_samples(ds, Path(ds.shards[0].url).parent / "other.tar"),
    "verdict": lambda ds: read_for_verdict(ds.view),
}


def check(error: BaseException, dataset: Dataset[Any], name: str) -> None:
    assert isinstance(error, NoHomeError)
    assert error.uri == dataset.shards[1].url
    assert error.path is not None
    assert error.path.startswith(f"{KEY} (sample 2 of the shard): {FIELDS[name]}")
    if name not in ("getter",):
        assert error.step is not None
        assert error.step.startswith("steps[")


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("name", LENSES)
def test_an_error_names_the_sample(data: Dataset[Peak], name: str, way: str) -> None:
    lens = LENSES[name]
    with pytest.raises(NoHomeError) as caught:
        READS[way](data.as_type(lens.view_type, lens=lens))
    check(caught.value, data, name)
    again = pickle.loads(pickle.dumps(caught.value))
    check(again, data, name)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("name", LENSES)
def test_an_error_in_chosen_columns_names_the_sample(data: Dataset[Peak], name: str) -> None:
    lens = LENSES[name]
    field = {"overflow": "mz", "cast": "counts"}.get(name, "first")
    with pytest.raises(NoHomeError) as caught:
        batches_of(data.as_type(lens.view_type, lens=lens).columns(field))
    check(caught.value, data, name)


@pytest.mark.parametrize("name", LENSES)
def test_an_error_in_an_arrow_table_names_the_sample(data: Dataset[Peak], name: str) -> None:
    lens = LENSES[name]
    with pytest.raises(NoHomeError) as caught:
        data.as_type(lens.view_type, lens=lens).to_arrow()
    check(caught.value, data, name)


@pytest.mark.parametrize("name", LENSES)
def test_all_samples_before_it_come_first(data: Dataset[Peak], name: str) -> None:
    lens, seen = LENSES[name], []
    with pytest.raises(NoHomeError):
        for sample in data.as_type(lens.view_type, lens=lens):
            seen.append(sample.id)
    assert seen == list(range(BAD))


@pytest.mark.parametrize("way", ["sample", "iteration", "batches", "loader", "written", "verdict"])
def test_an_exception_of_a_getter_stays_what_it_is_and_has_a_note(data: Dataset[Peak], way: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        READS[way](data.as_type(Named, lens=Lens(divided)))
    note = f"The sample was {KEY} (sample 2 of the shard) {data.shards[1].url}."
    assert caught.value.__notes__ == [note]
    assert pickle.loads(pickle.dumps(caught.value)).__notes__ == [note]


@pytest.mark.parametrize("way", ["iteration", "batches", "loader", "dict", "written"])
def test_a_getter_that_ends_an_iteration_loses_no_samples(data: Dataset[Peak], way: str) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        READS[way](data.as_type(Named, lens=Lens(ending)))


def test_a_map_that_ends_an_iteration_loses_no_samples(data: Dataset[Peak]) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        batches_of(data.map(ending))


@pytest.mark.parametrize("way", ["sample", "iteration", "batches", "loader", "written", "verdict"])
def test_a_getter_that_gives_no_sample_of_its_type_is_refused(data: Dataset[Peak], way: str) -> None:
    with pytest.raises(LensError, match="the lens nothing gives another type than it says") as caught:
        READS[way](data.as_type(Named, lens=Lens(nothing)))
    assert (caught.value.expected, caught.value.actual) == ("Named", "NoneType")
    assert caught.value.path == f"{KEY} (sample 2 of the shard)"


def test_a_function_that_is_mapped_or_filters_names_the_sample_too(data: Dataset[Peak]) -> None:
    for dataset in (data.map(divided), data.filter(lambda sample: 1 // (sample.id - BAD) > 0)):
        with pytest.raises(ZeroDivisionError) as caught:
            batches_of(dataset)
        assert caught.value.__notes__ == [f"The sample was {KEY} (sample 2 of the shard) {data.shards[1].url}."]


@pytest.mark.parametrize("name", LENSES)
def test_mapped_shards_name_the_sample(data: Dataset[Peak], name: str, tmp_path: Path) -> None:
    lens = LENSES[name]
    with pytest.raises(FailedShardsError) as caught:
        data.as_type(lens.view_type, lens=lens).map_shards(iter, tmp_path / "m-%06d.tar", workers=1)
    error = caught.value
    assert error.uri == data.shards[1].url
    assert error.path is not None
    assert error.path.startswith(f"{KEY} (sample 2 of the shard): {FIELDS[name]}")
    assert list(error.failures) == [1]
