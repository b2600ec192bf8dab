"""Samples of which a lens has no view can be skipped: then they are left out as a filter leaves samples out, the same in every
process, after a resume, and whatever columns are chosen; and it can be told which they are.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.dataset import Dataset, undefined_samples
from atdata.dataset.verdict import read_for_verdict
from atdata.errors import NoHomeError, ResumeError, UnsizedError, UsageError
from atdata.lens import DataLens, Lens, Program
from atdata.local import LocalDiskStore, LocalIndex


@atdata.packable
class Measured:
    id: int
    mz: NDArray[np.float32]
    name: str


@atdata.packable
class Parted:
    id: int
    mz: NDArray[np.float32]
    first: str
    last: str


BAD = {0, 3, 4, 5, 6, 7, 8, 11, 20, 30}  # all of the second shard of five, but its last
COUNT = 31
GOOD = [number for number in range(COUNT) if number not in BAD]


def measured(number: int) -> Measured:
    return Measured(number, np.full(2, number, np.float32), f"{number}" if number in BAD else f"{number} x")


def parted(sample: Measured) -> Parted:
    first, space, last = sample.name.partition(" ")
    if not space:
        raise NoHomeError("no space in the name", path="name")
    return Parted(sample.id, sample.mz, first, last)


PROGRAM = Program.of({"op": "split", "field": "name", "separator": " ", "to": ["first", "last"]})
LENSES = {"function": Lens(parted), "program": DataLens(PROGRAM, Measured, Parted)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Measured]:
    folder = tmp_path_factory.mktemp("undefined")
    return atdata.write_samples(map(measured, range(COUNT)), folder / "m-%06d.tar", maxcount=5)


@pytest.fixture(params=LENSES)
def seen(data: Dataset[Measured], request: pytest.FixtureRequest) -> Dataset[Parted]:
    return data.as_type(Parted, lens=LENSES[request.param], undefined="skip")


def ids(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch.id]


def test_samples_without_a_view_are_left_out(seen: Dataset[Parted]) -> None:
    assert [sample.id for sample in seen] == GOOD
    assert [sample.first for sample in seen] == [str(number) for number in GOOD]
    assert ids(seen.ordered(batch_size=4)) == GOOD
    assert all(len(batch) for batch in seen.ordered(batch_size=2))
    assert sorted(ids(seen.loader(3, shuffle="global", seed=5))) == GOOD


def test_they_are_left_out_as_by_a_filter(data: Dataset[Measured], seen: Dataset[Parted]) -> None:
    kept = data.filter(lambda sample: sample.id not in BAD)
    for mode in ("global", "window"):
        mine = seen.loader(4, shuffle=mode, seed=9, rank=1, world_size=2, equal_steps="pad")
        theirs = kept.loader(4, shuffle=mode, seed=9, rank=1, world_size=2, equal_steps="pad")
        assert [(batch.step, batch.id) for batch in mine] == [(batch.step, batch.id) for batch in theirs]
    with pytest.raises(UnsizedError):
        len(seen)
    with pytest.raises(UsageError):
        seen[3]


def test_chosen_columns_leave_out_the_same(seen: Dataset[Parted]) -> None:
    assert ids(seen.columns("id").ordered(batch_size=8)) == GOOD
    assert seen.columns("mz").to_dict()["mz"][:, 0].tolist() == GOOD


def test_which_they_are_can_be_told(data: Dataset[Measured], seen: Dataset[Parted]) -> None:
    errors = list(undefined_samples(seen))
    assert [error.uri for error in errors] == [data.shards[number // 5].url for number in sorted(BAD)]
    paths = [f"{number:09d} (sample {number % 5} of the shard): name" for number in sorted(BAD)]
    assert [error.path for error in errors] == paths
    assert len(errors) == len(data) - sum(1 for _ in seen)
    assert len(list(undefined_samples(seen.filter(lambda _: False)))) == len(BAD)
    assert len(list(undefined_samples(seen.columns("id")))) == len(BAD)
    strict = data.as_type(Parted, lens=LENSES["program"])
    assert len(list(undefined_samples(strict))) == len(BAD)
    assert list(undefined_samples(data)) == []


def test_the_word_of_a_view_is_kept_until_another_is_given(data: Dataset[Measured], seen: Dataset[Parted]) -> None:
    assert [sample.id for sample in seen.as_type(Parted)] == GOOD
    strict = data.as_type(Parted, lens=LENSES["program"])
    assert ids(strict.as_type(Parted, undefined="skip").ordered(batch_size=8)) == GOOD
    with pytest.raises(NoHomeError):
        list(seen.as_type(Parted, undefined="raise"))
    with pytest.raises(UsageError, match="unknown value of undefined"):
        data.as_type(Parted, lens=LENSES["program"], undefined="drop")  # type: ignore[arg-type]


def test_other_errors_are_raised(data: Dataset[Measured]) -> None:
    def failing(sample: Measured) -> Parted:
        return Parted(sample.id, sample.mz, str(1 // sample.id), "")

    with pytest.raises(ZeroDivisionError):
        list(data.as_type(Parted, lens=Lens(failing), undefined="skip"))


def test_all_of_a_dataset_may_be_left_out(data: Dataset[Measured]) -> None:
    never = DataLens(Program.of({"op": "map", "field": "name", "values": [["q", "r"]]}), Measured, Measured)
    none = data.as_type(Measured, lens=never, undefined="skip")
    assert list(none) == list(none.ordered(batch_size=4)) == list(none.loader(4)) == []
    assert none.to_dict() == {"id": [], "mz": [], "name": []}


def test_a_mixture_leaves_them_out_of_each(data: Dataset[Measured], seen: Dataset[Parted]) -> None:
    whole = atdata.concat(seen, data.as_type(Parted, lens=LENSES["function"], undefined="skip"))
    assert ids(whole.ordered(batch_size=7)) == GOOD * 2
    assert len(list(undefined_samples(whole))) == 2 * len(BAD)
    mixed = atdata.mix([(seen, 2), (seen, 1)], stop="all")
    assert sorted(ids(mixed.loader(5, shuffle="global"))) == sorted(GOOD * 2)


def test_what_is_written_is_what_is_seen(seen: Dataset[Parted], tmp_path: Path) -> None:
    written = atdata.write_samples(seen, tmp_path / "w-%06d.tar", maxcount=9)
    assert [sample.id for sample in written] == GOOD
    assert read_for_verdict(seen.view).samples == COUNT
    mapped = seen.map_shards(iter, tmp_path / "x-%06d.tar", workers=1)
    assert [sample.id for sample in mapped] == GOOD


def test_an_index_keeps_what_is_seen(seen: Dataset[Parted], tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "index.sqlite", data_store=LocalDiskStore(tmp_path / "store"))
    index.insert_dataset(seen, name="parted")
    assert [sample.id for sample in index.load("parted")["train"]] == GOOD


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.integers(1, 4), st.sampled_from([False, "global", "window"]))
def test_a_resumed_pass_goes_on_where_it_was(
    data: Dataset[Measured], size: int, taken: int, world: int, shuffle: Any
) -> None:
    seen = data.as_type(Parted, lens=LENSES["program"], undefined="skip")

    def loader() -> Any:
        return seen.loader(size, shuffle=shuffle, seed=2, rank=world - 1, world_size=world)

    whole = [(batch.step, batch.id) for batch in loader()]
    first = loader()
    before = [(batch.step, batch.id) for batch in itertools.islice(first, taken)]
    state = json.loads(json.dumps(first.state_dict()))
    second = loader()
    second.load_state_dict(state)
    after = [] if state["epoch"] else [batch.id for batch in second]
    assert [row for _, row in before] + after == [row for _, row in whole]


def test_a_state_is_not_that_of_a_view_that_skips(data: Dataset[Measured]) -> None:
    lens = LENSES["program"]
    state = data.as_type(Parted, lens=lens).loader(3).state_dict()
    with pytest.raises(ResumeError):
        data.as_type(Parted, lens=lens, undefined="skip").loader(3).load_state_dict(state)
