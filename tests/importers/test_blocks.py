"""Rows looked at and packed many at once are what they are one by one: the loops in C against Python's csv and msgspec."""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import atdata
from atdata.errors import AtdataError
from atdata.importers import arrow, cell_blocks
from atdata.native import native
from atdata.samples import table
from atdata.samples.codec import pack
from atdata.shards import write_shard
from atdata.shards.writer import NumberedMembers
from support.trials import MANY

pytestmark = pytest.mark.skipif(native is None, reason="atdata/_native.c is not compiled here")
ONCE = settings(
    deadline=None, max_examples=2000 if MANY else 60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_TEXT", 96), ("_ROWS", 5), ("_FIRST", 3)):
        monkeypatch.setattr(cell_blocks, name, value)


@pytest.fixture
def one_by_one() -> Iterator[Any]:
    """A way to do without the loops."""

    def without(do: Any, *args: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cell_blocks, "native", None)
            patch.setattr(table, "native", None)
            return do(*args)

    return without


NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(-(2**63), 2**64).map(str),
    st.floats().map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=5).map(str),
    st.from_regex(r"\A-?[0-9]{0,25}\.?[0-9]{0,25}(?:[eE][+-]?[0-9]{1,4})?\Z"),
    st.sampled_from(
        ["nan", "NaN", "-nan", "inf", "-Infinity", "+INF", "infin", "0x1", "1_0", "007", "-0", "-0.0", "+1"]
    ),
)
WORDS = st.one_of(
    st.sampled_from(
        ["true", "FALSE", "True", "truth", "Oslo", "2024-01-31", "n", "Île", "naïve", "\u3042", "\u3000a", "1\u00a0"]
    ),
    st.text("ab\"',;#\n\r\t 0\u00e9\u00a0\u2003.-\0", max_size=6),
)
CELLS = st.one_of(NUMBERS, WORDS, st.just(""), st.just(" "))
COLUMNS = st.sampled_from(
    [st.integers(-(10**6), 10**6).map(str), NUMBERS, WORDS, CELLS, st.sampled_from(["true", "False", ""])]
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Text of a table: some of it well quoted, some not; with comments, empty lines and rows that lack cells."""
    kinds = draw(st.lists(COLUMNS, min_size=1, max_size=3))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    file = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(file, lineterminator=ending, quoting=quoting)
    writer.writerow(f"c{n}" for n in range(len(kinds)))
    for _ in range(draw(st.integers(1, 20))):
        writer.writerow([draw(kind) for kind in kinds])
        if draw(st.integers(0, 15)) == 0:
            file.write(
                draw(
                    st.sampled_from(
                        [ending, "# note\n", "a,b,c,d\n", "x\"y,'\n", '"open\n', "\r", '"a"b\n', '"a\rb"\n']
                    )
                )
            )
    text = file.getvalue()
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    data = text.encode("utf-8-sig" if draw(st.booleans()) else "utf-8")
    return data if draw(st.integers(0, 20)) else data + b"\xff\n"


def told(path: Path, sample_type: type | None = None) -> Any:
    """All that an import says, does and writes."""
    try:
        source = atdata.from_csv(path, sample_type=sample_type)
        shards = source.write(path.parent / "out.tar", overwrite=True)
        return source.declaration, source.notes, dict(source.splits), shards.shards[0].digest, list(map(repr, source))
    except AtdataError as error:
        place = error.path if "UTF-8" not in error.what else None  # it is told of a piece of text, of either size
        return type(error), error.what, place, error.actual


@ONCE
@given(tables())
@example(b"a,b\n" + b"1,2\n" * 9 + b'"x\r\ny",3\n4\n')
@example(b"a,b\n" + b"1,x\n" * 9 + b'2,"a\rb"\nq,z\n5\n')
@example(b"a\n1\n\n\n2\r\n\r\n3")
@example(b"a,b\n1," + b"x" * 500 + b"\n2,y\n")
@example("a,b\n1,é\n2,\u3000x\n".encode())
def test_tables(tmp_path: Path, few_at_once: None, one_by_one: Any, text: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    assert told(path) == one_by_one(told, path)


@atdata.packable
class Row:
    b: float
    a: int | None
    c: str | None
    d: bool = False


@ONCE
@given(
    st.lists(
        st.tuples(*[st.one_of(NUMBERS, st.sampled_from(["", " ", "1", "true", "x", "2.0"]))] * 4),
        min_size=1,
        max_size=20,
    )
)
def test_a_type_of_ones_own(tmp_path: Path, few_at_once: None, one_by_one: Any, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b", "c", "d"), *rows])
    assert told(path, Row) == one_by_one(told, path, Row)


ARROW = st.sampled_from(
    [
        (pa.string(), st.text("aé\0", max_size=3)),
        (pa.large_string(), st.text(max_size=3)),
        (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b"])),
        (pa.uint8(), st.integers(0, 255)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float32(), st.floats(width=32)),
        (pa.float64(), st.floats() | st.integers(-9, 9).map(float)),
        (pa.bool_(), st.booleans()),
        (pa.date32(), st.dates()),
        (pa.list_(pa.int8()), st.lists(st.integers(0, 9), max_size=2)),
    ]
)


@ONCE
@given(st.data(), st.lists(ARROW, min_size=1, max_size=3), st.integers(1, 12))
def test_arrow(tmp_path: Path, one_by_one: Any, data: Any, columns: list[Any], rows: int) -> None:
    arrays = [
        pa.array(data.draw(st.lists(values if n % 2 else values | st.none(), min_size=rows, max_size=rows)), kind)
        for n, (kind, values) in enumerate(columns)
    ]
    table = pa.table(arrays, [f"c{n}" for n in range(len(arrays))])
    table = table.slice(data.draw(st.integers(0, rows - 1)))

    def written() -> Any:
        source = atdata.from_arrow(table)
        shards = source.write(tmp_path / "out.tar", overwrite=True)
        return source.declaration, shards.shards[0].digest, list(map(repr, source))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "_AT_ONCE", 5)
        assert written() == one_by_one(written)


def test_text_that_is_no_text_is_refused_in_blocks_too(tmp_path: Path, one_by_one: Any) -> None:
    array = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    for do in (lambda f: f(), one_by_one):
        with pytest.raises(AtdataError):
            do(lambda: atdata.from_arrow(pa.table([array], ["x"])).write(tmp_path / "x.tar"))


VALUES = {
    table.INT: st.one_of(
        st.integers(-(2**63), 2**63 - 1), st.sampled_from([-33, -32, 127, 128, 255, 256, 65535, 65536, 2**32])
    ),
    table.FLOAT: st.floats(allow_nan=False) | st.just(math.nan),
    table.BOOL: st.booleans(),
    table.STR: st.text(max_size=40)
    | st.integers(30, 33).map("x".__mul__)
    | st.sampled_from([255, 256, 65535, 65536]).map("y".__mul__),
}


def column(kind: int, values: list[Any], optional: bool) -> table.TableColumn:
    missing = np.array([value is None for value in values], np.uint8) if optional else b""
    if kind == table.STR:
        texts = [(value or "").encode() for value in values]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return table.TableColumn(kind, b"".join(texts), ends - [len(text) for text in texts], ends, missing)
    plain = {table.INT: (0, np.int64), table.FLOAT: (0.0, np.float64), table.BOOL: (False, np.uint8)}[kind]
    return table.TableColumn(kind, np.array([plain[0] if v is None else v for v in values], plain[1]), missing=missing)


@ONCE
@given(st.data(), st.integers(0, 9), st.lists(st.tuples(st.sampled_from(sorted(VALUES)), st.booleans()), max_size=20))
def test_columns_are_packed_as_samples_are(tmp_path: Path, data: Any, rows: int, kinds: list[tuple[int, bool]]) -> None:
    values = [
        data.draw(st.lists(VALUES[kind] | st.none() if optional else VALUES[kind], min_size=rows, max_size=rows))
        for kind, optional in kinds
    ]
    names = [f"c{n}" + "é" * (n * 9) for n in range(len(kinds))]
    columns = [column(kind, each, optional) for (kind, optional), each in zip(kinds, values, strict=True)]
    packed = table.pack_columns(names, columns, rows)
    wanted = [pack({name: each[row] for name, each in zip(names, values, strict=True)}) for row in range(rows)]
    assert (packed.data, packed.ends.tolist()) == (b"".join(wanted), np.cumsum(list(map(len, wanted))).tolist())
    first = data.draw(st.sampled_from([0, 999_999_998]))
    members = NumberedMembers.of(packed.data, packed.ends, first)
    write_shard(tmp_path / "x.tar", ((f"{first + row:09d}", each) for row, each in enumerate(wanted)))
    assert bytes(members.data) == (tmp_path / "x.tar").read_bytes()[:-1024]


@given(st.integers(0, 10**25), st.integers(0, 25), st.sampled_from(["", "e5", "E-7", "e22", "e-22", "e+308", "e-320"]))
@example(9007199254740993, 0, "")
@example(17976931348623159, 0, "e292")
def test_floats_are_the_nearest(digits: int, place: int, power: str) -> None:
    assert native is not None
    text = str(digits).rjust(place + 1, "0")
    text = f"{text[: len(text) - place]}.{text[len(text) - place :]}{power}"
    content, bounds = np.frombuffer(text.encode(), np.uint8), np.array([0, len(text)])
    value, missing = np.empty(1), np.empty(1, np.uint8)
    whole = native.parse_cells(content, bounds, 1, 0, table.FLOAT, value, missing)
    legal = not (len(text) > 1 and text[0] == "0" and text[1] != ".")
    assert whole == (legal and math.isfinite(float(text)))
    if whole:
        assert struct.pack("d", value[0]) == struct.pack("d", float(text))


def test_limits_hold_in_the_middle_of_many_rows(tmp_path: Path, one_by_one: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n" + "".join(f"{n},{'x' * (n % 700)}\n" for n in range(3000)))

    def written(**limits: Any) -> Any:
        shards = atdata.from_csv(path).write(tmp_path / "out-%06d.tar", overwrite=True, **limits).shards
        return [(shard.digest, shard.size, shard.samples) for shard in shards]

    for limits in (
        {"maxcount": 7},
        {"maxcount": 257},
        {"maxsize": 2048 + 1024},
        {"maxsize": 100_000},
        {"maxcount": 3000},
    ):
        assert written(**limits) == one_by_one(lambda limits=limits: written(**limits))
    path.write_text("id,text\n" + "1,a\n" * 300 + f"2,{'x' * 3000}\n")
    both = []
    for do in (lambda f: f(), one_by_one):
        with pytest.raises(atdata.errors.LimitError) as caught:
            do(lambda: written(maxsize=2048))
        both.append((caught.value.path, caught.value.expected, caught.value.actual))
    assert both[0] == both[1]


def test_native_bounds_are_checked() -> None:
    assert native is not None
    text, ends = b"ab", np.empty(1, np.int64)
    far = np.array([0, 3])
    assert native.count_empty(text, far, 1, 0, table.STR) == -1
    assert native.count_empty(text, np.array([2, 1]), 1, 0, table.STR) == -1
    assert not native.parse_cells(
        text, np.array([-1, 1]), 1, 0, table.INT, np.empty(1, np.int64), np.empty(1, np.uint8)
    )
    for width, place in ((0, 0), (1, 1), (1, -1)):
        with pytest.raises(ValueError, match="no such column"):
            native.count_empty(text, far, width, place, table.STR)
    with pytest.raises(ValueError, match="too small"):
        native.parse_cells(text, np.array([0, 1]), 1, 0, table.INT, np.empty(0, np.int64), np.empty(1, np.uint8))
    for bad in (
        (table.INT, b"\xa1a", np.empty(0, np.int64), b"", b"", b""),
        (table.STR, b"\xa1a", text, np.array([0]), np.array([3]), b""),
        (table.STR, b"\xa1a", text, np.array([2]), np.array([1]), b""),
        (table.STR, b"\xa1a", text, b"", b"", b""),
        (9, b"\xa1a", np.empty(1, np.int64), b"", b"", b""),
    ):
        with pytest.raises(ValueError, match="a column is none"):
            native.pack_columns(1, (bad,), ends)
    for bounds in ([3], [1, 0], [-1]):
        with pytest.raises(ValueError, match="no samples"):
            native.head_samples(text, np.array(bounds), bytes(512), 0, np.empty(2, np.int64))
    assert native.table_cells(b"a,b\nc", 44, 2, False, np.empty(3, np.int64), np.empty(1, np.uint8))[0] == 0
