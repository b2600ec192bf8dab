"""Promise: a lens, a program or a law check that is given something of another type says so, and what to give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import atdata
from atdata.errors import AtdataError, FieldTypeError, LensError, NoHomeError, SchemaError
from atdata.lens import (
    DataLens,
    FunctionCode,
    Identity,
    Lens,
    Program,
    check_laws,
    propose,
)
from atdata.samples.fields import MAX_LEVELS
from atdata.schema import from_json_schema, schema_of, to_json_schema, type_of

MODULE = sys.modules["atdata.lens"]
ROOM = {name: getattr(MODULE, name) for name in MODULE.__all__}


@atdata.packable
class Long:
    x: float
    n: str


@atdata.packable
class Brief:
    x: float


@atdata.packable
class Renamed:
    y: float


PROGRAM = Program.of({"op": "rename", "field": "x", "to": "y"}, {"op": "drop", "field": "n"})
DATA = DataLens(PROGRAM, Long, Renamed)
CODE = FunctionCode("a.py", "f", b"def f(s): return s")
SAMPLE, VIEW = Long(1.0, "n"), Renamed(2.0)


def view_of(s: Long) -> Renamed:
    return Renamed(s.x)


FUNCTION = Lens(view_of, lambda v, s: Long(v.y, s.n))
TYPES: dict[str, Any] = {"source_type": Long, "view_type": Renamed}


def wrong(text: str) -> Any:
    """A call by its text, as pytest shows it."""
    return pytest.param(eval(f"lambda it: {text}", {**ROOM, **globals()}), id=text)


TAKES_NONE_OF_THEM = [
    "Program.parse(it)", "Program.of(it)", "Program(it).cid", "PROGRAM.then(it)", "PROGRAM | it",
    "PROGRAM.bind(it, Renamed)", "PROGRAM.bind(Long, it)", "PROGRAM.bind_fields(it)",
    "DataLens(it, Long, Renamed)", "DataLens(PROGRAM, it, Renamed)", "DataLens(PROGRAM, Long, it)",
    "DATA.then(it)", "DATA | it", "DATA @ it", "DATA.get(it)", "DATA.put(it, SAMPLE)", "DATA.put(VIEW, it)",
    "DATA.source_of(it, SAMPLE)", "DATA.source_of(VIEW, it)", "DATA.complement(it)",
    "DATA.restore(it, DATA.complement(SAMPLE))", "DATA.restore(VIEW, it)", "Complement.from_bytes(it)",
    "Lens(it)", "Lens.identity(it)",
    "FUNCTION.then(it)", "FUNCTION | it", "FUNCTION @ it", "FUNCTION.putter(it)", "FUNCTION.check_laws([it])",
    "FUNCTION.check_laws([SAMPLE], [it])", "FUNCTION.check_laws(it)", "FUNCTION.check_laws([SAMPLE], it)",
    "check_laws(it)", "atdata.lens(it)", "register(it)", "find_lens(it, Long)", "find_lens(Long, it)",
    "registered_lens(it, Long)", "registered_lens(Long, it)", "fitted(it, Long, Renamed)",
    "fitted(FUNCTION, it, Renamed)", "fitted(FUNCTION, Long, it)", "propose(it, Long)", "propose(Long, it)",
    "Projection(it, Brief)", "Projection(Long, it)", "Projection(Long, Brief).get(it)", "Identity(it)",
    "Composed(it, FUNCTION)", "Composed(FUNCTION, it)", "CodeLens(it, name='c', **TYPES)", "Lens.identity(Long) | it",
    "CodeLens(CODE, source_type=it, view_type=it, name='c')",
]  # fmt: skip
OPTIONAL = [
    ("Lens(it, **TYPES)", [None, 5, "x", [1]]),
    ("Lens(view_of, source_type=it)", [5, "x", int, [1]]),
    ("Lens(view_of, view_type=it, source_type=Long)", [5, "x", int, [1]]),
    ("Lens(view_of, it)", [5, "x", [1]]),
    ("Lens(view_of, name=it)", [5, [1], b"x"]),
    ("Lens(view_of, rounding=it)", [None, 5, "x", [1], {1: 2}]),
    ("Lens(view_of, rounding={'y': it}).tolerances", [None, "x", [1], -1]),
    ("DataLens(PROGRAM, Long, Renamed, it)", [5, [1], b"x"]),
    ("DATA.source_of(VIEW, SAMPLE, it)", [None, "x", [1], 1.5, True]),
    ("DATA.reads(it)", [5, "x", b"x", [1], {"y": 1}]),
    ("DATA.map_columns(it, 1)", [None, 5, "x", [1]]),
    ("DATA.restore(DATA.get(SAMPLE), DATA.complement(SAMPLE), it)", [5, "x", [1], SAMPLE]),
    ("FUNCTION.check_laws(count=it)", ["x", -1, 1.5, [1]]),
    ("FUNCTION.check_laws(count=1, seed=it)", [None, 5, [1], b"x"]),
    ("check_laws(FUNCTION, count=1, rounding=it)", [5, "x", [1], {"y": "x"}, {"y": None}]),
    ("propose(Long, Renamed, count=it)", [None, "x", -1, 1.5]),
    ("Ulps(it)", [None, "x", [1], -1, 1.5]),
    ("Ulps(1, format=it)", [5, "x", [1]]),
    ("Ulps(1, operand=it)", [None, "x", [1], b"x"]),
    ("CodeLens(CODE, it, name='c', **TYPES)", [5, "x", view_of]),
    ("CodeLens(CODE, name='c', limits=it, **TYPES)", [5, "x", {}]),
    ("CodeLens(CODE, name=it, **TYPES)", [5, [1]]),
    ("FunctionCode(it, 'f', b'')", [None, 5]),
    ("FunctionCode('a.py', it, b'')", [None, 5]),
    ("FunctionCode('a.py', 'f', it)", [None, 5, "x"]),
]


@pytest.mark.parametrize("call", [*map(wrong, TAKES_NONE_OF_THEM)])
def test_of_another_type(call: Callable[[Any], Any]):
    for it in (None, 5, "x", object(), int, [1], b"x", {"a": 1}):
        with pytest.raises(AtdataError) as raised:
            call(it)
        assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("call", "given"), [pytest.param(*wrong(text).values, some, id=text) for text, some in OPTIONAL]
)
def test_of_another_type_where_there_is_a_choice(call: Callable[[Any], Any], given: list[Any]):
    for it in given:
        with pytest.raises(AtdataError):
            call(it)


@pytest.mark.parametrize(
    ("call", "said", "hint"),
    [
        ("PROGRAM | None", "other must be of type Program", "Give a program"),
        ("FUNCTION | None", "other must be of type Lens", "a | b"),
        ("Lens(None)", "get must be a function", "from a sample to its view"),
        ("atdata.lens(5)", "function must be a function", "Decorate"),
        ("check_laws(5)", "lens must be of type", "Give a lens"),
        ("FUNCTION.check_laws([5])", "samples[0] must be of type", "Give a sample"),
        ("Lens.identity(int)", "must be a sample type", "packable"),
        ("Lens(int)", "cannot be", "Annotate"),
    ],
)
def test_what_is_wrong_and_what_to_do_is_told(call: str, said: str, hint: str):
    with pytest.raises(AtdataError) as raised:
        eval(call, {**ROOM, **globals()})
    assert said in raised.value.what
    assert hint in str(raised.value.hint)


# --- programs


def bound(source: Any, **step: Any) -> Any:
    kind = atdata.packable(type("Kind", (), {"__annotations__": {"x": source}}))
    return Program.of({"field": "x", **step}).bind_fields({"x": schema_of(kind).fields[0]})


@pytest.mark.parametrize(
    ("source", "step", "said"),
    [
        (str, {"op": "cast", "to": "int", "min": 5, "max": 3}, "a range holds no number"),
        (int, {"op": "cast", "to": "str", "min": 5, "max": 7}, "a range is stated of str, which is no number"),
        (bytes, {"op": "cast", "to": "str"}, "bytes cannot be cast to str"),
        (list[float], {"op": "split", "index": -1, "to": ["a", "b"]}, "an index is no number of items"),
        (list[float], {"op": "split", "index": 1, "to": ["a"]}, "an index makes two parts"),
        (list[float], {"op": "split", "index": 1, "to": ["a", "b"], "at": "first"}, "an index has no separators to choose"),
        (int, {"op": "map", "values": []}, "a map of values has no pairs"),
        (int, {"op": "map", "values": [[n, n] for n in range(10_001)]}, "a map of values has too many pairs"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_says_why(source: Any, step: dict[str, Any], said: str):
    with pytest.raises(LensError) as raised:
        bound(source, **step)
    assert raised.value.what.startswith(said)
    assert raised.value.hint


# --- laws


def test_a_lens_that_is_never_defined_says_what_its_getter_said():
    def refuses(*_: Any) -> Any:
        raise NoHomeError("nobody has measured x")

    never = Lens(refuses, refuses, **TYPES)
    with pytest.raises(LensError, match="was never defined") as raised:
        never.check_laws(count=5)
    assert raised.value.actual == "get raises NoHomeError: nobody has measured x"
    report = check_laws(Lens(view_of), count=5)
    assert (report.verdict, report.refusal) == ("unknown", "it has no putter")
    assert FUNCTION.check_laws(count=5).refusal is None


# --- depth


def deep(levels: int, wrap: Callable[[Any], Any] = lambda kind: list[kind]) -> Any:
    kind: Any = float
    for _ in range(levels):
        kind = wrap(kind)
    return atdata.packable(type("Deep", (), {"__annotations__": {"x": kind}}))


WRAPS: list[Callable[[Any], Any]] = [
    lambda kind: list[kind],
    lambda kind: dict[str, kind],
    lambda kind: tuple[kind, ...],
    lambda kind: tuple[int, kind],
    lambda kind: list[kind | None],
    lambda kind: atdata.packable(type("Inner", (), {"__annotations__": {"x": kind}})),
]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 200])
def test_a_type_that_is_nested_too_deeply_is_refused(wrap: Callable[[Any], Any], levels: int):
    with pytest.raises(FieldTypeError, match=r"nested too deeply|is recursive"):
        deep(levels, wrap)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_type_as_deep_as_can_be_is_one_everywhere(wrap: Callable[[Any], Any]):
    """What a class may be, its schema says, and a reader builds of it."""
    kind = deep(MAX_LEVELS // 2 if wrap is WRAPS[4] else MAX_LEVELS, wrap)
    content, _ = to_json_schema(schema_of(kind))
    built = type_of(from_json_schema("Deep", content))
    assert schema_of(built).fields[0].type.as_data() == schema_of(kind).fields[0].type.as_data()
    assert check_laws(Identity(kind), count=2).verdict == "holds"
    assert propose(kind, built).problem is None


def test_a_schema_that_is_nested_too_deeply_says_so():
    node: dict[str, Any] = {"type": "number"}
    for _ in range(200):
        node = {"type": "array", "items": node}
    with pytest.raises(SchemaError, match="nested too deeply"):
        from_json_schema("Deep", {"type": "object", "properties": {"x": node}, "required": ["x"]})
