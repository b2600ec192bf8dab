"""Values to try things with: of every kind of field, boundary values first, and the same on any machine."""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from typing import Annotated, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray

from atdata.errors import FieldTypeError, LimitError
from atdata.samples import Dtype, Shape, fields_of, packable
from atdata.samples.codec import pack
from atdata.samples.kinds import KINDS
from atdata.samples.kinds.moments import Duration
from atdata.samples.space import SPACE, SPACES, Chance, SampleSpace, space_of
from atdata.samples.space.smaller import simpler, size_of
from atdata.schema import schema_of, type_of
from support.kinds import TABLE, bits, sample_type


def with_value(annotation: Any) -> Any:
    declared = {"__annotations__": {"n": int, "value": annotation}, "__module__": __name__}
    return packable(type("Held", (), declared))


TYPES = {name: sample_type(name) for name in TABLE} | {
    "anything": with_value(Any),
    "any array": with_value(NDArray[Any]),
    "array of integers": with_value(NDArray[np.integer]),
    "array of text": with_value(NDArray[np.str_]),
    "array of moments": with_value(NDArray[np.datetime64]),
    "array of complex numbers": with_value(NDArray[np.complex64]),
    "grids": with_value(Annotated[NDArray[np.float16], Shape(None, 2, None)]),
}
kinds = pytest.mark.parametrize("name", TYPES)
SEED = "a seed"


def drawn(name: str, count: int, seed: str = SEED) -> list[Any]:
    """The values of the field `value` in some samples, as they are stored."""
    space = SampleSpace(TYPES[name])
    return [space.sample(number, seed)["value"] for number in range(count)]


def kind_of(name: str) -> Any:
    return fields_of(TYPES[name])[1].type


# --- chance ----------------------------------------------------------------------------------------------------------


def test_chance_is_a_hash_of_its_words_and_a_count():
    key = hashlib.sha256(b"5:atoms1:7").digest()
    wanted = b"".join(hashlib.sha256(key + block.to_bytes(8, "big")).digest() for block in range(3))
    chance = Chance("atoms", 7)
    assert b"".join(map(chance.bytes, (0, 1, 40, 32, 23))) == wanted
    assert Chance("a", "bc").bytes(8) != Chance("ab", "c").bytes(8)


def test_a_number_below_a_bound_is_each_as_likely():
    chance = Chance("dice")
    counts = np.bincount([chance.below(6) for _ in range(6000)], minlength=6)
    assert len(counts) == 6
    assert counts.min() > 900
    chance = Chance("dice")
    large = [chance.below(2**64 + 1) for _ in range(50)]
    assert max(large) > 2**63
    assert {Chance("dice").below(1) for _ in range(3)} == {0}


# --- the space -------------------------------------------------------------------------------------------------------

GOLDEN = {
    "str": "621e85fd6b37aac3",
    "int": "55b728f6a8794422",
    "float": "d1dcf39ef3e49184",
    "bool": "fbd005ee8e4f94e6",
    "bytes": "f9bfdc558413d1b3",
    "optional int": "08375a1ce44481ce",
    "optional float": "05a40812e962000d",
    "array": "d296f39fa582abcb",
    "image": "472979d09933a97b",
    "unit": "d1dcf39ef3e49184",
    "optional unit": "08375a1ce44481ce",
    "list": "2f9bdaf112b23a2d",
    "list of arrays": "25d17f3d420032b7",
    "dict": "dd2815a601030d42",
    "dict of lists": "d284510c1693fe16",
    "tuple": "85ebba09d67b6701",
    "variadic tuple": "0b1b877cd78fdda4",
    "datetime": "b028d3d41f3495a3",
    "naive datetime": "b028d3d41f3495a3",
    "any datetime": "ae50eefdc20081de",
    "datetimes": "8cad7486e593253b",
    "date": "e7a091591b3f244e",
    "time": "be529d1a85df9086",
    "time with offset": "c08fea05229578b7",
    "timedelta": "f71b9deaa7880019",
    "Decimal": "e144daa8d58312b4",
    "UUID": "3233316eda81181f",
    "Enum of text": "1f43105f34c85d9d",
    "Enum of ints": "3de90266f76f929f",
    "Enum of floats": "eb2bf109a83e0e6a",
    "Literal": "7e50ac4591f93e4e",
    "Literal of ints": "8ce1b4cb135e079a",
    "Literal or nothing": "0dc52705b8cf641d",
    "ClassLabel": "158597fe95dae9d5",
    "optional ClassLabel": "30108d8c68f253a3",
    "Image": "717205fc9f898f5c",
    "Audio": "05980624179a0f1c",
    "Video": "3b514a5b44c2608b",
    "structured": "4ae087f5cc1b4a85",
    "any structured": "0b135bde90ce9ecd",
    "csr_array": "ea077076d4373add",
    "csc_matrix": "c5ba2b0f969a4426",
    "any sparse array": "023acb91e0717052",
    "pyarrow.Tensor": "19ecdc714cc53766",
    "safetensors": "6d5f3e43a784854c",
    "pandas.DataFrame": "d8639530aaeea32a",
    "polars.DataFrame": "099e6f6c1a523dcd",
    "nested": "5a37bd0d71a41915",
    "nested twice": "2bc4da80362bb044",
    "anything": "efb33e79547e45b7",
    "any array": "1189dae6c0e72819",
    "array of integers": "5fa9792e27e39cf7",
    "array of text": "84c0ec7f12c1bebb",
    "array of moments": "094edc6b65c1f45a",
    "array of complex numbers": "629153a45f0a7b69",
    "grids": "cda872e10f6b4939",
}
"""The first 90 values of each kind of `atdata-space/2`. Where one changes, the space needs another name."""


def meaning(value: Any) -> Any:
    """A value without what versions of libraries call its columns."""
    if isinstance(value, pd.DataFrame | pl.DataFrame):
        columns = {name: list(value[name]) for name in value.columns}
        texts = [text if isinstance(text, str) else None for text in columns.get("text", [])]
        return [*map(int, columns["n"])], texts, [struct.pack("d", x) for x in columns.get("x", [])]
    return bits(value)


def digest(name: str) -> str:
    decode = kind_of(name).decoder
    values = [meaning(decode(value)) for value in drawn(name, 90)]
    return hashlib.sha256(repr(values).encode("utf-8", "backslashreplace")).hexdigest()[:16]


@kinds
def test_the_space_is_the_one_of_its_name(name: str):
    assert SPACE == "atdata-space/2"
    assert digest(name) == GOLDEN[name]


def test_each_kind_has_values():
    assert {*SPACES} == {*KINDS}


@kinds
def test_values_are_such_as_their_type_stores(name: str):
    made = TYPES[name]
    space = SampleSpace(made)
    for number in range(60):
        packed = pack(space.sample(number, SEED))
        assert made.from_bytes(packed).packed == packed


@kinds
def test_boundary_values_differ_and_the_first_is_the_simplest(name: str):
    kind = kind_of(name)
    edges = space_of(kind).edges
    assert len({pack({"": edge}) for edge in edges}) == len(edges) > 1 or name in ("optional ClassLabel",)
    assert min(edges, key=lambda edge: size_of(kind, edge)) is edges[0]
    assert drawn(name, 1) == [edges[0]]


@kinds
def test_what_is_smaller_is_smaller_and_of_its_kind(name: str):
    kind = kind_of(name)
    for value in drawn(name, 12):
        for less in simpler(kind, value):
            assert size_of(kind, less) < size_of(kind, value)
            kind.decoder(less)


def test_each_boundary_value_stands_in_one_field_at_first_and_others_are_simple():
    space = SampleSpace(sample_type("float"))
    samples = [space.sample(number, SEED) for number in range(1, 200)]
    swept = [s for at, s in enumerate(samples) if at % 3 < 2][: len(space.edges)]
    assert [sum(pack({"": s[n]}) != pack({"": space.simplest[n]}) for n in s) for s in swept] == [1] * len(space.edges)
    assert swept[0] == {**space.simplest, space.edges[0][0]: space.edges[0][1]}
    assert {name for name, _ in space.edges} == {"n", "value"}


def test_a_value_is_a_function_of_field_number_and_seed_alone():
    @packable
    class Wide:
        other: str
        value: float
        n: int

    @packable
    class Narrow:
        value: float

    wide, narrow = SampleSpace(Wide), SampleSpace(Narrow)
    backwards = [wide.sample(number, SEED)["value"] for number in reversed(range(300, 400))][::-1]
    assert list(map(bits, backwards)) == [bits(narrow.sample(number, SEED)["value"]) for number in range(300, 400)]
    assert list(map(bits, backwards)) != [bits(narrow.sample(number, "other")["value"]) for number in range(300, 400)]


@kinds
def test_types_that_were_built_from_a_schema_have_the_same_values(name: str):
    one, other = SampleSpace(TYPES[name]), SampleSpace(type_of(schema_of(TYPES[name])))
    for number in range(20):
        assert pack(one.sample(number, SEED)) == pack(other.sample(number, SEED))


def test_values_that_programs_get_wrong_are_among_them():
    floats = [struct.pack(">d", value).hex() for value in space_of(kind_of("float")).edges]
    assert {"8000000000000000", "7ff8000000000001", "7ff0000000000000", "0000000000000001"} <= {*floats}
    assert {2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1} <= {*space_of(kind_of("int")).edges}
    assert {"", "e\u0301", "é", "😀", "\0"} <= {*space_of(kind_of("str")).edges}
    decode = kind_of("array").decoder
    arrays = [decode(array) for array in space_of(kind_of("array")).edges]
    assert {array.dtype.str for array in arrays} == {"<f4", ">f4"}
    assert {array.ndim for array in arrays} == {0, 1, 2, 3}
    assert any(array.flags.f_contiguous and not array.flags.c_contiguous for array in arrays)
    assert any(array.size == 0 for array in arrays)


# --- strangers' schemas ----------------------------------------------------------------------------------------------


def test_what_is_too_large_is_not_made():
    @packable
    class Huge:
        pixels: Annotated[NDArray[np.float64], Shape(1 << 20, 1 << 20)]

    @packable
    class Record:
        rows: Annotated[NDArray[np.void], Dtype([("x", "<f8", (1 << 20,))])]

    @packable
    class Deep:
        many: Annotated[NDArray[np.uint8], Shape(*[None] * 30)]

    def many(annotation: Any) -> Any:
        return packable(type("Many", (), {"__annotations__": {f"f{n}": annotation for n in range(1000)}}))

    picture = Annotated[NDArray[np.uint8], Shape(1 << 20)]
    for large in (Huge, Record, many(picture), with_value(many(picture))):
        with pytest.raises(LimitError):
            SampleSpace(large)
    space = SampleSpace(Deep)
    assert max(len(space.sample(number, SEED)["many"]) for number in range(60)) < 10_000


def test_a_large_picture_has_few_boundary_values():
    @packable
    class Picture:
        pixels: Annotated[NDArray[np.float32], Shape(1024, 1024, 3)]

    edges = space_of(fields_of(Picture)[0].type).edges
    assert len(edges) == 2
    assert Picture.from_bytes(pack({"pixels": edges[1]})).pixels.shape == (1024, 1024, 3)


def test_a_kind_that_has_no_space_says_so():
    class Unknown(type(kind_of("UUID"))):  # type: ignore[misc]
        pass

    with pytest.raises(FieldTypeError):
        space_of(Unknown())


def test_a_wide_sample_in_a_sample_has_not_too_many_boundary_values():
    inner = packable(type("Wide", (), {"__annotations__": {f"f{n}": str for n in range(500)}}))
    edges = space_of(fields_of(with_value(inner))[1].type).edges
    assert len(edges) == 257
    assert {name for edge in edges for name, value in edge.items() if value} == {f"f{n}" for n in range(256)}


def test_a_duration_at_its_end_is_made_simpler():
    """Its opposite is none."""
    kind = Duration()
    for value in (dt.timedelta.min, dt.timedelta.max):
        assert all(kind.decoder(less) is not None for less in simpler(kind, kind.encoder(value)))
