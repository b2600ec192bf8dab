"""Programs and the laws: each step keeps them on generated samples, and so do programs of random steps."""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata import Shape, packable
from atdata.errors import LensError, NoHomeError
from atdata.lens import DataLens, Program, check_laws
from atdata.lens.language.trying import enough, try_program
from atdata.lens.laws import COUNT
from atdata.schema import SampleSchema, type_of
from support import MANY

F16, F32, F64, I32 = NDArray[np.float16], NDArray[np.float32], NDArray[np.float64], NDArray[np.int32]
TWO, THREE, FIVE = (Annotated[I32, Shape(size)] for size in (2, 3, 5))


def kind(**fields: Any) -> Any:
    return packable(type("Kind", (), {"__annotations__": fields}))


@packable
class Point:
    x: float
    y: float


def field(op: str, source: Any, view: Any, **members: Any) -> tuple[Any, Any, dict[str, Any]]:
    return kind(x=source), kind(x=view), {"op": op, "field": "x", **members}


NAME = {"separator": " ", "to": ["first", "last"]}
PARTS, WHOLE = kind(first=str, last=str), kind(x=str)
CASES = {
    "rename": (kind(mz=F32, n=int), kind(x=F32, n=int), {"op": "rename", "field": "mz", "to": "x"}),
    "move": (kind(at=Point), kind(at=kind(y=float), x=float), {"op": "move", "field": "at.x", "to": "x"}),
    "add": (kind(n=int), kind(n=int, x=str), {"op": "add", "field": "x", "type": {"type": "string"}, "value": "a"}),
    "drop": (kind(n=int, x=bytes), kind(n=int), {"op": "drop", "field": "x"}),
    "wrap": field("wrap", int, list[int]),
    "unwrap": field("unwrap", list[str], str),
    "map": field("map", Literal["a", "b"], int, values=[["a", 1], ["b", 2]]),
    "map words": field("map", str, str, values=[["one", "uno"], ["two", "due"]]),
    "nest": (kind(x=float, y=float), kind(at=Point), {"op": "nest", "fields": ["x", "y"], "to": "at", "name": "Point"}),
    "hoist": (kind(at=Point), kind(x=float, y=float), {"op": "hoist", "field": "at"}),
    "split array": (kind(x=FIVE), kind(a=TWO, b=THREE), {"op": "split", "field": "x", "index": 2, "to": ["a", "b"]}),
    "join arrays": (kind(a=TWO, b=THREE), kind(x=FIVE), {"op": "join", "fields": ["a", "b"], "index": 2, "to": "x"}),
    "split open": (kind(x=I32), kind(a=I32, b=I32), {"op": "split", "field": "x", "index": 1, "to": ["a", "b"]}),
    "scale integers": field("scale", int, int, factor=3, offset=-1),
    "scale integer arrays": field("scale", I32, I32, factor=-2),
}
for at in ("all", "first", "last"):
    CASES[f"split {at}"] = (WHOLE, PARTS, {"op": "split", "field": "x", "at": at, **NAME})
    CASES[f"join {at}"] = (PARTS, WHOLE, {"op": "join", "fields": NAME["to"], "separator": " ", "to": "x", "at": at})
for factor, offset in (("0.001", 0), ("0.1", "273.15"), (1000, "-1e-3"), ("1e-20", 0), ("1e4", "1e4"), ("0.3", 7)):
    for annotation in (float, F16, F32, F64, list[float], F32 | None):
        if annotation is not F16 or factor != "1e-20":
            CASES[f"scale {factor} {offset} {annotation}"] = field("scale", annotation, annotation, factor=factor, offset=offset)  # fmt: skip
for source, to, view in (
    *((int, "float", float), (float, "int", int), (int, "str", str), (str, "int", int), (float, "str", str)),
    *((str, "float", float), (bool, "int", int), (int, "bool", bool), (list[int] | None, "float", list[float] | None)),
    *((I32, "float32", F32), (F64, "float32", F32), (F32, "float64", F64), (F64, "float16", F16), (F32, "int8", NDArray[np.int8])),
    *((NDArray[np.int64], "uint8", NDArray[np.uint8]), (NDArray[np.bool_], "int64", NDArray[np.int64]), (F64, "uint64", NDArray[np.uint64])),
):  # fmt: skip
    CASES[f"cast {source} {to}"] = field("cast", source, view, to=to)


@pytest.mark.parametrize("name", CASES)
def test_each_step_keeps_the_laws(name):
    source, view, step = CASES[name]
    try_program(DataLens(Program.of(step), source, view), count=COUNT if MANY else 60).raise_for_failure()


def scale(**members: Any) -> dict[str, Any]:
    return {"op": "scale", "field": "x", **members}


def cast(to: str, **members: Any) -> dict[str, Any]:
    return {"op": "cast", "field": "x", "to": to, **members}


ROUNDED = {
    "to text": (float, str, scale(factor="0.1"), cast("str")),
    "from text": (str, float, cast("float"), scale(factor="0.1")),
    "to whole numbers": (float, int, scale(factor="0.1"), cast("int")),
    "to whole numbers and back": (float, float, scale(factor="0.1"), cast("int"), cast("float")),
    "arrays to whole numbers": (F32, I32, scale(factor=3, offset=7), cast("int32")),
    "in a list": (list[float], list[str], scale(factor="0.7"), cast("str")),
    "to a range": (F64, F64, scale(factor="0.1"), cast("float64", min=-5, max="0.7")),
    "from values that are listed": (
        str,
        float,
        {"op": "map", "field": "x", "values": [["low", "-inf"], ["ten", 10]], "type": {"type": "number"}},
        scale(factor="0.1"),
    ),
    "to values that are listed": (
        float,
        int,
        scale(factor=10),
        {"op": "map", "field": "x", "values": [["inf", 1], [7, 2], [3, 3]], "type": {"type": "integer"}},
    ),
    "twice, far down": (float, float, scale(factor="1e-200"), scale(factor="1e-200")),
    "to short floats": (F64, F16, scale(factor=10), cast("float16")),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_what_is_rounded_and_then_converted_keeps_the_laws(name):
    """What is put is seen again, or has no home. Text may say that a number is infinite."""
    source, view, *steps = ROUNDED[name]
    lens = DataLens(Program.of(*steps), kind(x=source), kind(x=view))
    values = {
        str: ["low", "ten", "inf", "-inf", "nan", "0.3", "7.0", "1e+308"],
        int: [1, 2, 3, 7, 33],
        float: [float("inf"), 0.3, 1e308, 3.0],
    }
    sources, views = (
        [side(x) for x in values.get(given, [])] for side, given in ((lens.source_type, source), (lens.view_type, view))
    )
    report = check_laws(lens, [sample for sample in sources if seen(lens, sample)], views, count=40)
    assert report.verdict == "holds", report
    assert try_program(lens, count=40).counterexample is None


def seen(lens: Any, sample: Any) -> bool:
    try:
        lens(sample)
    except NoHomeError:
        return False
    return True


def test_what_would_not_be_seen_again_has_no_home():
    lens = DataLens(Program.of(scale(factor="0.1"), cast("str")), kind(x=float), kind(x=str))
    sample = lens.source_type(20.0)
    assert lens(sample).x == "2.0"
    assert lens.put(lens.view_type("0.25"), sample).x == 2.5
    homeless = [f"{number / 100}" for number in range(1000) if number / 100 / 0.1 / 10 != number / 100]
    assert homeless
    with pytest.raises(NoHomeError, match="would not be seen again"):
        for text in homeless:
            lens.put(lens.view_type(text), sample)


# --- programs of random steps ----------------------------------------------------------------------------------------

SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def random_step(chance: random.Random, fields: dict[str, Any], number: int) -> dict[str, Any] | None:
    """A step for one of some fields that may fit."""
    name = chance.choice(list(fields))
    new, stored = f"new{number}", str(fields[name].type)
    other = chance.choice([one for one in fields if one != name] or [name])
    return chance.choice(
        [
            {"op": "rename", "field": name, "to": new},
            {"op": "drop", "field": name} if len(fields) > 1 else None,
            {"op": "wrap", "field": name},
            {"op": "unwrap", "field": name} if stored.startswith("list") else None,
            {"op": "add", "field": new, "type": {"type": "integer"}, "value": chance.randrange(9)},
            {"op": "scale", "field": name, "factor": chance.choice([2, "0.1", "1e3", -1]), "offset": chance.choice([0, 1, "0.5"])},
            {"op": "cast", "field": name, "to": chance.choice(["int", "float", "str", "float32", "float64", "int16"])},
            {"op": "nest", "fields": [name, other] if other != name else [name], "to": new, "name": "Inner"},
            {"op": "hoist", "field": name},
            {"op": "split", "field": name, "separator": ",", "to": [new, f"{new}b"], "at": chance.choice(["first", "last", "all"])},
            {"op": "join", "fields": [name, other], "separator": ",", "to": new},
            {"op": "split", "field": name, "index": 1, "to": [new, f"{new}b"]},
            {"op": "map", "field": name, "values": [[True, "yes"], [False, "no"]]},
        ]
    )  # fmt: skip


def random_program(chance: random.Random, source: Any) -> DataLens[Any, Any]:
    """A program of a few steps that fit each other."""
    from atdata.lens.language.program import bare_field
    from atdata.samples import fields_of

    fields = {one.name: bare_field(one) for one in fields_of(source)}
    given: list[dict[str, Any]] = []
    for number in range(40):
        step = random_step(chance, fields, number)
        try:
            program = Program.of(*given, *([step] if step else []))
            bound = program._form.steps[-1].bind(fields, len(given)) if step else None
        except LensError:
            continue
        if bound is not None and step is not None:
            fields = bound.after
            given.append(step)
        if len(given) == 6:
            break
    view = type_of(SampleSchema("View", tuple(fields.values())))
    return DataLens(Program.of(*given), source, view)


@pytest.mark.parametrize("seed", range(60 if MANY else 20))
def test_programs_of_random_steps_keep_the_laws(seed):
    """Where they have a view of anything: what follows a step may never be what that step gives."""
    chance = random.Random(seed)
    source = kind(a=str, b=int, c=float, d=F32, e=bool, f=THREE, g=list[int], h=Point)
    lens = random_program(chance, source)
    report = try_program(lens, count=40)
    assert report.counterexample is None, f"{lens.program}\n{report}"


def test_a_long_program_keeps_nobody_waiting():
    """A stranger's may be as long as programs can be: it is tried on fewer samples."""
    steps = [{"op": "scale", "field": "x", "factor": factor} for factor in (2, "0.5")] * 100
    assert enough(DataLens(Program.of(*steps), kind(x=float), kind(x=float))) == 20
    assert enough(DataLens(Program.of(*steps[:20]), kind(x=float), kind(x=float))) == COUNT
    with pytest.raises(LensError, match="too many steps"):
        Program.of(*steps, steps[0])


def between(least: Any, most: Any) -> dict[str, Any]:
    return cast("float", min=least, max=most)


def split(source: Any, index: int) -> tuple[Any, Any, dict[str, Any]]:
    return kind(x=source), kind(a=source, b=source), {"op": "split", "field": "x", "index": index, "to": ["a", "b"]}


WORDS = {"op": "map", "field": "x", "values": [["cat", 1], ["dog", 2]], "type": {"type": "integer"}}
DATE = {"op": "split", "field": "x", "separator": "-", "to": ["y", "m"]}
Q = {"op": "add", "field": "q", "type": {"type": "string"}, "value": "q"}
RARE = {
    **{f"split at {index}": split(F32, index) for index in (0, 4, 5, 10, 100)},
    **{f"{ends}": (kind(x=int), kind(x=float), between(*ends)) for ends in ((18, 65), (10, 20), (1000, 1001), (1900, 2100), (1000, 9999))},
    "a range of arrays": (kind(x=F64), kind(x=F32), cast("float32", min=300, max=800)),
    "a range with one end": (kind(x=float), kind(x=int), cast("int", min=1000)),
    "a range in lists": (kind(x=list[int]), kind(x=list[float]), between(1900, 2100)),
    "a range and a scale": (kind(x=int), kind(x=float), between(1900, 2100), scale(factor="0.1")),
    "a scale and a range": (kind(x=int), kind(x=float), scale(factor=10), between(1900, 2100)),
    "a range beside what is added": (kind(x=int), kind(x=float, q=str), Q, between(1900, 2100)),
    "two ranges": (kind(x=int, y=int), kind(x=float, y=float), between(0, 99), {**between(18, 65), "field": "y"}),
    "words": (kind(x=str), kind(x=int), WORDS),
    "a date": (kind(x=str), kind(y=int, m=int), DATE, {**cast("int", min=1900, max=2100), "field": "y"}, {**cast("int", min=1, max=12), "field": "m"}),
    "arrays of ten and more": (kind(a=F32, b=F32), kind(x=F32), {"op": "join", "fields": ["a", "b"], "index": 10, "to": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("name", RARE)
def test_a_correct_program_that_takes_few_values_holds(name):
    """They are made of what it says: its ranges, indices, pairs and separators."""
    source, view, *steps = RARE[name]
    lens = DataLens(Program.of(*steps), source, view)
    for count in (enough(lens), 50) if MANY else (50,):
        report = try_program(lens, count=count, seed="any")
        assert report.verdict == "holds", report
        assert report == try_program(lens, count=count, seed="any"), "a trial is repeated"
    assert lens.check_laws().tallies == try_program(lens).tallies, "there is one trial of a program"


def test_nothing_is_known_of_a_program_that_takes_no_value():
    lens = DataLens(Program.of(cast("int", min="0.2", max="0.8")), kind(x=str), kind(x=int))
    report = try_program(lens)
    assert (report.verdict, report.counterexample) == ("unknown", None)
    for trial in (report.raise_for_failure, lens.check_laws):
        with pytest.raises(LensError, match="nothing is known"):
            trial()
