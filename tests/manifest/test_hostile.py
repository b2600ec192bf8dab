"""Manifests by people who mean harm, and by disks that fail: one typed error, or what was written."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import atdata
from atdata.errors import AtdataError, DigestError, ShardError
from atdata.manifest import File, Header, Manifest, ManifestBuilder, SampleDigests
from atdata.manifest.header import MAX_HEADER
from atdata.manifest.pages import MAX_FILE, Thrift
from atdata.shards import Digest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@atdata.packable
class Row:
    number: int | None
    real: float
    name: str
    flag: bool
    tags: list[str]


SIZE = 1 << 20


def build(count: int = 300) -> tuple[bytes, bytes]:
    builder = ManifestBuilder(Row)
    for n in range(count):
        row = Row(None if n % 7 == 0 else n, n / 3, f"name {n % 5}", n % 2 == 0, [f"t{n % 4}"] * (n % 3))
        builder.add(f"{n:06d}", 512 + n * 1024, 100 + n % 400, row)
        builder.add_digest(bytes([n % 256]) * 32)
    return builder.finish(Digest.sha256(b"shard"), SIZE)


HEADER, ROWS = build()


def bound(rows: bytes, **changed: Any) -> bytes:
    """The header of a publisher who stands by these rows."""
    header = Header.decode(HEADER, "header")
    return replace(header, rows=File(Digest.sha256(rows), len(rows)), **changed).encode()


def same(one: Manifest, other: Manifest) -> bool:
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("offsets", "sizes", "digests"))
    columns = all(list(one.column(name)) == list(other.column(name)) for name in other.rows.fields)
    return arrays and columns and one.keys == other.keys and one.rows.fields == other.rows.fields


WHOLE = Manifest.read(HEADER, ROWS)


def outcome(header: bytes, rows: bytes) -> Manifest | AtdataError:
    began = time.monotonic()
    try:
        return Manifest.read(header, rows)
    except (ShardError, DigestError) as error:
        return error
    finally:
        assert time.monotonic() - began < 1


def test_every_cut_of_the_rows_is_told():
    for length in [*range(0, len(ROWS), 97), len(ROWS) - 1]:
        assert isinstance(outcome(HEADER, ROWS[:length]), ShardError)
        assert isinstance(outcome(bound(ROWS[:length]), ROWS[:length]), ShardError)


def test_every_cut_of_the_header_is_told():
    for length in range(len(HEADER)):
        assert isinstance(outcome(HEADER[:length], ROWS), ShardError)


def flips(raw: bytes, count: int) -> list[bytes]:
    chance = random.Random(7)
    flipped = []
    for _ in range(count):
        damaged = bytearray(raw)
        damaged[chance.randrange(len(raw))] ^= chance.randrange(1, 256)
        flipped.append(bytes(damaged))
    return flipped


def test_flipped_bytes_are_told():
    for rows in flips(ROWS, 500):
        assert isinstance(outcome(HEADER, rows), DigestError)


def test_flipped_bytes_that_their_publisher_stands_by_are_told_or_change_nothing():
    told = 0
    for rows in flips(ROWS, 500):
        found = outcome(bound(rows), rows)
        told += isinstance(found, AtdataError)
        assert isinstance(found, AtdataError) or same(found, WHOLE)
    assert told > 400


def test_flipped_bytes_with_the_right_checksums_do_no_harm():
    """What is in a page may be anything its publisher likes; it is still within the shard, and of the types it says."""
    chance = random.Random(8)
    spans = pages(ROWS)
    told = 0
    for _ in range(1000):
        start, at, end = chance.choice(spans)
        damaged = bytearray(ROWS)
        damaged[chance.randrange(at, end)] ^= chance.randrange(1, 256)
        crc = zlib.crc32(damaged[at:end])
        head = ROWS[start:at].replace(zigzag(zlib.crc32(ROWS[at:end])), zigzag(crc))
        if len(head) != at - start:
            continue
        damaged[start:at] = head
        found = outcome(bound(bytes(damaged)), bytes(damaged))
        told += isinstance(found, AtdataError)
        if isinstance(found, Manifest):
            assert len(found) == len(found.keys) == 300
            assert int((found.offsets + found.sizes).max()) <= SIZE
    assert told > 50


def pages(raw: bytes) -> list[tuple[int, int, int]]:
    """Where each page starts, where its content does, and where it ends."""
    metadata = pq.ParquetFile(pa.BufferReader(raw)).metadata
    found = []
    for column in range(metadata.num_columns):
        chunk = metadata.row_group(0).column(column)
        at = chunk.data_page_offset
        while at < chunk.data_page_offset + chunk.total_compressed_size:
            reader = Thrift(raw, at, "")
            length = reader.fields()[3]
            found.append((at, reader.at, reader.at + length))
            at = reader.at + length
    return found


def zigzag(crc: int) -> bytes:
    signed = crc - (1 << 32) if crc >> 31 else crc
    value = (signed << 1) ^ (signed >> 31)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.slow
def test_footers_that_would_end_the_process_are_refused():
    """Some values there, such as a codec that does not exist, pyarrow meets with `abort()`."""
    chance = random.Random(9)
    start = len(ROWS) - 8 - int.from_bytes(ROWS[-8:-4], "little")
    for _ in range(3000):
        damaged = bytearray(ROWS)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(start, len(ROWS))] = chance.randrange(256)
        found = outcome(bound(bytes(damaged)), bytes(damaged))
        assert isinstance(found, AtdataError) or len(found) == 300


def test_flipped_bytes_of_the_header_are_told_or_say_something_smaller():
    for header in flips(HEADER, 500):
        found = outcome(header, ROWS)
        assert isinstance(found, AtdataError) or same(found, WHOLE)


def changed(**columns: Any) -> bytes:
    table = pq.read_table(pa.BufferReader(ROWS))
    fields, arrays = list(table.schema), list(table.columns)
    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        fields[index] = fields[index].with_nullable(fields[index].nullable)
        arrays[index] = pa.chunked_array([pa.array(values, fields[index].type)])
    return dump(pa.Table.from_arrays(arrays, schema=pa.schema(fields)))


def dump(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    given = {"compression": "none", "use_dictionary": False, "write_page_checksum": True, "store_schema": False}
    pq.write_table(table, sink, **{**given, **options})
    return sink.getvalue().to_pybytes()


def table() -> Any:
    return pq.read_table(pa.BufferReader(ROWS))


def test_the_same_rows_written_by_another_are_read():
    rows = dump(table())
    assert same(Manifest.read(bound(rows), rows), WHOLE)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("statistics", [True, False])
def test_the_same_rows_written_in_other_ways_are_read(compression, statistics):
    rows = dump(table(), compression=compression, write_statistics=statistics, row_group_size=64)
    assert same(Manifest.read(bound(rows), rows), WHOLE)


def test_pages_that_become_larger_than_a_manifest_may_be_are_refused():
    """A few kilobytes of zstd that are a hundred megabytes of one letter."""
    count = MAX_FILE // 256 + 1
    names = pa.array(["x" * 256] * count)
    fixed = [pa.array([f"{n:06d}" for n in range(count)]), pa.array(range(512, 512 + 1024 * count, 1024))]
    fixed += [pa.array([1] * count), pa.array([bytes(32)] * count, pa.binary(32))]
    fields = [field for field in table().schema if not field.nullable]
    bomb = pa.Table.from_arrays([*fixed, names], schema=pa.schema([*fields, pa.field("name", pa.string())]))
    rows = dump(bomb, compression="zstd")
    assert len(rows) < MAX_FILE // 10
    assert isinstance(outcome(bound(rows, samples=count), rows), ShardError)


OFFSETS, SIZES = WHOLE.offsets.tolist(), WHOLE.sizes.tolist()
LIES = {
    "outside": lambda: changed(__offset__=[*OFFSETS[:-1], SIZE - 512]),
    "far outside": lambda: changed(__offset__=[*OFFSETS[:-1], 2**63 - 512]),
    "before": lambda: changed(__offset__=[-512, *OFFSETS[1:]]),
    "where no header fits": lambda: changed(__offset__=[0, *OFFSETS[1:]]),
    "in each other": lambda: changed(__size__=[513, *SIZES[1:]]),
    "huge": lambda: changed(__size__=[*SIZES[:-1], 2**63 - 1]),
    "negative": lambda: changed(__size__=[-1, *SIZES[1:]]),
    "not in order": lambda: changed(__offset__=[OFFSETS[1], OFFSETS[0], *OFFSETS[2:]]),
    "twice": lambda: changed(__offset__=[OFFSETS[1], *OFFSETS[1:]]),
    "between blocks": lambda: changed(__offset__=[513, *OFFSETS[1:]]),
    "a key twice": lambda: changed(__key__=["x"] * 300),
    "fewer rows": lambda: dump(table().slice(0, 299)),
    "more rows": lambda: dump(pa.concat_tables([table(), table()])),
    "no digest": lambda: dump(table().drop_columns(["__digest__"])),
    "another order": lambda: dump(table().select(["__offset__", "__key__", "__size__", "__digest__"])),
    "a column that nobody announced": lambda: dump(table().append_column("other", table().column("real"))),
    "a column twice": lambda: dump(table().append_column("real", table().column("real"))),
    "nulls": lambda: dump(table().set_column(1, pa.field("__offset__", pa.int64()), [[None, *OFFSETS[1:]]])),
    "another type": lambda: dump(
        table().set_column(1, pa.field("__offset__", pa.float64(), False), [list(map(float, OFFSETS))])
    ),
    "short digests": lambda: dump(
        table().set_column(
            3,
            pa.field("__digest__", pa.binary(31), False),
            pa.chunked_array([pa.array([bytes(31)] * 300, pa.binary(31))]),
        )
    ),
    "a column of structs": lambda: dump(table().append_column("real2", pa.array([{"a": 1}] * 300))),
    "compressed as we do not": lambda: dump(table(), compression="snappy"),
    "a minimum above a value": lambda: misstated("number", b"\x08" + number(1), b"\x08" + number(2)),
    "a maximum below a value": lambda: misstated("number", b"\x08" + number(299), b"\x08" + number(298)),
    "a text that sorts later": lambda: misstated("name", b"name 0", b"name 1"),
    "a count of nulls": lambda: misstated("number", b"\x16" + varint(43 << 1), b"\x16" + varint(42 << 1)),
    "with a dictionary": lambda: dump(table(), use_dictionary=True),
    "without checksums": lambda: dump(table(), write_page_checksum=False),
    "text that is no UTF-8": lambda: ROWS_NOT_UTF8(),
}


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def misstated(column: str, said: bytes, lie: bytes) -> bytes:
    """The rows with other statistics of a column in the footer."""
    start = len(ROWS) - 8 - int.from_bytes(ROWS[-8:-4], "little")
    at = ROWS.index(said, ROWS.index(column.encode(), start + 300))
    assert len(said) == len(lie)
    return ROWS[:at] + lie + ROWS[at + len(said) :]


def ROWS_NOT_UTF8() -> bytes:
    field = pa.field("name", pa.string())
    raw = pa.array([b"\xff\xfe"] * 300, pa.binary())
    text = pa.StringArray.from_buffers(300, raw.buffers()[1], raw.buffers()[2])
    return dump(table().set_column(table().schema.get_field_index("name"), field, text))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_its_publisher_stands_by_is_refused(lie):
    rows = LIES[lie]()
    assert isinstance(outcome(bound(rows), rows), ShardError)


OF_DIGESTS = (
    "no digest",
    "another order",
    "a column twice",
    "short digests",
    "compressed as we do not",
    "without checksums",
)


@pytest.mark.parametrize("lie", OF_DIGESTS)
def test_digests_alone_are_read_as_strictly(lie):
    rows = LIES[lie]()
    with pytest.raises(ShardError):
        SampleDigests.decode(rows, "rows")


def test_flipped_bytes_in_what_is_decoded_alone_are_told_or_change_nothing():
    whole = SampleDigests.decode(ROWS, "rows")
    for rows in flips(ROWS, 300):
        try:
            found = SampleDigests.decode(rows, "rows")
        except ShardError:
            continue
        assert found.keys.equals(whole.keys)
        assert np.array_equal(found.digests, whole.digests)


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda _: [],
    "another version": lambda h: {**h, "version": 2},
    "no version": lambda h: {name: value for name, value in h.items() if name != "version"},
    "no shard": lambda h: {name: value for name, value in h.items() if name != "shard"},
    "another algorithm": lambda h: {**h, "shard": {"digest": {"algorithm": "md5", "digest": "0" * 32}, "size": 1}},
    "a negative size": lambda h: {**h, "shard": {**h["shard"], "size": -1}},
    "a smaller shard": lambda h: {**h, "shard": {**h["shard"], "size": 4096}},
    "more samples": lambda h: {**h, "samples": 301},
    "text for a number": lambda h: {**h, "samples": "300"},
    "fields that are none": lambda h: {**h, "fields": {"number": 5}},
    "fewer fields than columns": lambda h: {**h, "fields": {}},
    "counts that are none": lambda h: {
        **h,
        "fields": {**h["fields"], "name": {**h["fields"]["name"], "counts": [["a"]]}},
    },
    "too long": lambda h: {**h, "provenance": {"source": "x" * MAX_HEADER}},
}


FACTS = {
    "another minimum": ("number", {"min": 0}),
    "another maximum": ("real", {"max": 1000.0}),
    "another mean": ("flag", {"mean": 0.75}),
    "a mean of nothing like it": ("number", {"mean": 1e300}),
    "NaN where there is none": ("real", {"nans": 1}),
    "fewer values": ("number", {"count": 1}),
    "fewer nulls": ("number", {"nulls": 0}),
    "other counts": ("name", {"counts": (("name 0", 61), ("name 1", 59))}),
    "a value that does not occur": ("name", {"counts": (("name 9", 300),)}),
    "an item that does not occur": ("tags", {"items": ("t0", "t1", "t2", "t3", "t4")}),
    "an item too few": ("tags", {"items": ("t0",)}),
    "another type": ("number", {"type": "float"}),
    "an unknown type": ("number", {"type": "complex"}),
    "another kind": ("name", {"kind": "set"}),
}


@pytest.mark.parametrize("fact", FACTS)
def test_a_header_that_contradicts_its_rows_is_refused(fact):
    name, changed = FACTS[fact]
    fields = Header.decode(HEADER, "header").fields
    assert isinstance(outcome(bound(ROWS), ROWS), Manifest)
    told = outcome(bound(ROWS, fields={**fields, name: replace(fields[name], **changed)}), ROWS)
    assert isinstance(told, ShardError)
    assert name in (told.actual or "")


def test_a_header_that_says_less_is_one():
    fields = Header.decode(HEADER, "header").fields
    unsaid = dict.fromkeys(("nans", "min", "max", "mean", "counts", "items"))
    less = {name: replace(aggregate, **unsaid) for name, aggregate in fields.items()}
    assert isinstance(outcome(bound(ROWS, fields=less), ROWS), Manifest)


@pytest.mark.parametrize("lie", HEADERS)
def test_a_header_that_is_none_is_refused(lie):
    raw = json.dumps(HEADERS[lie](json.loads(HEADER))).encode()
    assert isinstance(outcome(raw, ROWS), ShardError)


@pytest.mark.parametrize(
    "raw", [b"", b"[" * 500_000, b'{"version": NaN}', b"\xff", b"1" * 100_000, b'{"version":1,"samples":' + b"9" * 9000]
)
def test_json_that_is_none_is_refused(raw):
    assert isinstance(outcome(raw, ROWS), ShardError)


def test_members_that_are_not_known_are_passed_over():
    header = json.loads(HEADER)
    header["later"] = header["fields"]["name"]["later"] = 5
    assert same(Manifest.read(json.dumps(header).encode(), ROWS), WHOLE)


def test_no_samples_are_a_manifest_too():
    header, rows = build(0)
    manifest = Manifest.read(header, rows)
    assert (len(manifest), manifest.keys, manifest.digests.shape) == (0, [], (0, 32))


def test_pages_that_claim_more_than_they_hold_are_refused_before_they_are_decoded():
    """A list column whose one page claims 2^31 - 1 items, with the checksum that goes with it."""
    raw = bytearray(ROWS)
    claims = 0
    for start, at, end in pages(ROWS):
        reader = Thrift(ROWS, start, "")
        count = reader.fields()[5][1]
        old = varint(count << 1)
        for most in (count + 1, 2**13 - 1):
            if len(varint(most << 1)) != len(old) or bytes(raw[start:at]).count(old) != 1:
                continue
            damaged = bytes(raw[:start]) + bytes(raw[start:at]).replace(old, varint(most << 1)) + bytes(raw[at:])
            assert isinstance(outcome(bound(damaged), damaged), ShardError), (start, end)
            claims += 1
    assert claims > 5


def test_row_groups_that_stand_on_the_same_bytes_are_refused():
    metadata = pq.ParquetFile(pa.BufferReader(ROWS)).metadata
    for _ in range(8):
        metadata.append_row_groups(metadata)
    sink = pa.BufferOutputStream()
    metadata.write_metadata_file(sink)
    footer = sink.getvalue().to_pybytes()[4:]
    rows = ROWS[: -8 - int.from_bytes(ROWS[-8:-4], "little")] + footer
    assert pq.ParquetFile(pa.BufferReader(rows)).metadata.num_rows == 300 * 256
    assert isinstance(outcome(bound(rows, samples=300 * 256), rows), ShardError)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.slow
def test_bombs_are_refused_within_memory():
    """A dictionary of one large text that a million rows name."""
    script = """
        import resource, sys
        import pyarrow as pa, pyarrow.parquet as pq
        from atdata.errors import ShardError
        from atdata.manifest.parquet import decode_rows

        count = 1_000_000
        bomb = pa.table(
            {"__key__": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 1_000_000])},
        )
        sink = pa.BufferOutputStream()
        offsets = pa.array([0] * count, pa.int64())
        schema = pa.schema([pa.field("__key__", pa.string(), False), pa.field("__offset__", pa.int64(), False),
                            pa.field("__size__", pa.int64(), False), pa.field("__digest__", pa.binary(32), False)])
        bomb = bomb.append_column("__offset__", offsets).append_column("__size__", offsets)
        bomb = bomb.append_column("__digest__", pa.array([bytes(32)] * count, pa.binary(32)))
        small = bomb.schema
        pq.write_table(bomb.cast(pa.schema([pa.field("__key__", small.field(0).type, False), *list(schema)[1:]])), sink,
                       store_schema=False, write_page_checksum=True, compression="zstd")
        raw = sink.getvalue().to_pybytes()
        del bomb, offsets
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            decode_rows(raw, "bomb")
        except ShardError as error:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024
