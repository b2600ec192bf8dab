"""Columns in the forms of other libraries: values and a mask, values and offsets, CSR; lists only when one looks at lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

import atdata
from atdata import SampleBatch
from atdata.errors import NotFoundError, SampleError
from atdata.samples.forms import Numbers


@atdata.packable
class Row:
    n: int | None
    x: float | None
    yes: bool | None
    track: NDArray[np.float32]
    words: list[int]
    counts: sparse.csr_array


def row(number: int) -> Row:
    return Row(
        None if number % 3 == 0 else number,
        None if number % 2 else float(number),
        None if number == 1 else number > 4,
        np.full((number % 4, 2), number, np.float32),
        list(range(number % 3)),
        sparse.csr_array(np.eye(1, 5, number % 5)),
    )


@pytest.fixture(params=["read", "made"])
def batch(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    rows = [row(number) for number in range(10)]
    if request.param == "made":
        return SampleBatch.of(Row, rows)
    (read,) = atdata.write_samples(rows, tmp_path / "a.tar").as_type(Row).ordered(batch_size=10)
    return read


def test_optional_numbers_are_values_and_a_mask(batch: Any) -> None:
    for name, dtype in (("n", np.int64), ("x", np.float64), ("yes", np.bool_)):
        masked = batch.masked_array(name)
        assert masked.dtype == dtype
        assert masked.tolist() == batch[name] == [getattr(row(number), name) for number in range(10)]
        assert name not in batch.arrays
    with pytest.raises(SampleError) as caught:
        batch.masked_array("words")
    assert caught.value.path == "words"
    with pytest.raises(NotFoundError):
        batch.masked_array("no")


def test_ragged_arrays_are_values_and_offsets(batch: Any) -> None:
    ragged = batch.ragged_array("track")
    assert (ragged.values.shape, ragged.values.dtype, len(ragged)) == ((13, 2), np.float32, 10)
    assert all(np.array_equal(ragged[number], row(number).track) for number in range(-10, 10) if number >= 0)
    assert np.array_equal(ragged[-1], row(9).track)
    assert "10 values" in repr(ragged)
    lists = batch.ragged_array("words")
    assert [lists[number].tolist() for number in range(10)] == batch.words
    with pytest.raises(IndexError):
        ragged[10]
    for wrong in ("n", "yes"):
        with pytest.raises(SampleError):
            batch.ragged_array(wrong)


def test_what_is_stacked_has_equal_lengths() -> None:
    batch = SampleBatch.of(Row, [row(5), row(9)])
    ragged = batch.ragged_array("track")
    assert ragged.offsets.tolist() == [0, 1, 2]
    assert ragged.values.tolist() == [[5, 5], [9, 9]]


def test_sparse_matrices_are_one_csr(batch: Any) -> None:
    whole = batch.sparse_array("counts")
    assert isinstance(whole, sparse.csr_array)
    assert np.array_equal(whole.toarray(), np.vstack([row(number).counts.toarray() for number in range(10)]))
    with pytest.raises(SampleError):
        batch.sparse_array("n")


@atdata.packable
class Numbered:
    n: int | None
    x: float | None
    yes: bool | None


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Numbered, st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(), st.none() | st.booleans()
        ),
        min_size=1,
        max_size=30,
    )
)
def test_no_list_is_made_that_nobody_looks_at(tmp_path: Path, rows: list[Numbered]) -> None:
    atdata.write_samples(rows, tmp_path / "a-%d.tar", maxcount=7, overwrite=True)
    dataset = atdata.Dataset[Numbered](tmp_path / f"a-{{0..{(len(rows) - 1) // 7}}}.tar")
    batches = list(dataset.ordered(batch_size=4))
    assert [sample for batch in batches for sample in batch.samples] == rows
    for batch in batches:
        assert {type(column) for column in batch.stored.values()} == {Numbers}
        assert batch.masked_array("x").mask.tolist() == [value is None for value in batch["x"]]
