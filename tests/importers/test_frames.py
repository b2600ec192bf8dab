"""Tables in memory, as their own libraries make them."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import SampleError, UsageError
from atdata.importers import Imported
from atdata.samples import fields_of

pa = pytest.importorskip("pyarrow", reason="tables need the extra [tables]")


def types_of(source: Imported) -> dict[str, str]:
    return {field.name: str(field.type) for field in fields_of(source.sample_type)}


def written(source: Imported, tmp_path: Path) -> list[Any]:
    """The samples, which are the same from shards and in a second pass."""
    dataset: Any = source.write(tmp_path / "x" / "x-%06d.tar", overwrite=True)
    samples = list(source)
    parts = [sample for part in dataset.values() for sample in part] if isinstance(dataset, dict) else list(dataset)
    assert parts == samples == list(source)
    assert len(source) == len(samples)
    return samples


def test_an_arrow_table(tmp_path: Path) -> None:
    table = pa.table(
        {
            "n": pa.array([1, None, 3]),
            "v": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
            "c": pa.array(["a", "b", "a"]).dictionary_encode(),
            "t": ["x", "y", "z"],
        }
    )
    source = atdata.from_arrow(table)
    assert types_of(source) == {
        "n": "int | None",
        "v": "NDArray[float32] [2]",
        "c": "ClassLabel[a, b]",
        "t": "str",
    }
    assert [(s.n, s.c, s.t) for s in written(source, tmp_path)] == [(1, 0, "x"), (None, 1, "y"), (3, 0, "z")]
    assert [s.n for s in atdata.from_arrow(table.to_batches()[0])] == [1, None, 3]


def test_a_pandas_frame(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas", reason="frames need the extra [frames]")
    frame = pd.DataFrame(
        {
            "x": [1.5, float("nan"), 2.5],
            "n": pd.array([1, None, 3], dtype="Int64"),
            "kind": pd.Categorical(["a", "b", "a"]),
            "word": ["x", "y", None],
            "v": [np.array([1, 2]), np.array([3]), np.array([], dtype=np.int64)],
        },
        index=pd.Index(["r1", "r2", "r3"], name="row"),
    )
    source = atdata.from_pandas(frame, name="Measure")
    assert types_of(source) == {
        "x": "float | None",
        "n": "int | None",
        "kind": "ClassLabel[a, b]",
        "word": "str | None",
        "v": "NDArray[int64] [*]",
        "row": "str",
    }
    samples = written(source, tmp_path)
    assert [(s.n, s.kind, s.word, s.row) for s in samples] == [
        (1, 0, "x", "r1"),
        (None, 1, "y", "r2"),
        (3, 0, None, "r3"),
    ]
    assert [s.x for s in samples] == [1.5, None, 2.5]
    assert "class Measure:" in source.declaration
    with pytest.raises(SampleError, match="no one type"):
        atdata.from_pandas(pd.DataFrame({"x": [1, "a"]}))
    with pytest.raises(UsageError, match="no samples"):
        atdata.from_pandas(frame[:0])


def test_a_polars_frame(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars", reason="frames need the extra [frames]")
    frame = pl.DataFrame(
        {"n": [1, 2, None], "kind": pl.Series(["b", "a", "b"], dtype=pl.Enum(["a", "b"])), "v": [[1], [2, 3], []]}
    )
    for given in (frame, frame.lazy()):
        source = atdata.from_polars(given)
        assert types_of(source)["kind"] == "ClassLabel[a, b]"
        assert [(s.n, s.kind, s.v.tolist()) for s in written(source, tmp_path)] == [
            (1, 1, [1]),
            (2, 0, [2, 3]),
            (None, 1, []),
        ]


@atdata.packable
class Own:
    n: float
    when: dt.datetime
    v: NDArray[np.float32]


def test_a_type_of_ones_own(tmp_path: Path) -> None:
    table = pa.table(
        {"n": [1, 2], "when": pa.array([0, 1], pa.timestamp("ms")), "v": [[1, 2], [3]], "more": ["a", "b"]}
    )
    source = atdata.from_arrow(table, sample_type=Own)
    first = written(source, tmp_path)[0]
    assert (first.n, first.when, first.v.dtype) == (1.0, dt.datetime(1970, 1, 1), np.float32)
    assert source.notes == ("passed over 1 (columns that no field is for): more",)
    with pytest.raises(SampleError, match="does not fit") as caught:
        list(atdata.from_arrow(table.set_column(0, "n", [["x", "y"]]), sample_type=Own))
    assert caught.value.path == "row 1, n"


# -- Hugging Face


def png(size: int) -> bytes:
    image = pytest.importorskip("PIL.Image", reason="pictures need the extra [images]")
    file = io.BytesIO()
    image.new("RGB", (size, size)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def hugging(tmp_path: Path) -> Any:
    import datasets

    (tmp_path / "a.png").write_bytes(png(3))
    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "matrix": datasets.Array2D((2, 3), "float32"),
            "seq": datasets.Sequence(datasets.Value("int32")),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["x", "y"])),
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "when": datasets.Value("timestamp[s]"),
            "box": {"w": datasets.Value("int8")},
        }
    )

    def make(*numbers: int) -> Any:
        rows = [
            {
                "label": n % 2,
                "matrix": np.full((2, 3), n, np.float32),
                "seq": list(range(n)),
                "labels": [n % 2],
                "image": str(tmp_path / "a.png") if n % 2 else {"bytes": png(n + 1), "path": None},
                "text": None if n == 1 else f"t{n}",
                "when": dt.datetime(2024, 1, 1 + n),
                "box": {"w": n},
            }
            for n in numbers
        ]
        return datasets.Dataset.from_list(rows, features=features)

    return datasets.DatasetDict({"train": make(0, 1, 2), "validation": make(3)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dataset_of_hugging_face(hugging: Any, tmp_path: Path) -> None:
    source = atdata.from_huggingface(hugging)
    assert source.splits == {"train": 3, "validation": 1}
    assert types_of(source) == {
        "label": "ClassLabel[cat, dog]",
        "matrix": "NDArray[float32] [2, 3]",
        "seq": "NDArray[int32] [*]",
        "labels": "list[ClassLabel[x, y]]",
        "image": "Image",
        "text": "str | None",
        "when": "NDArray[datetime64] []",
        "box": "dict",
    }
    samples = written(source, tmp_path)
    assert [s.label for s in samples] == [0, 1, 0, 1]
    assert [s.labels for s in samples] == [[0], [1], [0], [1]]
    assert [s.image.data for s in samples] == [png(1), png(3), png(3), png(3)], "the bytes as they are"
    assert samples[2].matrix.tolist() == [[2.0] * 3] * 2
    assert [s.text for s in samples] == ["t0", None, "t2", "t3"]
    assert list(atdata.load_dataset(tmp_path / "x", source.sample_type)) == ["train", "validation"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_forms_of_it(hugging: Any) -> None:
    train = hugging["train"]
    whole = list(atdata.from_huggingface(hugging).split("train"))
    assert list(atdata.from_huggingface(train)) == whole
    assert list(atdata.from_huggingface(train.to_iterable_dataset())) == whole
    some = atdata.from_huggingface(train.select([2, 0]))  # a dataset with an order of its own
    assert [s.text for s in some] == ["t2", "t0"]
    with pytest.raises(UsageError, match="no dataset"):
        atdata.from_huggingface([1, 2])


def frame_of(**columns: Any) -> Any:
    return pytest.importorskip("pandas", reason="frames need the extra [frames]").DataFrame(columns)


def test_objects_of_pandas_are_not_changed(tmp_path: Path) -> None:
    frame = frame_of(d=[{"x": 1}, {"y": 2}], n=[Decimal("1.1"), Decimal("1E+3")])
    samples = written(atdata.from_pandas(frame), tmp_path)
    assert [(s.d, s.n) for s in samples] == [({"x": 1}, "1.1"), ({"y": 2}, "1E+3")]
    naive, aware = dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    for values in ([aware, naive], [naive, aware], [[naive, aware], []]):
        with pytest.raises(SampleError, match="would become another") as caught:
            atdata.from_pandas(frame_of(a=values))
        assert caught.value.path == "a"
    source = atdata.from_pandas(frame_of(a=[aware, naive]), schema={"a": dt.datetime})
    assert [(s.a, s.a.utcoffset()) for s in source] == [(aware, aware.utcoffset()), (naive, None)]


def test_nan_is_a_float_where_one_is_declared() -> None:
    frame = frame_of(a=[1.5, float("nan")])
    assert [s.a for s in atdata.from_pandas(frame)] == [1.5, None]
    assert str([s.a for s in atdata.from_pandas(frame, schema={"a": float})]) == "[1.5, nan]"
    assert [s.a for s in atdata.from_pandas(frame, schema={"a": float | None})] == [1.5, None]


@pytest.mark.parametrize("values", [[1, "x"], [2**70], [2**63, -1], [True, 2], [object()], [1j]])
def test_a_column_of_pandas_of_no_one_type_is_named(values: list[Any]) -> None:
    with pytest.raises(SampleError, match="no one type") as caught:
        atdata.from_pandas(frame_of(fine=values[:0] or [1] * len(values), a=values))
    assert caught.value.path == "a"
    assert "('" not in str(caught.value)


def test_names_that_two_columns_have() -> None:
    pd = pytest.importorskip("pandas", reason="frames need the extra [frames]")
    (sample,) = atdata.from_pandas(pd.DataFrame({"a": [1], "index": [2]}, index=["q"]))
    assert (sample.a, sample.index, sample.index_) == (1, 2, "q")
    for take in (
        lambda: atdata.from_arrow(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])),
        lambda: atdata.from_pandas(pd.DataFrame([[1, 2]], columns=["a", "a"])),
    ):
        with pytest.raises(SampleError, match="two columns of one name"):
            take()
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(SampleError, match="two parts of one name"):
        atdata.from_arrow(pa.table({"x": twice}))


def test_structs_without_parts_and_tensors_in_another_order(tmp_path: Path) -> None:
    given = np.arange(12.0).reshape(2, 2, 3)
    turned = pa.fixed_shape_tensor(pa.float64(), [3, 2], permutation=[1, 0])
    storage = pa.array(given.transpose(0, 2, 1).reshape(2, 6).tolist(), pa.list_(pa.float64(), 6))
    table = pa.table(
        {
            "none": pa.array([{}, None], pa.struct([])),
            "straight": pa.FixedShapeTensorArray.from_numpy_ndarray(given),
            "turned": pa.ExtensionArray.from_storage(turned, storage),
        }
    )
    source = atdata.from_arrow(table)
    assert types_of(source) == {
        "straight": "NDArray[float64] [2, 3]",
        "turned": "NDArray[float64] [2, 3]",
        "none": "dict | None",
    }
    samples = written(source, tmp_path)
    assert [s.none for s in samples] == [{}, None]
    for sample, tensor in zip(samples, given, strict=True):
        assert np.array_equal(sample.straight, tensor)
        assert np.array_equal(sample.turned, tensor)


def test_columns_of_polars_that_no_other_library_takes() -> None:
    pl = pytest.importorskip("polars", reason="polars needs the extra [polars]")
    for column in (pl.Series([object()], dtype=pl.Object), pl.Series([2**100], dtype=pl.Int128)):
        with pytest.raises(SampleError, match="is not supported") as caught:
            atdata.from_polars(pl.DataFrame({"fine": [1], "a": column}))
        assert caught.value.path == "a"
    with pytest.raises(UsageError):
        atdata.from_polars(pl.Series([1]))
    with pytest.raises(UsageError):
        atdata.from_pandas(frame_of(a=[1]).a)


def test_moments_finer_than_microseconds_are_an_error() -> None:
    for table in (
        pa.table({"a": pa.array([1], pa.timestamp("ns"))}),
        pa.table({"a": ["2026-01-01T00:00:00.000000001"]}),
    ):
        with pytest.raises(SampleError):
            list(atdata.from_arrow(table, schema={"a": dt.datetime}))


def test_classes_that_hugging_face_says_there_are_none_of(tmp_path: Path) -> None:
    """-1 is what its test sets have where nobody may know the class."""
    import datasets

    features = datasets.Features({"y": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_dict({"y": [0, -1, 1, None]}, features=features)
    source = atdata.from_huggingface(data)
    assert types_of(source) == {"y": "ClassLabel[no, yes] | None"}
    assert [s.y for s in written(source, tmp_path)] == [0, None, 1, None]
    assert [s.y for s in atdata.from_huggingface(data, schema={"y": int | None})] == [0, -1, 1, None]


def test_a_stream_without_features(tmp_path: Path) -> None:
    import datasets

    rows: list[dict[str, Any]] = [{"a": None}, *({"a": n, "b": str(n)} for n in range(600)), {"b": None}]
    source = atdata.from_huggingface(datasets.IterableDataset.from_generator(lambda: iter(rows)))
    assert types_of(source) == {"a": "int | None", "b": "str | None"}
    assert [(s.a, s.b) for s in written(source, tmp_path)] == [(row.get("a"), row.get("b")) for row in rows]
    with pytest.raises(SampleError, match="of a stream has no one type") as caught:
        atdata.from_huggingface(datasets.IterableDataset.from_generator(lambda: iter([{"a": 1}, {"a": "x"}])))
    assert caught.value.path == "train, row 1 and after, a"
