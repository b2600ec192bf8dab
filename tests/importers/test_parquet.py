"""Parquet: Arrow's types as fields, row by row, with what nulls and several files change."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata.errors import ConflictError, MissingExtraError, SampleError, UsageError
from atdata.importers import open_path
from atdata.importers.parquet import BATCH

pa = pytest.importorskip("pyarrow", reason="reading Parquet needs the extra [tables]")
pq = pytest.importorskip("pyarrow.parquet")


def came_with(version: int, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(int(pa.__version__.split(".")[0]) < version, reason=f"{what} came with pyarrow {version}")


text_views = came_with(24, "writing views of text")
nulls_among_arrays = came_with(26, "reading lists of one size with nulls among them")


@pytest.fixture
def parquet(tmp_path: Path) -> Any:
    def write(name: str = "x.parquet", /, **columns: Any) -> Path:
        place = tmp_path / "in" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), place, row_group_size=2)
        return place

    return write


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
WHEN = dt.datetime(2024, 2, 29, 12, 30, 15, 123456)


@pytest.mark.parametrize(
    ("kind", "values", "inferred", "expected"),
    [
        (pa.int8(), [1, -1], "int", [1, -1]),
        (pa.uint64(), [2**64 - 1, None], "int | None", [2**64 - 1, None]),
        (pa.float32(), [0.5, 2], "float", [0.5, 2.0]),
        (pa.float16(), [np.float16(0.5), None], "float | None", [0.5, None]),
        (pa.bool_(), [True, None], "bool | None", [True, None]),
        (pa.string(), ["é", ""], "str", ["é", ""]),
        (pa.large_string(), ["a", None], "str | None", ["a", None]),
        pytest.param(pa.string_view(), ["a", "b"], "str", ["a", "b"], marks=text_views),
        (pa.binary(), [b"a", b""], "bytes", [b"a", b""]),
        (pa.binary(2), [b"ab", None], "bytes | None", [b"ab", None]),
        (pa.string(), [None, None], "str | None", [None, None]),
        (pa.null(), [None, None], "Any", [None, None]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "a"], "str", ["a", "a"]),
        (pa.decimal128(10, 2), [decimal.Decimal("1.50"), decimal.Decimal("-0.01")], "str", ["1.50", "-0.01"]),
        (pa.time64("us"), [dt.time(1, 2, 3, 4), None], "str | None", ["01:02:03.000004", None]),
        (IMAGE, [{"bytes": b"png", "path": "a.png"}, None], "bytes | None", [b"png", None]),
        (pa.list_(IMAGE), [[{"bytes": b"png", "path": None}], []], "list[bytes]", [[b"png"], []]),
        (pa.list_(pa.string()), [["a", "b"], []], "list[str]", [["a", "b"], []]),
        (pa.list_(pa.string()), [["a", None], None], "list[str | None] | None", [["a", None], None]),
        (pa.list_(pa.int32()), [[1, None], []], "list[int | None]", [[1, None], []]),
        (pa.list_(pa.list_(pa.int8())), [[[1], None], []], "list[list[int | None] | None]", [[[1], None], []]),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), [["a"], ["b", "a"]], "list[str]", [["a"], ["b", "a"]]),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], None], "dict | None", [{"a": 1}, None]),
        (pa.map_(pa.int8(), pa.date32()), [[(1, dt.date(2024, 1, 2))], []], "dict", [{"1": "2024-01-02"}, {}]),
        (
            pa.struct([("a", pa.int8()), ("b", pa.list_(pa.float32())), ("c", pa.timestamp("us", "UTC"))]),
            [{"a": 1, "b": [0.5], "c": WHEN}, None],
            "dict | None",
            [{"a": 1, "b": [0.5], "c": "2024-02-29T12:30:15.123456Z"}, None],
        ),
        (
            pa.struct([("in", pa.struct([("d", pa.decimal128(4, 1))])), ("t", pa.time32("s"))]),
            [{"in": {"d": decimal.Decimal("1.5")}, "t": None}, {"in": None, "t": dt.time(1)}],
            "dict",
            [{"in": {"d": "1.5"}, "t": None}, {"in": None, "t": "01:00:00.000"}],
        ),
    ],
    ids=str,
)
def test_plain_types(
    parquet: Any, imported: Any, types_of: Any, kind: Any, values: list[Any], inferred: str, expected: list[Any]
) -> None:
    result, samples = imported(parquet(x=pa.array(values, kind)))
    assert result.kind == "table (Parquet)"
    assert types_of(result) == {"x": inferred}
    assert [repr(s.x) for s in samples] == [repr(value) for value in expected]


MOMENT = np.datetime64(WHEN)


@pytest.mark.parametrize(
    ("kind", "values", "inferred", "expected"),
    [
        (pa.list_(pa.float32()), [[1, 2], []], "NDArray[float32] [*]", [np.array([1, 2], "f4"), np.zeros(0, "f4")]),
        (pa.large_list(pa.uint8()), [[1], None], "NDArray[uint8] [*] | None", [np.array([1], "u1"), None]),
        (pa.list_(pa.bool_()), [[True], [False]], "NDArray[bool] [*]", [np.array([True]), np.array([False])]),
        (
            pa.list_(pa.float16()),
            [np.array([1, 2], "f2"), None],
            "NDArray[float16] [*] | None",
            [np.array([1, 2], "f2"), None],
        ),
        pytest.param(
            pa.list_(pa.float32(), 2),
            [[1, 2], None],
            "NDArray[float32] [2] | None",
            [np.array([1, 2], "f4"), None],
            marks=nulls_among_arrays,
        ),
        (
            pa.list_(pa.list_(pa.int16(), 2), 1),
            [[[1, 2]], [[3, 4]]],
            "NDArray[int16] [1, 2]",
            [np.array([[1, 2]], "i2"), np.array([[3, 4]], "i2")],
        ),
        (
            pa.list_(pa.list_(pa.int64(), 2)),
            [[[1, 2], [3, 4]], []],
            "NDArray[int64] [*, 2]",
            [np.array([[1, 2], [3, 4]]), np.zeros((0, 2), int)],
        ),
        (
            pa.list_(pa.timestamp("us")),
            [[WHEN, None], None],
            "NDArray[datetime64] [*] | None",
            [np.array([MOMENT, "NaT"], "M8[us]"), None],
        ),
        (pa.timestamp("us"), [WHEN, None], "NDArray[datetime64] [] | None", [np.array(MOMENT), None]),
        (
            pa.timestamp("ns", "Europe/Berlin"),
            [1, 2],
            "NDArray[datetime64] []",
            [np.array(1, "M8[ns]"), np.array(2, "M8[ns]")],
        ),
        (
            pa.date32(),
            [dt.date(2024, 1, 2), None],
            "NDArray[datetime64] [] | None",
            [np.array("2024-01-02", "M8[D]"), None],
        ),
        (pa.duration("s"), [5, None], "NDArray[timedelta64] [] | None", [np.array(5, "m8[s]"), None]),
    ],
    ids=str,
)
def test_numbers_and_times_are_arrays(
    parquet: Any, imported: Any, types_of: Any, kind: Any, values: list[Any], inferred: str, expected: list[Any]
) -> None:
    result, samples = imported(parquet(x=pa.array(values, kind)))
    assert types_of(result)["x"].replace("bool_", "bool") == inferred
    for sample, array in zip(samples, expected, strict=True):
        if array is None:
            assert sample.x is None
        else:
            assert (sample.x.dtype, sample.x.shape) == (array.dtype, array.shape)
            assert sample.x.tobytes() == array.tobytes()
            assert sample.x.flags.writeable


def test_lists_of_lists_of_several_sizes_are_lists_of_arrays(parquet: Any, imported: Any, types_of: Any) -> None:
    result, samples = imported(parquet(x=pa.array([[[1, 2], [3]], []], pa.list_(pa.list_(pa.uint8())))))
    assert types_of(result) == {"x": "list[NDArray[uint8] [*]]"}
    assert [[row.tolist() for row in s.x] for s in samples] == [[[1, 2], [3]], []]


@nulls_among_arrays
def test_extension_types(parquet: Any, imported: Any, types_of: Any) -> None:
    tensor = pa.fixed_shape_tensor(pa.float32(), [2, 2])
    storage = pa.array([[1, 2, 3, 4], None], pa.list_(pa.float32(), 4))
    name = uuid.UUID(int=7)
    place = parquet(
        t=pa.ExtensionArray.from_storage(tensor, storage),
        u=pa.ExtensionArray.from_storage(pa.uuid(), pa.array([name.bytes, None], pa.binary(16))),
    )
    result, samples = imported(place)
    assert types_of(result) == {"t": "NDArray[float32] [2, 2] | None", "u": "bytes | None"}
    assert samples[0].t.tolist() == [[1, 2], [3, 4]]
    assert samples[0].u == name.bytes


def test_many_rows_in_many_groups(parquet: Any, imported: Any) -> None:
    count = 2 * BATCH + 3
    _, samples = imported(parquet(n=pa.array(range(count)), x=pa.array([[i] * (i % 3) for i in range(count)])))
    assert [(s.n, s.x.tolist()) for s in samples] == [(i, [i] * (i % 3)) for i in range(count)]


def test_what_was_decided_is_said(parquet: Any) -> None:
    place = parquet(
        **{
            "price": pa.array([decimal.Decimal("1.5"), None], pa.decimal128(4, 1)),
            "when": pa.array([1, 2], pa.timestamp("s", "Europe/Berlin")),
            "image": pa.array([{"bytes": b"x", "path": "x"}] * 2, IMAGE),
            "a b": pa.array([1, 2]),
        }
    )
    assert open_path(place, "Row").notes == (
        "price: empty in 1 row, so it is optional",
        "price: decimal128(4, 1) as text, digit for digit",
        "when: moments in UTC; that they were shown in Europe/Berlin is left out",
        "image: the bytes of files; their paths are left out",
        "renamed, for a field's name is a Python name: 'a b' is a_b",
    )


def test_a_folder_is_one_table(parquet: Any, imported: Any, types_of: Any) -> None:
    parquet("b/0.parquet", n=pa.array([3.5]), late=pa.array(["x"]), e=pa.array([[1.0]]), z=pa.array([None]))
    place = parquet(
        "a/0.parquet", n=pa.array([1, None]), e=pa.array([[0.5], []]), z=pa.array([[1], [2]], pa.list_(pa.int8()))
    )
    (place.parent.parent / "README.md").write_text("hello")
    result, samples = imported(place.parent.parent)
    assert types_of(result) == {
        "n": "float | None",
        "e": "NDArray[float64] [*]",
        "z": "NDArray[int8] [*] | None",
        "late": "str | None",
    }
    assert [(s.n, s.late) for s in samples] == [(1.0, None), (None, None), (3.5, "x")]
    assert "passed over 1 (no Parquet files): README.md" in result.notes


def test_nulls_in_one_file_make_lists_of_all(parquet: Any, imported: Any, types_of: Any) -> None:
    parquet("a.parquet", x=pa.array([[1.5]]))
    place = parquet("b.parquet", x=pa.array([[1, None]]))
    result, samples = imported(place.parent)
    assert types_of(result) == {"x": "list[float | None]"}
    assert [s.x for s in samples] == [[1.5], [1.0, None]]


def test_folders_that_carry_values_are_noted(parquet: Any) -> None:
    place = parquet("year=2024/x.parquet", x=pa.array([1]))
    assert "the names of folders (key=value) are not read as columns" in open_path(place.parent.parent, "Row").notes


@pytest.mark.parametrize("other", [pa.array(["x"]), pa.array([[1]]), pa.array([True])])
def test_files_that_disagree_are_named(parquet: Any, other: Any) -> None:
    first, place = parquet("a.parquet", x=pa.array([1])), parquet("b.parquet", x=other)
    with pytest.raises(SampleError, match="'x'") as caught:
        open_path(place.parent, "Row")
    assert caught.value.path == f"{place}, x"
    assert caught.value.expected == f"int, as in {first}"


def test_ints_that_a_float_would_round_are_refused_beside_floats(parquet: Any) -> None:
    parquet("a.parquet", x=pa.array([2**53 + 1]))
    place = parquet("b.parquet", x=pa.array([0.5]))
    with pytest.raises(SampleError):
        open_path(place.parent, "Row")


def test_a_map_with_one_key_twice_is_refused(parquet: Any) -> None:
    place = parquet(x=pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())))
    with pytest.raises(SampleError, match="a key twice"):
        open_path(place, "Row")


def test_text_that_is_no_unicode_is_refused(parquet: Any) -> None:
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], "i4")), pa.py_buffer(b"\xff")])
    place = parquet(x=text)
    with pytest.raises(SampleError) as caught:
        open_path(place, "Row")
    assert caught.value.uri == str(place)


def test_any_damaged_byte_is_refused_or_changes_nothing(parquet: Any) -> None:
    """Every byte of the footer, and some of the pages: a wrong statistic there has ended the whole process."""
    place = parquet(x=pa.array([[1.0, 2.0], [3.0]]), y=pa.array(["a", "b"]))
    pq.write_table(pq.read_table(place), place, write_page_checksum=True)
    data = place.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for position in [*range(0, footer, 7), *range(footer, len(data))]:
        place.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            list(open_path(place, "Row").samples())
        except (SampleError, UsageError):
            continue
    place.write_bytes(data[: len(data) // 2])
    with pytest.raises(SampleError, match="malformed"):
        open_path(place, "Row")


def test_no_rows(parquet: Any) -> None:
    with pytest.raises(UsageError, match="no samples"):
        open_path(parquet(x=pa.array([], pa.int8())), "Row")


def test_a_file_that_changes_in_between_is_refused(parquet: Any) -> None:
    result = open_path(parquet(x=pa.array([1])), "Row")
    parquet(x=pa.array(["text"]))
    with pytest.raises(ConflictError):
        list(result.samples())


def test_without_pyarrow_the_extra_is_named(parquet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from atdata.samples import arrow as importer

    place = parquet(x=pa.array([1]))
    importer.arrow.cache_clear()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"\[tables\]"):
        open_path(place, "Row")
