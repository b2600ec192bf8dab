"""What does not fit is refused, with the path of the value that does not."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples import DictSample, Shape, packable
from atdata.samples.codec import pack


@packable
class Row:
    text: str = ""
    number: int = 0
    real: float = 0.0
    flag: bool = False
    raw: bytes = b""
    maybe: int | None = None
    words: list[str] | None = None
    grid: list[list[int]] | None = None
    table: dict | None = None
    counts: dict[str, list[int | None]] | None = None
    plain: Any = None
    image: NDArray[np.uint8] | None = None
    points: Annotated[NDArray[np.float32] | None, Shape(None, 3)] = None
    anything: NDArray | None = None
    images: list[NDArray] | None = None
    names: NDArray[np.str_] | None = None
    dated: NDArray[np.datetime64] | None = None


class Str(str):
    __slots__ = ()


LOOP: list[Any] = []
LOOP.append(LOOP)

# field, a value that does not fit it, where the misfit is
MISFITS: list[tuple[str, Any, str]] = [
    ("text", 1, ""),
    ("text", None, ""),
    ("text", b"a", ""),
    ("text", "\ud800", ""),
    ("number", 1.0, ""),
    ("number", True, ""),
    ("number", "1", ""),
    ("number", 2**64, ""),
    ("number", -(2**63) - 1, ""),
    ("number", np.float32(1), ""),
    ("number", np.timedelta64(1, "s"), ""),
    ("number", np.array(1), ""),
    ("real", "1", ""),
    ("real", True, ""),
    ("real", np.bool_(True), ""),
    ("real", 2**53 + 1, ""),
    ("real", 10**400, ""),
    ("real", np.timedelta64(1, "s"), ""),
    ("real", np.longdouble("1e4000"), ""),
    ("real", np.longdouble(1) / 3, ""),
    ("real", decimal.Decimal(1), ""),
    ("real", 1j, ""),
    ("flag", 1, ""),
    ("flag", None, ""),
    ("raw", "a", ""),
    ("raw", [1], ""),
    ("raw", np.zeros(1, "u1"), ""),
    ("maybe", "a", ""),
    ("words", "ab", ""),
    ("words", ("a",), ""),
    ("words", ["a", 1], "[1]"),
    ("words", np.array(["a"]), ""),
    ("grid", [[1], [2, "x"]], "[1][1]"),
    ("grid", [[1], 2], "[1]"),
    ("table", {1: 2}, "[1]"),
    ("table", {"a": {"b": [1, {2}]}}, "['a']['b'][1]"),
    ("table", {"a": np.zeros(3)}, "['a']"),
    ("table", {"a\ud800": 1}, "['a\\ud800']"),
    ("table", {"a" * 1000: 2j}, "['" + "a" * 59 + "]"),
    ("table", [("a", 1)], ""),
    ("counts", {"a": [1, None, "x"]}, "['a'][2]"),
    ("counts", {"a": None}, "['a']"),
    ("plain", {"a": [dt.date(2024, 1, 1)]}, "['a'][0]"),
    ("plain", [(1, 2)], "[0]"),
    ("plain", [1, 2**64], "[1]"),
    ("plain", [np.datetime64("2024-01-01")], "[0]"),
    ("plain", np.void(b"a"), ""),
    ("plain", LOOP, "[0]" * 64),
    ("image", [1, 2], ""),
    ("image", np.zeros(3, "i1"), ""),
    ("image", np.uint8(3), ""),
    ("points", np.zeros((2, 4), "f4"), ""),
    ("points", np.zeros(3, "f4"), ""),
    ("points", np.zeros((2, 3), "f8"), ""),
    ("anything", np.array([None]), ""),
    ("anything", np.array([{}, 1], object), ""),
    ("anything", np.zeros(2, [("a", "i4"), ("b", object)]), ""),
    ("anything", np.ma.masked_array([1, 2], [True, False]), ""),
    ("anything", np.zeros(2, [("a", "S0")]), ""),
    ("anything", np.zeros(2, []), ""),
    ("anything", np.zeros((1,) * 33) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else None, ""),
    ("anything", np.zeros(2, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}), ""),
    ("anything", np.zeros(2, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}), ""),
    ("anything", np.frombuffer(b"\0\xd8\0\0", "<U1"), ""),
    ("anything", np.frombuffer(b"\0\0\x11\0", "<U1"), ""),
    ("anything", np.frombuffer(b"\0\xd8\0\0", [("a", [("b", "<U1", (1,))], (1,))]), ""),
    ("images", [np.zeros(1), np.array([None])], "[1]"),
    ("names", np.array([b"a"]), ""),
    ("dated", np.array([1], "m8[s]"), ""),
]


@pytest.mark.parametrize(("name", "value", "where"), MISFITS)
def test_a_value_that_does_not_fit_is_refused_with_its_path(name, value, where):
    if name == "anything" and value is None:
        pytest.skip("numpy 1 has no array of 33 dimensions")
    with pytest.raises(SampleError) as caught:
        _ = Row(**{name: value}).packed
    assert caught.value.path == f"Row.{name}{where}"
    assert caught.value.expected
    assert caught.value.actual
    str(caught.value).encode()


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no StringDType")
def test_arrays_of_strings_of_variable_width_have_no_portable_bytes():
    with pytest.raises(SampleError) as caught:
        _ = Row(anything=np.array(["a"], np.dtypes.StringDType())).packed
    assert caught.value.path == "Row.anything"


def test_arrays_of_extension_types_have_no_portable_bytes():
    with pytest.raises(SampleError) as caught:
        _ = Row(anything=np.zeros(2, ml_dtypes.bfloat16)).packed
    assert caught.value.path == "Row.anything"


def test_metadata_of_a_dtype_is_not_stored_and_nothing_is_said_about_it():
    """`numpy.save` warns; a warning for each of a million samples helps nobody."""
    noted = np.zeros(2, np.dtype("<f2", metadata={"unit": "m"}))
    assert Row(anything=noted).packed == Row(anything=np.zeros(2, "<f2")).packed


# field, what a stored sample has there, where the misfit is
STORED: list[tuple[str, Any, str]] = [
    ("text", b"a", ""),
    ("text", None, ""),
    ("number", 1.0, ""),
    ("number", True, ""),
    ("real", 2**53 + 1, ""),
    ("real", "1", ""),
    ("flag", 0, ""),
    ("raw", "a", ""),
    ("words", [None], "[0]"),
    ("words", {"0": "a"}, ""),
    ("grid", [[1], [2, "x"]], "[1][1]"),
    ("counts", {"a": [1, None, "x"]}, "['a'][2]"),
    ("table", {1: 2}, "[1]"),
    ("table", {"a": [{"b": {None: 1}}]}, "['a'][0]['b'][None]"),
    ("table", {"a": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}, "['a']"),
    ("image", [1, 2], ""),
    ("image", b"", ""),
    ("image", b"\x93NUMPY", ""),
    ("images", [None], "[0]"),
]


@pytest.mark.parametrize(("name", "value", "where"), STORED)
def test_stored_bytes_that_do_not_fit_are_refused_with_their_path(name, value, where):
    with pytest.raises(SampleError) as caught:
        Row.from_bytes(pack({name: value}))
    assert caught.value.path == f"Row.{name}{where}"
    assert caught.value.expected
    assert caught.value.actual
    assert "None" not in caught.value.actual or value is None or where


@pytest.mark.parametrize(
    ("name", "array", "hint"),
    [("image", np.zeros(3, "f4"), "astype(np.uint8)"), ("points", np.zeros((2, 3)), "astype(np.float32)")],
)
def test_an_array_of_another_dtype_is_told_how_to_become_the_right_one(name, array, hint):
    with pytest.raises(SampleError) as caught:
        _ = Row(**{name: array}).packed
    assert hint in (caught.value.hint or "")
    with pytest.raises(SampleError):
        Row.from_bytes(pack({name: Row(anything=array).packed}))


@pytest.mark.parametrize(
    "values", [{1: 2}, {"a\ud800": 1}, {b"a": 1}, {"a": {1, 2}}, {"a": [np.zeros(1)]}, {"a": (1,)}]
)
def test_an_untyped_sample_holds_only_what_it_can_give_back(values):
    with pytest.raises(SampleError):
        DictSample(values)
