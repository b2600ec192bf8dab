"""DAG-CBOR: the DASL test suite (105 cases), the round trip as a law, and hostile blocks."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cbor import MAX_DEPTH, MAX_ITEMS, decode, decode_first, encode
from atdata.atproto.cid import Cid
from atdata.errors import DataModelError
from support.blocks import MANY, dasl_cases, values

pytestmark = pytest.mark.usefixtures("either_form")

# What the `invalid_out` cases ask an encoder to refuse; their data is CBOR that no DAG-CBOR decoder gives a value for.
UNWRITABLE: dict[str, Any] = {
    "f7": object(),
    "e0": object(),
    "c07819323032352d30352d32365431363a31383a31372d30343a3030": datetime(2025, 5, 26, tzinfo=UTC),
    "a10000": {0: 0},
    "f97e00": float("nan"),
    "f97c00": float("inf"),
    "f9fc00": float("-inf"),
    "fb8000000000000000": -0.0,
    "c249010000000000000000": 2**64,
}

SHORT_FLOAT = "DAG-CBOR has 64-bit floats only; the suite's dag-cbor cases refuse these bytes"
# Of the 105 cases, those that ask for what DAG-CBOR or the AT Protocol forbid: other profiles of CBOR, as their tags say.
NOT_OURS = {
    ("roundtrip", "f93e00"): SHORT_FLOAT,
    ("roundtrip", "f97e00"): SHORT_FLOAT,
    ("roundtrip", "f90000"): SHORT_FLOAT,
    ("invalid_in", "fb3ff8000000000000"): "the same, seen from the other side: 1.5 in 64 bits is the DAG-CBOR form",
    ("roundtrip", "c249010000000000000000"): "no tag but 42; the suite's dag-cbor cases refuse these bytes",
    ("roundtrip", "c349010000000000000000"): "no tag but 42",
    ("roundtrip", "a20a00f9490000"): "map keys are text, floats have 64 bits",
    ("invalid_in", "6365cc81"): "text is not normalized; the suite's dag-cbor case accepts these bytes",
    ("roundtrip", "d82a58250001551e208e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"): (
        "a BLAKE3 link ('Big DASL'); the AT Protocol blesses sha-256, and what cannot be checked is not read"
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case['type']} {case['name']}") for case in dasl_cases()])
def test_dasl_case(case: dict[str, Any]) -> None:
    block = bytes.fromhex(case["data"])
    kind = case["type"]
    if (kind, case["data"]) in NOT_OURS:
        assert not {"basic", "dag-cbor"} & set(case["tags"])
        kind = {"roundtrip": "invalid_in", "invalid_in": "roundtrip"}[kind]
    if kind == "roundtrip":
        assert encode(decode(block)) == block
        return
    with pytest.raises(DataModelError):
        decode(block) if kind == "invalid_in" else encode(UNWRITABLE[case["data"]])


def test_no_dasl_case_is_left_out() -> None:
    cases = dasl_cases()
    assert len(cases) == 105
    assert set(NOT_OURS) <= {(case["type"], case["data"]) for case in cases}


@given(values)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    read = decode(encode(value))
    assert read == value
    # To Python 1 == 1.0 == True.
    assert encode(read) == encode(value)


@given(st.binary(max_size=64))
def test_a_block_is_the_one_form_of_its_value_or_refused(block: bytes) -> None:
    try:
        value = decode(block)
    except DataModelError:
        return
    assert encode(value) == block


@given(values, st.data())
def test_every_changed_bit_changes_the_value_or_is_refused(value: Any, data: st.DataObject) -> None:
    block = bytearray(encode(value))
    place = data.draw(st.integers(0, len(block) * 8 - 1))
    block[place // 8] ^= 1 << place % 8
    try:
        changed = decode(bytes(block))
    except DataModelError:
        return
    assert encode(changed) != encode(value)


@given(values)
def test_a_block_cut_short_is_refused_wherever_it_is_cut(value: Any) -> None:
    block = encode(value)
    for end in range(len(block)):
        with pytest.raises(DataModelError):
            decode(block[:end])


@given(values, values)
def test_values_in_a_row_are_read_one_by_one(first: Any, second: Any) -> None:
    row = encode(first) + encode(second)
    value, end = decode_first(row)
    assert (encode(value), row[end:]) == (encode(first), encode(second))
    assert decode_first(row, end)[1] == len(row)
    with pytest.raises(DataModelError, match="after the end"):
        decode(row)


@given(st.dictionaries(st.text(max_size=30), st.integers(), max_size=10))
def test_keys_are_sorted_by_length_and_then_by_bytes(entries: dict[str, int]) -> None:
    entries = {key: value % 24 for key, value in entries.items()}
    backwards = dict(reversed(entries.items()))
    assert encode(backwards) == encode(entries)
    written = list(decode(encode(entries)))
    assert written == sorted(entries, key=lambda key: (len(key.encode()), key.encode()))


def test_the_published_identifiers() -> None:
    assert str(Cid.of_cbor(encode({"a": 1}))) == "bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey"
    named = Cid.of_cbor(encode({"name": "test", "value": 42}))
    assert str(named) == "bafyreidnzhwcbncg3avwjjao5o6wx4zhnksmxhdo6w5iaqupexnmzdlb54"


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x60", b"\xd8\x2a\x81"])
def test_nesting_has_a_limit(opening: bytes) -> None:
    with pytest.raises(DataModelError):
        decode(opening * 100_000 + b"\x00")


def test_nesting_up_to_the_limit_is_read_and_written() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode(encode(value)) == value
    with pytest.raises(DataModelError, match="nested"):
        encode([value])
    with pytest.raises(DataModelError, match="nested"):
        decode(b"\x81" + encode(value))


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(DataModelError, match="nested"):
        encode(loop)


@pytest.mark.parametrize("major", range(2, 6))
@pytest.mark.parametrize("length", [1, 2**16, 2**32, 2**63, 2**64 - 1])
def test_a_length_is_checked_against_the_bytes_there_are(major: int, length: int) -> None:
    block = bytes([major << 5 | 27]) + length.to_bytes(8) if length >= 2**32 else encode(length)
    block = bytes([block[0] & 31 | major << 5]) + block[1:]
    with pytest.raises(DataModelError, match="ends early"):
        decode(block)


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a": {b"b": 1}}, (1,), {1}, object(), "\ud800", {"\ud800": 1}, 2**64, -(2**64) - 1, 10**5000],
    ids=lambda value: str(type(value)),
)
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(DataModelError, match="no DAG-CBOR form"):
        encode(value)


def test_an_error_names_the_byte() -> None:
    with pytest.raises(DataModelError) as caught:
        decode(bytes.fromhex("82 01 18 01"))
    assert caught.value.path == "byte 2"


@pytest.mark.parametrize("name", MANY)
def test_a_block_of_many_small_values_is_refused_before_they_are_made(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataModelError, match="more than"):
            decode(MANY[name])
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_what_is_read_and_what_is_written_has_one_limit() -> None:
    most = [None] * MAX_ITEMS
    assert decode(encode(most)) == most
    for value in (
        [*most, None],
        [[None] * (MAX_ITEMS // 2), [None] * (MAX_ITEMS // 2)],
        dict.fromkeys(map(str, [*range(MAX_ITEMS + 1)])),
    ):
        with pytest.raises(DataModelError, match="more than"):
            encode(value)
