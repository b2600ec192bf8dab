"""Which fields are indexed, and what is said of their values."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import FieldTypeError
from atdata.manifest import ManifestField, indexed_fields
from atdata.manifest.aggregates import MAX_TEXT, MAX_VALUES, gathering
from atdata.manifest.field import Indexed


@atdata.packable
class Everything:
    text: str
    whole: int
    real: float
    flag: bool
    tags: list[str]
    maybe: float | None
    raw: bytes
    array: NDArray[np.float32]
    numbers: list[float]
    nested: list[list[str]]
    open: dict
    gaps: list[str | None]


def test_what_is_indexed_without_a_marker():
    found = [(field.name, field.kind, field.type) for field in indexed_fields(Everything)]
    assert found == [
        ("text", "categorical", "str"),
        ("whole", "numeric", "int"),
        ("real", "numeric", "float"),
        ("flag", "numeric", "bool"),
        ("tags", "set", "str"),
        ("maybe", "numeric", "float"),
    ]
    assert indexed_fields(atdata.DictSample) == ()


def test_a_marker_chooses():
    @atdata.packable
    class Chosen:
        label: Annotated[int, ManifestField("categorical")]
        secret: Annotated[str, ManifestField("exclude")]
        inner: Annotated[float, ManifestField("numeric")] | None
        outer: Annotated[float | None, ManifestField("exclude")]
        codes: Annotated[list[int], ManifestField("set")]
        last: Annotated[Annotated[int, ManifestField("numeric")], ManifestField("categorical")]

    found = [(field.name, field.kind, field.type, field.chosen) for field in indexed_fields(Chosen)]
    assert found == [
        ("label", "categorical", "int", True),
        ("inner", "numeric", "float", True),
        ("codes", "set", "int", True),
        ("last", "categorical", "int", True),
    ]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "numeric"),
        (float, "categorical"),
        (str, "set"),
        (list[float], "set"),
        (list[str], "categorical"),
        (bytes, "categorical"),
        (NDArray[np.float32], "numeric"),
        (dict, "set"),
        (list[str | None], "set"),
    ],
)
def test_a_marker_that_the_type_does_not_fit_is_refused(annotation, kind):
    sample_type = atdata.packable(
        type("Wrong", (), {"__annotations__": {"x": Annotated[annotation, ManifestField(kind)]}})
    )
    with pytest.raises(FieldTypeError) as caught:
        indexed_fields(sample_type)
    assert caught.value.path == "Wrong.x"


def test_a_marker_of_no_kind_is_refused():
    with pytest.raises(FieldTypeError):
        ManifestField("numerical")  # type: ignore[arg-type]


def test_names_that_manifests_use_themselves_are_not_indexed():
    plain = atdata.packable(type("Plain", (), {"__annotations__": {"__key__": str, "x": int}}))
    assert [field.name for field in indexed_fields(plain)] == ["x"]
    wanted = {"__size__": Annotated[int, ManifestField("numeric")]}
    with pytest.raises(FieldTypeError):
        indexed_fields(atdata.packable(type("Wanted", (), {"__annotations__": wanted})))


def facts(kind: Any, of: str, *batches: list[Any]) -> dict[str, Any]:
    gathered = gathering(Indexed("x", kind, of, chosen=False))
    for batch in batches:
        gathered.add(batch)
    return gathered.facts()


@given(st.lists(st.lists(st.floats(allow_infinity=False, width=32)), max_size=5))
def test_floats_are_as_numpy_has_them(batches):
    found = facts("numeric", "float", *batches)
    values = np.array([value for batch in batches for value in batch])
    numbers = values[~np.isnan(values)]
    assert found["nans"] == len(values) - len(numbers)
    if len(numbers):
        assert (found["min"], found["max"]) == (numbers.min(), numbers.max())
        assert found["mean"] == pytest.approx(numbers.mean(), rel=1e-9, abs=1e-9 * np.abs(numbers).max())
    else:
        assert (found["min"], found["max"], found["mean"]) == (None, None, None)


@given(st.lists(st.lists(st.integers(-(2**63), 2**64 - 1)), max_size=5))
def test_ints_are_exact(batches):
    found = facts("numeric", "int", *batches)
    values = [value for batch in batches for value in batch]
    assert found == {
        "min": min(values, default=None),
        "max": max(values, default=None),
        "mean": sum(values) / len(values) if values else None,
    }


def test_what_no_json_number_can_say_is_left_open():
    assert facts("numeric", "float", [1.0, math.inf]) == {"nans": 0, "min": 1.0, "max": None, "mean": None}
    assert facts("numeric", "float", [-math.inf, math.inf]) == {"nans": 0, "min": None, "max": None, "mean": None}
    large = facts("numeric", "float", [1.7e308], [1.7e308, 1.7e308])
    assert large == {"nans": 0, "min": 1.7e308, "max": 1.7e308, "mean": None}


def test_bools_count_as_numbers():
    assert facts("numeric", "bool", [True, False], [True, True]) == {"min": 0, "max": 1, "mean": 0.75}


@given(st.lists(st.lists(st.sampled_from("abcd")), max_size=4))
def test_values_are_counted(batches):
    values = [value for batch in batches for value in batch]
    assert facts("categorical", "str", *batches)["counts"] == tuple((v, values.count(v)) for v in sorted(set(values)))
    assert facts("set", "str", batches)["items"] == tuple(sorted(set(values)))


def test_too_many_or_too_long_values_are_left_open():
    few, many = list(range(MAX_VALUES)), list(range(MAX_VALUES + 1))
    assert len(facts("categorical", "int", few)["counts"]) == MAX_VALUES
    assert facts("categorical", "int", few, many)["counts"] is None
    assert facts("categorical", "int", many, few)["counts"] is None
    assert facts("set", "int", [few], [many])["items"] is None
    assert facts("categorical", "str", ["x" * MAX_TEXT])["counts"] is not None
    assert facts("categorical", "str", ["x" * (MAX_TEXT + 1)])["counts"] is None
