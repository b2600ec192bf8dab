"""Promises of proposals: what is proposed as a lens binds and keeps the laws; what nobody can know is asked, and is no program."""

from __future__ import annotations

import enum
import json
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata import Shape, Unit, packable
from atdata.errors import LensError
from atdata.lens import DataLens, Program, propose
from atdata.lens.language.constants import exact
from atdata.lens.language.likeness import ALIKE, likeness
from atdata.lens.language.trying import try_program
from atdata.lens.language.units import conversion, decimal_of
from atdata.samples import Maybe
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.scalars import Scalar
from atdata.schema import SampleSchema, type_of

F32, F64, I32, I64 = NDArray[np.float32], NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]


def kind(name: str = "Kind", /, **fields: Any) -> Any:
    return packable(type(name, (), {"__annotations__": fields}))


def unit(code: str, annotation: Any = float) -> Any:
    return Annotated[annotation, Unit(code)]


def of(op: str, field: str, **members: Any) -> dict[str, Any]:
    return {"op": op, "field": field, **members}


def optional(node: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [node, {"type": "null"}]}


class Two(enum.Enum):
    A = "a"
    B = "b"


class Three(enum.Enum):
    A = "a"
    B = "b"
    C = "c"


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
POINT, TALL = kind("Point", x=float, y=float), kind("Point", x=float, y=float, height=float | None)

# Pairs of types, and the steps that are proposed.
PROPOSED: dict[str, tuple[Any, Any, list[dict[str, Any]]]] = {
    "nothing changed": (kind(n=int), kind(n=int), []),
    "another order": (kind(n=int, s=str), kind(s=str, n=int), []),
    "an open dtype": (kind(x=F32), kind(x=NDArray[Any]), []),
    "may be None": (kind(n=int), kind(n=int | None), []),
    "renamed": (kind(count=int, s=str), kind(counts=int, s=str), [of("rename", "count", to="counts")]),
    "another case": (kind(peakWidth=int), kind(peak_width=int), [of("rename", "peakWidth", to="peak_width")]),
    "a word more": (kind(intensity=F32), kind(raw_intensity=F32), [of("rename", "intensity", to="raw_intensity")]),
    "an abbreviation": (kind(temp=float), kind(temperature=float), [of("rename", "temp", to="temperature")]),
    "two renamed": (
        kind(mz_min=float, mz_max=float),
        kind(mass_mz_min=float, mass_mz_max=float),
        [of("rename", "mz_min", to="mass_mz_min"), of("rename", "mz_max", to="mass_mz_max")],
    ),
    "nm to um": (kind(x=unit("nm")), kind(x=unit("um")), [of("scale", "x", factor="0.001", unit="um")]),
    "m to cm": (kind(x=unit("m", F32)), kind(x=unit("cm", F32)), [of("scale", "x", factor=100, unit="cm")]),
    "km to nm": (kind(x=unit("km")), kind(x=unit("nm")), [of("scale", "x", factor=10**12, unit="nm")]),
    "us to s": (kind(x=unit("us", F64)), kind(x=unit("s", F64)), [of("scale", "x", factor="0.000001", unit="s")]),
    "h to min": (kind(x=unit("h", int)), kind(x=unit("min", int)), [of("scale", "x", factor=60, unit="min")]),
    "mg to kg": (kind(x=unit("mg")), kind(x=unit("kg")), [of("scale", "x", factor="0.000001", unit="kg")]),
    "GHz to kHz": (kind(x=unit("GHz")), kind(x=unit("kHz")), [of("scale", "x", factor=1000000, unit="kHz")]),
    "V to mV": (kind(x=unit("V")), kind(x=unit("mV")), [of("scale", "x", factor=1000, unit="mV")]),
    "Cel to K": (kind(x=unit("Cel")), kind(x=unit("K")), [of("scale", "x", factor=1, unit="K", offset="273.15")]),
    "K to Cel": (kind(x=unit("K")), kind(x=unit("Cel")), [of("scale", "x", factor=1, unit="Cel", offset="-273.15")]),
    "mm/s to m/s": (kind(x=unit("mm/s")), kind(x=unit("m/s")), [of("scale", "x", factor="0.001", unit="m/s")]),
    "mm2 to m2": (kind(x=unit("mm2")), kind(x=unit("m2")), [of("scale", "x", factor="0.000001", unit="m2")]),
    "no unit any more": (kind(x=unit("V")), kind(x=float), [of("scale", "x", factor=1, unit=None)]),
    "a list in another unit": (
        kind(x=unit("V", list[float])),
        kind(x=unit("mV", list[float])),
        [of("scale", "x", factor=1000, unit="mV")],
    ),
    "renamed, in another unit": (
        kind(wavelength=unit("nm", F32), s=str),
        kind(wave_length=unit("um", F32), s=str),
        [of("rename", "wavelength", to="wave_length"), of("scale", "wave_length", factor="0.001", unit="um")],
    ),
    "int to float": (kind(n=int), kind(n=float), [of("cast", "n", to="float")]),
    "float to int": (kind(n=float), kind(n=int), [of("cast", "n", to="int")]),
    "int to str": (kind(n=int), kind(n=str), [of("cast", "n", to="str")]),
    "str to float": (kind(n=str), kind(n=float), [of("cast", "n", to="float")]),
    "bool to int": (kind(n=bool), kind(n=int), [of("cast", "n", to="int")]),
    "float32 to float64": (kind(x=F32), kind(x=F64), [of("cast", "x", to="float64")]),
    "float64 to float32": (kind(x=F64), kind(x=F32), [of("cast", "x", to="float32")]),
    "int32 to int64": (kind(x=I32), kind(x=I64), [of("cast", "x", to="int64")]),
    "optional int to float": (kind(n=int | None), kind(n=float | None), [of("cast", "n", to="float")]),
    "int to float, mm to m": (
        kind(x=unit("mm", int)),
        kind(x=unit("m")),
        [of("cast", "x", to="float"), of("scale", "x", factor="0.001", unit="m")],
    ),
    "a list of one": (kind(peak=int), kind(peaks=list[int]), [of("rename", "peak", to="peaks"), of("wrap", "peaks")]),
    "the only one": (kind(x=list[str]), kind(x=str), [of("unwrap", "x")]),
    "a new optional field": (
        kind(n=int),
        kind(n=int, note=str | None),
        [of("add", "note", type=optional(STRING), value=None)],
    ),
    "a new optional field with a unit": (
        kind(s=str),
        kind(s=str, n=unit("s", int | None)),
        [of("add", "n", type={**optional(INTEGER), "atdata": {"unit": "s"}}, value=None)],
    ),
    "gone": (kind(n=int, debug=bytes), kind(n=int), [of("drop", "debug")]),
    "nested": (
        kind(n=int, x=float, y=float),
        kind(n=int, at=POINT),
        [{"op": "nest", "fields": ["x", "y"], "to": "at", "name": "Point"}],
    ),
    "hoisted": (kind(n=int, at=POINT), kind(n=int, x=float, y=float), [of("hoist", "at")]),
    "a field in a sample": (
        kind(at=kind("P", xs=unit("m"), n=int, old=str)),
        kind(at=kind("P", x=unit("mm"), n=int)),
        [of("drop", "at.old"), of("rename", "at.xs", to="x"), of("scale", "at.x", factor=1000, unit="mm")],
    ),
    "a new field in a sample": (
        kind(at=POINT),
        kind(at=TALL),
        [of("add", "at.height", type=optional({"type": "number"}), value=None)],
    ),
    "one more word": (
        kind(x=Literal["a", "b"]),
        kind(x=Literal["a", "b", "c"]),
        [of("map", "x", values=[["a", "a"], ["b", "b"]], type=...)],
    ),
    "one more member": (kind(x=Two), kind(x=Three), [of("map", "x", values=[["a", "a"], ["b", "b"]], type=...)]),
    "any word": (kind(x=Two), kind(x=str), [of("map", "x", values=[["a", "a"], ["b", "b"]], type=STRING)]),
}


@pytest.mark.parametrize("name", PROPOSED)
def test_what_has_one_reading_is_proposed(name):
    source, view, steps = PROPOSED[name]
    found = propose(source, view, count=40)
    assert not found.questions
    assert found.program is not None, str(found)
    given_steps = found.program.value["steps"]
    for step, wanted in zip(given_steps, steps, strict=True):
        if wanted.get("type") is ...:
            step, wanted = ({key: each[key] for key in each if key != "type"} for each in (step, wanted))
        assert step == wanted
    assert found.report is not None
    assert found.report.verdict == "holds"
    DataLens(Program.parse(found.program.text), source, view)


THREE, ONE, FREE = (Annotated[I32, Shape(3)], Annotated[I32, Shape(1)], Annotated[I32, Shape(2)])

# Pairs of types, the steps of the draft as they are shown, and a part of each question.
ASKED: dict[str, tuple[Any, Any, list[str], list[str]]] = {
    "a new field": (
        kind(n=int),
        kind(n=int, lab=str),
        ['{"op": "add", "field": "lab", "type": {"type": "string"}, "value": ?1}'],
        ["lab is new, and no sample goes without: which value (str)"],
    ),
    "equally likely": (
        kind(n=int, score=float),
        kind(n=int, score_a=float, score_b=float),
        [
            '{"op": "drop", "field": "score"}',
            '{"op": "add", "field": "score_a", "type": {"type": "number"}, "value": ?1}',
            '{"op": "add", "field": "score_b", "type": {"type": "number"}, "value": ?2}',
        ],
        ["score_a may be what score was", "score_b may be what score was"],
    ),
    "equally likely, and optional": (
        kind(n=int, score_a=float | None, score_b=float | None),
        kind(n=int, score=float | None),
        [
            '{"op": "drop", "field": "score_a"}',
            '{"op": "drop", "field": "score_b"}',
            '{"op": "add", "field": "score", "type": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "value": ?1}',
        ],
        ["score may be what score_a or score_b was"],
    ),
    "names that are not alike": (
        kind(n=int, mz=unit("nm")),
        kind(n=int, mass=unit("um")),
        [
            '{"op": "rename", "field": ?1("mz"), "to": "mass"}',
            '{"op": "scale", "field": "mass", "factor": "0.001", "unit": "um"}',
        ],
        ["is mass what mz was?"],
    ),
    "two numbers": (
        kind(n=int, channel1=float),
        kind(n=int, channel2=float),
        [
            '{"op": "drop", "field": "channel1"}',
            '{"op": "add", "field": "channel2", "type": {"type": "number"}, "value": ?1}',
        ],
        ["channel2 may be what channel1 was"],
    ),
    "opposites": (
        kind(n=int, mz_min=int),
        kind(n=int, mz_max=int),
        ['{"op": "rename", "field": ?1("mz_min"), "to": "mz_max"}'],
        ["is mz_max what mz_min was?"],
    ),
    "a text in parts": (
        kind(n=int, operator=str),
        kind(n=int, first=str, last=str),
        ['{"op": "split", "field": "operator", "to": ["first", "last"], "separator": ?1(" ")}'],
        ["it is a guess that first, last are parts of operator"],
    ),
    "a text in parts, and another": (
        kind(operator=str, n=int),
        kind(last=str, lab=str, first=str, n=int),
        [
            '{"op": "split", "field": "operator", "to": ["first", "last"], "separator": ?1(" ")}',
            '{"op": "add", "field": "lab", "type": {"type": "string"}, "value": ?2}',
        ],
        ["a guess", "lab is new"],
    ),
    "parts of a text": (
        kind(n=int, name_given=str, name_family=str, name_title=str),
        kind(n=int, name=str),
        ['{"op": "join", "fields": ["name_given", "name_family", "name_title"], "to": "name", "separator": ?1(" ")}'],
        ["are put together to name"],
    ),
    "an array in parts": (
        kind(n=int, xyz=THREE),
        kind(n=int, head=ONE, tail=FREE),
        ['{"op": "split", "field": "xyz", "to": ["head", "tail"], "index": ?1(1)}'],
        ["with how many items in the first"],
    ),
    "parts of an array": (
        kind(n=int, head=ONE, tail=FREE),
        kind(n=int, xyz=THREE),
        ['{"op": "join", "fields": ["head", "tail"], "to": "xyz", "index": ?1(1)}'],
        ["are put together to xyz"],
    ),
    "deg to rad": (
        kind(x=unit("deg")),
        kind(x=unit("rad")),
        ['{"op": "scale", "field": "x", "factor": ?1, "unit": "rad"}'],
        ["the factor is not known"],
    ),
    "s to min": (
        kind(x=unit("s")),
        kind(x=unit("min")),
        ['{"op": "scale", "field": "x", "factor": ?1, "unit": "min"}'],
        ["the factor is 1/60, which is no decimal, as near as 0.016666666666666667"],
    ),
    "a unit where none was": (
        kind(temp=float, n=int),
        kind(temperature=unit("K"), n=int),
        [
            '{"op": "rename", "field": "temp", "to": "temperature"}',
            '{"op": "scale", "field": "temperature", "factor": ?1(1), "unit": "K"}',
        ],
        ["temperature is in K, and no unit was said before"],
    ),
    "None no more": (
        kind(n=int, x=int | None),
        kind(n=int, x=int),
        ['{"op": "drop", "field": "x"}', '{"op": "add", "field": "x", "type": {"type": "integer"}, "value": ?1}'],
        ["x was int | None, of which no step makes int"],
    ),
    "rounded to integers": (
        kind(n=int, x=unit("m")),
        kind(n=int, x=unit("mm", int)),
        ['{"op": "drop", "field": "x"}', ...],  # type: ignore[list-item]
        ["x was float (m), of which no step makes int (mm)"],
    ),
    "a word less": (
        kind(n=int, x=Three),
        kind(n=int, x=Two),
        ['{"op": "drop", "field": "x"}', ...],  # type: ignore[list-item]
        ["x was Three"],
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_nobody_can_know_is_asked_and_is_no_program(name):
    source, view, steps, questions = ASKED[name]
    found = propose(source, view)
    assert found.program is None
    assert found.report is None
    assert len(found.steps) == len(steps)
    assert all(wanted is ... or str(step) == wanted for step, wanted in zip(found.steps, steps, strict=True)), found
    for said, wanted in zip(found.questions, questions, strict=True):
        assert wanted in said
    with pytest.raises(LensError):
        Program.parse(f"[{', '.join(map(str, found.steps))}]")
    assert f"?{len(questions)} " in str(found)
    assert "No lens is proposed before somebody answers" in str(found)


def test_fields_that_are_too_many_to_compare_are_asked_for():
    names = [f"{one}{other}" for one in "abcdefgh" for other in "abcdefgh"]
    found = propose(*(kind(n=int, **{f"{start}_{name}": int | None for name in names}) for start in ("old", "new")))
    assert found.program is None
    assert len(found.questions) == len(names)
    assert "one of the many that are gone" in found.questions[0]


def test_answers_make_a_program_of_a_draft():
    source, view, (text,), _ = ASKED["a text in parts"]
    program = Program.of(json.loads(text.replace('?1(" ")', '" "')))
    lens = DataLens(program, source, view)
    assert (lens(source(1, "Ada King")).first, lens(source(1, "Ada King")).last) == ("Ada", "King")


def test_nothing_is_proposed_between_types_that_have_nothing_in_common():
    found = propose(kind(n=int), kind(note=str | None))
    assert (found.program, found.steps, found.problem) == (None, (), "the two types have nothing in common")


@packable
class Picky:
    n: int

    def __post_init__(self) -> None:
        raise ValueError("never")


def test_a_program_of_which_no_law_could_be_tried_is_not_proposed():
    found = propose(Picky, kind(n=int, note=str | None), count=10)
    assert found.program is None
    assert found.problem is not None
    assert found.problem in found.title


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("nm", "um", "1/1000"),
        ("s", "min", "1/60"),
        ("kg", "g", "1000"),
        ("t", "kg", "1000"),
        ("L", "ml", "1000"),
        ("bar", "Pa", "100000"),
        ("Ao", "nm", "1/10"),
        ("km/h", "m/s", "5/18"),
        ("s-1", "ms-1", "1/1000"),
        ("1/s", "/s", "1"),
        ("m.s", "s.m", "1"),
        ("By", "bit", "8"),
        ("%", "1", "1/100"),
    ],
)
def test_units_are_converted_exactly(one, other, factor):
    assert conversion(one, other) == (Fraction(factor), 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [("m", "s"), ("rad", "deg"), ("mCel", "K"), ("Cel", "mK"), ("12", "1"), ("m12", "m"), ("m/", "m"), ("[ft_i]", "m"), ("kmin", "s"), ("Hz", "s-1"), ("m.", "m"), ("ft", "m")],
)  # fmt: skip
def test_units_that_nothing_exact_joins_are_not(one, other):
    assert conversion(one, other) is None


@given(st.integers(-(10**30), 10**30), st.integers(0, 40), st.integers(0, 40))
def test_decimals_are_exact(number, twos, fives):
    found = Fraction(number, 2**twos * 5**fives)
    text = decimal_of(found)
    assert text is None or exact(text, "x") == found


@pytest.mark.parametrize(("one", "other"), [("mz_min", "mz_max"), ("x1", "x2"), ("left", "right"), ("start", "end")])
def test_what_is_told_apart_is_not_alike(one, other):
    assert likeness(one, other) < ALIKE


# --- random changes --------------------------------------------------------------------------------------------------

NAMES = ["count", "mz", "label", "width", "peak_height", "sample_id", "ratio", "operator"]
KINDS = [Scalar("int"), Scalar("float"), Scalar("str"), Scalar("bool")]
UNITS = ["nm", "um", "m", "s", "min", "Cel", "K", "deg"]


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, Any]:
    """A type, and another after some small changes."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    old = [draw(fields(name)) for name in names]
    new = list(old)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(new) - 1))
        field, others = new[place], {each.name for each in new}
        match draw(st.sampled_from(["rename", "change", "drop", "add", "optional"])):
            case "rename" if (name := draw(st.sampled_from([f"{field.name}s", f"raw_{field.name}"]))) not in others:
                new[place] = Field(name, field.type, unit=field.unit)
            case "change":
                new[place] = draw(fields(field.name))
            case "drop" if len(new) > 1:
                del new[place]
            case "add" if (name := draw(st.sampled_from(NAMES))) not in others:
                new.append(draw(fields(name)))
            case "optional":
                new[place] = field if isinstance(field.type, Maybe) else Field(field.name, Maybe(field.type), unit=field.unit)  # fmt: skip
    return type_of(SampleSchema("Old", tuple(old))), type_of(SampleSchema("New", tuple(new)))


def fields(name: str) -> st.SearchStrategy[Field]:
    def field(kind: Scalar, code: str | None) -> Field:
        return Field(name, kind, unit=code if kind.kind in ("int", "float") else None)

    return st.builds(field, st.sampled_from(KINDS), st.one_of(st.none(), st.sampled_from(UNITS)))


@settings(max_examples=40)
@given(changes())
def test_what_is_said_to_work_binds_and_keeps_the_laws(pair):
    source, view = pair
    found = propose(source, view, count=10)
    assert (found.program is None) == bool(found.questions or found.problem), str(found)
    if found.program is not None:
        lens = DataLens(Program.parse(found.program.text), source, view)
        try_program(lens, count=30, seed="another").raise_for_failure()
    elif found.problem is None:
        assert found.report is None
    else:
        assert found.problem == "the two types have nothing in common"
