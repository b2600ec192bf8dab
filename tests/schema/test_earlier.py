"""The earlier implementation (atdata 0.7.0b1 on PyPI) reads every kind of field as what is stored.

Its rules, told by what it does with the nodes of a schema: words in a `$ref` are looked for wherever they stand, `type` must be
one text, `items` one node, and whatever else a node says is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.schema import schema_of, to_json_schema
from support.kinds import TABLE, sample_type

WORDS = ("ndarray", "sparse", "structured", "safetensors", "arrow", "tensor", "dataframe")
TYPES = {"integer": int, "number": float, "boolean": bool}

EXPECTED = {
    "ClassLabel": int, "Literal of ints": int, "Enum of ints": int, "unit": float, "bool": bool, "datetime": str,
    "date": str, "time": str, "timedelta": str, "Decimal": str, "UUID": str, "Enum of text": str, "Literal": str,
    "Image": bytes, "array": "ndarray", "image": "ndarray", "structured": "structured", "csr_array": "sparse",
    "pyarrow.Tensor": "arrow", "safetensors": "safetensors", "pandas.DataFrame": "dataframe", "variadic tuple": [int],
    "list of arrays": ["ndarray"], "datetimes": [str],
}  # fmt: skip


def earlier(node: dict[str, Any]) -> Any:
    """The type that it makes of a node: a Python type, the word of an array format, or a list with one of these."""
    reference = node.get("$ref", "").lower()
    for word in WORDS:
        if word in reference:
            return word
    kind = node.get("type", "")
    if kind == "string":
        return bytes if node.get("format") == "byte" or node.get("contentEncoding") == "base64" else str
    if kind == "array":
        items = node.get("items")
        return [earlier(items)] if items else [str]
    return TYPES.get(kind, str)


def nodes(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


def node_of(name: str) -> dict[str, Any]:
    content, _ = to_json_schema(schema_of(sample_type(name)))
    return json.loads(json.dumps(content))["properties"]["value"]


@pytest.mark.parametrize("name", TABLE)
def test_nothing_in_a_schema_is_more_than_it_reads(name: str) -> None:
    for part in nodes(node_of(name)):
        assert not isinstance(part, float)
        if isinstance(part, dict) and "type" in part and "atdata" not in part.get("type", ""):
            assert isinstance(part["type"], str)
    assert isinstance(node_of(name).get("items", {}), dict)
    earlier(node_of(name))


@pytest.mark.parametrize("name", EXPECTED)
def test_it_takes_a_kind_for_what_is_stored(name: str) -> None:
    assert earlier(node_of(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=10)
@given(data=st.data())
def test_what_is_stored_is_of_the_type_that_it_takes(name: str, data: st.DataObject) -> None:
    stored = msgspec.msgpack.decode(sample_type(name)(1, data.draw(TABLE[name].values)).packed)["value"]
    taken = earlier(node_of(name))
    if stored is None:
        assert name in TABLE
    elif isinstance(taken, list):
        assert isinstance(stored, list)
    elif isinstance(taken, str):
        assert isinstance(stored, bytes)
    elif not isinstance(stored, dict):  # of which it has no type
        assert isinstance(stored, taken)
