"""Programs: what each step does to samples and to columns, what is refused, and what has no home on the other side."""

from __future__ import annotations

import json
import math
import pickle
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import ClassLabel, Dataset, DictSample, SampleBatch, Shape, Unit, packable
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import ArgumentTypeError, LensError, NoHomeError, SampleError
from atdata.lens import Complement, DataLens, Lens, Program, Projection, find_lens, fitted, register
from atdata.samples import fields_of
from atdata.samples.stacking import stack
from atdata.schema import schema_of, to_json_schema, type_of

F32, F64, I32 = NDArray[np.float32], NDArray[np.float64], NDArray[np.int32]


def kind(name: str = "Kind", /, **fields: Any) -> Any:
    """A sample type with some fields."""
    return packable(type(name, (), {"__annotations__": fields}))


def node(annotation: Any) -> Any:
    """How a program writes the type of a field."""
    content = to_json_schema(schema_of(kind(field=annotation)))[0]
    bare = content["properties"]["field"]
    return bare if content["required"] else {"anyOf": [bare, {"type": "null"}]}


def one(source: Any, view: Any, *steps: Any) -> DataLens[Any, Any]:
    return DataLens(Program.of(*steps), source, view)


def f4(*numbers: float) -> Any:
    return np.array(numbers, "f4")


def check(lens: DataLens[Any, Any], source: dict[str, Any], view: dict[str, Any], *changes: Any) -> None:
    """A sample is seen as this view, alone and in columns, and is itself again; changed views are put into it.

    Args:
        lens: the lens.
        source: the values of the sample.
        view: those of its view.
        changes: each some values of the view, and what then stands in the sample.
    """
    sample, seen = lens.source_type(**source), lens.view_type(**view)
    before = sample.packed
    assert lens(sample).packed == seen.packed
    assert lens.put(seen, sample).packed == before
    for changed, there in changes:
        put = lens.put(lens.view_type(**{**view, **changed}), sample)
        assert put.packed == lens.source_type(**{**source, **there}).packed
        assert lens(put).packed == lens.view_type(**{**view, **changed}).packed
    assert sample.packed == before

    batch = SampleBatch.of(lens.source_type, [sample] * 3)
    columns = lens.map_columns(batch.stored, 3)
    whole = SampleBatch(lens.view_type, columns)
    assert [row.packed for row in whole.samples] == [seen.packed] * 3
    for name in view:  # what is read for one field of the view is enough for it
        few = {given: batch.stored[given] for given in lens.reads([name]) or ()}
        assert name in lens.map_columns(few, 3)

    complement = Complement.from_bytes(lens.complement(sample).to_bytes())
    assert lens.restore(seen, complement).packed == before


class Color(Enum):
    RED = "r"
    BLUE = "b"


@packable
class Point:
    x: float
    y: float


# --- the steps -------------------------------------------------------------------------------------------------------


def test_rename():
    lens = one(kind(mz=F32, n=int), kind(mass=F32, n=int), {"op": "rename", "field": "mz", "to": "mass"})
    check(lens, {"mz": f4(1, 2), "n": 1}, {"mass": f4(1, 2), "n": 1}, ({"mass": f4(3)}, {"mz": f4(3)}))
    column = np.zeros((3, 2), "f4")
    assert lens.map_columns({"mz": column, "n": [1] * 3}, 3)["mass"] is column  # nothing is copied
    assert lens.losses == ()


def test_rename_in_a_sample_and_move_out_of_it():
    inner = kind("Inner", a=int, b=str)
    renamed = kind("Inner", z=int, b=str)
    lens = one(kind(at=inner), kind(at=renamed), {"op": "rename", "field": "at.a", "to": "z"})
    check(lens, {"at": inner(1, "b")}, {"at": renamed(1, "b")}, ({"at": renamed(2, "c")}, {"at": inner(2, "c")}))
    rest = kind("Inner", b=str)
    lens = one(kind(at=inner), kind(at=rest, a=int), {"op": "move", "field": "at.a", "to": "a"})
    check(lens, {"at": inner(1, "b")}, {"at": rest("b"), "a": 1}, ({"a": 7}, {"at": inner(7, "b")}))


def test_add():
    view = kind(n=int, note=str | None, scale=float, big=int, table=dict[str, list[float]], at=NDArray[np.int16])
    lens = one(
        kind(n=int),
        view,
        {"op": "add", "field": "note", "type": node(str | None), "value": None},
        {"op": "add", "field": "scale", "type": {"type": "number"}, "value": "0.1"},
        {"op": "add", "field": "big", "type": {"type": "integer"}, "value": "18446744073709551615"},
        {"op": "add", "field": "table", "type": node(dict[str, list[float]]), "value": {"a": [1, "2.5", "inf", "-0"]}},
        {"op": "add", "field": "at", "type": node(NDArray[np.int16]), "value": {"shape": [2, 1], "items": [1, -2]}},
    )
    table = {"a": [1.0, 2.5, math.inf, -0.0]}
    values = {"n": 1, "note": None, "scale": 0.1, "big": 2**64 - 1, "table": table, "at": np.array([[1], [-2]], "i2")}
    check(lens, {"n": 1}, values, ({"n": 5}, {"n": 5}))
    sample = lens.source_type(1)
    for changed in ({"note": "a"}, {"scale": 0.2}, {"big": 1}, {"table": {"a": [1.0, 2.5, math.inf, 0.0]}}):
        with pytest.raises(NoHomeError, match="no home in the source"):
            lens.put(view(**{**values, **changed}), sample)
    first, second = lens(sample), lens(sample)
    first.table["a"].append(1.0)
    assert second.table == table  # each has its own


def test_drop_keeps_what_the_source_has():
    lens = one(kind(n=int, debug=bytes), kind(n=int), {"op": "drop", "field": "debug"})
    check(lens, {"n": 1, "debug": b"d"}, {"n": 1}, ({"n": 2}, {"n": 2}))
    assert lens.reads() == ("n",)
    assert lens.losses == ("debug is left out",)


def test_wrap_and_unwrap():
    wrap = one(kind(n=int), kind(n=list[int]), {"op": "wrap", "field": "n"})
    check(wrap, {"n": 1}, {"n": [1]}, ({"n": [2]}, {"n": 2}))
    for none in ([], [1, 2]):
        with pytest.raises(NoHomeError) as raised:
            wrap.put(wrap.view_type(none), wrap.source_type(1))
        assert raised.value.expected == "a list of one item"
        assert raised.value.step == "steps[0]: wrap n"
    unwrap = one(kind(n=list[int]), kind(n=int), {"op": "unwrap", "field": "n"})
    check(unwrap, {"n": [1]}, {"n": 1}, ({"n": 2}, {"n": [2]}))
    with pytest.raises(NoHomeError, match="no view"):
        unwrap(unwrap.source_type([1, 2]))


def test_scale_floats():
    lens = one(
        kind(x=Annotated[float, Unit("nm")], a=F32, maybe=F64 | None, some=list[float]),
        kind(x=Annotated[float, Unit("um")], a=F32, maybe=F64 | None, some=list[float]),
        {"op": "scale", "field": "x", "factor": "0.001", "unit": "um"},
        {"op": "scale", "field": "a", "factor": 2, "offset": 1},
        {"op": "scale", "field": "maybe", "factor": 10},
        {"op": "scale", "field": "some", "factor": -1},
    )
    source = {"x": 3.0, "a": f4(1, -0.0, 2), "maybe": np.array([[0.5]]), "some": [1.0, 2.0]}
    view = {"x": 0.003, "a": f4(3, 1, 5), "maybe": np.array([[5.0]]), "some": [-1.0, -2.0]}
    check(lens, source, view, ({"x": 0.005}, {"x": 5.0}), ({"some": [-3.0]}, {"some": [3.0]}))
    changed = lens.view_type(**{**view, "a": f4(3, 1, 7)})
    put = lens.put(changed, lens.source_type(**source))
    assert put.a.tobytes() == f4(1, -0.0, 3).tobytes()  # what was not changed has its bits
    check(lens, {**source, "maybe": None}, {**view, "maybe": None})
    assert len(lens.losses) == 4


def test_scale_keeps_what_the_bits_of_a_number_are():
    """Also where one way and back again would round."""
    lens = one(kind(x=float), kind(x=float), {"op": "scale", "field": "x", "factor": "0.1"})
    rounded = 0
    for number in np.random.default_rng(7).standard_normal(500).tolist():
        sample = lens.source_type(number)
        assert lens.put(lens(sample), sample).packed == sample.packed
        rounded += lens.view_type(number / 10).x * 10 != number
    assert rounded > 0
    for number in (math.nan, math.inf, -math.inf, -0.0, 5e-324):
        sample = lens.source_type(number)
        assert lens.put(lens(sample), sample).packed == sample.packed


@pytest.mark.parametrize(
    ("type_", "value"), [(float, 1e308), (F32, f4(1, 3e38)), (NDArray[np.float16], np.ones(2, "f2") * 6e4)]
)
def test_what_would_become_infinite_is_an_error(type_, value):
    lens = one(kind(x=type_), kind(x=type_), {"op": "scale", "field": "x", "factor": 100})
    with pytest.raises(NoHomeError, match="no view"):
        lens(lens.source_type(value))
    column = stack([value]) if isinstance(value, np.ndarray) else np.array([value])
    with pytest.raises(NoHomeError, match="no view"):
        lens.map_columns({"x": column}, 1)


UNITS = {
    "the factor": ("um", "nm", {"factor": 999}, '"factor": 1000, "offset": 0'),
    "the factor left out": ("um", "nm", {}, '"factor": 1000'),
    "the factor of the way back": ("um", "nm", {"factor": "0.001"}, '"factor": 1000'),
    "an offset that is none": ("um", "nm", {"factor": 1000, "offset": 1}, '"offset": 0'),
    "an offset that is wrong": ("Cel", "K", {"offset": "273.16"}, '"factor": 1, "offset": "273.15"'),
    "the same unit": ("nm", "nm", {"factor": 2}, '"factor": 1, "offset": 0'),
    "two that are one": ("l", "L", {"factor": 2}, '"factor": 1'),
    "parts": ("mm/s", "m/s", {"factor": "0.01"}, '"factor": "0.001"'),
    "powers": ("mm2", "m2", {"factor": "0.001"}, '"factor": "0.000001"'),
    "no decimal": ("s", "min", {"factor": "0.0166"}, '"factor": "0.016666666666666667"'),
    "no decimal, nearly": ("s", "min", {"factor": "0.01666666666666667"}, '"factor": "0.016666666666666667"'),
    "far beyond": ("Ym9.Ym9/min", "ym9.ym9/s", {"factor": "9" * 100}, '"factor": "1.6666666666666667E+862"'),
}


@pytest.mark.parametrize("name", UNITS)
def test_a_scale_between_known_units_has_the_factor_between_them(name):
    old, new, step, said = UNITS[name]
    types = [kind(x=Annotated[float, Unit(unit)]) for unit in (old, new)]
    with pytest.raises(LensError, match="do not become numbers in") as raised:
        one(*types, {"op": "scale", "field": "x", "unit": new, **step})
    assert said in str(raised.value.expected)
    assert raised.value.path == "steps[0].factor"


@pytest.mark.parametrize(
    ("old", "new", "step", "seen"),
    [
        ("um", "nm", {"factor": 1000}, 2000.0),
        ("um", "nm", {"factor": "1e3"}, 2000.0),
        ("s", "min", {"factor": "0.016666666666666667"}, 2 / 60),
        ("s", "min", {"factor": "0.0166666666666666666666666667"}, 2 / 60),
        ("Cel", "K", {"offset": "273.15"}, 275.15),
        ("furlong", "nm", {"factor": 999}, 1998.0),
        ("deg", "rad", {"factor": "0.017"}, 0.034),
        ("eV", "J", {"factor": 2}, 4.0),
    ],
)
def test_where_a_unit_is_not_known_any_factor_is_taken(old, new, step, seen):
    lens = one(
        *(kind(x=Annotated[float, Unit(unit)]) for unit in (old, new)),
        {"op": "scale", "field": "x", "unit": new, **step},
    )
    assert lens(lens.source_type(2.0)).x == pytest.approx(seen, rel=1e-15)


def test_a_scale_that_names_no_unit_changes_numbers_that_keep_theirs():
    metre, plain = kind(x=Annotated[float, Unit("m")]), kind(x=float)
    assert one(metre, metre, {"op": "scale", "field": "x", "factor": 3})(metre(2.0)).x == 6.0
    assert one(metre, plain, {"op": "scale", "field": "x", "factor": 3, "unit": None})(metre(2.0)).x == 6.0
    assert one(plain, metre, {"op": "scale", "field": "x", "factor": 3, "unit": "m"})(plain(2.0)).x == 6.0


def test_scale_integers_exactly():
    small, large = NDArray[np.int16], NDArray[np.uint64]
    lens = one(
        kind(n=int, a=small, b=large),
        kind(n=int, a=small, b=large),
        {"op": "scale", "field": "n", "factor": 3, "offset": -1},
        {"op": "scale", "field": "a", "factor": -2},
        {"op": "scale", "field": "b", "factor": 1, "offset": "-9223372036854775807"},
    )
    source = {"n": 2, "a": np.array([1, 2], "i2"), "b": np.array([2**64 - 1], "u8")}
    view = {"n": 5, "a": np.array([-2, -4], "i2"), "b": np.array([2**63], "u8")}
    check(lens, source, view, ({"n": 8}, {"n": 3}), ({"a": np.array([[6]], "i2")}, {"a": np.array([[-3]], "i2")}))
    sample = lens.source_type(**source)
    for changed in ({"n": 6}, {"a": np.array([3], "i2")}):
        with pytest.raises(NoHomeError):
            lens.put(lens.view_type(**{**view, **changed}), sample)
    with pytest.raises(NoHomeError):
        lens(lens.source_type(**{**source, "a": np.array([-32768], "i2")}))
    with pytest.raises(NoHomeError):
        lens(lens.source_type(**{**source, "n": 2**63}))


@pytest.mark.parametrize(
    ("source", "to", "view", "value", "seen", "change", "home", "outside"),
    [
        (int, "float", float, 3, 3.0, 4.0, 4, 2**53 + 1),
        (float, "int", int, 3.0, 3, 4, 4.0, 0.5),
        (float, "int", int, 3.0, 3, 4, 4.0, -0.0),
        (int, "str", str, -3, "-3", "40", 40, None),
        (str, "int", int, "-3", -3, 4, "4", "007"),
        (float, "str", str, 0.1, "0.1", "-0.0", -0.0, None),
        (str, "float", float, "0.1", 0.1, math.inf, "inf", "0.10"),
        (bool, "int", int, True, 1, 0, False, None),
        (int, "bool", bool, 1, True, False, 0, 2),
        (int | None, "float", float | None, None, None, 4.0, 4, 2**60),
        (list[int], "float", list[float], [1], [1.0], [2.0, 3.0], [2, 3], [2**60]),
        (NDArray[np.int32], "float32", F32, np.arange(3, dtype="i4"), f4(0, 1, 2), f4(5), np.array([5], "i4"), np.array([2**24 + 1], "i4")),
        (F64, "float32", F32, np.array([0.5, 0.1]), f4(0.5, 0.1), f4(0.5, 2), np.array([0.5, 2]), np.array([1e300])),
        (F32, "float64", F64, f4(0.5, 0.1), f4(0.5, 0.1).astype("f8"), np.array([2.0]), f4(2), None),
        (F32, "int8", NDArray[np.int8], f4(1, 2), np.array([1, 2], "i1"), np.array([-3], "i1"), f4(-3), f4(0.5)),
        (F32, "int8", NDArray[np.int8], f4(1, 2), np.array([1, 2], "i1"), np.array([-3], "i1"), f4(-3), f4(math.nan)),
        (F32, "uint8", NDArray[np.uint8], f4(1, 2), np.array([1, 2], "u1"), np.array([3], "u1"), f4(3), f4(-0.0)),
        (NDArray[np.int64], "uint8", NDArray[np.uint8], np.array([255]), np.array([255], "u1"), np.array([], "u1"), np.array([], "i8"), np.array([256])),
        (NDArray[np.bool_], "uint8", NDArray[np.uint8], np.array([True]), np.array([1], "u1"), np.array([0], "u1"), np.array([False]), None),
    ],
)  # fmt: skip
def test_cast(source, to, view, value, seen, change, home, outside):
    lens = one(kind(v=source), kind(v=view), {"op": "cast", "field": "v", "to": to})
    check(lens, {"v": value}, {"v": seen}, ({"v": change}, {"v": home}))
    if outside is not None:
        with pytest.raises(NoHomeError):
            lens(lens.source_type(outside))


def test_a_cast_keeps_to_its_stated_range():
    lens = one(kind(v=int), kind(v=float), {"op": "cast", "field": "v", "to": "float", "min": 0, "max": "255"})
    check(lens, {"v": 255}, {"v": 255.0}, ({"v": 0.0}, {"v": 0}))
    with pytest.raises(NoHomeError, match="no view"):
        lens(lens.source_type(256))
    for outside in (-1.0, 255.5, math.nan):
        with pytest.raises(NoHomeError, match="no home"):
            lens.put(lens.view_type(outside), lens.source_type(1))


def test_narrowing_keeps_the_bits_of_what_was_not_changed():
    lens = one(kind(v=F64), kind(v=F32), {"op": "cast", "field": "v", "to": "float32"})
    sample = lens.source_type(np.array([0.1, 0.2, 0.3]))
    view = lens(sample)
    assert lens.put(view, sample).packed == sample.packed
    view.v[1] = 5
    assert lens.put(view, sample).v.tolist() == [0.1, 5.0, 0.3]


def test_map_of_values():
    label = Annotated[int, ClassLabel(["a", "b"])]
    lens = one(
        kind(grade=str, flag=bool, color=Color, some=list[int]),
        kind(grade=int, flag=str, color=Literal["x", "y"], some=list[label]),
        {"op": "map", "field": "grade", "values": [["A", 1], ["B", 2]]},
        {"op": "map", "field": "flag", "values": [[True, "yes"], [False, "no"]]},
        {"op": "map", "field": "color", "values": [["r", "x"], ["b", "y"]], "type": node(Literal["x", "y"])},
        {"op": "map", "field": "some", "values": [[0, 1], [1, 0]], "type": node(label)},
    )
    source = {"grade": "A", "flag": False, "color": Color.BLUE, "some": [0, 1, 1]}
    view = {"grade": 1, "flag": "no", "color": "y", "some": [1, 0, 0]}
    check(lens, source, view, ({"grade": 2}, {"grade": "B"}), ({"color": "x"}, {"color": Color.RED}))
    with pytest.raises(NoHomeError, match="no view"):
        lens(lens.source_type(**{**source, "grade": "C"}))
    with pytest.raises(NoHomeError, match="no home"):
        lens.put(lens.view_type(**{**view, "flag": "perhaps"}), lens.source_type(**source))


def test_nest_and_hoist():
    flat, deep = kind(x=float, y=float, n=int), kind(at=Point, n=int)
    nest = one(flat, deep, {"op": "nest", "fields": ["x", "y"], "to": "at", "name": "Point"})
    check(nest, {"x": 1.0, "y": 2.0, "n": 3}, {"at": Point(1.0, 2.0), "n": 3}, ({"at": Point(5.0, 2.0)}, {"x": 5.0}))
    hoist = one(deep, flat, {"op": "hoist", "field": "at"})
    check(hoist, {"at": Point(1.0, 2.0), "n": 3}, {"x": 1.0, "y": 2.0, "n": 3}, ({"x": 5.0}, {"at": Point(5.0, 2.0)}))
    both = one(flat, flat, {"op": "nest", "fields": ["y"], "to": "deep", "name": "P"}, {"op": "hoist", "field": "deep"})
    check(both, {"x": 1.0, "y": 2.0, "n": 3}, {"x": 1.0, "y": 2.0, "n": 3}, ({"y": 0.0}, {"y": 0.0}))


def test_split_and_join_texts():
    whole, parts = kind(name=str), kind(first=str, last=str)
    for at, text, split in (("all", "Ada King", ("Ada", "King")), ("first", "Ada B C", ("Ada", "B C")), ("last", "A B C", ("A B", "C"))):  # fmt: skip
        step = {"op": "split", "field": "name", "separator": " ", "to": ["first", "last"], "at": at}
        view = dict(zip(("first", "last"), split, strict=True))
        check(one(whole, parts, step), {"name": text}, view, ({"first": "Eve"}, {"name": f"Eve {split[1]}"}))
        step = {"op": "join", "fields": ["first", "last"], "separator": " ", "to": "name", "at": at}
        check(one(parts, whole, step), view, {"name": text}, ({"name": "X Y"}, {"first": "X", "last": "Y"}))
    lens = one(whole, parts, {"op": "split", "field": "name", "separator": " ", "to": ["first", "last"]})
    for text in ("Ada", "Ada B King", ""):
        with pytest.raises(NoHomeError, match="no view"):
            lens(whole(text))
    with pytest.raises(NoHomeError, match="no home"):
        lens.put(parts("Ada B", "King"), whole("Ada King"))


def test_parts_that_do_not_stand_apart_have_no_home():
    """`a` and `aa` beside `aa` are the text of other parts too."""
    whole, parts = kind(name=str), kind(first=str, last=str)
    lens = one(
        whole, parts, {"op": "split", "field": "name", "separator": "aa", "to": ["first", "last"], "at": "first"}
    )
    with pytest.raises(NoHomeError):
        lens.put(parts("a", "b"), whole("xaay"))


def test_split_and_join_arrays():
    known, rest = Annotated[I32, Shape(3)], Annotated[I32, Shape(2)]
    whole, parts = kind(xyz=known), kind(x=Annotated[I32, Shape(1)], yz=rest)
    step = {"op": "split", "field": "xyz", "index": 1, "to": ["x", "yz"]}
    array = np.array([1, 2, 3], "i4")
    check(one(whole, parts, step), {"xyz": array}, {"x": array[:1], "yz": array[1:]}, ({"x": array[2:]}, {"xyz": np.array([3, 2, 3], "i4")}))  # fmt: skip
    step = {"op": "join", "fields": ["x", "yz"], "index": 1, "to": "xyz"}
    check(one(parts, whole, step), {"x": array[:1], "yz": array[1:]}, {"xyz": array})
    whole, parts = kind(a=I32), kind(b=I32, c=I32)
    lens = one(whole, parts, {"op": "split", "field": "a", "index": 2, "to": ["b", "c"]})
    check(lens, {"a": array}, {"b": array[:2], "c": array[2:]})
    with pytest.raises(NoHomeError):
        lens(whole(array[:1]))
    for left, right in ((array, array), (array[:2].reshape(2, 1), array)):
        with pytest.raises(NoHomeError):
            lens.put(parts(left, right), whole(array))


@packable
class V1:
    mz: Annotated[F32, Unit("nm")]
    name: str
    n: int
    debug: str


@packable
class V3:
    mass: Annotated[F32, Unit("um")]
    first: str
    last: str
    count: float
    source: str


DRIFT = Program.of(
    {"op": "rename", "field": "mz", "to": "mass"},
    {"op": "scale", "field": "mass", "factor": "0.001", "unit": "um"},
    {"op": "split", "field": "name", "separator": " ", "to": ["first", "last"]},
    {"op": "cast", "field": "n", "to": "float"},
    {"op": "rename", "field": "n", "to": "count"},
    {"op": "drop", "field": "debug"},
    {"op": "add", "field": "source", "type": {"type": "string"}, "value": "lab"},
)
SAMPLE = {"mz": f4(1, 3), "name": "Ada King", "n": 3, "debug": "d"}


def test_steps_follow_each_other():
    lens = DataLens(DRIFT, V1, V3)
    view = {"mass": f4(1, 3) / f4(1000), "first": "Ada", "last": "King", "count": 3.0, "source": "lab"}
    check(lens, SAMPLE, view, ({"first": "Eve"}, {"name": "Eve King"}), ({"count": 4.0}, {"n": 4}))
    assert lens.reads() == ("mz", "name", "n")
    assert lens.reads(["last"]) == ("name",)
    assert lens.explain().splitlines()[1:3] == ["2. scale mass * 0.001 (um)", "3. split name at ' ' to first, last"]
    assert lens.explain().endswith("loses: mass is rounded (float32)\nloses: debug is left out")
    composed = DataLens(Program.of(*DRIFT.value["steps"][:2]) | Program.of(*DRIFT.value["steps"][2:]), V1, V3)
    assert composed.program.cid == DRIFT.cid
    assert pickle.loads(pickle.dumps(lens))(V1(**SAMPLE)) == V3(**view)


def test_a_dataset_is_seen_through_a_program(tmp_path: Path):
    """By columns, and as single samples: the same."""
    lens = DataLens(DRIFT, V1, V3)
    samples = [V1(f4(n, 1), f"A{n} B", n, "x" * n) for n in range(50)]
    atdata.write_samples(samples, tmp_path / "a.tar")
    register(lens)
    seen = Dataset[V1](str(tmp_path / "a.tar")).as_type(V3)
    want = [lens(sample).packed for sample in samples]
    assert [sample.packed for sample in seen] == want
    assert [sample.packed for batch in seen.ordered(batch_size=7) for sample in batch] == want
    assert [seen[number].packed for number in (0, 49)] == [want[0], want[49]]
    assert [dict(row) for row in seen.columns("last", "count").take(1)] == [{"last": "B", "count": 0.0}]
    built: Any = type_of(schema_of(V3))
    assert [sample.packed for sample in Dataset[V1](str(tmp_path / "a.tar")).as_type(built)] == want


# --- complements -----------------------------------------------------------------------------------------------------


def test_a_complement_is_bound_to_its_sample():
    lens = DataLens(DRIFT, V1, V3)
    ada, eve = V1(**{**SAMPLE, "debug": "of ada"}), V1(**{**SAMPLE, "debug": "of eve"})
    bob = V1(**{**SAMPLE, "name": "Bob Ross"})
    assert lens(ada) == lens(eve)
    kept = lens.complement(ada)
    assert lens.restore(lens(eve), kept).debug == "of ada"  # which it is the view of, too
    with pytest.raises(LensError, match="of another view"):
        lens.restore(lens(bob), kept)
    changed = lens(ada)
    changed.first = "Augusta"
    with pytest.raises(LensError, match="of another view"):
        lens.restore(changed, kept)
    assert lens.restore(lens(ada), kept, changed).name == "Augusta King"
    mixed = Complement(kept.view, kept.source, lens.complement(eve).values)
    with pytest.raises(LensError, match="of another sample"):
        lens.restore(lens(ada), mixed)
    with pytest.raises(LensError, match="of another sample"):
        lens.restore(lens(ada), Complement(kept.view, kept.source, b"\x80"))
    for wrong in (b"\x80", b"x", kept.to_bytes() + b"x"):
        with pytest.raises(SampleError):
            Complement.from_bytes(wrong)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "does not reach the whole"),
        ([{"op": "rename", "field": "nope", "to": "mass"}], "no field nope"),
        ([{"op": "rename", "field": "mz", "to": "name"}], "a field name already"),
        ([{"op": "rename", "field": "mz", "to": "a.b"}], "stands for one field"),
        ([{"op": "move", "field": "mz", "to": "a.b"}], "holds samples"),
        ([{"op": "move", "field": "mz", "to": "mz.b"}], "into itself"),
        ([{"op": "rename", "field": "mz", "to": "__class__.x"}], "no possible way|one field"),
        ([{"op": "rename", "field": "m z", "to": "x"}], "no possible way"),
        ([{"op": "scale", "field": "name", "factor": 2}], "only numbers"),
        ([{"op": "scale", "field": "mz", "factor": 0}], "factor of 0"),
        ([{"op": "scale", "field": "mz", "factor": "1e50"}], "no number of float32"),
        ([{"op": "scale", "field": "n", "factor": "0.5"}], "integers only by integers"),
        ([{"op": "scale", "field": "mz", "factor": "0x1"}], "exact number"),
        ([{"op": "scale", "field": "mz", "factor": "1", "unit": "a b"}], "possible type|unit"),
        ([{"op": "cast", "field": "mz", "to": "str"}], "cannot be cast"),
        ([{"op": "cast", "field": "name", "to": "object"}], "cannot be cast"),
        ([{"op": "add", "field": "x", "type": {"type": "integer"}, "value": "a"}], "not of its type"),
        ([{"op": "add", "field": "x", "type": {"type": "integer"}, "value": True}], "not of its type"),
        ([{"op": "add", "field": "x", "type": {"type": "nothing"}, "value": 1}], "no possible type"),
        ([{"op": "add", "field": "n", "type": {"type": "integer"}, "value": 1}], "a field n already"),
        ([{"op": "map", "field": "name", "values": [["a", 1], ["a", 2]]}], "one to one"),
        ([{"op": "map", "field": "name", "values": [["a", 1], ["b", 1]]}], "one to one"),
        ([{"op": "map", "field": "name", "values": [["a", 1], ["b", "c"]]}], "does not say"),
        ([{"op": "map", "field": "name", "values": []}], "has no pairs"),
        ([{"op": "wrap", "field": "mz"}, {"op": "unwrap", "field": "name"}], "only a list"),
        ([{"op": "nest", "fields": ["mz", "mz"], "to": "x", "name": "X"}], "different ones"),
        ([{"op": "nest", "fields": [], "to": "x", "name": "X"}], "different ones"),
        ([{"op": "hoist", "field": "mz"}], "holds no sample"),
        ([{"op": "split", "field": "mz", "separator": " ", "to": ["a", "b"]}], "only text"),
        ([{"op": "split", "field": "name", "index": 1, "to": ["a", "b"]}], "only an array"),
        ([{"op": "split", "field": "name", "to": ["a", "b"]}], "need a separator"),
        ([{"op": "split", "field": "name", "separator": " ", "to": ["a"]}], "makes parts"),
        ([{"op": "split", "field": "name", "separator": "", "to": ["a", "b"]}], "makes parts"),
        ([{"op": "split", "field": "mz", "index": -1, "to": ["a", "b"]}], "no number of items"),
        ([{"op": "join", "fields": ["mz", "name"], "separator": " ", "to": "x"}], "only text|several units"),
        (DRIFT.value["steps"][:-1], "does not reach the whole"),
        (DRIFT.value["steps"][:5] + DRIFT.value["steps"][6:], "leaves over"),
        ([*DRIFT.value["steps"], {"op": "scale", "field": "mass", "factor": 1000, "unit": "nm"}], "another type"),
        ([*DRIFT.value["steps"], {"op": "cast", "field": "count", "to": "int"}], "another type"),
    ],
)
def test_what_does_not_lead_from_the_whole_to_the_whole_is_refused(steps, said):
    with pytest.raises(LensError, match=said):
        DataLens(Program.of(*steps), V1, V3)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"op": "add", "field": "x", "type": {"type": "number"}, "value": "1e400"}, "can hold|numbers of float32"),
        ({"op": "add", "field": "x", "type": {"type": "number"}, "value": "-1e309"}, "can hold|numbers of float32"),
        ({"op": "add", "field": "x", "type": {"type": "number"}, "value": "1e-400"}, "becomes? 0"),
        ({"op": "add", "field": "x", "type": node(list[float]), "value": ["1e999"]}, "can hold|numbers of float32"),
        ({"op": "add", "field": "x", "type": node(F32), "value": {"shape": [1], "items": ["1e-60"]}}, "becomes? 0"),
        (
            {"op": "add", "field": "x", "type": node(F32), "value": {"shape": [1], "items": ["1e60"]}},
            "can hold|numbers of float32",
        ),
        (
            {"op": "map", "field": "mz", "values": [[0, "1e400"]], "type": {"type": "number"}},
            "can hold|numbers of float32",
        ),
        ({"op": "scale", "field": "mz", "factor": 2, "offset": "1e-400"}, "no number of"),
    ],
)
def test_a_number_that_no_double_holds_is_refused(step, said):
    """None becomes infinite, and none 0, without a word."""
    with pytest.raises(LensError, match=said):
        Program.of(step).bind_fields({each.name: each for each in fields_of(kind(mz=float))})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "not of the language"),
        ({"language": "python", "version": 1, "steps": []}, "not of the language"),
        ({"language": "atdata-lens", "version": 2, "steps": []}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [], "more": 1}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "eval", "code": "1"}]}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": "a", "x": 1}]}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": 1}]}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "drop"}]}, "not of the language"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": "a"}] * 201}, "too many steps"),
        ({"language": "atdata-lens", "version": 1.0, "steps": []}, "cannot say exactly"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "scale", "field": "a", "factor": 0.5}]}, "cannot say exactly"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "scale", "field": "a", "factor": 2**53}]}, "cannot say exactly"),
        ({"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": "\ud800"}]}, "no record can"),
        ("{", "no JSON"),
        ('{"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": "a", "field": "b"}]}', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "not of the language"),
        ('{"language": "atdata-lens", "version": 1, "steps": [{"op": "scale", "field": "a", "factor": 1e2}]}', "exactly"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_language_is_no_program(value, said):
    with pytest.raises(LensError, match=said) as raised:
        Program.parse(value)
    assert len(str(raised.value)) < 1000


def test_a_program_is_its_canonical_text():
    spaced = json.dumps(DRIFT.value, indent=3)
    assert Program.parse(spaced) == Program.parse(DRIFT.value) == DRIFT
    assert DRIFT.cid == Cid.of_cbor(cbor.encode(DRIFT.value))
    other = json.loads(DRIFT.text.replace("0.001", "0.002"))
    assert Program.parse(other).cid != DRIFT.cid
    assert Program.parse(str(DRIFT)) == DRIFT
    assert hash(DRIFT) == hash(Program.parse(spaced))


def test_a_sample_of_another_type_is_refused():
    lens = DataLens(DRIFT, V1, V3)
    for wrong in (lens(V1(**SAMPLE)), None, DictSample({"mz": 1})):
        with pytest.raises(LensError, match="no V1"):
            lens(wrong)
    with pytest.raises(LensError, match="no V3"):
        lens.put(V1(**SAMPLE), V1(**SAMPLE))


def test_a_view_of_more_kinds_may_hold_what_the_source_does_not_take():
    lens = one(
        kind(n=int, a=Annotated[F32, Shape(2)]), kind(m=int | None, a=F32), {"op": "rename", "field": "n", "to": "m"}
    )
    check(lens, {"n": 1, "a": f4(1, 2)}, {"m": 1, "a": f4(1, 2)}, ({"m": 2}, {"n": 2}))
    sample = lens.source_type(1, f4(1, 2))
    with pytest.raises(NoHomeError):
        lens.put(lens.view_type(None, f4(1, 2)), sample)
    with pytest.raises(NoHomeError):
        lens.put(lens.view_type(1, f4(1, 2, 3)), sample)


def test_a_dataset_goes_through_the_lens_that_is_given(tmp_path: Path):
    """And not through the one that is registered; one between other types is refused."""
    source, view = kind("Dose", n=float), kind("Seen", n=float)
    atdata.write_samples([source(2.0)], tmp_path / "a.tar")
    data = Dataset(str(tmp_path / "a.tar"), sample_type=source)
    twice, thrice = (one(source, view, {"op": "scale", "field": "n", "factor": factor}) for factor in (2, 3))
    register(twice)
    assert data.as_type(view)[0] == view(4.0)
    assert data.as_type(view, lens=thrice)[0] == view(6.0)
    assert data.as_type(source, lens=one(source, source)).as_type(view, lens=thrice)[0] == view(6.0)
    with pytest.raises(LensError, match="joins other types"):
        data.as_type(view, lens=DataLens(DRIFT, V1, V3))
    wrong: Any = thrice.get
    with pytest.raises(ArgumentTypeError, match="lens must be"):
        data.as_type(view, lens=wrong)


@pytest.mark.parametrize("to", ["float32", "int8", "bool"])
def test_an_array_of_any_dtype_is_not_cast(to):
    """Numbers would be made of dates, of texts and of half of complex ones."""
    with pytest.raises(LensError, match="cannot be cast"):
        one(kind(v=np.ndarray), kind(v=NDArray[np.generic]), {"op": "cast", "field": "v", "to": to})
    for open_kind in (NDArray[np.floating], NDArray[np.complex64], NDArray[np.datetime64]):
        with pytest.raises(LensError, match="cannot be cast"):
            one(kind(v=open_kind), kind(v=F32), {"op": "cast", "field": "v", "to": to})


@pytest.mark.parametrize("source", [I32 | None, list[I32], I32])
def test_what_bytes_have_no_order_for_has_no_view(source):
    view = {I32: NDArray[np.int8]}.get(
        source, NDArray[np.int8] | None if source == I32 | None else list[NDArray[np.int8]]
    )
    lens = one(kind(v=source), kind(v=view), {"op": "cast", "field": "v", "to": "int8"})
    lens.check_laws(count=60)


def test_a_program_makes_no_endless_levels():
    wraps = [{"op": "wrap", "field": "n"}] * 20
    with pytest.raises(LensError, match="too many levels"):
        one(kind(n=int), kind(n=list[int]), *wraps)


def test_a_sample_that_was_spoilt_is_no_sample():
    """Its author may have set a field to anything since."""
    lens = DataLens(DRIFT, V1, V3)
    for name, wrong in (("mz", "no"), ("name", None), ("n", "three")):
        sample = V1(**SAMPLE)
        setattr(sample, name, wrong)
        with pytest.raises(LensError):
            lens(sample)
    for given in (None, "x", DRIFT.value):
        with pytest.raises(ArgumentTypeError, match="program must be"):
            DataLens(given, V1, V3)  # type: ignore[arg-type]
    with pytest.raises(LensError, match="exactly"):
        Program.of({"op": "scale", "field": "a", "factor": 10**5000})
    with pytest.raises(ArgumentTypeError):
        lens.restore(lens(V1(**SAMPLE)), None)  # type: ignore[arg-type]


FIRST, MIDDLE, LAST = kind("First", x=float, note=str), kind("Middle", x=float, note=str), kind("Last", y=float)
TENTH = one(FIRST, MIDDLE, {"op": "scale", "field": "x", "factor": "0.1"})
SHORT = one(MIDDLE, LAST, {"op": "rename", "field": "x", "to": "y"}, {"op": "drop", "field": "note"})


def test_programs_one_after_the_other_are_one():
    """With a complement, and the rounding of both."""
    for both in (
        TENTH | SHORT,
        SHORT @ TENTH,
        Lens.identity(FIRST) | TENTH | SHORT,
        TENTH | Lens.identity(MIDDLE) | SHORT,
    ):
        assert isinstance(both, DataLens)
        assert (both.name, both.program) == ("program.program", TENTH.program | SHORT.program)
        sample: Any = FIRST(3.0, "n")
        assert both(sample) == SHORT(TENTH(sample))
        assert both.put(LAST(7.0), sample).packed == TENTH.put(SHORT.put(LAST(7.0), TENTH(sample)), sample).packed
        assert both.restore(both(sample), both.complement(sample)).packed == sample.packed
        assert both.restore(both(sample), both.complement(sample), LAST(5.0)) == FIRST(50.0, "n")
        report = both.check_laws(count=40)
        assert report.tallies["PutGet"].tested > 50
        assert [*both.tolerances.view] == ["y"]
        assert both.losses == ("x is rounded (float64)", "note is left out")
    with pytest.raises(LensError, match="does not start"):
        SHORT | TENTH


def test_a_program_is_one_for_all_classes_of_its_schemas():
    """So that it keeps its complement where one's own class, and one that was built from a schema, meet."""
    built: Any = type_of(schema_of(MIDDLE))
    again = one(built, LAST, *SHORT.program.value["steps"])
    both: Any = TENTH | again
    assert isinstance(both, DataLens)
    other: Any = fitted(both, type_of(schema_of(FIRST)), type_of(schema_of(LAST)))
    assert isinstance(other, DataLens)
    sample = other.source_type(3.0, "n")
    assert type(other(sample)) is other.view_type
    assert other.restore(other(sample), other.complement(sample)) == sample


def test_a_dataset_that_is_seen_through_two_programs_is_seen_through_one(tmp_path: Path):
    atdata.write_samples([FIRST(2.0, "n")], tmp_path / "a.tar")
    data = Dataset(str(tmp_path / "a.tar"), sample_type=FIRST).as_type(MIDDLE, lens=TENTH).as_type(LAST, lens=SHORT)
    lens: Any = data.view.lens
    assert isinstance(lens, DataLens)
    assert [sample.y for sample in data] == [2.0 * 0.1]


@packable
class Doubled:
    """A class that computes what its samples hold."""

    x: float
    note: str

    def __post_init__(self) -> None:
        self.x *= 2


def test_programs_stay_two_where_the_class_between_them_computes():
    there = one(FIRST, Doubled, {"op": "scale", "field": "x", "factor": 1})
    back = one(Doubled, LAST, *SHORT.program.value["steps"])
    both = there | back
    assert not isinstance(both, DataLens)
    assert both(FIRST(3.0, "n")) == LAST(6.0)
    with pytest.raises(LensError, match="no complement: Doubled computes what its samples hold"):
        both.complement(FIRST(3.0, "n"))
    same = kind("Doubled", x=float, note=str)
    assert fitted(back, same, LAST)(same(3.0, "n")) == LAST(6.0)
    assert (find_lens(same, Doubled) | one(same, LAST, *SHORT.program.value["steps"]))(same(3.0, "n")) == LAST(6.0)


def test_programs_that_are_too_long_for_one_stay_two():
    steps = [{"op": "rename", "field": "x", "to": "y"}, {"op": "rename", "field": "y", "to": "x"}] * 60
    long = one(kind(x=int), kind(x=int), *steps)
    assert (long | long)(long.source_type(3)).x == 3
    with pytest.raises(LensError, match="no complement: a program has too many steps"):
        (long | long | long).restore(long.view_type(3), None)  # type: ignore[arg-type]


def test_where_a_program_needs_more_than_another_gives_they_stay_two():
    """Here the type between them has arrays of any one dtype: two of them can be joined."""
    parts, some = kind(a=F32, b=F64), NDArray[Any]
    wide, whole = kind(a=some, b=some), kind(x=some)
    both = one(parts, wide) | one(wide, whole, {"op": "join", "fields": ["a", "b"], "index": 1, "to": "x"})
    with pytest.raises(NoHomeError):
        both(parts(f4(1), np.array([2.0])))
    with pytest.raises(LensError, match="no complement: only two arrays"):
        both.complement(parts(f4(1), np.array([2.0])))


def test_a_composition_that_goes_through_a_function_says_what_it_cannot_do():
    lost: Lens[Any, Any] = Lens(lambda s: LAST(s.x), source_type=MIDDLE, view_type=LAST, name="lost")
    for both in (TENTH | lost, lost, TENTH | Projection(MIDDLE, kind("Middle", x=float))):
        part = "lost" if both.view_type is LAST else "projection"
        with pytest.raises(LensError, match=f"no complement: {part} is no program") as raised:
            both.complement(FIRST(3.0, "n"))
        assert "Keep the sample" in str(raised.value.hint)
        with pytest.raises(LensError, match=f"no complement: {part} is no program"):
            both.restore(LAST(3.0), None)  # type: ignore[arg-type]


def test_a_composition_that_goes_through_a_function_is_held_to_what_is_set():
    """Nobody knows what both round together."""

    def put(view: Any, source: Any) -> Any:
        return source if view.packed == LAST(source.x).packed else MIDDLE(view.y, source.note)

    kept: Lens[Any, Any] = Lens(lambda s: LAST(s.x), put, source_type=MIDDLE, view_type=LAST, name="kept")
    both = TENTH | kept
    with pytest.raises(LensError, match=r"PutGet|PutPut"):
        both.check_laws()
    both.rounding = {"x": 8, "y": 8}
    assert both.check_laws().verdict == "holds"


@pytest.mark.parametrize(
    ("old", "new"), [("nm", "s"), ("kg", "m"), ("Cel", "nm"), ("N", "J"), ("Hz", "m"), ("m/s", "m")]
)
def test_a_unit_of_another_quantity_is_refused_with_any_factor(old, new):
    with pytest.raises(LensError, match="another quantity"):
        one(
            kind(x=Annotated[float, Unit(old)]),
            kind(x=Annotated[float, Unit(new)]),
            {"op": "scale", "field": "x", "factor": 2, "unit": new},
        )


@pytest.mark.parametrize(
    ("old", "new"), [("N", "kg.m/s2"), ("Hz", "/s"), ("eV", "J"), ("L", "m3"), ("rad", "1"), ("u", "g")]
)
def test_a_unit_of_the_same_quantity_by_another_name_is_believed(old, new):
    source, view = (kind(x=Annotated[float, Unit(unit)]) for unit in (old, new))
    assert one(source, view, {"op": "scale", "field": "x", "factor": 2, "unit": new})(source(1.0)).x == 2
