"""Sample types as schemas and back: nothing is lost, and a stranger's schema chooses nothing."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.atproto import cbor
from atdata.errors import SchemaError
from atdata.samples import Array, DictOf, Field, FieldType, ListOf, Maybe, Plain, Scalar, Shape, fields_of
from atdata.samples.kinds import LABELS, REFERENCES
from atdata.schema import SampleSchema, from_json_schema, schema_of, to_json_schema, type_of

NAMED = [
    np.int8,
    np.uint16,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
    np.complex64,
    np.bool_,
    np.datetime64,
    np.str_,
    np.bytes_,
]
dims = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=4)
shapes = dims.flatmap(
    lambda d: st.one_of(
        st.just(Shape(*d)),
        st.lists(st.text(max_size=5), min_size=len(d), max_size=len(d)).map(lambda n: Shape(*d, names=n)),
    )
)
scalars = st.sampled_from(["str", "int", "float", "bool", "bytes"]).map(Scalar)
arrays = st.builds(Array, st.one_of(st.none(), st.sampled_from(NAMED)), st.one_of(st.none(), shapes))
inner: st.SearchStrategy[FieldType] = st.recursive(
    st.one_of(scalars, arrays, st.just(Plain())),
    lambda children: st.one_of(
        children.map(ListOf),
        children.map(DictOf),
        children.filter(lambda t: not isinstance(t, Maybe | Plain)).map(Maybe),
    ),
    max_leaves=4,
)
field_types = st.one_of(inner, inner.filter(lambda t: not isinstance(t, Maybe)).map(Maybe))
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda n: n not in dir(atdata.PackableSample) and not __import__("keyword").iskeyword(n)
)
schemas = st.builds(
    lambda name, types: SampleSchema(name, tuple(Field(n, t) for n, t in types.items())),
    st.from_regex(r"[A-Z][A-Za-z]{0,8}", fullmatch=True),
    st.dictionaries(names, field_types, min_size=1, max_size=5),
)


@given(schemas)
def test_a_schema_survives_its_json_and_its_canonical_encoding(schema: SampleSchema) -> None:
    content, _ = to_json_schema(schema)
    assert from_json_schema(schema.name, json.loads(json.dumps(content))) == schema
    stored = cbor.decode(cbor.encode(content))  # sorts every map by its keys
    assert from_json_schema(schema.name, stored) == schema


@given(schemas)
def test_a_type_survives_its_schema(schema: SampleSchema) -> None:
    built = type_of(schema)
    assert schema_of(built, schema.name) == schema
    assert type_of(from_json_schema(schema.name, to_json_schema(schema)[0])) is built
    assert pickle.loads(pickle.dumps(built)) is built


@given(schemas)
def test_what_is_written_fits_into_a_record(schema: SampleSchema) -> None:
    def no_float(value: Any) -> bool:
        if isinstance(value, dict):
            return all(no_float(item) for item in value.values())
        return all(no_float(item) for item in value) if isinstance(value, list) else not isinstance(value, float)

    assert no_float(to_json_schema(schema)[0])


@atdata.packable
class Everything:
    text: str
    whole: int
    real: float
    yes: bool
    raw: bytes
    words: list[str]
    open_dict: dict
    table: dict[str, int]
    any_array: NDArray
    typed: NDArray[np.float32]
    shaped: Annotated[NDArray[np.uint8], Shape(None, 3, names=["pixel", "channel"])]
    perhaps: NDArray[np.int64] | None
    defaulted: int = 3


def test_the_json_schema_of_every_field_type() -> None:
    content, versions = to_json_schema(schema_of(Everything))
    base = "https://json-schema.alt.science/atdata-ndarray-bytes"
    assert content["properties"] == {
        "text": {"type": "string"},
        "whole": {"type": "integer"},
        "real": {"type": "number"},
        "yes": {"type": "boolean"},
        "raw": {"type": "string", "format": "byte", "contentEncoding": "base64"},
        "words": {"type": "array", "items": {"type": "string"}},
        "open_dict": {"type": "object"},
        "table": {"type": "object", "additionalProperties": {"type": "integer"}},
        "any_array": {"$ref": f"{base}/1.0.0#/$defs/ndarray"},
        "typed": {"$ref": f"{base}/1.1.0#/$defs/ndarray", "dtype": "float32"},
        "shaped": {
            "$ref": f"{base}/1.1.0#/$defs/ndarray",
            "dtype": "uint8",
            "shape": [None, 3],
            "dimensionNames": ["pixel", "channel"],
        },
        "perhaps": {"$ref": f"{base}/1.1.0#/$defs/ndarray", "dtype": "int64"},
    } | {"defaulted": {"type": "integer"}}
    assert "perhaps" not in content["required"]
    assert content["propertyOrder"] == [field.name for field in fields_of(Everything)]
    assert versions == {"ndarrayBytes": "1.1.0"}


def test_a_decoded_type_reads_what_the_declared_one_wrote() -> None:
    built: Any = type_of(from_json_schema("Everything", to_json_schema(schema_of(Everything))[0]))
    rng = np.random.default_rng(0)
    sample = Everything(
        "é", -5, 0.5, True, b"\0\xff", ["a"], {"k": [1, None]}, {"n": 2}, rng.random((2, 2)), rng.random(3).astype("f4"),
        np.zeros((4, 3), np.uint8), None,
    )  # fmt: skip
    read = built.from_bytes(sample.packed)
    assert read.packed == sample.packed
    assert pickle.loads(pickle.dumps(read)) == read
    with pytest.raises(TypeError):
        built(text="only")


def test_decoded_types_cross_into_spawned_workers() -> None:
    program = (
        "import multiprocessing as mp, pickle, numpy as np\n"
        "from atdata.samples import Array, Field, Scalar\n"
        "from atdata.schema import SampleSchema, type_of\n"
        "if __name__ == '__main__':\n"
        "    T = type_of(SampleSchema('T', (Field('x', Array(np.float32)), Field('n', Scalar('int')))))\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n"
        "        back = pool.map(type, [T(x=np.zeros(2, np.float32), n=1)])[0]\n"
        "    assert back is T\n"
        "    print('same')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "same", done.stderr


OTHER_WRITERS = [
    ({"type": "integer"}, Scalar("int"), True),
    ({"type": ["string", "null"]}, Maybe(Scalar("str")), True),
    ({"oneOf": [{"type": "number"}, {"type": "null"}]}, Maybe(Scalar("float")), True),
    ({"anyOf": [{"type": "number"}]}, Scalar("float"), True),
    ({"type": "string", "format": "byte"}, Scalar("bytes"), True),
    ({"type": "string", "format": "date-time"}, Scalar("str"), True),
    ({"type": "array"}, ListOf(Plain()), True),
    ({"type": "object", "additionalProperties": False}, DictOf(Plain()), True),
    ({}, Plain(), True),
    ({"$ref": "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"}, Array(), True),
    (
        {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "dtype": ">f4"},
        Array(np.float32),
        True,
    ),
    (
        {
            "$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray",
            "dtype": "datetime64[ns]",
        },
        Array(np.datetime64),
        True,
    ),
    (
        {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "dtype": "no such"},
        Array(),
        True,
    ),
    (
        {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "shape": [2, None]},
        Array(None, Shape(2, None)),
        True,
    ),
    ({"type": "boolean"}, Maybe(Scalar("bool")), False),
]


@pytest.mark.parametrize(("node", "expected", "required"), OTHER_WRITERS)
def test_what_other_writers_say(node: dict[str, Any], expected: FieldType, required: bool) -> None:
    content = {"type": "object", "properties": {"x": node}, "required": ["x"] if required else []}
    assert from_json_schema("T", content).fields == (Field("x", expected),)


REFUSED = [
    {"$ref": "https://evil.example/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"},
    {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.0.0#/$defs/ndarray/../x"},
    {"$ref": "https://json-schema.alt.science/atdata-sparse-bytes/1.1.0#/$defs/sparse"},
    {"$ref": 5},
    {"type": "tuple"},
    {"type": ["string", "integer"]},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {"anyOf": [{"type": "null"}]},
    {"type": "array", "items": [{"type": "string"}]},
    "string",
    None,
    {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "shape": [-1]},
    {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "shape": "abc"},
    {"$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray", "shape": [1] * 40},
]


@pytest.mark.parametrize("node", REFUSED, ids=repr)
def test_what_no_sample_can_hold_is_refused_by_name(node: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        from_json_schema("T", {"properties": {"x": node}, "required": ["x"]})
    assert (caught.value.path or "").startswith("properties.x")


@pytest.mark.parametrize("content", [{}, {"properties": 3}, {"properties": {1: {}}}, {"properties": []}])
def test_what_is_no_schema_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        from_json_schema("T", content)


@pytest.mark.parametrize("name", ["class", "from_bytes", "packed", "a b", "__init__", "", "9", "ﬁ", "a.b", "__class__"])
def test_names_that_no_attribute_can_have(name: str) -> None:
    with pytest.raises(SchemaError) as caught:
        type_of(SampleSchema("T", (Field(name, Scalar("int")),)))
    assert "DictSample" in str(caught.value)


@pytest.mark.parametrize("name", ["cls", "self", "schema", "fields", "_private", "é", "print"])
def test_names_that_only_look_odd(name: str) -> None:
    built: Any = type_of(SampleSchema("T", (Field(name, Scalar("int")),)))
    assert getattr(built.from_bytes(built(**{name: 3}).packed), name) == 3


@pytest.mark.parametrize("name", ["a-b", "9lives", "class", "'); import os; ('", "", "𝕏 𝕐", "x" * 500])
def test_a_schemas_name_may_be_any_text(name: str) -> None:
    built = type_of(SampleSchema(name, (Field("n", Scalar("int")),)))
    assert built.__name__.isidentifier()
    assert len(built.__name__) <= 70


def test_deep_and_wide_schemas_are_refused() -> None:
    node: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        node = {"type": "array", "items": node}
    with pytest.raises(SchemaError):
        from_json_schema("T", {"properties": {"x": node}})
    wide = {f"f{number}": {"type": "string"} for number in range(2000)}
    with pytest.raises(SchemaError, match="too many fields"):
        type_of(from_json_schema("T", {"properties": wide}))


def test_a_strangers_names_reach_no_compiler() -> None:
    """Not even that of dataclasses: an audit hook sees every compilation of this process."""
    program = (
        "import sys\n"
        "from atdata.schema import from_json_schema, type_of\n"
        "seen = []\n"
        "def watch(event, args):\n"
        "    if event in ('compile', 'exec', 'import', 'os.system', 'subprocess.Popen', 'pickle.find_class'):\n"
        "        seen.append((event, repr(args)))\n"
        "type_of(from_json_schema('Warm', {'properties': {'up': {'type': 'string'}}, 'required': ['up']}))\n"
        "sys.addaudithook(watch)\n"
        "T = type_of(from_json_schema('CanaryType', {'properties': {'canary_field': {'type': 'string'}}, 'required': ['canary_field']}))\n"
        "sample = T(canary_field='x')\n"
        "assert T.from_bytes(sample.packed) == sample and 'canary_field' in repr(sample)\n"
        "print([event for event in seen if 'canary' in event[1].lower()])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_types_from_schemas_are_made_like_dataclasses() -> None:
    built: Any = type_of(
        SampleSchema("T", (Field("a", Scalar("int")), Field("b", Scalar("str")), Field("c", Maybe(Scalar("int")))))
    )
    assert built(1, "x") == built(a=1, b="x") == built(1, b="x", c=None)
    assert [field.name for field in dataclasses.fields(built)] == ["a", "b", "c"]
    assert dataclasses.replace(built(1, "x"), a=2).a == 2
    for wrong in (lambda: built(1), lambda: built(1, "x", 3), lambda: built(1, "x", a=1), lambda: built(1, "x", d=1)):
        with pytest.raises(TypeError):
            wrong()


def test_optional_fields_may_stand_before_required_ones() -> None:
    built: Any = type_of(SampleSchema("T", (Field("a", Maybe(Scalar("int"))), Field("b", Scalar("int")))))
    sample = built(b=2)
    assert (sample.a, sample.b) == (None, 2)
    assert [field.name for field in fields_of(built)] == ["a", "b"]
    assert built.from_bytes(sample.packed) == sample


def read_or_refused(content: dict[str, Any]) -> SampleSchema | None:
    try:
        return from_json_schema("T", content)
    except SchemaError as error:
        if not (error.path or "").startswith("properties.x"):
            raise
        return None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["number", "string", "a", "0.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "items", "enum", "names", "values", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from([*sorted(LABELS), "no such", ""]), st.sampled_from(["string", "integer", "number", "boolean", "array", "object"]),
       st.dictionaries(st.sampled_from(["names", "values", "items", "unit", "class", "dtype", "library"]), JUNK, max_size=4),
       st.dictionaries(st.sampled_from(["enum", "title", "properties", "required", "items", "description", "minimum"]), JUNK, max_size=4))  # fmt: skip
def test_a_strangers_kinds_are_read_or_refused(
    label: str, kind: str, ours: dict[str, Any], node: dict[str, Any]
) -> None:
    content = {"properties": {"x": {"type": kind, **node, "atdata": {**ours, "type": label}}}, "required": ["x"]}
    if (schema := read_or_refused(content)) is None:
        return
    built = type_of(schema)
    assert schema_of(built, "T") == schema
    assert from_json_schema("T", to_json_schema(schema)[0]) == schema


@given(
    st.sampled_from(sorted(REFERENCES)),
    st.dictionaries(st.sampled_from(["class", "dtype", "items", "library"]), JUNK, max_size=3),
)
def test_a_strangers_formats_are_read_or_refused(ref: str, ours: dict[str, Any]) -> None:
    content = {"properties": {"x": {"$ref": ref, "atdata": ours}}, "required": ["x"]}
    if (schema := read_or_refused(content)) is None:
        return
    assert schema_of(type_of(schema), "T") == schema


@pytest.mark.parametrize(
    "node", [{"type": "integer", "atdata": {"type": "datetime"}}, {"type": "string", "atdata": {"type": "image"}}]
)
def test_a_kind_that_contradicts_what_is_stored_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="contradicts"):
        from_json_schema("T", {"properties": {"x": node}})


@pytest.mark.parametrize("node", [{"type": "string", "atdata": {"type": "later"}}, {"type": "string", "atdata": 3}])
def test_a_kind_of_later_is_what_is_stored(node: dict[str, Any]) -> None:
    assert from_json_schema("T", {"properties": {"x": node}, "required": ["x"]}).fields == (Field("x", Scalar("str")),)
