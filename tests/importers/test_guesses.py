"""The lattice of field types: its laws, and that every value is a value of the type it led to."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import SampleError
from atdata.importers.guesses import (
    NONE,
    Bound,
    Columns,
    Guess,
    fit,
    guess_of,
    join,
    settle,
)
from atdata.importers.rows import field_names
from atdata.samples import Array, Field, ListOf, Maybe, Plain, Scalar, Shape
from atdata.schema import SampleSchema, type_of
from support.arrays import simple_arrays

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
)
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
)
values = plain | simple_arrays | st.lists(simple_arrays, max_size=2)
guesses = values.map(guess_of) | st.lists(values, max_size=3).map(
    lambda many: reduce(join, map(guess_of, many), Guess())
)
kinds = st.sampled_from(
    [
        st.none(),
        st.booleans() | st.none(),
        st.integers(-5, 5) | st.floats(),
        st.integers(-(2**63), 2**64 - 1),
        st.text(max_size=3),
        st.lists(st.integers(-5, 5) | st.floats() | st.none()),
        st.lists(plain, max_size=3),
        st.dictionaries(st.text(max_size=2), plain, max_size=2),
        simple_arrays | st.none(),
        st.lists(simple_arrays, max_size=3),
    ]
)
columns = kinds.flatmap(lambda kind: st.lists(kind, min_size=1, max_size=5)) | st.lists(values, min_size=1, max_size=4)


@given(guesses, guesses)
def test_the_order_of_two_makes_no_difference(one: Guess, other: Guess) -> None:
    assert join(one, other) == join(other, one)


@given(guesses, guesses, guesses)
def test_nor_does_where_rows_are_cut(one: Guess, two: Guess, three: Guess) -> None:
    assert join(join(one, two), three) == join(one, join(two, three))


@given(guesses, guesses)
def test_what_is_known_changes_nothing(one: Guess, other: Guess) -> None:
    assert join(one, one) == one
    assert join(one, Guess()) == one
    assert join(join(one, other), other) == join(one, other)


@given(columns)
def test_every_value_is_one_of_the_inferred_type_or_the_column_is_refused(column: list[Any]) -> None:
    table = Columns("here")
    for number, value in enumerate(column):
        table.add_row({"x": value}, f"row {number}")
    try:
        ((_, field_type),) = table.fields()
    except SampleError:
        assert len({guess_of(value).core for value in column}) > 1
        return
    sample_type: Any = type_of(SampleSchema("Row", (Field("x", field_type),)))
    for value in column:
        sample = sample_type(x=fit(value, field_type))
        assert sample_type.from_bytes(sample.packed) == sample
        assert sample == sample_type(x=value)  # an int among floats is the same number


@pytest.mark.parametrize(
    ("seen", "inferred"),
    [
        ([1, 2.5], Scalar("float")),
        ([1, None], Maybe(Scalar("int"))),
        ([2**63, -1], Scalar("int")),
        ([True, False], Scalar("bool")),
        ([[], [1]], ListOf(Scalar("int"))),
        ([[1], [2.5, None]], ListOf(Maybe(Scalar("float")))),
        ([[]], ListOf(Plain())),
        ([[1, "a"]], ListOf(Plain())),
        ([[[1]], [[], None]], ListOf(Maybe(ListOf(Scalar("int"))))),
        ([None], Plain()),
        ([np.zeros((2, 3), "f4")] * 2, Array(np.float32, Shape(2, 3))),
        ([np.zeros((2, 3), ">f4"), np.zeros((4, 3), "<f4")], Array(np.float32, Shape(None, 3))),
        ([np.zeros(2, "f4"), np.zeros((2, 2), "f4")], Array(np.float32)),
        ([np.zeros(2, "f4"), np.zeros(2, "f8")], Array(None, Shape(2))),
    ],
)
def test_what_values_have_in_common(seen: list[Any], inferred: Any) -> None:
    assert settle(reduce(join, map(guess_of, seen))) == inferred


@pytest.mark.parametrize("seen", [[1, "a"], [True, 1], [np.zeros(2), 1], [{}, []], [b"", ""], [2**53 + 1, 0.5]])
def test_a_column_of_unlike_values_is_refused_with_two_of_its_rows(seen: list[Any]) -> None:
    table = Columns("data.npz")
    for number, value in enumerate([None, seen[0], seen[0], seen[1]]):
        table.add_row({"ok": 1, "x": value}, f"row {number}")
    with pytest.raises(SampleError, match="'x'") as caught:
        table.fields()
    assert caught.value.path == "row 3, x"
    assert caught.value.expected is not None
    assert caught.value.expected.endswith("as in row 1")


def test_an_int_that_no_float_holds_is_never_rounded() -> None:
    assert settle(join(guess_of(2**53 + 1), guess_of([1][0]))) == Scalar("int")
    assert join(guess_of(2**53 + 1), guess_of(0.5)).core == Plain()
    assert join(guess_of([2**53 + 1]), guess_of([0.5])) == guess_of([2**53 + 1, 0.5])
    assert fit([2**53 + 1, 0.5], ListOf(Plain())) == [2**53 + 1, 0.5]


def test_lists_of_arrays_are_no_lists_of_anything() -> None:
    arrays = guess_of([np.zeros(2)])
    assert join(arrays, guess_of([1])).core is Bound.CLASH
    assert join(join(guess_of([1]), guess_of(1)), arrays).core is Bound.CLASH


def test_a_row_without_a_column_makes_it_optional_and_says_so() -> None:
    table = Columns("x.tar")
    table.add_row({"a": 1}, "row 0")
    table.add_row({"a": 1, "late": "x"}, "row 1")
    assert table.fields() == [("a", Scalar("int")), ("late", Maybe(Scalar("str")))]
    assert table.notes() == ["late: empty in 1 row, so it is optional"]


def test_text_that_is_no_unicode_is_refused_where_it_stands() -> None:
    with pytest.raises(SampleError) as caught:
        Columns("x").add_row({"name": "a\ud800"}, "row 7")
    assert caught.value.path == "row 7, name"


def test_none_is_only_that_it_may_be_missing() -> None:
    assert join(NONE, guess_of(1)) == Guess(Scalar("int"), optional=True)


@given(
    st.lists(st.text(max_size=4) | st.sampled_from(["a", "a_2", "class", "cls", "packed", "__x", "ﬁ", "x-1", "x_1"]))
)
def test_any_names_become_names_that_fields_can_have(given_names: list[str]) -> None:
    names = field_names(given_names)
    assert len(set(names)) == len(names) == len(given_names)
    sample_type = type_of(SampleSchema("Row", tuple(Field(name, Scalar("int")) for name in names)))
    sample: Any = sample_type(**dict.fromkeys(names, 1))
    assert sample_type.from_bytes(sample.packed) == sample


@pytest.mark.parametrize(
    ("given_names", "made"),
    [
        (["image", "größe", "_x"], ["image", "größe", "_x"]),
        (["x-1", "x_1"], ["x_1_2", "x_1"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["class", "0", "", " b ", "__index_level_0__"], ["class_", "_0", "column_3", "b", "index_level_0__"]),
    ],
)
def test_names_stay_as_close_as_they_can(given_names: list[str], made: list[str]) -> None:
    assert field_names(given_names) == made
