"""What a class of compatibility promises happens: samples that one type wrote, read with another, in either direction.

Who reads whom is said here by hand, group by group: in each group of declarations of one field, `READS` has the pairs
(reader, writer) where every sample is read; all others are not.
"""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

import atdata
from atdata.dataset import Dataset
from atdata.errors import CompatibilityError, LensNotFoundError, SampleError, UsageError
from atdata.local import LocalIndex
from atdata.samples import ClassLabel, Doc, Dtype, PackableSample, Safetensors, Shape, Unit, fields_of
from atdata.samples.kinds.media import Encoded
from atdata.schema import (
    Compatibility,
    SampleSchema,
    compare,
    compatibility_of,
    from_json_schema,
    schema_of,
    to_json_schema,
)
from atdata.schema.compatibility import check_mode

F4, F8, I4, I8 = np.float32, np.float64, np.int32, np.int64


class Two(enum.Enum):
    A = "a"
    B = "b"


class Three(enum.Enum):
    A = "a"
    B = "b"
    C = "c"


class Swapped(enum.Enum):
    A = "b"
    B = "a"


class Numbered(enum.Enum):
    A = 1
    B = 2


def declared(name: str, annotations: dict[str, Any], **defaults: Any) -> Any:
    return atdata.packable(type(name, (), {"__annotations__": annotations, "__module__": __name__, **defaults}))


Inner = declared("Inner", {"x": float, "y": float})
Renamed = declared("Inner", {"x": float, "z": float})
More = declared("Inner", {"x": float, "y": float, "w": int | None})
Less = declared("Inner", {"x": float})
Whole = declared("Inner", {"x": int, "y": int})
Metric = declared("Inner", {"x": Annotated[float, Unit("m")], "y": float})
Inches = declared("Inner", {"x": Annotated[float, Unit("[in_i]")], "y": float})
Told = declared("Inner", {"x": float, "y": Annotated[float, Doc("upwards")]})


@dataclass
class Group:
    """Declarations of one field, each with values that show what is particular about it.

    Attributes:
        reads: pairs (reader, writer).
        silent: pairs that are none of these, and of which bytes without a schema tell nothing.
    """

    annotations: dict[str, tuple[Any, list[Any]]]
    reads: set[tuple[str, str]] = field(default_factory=set)
    silent: set[tuple[str, str]] = field(default_factory=set)


def both(*names: str) -> set[tuple[str, str]]:
    return {pair for pair in itertools.product(names, repeat=2) if pair[0] != pair[1]}


def shaped(*dims: int | None, names: Any = None) -> Any:
    return Annotated[NDArray[F4], Shape(*dims, names=names)]


def of_class(names: str) -> tuple[Any, list[Any]]:
    return Annotated[int, ClassLabel(names.split())], [len(names.split()) - 1, 0]


RECORDS = [("x", "<f4"), ("n", "<i8")]
CSR, CSC = sparse.csr_array(np.eye(2)), sparse.csc_array(np.eye(2))
HOUR = dt.datetime(2026, 1, 2, 3, 4)
PNG = atdata.Image(np.zeros((2, 2), "u1"))
ARRAYS = {"a": np.zeros(2, F4)}

GROUPS: dict[str, Group] = {
    "scalars": Group(
        {
            "str": (str, ["a", "é"]),
            "int": (int, [3, 2**60 + 1]),
            "float": (float, [0.5, float("nan")]),
            "bool": (bool, [True]),
            "bytes": (bytes, [b"\0"]),
        }
    ),
    "exact numbers": Group({"int": (int, [1, 2]), "float": (float, [1.5, 1.0])}, silent={("float", "int")}),
    "optional": Group(
        {
            "int": (int, [3]),
            "int?": (int | None, [None, 3]),
            "str?": (str | None, ["a", None]),
            "text": (str, ["a"]),
            "any": (Any, [None, {"a": [1, "b"]}, 2.5]),
        },
        {("int?", "int"), ("str?", "text"), *(("any", other) for other in ("int", "int?", "str?", "text"))},
    ),
    "dtypes": Group(
        {
            "int32": (NDArray[I4], [np.arange(3, dtype=I4)]),
            "int64": (NDArray[I8], [np.arange(3)]),
            "float32": (NDArray[F4], [np.ones(2, F4)]),
            "float64": (NDArray[F8], [np.ones(2)]),
            "uint8": (NDArray[np.uint8], [np.ones(2, "u1")]),
            "any": (NDArray[Any], [np.ones(2, "c8"), np.array(["a"])]),
            "floats": (NDArray[np.floating], [np.ones(2, "f2"), np.ones(1, F4)]),
        },
        {
            *(("any", other) for other in ("int32", "int64", "float32", "float64", "uint8", "floats")),
            *(("floats", other) for other in ("float32", "float64")),
        },
    ),
    "shapes": Group(
        {
            "open": (NDArray[F4], [np.ones((2, 2), F4), np.ones((), F4)]),
            "[*]": (shaped(None), [np.ones(2, F4), np.ones(5, F4)]),
            "[3]": (shaped(3), [np.ones(3, F4)]),
            "[4]": (shaped(4), [np.ones(4, F4)]),
            "[*, 3]": (shaped(None, 3), [np.ones((7, 3), F4), np.ones((2, 3), F4)]),
            "[2, 3]": (shaped(2, 3), [np.ones((2, 3), F4)]),
        },
        {
            *(("open", other) for other in ("[*]", "[3]", "[4]", "[*, 3]", "[2, 3]")),
            *(("[*]", "[3]"), ("[*]", "[4]"), ("[*, 3]", "[2, 3]")),
        },
    ),
    "names of dimensions": Group(
        {
            "unnamed": (shaped(2, 3), [np.ones((2, 3), F4)]),
            "y, x": (shaped(2, 3, names=["y", "x"]), [np.ones((2, 3), F4)]),
            "x, y": (shaped(2, 3, names=["x", "y"]), [np.ones((2, 3), F4)]),
            "row, column": (shaped(2, 3, names=["row", "column"]), [np.ones((2, 3), F4)]),
        },
        {("unnamed", "y, x"), ("unnamed", "x, y"), ("unnamed", "row, column")},
        both("y, x", "x, y", "row, column") | {(name, "unnamed") for name in ("y, x", "x, y", "row, column")},
    ),
    "units": Group(
        {
            "none": (float, [1.0]),
            "nm": (Annotated[float, Unit("nm")], [500.0]),
            "um": (Annotated[float, Unit("um")], [0.5]),
            "nm?": (Annotated[float, Unit("nm")] | None, [None, 1.5]),
            "told": (Annotated[float, Doc("a wavelength")], [2.5]),
            "nm, told": (Annotated[float, Unit("nm"), Doc("a wavelength")], [2.5]),
        },
        {
            *(("none", other) for other in ("nm", "um", "told", "nm, told")),
            *(("told", other) for other in ("none", "nm", "um", "nm, told")),
            *(("nm", "nm, told"), ("nm, told", "nm"), ("nm?", "nm"), ("nm?", "nm, told")),
        },
        {
            *itertools.product(("nm", "nm, told", "nm?"), ("none", "told", "um")),
            *itertools.product(("um",), ("none", "told", "nm", "nm, told")),
        },
    ),
    "classes": Group(
        {
            "cat dog": of_class("cat dog"),
            "cat dog cow": of_class("cat dog cow"),
            "dog cat": of_class("dog cat"),
            "cat": of_class("cat"),
            "cat dog (told)": (Annotated[int, ClassLabel(["cat", "dog"]), Doc("pets")], [1]),
            "int": (int, [7]),
        },
        {
            *(("int", names) for names in ("cat dog", "cat dog cow", "dog cat", "cat", "cat dog (told)")),
            *(("cat dog cow", "cat dog"), ("cat dog cow", "cat"), ("cat dog", "cat"), ("cat dog (told)", "cat")),
            *(("cat dog", "cat dog (told)"), ("cat dog (told)", "cat dog"), ("cat dog cow", "cat dog (told)")),
        },
        {
            *itertools.product(("dog cat",), ("cat dog", "cat", "cat dog (told)")),
            *itertools.product(("cat dog", "cat dog cow", "cat dog (told)"), ("dog cat",)),
        },
    ),
    "literals": Group(
        {
            "a b": (Literal["a", "b"], ["a", "b"]),
            "b a": (Literal["b", "a"], ["a", "b"]),
            "a b c": (Literal["a", "b", "c"], ["c"]),
            "a": (Literal["a"], ["a"]),
            "1 2": (Literal[1, 2], [1]),
            "str": (str, ["other"]),
            "int": (int, [3]),
        },
        {
            *both("a b", "b a"),
            *itertools.product(("a b c",), ("a b", "b a", "a")),
            *itertools.product(("a b", "b a"), ("a",)),
            *itertools.product(("str",), ("a b", "b a", "a b c", "a")),
            ("int", "1 2"),
        },
    ),
    "enumerations": Group(
        {
            "two": (Two, [Two.A, Two.B]),
            "three": (Three, [Three.C]),
            "swapped": (Swapped, [Swapped.A]),
            "numbered": (Numbered, [Numbered.A]),
            "text": (str, ["other"]),
        },
        {("three", "two")},
        {("two", "swapped"), ("swapped", "two"), ("three", "swapped"), ("text", "two"), ("text", "three"),
         ("text", "swapped")},
    ),
    "containers": Group(
        {
            "list[int]": (list[int], [[1, 2]]),
            "list[int?]": (list[int | None], [[1, None]]),
            "list[float]": (list[float], [[0.5]]),
            "list": (list, [["a", 1, None]]),
            "tuple[int, ...]": (tuple[int, ...], [(1, 2, 3)]),
            "tuple[int, int]": (tuple[int, int], [(1, 2)]),
            "tuple[int, str]": (tuple[int, str], [(1, "a")]),
            "dict[str, int]": (dict[str, int], [{"a": 1}]),
            "dict": (dict, [{"a": [1, "b"]}]),
            "any": (Any, [[1, "a"], None, {"a": 2.5}]),
        },
        {
            *itertools.product(("list", "any"), ("list[int]", "list[int?]", "list[float]")),
            *itertools.product(("dict", "any"), ("dict[str, int]",)),
            *(("any", "list"), ("any", "dict"), ("list[int?]", "list[int]"), ("tuple[int, ...]", "tuple[int, int]")),
        },
        {
            *itertools.product(("list[int]", "list[int?]"), ("tuple[int, ...]", "tuple[int, int]")),
            *itertools.product(("list", "any"), ("tuple[int, ...]", "tuple[int, int]", "tuple[int, str]")),
            *itertools.product(("tuple[int, ...]", "tuple[int, int]"), ("list[int]",)),
            *(("list[float]", "list[int]"), ("list[float]", "tuple[int, ...]"), ("list[float]", "tuple[int, int]")),
        },
    ),
    "kinds kept as text": Group(
        {
            "str": (str, ["some text"]),
            "datetime": (dt.datetime, [HOUR]),
            "date": (dt.date, [HOUR.date()]),
            "time": (dt.time, [HOUR.time()]),
            "timedelta": (dt.timedelta, [dt.timedelta(1)]),
            "Decimal": (Decimal, [Decimal("1.50")]),
            "UUID": (uuid.UUID, [uuid.UUID(int=1)]),
        },
        silent={
            *(("str", kind) for kind in ("datetime", "date", "time", "timedelta", "Decimal", "UUID")),
            *(("datetime", "date"), ("date", "datetime"), ("time", "datetime")),
        },
    ),
    "files": Group(
        {
            "bytes": (bytes, [b"\xff\xd8\xff"]),
            "Image": (atdata.Image, [PNG]),
            "Audio": (atdata.Audio, [atdata.Audio(b"RIFF")]),
            "Video": (atdata.Video, [atdata.Video(b"film")]),
            "str": (str, ["text"]),
            "array": (NDArray[np.uint8], [np.zeros((2, 2), "u1")]),
        },
        silent={
            *both("bytes", "Image", "Audio", "Video"),
            *itertools.product(("bytes", "Image", "Audio", "Video"), ("array",)),
        },
    ),
    "nested": Group(
        {
            "inner": (Inner, [Inner(1.0, 2.0)]),
            "renamed": (Renamed, [Renamed(1.0, 2.0)]),
            "more": (More, [More(1.0, 2.0, 3), More(1.0, 2.0, None)]),
            "less": (Less, [Less(1.0)]),
            "whole": (Whole, [Whole(2**60 + 1, 2)]),
            "m": (Metric, [Metric(1.0, 2.0)]),
            "inches": (Inches, [Inches(1.0, 2.0)]),
            "told": (Told, [Told(1.0, 2.0)]),
            "list": (list[Inner], [[Inner(1.0, 2.0)]]),
            "dict": (dict, [{"x": "a"}]),
        },
        {
            *both("inner", "more", "told"),
            *itertools.product(("less",), ("inner", "renamed", "more", "m", "inches", "told")),
            *itertools.product(("inner", "more", "told"), ("m", "inches")),
        },
        {
            *both("m", "inches"), *itertools.product(("m", "inches"), ("inner", "more", "told")),
            *itertools.product(("dict",), ("inner", "renamed", "more", "less", "whole", "m", "inches", "told")),
        },
    ),
    "lists of nested": Group(
        {
            "inner": (list[Inner], [[Inner(1.0, 2.0)]]),
            "more": (list[More], [[More(1.0, 2.0, 3)]]),
            "m": (dict[str, Metric] | None, [{"a": Metric(1.0, 2.0)}, None]),
            "inches": (dict[str, Inches] | None, [{"a": Inches(1.0, 2.0)}]),
        },
        both("inner", "more"),
        both("m", "inches"),
    ),
    "structured": Group(
        {
            "any": (Annotated[NDArray[np.void], Dtype()], [np.zeros(2, [("q", "S2")])]),
            "x, n": (Annotated[NDArray[np.void], Dtype(RECORDS)], [np.zeros(2, RECORDS)]),
            "n, x": (Annotated[NDArray[np.void], Dtype(RECORDS[::-1])], [np.zeros(2, RECORDS[::-1])]),
            "wide": (Annotated[NDArray[np.void], Dtype([("x", "<f8"), ("n", "<i8")])], [np.zeros(1, [("x", "<f8"), ("n", "<i8")])]),
            "plain": (NDArray[F4], [np.zeros(2, F4)]),
        },
        {("any", "x, n"), ("any", "n, x"), ("any", "wide")},
    ),
    "sparse": Group(
        {
            "csr": (sparse.csr_array, [CSR]),
            "csc": (sparse.csc_array, [CSC]),
            "any": (sparse.sparray, [CSR, CSC]),
            "csr_matrix": (sparse.csr_matrix, [sparse.csr_matrix(CSR)]),
        },
        {("any", "csr"), ("any", "csc")},
    ),
    "archives and frames": Group(
        {
            "safetensors": (Annotated[dict[str, NDArray[Any]], Safetensors()], [ARRAYS, {"a": np.zeros(2, "i1")}]),
            "safetensors of float32": (Annotated[dict[str, NDArray[F4]], Safetensors()], [ARRAYS]),
            "dict of arrays": (dict[str, NDArray[Any]], [ARRAYS]),
            "pandas": (pd.DataFrame, [pd.DataFrame({"a": [1]})]),
            "polars": (pl.DataFrame, [pl.DataFrame({"a": [1]})]),
        },
        {("safetensors", "safetensors of float32")},
        both("pandas", "polars"),
    ),
}  # fmt: skip

# Whole samples: fields that come, go, and change their names. Of each pair: whether newer readers, and older ones, read on.
SAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], bool, bool]] = {
    "optional field added": ({"a": int}, {"a": 1}, {"a": int, "b": str | None}, {"a": 1, "b": "x"}, True, True),
    "required field added": ({"a": int}, {"a": 1}, {"a": int, "b": str}, {"a": 1, "b": "x"}, False, True),
    "two optional fields added": ({"a": int}, {"a": 1}, {"b": int | None, "a": int, "c": NDArray[F4] | None},
                                  {"a": 1, "b": 2, "c": np.ones(2, F4)}, True, True),
    "optional field and a required one": ({"a": int}, {"a": 1}, {"a": int, "b": int | None, "c": int},
                                          {"a": 1, "b": 2, "c": 3}, False, True),
    "field renamed": ({"a": int, "b": str}, {"a": 1, "b": "x"}, {"a": int, "c": str}, {"a": 1, "c": "x"}, False, False),
    "optional field renamed": ({"a": int, "b": str | None}, {"a": 1, "b": "x"}, {"a": int, "c": str | None},
                               {"a": 1, "c": "x"}, True, True),
    "renamed and made optional": ({"a": int, "b": str}, {"a": 1, "b": "x"}, {"a": int, "c": str | None},
                                  {"a": 1, "c": "x"}, True, False),
    "order changed": ({"a": int, "b": str}, {"a": 1, "b": "x"}, {"b": str, "a": int}, {"a": 1, "b": "x"}, True, True),
    "made optional": ({"a": int}, {"a": 1}, {"a": int | None}, {"a": None}, True, False),
    "swapped types": ({"a": int, "b": str}, {"a": 1, "b": "x"}, {"a": str, "b": int}, {"a": "x", "b": 1}, False, False),
    "one of two changed": ({"a": int, "b": str}, {"a": 1, "b": "x"}, {"a": int, "b": int}, {"a": 1, "b": 2}, False, False),
    "widened and removed": ({"a": NDArray[F4], "b": int}, {"a": np.ones(2, F4), "b": 1}, {"a": NDArray[Any]},
                            {"a": np.ones(1)}, True, False),
    "widened here, narrowed there": ({"a": NDArray[F4], "b": int | None}, {"a": np.ones(2, F4), "b": None},
                                     {"a": NDArray[Any], "b": int}, {"a": np.ones(1), "b": 2}, False, False),
    "another picture": ({"a": atdata.Image, "b": int}, {"a": PNG, "b": 1}, {"a": atdata.Image}, {"a": PNG}, True, False),
}  # fmt: skip


@dataclass
class Case:
    """A change, with what is said of it by hand."""

    old: Any
    new: Any
    old_samples: list[Any]
    new_samples: list[Any]
    backward: bool
    forward: bool
    told_backward: bool = True
    told_forward: bool = True


def cases() -> Iterator[Any]:
    for title, group in GROUPS.items():
        types = {name: declared("Sample", {"n": int, "x": said}) for name, (said, _) in group.annotations.items()}
        for before, after in itertools.permutations(group.annotations, 2):
            samples = [
                [types[name](i, x) for i, x in enumerate(group.annotations[name][1])] for name in (before, after)
            ]
            ways = [(after, before), (before, after)]
            case = Case(
                types[before],
                types[after],
                *samples,
                *(way in group.reads for way in ways),
                *(way not in group.silent for way in ways),
            )
            yield pytest.param(case, id=f"{title}: {before} to {after}")
    for title, (old, one, new, other, backward, forward) in SAMPLES.items():
        before, after = declared("Sample", old), declared("Sample", new)
        yield pytest.param(Case(before, after, [before(**one)], [after(**other)], backward, forward), id=title)
        yield pytest.param(
            Case(after, before, [after(**other)], [before(**one)], forward, backward), id=f"{title}, taken back"
        )


CASES = list(cases())


def class_of(case: Case) -> str:
    return {(True, True): "full", (True, False): "backward", (False, True): "forward", (False, False): "none"}[
        case.backward, case.forward
    ]


def test_there_are_enough_pairs() -> None:
    assert len(CASES) >= 200
    assert {class_of(case.values[0]) for case in CASES} == {"full", "backward", "forward", "none"}
    for group in GROUPS.values():
        pairs = set(itertools.permutations(group.annotations, 2))
        assert group.reads <= pairs
        assert group.silent <= pairs - group.reads


def schema(kind: type) -> SampleSchema:
    return SampleSchema(kind.__name__, fields_of(kind))


@pytest.mark.parametrize("case", CASES)
def test_the_class_of_a_change(case: Case) -> None:
    found = compare(schema(case.old), schema(case.new))
    assert found.compatibility == class_of(case)
    assert compare(schema(case.new), schema(case.old)).compatibility == {
        "backward": "forward",
        "forward": "backward",
    }.get(class_of(case), class_of(case))
    assert all(part.reason for part in found.fields if part.compatibility is not Compatibility.IDENTICAL)
    assert bool(found.breaking("backward")) is not case.backward
    assert bool(found.breaking("forward")) is not case.forward


class Shelf:
    """Samples of each type in one shard, listed in one index."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, LocalIndex(folder / "index.sqlite")
        self._written: dict[type, tuple[str, Dataset[Any]]] = {}

    def of(self, samples: list[Any]) -> tuple[str, Dataset[Any]]:
        """The name of the dataset, and itself."""
        kind = type(samples[0])
        if kind not in self._written:
            name = f"d{len(self._written)}"
            dataset = atdata.write_samples(samples, self.folder / f"{name}.tar")
            self.index.insert_dataset(dataset, name=name)
            self._written[kind] = name, dataset
        return self._written[kind]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.mark.parametrize("case", CASES)
def test_readers_of_either_type_read_as_the_class_says(case: Case, shelf: Shelf) -> None:
    for samples, reader, reads, told in (
        (case.old_samples, case.new, case.backward, case.told_backward),
        (case.new_samples, case.old, case.forward, case.told_forward),
    ):
        name, written = shelf.of(samples)
        files, index = shelf.folder / f"{name}.tar", shelf.index
        if reads:
            for dataset in (
                Dataset[reader](files),  # type: ignore[valid-type]
                index.load(name, sample_type=reader)["train"],
                atdata.load_dataset(f"@local/{name}", reader, split="train", index=index),
                written.as_type(reader),
            ):
                found = list(dataset)
                assert [type(sample) for sample in found] == [reader] * len(samples)
                assert [seen(sample) for sample in found] == [seen(sample, reader) for sample in samples]
                assert [reader.from_bytes(sample.packed) for sample in found] == found
                assert seen(next(iter(dataset.ordered(batch_size=1))).samples[0]) == seen(found[0])
            continue
        with pytest.raises((CompatibilityError, SampleError)):
            list(index.load(name, sample_type=reader)["train"])
        with pytest.raises(LensNotFoundError):
            written.as_type(reader)
        if told:
            with pytest.raises(SampleError):
                list(Dataset[reader](files))  # type: ignore[valid-type]
        else:
            with pytest.raises(CompatibilityError):
                index.load(name, sample_type=reader)


def seen(value: Any, reader: Any = None) -> Any:
    """What a user finds in a value; of a sample the fields of a reader's type, `None` where it has none."""
    if isinstance(value, PackableSample):
        kinds = {part.name: inner_type(part.type) for part in fields_of(reader or type(value))}
        return {name: seen(getattr(value, name, None), kind) for name, kind in kinds.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [seen(item, reader) for item in value]
    if isinstance(value, dict):
        return {key: seen(item, reader) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.name, value.value
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if sparse.issparse(value):
        return type(value).__name__, value.toarray().tolist()
    if isinstance(value, Encoded):
        return type(value).__name__, value.data
    return type(value).__name__, "nan" if value != value else value


def inner_type(kind: Any) -> Any:
    """The sample type in a kind, where there is one."""
    while hasattr(kind, "inner"):
        kind = kind.inner
    return getattr(kind, "sample_type", None)


A = declared("A", {"x": float, "n": int})


def change(new: dict[str, Any], old: type = A) -> Any:
    return compare(schema_of(old), schema_of(declared("A", new)))


REASONS: list[tuple[dict[str, Any], str, str]] = [
    ({"x": float}, "n", "removed; older readers of n expect int, and newer samples have no such field"),
    ({"x": float, "m": int}, "n", "removed, or renamed to m; older readers of n expect int, and newer samples have no such field"),
    ({"x": float, "n": int, "k": int}, "k", "added; newer readers of k expect int, and older samples have no such field"),
    ({"x": float, "n": int, "k": int | None}, "k", "added"),
    (
        {"x": Annotated[float, Unit("nm")], "n": int},
        "x",
        "float became float (nm); newer readers of x expect the unit nm, and older samples have no unit",
    ),
    ({"x": Annotated[float, Doc("width")], "n": int}, "x", "documented otherwise"),
    (
        {"x": float, "n": str},
        "n",
        ("int became str; newer readers of n expect str, and older samples have int; "
        "older readers of n expect int, and newer samples have str"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("new", "name", "reason"), REASONS)
def test_reasons_are_for_people(new: dict[str, Any], name: str, reason: str) -> None:
    (found,) = [part.reason for part in change(new).fields if part.name == name]
    assert found == reason


def test_a_reason_names_the_place_inside() -> None:
    old, new = declared("A", {"poses": list[Inner]}), {"poses": list[Inches]}
    (found,) = change(new, old).fields
    assert "newer readers of poses[].x expect the unit [in_i], and older samples have no unit" in found.reason
    (found,) = change({"kind": of_class("cat dog")[0]}, declared("A", {"kind": of_class("cat cow")[0]})).fields
    assert "newer readers of kind expect dog as class 1, and older samples have cow as class 1" in found.reason


STEPS: list[tuple[dict[str, Any], str | None]] = [
    ({"x": float, "n": int}, None),
    ({"x": Annotated[float, Doc("width")], "n": int}, "patch"),
    ({"x": float, "n": int, "k": int | None}, "minor"),
    ({"n": int, "x": float}, "minor"),
    ({"x": float, "n": int, "k": int}, "major"),
    ({"x": float}, "major"),
    ({"x": float, "m": int}, "major"),
    ({"x": float, "n": int | None}, "major"),
    ({"x": int, "n": int}, "major"),
    ({"x": Annotated[float, Unit("nm")], "n": int}, "major"),
]


@pytest.mark.parametrize(("new", "step"), STEPS)
def test_the_step_of_a_change(new: dict[str, Any], step: str | None) -> None:
    assert change(new).step == step


def test_the_step_of_a_change_inside() -> None:
    def step(old: Any, new: Any) -> str | None:
        found: str | None = change({"x": new}, declared("A", {"x": old})).step
        return found

    assert step(Inner, Told) == step(list[Inner], list[Told]) == "patch"
    assert step(Inner, More) == step(dict[str, Inner], dict[str, More]) == "minor"
    assert step(More, Inner) == "major", "everybody reads on, but a field is gone"
    assert step(int | None, int) == step(Inner, Less) == step(Inner | None, Less | None) == "major"


def test_an_optional_field_that_goes_is_read_as_none_and_still_counts_as_a_removal() -> None:
    found = compare(schema_of(declared("A", {"x": int, "y": int | None})), schema_of(declared("A", {"x": int})))
    assert found.compatibility == "full"
    assert found.step == "major"


def test_a_default_is_the_class_s_and_no_schema_holds_it() -> None:
    old, new = declared("A", {"x": int}), declared("A", {"x": int, "gain": float}, gain=1.0)
    assert compare(schema(old), schema(new)).compatibility == "full"
    assert new.from_bytes(old(1).packed) == new(1, 1.0)
    assert compare(schema_of(old), schema_of(new)).compatibility == "forward"


def test_a_history_is_more_than_its_steps() -> None:
    one, two, three = (
        schema_of(declared("A", f)) for f in ({"x": int, "n": int}, {"n": int}, {"n": int, "x": str | None})
    )
    assert compare(one, two).compatibility == "backward"
    assert compare(two, three).compatibility == "full"
    assert compatibility_of([one, two, three]) == "none", "what was written as int is read as str"
    assert compatibility_of([two, three]) == "full"
    assert compatibility_of([one, one]) == compatibility_of([one]) == compatibility_of([]) == "identical"


@pytest.mark.parametrize("case", [case for case in CASES if "floats" not in str(case.id)])
def test_published_schemas_are_of_the_same_class(case: Case) -> None:
    """But for `np.floating`, of which a schema says any dtype."""
    published = [from_json_schema("Sample", to_json_schema(schema_of(kind))[0]) for kind in (case.old, case.new)]
    assert compare(*published).compatibility == class_of(case)


def test_modes() -> None:
    for mode in ("none", "backward", "forward", "full", "backward_transitive", "forward_transitive", "full_transitive"):
        assert check_mode(mode) == mode
        assert Compatibility.FULL.satisfies(check_mode(mode))
        assert Compatibility.IDENTICAL.satisfies(check_mode(mode))
        assert Compatibility.NONE.satisfies(check_mode(mode)) is (mode == "none")
    for wrong in ("BACKWARD", "", None, 3, ["backward"]):
        with pytest.raises(UsageError, match="mode of compatibility"):
            check_mode(wrong)


def test_a_type_may_say_more_narrowly_what_a_schema_leaves_open(tmp_path: Path) -> None:
    """A writer who said no dtype left it open: the reader says it, and each array is held to it."""
    wide, narrow = declared("Sample", {"x": NDArray[Any]}), declared("Sample", {"x": NDArray[F4]})
    index = LocalIndex(tmp_path / "index.sqlite")
    for name, dtype in (("fits", F4), ("not", F8)):
        index.insert_dataset(atdata.write_samples([wide(np.ones(2, dtype))], tmp_path / f"{name}.tar"), name=name)
    (sample,) = index.load("fits", sample_type=narrow)["train"]
    assert sample == narrow(np.ones(2, F4))
    with pytest.raises(SampleError):
        list(index.load("not", sample_type=narrow)["train"])


def test_a_field_of_any_floats_is_loaded_with_the_class_that_wrote_it(tmp_path: Path) -> None:
    """A schema has no word for `np.floating`: it says any dtype."""
    kind = declared("Sample", {"x": NDArray[np.floating]})
    index = LocalIndex(tmp_path / "index.sqlite")
    index.insert_dataset(atdata.write_samples([kind(np.ones(2, F4))], tmp_path / "x.tar"), name="x")
    assert list(index.load("x", sample_type=kind)["train"]) == [kind(np.ones(2, F4))]


names = st.sampled_from("abcd")
kinds = st.sampled_from([int, str, float, int | None, NDArray[F4], Annotated[float, Unit("nm")]])
types = st.dictionaries(names, kinds, min_size=1).map(lambda fields: schema_of(declared("A", fields)))


@given(types, types)
def test_comparisons_are_mirrored(one: SampleSchema, other: SampleSchema) -> None:
    there, back = compare(one, other), compare(other, one)
    assert there.compatibility.holds_backward() is back.compatibility.holds_forward()
    assert (there.compatibility == "identical") is (one.fields == other.fields) is (there.step is None)
    assert {part.name for part in there.fields} == {part.name for part in (*one.fields, *other.fields)}
    assert compatibility_of([one, other]) is there.compatibility
    assert there.compatibility.satisfies("full") is not bool(there.breaking("full"))
