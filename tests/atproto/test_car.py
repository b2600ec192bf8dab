from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.repo.car import read_car, write_car
from atdata.errors import AtdataError, DataModelError, ProofError

contents = st.lists(st.tuples(st.sampled_from([Cid.of_raw, Cid.of_cbor]), st.binary(max_size=300)), max_size=6)


def car_of(blocks: list[bytes]) -> bytes:
    return write_car([Cid.of_raw(block) for block in blocks[:1]], {Cid.of_raw(block): block for block in blocks})


SMALL = car_of([b"one", b"two", b"", b"x" * 200])


@given(contents)
def test_a_file_is_read_as_it_was_written(content: list[tuple[type, bytes]]) -> None:
    blocks = {make(block): block for make, block in content}
    roots = list(blocks)[:2]
    car = read_car(write_car(roots, blocks))
    assert car.roots == tuple(roots)
    assert list(car.blocks.items()) == list(blocks.items())


@given(st.integers(0, len(SMALL) * 8 - 1))
def test_no_bit_can_be_changed_unnoticed(bit: int) -> None:
    data = bytearray(SMALL)
    data[bit // 8] ^= 1 << bit % 8
    good = read_car(SMALL)
    try:
        car = read_car(bytes(data))
    except (DataModelError, ProofError):
        return
    # Left are bits of the root, which is only a name, and of the codec of a CID: neither makes other bytes pass.
    assert set(car.blocks.values()) == set(good.blocks.values())
    assert all(cid.matches(block) for cid, block in car.blocks.items())
    assert car.roots != good.roots or car.blocks != good.blocks


def test_a_file_cut_short_is_refused_wherever_it_is_cut() -> None:
    whole = read_car(SMALL)
    for end in range(len(SMALL)):
        try:
            car = read_car(SMALL[:end])
        except AtdataError as error:
            assert isinstance(error, DataModelError)  # noqa: PT017
        else:
            # At the end of a block a file may end: what is missing then is found missing by the proof.
            assert len(car.blocks) < len(whole.blocks)


@given(st.binary(min_size=1, max_size=40))
def test_bytes_at_the_end_are_refused(more: bytes) -> None:
    with pytest.raises((DataModelError, ProofError)):
        read_car(SMALL + more)


def test_a_wrong_block_is_named() -> None:
    cid = Cid.of_raw(b"right")
    with pytest.raises(ProofError) as caught:
        read_car(write_car([cid], {cid: b"wrong"}))
    assert (caught.value.step, caught.value.expected, caught.value.actual) == (
        "car",
        str(cid),
        str(Cid.of_raw(b"wrong")),
    )
    assert caught.value.path.startswith("byte ")


def test_a_block_may_come_twice() -> None:
    block = car_of([b"one"])
    header = block[: block.index(b"\x27")]
    assert len(read_car(block + block[len(header) :]).blocks) == 1


def section(body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([len(body)]) + body


ROOTLESS = section(cbor.encode({"version": 1, "roots": []}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x80",
        b"\xff" * 20,
        b"\x80" * 8 + b"\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        section(b"\xa0"),
        section(cbor.encode([])),
        section(cbor.encode({"version": 2, "roots": []})),
        section(cbor.encode({"version": True, "roots": []})),
        section(cbor.encode({"version": 1})),
        section(cbor.encode({"version": 1, "roots": None})),
        section(cbor.encode({"version": 1, "roots": ["x"]})),
        section(cbor.encode({"version": 1, "roots": [], "more": 1})),
        section(cbor.encode({"version": 1, "roots": []}) + b"\0"),
        ROOTLESS[:1] + b"\x80" + ROOTLESS[1:],
        bytes([ROOTLESS[0] | 0x80, 0]) + ROOTLESS[1:],
        ROOTLESS + b"\x00",
        ROOTLESS + section(bytes(35)),
        ROOTLESS + section(bytes(40)),
        ROOTLESS + b"\x7f",
    ],
)
def test_what_is_no_file_is_refused(data: bytes) -> None:
    with pytest.raises(DataModelError) as caught:
        read_car(data)
    assert caught.value.path or caught.value.expected


def test_a_file_of_nothing() -> None:
    assert read_car(ROOTLESS).blocks == {}
    assert write_car([], {}) == ROOTLESS
