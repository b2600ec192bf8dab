"""All kinds of fields, one row each: the annotation, and values to try it with."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

import atdata
from atdata.samples import ClassLabel, Doc, Dtype, PackableSample, Safetensors, Shape, Unit, packable
from atdata.samples.kinds.media import Encoded


class Color(enum.Enum):
    RED = "red"
    GREEN = "grün"


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 2**60


class Half(float, enum.Enum):
    NONE = -0.0
    SOME = 0.5
    ALL = float("inf")


@packable
class Inner:
    x: float
    at: dt.datetime | None
    words: list[str]
    box: Annotated[NDArray[np.int16], Shape(2)]


@packable
class Outer:
    one: Inner
    many: list[Inner]
    deep: dict[str, Inner] | None


offsets = st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)).map(dt.timezone)
naive = st.datetimes()
aware = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=offsets | st.just(dt.UTC))
floats = st.floats() | st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
ints = st.integers(-(2**63), 2**63 - 1)
decimals = st.decimals() | st.sampled_from(
    [Decimal(text) for text in ("1E+3", "-0", "0.00", "sNaN12", "-NaN", "1e999999", "9" * 400, "-Infinity")]
)
FORMS = ("csr", "csc", "coo", "bsr", "dia")
PARTICLE = [("id", ">u2"), ("pose", [("at", "<f8", (2,)), ("when", "M8[ms]")]), ("name", "S3")]
matrices = hnp.arrays(
    st.sampled_from(["f4", "f8", "i8", "u1"]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), fill=st.just(0)
)
frames = st.fixed_dictionaries(
    {
        "n": st.lists(ints, min_size=2, max_size=2),
        "x": st.lists(st.floats(allow_nan=False), min_size=2, max_size=2),
        "text": st.lists(st.text(), min_size=2, max_size=2),
    }
)


def by_name(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(sorted(arrays.items()))


inner = st.builds(
    Inner,
    x=floats,
    at=st.none() | naive | aware,
    words=st.lists(st.text(), max_size=3),
    box=hnp.arrays(np.int16, 2),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind.

    Attributes:
        annotation: as people write it.
        values: strategy.
        wrong: values that do not fit.
        text: as it is shown.
        pickles: whether values do.
    """

    annotation: Any
    values: st.SearchStrategy[Any]
    wrong: tuple[Any, ...] = ()
    text: str = ""
    pickles: bool = True


TABLE: dict[str, Row] = {
    "str": Row(str, st.text(), (b"a", 3, "\ud800"), "str"),
    "int": Row(int, st.sampled_from([-(2**63), 2**63 - 1]) | ints, ("a", 1.5, True, 2**64), "int"),
    "float": Row(float, floats, ("a", True), "float"),
    "bool": Row(bool, st.booleans(), (1, "a"), "bool"),
    "bytes": Row(bytes, st.binary(), ("a", [1]), "bytes"),
    "optional int": Row(int | None, st.none() | ints, ("a",), "int | None"),
    "optional float": Row(float | None, st.none() | floats, ("a",), "float | None"),
    "array": Row(NDArray[np.float32], hnp.arrays(np.float32, st.integers(0, 3)), ([1.0],), "NDArray[float32]"),
    "image": Row(
        Annotated[NDArray[np.uint8], Shape(2, 3, names=["y", "x"])], hnp.arrays(np.uint8, (2, 3)), (np.zeros(3),)
    ),
    "unit": Row(Annotated[float, Unit("m/s2"), Doc("how fast\nit grows")], floats, ("a",), "float (m/s2)"),
    "optional unit": Row(Annotated[int, Unit("1")] | None, st.none() | ints, ("a",), "int | None (1)"),
    "list": Row(list[float], st.lists(floats), ((1.0,),), "list[float]"),
    "list of arrays": Row(
        list[Annotated[NDArray[np.int32], Shape(None)]],
        st.lists(hnp.arrays(np.int32, st.integers(0, 3)), max_size=3),
        ([1],),
    ),
    "dict": Row(dict[str, int], st.dictionaries(st.text(), ints, max_size=4), ({1: 2},), "dict[str, int]"),
    "dict of lists": Row(dict[str, list[str]], st.dictionaries(st.text(), st.lists(st.text()), max_size=3)),
    "tuple": Row(
        tuple[int, str, float | None],
        st.tuples(ints, st.text(), st.none() | floats),
        ([1, "a", None], (1, "a"), (1, 2, None)),
        "tuple[int, str, float | None]",
    ),
    "variadic tuple": Row(tuple[int, ...], st.lists(ints).map(tuple), ([1], ("a",)), "tuple[int, ...]"),
    "datetime": Row(dt.datetime, aware, (dt.date(2026, 1, 1), "2026-01-01"), "datetime"),
    "naive datetime": Row(dt.datetime, naive),
    "any datetime": Row(dt.datetime | None, st.none() | naive | aware, (3,), "datetime | None"),
    "datetimes": Row(list[dt.datetime], st.lists(aware | naive, max_size=3)),
    "date": Row(dt.date, st.dates(), (dt.datetime(2026, 1, 1), "2026-01-01"), "date"),
    "time": Row(dt.time, st.times(), ("12:00", 3), "time"),
    "time with offset": Row(dt.time | None, st.none() | st.times(timezones=offsets)),
    "timedelta": Row(dt.timedelta, st.timedeltas(), (3, "PT1S"), "timedelta"),
    "Decimal": Row(Decimal, decimals, (1.5, "1.5", 3), "Decimal"),
    "UUID": Row(uuid.UUID, st.uuids(), ("a", 3), "UUID"),
    "Enum of text": Row(Color, st.sampled_from(Color), ("red", Level.LOW), "Color(RED, GREEN)"),
    "Enum of ints": Row(Level, st.sampled_from(Level), (Color.RED,), "Level(LOW, HIGH)"),
    "Enum of floats": Row(Half | None, st.none() | st.sampled_from(Half), (Color.RED,), "Half(NONE, SOME, ALL) | None"),
    "Literal": Row(Literal["a", "é"], st.sampled_from(["a", "é"]), ("b", 1), "Literal['a', 'é']"),
    "Literal of ints": Row(Literal[1, -(2**62)], st.sampled_from([1, -(2**62)]), (2, True)),
    "Literal or nothing": Row(Literal["a", None], st.sampled_from(["a", None]), (1,), "Literal['a'] | None"),
    "ClassLabel": Row(
        Annotated[int, ClassLabel(names=["cat", "dog"])],
        st.sampled_from([0, 1]),
        (2, -1, "cat"),
        "ClassLabel[cat, dog]",
    ),
    "optional ClassLabel": Row(Annotated[int, ClassLabel(["a"])] | None, st.sampled_from([0, None]), (1,)),
    "Image": Row(
        atdata.Image,
        st.binary().map(atdata.Image) | hnp.arrays(np.uint8, (2, 3, 3)).map(atdata.Image),
        (b"a", np.zeros((2, 2), "u1")),
        "Image",
    ),
    "Audio": Row(atdata.Audio | None, st.none() | st.binary().map(atdata.Audio), (atdata.Video(b"a"),), "Audio | None"),
    "Video": Row(list[atdata.Video], st.lists(st.binary().map(atdata.Video)), (b"a",), "list[Video]"),
    "structured": Row(
        Annotated[NDArray[np.void], Dtype(PARTICLE)], hnp.arrays(np.dtype(PARTICLE), st.integers(0, 3)), (np.zeros(2),)
    ),
    "any structured": Row(
        Annotated[NDArray[np.void], Dtype(), Shape(2)], hnp.arrays(np.dtype(PARTICLE), 2), (np.zeros(2, "V3"),)
    ),
    "csr_array": Row(sparse.csr_array, matrices.map(sparse.csr_array), (np.zeros((2, 2)), sparse.csc_array((2, 2)))),
    "csc_matrix": Row(sparse.csc_matrix, matrices.map(sparse.csc_matrix), (sparse.csc_array((2, 2)),)),
    "any sparse array": Row(
        sparse.sparray | None,
        st.none() | st.builds(lambda form, m: getattr(sparse, f"{form}_array")(m), st.sampled_from(FORMS), matrices),
        (sparse.csr_matrix((2, 2)),),
    ),
    "pyarrow.Tensor": Row(pa.Tensor, matrices.map(pa.Tensor.from_numpy), (np.zeros(2),), "pyarrow.Tensor", False),
    "safetensors": Row(
        Annotated[dict[str, NDArray[Any]], Safetensors()],
        st.dictionaries(st.text(max_size=5), matrices | hnp.arrays("u1", ()), max_size=3).map(by_name),
        ({"a": np.zeros(2, "c8")}, {"a": 1}, {"__metadata__": np.zeros(2)}),
    ),
    "pandas.DataFrame": Row(pd.DataFrame, frames.map(pd.DataFrame), (np.zeros(2),), "pandas.DataFrame"),
    "polars.DataFrame": Row(pl.DataFrame | None, st.none() | frames.map(pl.DataFrame), (pd.DataFrame(),)),
    "nested": Row(Inner, inner, ({"x": 1.0},)),
    "nested twice": Row(
        Outer,
        st.builds(Outer, inner, st.lists(inner, max_size=2), st.none() | st.dictionaries(st.text(), inner, max_size=2)),
    ),
}


def sample_type(name: str) -> Any:
    """The type of samples with one field `value` of a kind, and one of numbers beside it."""
    return globals()[f"Held{list(TABLE).index(name)}"]


def everything() -> Any:
    """The type of samples with a field of each kind."""
    named = {f"f{number}": row.annotation for number, row in enumerate(TABLE.values())}
    return packable(type("Everything", (), {"__annotations__": named, "__module__": __name__}))


for number, row in enumerate(TABLE.values()):  # by names of the module, so that samples of them pickle
    declared = {"__annotations__": {"n": int, "value": row.annotation}, "__module__": __name__}
    globals()[f"Held{number}"] = packable(type(f"Held{number}", (), declared))

Everything = everything()

JUDGES: list[tuple[Any, Callable[[Any], Any]]] = [
    (enum.Enum, lambda value: (value.name, bits(value.value))),
    (PackableSample, lambda value: [(f.name, bits(getattr(value, f.name))) for f in dataclasses.fields(value)]),
    (Encoded, lambda value: (value.data, value.media_type)),
    (pa.Tensor, lambda value: (bits(value.to_numpy()), [name for name in value.dim_names if name])),
    ((sparse.sparray, sparse.spmatrix), lambda value: (type(value).__name__, value.shape, bits(parts_of(value)))),
    (pd.DataFrame, lambda value: bits([value.to_dict("list"), list(map(str, value.dtypes)), list(value.index)])),
    (pl.DataFrame, lambda value: bits([value.to_dict(as_series=False), list(map(str, value.dtypes))])),
    (np.ndarray, lambda value: (value.dtype.str, value.shape, value.tobytes())),
    (float, lambda value: struct.pack("d", value)),
    (Decimal, lambda value: value.as_tuple()),
    (dt.datetime, lambda value: (value.isoformat(), value.utcoffset())),
    (dt.time, lambda value: (value.isoformat(), value.utcoffset())),
    (dict, lambda value: [(key, bits(item)) for key, item in value.items()]),
    (list, lambda value: [bits(item) for item in value]),
    (tuple, lambda value: [bits(item) for item in value]),
]


def parts_of(matrix: Any) -> list[Any]:
    names = {"coo": ("row", "col"), "dia": ("offsets",)}.get(matrix.format, ("indices", "indptr"))
    return [matrix.data, *(getattr(matrix, name) for name in names)]


def bits(value: Any) -> Any:
    """The test's own idea of bit-equal: what two values have in common that are the same to the bit."""
    for kind, judge in JUDGES:
        if isinstance(value, kind):
            name = "" if kind in (enum.Enum, PackableSample) else type(value).__name__
            return name, judge(value)
    return type(value).__name__, value
