"""Damage at random and everywhere: noticed with a digest, and without one no sample is lost, added or cut elsewhere.

Two writers and both forms of the scan make it 50,000 flipped bits of headers and 10,000 of samples.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import atdata
from atdata.errors import DigestError, SampleError, ShardError, TruncatedShardError
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.rows import scan_rows, scan_shard
from atdata.shards.tar import BLOCK
from atdata.shards.writer import END, tar_member
from support import MANY

webdataset = pytest.importorskip("webdataset")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("either_form")]

Framing = list[tuple[str, int, int]]


@atdata.packable
class Note:
    number: int
    text: str


NOTES = [Note(n, "x" * (n * 37 % 900)) for n in range(10)]


def ours() -> bytes:
    return b"".join(tar_member(f"{n:04d}", note.packed) for n, note in enumerate(NOTES)) + END


def theirs() -> bytes:
    file = io.BytesIO()
    with webdataset.TarWriter(file) as sink:
        for n, note in enumerate(NOTES):
            sink.write({"__key__": f"{n:04d}", "msgpack": note.packed})
    return file.getvalue()


WRITTEN = pytest.mark.parametrize("data", [ours(), theirs()], ids=["ours", "webdataset"])


def framing(data: bytes) -> Framing | type[ShardError]:
    """The samples that a shard is read as; or how it is refused."""
    try:
        index = scan_shard(io.BytesIO(data), len(data), "test.tar")
    except ShardError as error:
        return type(error)
    keys = [member.key for member in scan_rows(io.BytesIO(data), len(data), "test.tar")]
    return list(zip(keys, index.starts.tolist(), index.sizes.tolist(), strict=True))


def flips(data: bytes, among: list[int], count: int, seed: int) -> Iterator[bytes]:
    """The shard with one bit flipped somewhere in these blocks; each time another."""
    chance, damaged = random.Random(seed), bytearray(data)
    for _ in range(count):
        at, bit = chance.choice(among) * BLOCK + chance.randrange(BLOCK), 1 << chance.randrange(8)
        damaged[at] ^= bit
        yield bytes(damaged)
        damaged[at] ^= bit


def blocks(data: bytes) -> tuple[list[int], list[int]]:
    """Those with headers and the end, and those with samples."""
    own = {start // BLOCK + n for _, start, size in framing(data) for n in range(-(-size // BLOCK))}  # type: ignore[misc]
    return [n for n in range(len(data) // BLOCK) if n not in own], sorted(own)


@WRITTEN
def test_a_shard_cut_anywhere_is_refused_or_whole(data: bytes) -> None:
    expected = framing(data)
    _, start, size = expected[-1]  # type: ignore[misc]
    end = start + size + -size % BLOCK + len(END)
    for cut in (block * BLOCK + offset for block in range(len(data) // BLOCK) for offset in (0, 1, 200, 511)):
        found = framing(data[:cut])
        assert found in (
            (TruncatedShardError, ShardError) if cut < end else (expected, ShardError, TruncatedShardError)
        )


@WRITTEN
def test_no_flipped_bit_of_a_header_loses_or_moves_a_sample(data: bytes) -> None:
    digest, expected, silent = Digest.sha256(data), framing(data), 0
    for damaged in flips(data, blocks(data)[0], 50_000 if MANY else 4_000, 1):
        with pytest.raises(DigestError):
            digest.check(Digest.of_stream(io.BytesIO(damaged), digest.algorithm).hex, "test.tar")
        try:
            index = scan_shard(io.BytesIO(damaged), len(damaged), "test.tar")
        except ShardError:
            continue
        silent += 1
        assert [(start, size) for _, start, size in expected] == list(  # type: ignore[misc]
            zip(index.starts.tolist(), index.sizes.tolist(), strict=True)
        )
        if MANY or silent % 40 == 0:
            assert framing(damaged) == expected
    assert silent < (50_000 if MANY else 4_000) // 2  # in what nobody reads: the time of a file, and behind it


@WRITTEN
def test_no_flipped_bit_of_a_sample_touches_another(data: bytes) -> None:
    digest, expected = Digest.sha256(data), framing(data)
    bodies = [data[start : start + size] for _, start, size in expected]  # type: ignore[misc]
    for damaged in flips(data, blocks(data)[1], 10_000 if MANY else 2_500, 2):
        with pytest.raises(DigestError):
            digest.check(Digest.of_stream(io.BytesIO(damaged), digest.algorithm).hex, "test.tar")
        index = scan_shard(io.BytesIO(damaged), len(damaged), "test.tar")
        places = list(zip(index.starts.tolist(), index.sizes.tolist(), strict=True))
        assert places == [(start, size) for _, start, size in expected]  # type: ignore[misc]
        assert sum(body != damaged[at : at + size] for body, (at, size) in zip(bodies, places, strict=True)) <= 1


@WRITTEN
def test_with_a_digest_nothing_damaged_is_read(data: bytes, tmp_path: Path) -> None:
    path, digest = tmp_path / "a.tar", Digest.sha256(data)
    path.write_bytes(data)

    def read() -> list[Note]:
        source = FileSource((ShardRef(str(path), digest),))
        return list(atdata.Dataset[Note](source, cache=tmp_path / "cache"))

    assert [note.number for note in read()] == list(range(10))
    for where in blocks(data):
        for damaged in flips(data, where, 1_000 if MANY else 40, 3):
            path.write_bytes(damaged)
            with pytest.raises(DigestError):
                read()


@WRITTEN
def test_without_a_digest_damage_stays_where_it_is(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for number, damaged in enumerate(flips(data, blocks(data)[1], 1_000 if MANY else 60, 4)):
        path.write_bytes(damaged)
        os.utime(path, ns=(number, number))
        try:
            read = list(atdata.Dataset[Note](str(path), cache=tmp_path / "cache"))
        except (SampleError, ShardError):
            continue
        assert len(read) == len(NOTES)
        assert sum(one != other for one, other in zip(read, NOTES, strict=True)) <= 1


@pytest.mark.parametrize(
    "field", [b"\xff" * 8, b"\xc0" + bytes(7), b"\x80" + bytes(7), b"777777\0 ", b"\xbf" + b"\xff" * 7]
)
def test_a_checksum_is_told_as_the_number_that_it_is(field):
    """None is below zero, whatever stands there."""
    data = ours()
    with pytest.raises(ShardError, match="checksum does not match") as caught:
        scan_shard(io.BytesIO(data[:148] + field + data[156:]), len(data), "test.tar")
    stored, _, actual = (caught.value.actual or "").partition(", not ")
    assert (stored.isdecimal(), int(actual)) == (True, sum(data[:148]) + 8 * 32 + sum(data[156:512]))
