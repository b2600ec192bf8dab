"""Datasets as dicts of columns, Arrow, pandas, polars and Parquet: nothing lost, types as declared, files whole."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.dataset.reading.reader import BLOCK_BYTES, BLOCKS
from atdata.dataset.tables import frames
from atdata.errors import MissingExtraError, SampleError, StorageError, UsageError
from atdata.importers import open_path
from atdata.samples import DictSample, Shape, packable
from atdata.shards import write_shard

pa = pytest.importorskip("pyarrow", reason="tables need the extra [tables]")
pq = pytest.importorskip("pyarrow.parquet")

to_arrow, to_dict, to_pandas, to_parquet, to_polars = (
    Dataset.to_arrow,
    Dataset.to_dict,
    Dataset.to_pandas,
    Dataset.to_parquet,
    Dataset.to_polars,
)


@packable
class Row:
    number: int
    weight: float
    name: str
    good: bool
    raw: bytes
    words: list[str]
    counts: dict[str, int]
    vector: NDArray[np.float32]
    image: NDArray[np.uint8]
    ragged: NDArray[np.int64]
    when: Annotated[NDArray[np.datetime64], Shape()]
    perhaps: int | None = None
    mask: NDArray[np.float64] | None = None


def row(i: int) -> Row:
    return Row(
        number=i - 3,
        weight=i / 7 if i else math.nan,
        name=f"é{i}",
        good=i % 2 == 0,
        raw=bytes([i % 256]),
        words=["w"] * (i % 3),
        counts={"a": i},
        vector=np.arange(4, dtype="f4") + i,
        image=np.full((2, 3), i % 256, "u1"),
        ragged=np.arange(i % 3 * 2).reshape(-1, 2) + i,
        when=np.array("2024-02-29T12:00:00" if i else "NaT", "M8[s]"),
        perhaps=None if i % 2 else i,
        mask=None if i % 3 else np.array([i, 0.5]),
    )


ROWS = [row(i) for i in range(600)]  # more than two batches


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset[Row]:
    return write_samples(ROWS, tmp_path_factory.mktemp("rows") / "r-%06d.tar", maxcount=250)


def dataset(tmp_path: Path, samples: list[Any]) -> Dataset[Any]:
    return write_samples(samples, tmp_path / "samples.tar")


# --- a dict ------------------------------------------------------------------------------------------------------------


def test_a_dict_has_a_column_for_each_field(data):
    columns = to_dict(data)
    assert list(columns) == list(vars(ROWS[0]))
    assert columns["vector"].shape == (600, 4)
    assert columns["vector"].dtype == np.float32
    assert columns["image"].shape == (600, 2, 3)
    assert columns["when"].shape == (600,)
    assert [list(columns[name])[1:] for name in ("number", "name", "weight")] == [
        [getattr(row, name) for row in ROWS][1:] for name in ("number", "name", "weight")
    ]
    assert all(np.array_equal(one, sample.ragged) for one, sample in zip(columns["ragged"], ROWS, strict=True))
    assert [None if mask is None else mask.tolist() for mask in columns["mask"]][:4] == [[0, 0.5], None, None, [3, 0.5]]


def test_shapes_that_change_between_batches_make_a_list(tmp_path):
    @packable
    class One:
        x: NDArray[np.int8]

    columns = to_dict(dataset(tmp_path, [One(np.zeros(2 + (i >= 256), "i1")) for i in range(300)]))
    assert [len(x) for x in columns["x"]] == [2] * 256 + [3] * 44


def test_samples_without_a_type_may_each_have_other_fields(tmp_path):
    rows: list[dict[str, Any]] = [{"a": i} if i < 280 else {"a": i, "b": f"{i}"} for i in range(300)]
    rows[290] = {"b": "only"}
    data = dataset(tmp_path, [DictSample(row) for row in rows])
    expected = [{"a": row.get("a"), "b": row.get("b")} for row in rows]
    columns = to_dict(data)
    assert [{"a": a, "b": b} for a, b in zip(columns["a"], columns["b"], strict=True)] == expected
    assert to_arrow(data).to_pylist() == expected


# --- Arrow -------------------------------------------------------------------------------------------------------------


def test_arrow_types_are_the_declared_ones(data):
    table = to_arrow(data)
    assert {field.name: (str(field.type), field.nullable) for field in table.schema} == {
        "number": ("int64", False),
        "weight": ("double", False),
        "name": ("string", False),
        "good": ("bool", False),
        "raw": ("binary", False),
        "words": ("list<item: string>", False),
        "counts": ("map<string, int64>", False),
        "vector": ("fixed_size_list<item: float>[4]", False),
        "image": (str(pa.fixed_shape_tensor(pa.uint8(), [2, 3])), False),
        "ragged": ("list<item: list<item: int64>>", False),
        "when": ("timestamp[s]", True),
        "perhaps": ("int64", True),
        "mask": ("fixed_size_list<item: double>[2]", True),
    }
    table.validate(full=True)


def test_arrow_has_every_value(data):
    table = to_arrow(data)
    for name in ("number", "name", "good", "raw", "words", "perhaps"):
        assert table[name].to_pylist() == [getattr(row, name) for row in ROWS]
    assert math.isnan(table["weight"][0].as_py())
    assert table["weight"].to_pylist()[1:] == [row.weight for row in ROWS[1:]]
    assert [dict(pairs) for pairs in table["counts"].to_pylist()] == [row.counts for row in ROWS]
    for name in ("vector", "ragged", "mask"):
        arrays = [getattr(row, name) for row in ROWS]
        assert table[name].to_pylist() == [None if array is None else array.tolist() for array in arrays]
    images = table["image"].combine_chunks().to_numpy_ndarray()
    assert np.array_equal(images, np.stack([row.image for row in ROWS]))
    assert table["when"].to_pylist() == [None, *(row.when.item() for row in ROWS[1:])]


@pytest.mark.parametrize(
    ("annotation", "values", "kind"),
    [
        (int, [2**64 - 1, 0], "uint64"),
        (int | None, [2**63, None], "uint64"),
        (list[int | None], [[1, None], []], "list<item: int64>"),
        (list[list[float]], [[[1.5], []], []], "list<item: list<item: double>>"),
        (list[NDArray[np.float32]], [[np.ones(2, "f4")], []], "list<item: list<item: float>>"),
        (dict[str, str | None], [{"a": "b", "c": None}, {}], "map<string, string>"),
        (dict, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "struct<a: int64, b: string>"),
        (Any, [1, 2.5], "double"),
        (Any, [None, "a"], "string"),
        (str | None, [None, None], "string"),
        (Any, [None, None], "null"),
        (NDArray[Any] | None, [None, None], "null"),
        (NDArray[np.bool_], [np.array([True, False])] * 2, "fixed_size_list<item: bool>[2]"),
        (NDArray[np.bool_], [np.array([[True]])] * 2, "fixed_size_list<item: fixed_size_list<item: bool>[1]>[1]"),
        (NDArray[np.float16], [np.ones(2, "f2")] * 2, "fixed_size_list<item: halffloat>[2]"),
        (NDArray[np.int32], [np.arange(2, dtype=">i4")] * 2, "fixed_size_list<item: int32>[2]"),
        (NDArray[np.int32], [np.arange(2, dtype=">i4"), np.arange(1, dtype="<i4")], "list<item: int32>"),
        (NDArray[np.int32], [np.empty((2, 0), "i4")] * 2, "list<item: list<item: int32>>"),
        (NDArray[np.int32], [np.empty((0, 2), "i4"), np.ones((1, 2), "i4")], "list<item: list<item: int32>>"),
        (NDArray[np.int32] | None, [None, np.ones((2, 2, 2), "i4")], str(pa.fixed_shape_tensor(pa.int32(), [2, 2, 2]))),
        (NDArray[np.int32], [np.array(7, "i4")] * 2, "int32"),
        (NDArray[np.str_], [np.array(["a", "é"])] * 2, "fixed_size_list<item: string>[2]"),
        (NDArray[np.timedelta64], [np.array([1, 2], "m8[ms]")] * 2, "fixed_size_list<item: duration[ms]>[2]"),
        (NDArray[np.datetime64], [np.array("2024-02-29", "M8[D]")] * 2, "date32[day]"),
        (Annotated[NDArray[np.int8], Shape(None)], [np.ones(2, "i1")] * 2, "list<item: int8>"),
        (Annotated[NDArray[np.int8], Shape(2)] | None, [None, None], "fixed_size_list<item: int8>[2]"),
    ],
)
def test_other_types(tmp_path, annotation, values, kind):
    One = packable(type("One", (), {"__annotations__": {"x": annotation}}))
    samples: list[Any] = [One(x=value) for value in values]
    data = dataset(tmp_path, samples)
    column = to_arrow(data)["x"]
    assert str(column.type) == kind
    (path,) = to_parquet(data, tmp_path / "x.parquet")
    back = pq.read_table(path, page_checksum_verification=True)["x"]
    back.validate(full=True)
    assert back.type == column.type or to_arrow(data).schema.field("x").nullable
    for found, value in zip(back.to_pylist(), values, strict=True):
        if isinstance(value, np.ndarray):
            plain = value.ravel() if "tensor" in str(back.type) else value
            assert np.array_equal(
                np.asarray(found).reshape(plain.shape), plain.astype("O") if value.dtype.kind in "mM" else plain
            )
        elif isinstance(annotation, type) or "map" not in kind:
            assert found == (pa.array([value]).to_pylist()[0] if "list" in kind else value)
        else:
            assert dict(found) == value


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (NDArray[np.complex64], [np.ones(2, "c8")]),
        (Annotated[NDArray[np.complex64], Shape(2)], [np.ones(2, "c8")]),
        (NDArray[np.void], [np.zeros(2, [("a", "i4")])]),
        (NDArray[np.datetime64], [np.array(1, "M8[W]")]),
        (NDArray[Any], [np.ones(2, "f4"), np.ones(2, "f8")]),
        (NDArray[np.int8], [np.ones(2, "i1"), np.ones((2, 2), "i1")]),
        (Any, [1, "x"]),
        (Any, [2**60 + 1, 2.5]),
        (list, [[1, "x"]]),
        (int, [2**63, -1]),
        (list[int], [[2**63]]),
        (list[NDArray[np.int8]], [[np.ones((2, 2), "i1")]]),
    ],
)
def test_what_arrow_cannot_hold_is_refused_by_name(tmp_path, annotation, values):
    One = packable(type("One", (), {"__annotations__": {"x": annotation}}))
    data = dataset(tmp_path, [One(x=value) for value in values])
    for take in (to_arrow, lambda data: to_parquet(data, tmp_path / "x.parquet")):
        with pytest.raises(SampleError) as caught:
            take(data)
        assert caught.value.path == "One.x"
    assert not list(tmp_path.glob("*.parquet*"))
    assert len(to_dict(data)["x"]) == len(values)


def test_a_later_row_may_need_a_wider_type(tmp_path):
    @packable
    class One:
        number: int
        x: NDArray[np.int8]
        any: Any = None

    samples = [One(i, np.zeros(2, "i1")) for i in range(1000)]
    samples[900] = One(2**64 - 1, np.zeros(3, "i1"), "late")
    data = dataset(tmp_path, samples)
    for table in (to_arrow(data), pq.read_table(to_parquet(data, tmp_path / "x.parquet")[0])):
        assert table.schema.types == [pa.uint64(), pa.list_(pa.int8()), pa.string()]
        assert table.num_rows == 1000
        assert table["any"][900].as_py() == "late"
    paths = to_parquet(data, tmp_path / "x-%02d.parquet", maxcount=300)
    assert len({str(pq.read_schema(path)) for path in paths}) == 1
    assert sum(pq.read_metadata(path).num_rows for path in paths) == 1000


def test_without_samples_there_are_the_fields(tmp_path):
    write_shard(tmp_path / "none.tar", [])
    data = Dataset[Row](tmp_path / "none.tar")
    assert to_dict(data) == {name: [] for name in vars(ROWS[0])}
    table = to_arrow(data)
    assert (table.num_rows, str(table.schema.field("perhaps").type)) == (0, "int64")
    (path,) = to_parquet(data, tmp_path / "none-%d.parquet", maxcount=3)
    assert path == tmp_path / "none-0.parquet"
    assert pq.read_table(path).schema.names == list(vars(ROWS[0]))
    assert to_arrow(Dataset(tmp_path / "none.tar")).num_rows == 0


# --- Parquet -----------------------------------------------------------------------------------------------------------


def test_chosen_columns_are_those_of_the_whole(data):
    """With the types that are declared, with samples and without."""
    names = [name for name in vars(ROWS[0]) if name != "name"]
    some = data.columns(*names)
    whole, chosen = to_dict(data), to_dict(some)
    assert list(chosen) == names
    for name in names:
        assert type(chosen[name]) is type(whole[name])
        assert all(map(np.array_equal, chosen[name][1:], whole[name][1:]))  # the first holds a NaN
    assert to_arrow(some)[1:].equals(to_arrow(data).drop_columns(["name"])[1:])
    for none in (some.take(0), data.take(0).columns(*names), some.filter(lambda _: False)):
        assert to_dict(none) == {name: [] for name in names}
        assert to_arrow(none).schema.names == names
        assert to_arrow(none).schema.field("words") == to_arrow(some).schema.field("words")
        assert list(to_pandas(none)) == to_polars(none).columns == names
    untyped = Dataset(data.view.source).columns("number", "name").take(0)
    assert to_dict(untyped) == {"number": [], "name": []}
    assert to_arrow(untyped).schema.names == ["number", "name"]
    assert to_dict(some.map(lambda _: {"x": 1}).take(0)) == {}


def test_parquet_is_read_back_by_arrow_and_by_the_importer(data, tmp_path):
    (path,) = to_parquet(data, tmp_path / "rows.parquet")
    assert path == tmp_path / "rows.parquet"
    stored, table = pq.read_table(path, page_checksum_verification=True), to_arrow(data)
    for name in set(table.column_names) - {"weight"}:  # which has a NaN
        assert stored[name].to_pylist() == table[name].to_pylist()
    imported = list(open_path(path, "Row").samples())
    for name in ("number", "name", "good", "raw", "words", "perhaps", "counts"):
        assert [getattr(row, name) for row in imported] == [getattr(row, name) for row in ROWS]
    assert all(np.array_equal(one.image, two.image) for one, two in zip(imported, ROWS, strict=True))
    assert all(one.image.dtype == np.uint8 for one in imported)


def test_several_files(data, tmp_path):
    paths = to_parquet(data, tmp_path / "deep" / "r-%03d.parquet", maxcount=250)
    assert [path.name for path in paths] == ["r-000.parquet", "r-001.parquet", "r-002.parquet"]
    assert sorted(paths[0].parent.iterdir()) == paths
    assert [pq.read_metadata(path).num_rows for path in paths] == [250, 250, 100]
    numbers = [number for path in paths for number in pq.read_table(path)["number"].to_pylist()]
    assert numbers == [row.number for row in ROWS]
    assert to_parquet(data, tmp_path / "one-%d.parquet") == [tmp_path / "one-0.parquet"]


def test_equal_datasets_give_equal_files(data, tmp_path):
    one, other = to_parquet(data, tmp_path / "a.parquet") + to_parquet(data, tmp_path / "b.parquet")
    assert one.read_bytes() == other.read_bytes()


def test_a_function_makes_the_rows(data, tmp_path):
    def brief(sample: Row) -> dict[str, Any]:
        return {"id": sample.number, "mean": sample.image.mean()} | (
            {"late": sample.vector} if sample.number > 500 else {}
        )

    (path,) = to_parquet(data, tmp_path / "brief.parquet", sample_map=brief)
    table = pq.read_table(path)
    assert table.schema.names == ["id", "mean", "late"]
    assert table["mean"].to_pylist() == [row.image.mean() for row in ROWS]
    assert table["late"].null_count == sum(row.number <= 500 for row in ROWS)
    with pytest.raises(UsageError, match="mapping"):
        to_parquet(data, tmp_path / "no.parquet", sample_map=lambda sample: sample.name)
    with pytest.raises(TypeError, match="mine"):
        to_parquet(data, tmp_path / "no.parquet", sample_map=_raise)
    assert [path.name for path in tmp_path.iterdir()] == ["brief.parquet"]


def _raise(_sample: Any) -> Any:
    raise TypeError("mine")


@pytest.mark.parametrize(
    ("path", "maxcount"),
    [("a.tar", None), ("a", None), ("a.parquet", 3), ("a-%d-%d.parquet", 3), ("a-%d.parquet", 0), ("a-%s.parquet", 1)],
)
def test_a_path_that_does_not_fit_is_refused(data, tmp_path, path, maxcount):
    with pytest.raises(UsageError):
        to_parquet(data, tmp_path / path, maxcount=maxcount)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_row_groups_are_large_and_memory_is_constant(tmp_path, monkeypatch):
    @packable
    class One:
        x: NDArray[np.uint8]

    monkeypatch.setattr(frames, "ROW_GROUP", 1 << 20)
    data = write_samples((One(np.full(4096, i % 7, "u1")) for i in range(25_000)), tmp_path / "x.tar")
    tracemalloc.start()
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    (path,) = to_parquet(data, tmp_path / "x.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (BLOCKS + 3) * BLOCK_BYTES  # of 100 MB: one block is used, one is being written
    assert pool.bytes_allocated() - before < 1 << 20
    assert pq.read_metadata(path).num_row_groups == -(-25_000 // 256)


def test_a_full_disk_leaves_nothing(data, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError):
            to_parquet(data, tmp_path / "x.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


# --- pandas and polars -------------------------------------------------------------------------------------------------


def test_pandas(data):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = to_pandas(data)
    assert list(frame.columns) == list(vars(ROWS[0]))
    assert frame["number"].tolist() == [row.number for row in ROWS]
    assert str(frame["number"].dtype) == "int64"
    assert str(frame["perhaps"].dtype) == "Int64"
    assert frame["perhaps"].isna().sum() == 300
    assert str(frame["good"].dtype) == "bool"
    assert frame["words"].tolist() == [row.words for row in ROWS]
    assert all(np.array_equal(one, row.image) for one, row in zip(frame["image"], ROWS, strict=True))
    assert frame["mask"][1] is None
    assert str(frame["when"].dtype) == "datetime64[s]"


def test_polars(data):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = to_polars(data.as_type(Pictures))
    assert frame.schema == {
        "image": polars.Array(polars.UInt8, (2, 3)),
        "vector": polars.Array(polars.Float32, 4),
        "name": polars.String,
        "perhaps": polars.Int64,
    }
    assert frame["name"].to_list() == [row.name for row in ROWS]
    assert np.array_equal(frame["image"].to_numpy(), np.stack([row.image for row in ROWS]))


@packable
class Pictures:
    image: NDArray[np.uint8]
    vector: NDArray[np.float32]
    name: str
    perhaps: int | None = None


@pytest.mark.parametrize("missing", ["pyarrow", "pandas", "polars"])
def test_what_is_not_installed_is_named(tmp_path, missing):
    write_samples([Pictures(np.zeros(1, "u1"), np.zeros(1, "f4"), "")], tmp_path / "a.tar")
    takes = {"pyarrow": "to_arrow", "pandas": "to_pandas", "polars": "to_polars"}
    code = f"""
        import sys
        sys.modules[{missing!r}] = None
        from atdata.dataset import Dataset
        data = Dataset({str(tmp_path / "a.tar")!r})
        assert data.to_dict()["name"] == [""]
        data.{takes[missing]}()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert MissingExtraError.__name__ in done.stderr
    assert f"atdata[{'tables' if missing == 'pyarrow' else 'frames'}]" in done.stderr
