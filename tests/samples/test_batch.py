"""Batches: samples side by side, and back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.errors import NotFoundError
from atdata.samples import DictSample, SampleBatch, packable
from support.arrays import SPECIMENS, arrays, identical


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    weight: NDArray | None = None


@packable
class Holder:
    x: NDArray


@packable
class Awkward:
    samples: int
    columns: str


def digits(count: int) -> list[Digit]:
    return [Digit(np.full((2, 3), i, "u1"), i, np.array(i / 2)) for i in range(count)]


def test_arrays_are_stacked_and_the_rest_is_listed():
    batch = SampleBatch.of(Digit, digits(4))
    assert len(batch) == 4
    assert identical(batch.image, np.arange(4, dtype="u1")[:, None, None].repeat(2, 1).repeat(3, 2))
    assert batch.label == [0, 1, 2, 3]
    assert identical(batch.weight, np.arange(4) / 2)
    assert batch["image"] is batch.image
    assert repr(batch) == "SampleBatch[Digit](4 samples; image: uint8 [4, 2, 3], label: list of 4, weight: float64 [4])"


@pytest.mark.parametrize("odd", [np.zeros((3, 2), "u1"), np.zeros((2, 3), "i1"), np.zeros(6, "u1"), np.array(1, "u1")])
def test_arrays_that_are_not_alike_are_listed(odd):
    images = [digits(1)[0].image, odd]
    batch = SampleBatch.of(Holder, [Holder(image) for image in images])
    assert isinstance(batch.x, list)
    assert all(map(identical, batch.x, images))


def test_arrays_of_as_many_dimensions_as_there_may_be_are_listed():
    samples = [Holder(SPECIMENS["32 dimensions"])] * 2
    assert isinstance(SampleBatch.of(Holder, samples).x, list)
    assert SampleBatch.of(Holder, samples).samples == samples


def test_a_missing_value_makes_a_list():
    rows = [Digit(np.zeros(1, "u1"), 0, None), Digit(np.zeros(1, "u1"), 1, np.ones(2))]
    for samples in (rows, rows[::-1]):
        assert isinstance(SampleBatch.of(Digit, samples).weight, list)
        assert SampleBatch.of(Digit, samples).samples == samples


@pytest.mark.parametrize("name", [name for name, array in SPECIMENS.items() if array.ndim < 32])
def test_every_array_stacks_and_comes_apart_as_it_was(name):
    samples = [Holder(SPECIMENS[name])] * 3
    batch = SampleBatch.of(Holder, samples)
    assert batch.x.shape == (3, *SPECIMENS[name].shape)
    assert batch.x.dtype == SPECIMENS[name].dtype
    assert batch.samples == samples
    assert [sample.packed for sample in batch] == [
        Holder(np.ascontiguousarray(SPECIMENS[name]).reshape(batch.x.shape[1:])).packed
    ] * 3


@given(st.lists(arrays, max_size=4))
def test_any_rows_come_back(rows: list[Any]):
    samples = [Holder(array) for array in rows]
    assert SampleBatch.of(Holder, samples).samples == samples


@packable
class Numbered:
    count: int
    ratio: float
    valid: bool
    name: str
    extra: int | None = None
    x: NDArray[np.float32] | None = None


def numbered(extra: list[int | None]) -> list[Numbered]:
    return [Numbered(n - 1, n / 3, n % 2 == 0, str(n), value, np.ones(2, "f4")) for n, value in enumerate(extra)]


def test_numbers_are_arrays_to_whom_wants_them(tmp_path):
    rows = numbered([5, 6, 7])
    write_samples(rows, tmp_path / "a.tar")
    (read,) = Dataset[Numbered](tmp_path / "a.tar").ordered(batch_size=5)
    for batch in (SampleBatch.of(Numbered, rows), read, pickle.loads(pickle.dumps(read))):
        kinds = {name: (str(array.dtype), array.shape) for name, array in batch.arrays.items()}
        assert kinds == {
            "count": ("int64", (3,)),
            "ratio": ("float64", (3,)),
            "valid": ("bool", (3,)),
            "extra": ("int64", (3,)),
            "x": ("float32", (3, 2)),
        }
        assert batch.arrays["count"].tolist() == batch.count == [-1, 0, 1]
        assert batch.valid == [True, False, True]
        assert all(type(value) is bool for value in batch.valid)
        assert batch.samples == rows
    assert read.count is read.count, "what a list is changed to is not lost"


def test_what_is_missing_or_too_large_is_in_no_array(tmp_path):
    for extra in ([5, None, 7], [5, 2**63, 7]):
        rows = numbered(extra)
        write_samples(rows, tmp_path / "a.tar", overwrite=True)
        (read,) = Dataset[Numbered](tmp_path / "a.tar", cache=tmp_path / str(len(extra))).ordered(batch_size=5)
        assert "extra" not in read.arrays
        assert read.extra == extra
        (read,) = Dataset[Numbered](tmp_path / "a.tar").filter(lambda row: row.count != 0).ordered(batch_size=5)
        assert read.arrays["count"].tolist() == [-1, 1]


def test_rows_are_views_into_the_batch():
    batch = SampleBatch.of(Digit, digits(2))
    batch.samples[1].image[0, 0] = 99
    assert batch.image[1, 0, 0] == 99


def test_rows_without_a_type_have_the_fields_of_them_all():
    rows = [
        DictSample({"a": 1, "x": np.ones(2)}),
        DictSample({"a": 2, "x": np.ones(2), "more": 1}),
        DictSample({"x": np.ones(2)}),
    ]
    batch = SampleBatch.of(DictSample, rows)
    assert list(batch.columns) == ["a", "x", "more"]
    assert batch.a == [1, 2, None]
    assert batch.more == [None, 1, None]
    assert batch.x.shape == (3, 2)
    assert batch.samples[1] == rows[1]


def test_a_field_may_have_the_name_of_what_a_batch_has():
    batch = SampleBatch.of(Awkward, [Awkward(1, "a")])
    assert (batch["samples"], batch["columns"]) == ([1], ["a"])
    assert batch.samples == [Awkward(1, "a")]


def test_a_field_it_does_not_have_is_named_with_those_it_has():
    batch = SampleBatch.of(Digit, digits(1))
    with pytest.raises(AttributeError, match="no field 'lable'; it has image, label, weight"):
        _ = batch.lable


@pytest.mark.parametrize("travel", [lambda b: pickle.loads(pickle.dumps(b)), copy.copy, copy.deepcopy])
def test_a_batch_is_copied_and_pickled(travel):
    batch = SampleBatch.of(Digit, digits(3))
    back = travel(batch)
    assert back.samples == batch.samples
    assert back.sample_type is Digit


def test_an_empty_batch_is_empty():
    batch = SampleBatch.of(Digit, [])
    assert len(batch) == 0
    assert list(batch) == []


def test_a_column_that_is_no_array_says_so():
    batch = SampleBatch.of(Digit, [Digit(np.zeros((2, 3), "u1"), 1), Digit(np.zeros((2, 3), "u1"), 2, np.array(1.0))])
    found = batch.arrays
    assert set(found) == {"image", "label"}
    with pytest.raises(NotFoundError, match="cannot be one array") as caught:
        found["weight"]
    assert "NoneType" in str(caught.value)
    for look_up in (lambda: found["wight"], lambda: batch["wight"]):
        with pytest.raises(NotFoundError, match="no field 'wight'"):
            look_up()
    assert "weight" not in found
    assert found.get("weight") is None
    for again in (pickle.loads(pickle.dumps(found)), copy.copy(found), type(found)(found), {**found}):
        assert set(again) == set(found)


def test_the_step_of_a_batch_travels_with_it():
    batch = SampleBatch(Digit, {"image": [], "label": []}, None, 7)
    assert pickle.loads(pickle.dumps(batch)).step == copy.copy(batch).step == 7
    assert SampleBatch.of(Digit, digits(2)).step is None
