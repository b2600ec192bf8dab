"""The loops in C against those in Python, which say what is right: each takes exactly what the other takes."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.repo import mst, node
from atdata.atproto.repo.node import TreeEntry
from atdata.errors import DataModelError, ProofError
from atdata.native import native
from support.blocks import MANY, dasl_cases, models, values

pytestmark = pytest.mark.skipif(native is None, reason="atdata/_native.c is not compiled here")

LINK = cbor.encode(Cid.of_raw(b"a"))
PARTS = [
    b"",
    b"\x80",
    b"\xa0",
    b"\x9a\x00\x01\x00\x00",
    b"\xbb" + b"\xff" * 8,
    b"\x7f",
    b"\xff",
    b"\xf9\x3c\x00",
    b"\xf6",
]
PARTS += [b"\x60", b"\x61\xff", b"\x58\x25", b"\xd8\x2a", b"\xfb\x7f\xf0" + bytes(6), b"\xfb\x80" + bytes(7), LINK]


def mutated(block: bytes, rng: random.Random) -> bytes:
    """A block with a few bytes changed, put in, taken out, or copied from elsewhere."""
    out = bytearray(block)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, size = rng.randrange(len(out) + 1), rng.randrange(6)
        other = rng.randrange(len(out) + 1)
        part = rng.choice((rng.randbytes(1), rng.choice(PARTS), bytes(out[other : other + rng.randrange(50)])))
        out[at : at + size * rng.randrange(2)] = part
        if out and rng.random() < 0.5:
            place = rng.randrange(len(out))
            out[place] = (out[place] + rng.choice((1, -1, 32, -32, 128))) % 256
    return bytes(out)


def exact(value: Any) -> Any:
    """A value with its types: to Python `1 == 1.0 == True`."""
    if isinstance(value, dict):
        return dict, [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [exact(item) for item in value]
    return type(value), value


def in_python(data: bytes, offset: int = 0) -> Any:
    try:
        value, end = cbor._value(data, offset, 0, cbor._Quota())
    except DataModelError:
        return None
    return exact(value), end


def in_c(data: bytes, offset: int = 0) -> Any:
    assert native is not None
    found: Any = native.decode_cbor(data, offset, cbor.MAX_DEPTH, cbor.MAX_ITEMS, Cid)
    return None if found is None else (exact(found[0]), found[1])


@given(values, st.randoms(use_true_random=False))
def test_values_are_the_same_whichever_loop_reads_them(value: Any, rng: random.Random) -> None:
    block = cbor.encode(value)
    assert in_c(block) == in_python(block) == (exact(cbor.decode(block)), len(block))
    for _ in range(20):
        changed = mutated(block, rng)
        assert in_c(changed) == in_python(changed), changed.hex()
        at = rng.randrange(len(changed) + 1)
        assert in_c(changed, at) == in_python(changed, at), (changed.hex(), at)


@given(st.binary(max_size=40))
def test_any_bytes_are_the_same_to_both(block: bytes) -> None:
    assert in_c(block) == in_python(block)


def test_the_cases_of_the_suite_and_hostile_blocks_are_the_same_to_both() -> None:
    deep = [bytes([byte]) * depth + b"\x00" for byte in (0x81, 0x9F) for depth in (127, 128, 129, 100_000)]
    maps = [b"\xa1\x60" * depth + b"\x00" for depth in (127, 128, 129, 100_000)]
    edges = [cbor.encode([0] * count) for count in (cbor.MAX_ITEMS - 1, cbor.MAX_ITEMS)]
    edges += [cbor.encode(number) for number in (2**63 - 1, 2**63, 2**64 - 1, -(2**63), -(2**63) - 1, -(2**64))]
    edges += [b"\xfb" + bits.to_bytes(8) for bits in (0, 1, 1 << 63, 0x7FF << 52, (0x7FF << 52) - 1, 0xFFF << 52 | 1)]
    blocks = [bytes.fromhex(case["data"]) for case in dasl_cases()] + deep + maps + edges + list(MANY.values())
    taken = [in_c(block) is not None for block in blocks]
    assert taken == [in_python(block) is not None for block in blocks]
    assert {True, False} == set(taken)
    small = [block for block in blocks if len(block) < 1000]
    assert list(map(in_c, small)) == list(map(in_python, small))


def test_a_link_that_the_loop_made_is_a_whole_cid() -> None:
    cid = Cid.of_cbor(b"x")
    read = cbor.decode(cbor.encode({"link": cid}))
    assert isinstance(read, dict)
    link = read["link"]
    assert isinstance(link, Cid)
    assert (link, hash(link), str(link), bytes(link), link.codec) == (cid, hash(cid), str(cid), bytes(cid), cid.codec)
    with pytest.raises(AttributeError):
        link._binary = b""  # type: ignore[misc]


@pytest.mark.parametrize("data", [bytearray(b"\x00"), memoryview(b"\x00"), "\0", None, 1])
def test_what_is_no_bytes_is_left_to_python(data: Any) -> None:
    assert native is not None
    assert native.decode_cbor(data, 0, 128, 100, Cid) is None
    assert native.decode_node(data, 100, 100, 100, Cid, TreeEntry) is None


def test_an_offset_beyond_the_bytes_is_refused() -> None:
    assert [in_c(b"\x00", at) for at in (-1, 1, 2, 2**62)] == [None] * 4
    assert native is not None
    with pytest.raises(TypeError):
        native.decode_cbor(b"\xf6", 0, 128, 100, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        native.decode_node(b"\xf6", 100, 100, 100, Cid, None)  # type: ignore[arg-type]


def node_in_python(block: bytes, patch: pytest.MonkeyPatch) -> Any:
    with patch.context() as plain:
        plain.setattr(cbor, "native", None)
        try:
            return node._read(block)
        except ProofError:
            return None


@given(models, st.randoms(use_true_random=False))
def test_nodes_are_the_same_whichever_loop_reads_them(model: dict[str, Cid], rng: random.Random) -> None:
    _, blocks = mst.build(model)
    patch = pytest.MonkeyPatch()
    for block in blocks.values():
        read = node._natively(block)
        assert read is not None
        assert read == node_in_python(block, patch)
        for _ in range(10):
            changed = mutated(block, rng)
            assert node._natively(changed) == node_in_python(changed, patch), changed.hex()


keys = st.one_of(
    st.binary(max_size=3), st.sampled_from([b"a/1", b"a/10", b"a/2", bytes([0xFF]), b"a" * 1024, b"b" * 1025])
)
links = st.sampled_from([None, Cid.of_raw(b"a"), Cid.of_cbor(b"a"), True, 0])
items = st.fixed_dictionaries(
    {"p": st.sampled_from([0, 1, 2, 3, 1023, 1024, -1, True, None]), "k": keys, "v": links, "t": links},
    optional={"x": st.just(1)},
)


@given(st.lists(items, max_size=4), links)
def test_what_looks_like_a_node_is_the_same_to_both(entries: list[Any], left: Any) -> None:
    block = cbor.encode({"l": left, "e": entries})
    assert node._natively(block) == node_in_python(block, pytest.MonkeyPatch())


def test_the_limits_of_a_node_are_the_same_to_both() -> None:
    leaf = Cid.of_raw(b"leaf")
    patch = pytest.MonkeyPatch()

    def chain(count: int, length: int) -> bytes:
        texts = [b"%08d" % number + b"k" * (length - 8) for number in range(count)]
        shared = [0, *(node.common_prefix_length(one, two) for one, two in pairwise(texts))]
        entries = [{"p": p, "k": t[p:], "v": leaf, "t": None} for p, t in zip(shared, texts, strict=True)]
        with patch.context() as generous:
            generous.setattr(cbor, "MAX_ITEMS", 10**6)
            return cbor.encode({"l": None, "e": entries})

    verdicts = []
    for count, length in [(256, 1024), (257, 1024), (1, 1024), (1, 1025), (13106, 8), (13107, 8)]:
        block = chain(count, length)
        verdicts.append(node._natively(block) is not None)
        assert verdicts[-1] == (node_in_python(block, patch) is not None), (count, length)
    assert verdicts == [True, False, True, False, True, False]


def written(value: object) -> bytes | None:
    out = bytearray()
    try:
        cbor._write(out, value, 0, cbor._Quota())
    except DataModelError:
        return None
    return bytes(out)


class Word(str):
    """Text of a type of its own."""


odd = st.sampled_from(
    [
        (1,),
        {1},
        object(),
        "�",
        {"�": 1},
        {1: 2},
        {"a": {b"b": 1}},
        2**64,
        -(2**64) - 1,
        10**500,
        math.nan,
        -0.0,
        math.inf,
        Word("word"),
        {Word("b"): 1, "a": Word("")},
        bytearray(b"a"),
        True,
        -(2**63) - 1,
        2**63,
        {"": []},
    ]
)
anything = st.recursive(
    odd | values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


@given(anything)
def test_what_is_written_is_the_same_whichever_loop_writes_it(value: Any) -> None:
    assert native is not None
    assert native.encode_cbor(value, cbor.MAX_DEPTH, cbor.MAX_ITEMS, Cid) == written(value)


def test_the_limits_of_what_is_written_are_the_same_to_both() -> None:
    assert native is not None
    nested: list[Any] = []
    for _ in range(cbor.MAX_DEPTH - 1):
        nested = [nested]
    loop: list[Any] = []
    loop.append(loop)
    texts = ["x" * size for size in (0, 23, 24, 255, 256, 65_535, 65_536, 1_000_000)]
    many = [[0] * count for count in (cbor.MAX_ITEMS, cbor.MAX_ITEMS + 1)] + [{str(n): n for n in range(1000)}]
    cases = [nested, [nested], loop, *texts, *map(str.encode, texts), *many, *(2**n - 1 for n in range(66))]
    for case in [*cases, *(-(2**n) for n in range(66))]:
        assert native.encode_cbor(case, cbor.MAX_DEPTH, cbor.MAX_ITEMS, Cid) == written(case)


def test_floats_are_read_bit_by_bit() -> None:
    for number in (1.5, 5e-324, math.pi, -1e308):
        assert cbor.decode(cbor.encode(number)) == number
