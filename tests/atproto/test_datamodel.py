from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cbor import MAX_DEPTH, decode, encode
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import MAX_SAFE_INTEGER, Place, check_record, from_json, is_blob, to_json
from atdata.errors import DataModelError

LINK = Cid.of_raw(b"blob")
names = st.text(max_size=8).filter(lambda name: not name.startswith("$"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.text(max_size=8)
    | st.binary(max_size=20)
    | st.builds(Cid.of_raw, st.binary(max_size=4))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
records = st.dictionaries(names, values, max_size=5)


@given(values)
def test_what_is_written_as_json_is_read_as_it_was(value: Any) -> None:
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


@given(records)
def test_a_record_is_one_in_every_form(record: dict[str, Any]) -> None:
    assert check_record(record) is record
    assert check_record(decode(encode(record))) == record
    assert check_record(from_json(to_json(record))) == record


@given(st.binary(max_size=40))
def test_base64_is_read_with_and_without_padding(data: bytes) -> None:
    padded = base64.b64encode(data).decode()
    assert from_json({"$bytes": padded}) == from_json({"$bytes": padded.rstrip("=")}) == data
    assert "=" not in to_json(data)["$bytes"]


@pytest.mark.parametrize("text", ["a", "ab=", "abc==", "====", "a b=", "ab==\n", "YWJj=", "a-_b", "é===", "YQ=A"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(DataModelError):
        from_json({"$bytes": text})


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({"a": {"b": [1, {"$link": "x"}]}}, "a.b[1]"),
        ({"a": {"$link": str(LINK), "b": 1}}, "a"),
        ({"a": [{"$bytes": None}]}, "a[0]"),
        ({"a": {"$bytes": [[[]]]}}, "a"),
        ({"a": 0.5}, "a"),
        ({"a": float("nan")}, "a"),
        ({"a": float("inf")}, "a"),
        ({"a": 1e300}, "a"),
        ({"a": 2**64}, "a"),
        ({"a": 10**5000}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"\ud800": 1}, None),
        ({1: 1}, None),
        ({"a": object()}, "a"),
        ({"a": b"bytes"}, "a"),
        ({"a": (1,)}, "a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_json_outside_the_data_model_is_refused(obj: Any, path: str | None) -> None:
    with pytest.raises(DataModelError) as caught:
        from_json(obj)
    assert caught.value.path == path


def test_a_whole_number_is_an_integer() -> None:
    value = from_json({"a": 123.0, "b": -0.0})
    assert value == {"a": 123, "b": 0}
    assert {type(item) for item in value.values()} == {int}


BLOB = {"$type": "blob", "ref": LINK, "mimeType": "application/x-tar", "size": 512}


@pytest.mark.parametrize(
    ("record", "path"),
    [
        ([], None),
        ("x", None),
        (None, None),
        ({"a": 1.0}, "a"),
        ({"a": [{"b": 0.5}]}, "a[0].b"),
        ({"a": MAX_SAFE_INTEGER + 1}, "a"),
        ({"a": -MAX_SAFE_INTEGER - 1}, "a"),
        ({"a": 10**5000}, "a"),
        ({"$type": ""}, "$type"),
        ({"a": {"$type": 7}}, "a.$type"),
        ({"a": {"$type": None}}, "a.$type"),
        ({"a": {"$type": [[]]}}, "a.$type"),
        ({"a": {"$link": str(LINK)}}, "a.$link"),
        ({"a": {"$bytes": "YQ"}}, "a.$bytes"),
        ({"a": "\ud800"}, "a"),
        ({"a": {"b": {"\ud800": 1}}}, "a.b"),
        ({"a": {1: 1}}, "a"),
        ({"a": (1,)}, "a"),
        ({"a": {**BLOB, "ref": str(LINK)}}, "a"),
        ({"a": {**BLOB, "ref": None}}, "a"),
        ({"a": {**BLOB, "mimeType": ""}}, "a"),
        ({"a": {**BLOB, "mimeType": 7}}, "a"),
        ({"a": {**BLOB, "size": "512"}}, "a"),
        ({"a": {**BLOB, "size": 0}}, "a"),
        ({"a": {**BLOB, "size": -1}}, "a"),
        ({"a": {**BLOB, "size": True}}, "a"),
        ({"a": {"$type": "blob"}}, "a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_record_is_refused(record: Any, path: str | None) -> None:
    with pytest.raises(DataModelError) as caught:
        check_record(record)
    assert caught.value.path == path


def test_blobs() -> None:
    assert is_blob(BLOB)
    assert is_blob({**BLOB, "more": 1})
    assert check_record({"a": [BLOB]})
    for name in BLOB:
        assert not is_blob({key: value for key, value in BLOB.items() if key != name})
    # The form of before $type: nothing says that it is a blob.
    assert check_record({"a": {"cid": str(LINK), "mimeType": "image/png"}})


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "maps"])
@pytest.mark.parametrize(
    "read", [from_json, to_json, lambda value: check_record({"a": value})], ids=["from", "to", "check"]
)
def test_nesting_has_a_limit(wrap: Any, read: Any) -> None:
    read(nested(MAX_DEPTH - 1, wrap))
    with pytest.raises(DataModelError, match="nested"):
        read(nested(MAX_DEPTH + 1, wrap))
    with pytest.raises(DataModelError, match="nested"):
        read(nested(900, wrap))


def test_json_is_not_written_of_floats() -> None:
    with pytest.raises(DataModelError):
        to_json({"a": 0.5})


def test_long_names_do_not_multiply() -> None:
    """Nested names of 8 KB above many leaves: paths are made for errors only."""
    value: Any = dict.fromkeys((str(n) for n in range(20_000)), 1)
    for _ in range(100):
        value = {"n" * 8192: value}
    check_record(value)
    from_json(value)


def test_a_place() -> None:
    assert str(Place() / "storage" / "shards" / 3 / "url") == "storage.shards[3].url"
    assert str(Place()) == ""
