"""Promise: of JSON, msgpack and CBOR nothing is left out: a key that stands twice is an error, and so is what no double holds."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import SampleError
from atdata.samples import formats
from atdata.samples.kinds import Plain
from atdata.samples.layout import file_reader
from atdata.samples.unambiguous import pairs_in, pairs_in_cbor, pairs_in_msgpack, read_json_text

cbor2 = pytest.importorskip("cbor2", reason="CBOR needs the extra [cbor]")

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(width=32, allow_nan=False)
    | st.text(max_size=40)
)
KEYS = st.text(max_size=40)
VALUES = st.recursive(
    PLAIN | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=40,
)
JSON_VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)


class Pairs(list):
    """A map as pairs, in which a key may stand twice."""


def in_msgpack(value: Any) -> bytes:
    """A value in msgpack, with float32 and maps of 32 bits, as some writers have them."""
    if isinstance(value, Pairs):
        return b"\xdf" + len(value).to_bytes(4, "big") + b"".join(in_msgpack(k) + in_msgpack(v) for k, v in value)
    if isinstance(value, list):
        return b"\xdc" + len(value).to_bytes(2, "big") + b"".join(map(in_msgpack, value))
    return msgpack.packb(value, use_single_float=True)


def in_cbor(value: Any) -> bytes:
    """A value in CBOR, with maps, lists and texts whose end is marked."""
    if isinstance(value, Pairs):
        return b"\xbf" + b"".join(in_cbor(k) + in_cbor(v) for k, v in value) + b"\xff"
    if isinstance(value, list):
        return b"\x9f" + b"".join(map(in_cbor, value)) + b"\xff"
    if isinstance(value, str):
        return b"\x7f" + cbor2.dumps(value) + cbor2.dumps("") + b"\xff"
    return cbor2.dumps(value)


def in_json(value: Any) -> bytes:
    if isinstance(value, Pairs):
        return b"{" + b", ".join(json.dumps(k).encode() + b" : " + in_json(v) for k, v in value) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(in_json, value)) + b"]"
    return json.dumps(value).encode()


def as_pairs(value: Any, double: Any = None) -> Any:
    """A value whose maps are pairs; the first pair of one that is `double` stands there once more."""
    if isinstance(value, dict):
        pairs = Pairs((key, as_pairs(item, double)) for key, item in value.items())
        return Pairs([*pairs, pairs[0]]) if value is double else pairs
    return [as_pairs(item, double) for item in value] if isinstance(value, list) else value


def maps_in(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * (isinstance(value, dict) and bool(value)) + [found for item in inner for found in maps_in(item)]


@given(VALUES)
def test_pairs_are_counted_however_a_value_is_written(value: Any) -> None:
    count = pairs_in(value)
    assert count == sum(map(len, maps_in(value)))
    odd = as_pairs(value)
    for data in (msgspec.msgpack.encode(value), msgpack.packb(value), in_msgpack(odd)):
        assert pairs_in_msgpack(data) == count
    for data in (cbor2.dumps(value), cbor2.dumps(value, canonical=True), in_cbor(odd)):
        assert pairs_in_cbor(data) == count


WRITERS = {"json": in_json, "mp": in_msgpack, "cbor": in_cbor}


@pytest.mark.parametrize("extension", WRITERS)
@given(value=JSON_VALUES, data=st.data())
def test_a_key_that_stands_twice_is_an_error_at_any_depth(extension: str, value: Any, data: st.DataObject) -> None:
    read = formats.format_of(extension).read
    write = WRITERS[extension]
    assert read(write(as_pairs(value))) == (value if extension != "mp" else read(write(as_pairs(value))))
    if some := maps_in(value):
        double = data.draw(st.sampled_from(some))
        with pytest.raises(ValueError, match="stands twice"):
            read(write(as_pairs(value, double)))


def test_tags_and_keys_of_other_kinds() -> None:
    value = {1: cbor2.CBORTag(4711, {"a": {"b": 1}}), (1, 2): {"c"}}
    data = cbor2.dumps(value)
    assert pairs_in_cbor(data) == pairs_in(cbor2.loads(data)) == 4
    assert pairs_in_msgpack(msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"abc"))) == 0
    assert Counter(map(pairs_in_msgpack, (msgpack.packb(msgpack.ExtType(1, bytes(n))) for n in range(70)))) == {0: 70}


def test_the_error_names_the_key_and_the_number() -> None:
    for data, said in ((b'{"a": 1, "b": {"k": 1, "k": 2}}', "'k'"), (b'{"a": 1e999}', "1e999"), (b"-1e400", "-1e400")):
        with pytest.raises(SampleError) as caught:
            file_reader("json", Plain())(data)
        assert said in str(caught.value)
    with pytest.raises(SampleError, match="stands twice"):
        file_reader("mp", Plain())(bytes.fromhex("82a16101a16102"))
    assert math.isinf(read_json_text("Infinity"))
    assert read_json_text("\ufeff1".encode()) == read_json_text("1".encode("utf-16")) == 1
