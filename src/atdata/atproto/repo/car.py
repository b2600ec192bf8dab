"""CAR files, version 1: blocks in a row, each checked against its CID.

https://dasl.ing/car.html, https://ipld.io/specs/transport/car/carv1/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import DataModelError, LimitError, ProofError

_MAX_VARINT_LENGTH = 9  # of the unsigned-varint specification: 63 bits
_CID_LENGTH = 36
MAX_CAR_BLOCKS = 1 << 18
"""Blocks of one file: each costs memory and a hash, however short it is."""


class Car(Struct, frozen=True):
    """The contents of a CAR file.

    Attributes:
        roots: what it is about; in a repository's file the first one is the commit.
        blocks: every block by its CID, in the order of the file. Each was hashed: the bytes are what the CID names.
    """

    roots: tuple[Cid, ...]
    blocks: Mapping[Cid, bytes]


def read_car(data: bytes) -> Car:
    """Read a whole CAR file and hash every block. A block may stand there twice.

    Raises:
        DataModelError: not a CAR file, cut short, or with bytes left over; `path` is the offset.
        ProofError: a block is not what its CID names: `expected` is the CID, `actual` that of the bytes.
        LimitError: there are more than `MAX_CAR_BLOCKS`.
    """
    start, end = _section(data, 0)
    roots = _read_header(data[start:end])
    blocks: dict[Cid, bytes] = {}
    left = MAX_CAR_BLOCKS
    while end < len(data):
        left -= 1
        if left < 0:
            raise LimitError("a CAR file has more blocks than are read", expected=f"at most {MAX_CAR_BLOCKS}")
        start, end = _section(data, end)
        cid, block = _read_cid(data[start : min(start + _CID_LENGTH, end)], start), data[start + _CID_LENGTH : end]
        if not cid.matches(block):
            raise ProofError(
                "a block is not what its CID names",
                step="car",
                path=f"byte {start}",
                expected=cid,
                actual=Cid.from_digest(cid.codec, Cid.of_raw(block).digest),
                hint="The file was damaged or forged: fetch it again, or from elsewhere.",
            )
        blocks[cid] = block
    return Car(roots, blocks)


def write_car(roots: Iterable[Cid], blocks: Mapping[Cid, bytes]) -> bytes:
    """The CAR file of some blocks, in their order. That each block is what its CID names is up to the caller."""
    header = cbor.encode({"version": 1, "roots": list(roots)})
    out = bytearray(_varint(len(header)) + header)
    for cid, block in blocks.items():
        out += _varint(_CID_LENGTH + len(block)) + bytes(cid) + block
    return bytes(out)


def _fail(at: int, what: str, **facts: Any) -> NoReturn:
    raise DataModelError(f"not a CAR file: {what}", path=f"byte {at}", **facts)


def _section(data: bytes, at: int) -> tuple[int, int]:
    """The beginning and end of the section whose length stands at `at`."""
    length, shift, start = 0, 0, at
    while True:
        if start >= len(data):
            _fail(at, "it ends early")
        byte = data[start]
        length |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            break
        if start - at >= _MAX_VARINT_LENGTH:
            _fail(at, "a length of more than 63 bits")
    if byte == 0 and start - at > 1:
        _fail(at, "a length not in its shortest form")
    if length == 0:
        _fail(at, "an empty section")
    if length > len(data) - start:
        _fail(at, "it ends early", expected=f"{length} bytes", actual=f"{len(data) - start} bytes")
    return start, start + length


def _read_cid(data: bytes, at: int) -> Cid:
    try:
        return Cid.from_bytes(data)
    except DataModelError as error:
        _fail(at, "a block's CID is not of the blessed form", expected=error.expected, actual=error.actual)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_header(block: bytes) -> tuple[Cid, ...]:
    match cbor.decode(block):
        # To Python True is 1, to a header it is not.
        case {"version": int(version), "roots": list(roots), **rest} if (
            version == 1 and version is not True and not rest
        ):
            pass
        case _:
            _fail(0, "not a header of version 1")
    links = tuple(root for root in roots if isinstance(root, Cid))
    if len(links) < len(roots):
        _fail(0, "roots that are not links")
    return links
