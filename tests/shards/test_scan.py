"""The index of a shard: the bulk scan says what the careful reader says, or leaves the question to it."""

from __future__ import annotations

import io
import itertools
import os
import random
import tarfile
import tracemalloc
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atdata.errors import ShardError, TruncatedShardError
from atdata.shards import scan
from atdata.shards.grouping import grouped, index_of
from atdata.shards.index import ShardIndex
from atdata.shards.memory_map import check_unchanged, map_file, read_file
from atdata.shards.rows import scan_rows, scan_shard
from atdata.shards.scan import scan_packed
from atdata.shards.tar import BLOCK, scan_members
from atdata.shards.writer import END, tar_member
from support import MANY
from support.oracles import VECTORS, needs_vectors

webdataset = pytest.importorskip("webdataset")

pytestmark = pytest.mark.usefixtures("either_form")

Places = list[tuple[int, int]]
Row = tuple[str, bytes]


def places(index: ShardIndex) -> Places:
    assert index.starts.dtype == index.sizes.dtype == "int64"
    assert index.starts.shape == index.sizes.shape == (len(index),)
    return list(zip(index.starts.tolist(), index.sizes.tolist(), strict=True))


def truth(data: bytes) -> Places | type[ShardError]:
    """What the careful reader says."""
    try:
        members = scan_members(io.BytesIO(data), len(data), "test.tar")
        return places(index_of(list(grouped(members, "test.tar")), "test.tar"))
    except ShardError as error:
        return type(error)


def in_bulk(data: bytes) -> Places | None:
    index = scan_packed(io.BytesIO(data), len(data))
    return None if index is None else places(index)


def agreed(data: bytes) -> Places | None:
    """What the bulk scan says, which is never anything but the truth."""
    found = in_bulk(data)
    if found is not None:
        assert found == truth(data)
    return found


def scanned(data: bytes) -> Places | type[ShardError]:
    try:
        return places(scan_shard(io.BytesIO(data), len(data), "test.tar"))
    except ShardError as error:
        return type(error)


# --- who writes shards -----------------------------------------------------------------------------------------------


def ours(rows: list[Row]) -> bytes:
    return b"".join(tar_member(*row) for row in rows) + END


def by_webdataset(rows: list[Row]) -> bytes:
    file = io.BytesIO()
    with webdataset.TarWriter(file) as sink:
        for key, body in rows:
            sink.write({"__key__": key, "msgpack": body})
    return file.getvalue()


def by_tarfile(kind: int, mtime: float = 0) -> Callable[[list[Row]], bytes]:
    def write(rows: list[Row]) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
            for key, body in rows:
                info = tarfile.TarInfo(f"{key}.msgpack")
                info.size, info.mtime = len(body), mtime  # type: ignore[assignment]
                archive.addfile(info, io.BytesIO(body))
        return file.getvalue()

    return write


WRITERS = {
    "ours": ours,
    "webdataset": by_webdataset,
    "ustar": by_tarfile(tarfile.USTAR_FORMAT),
    "gnu": by_tarfile(tarfile.GNU_FORMAT),
    "pax": by_tarfile(tarfile.PAX_FORMAT),
    "pax with times": by_tarfile(tarfile.PAX_FORMAT, 1700000000.25),
}
COMMON = ["ours", "webdataset", "ustar", "pax", "pax with times"]  # GNU has another magic


def _uuids() -> list[str]:
    chance = random.Random(1)
    return [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(300)]


PLAIN_KEYS = {
    "sorted": [f"{n:09d}" for n in range(300)],
    "unsorted": [f"{n * 7919 % 300:06d}" for n in range(300)],
    "of several lengths": [str(n) for n in range(300)],
    "uuids": _uuids(),
    "one": ["a"],
    "as long as they may be": [f"{n:088d}" for n in range(20)],
}
OTHER_KEYS = {
    "unicode": [f"größe-{n}" for n in range(30)],
    "in folders": [f"train/{n:03d}" for n in range(30)],
    "of 89 to 92 letters": ["k" * n for n in range(89, 93)],
    "of more than 100 letters": [f"{n:0120d}" for n in range(30)],
    "long and in folders": [f"{'f' * 60}/{'g' * 30}/{n:060d}" for n in range(30)],
    "of one kind and then another": [f"{n:03d}" for n in range(100)] + ["ü"] + [f"{n:03d}" for n in range(101, 120)],
    "none": [],
}
SIZES = [0, 1, 511, 512, 513, 1024, 3000, 17]


def fits(writer: str, key: str) -> bool:
    """Whether the format has room for the name."""
    return writer != "ustar" or len(key) < 91 or "/" in key


def rows_of(keys: list[str]) -> list[Row]:
    return [(key, bytes([65 + n % 26]) * SIZES[n % len(SIZES)]) for n, key in enumerate(keys)]


@pytest.mark.parametrize("keys", PLAIN_KEYS)
@pytest.mark.parametrize("writer", WRITERS)
def test_ordinary_shards_are_scanned_in_bulk_and_as_the_careful_reader_scans_them(writer, keys):
    data = WRITERS[writer](rows_of(PLAIN_KEYS[keys]))
    found = in_bulk(data)
    assert (found is not None) == (writer in COMMON)
    expected = truth(data)
    assert found in (None, expected)
    assert scanned(data) == expected
    bodies = [data[start : start + size] for start, size in expected]  # type: ignore[union-attr]
    assert bodies == [body for _, body in rows_of(PLAIN_KEYS[keys])]


@pytest.mark.parametrize("keys", OTHER_KEYS)
@pytest.mark.parametrize("writer", WRITERS)
def test_shards_with_other_names_are_scanned_all_the_same(writer, keys):
    rows = [row for row in rows_of(OTHER_KEYS[keys]) if fits(writer, row[0])]
    data = WRITERS[writer](rows)
    agreed(data)
    expected = truth(data)
    assert len(expected) == len(rows)
    assert scanned(data) == expected


@pytest.mark.parametrize("writer", ["ours", "webdataset"])
def test_many_small_samples_take_several_windows(writer, monkeypatch):
    monkeypatch.setattr(scan, "WINDOW", 1 << 20)
    data = WRITERS[writer]([(f"{n:09d}", b"x" * (n % 5)) for n in range(5000)])
    assert len(data) > 3 * scan.WINDOW
    assert agreed(data) is not None


def test_an_archive_may_end_just_where_a_window_does():
    """2^n samples of a kilobyte: nothing rare."""
    data = ours([(f"{n:09d}", b"x") for n in range(2 * scan.WINDOW // (2 * BLOCK))])
    assert len(data) == 2 * scan.WINDOW + len(END)
    assert agreed(data) is not None


def test_large_samples_are_left_to_the_careful_reader():
    data = ours([(str(n), bytes(3 * scan.WINDOW + n)) for n in range(3)])
    assert in_bulk(data) is None
    assert scanned(data) == truth(data)


def test_a_large_sample_among_small_ones_is_framed():
    sizes = [100] * 40 + [2 * scan.WINDOW + 1] + [100] * 4000
    data = ours([(f"{n:06d}", b"a" * size) for n, size in enumerate(sizes)])
    assert agreed(data) is not None


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_is_scanned_as_bytes_are(tmp_path, writer):
    data = WRITERS[writer](rows_of(PLAIN_KEYS["uuids"]))
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(100)  # wherever it stands
        assert places(scan_shard(file, len(data), "test.tar")) == truth(data)
        in_file = scan_packed(file, len(data))
    assert (None if in_file is None else places(in_file)) == in_bulk(data)


# --- windows that begin and end anywhere -----------------------------------------------------------------------------

TAR_INSIDE = ours([("inner", b"A" * 600), ("other", b"")])
PAX_INSIDE = WRITERS["pax with times"]([("inner", b"A" * 600)])
BODIES = [
    b"",
    b"B" * 3000,
    TAR_INSIDE,
    PAX_INSIDE,
    END,
    PAX_INSIDE[:BLOCK],  # an extended header is the last that a window may show
    bytes(257) + b"ustar\0" + b"00" + bytes(300),
    tar_member("a", b"")[:BLOCK] * 3,
    b"C" * 512,
]


def windows_over(data: bytes, blocks: Iterable[int]) -> list[Places | None]:
    """What the bulk scan says when it looks at so many blocks at a time."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for count in blocks:
            patch.setattr(scan, "WINDOW", count * BLOCK)
            found.append(agreed(data))
    return found


@pytest.mark.parametrize("writer", WRITERS)
def test_where_windows_begin_changes_nothing(writer):
    data = WRITERS[writer]([(f"{n:04d}", BODIES[n % len(BODIES)]) for n in range(40)])
    assert isinstance(truth(data), list)
    windows_over(data, range(1, 40))
    ordinary = WRITERS[writer]([(f"{n:04d}", b"x" * (n * 97 % 1500)) for n in range(40)])
    if writer in COMMON:  # three blocks: an extended header, its body, and the header it belongs to
        assert None not in windows_over(ordinary, range(3, 60))


member_parts = st.tuples(
    st.sampled_from(sorted(WRITERS)),
    st.sampled_from([*BODIES, b"ust" * 200]) | st.binary(max_size=1200),
    st.sampled_from(["{:04d}", "{:d}", "f/{:d}", "ü{:d}", "{:0110d}", "{0:d}" + "k" * 80, "same"]),
)


@pytest.mark.slow
@settings(max_examples=100 if not MANY else 20_000)
@given(
    st.lists(member_parts, max_size=12),
    st.integers(1, 24),
    st.sampled_from(
        [END, bytes(BLOCK), bytes(20 * BLOCK), bytes(BLOCK + 1), END + b"x", bytes(1000), b"", END + TAR_INSIDE]
    ),
)
@example([("pax with times", b"", "{:d}")] * 3, 3, END)
def test_members_of_all_writers_in_one_shard(parts, window, end):
    data = b"".join(member(writer, form.format(n), body) for n, (writer, body, form) in enumerate(parts)) + end
    windows_over(data, [window])
    agreed(data)
    assert scanned(data) == truth(data)


def member(writer: str, key: str, body: bytes) -> bytes:
    """An archive of one member, less its end mark and what fills it up."""
    data = WRITERS[writer if fits(writer, key) else "pax"]([(key, body)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (info,) = archive.getmembers()
        return data[: info.offset_data + info.size + -info.size % BLOCK]


# --- the end ---------------------------------------------------------------------------------------------------------

ROWS = [(f"{n:03d}", b"A" * (n * 211 % 1400)) for n in range(12)]
SHARDS = {name: WRITERS[name](ROWS).rstrip(b"\0") for name in COMMON}
SHARDS = {name: data + bytes(-len(data) % BLOCK) for name, data in SHARDS.items()}


@pytest.mark.parametrize("name", SHARDS)
def test_an_end_mark_is_two_blocks_of_zeros_or_more(name):
    whole = SHARDS[name]
    for blocks in (2, 3, 20, 5000):
        assert agreed(whole + bytes(blocks * BLOCK)) == truth(whole + END)
        assert agreed(whole + bytes(blocks * BLOCK + 7)) == truth(whole + END)
    for short in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1):
        assert in_bulk(whole + bytes(short)) is None
        assert scanned(whole + bytes(short)) is TruncatedShardError


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize(
    "junk", [b"x", bytes(5000) + b"x", bytes(2 << 20) + b"x", tar_member("z", b""), bytes(BLOCK) + ours(ROWS)]
)
def test_anything_after_the_end_mark_is_noticed(name, junk):
    assert in_bulk(SHARDS[name] + END + junk) is None
    assert scanned(SHARDS[name] + END + junk) is ShardError


def test_a_shard_may_be_empty():
    for data in (END, bytes(20 * BLOCK)):
        assert agreed(data) in (None, [])
        assert scanned(data) == []
    for data in (b"", bytes(BLOCK), bytes(2 * BLOCK - 1)):
        assert in_bulk(data) is None
        assert scanned(data) is TruncatedShardError


@pytest.mark.parametrize("name", SHARDS)
def test_a_cut_anywhere_is_noticed(tmp_path, name):
    """At every block and three times inside it; in a file, which is mapped, from the end to the beginning."""
    data = SHARDS[name] + END
    path = tmp_path / "cut.tar"
    path.write_bytes(data)
    cuts = sorted({start + off for start in range(0, len(data), BLOCK) for off in (0, 1, 156, 511)})
    with path.open("rb") as file:
        for cut in reversed(cuts):
            os.truncate(path, cut)
            assert scanned(data[:cut]) is TruncatedShardError
            with pytest.raises(TruncatedShardError) as caught:
                scan_shard(file, cut, "cut.tar")
            assert caught.value.uri == "cut.tar"


@pytest.mark.parametrize("left", [0, 100, BLOCK, 5 * BLOCK, 4096, 5000, -1024, -1])
def test_a_file_cut_after_its_size_was_asked_for_is_noticed(tmp_path, left):
    data = SHARDS["ours"] + END
    path = tmp_path / "cut.tar"
    path.write_bytes(data)
    with path.open("rb") as file:
        os.truncate(path, left % len(data))
        with pytest.raises(ShardError):
            scan_shard(file, len(data), "cut.tar")
    with pytest.raises(ShardError):
        scan_shard(io.BytesIO(data[: left % len(data)]), len(data), "cut.tar")


def test_a_stream_without_a_file_gives_its_bytes():
    memory = map_file(io.BytesIO(b"0123456789"), 2, 7)
    assert (memory.data.tobytes(), memory.base, len(memory)) == (b"23456", 2, 5)


@pytest.mark.parametrize("scattered", [False, True])
def test_a_piece_of_a_file_is_mapped_from_wherever_it_begins(tmp_path, scattered):
    body = random.Random(3).randbytes(20_000)
    (tmp_path / "a").write_bytes(body)
    with (tmp_path / "a").open("rb") as file:
        for start, stop in [(0, 20_000), (1, 2), (4095, 4097), (4096, 8192), (19_999, 20_000), (8191, 20_000)]:
            memory = map_file(file, start, stop, scattered=scattered)
            assert memory.base <= start
            assert memory.data[start - memory.base :].tobytes() == body[start:stop]
            assert not memory.data.flags.writeable


def test_a_piece_of_a_file_is_read_into_a_buffer_that_is_used_again(tmp_path):
    body = random.Random(5).randbytes(10_000)
    (tmp_path / "a").write_bytes(body)
    buffer = np.empty(8192, np.uint8)
    with (tmp_path / "a").open("rb") as file:
        for start, stop in [(0, 8192), (1, 2), (5, 5), (1808, 10_000)]:
            memory = read_file(file, start, stop, buffer)
            assert (memory.data.tobytes(), memory.base) == (body[start:stop], start)
        with pytest.raises(ShardError, match="truncated"):
            read_file(file, 9_000, 10_001, buffer)


def test_a_file_that_was_cut_is_told_before_it_is_touched(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(9000))
    with path.open("rb") as file:
        check_unchanged(file, 9000, "a.tar")
        os.truncate(path, 8999)
        with pytest.raises(ShardError) as caught:
            check_unchanged(file, 9000, "a.tar")
        assert caught.value.uri == "a.tar"


# --- damage ----------------------------------------------------------------------------------------------------------


def header_blocks(data: bytes) -> list[int]:
    """The blocks that are not a sample's own bytes."""
    own = {start // BLOCK + n for start, size in truth(data) for n in range(-(-size // BLOCK))}  # type: ignore[misc]
    return [block for block in range(len(data) // BLOCK) if block not in own]


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


FLIPPED = [(f"{n:03d}", b"A" * (n * 400)) for n in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ours", "webdataset", "pax with times"])
def test_any_bit_of_the_first_headers_may_be_flipped(name):
    data = WRITERS[name](FLIPPED).rstrip(b"\0")
    data += bytes(-len(data) % BLOCK) + END
    expected, accepted, refused = truth(data), 0, 0
    blocks = [block for block in header_blocks(data) if block < (8 if MANY else 3)]
    for block, byte, bit in itertools.product(blocks, range(BLOCK), range(8)):
        if not (MANY or byte < 40 or 100 <= byte < 157 or 257 <= byte < 263 or (byte * 8 + bit) % 7 == 0):
            continue
        damaged = flipped(data, block * BLOCK + byte, bit)
        found = in_bulk(damaged)
        if found is None:
            refused += 1
        else:  # an extended header's body, whose time is not used and whose rest is not looked at
            accepted += 1
            assert name != "ours"
            assert found == expected == truth(damaged)
    assert refused > 1500
    assert (accepted > 0) == (name != "ours")


@pytest.mark.parametrize("name", SHARDS)
def test_bits_flipped_anywhere_among_the_headers_misframe_nothing(name):
    chance = random.Random(11)
    data = SHARDS[name] + END
    blocks, expected = header_blocks(data), truth(data)
    for _ in range(200 if not MANY else 10_000):
        damaged = data
        for _ in range(chance.choice([1, 1, 2, 3])):
            damaged = flipped(damaged, chance.choice(blocks) * BLOCK + chance.randrange(BLOCK), chance.randrange(8))
        found = in_bulk(damaged)
        assert found in (None, expected)
        assert found is None or found == truth(damaged)


def rewritten(header: bytes, at: int, value: bytes) -> bytes:
    """A header with other bytes in a place, and the checksum that belongs to them."""
    changed = bytearray(header)
    changed[at : at + len(value)] = value
    del changed[BLOCK:]
    if not 140 < at < 157:
        changed[148:156] = b" " * 8
        changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


VALUES = [
    *(bytes([n]) for n in (0, 1, 32, 46, 47, 48, 53, 55, 56, 57, 76, 103, 120, 128, 255)),
    b"\0" * 8,
    b"a/b.msgpack\0",
    b"x.msgpack\0junk",
    b"x.y.msgpack\0",
    b".msgpack\0",
    b"x.msgpack",
    b"x.msgpac",
    b"00000000001\0",
    b"77777777777\0",
    b"\x80" + bytes(10) + b"\x03",
    b"          3 ",
    b"ustar  \0",
]
FIELDS = [0, 1, 3, 8, 90, 95, 96, 99, 100, 124, 125, 134, 135, 136, 148, 153, 154, 155, 156, 157, 257, 260, 262, 263]
FIELDS += [265, 345, 346, 500, 511]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize("at", FIELDS)
def test_a_header_that_was_altered_with_its_checksum_is_judged_alike(name, at):
    data = SHARDS[name] + END
    blocks = [block for block in header_blocks(data) if data[block * BLOCK + 257 :][:5] == b"ustar"]
    places = [*blocks[:2], blocks[-1]]
    for block, value in itertools.product(places if MANY else [places[FIELDS.index(at) % 3]], VALUES):
        here = block * BLOCK
        damaged = data[:here] + rewritten(data[here : here + BLOCK], at, value) + data[here + BLOCK :]
        agreed(damaged)
        assert scanned(damaged) == truth(damaged)


@settings(max_examples=100 if not MANY else 20_000)
@given(
    st.sampled_from(sorted(SHARDS)),
    st.integers(0, 11),
    st.integers(0, BLOCK - 1),
    st.binary(min_size=1, max_size=12) | st.sampled_from(VALUES),
    st.integers(3, 40),
)
def test_any_alteration_of_a_header_is_judged_alike(name, which, at, value, window):
    data = SHARDS[name] + END
    here = BLOCK * [b for b in header_blocks(data) if data[b * BLOCK + 257 :][:5] == b"ustar"][which]
    damaged = data[:here] + rewritten(data[here : here + BLOCK], at, value) + data[here + BLOCK :]
    agreed(damaged)
    windows_over(damaged, [window])
    assert scanned(damaged) == truth(damaged)


def pax_raw(body: bytes, claimed: int | None = None) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(body) if claimed is None else claimed
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)


@pytest.mark.parametrize(
    "record",
    [
        b"20 mtime=1234567890\n",
        b"21 mtime=1234567890.\n",
        b"20 ctime=1234567890\n",
        b"20 mtime 1234567890\n",
        b"20 mtime=1234567890 ",
        b"21 mtime=1234567890\n",
        b"19 mtime=1234567890\n",
        b" 9 mtime=1234567890\n",
        b"2\xb2 mtime=1234567890\n",
        b"+20 mtime=123456789\n",
        b"20 mtime=\n9 size=9\n\n",
        b"20 mtime=12345678\n\n\n",
        b"20 mtime=\xff\xff\xff\xff\0\0\0\0\0\n\n",
        b"11 mtime=1\n9 size=0\n",
        b"11 mtime=1\n9 size=99\n",
        b"11 mtime=1\n16 path=b.txt\n",
        b"20 path=abcd.msgpack\n",
        b"99 mtime=" + b"1" * 89 + b"\n",
        b"100 mtime=" + b"1" * 89 + b"\n",
        b"020 mtime=1234567890\n",
        b"",
    ],
)
def test_an_extended_header_is_read_alike(record):
    for repeat in (1, 2, 3):
        for members in (["a"], ["a", "b"]):
            data = b"".join(pax_raw(record) * repeat + tar_member(key, b"1") for key in members) + END
            agreed(data)
            assert scanned(data) == truth(data)
            windows_over(data, range(1, 9))
    for data in (pax_raw(record) + END, tar_member("a", b"") + pax_raw(record) + END):
        agreed(data)
        assert scanned(data) == truth(data)


def test_a_header_in_the_place_of_a_body_is_no_header():
    """What an extended header's size frames is its body, whatever it looks like."""
    inner = tar_member("b", b"2")
    data = pax_raw(b"20 mtime=1234567890\n", 20 + BLOCK)[: 2 * BLOCK] + inner + tar_member("a", b"1") + END
    agreed(data)
    assert scanned(data) == truth(data)


@pytest.mark.parametrize("apart", [1, 10, 4000])
@pytest.mark.parametrize("ascending", [True, False])
def test_a_key_twice_is_noticed_also_in_another_window(apart, ascending):
    keys = [f"{n if ascending else 9999 - n:04d}" for n in range(apart)]
    data = ours([(key, b"") for key in [*keys, keys[0]]])
    assert in_bulk(data) is None
    assert scanned(data) is ShardError


def test_names_that_differ_in_their_end_alone_are_two():
    data = ours([("a", b""), ("aa", b""), ("aaaaaaaaa", b""), ("A", b"")])
    assert agreed(data) is not None


def test_a_size_beyond_the_file_is_noticed_within_bounds():
    header = tar_member("a", b"")[:BLOCK]
    data = ours([("0", b"")])[:BLOCK] + rewritten(header, 124, b"77777777777\0") + END
    tracemalloc.start()
    try:
        assert scanned(data) is TruncatedShardError
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b" + bytes(600), b"PK\3\4" + bytes(2000), b"ustar" * 1000, b"\xff" * 4096]
)
def test_what_is_no_tar_at_all_is_refused(data):
    assert in_bulk(data) is None
    assert isinstance(scanned(data), type)


@pytest.mark.timeout(30)
def test_the_memory_of_a_scan_is_what_its_index_takes(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(ours([(f"{n:06d}", b"") for n in range(40_000)]))
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            assert len(scan_shard(file, path.stat().st_size, "a.tar")) == 40_000
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


# --- archives of others ----------------------------------------------------------------------------------------------


def corpus() -> list[Any]:
    folders = [VECTORS / folder for folder in ("tar-go-archive-tar", "tar-cpython")]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return [pytest.param(path, id=f"{path.parent.name}-{path.name}"[:60]) for path in paths if path.name != "LICENSE"]


def verdict(look: Callable[[BinaryIO, int], Places], path: Path) -> Any:
    with path.open("rb") as file:
        try:
            return look(file, path.stat().st_size)
        except ShardError as error:
            return type(error), error.what, error.path, error.uri


@needs_vectors
@pytest.mark.parametrize("named_alike", [False, True], ids=["", "any name is a sample's"])
@pytest.mark.parametrize("path", corpus())
def test_an_archive_of_others_is_judged_alike(monkeypatch, path, named_alike):
    if named_alike:  # so that more than names is judged
        monkeypatch.setattr("atdata.shards.rows.scan_in_bulk", lambda *_: None)  # which reads names itself
        monkeypatch.setattr("atdata.shards.tar.Member.extension", "msgpack")
        monkeypatch.setattr("atdata.shards.tar.Member.key", property(lambda member: f"{member.name} {member.offset}"))
    expected = verdict(lambda file, size: [(m.offset, m.size) for m in scan_rows(file, size, "test.tar")], path)
    assert verdict(lambda file, size: places(scan_shard(file, size, "test.tar")), path) == expected


@needs_vectors
def test_the_corpora_are_all_here():
    assert len(corpus()) > 50
