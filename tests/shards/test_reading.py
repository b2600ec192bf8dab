"""The tar reader: every member exactly, or an error. It never ends early in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import random
import tarfile
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.errors import ShardError, TruncatedShardError
from atdata.samples import packable
from atdata.shards.rows import read_rows, scan_rows
from atdata.shards.tar import BLOCK, Member, read_members, scan_members
from atdata.shards.writer import END, tar_member
from support.oracles import VECTORS, needs_vectors

webdataset = pytest.importorskip("webdataset")


def members(data: bytes) -> list[tuple[str, bytes]]:
    return [(member.name, body) for member, body in read_members(io.BytesIO(data), len(data), "test.tar")]


def rows(data: bytes) -> list[tuple[str, bytes]]:
    return list(read_rows(io.BytesIO(data), len(data), "test.tar"))


def by_tarfile(data: bytes, **options: Any) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", **options) as archive:
        return [(info.name, archive.extractfile(info).read()) for info in archive if info.isreg()]


# --- archives of others ----------------------------------------------------------------------------------------------


def corpus() -> Iterator[Any]:
    """Every archive of the corpora, also as what it holds where it is compressed."""
    for folder in ("tar-go-archive-tar", "tar-cpython"):
        for path in sorted((VECTORS / folder).rglob("*")):
            if path.is_file() and path.suffix not in (".md", ".txt") and path.name != "LICENSE":
                raw = path.read_bytes()
                yield pytest.param(raw, id=path.name[:40])
                for magic, unpack in [
                    (b"\x1f\x8b", gzip.decompress),
                    (b"BZh", bz2.decompress),
                    (b"\xfd7z", lzma.decompress),
                ]:
                    if raw.startswith(magic) and path.suffix[1:] in ("gz", "bz2", "xz"):
                        yield pytest.param(unpack(raw), id=f"{path.name} unpacked")


ARCHIVES = list(corpus())


@needs_vectors
def test_the_corpora_are_all_here():
    assert len(ARCHIVES) == 61


@needs_vectors
@pytest.mark.timeout(10)
@pytest.mark.parametrize("data", ARCHIVES)
def test_an_archive_is_read_as_tarfile_reads_it_or_refused_within_bounds(data):
    tracemalloc.start()
    try:
        found = members(data)
    except ShardError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 << 20
    assert found == by_tarfile(data)


READ = [
    "file-and-dir.tar",
    "gnu.tar",
    "gnu-utf8.tar",
    "gnu-long-nul.tar",
    "star.tar",
    "ustar.tar",
    "v7.tar",
    "xattrs.tar",
]


@needs_vectors
@pytest.mark.parametrize("name", [*READ, "pax-records.tar", "ustar-file-devs.tar", "trailing-slash.tar"])
def test_ordinary_archives_are_not_refused(name):
    data = (VECTORS / "tar-go-archive-tar/archive/tar/testdata" / name).read_bytes()
    assert members(data) == by_tarfile(data)


LONG = "/".join(["a folder"] * 30) + "/" + "n" * 90
NAMES = ["plain", "with space", "dir/inner", "ünïcode", "名前", LONG, "x" * 99, "x" * 100, "x" * 101, LONG + "ü"]
SIZES = [0, 1, 511, 512, 513, 1024, 70_000]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_tarfile_writes_is_read(kind):
    written = []
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[kind]) as archive:
        for number, name in enumerate(NAMES):
            info = tarfile.TarInfo(f"{name}.bin")
            info.mtime = 1.5 if kind == "pax" else 1  # a float takes a PAX header, as webdataset writes
            info.size = SIZES[number % len(SIZES)]
            info.uname = "n" * 32
            body = bytes(info.size)
            try:
                archive.addfile(info, io.BytesIO(body))
            except ValueError:  # ustar has no room for the name
                continue
            written.append((info.name, body))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert len(written) == (5 if kind == "ustar" else len(NAMES))
    assert members(file.getvalue()) == written


def headed(info: tarfile.TarInfo, kind: str, body: bytes = b"") -> bytes:
    return info.tobuf(FORMATS[kind]) + body + bytes(-len(body) % BLOCK)


def test_the_oldest_format_is_read():
    def v7(name: str, body: bytes, kind: bytes = b"\0") -> bytes:
        info = tarfile.TarInfo(name)
        info.size = len(body)
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        header[156:157] = kind
        header[257:] = bytes(BLOCK - 257)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header) + body + bytes(-len(body) % BLOCK)

    data = v7("a.txt", b"A" * 600) + v7("folder/", b"") + v7("folder/b", b"B") + END
    assert members(data) == [("a.txt", b"A" * 600), ("folder/b", b"B")] == by_tarfile(data)


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_a_member_of_more_than_8_gib_is_framed(tmp_path, kind):
    large = tarfile.TarInfo("large")
    large.size = 8**11 + 1000
    small = tarfile.TarInfo("small")
    path = tmp_path / "sparse.tar"
    with path.open("wb") as file:
        file.write(headed(large, kind))
        start = file.tell()
        file.seek(large.size + -large.size % BLOCK, io.SEEK_CUR)
        file.write(headed(small, kind) + END)
    with path.open("rb") as file:
        found = list(scan_members(file, path.stat().st_size, "large.tar"))
    after = start + large.size + 24
    assert found == [Member("large", start, large.size, 0), Member("small", after + BLOCK, 0, after)]


@pytest.mark.parametrize(
    "size", [b"\x80" + bytes(10) + b"\x03", b"00000000003\0", b"         3 \0", b"3\0" + bytes(10)]
)
def test_every_spelling_of_a_size_is_read(size):
    header = bytearray(tar_member("a", b"abc")[:BLOCK])
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert members(bytes(header) + b"abc" + bytes(509) + END) == [("a.msgpack", b"abc")]


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int


def test_what_webdataset_writes_is_read(tmp_path):
    digits = [Digit(np.full((4, 4), i, "u1"), i) for i in range(20)]
    path = tmp_path / "d.tar"
    with webdataset.TarWriter(str(path)) as sink:
        for number, digit in enumerate(digits):
            sink.write({**digit.as_wds, "__key__": f"sub/{number:06d}"})
    assert rows(path.read_bytes()) == [(f"sub/{n:06d}", digit.packed) for n, digit in enumerate(digits)]


# --- damage ----------------------------------------------------------------------------------------------------------

SHARD_ROWS = [("plain", b"A" * 100), ("dir/" + "long" * 40, b"B" * 700), ("ünïcode", b""), ("last", b"D" * 512)]
SHARD = b"".join(tar_member(*row) for row in SHARD_ROWS) + END


def test_the_control_passes():
    assert rows(SHARD) == SHARD_ROWS
    assert len(list(scan_rows(io.BytesIO(SHARD), len(SHARD), "test.tar"))) == len(SHARD_ROWS)


@pytest.mark.parametrize("counting", [False, True])
def test_a_cut_anywhere_is_noticed(counting):
    cuts = sorted({block + off for block in range(0, len(SHARD), BLOCK) for off in (0, 1, 156, 511)})
    for cut in cuts:
        data = SHARD[:cut]
        with pytest.raises(TruncatedShardError) as caught:
            if counting:
                len(list(scan_rows(io.BytesIO(data), len(data), "test.tar")))
            else:
                rows(data)
        assert caught.value.uri == "test.tar"


def test_padding_after_the_end_mark_may_be_of_any_length():
    for extra in (0, 1, 511, 512, 9000, 1 << 20):
        assert rows(SHARD + bytes(extra)) == SHARD_ROWS


def test_anything_else_after_the_end_mark_is_noticed():
    for tail in (b"x", bytes(5000) + b"x", SHARD):
        with pytest.raises(ShardError):
            rows(SHARD + tail)
    with pytest.raises(ShardError):
        rows(SHARD[: -len(END)] + bytes(BLOCK) + SHARD)


def header_blocks() -> list[int]:
    """Where headers, extended headers' bodies and the end mark stand: all that is not a sample's own bytes."""
    bodies: set[int] = set()
    for member, body in read_members(io.BytesIO(SHARD), len(SHARD), "test.tar"):
        bodies |= {member.offset // BLOCK + i for i in range(-(-len(body) // BLOCK))}
    return [block for block in range(len(SHARD) // BLOCK) if block not in bodies]


def test_a_bit_flipped_in_any_header_loses_and_misframes_nothing():
    refused = 0
    for block, byte, bit in itertools.product(header_blocks(), range(BLOCK), range(8)):
        if (byte * 8 + bit) % 5 and not 100 <= byte < 157:  # every bit of the numbers, every fifth of the rest
            continue
        position = block * BLOCK + byte
        data = SHARD[:position] + bytes([SHARD[position] ^ (1 << bit)]) + SHARD[position + 1 :]
        try:
            found = rows(data)
        except ShardError:
            refused += 1
        else:
            assert found == SHARD_ROWS or names_only(found), (block, byte, bit)
    assert refused > 5000


def names_only(found: list[tuple[str, bytes]]) -> bool:
    """A PAX header's body has no checksum: there, a flip in a name goes unnoticed without a digest, but no more."""
    return [body for _, body in found] == [body for _, body in SHARD_ROWS]


def test_many_bytes_overwritten_at_random_end_in_an_error_or_in_members_that_were_written():
    chance = random.Random(7)
    for _ in range(2000):
        data = bytearray(SHARD)
        start = chance.randrange(len(data))
        data[start : start + chance.randrange(1, 64)] = chance.randbytes(chance.randrange(1, 64))
        try:
            found = rows(bytes(data))
        except ShardError:
            continue
        assert len(found) == len(SHARD_ROWS)
        assert [len(body) for _, body in found] == [len(body) for _, body in SHARD_ROWS]


# --- what a shard may not hold ---------------------------------------------------------------------------------------

TYPES = {
    "a hard link": tarfile.LNKTYPE,
    "a symbolic link": tarfile.SYMTYPE,
    "a character device": tarfile.CHRTYPE,
    "a block device": tarfile.BLKTYPE,
    "a FIFO": tarfile.FIFOTYPE,
    "a sparse file": tarfile.GNUTYPE_SPARSE,
    "an unknown type": b"Z",
    "a volume label": b"V",
    "a continued file": b"M",
}


@pytest.mark.parametrize("name", TYPES)
def test_only_regular_files_are_read(name):
    info = tarfile.TarInfo("x.msgpack")
    info.type = TYPES[name]
    info.linkname = "/etc/passwd"
    with pytest.raises(ShardError) as caught:
        rows(SHARD[: -len(END)] + headed(info, "gnu") + END)
    assert caught.value.path == "x.msgpack"


def pax(**records: str) -> bytes:
    info = tarfile.TarInfo("x.msgpack")
    info.pax_headers = {name.replace("__", "."): value for name, value in records.items()}
    return info.tobuf(tarfile.PAX_FORMAT)


def pax_raw(body: bytes, kind: bytes = b"x") -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)


PLAIN = tarfile.TarInfo("x.msgpack").tobuf(tarfile.USTAR_FORMAT)

HOSTILE: dict[str, bytes] = {
    "a sparse file by PAX": pax(GNU__sparse__major="1", GNU__sparse__minor="0"),
    "a size that is no number": pax(size="ten"),
    "a negative size": pax(size="-1"),
    "a size of 21 digits": pax(size="9" * 21),
    "a size beyond the file": pax(size="9" * 18),
    "a size in other digits": pax_raw("11 size=٣\n".encode()) + PLAIN,
    "a name with a NUL": pax_raw(b"12 path=a\0b\n") + PLAIN,
    "a name that is no UTF-8": pax_raw(b"11 path=\xff\xfe\n") + PLAIN,
    "a record of no length": pax_raw(b"0 path=abc\n") + PLAIN,
    "a record longer than its header": pax_raw(b"99 path=abc\n") + PLAIN,
    "a record shorter than itself": pax_raw(b"5 path=abc\n") + PLAIN,
    "a record without a line end": pax_raw(b"12 path=abcd") + PLAIN,
    "a record without a value": pax_raw(b"8 path \n") + PLAIN,
    "a record without a key": pax_raw(b"8 =path\n") + PLAIN,
    "a record whose length is 5,000 digits": pax_raw(b"9" * 5000 + b" path=a\n") + PLAIN,
    "a global header that names members": pax_raw(b"18 path=a.msgpack\n", b"g") + PLAIN,
    "a global header that sizes members": pax_raw(b"9 size=0\n", b"g") + PLAIN,
    "an extended header of 2 MB": pax_raw(bytes(2 << 20)) + PLAIN,
    "a long name of 2 MB": pax_raw(bytes(2 << 20), b"L") + PLAIN,
    "an extended header of nothing": pax_raw(b"12 path=abc\n"),
    "an empty name": tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_within_bounds(tmp_path, name):
    path = tmp_path / "hostile.tar"
    path.write_bytes(tar_member("before", b"1") + HOSTILE[name] + END)
    tracemalloc.start()
    try:
        with path.open("rb") as file, pytest.raises(ShardError):
            list(read_rows(file, path.stat().st_size, "hostile.tar"))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_million_extended_headers_in_a_row_take_no_memory():
    data = pax_raw(b"") * 2000 + PLAIN + END
    assert members(data) == [("x.msgpack", b"")]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.b.msgpack", "a.msgpack.gz", ".msgpack.x", "folder.d/a.json"])
def test_a_file_that_is_no_sample_is_named(name):
    info = tarfile.TarInfo(name)
    with pytest.raises(ShardError) as caught:
        rows(tar_member("0", b"\x80") + info.tobuf(tarfile.USTAR_FORMAT) + END)
    assert caught.value.path == name


def test_a_key_twice_is_noticed():
    data = tar_member("a", b"1") + tar_member("b", b"2") + tar_member("a", b"3") + END
    with pytest.raises(ShardError) as caught:
        rows(data)
    assert caught.value.path == "a.msgpack"
    with pytest.raises(ShardError):
        len(list(scan_rows(io.BytesIO(data), len(data), "test.tar")))


def test_a_key_is_the_name_up_to_the_first_dot_of_its_last_component():
    assert Member("a.b/c.d.e", 0, 0, 0).key == "a.b/c"
    assert Member("a.b/c.d.e", 0, 0, 0).extension == "d.e"
    assert Member("plain", 0, 0, 0).extension == ""


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b" + bytes(600), b"PK\x03\x04" + bytes(600), bytes(511), bytes(512)])
def test_what_is_no_tar_at_all_is_refused(data):
    with pytest.raises(ShardError):
        rows(data)


def test_an_empty_shard_holds_nothing():
    assert rows(END) == []
