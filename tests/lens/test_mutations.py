"""Programs of strangers, which say anything: nothing but errors of atdata's ever comes of one."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata import packable
from atdata.errors import AtdataError
from atdata.lens import DataLens, Program
from atdata.lens.language.program import LANGUAGE, VERSION
from atdata.lens.language.trying import try_program
from atdata.samples import fields_of
from atdata.schema import SampleSchema, type_of


@packable
class Point:
    x: float
    y: int


@packable
class Source:
    mass: float
    count: int
    name: str
    grade: str
    numbers: NDArray[np.float32]
    whole: NDArray[np.int16]
    several: list[int]
    at: Point


FIELDS = {each.name: each for each in fields_of(Source)}
STEPS: list[dict[str, Any]] = [
    {"op": "rename", "field": "mass", "to": "weight"},
    {"op": "move", "field": "at.x", "to": "x"},
    {"op": "add", "field": "extra", "type": {"type": "number"}, "value": "0.5"},
    {"op": "add", "field": "list", "type": {"type": "array", "items": {"type": "number"}}, "value": ["1e3"]},
    {"op": "add", "field": "when", "type": {"type": "string", "format": "date-time"}, "value": "2026-01-01T00:00:00Z"},
    {"op": "add", "field": "long", "type": {"type": "string", "format": "duration"}, "value": "PT1S"},
    {"op": "drop", "field": "count"},
    {"op": "nest", "fields": ["mass", "count"], "to": "inner", "name": "Inner"},
    {"op": "hoist", "field": "at"},
    {"op": "wrap", "field": "name"},
    {"op": "unwrap", "field": "several"},
    {"op": "scale", "field": "mass", "factor": "0.001", "offset": "1.5", "unit": "kg"},
    {"op": "scale", "field": "whole", "factor": 2, "offset": 3},
    {"op": "cast", "field": "mass", "to": "int", "min": 0, "max": "1e3"},
    {"op": "cast", "field": "numbers", "to": "float64", "min": "-1.5", "max": 99},
    {"op": "map", "field": "grade", "values": [["A", 1], ["B", 2]], "type": {"type": "integer"}},
    {"op": "map", "field": "count", "values": [[1, "0.5"], [2, "1e5"]], "type": {"type": "number"}},
    {"op": "split", "field": "name", "separator": "-", "to": ["first", "last"]},
    {"op": "split", "field": "numbers", "index": 3, "to": ["head", "tail"]},
    {"op": "join", "fields": ["name", "grade"], "separator": ",", "to": "both"},
]
NUMBERS = (
    "1e400",
    "-1e400",
    "1e-400",
    "1e999",
    "1e-999",
    "9" * 100,
    "0." + "0" * 99 + "1",
    "nan",
    "inf",
    "-0",
    "-0.0",
    "1/3",
    "",
)
ODD = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from([*NUMBERS, 0, -1, 2**53 - 1, 1 - 2**53, None, True, [], {}, *FIELDS, "at.x", "int", "float16", "str", "rad/s"]),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.text(max_size=5),
    st.sampled_from(NUMBERS).map(lambda number: [number, 1]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a step but that of its name."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(*path, key) for key, _ in inner if key != "op"]
    return found + [deeper for key, item in inner for deeper in places(item, (*path, key))]


@st.composite
def programs(draw: st.DrawFn) -> dict[str, Any]:
    steps = deepcopy(draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(1, 2))):
        step = draw(st.sampled_from(steps))
        *way, last = draw(st.sampled_from(places(step)[::-1]))
        target: Any = step
        for key in way:
            target = target[key]
        if isinstance(target, dict | list):
            target[last] = draw(ODD)
    return {"language": LANGUAGE, "version": VERSION, "steps": steps}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_only_errors_of_atdata_come_of_what_a_program_says(value):
    with suppress(AtdataError):
        program = Program.parse(value)
        bound = program.bind_fields(FIELDS)
        view = type_of(SampleSchema("View", tuple(bound[-1].after.values())))
        try_program(DataLens(program, Source, view), count=3)
