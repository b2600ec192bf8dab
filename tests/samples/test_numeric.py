"""Columns as frameworks take them: tensors of PyTorch, arrays of JAX, tables of Arrow."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata import ClassLabel, Dataset, DictSample, SampleBatch, Shape, packable, write_samples
from atdata.errors import NotFoundError, SampleError, UsageError
from support.arrays import identical
from support.optional import need


@packable
class Mixed:
    image: NDArray[np.uint8]
    label: Annotated[int, ClassLabel(["a", "b", "c"])]
    weight: float
    valid: bool
    name: str
    score: float | None = None
    count: int | None = None
    wave: NDArray[np.float32] | None = None
    words: NDArray[np.int32] = None  # type: ignore[assignment]
    path: list[int] = None  # type: ignore[assignment]


def mixed(number: int) -> Mixed:
    return Mixed(
        np.full((2, 3), number, "u1"),
        number % 3,
        number / 4,
        number % 2 == 0,
        f"n{number}",
        None if number % 2 else number / 2,
        None if number == 0 else 2**40 + number,
        None if number == 1 else np.full(4, number, "f4"),
        np.arange(number, dtype="i4"),
        list(range(number)),
    )


@pytest.fixture(params=["made", "read", "read anew", "without a type"])
def batch(request: Any, tmp_path: Any) -> SampleBatch[Any]:
    rows = [mixed(number) for number in range(5)]
    if request.param == "made":
        return SampleBatch.of(Mixed, rows)
    write_samples(rows, tmp_path / "a.tar")
    if request.param == "without a type":
        (read,) = Dataset(tmp_path / "a.tar").ordered(8)
    else:
        (read,) = Dataset[Mixed](tmp_path / "a.tar").ordered(8)
    assert request.param != "read anew" or read.count
    return read


MISSING = {"score": [1, 3], "count": [0], "wave": [1]}


def test_a_batch_gives_its_columns_as_a_mapping_does(batch):
    names = ["image", "label", "weight", "valid", "name", "score", "count", "wave", "words", "path"]
    assert list(batch.keys()) == list(dict(batch)) == list({**batch}) == names
    assert all(name in batch for name in names)
    assert "absent" not in batch
    assert batch.samples[0] in batch
    assert (lambda **columns: list(columns))(**batch) == names
    assert dict(batch)["label"] is batch["label"]
    assert len(batch) == len(list(batch)) == 5
    from collections.abc import Mapping

    assert not isinstance(batch, Mapping)
    with pytest.raises(NotFoundError):
        batch["lable"]


def test_a_field_may_have_the_name_of_a_method():
    @packable
    class Odd:
        keys: int
        to_torch: int

    batch = SampleBatch.of(Odd, [Odd(1, 2)])
    assert dict(batch) == {"keys": [1], "to_torch": [2]}


def values(column: Any) -> Any:
    """An array of numpy, of whatever library it is."""
    return column.numpy() if hasattr(column, "numpy") else np.asarray(column)


EXPECTED = {
    "image": "uint8",
    "label": "int64",
    "weight": "float64",
    "valid": "bool",
    "score": "float64",
    "score_mask": "bool",
    "count": "int64",
    "count_mask": "bool",
    "wave": "float32",
    "wave_mask": "bool",
}


def check(columns: dict[str, Any]) -> None:
    assert type(columns) is dict
    rows = [mixed(number) for number in range(5)]
    assert {name: str(values(columns[name]).dtype) for name in EXPECTED} == EXPECTED
    assert columns["name"] == [row.name for row in rows]
    assert values(columns["image"]).tolist() == [row.image.tolist() for row in rows]
    for name in ("label", "weight", "valid"):
        assert values(columns[name]).tolist() == [getattr(row, name) for row in rows]
    for name, missing in MISSING.items():
        mask = values(columns[f"{name}_mask"])
        assert np.flatnonzero(mask).tolist() == missing
        assert not values(columns[name])[mask].any(), "zero where there is none"
        given = [np.asarray(getattr(row, name)).tolist() for row in rows if getattr(row, name) is not None]
        assert values(columns[name])[~mask].tolist() == given


def test_tensors_of_pytorch(batch):
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    columns = batch.to_torch()
    check(columns)
    assert {*columns} == {*EXPECTED, "name", "words", "path"}
    for name, dtype in (("words", torch.int32), ("path", torch.int64)):
        assert columns[name].layout is torch.jagged
        assert [part.tolist() for part in columns[name].unbind()] == [list(range(n)) for n in range(5)]
        assert columns[name].dtype is dtype
    assert columns["image"].data_ptr() == batch.image.ctypes.data, "they share memory"
    moved = batch.to_torch("meta", non_blocking=True)
    assert {moved[name].device.type for name in (*EXPECTED, "words")} == {"meta"}
    assert moved["name"] == columns["name"]


def test_which_columns_there_are_follows_from_the_type():
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")

    @packable
    class Maybes:
        a: int | None
        b: bool | None
        c: Annotated[NDArray[np.float32], Shape(2)] | None

    full = Maybes(1, True, np.ones(2, "f4"))
    looks = {
        tuple((name, value.dtype, value.shape) for name, value in SampleBatch.of(Maybes, rows).to_torch().items())
        for rows in ([full, full], [full, Maybes(None, None, None)], [Maybes(None, None, None)] * 2)
    }
    assert len(looks) == 1
    assert [name for name, *_ in looks.pop()] == ["a", "a_mask", "b", "b_mask", "c", "c_mask"]
    assert torch is not None


def test_a_field_may_not_have_the_name_of_a_mask():
    @packable
    class Clash:
        a: int | None
        a_mask: bool

    with pytest.raises(UsageError, match="mask of another") as caught:
        SampleBatch.of(Clash, [Clash(None, True)]).to_torch()
    assert caught.value.path == "a_mask"


ODD = {
    "big-endian": np.arange(3, dtype=">i2"),
    "no writing": np.broadcast_to(np.int8(3), 3),
    "bool": np.array([True, False]),
    "complex": np.array([1j], "c8"),
    "half": np.ones(2, "f2"),
    "unsigned": np.array([2**63], "u8"),
    "no dimension": np.array(2.5),
    "empty": np.zeros((0, 3), "f4"),
}


@packable
class Holder:
    x: NDArray


@pytest.mark.parametrize("name", ODD)
def test_tensors_have_the_values_and_dtypes_of_arrays(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    array = ODD[name]
    batch = SampleBatch(Holder, {"x": np.stack([array, array])})
    found = batch.to_torch()["x"]
    assert found.dtype == torch.from_numpy(np.zeros(1, array.dtype.newbyteorder("="))).dtype
    assert identical(found.numpy(), np.stack([array, array]).astype(array.dtype.newbyteorder("=")))


@pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array(["2001-01-01"], "M8[D]"), np.zeros(1, "i4,f4")])
def test_arrays_of_no_numbers_are_lists(array):
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    rows = [Holder(array), Holder(array)]
    found = SampleBatch.of(Holder, rows).to_torch()["x"]
    assert found == [array.tolist()] * 2
    torch.utils.data.default_convert({"x": found})


def test_a_dtype_that_pytorch_lacks_is_named():
    pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    with pytest.raises(SampleError, match="no such dtype") as caught:
        SampleBatch.of(Holder, [Holder(np.ones(1, np.longdouble))]).to_torch()
    assert caught.value.path == "x"


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")  # once a process
def test_sparse_matrices_are_csr():
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    cls = types.new_class("Matrices", (), {}, lambda body: body.update(__annotations__={"m": sparse.csr_array}))
    matrices = packable(cls)
    rows = [matrices(sparse.csr_array(np.eye(3, dtype="f4") * n)) for n in (1, 2)]
    batch = SampleBatch.of(matrices, rows)
    found = batch.to_torch()["m"]
    assert found.layout is torch.sparse_csr
    assert found.dtype is torch.float32
    assert found.to_dense().numpy().tolist() == batch.sparse_array("m").toarray().tolist()


def test_ragged_columns():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
    rows = [Holder(np.full((n, 2), n, ">f4")) for n in (2, 0, 3)]
    column = SampleBatch.of(Holder, rows).ragged_array("x")
    tensor = column.to_torch()
    assert (tensor.layout, tensor.dtype) == (torch.jagged, torch.float32)
    assert [part.tolist() for part in tensor.unbind()] == [row.x.tolist() for row in rows]
    array = column.to_arrow()
    assert isinstance(array, pa.ListArray)
    assert array.type == pa.list_(pa.list_(pa.float32(), 2))
    assert array.to_pylist() == [row.x.tolist() for row in rows]


def test_a_table_of_arrow_is_that_of_the_dataset(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    dataset = write_samples([mixed(number) for number in range(5)], tmp_path / "a.tar").as_type(Mixed)
    (batch,) = dataset.ordered(8)
    assert batch.to_arrow().equals(dataset.to_arrow())
    (batch,) = Dataset(tmp_path / "a.tar").ordered(8)
    assert batch.to_arrow().to_pylist() == Dataset(tmp_path / "a.tar").to_arrow().to_pylist()


# --- JAX: in a process of its own, since it has threads, which the workers of other tests' DataLoaders would not have

JAX = """
import jax
import jax.numpy as jnp
import numpy as np
from samples.test_numeric import Holder, Mixed, SampleBatch, SampleError, check, mixed

batch = SampleBatch.of(Mixed, [mixed(number) for number in range(5)])
try:
    batch.to_jax()
except SampleError as error:  # 2**40 is no int32
    assert error.path == "count" and "jax_enable_x64" in str(error)
else:
    raise AssertionError
assert SampleBatch.of(Mixed, [mixed(0)]).to_jax()["label"].dtype == "int32"
jax.config.update("jax_enable_x64", True)
columns = batch.to_jax()
check(columns)
assert columns["words"]["values"].dtype == "int32"
assert columns["words"]["offsets"].tolist() == [0, 0, 1, 3, 6, 10]

leaves = jax.tree.leaves(batch)
names = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(batch)]
assert names == ["image", "label", "weight", "valid", *(a + b for a in ("score", "count", "wave") for b in ("", "_mask"))]
other = SampleBatch.of(Mixed, [mixed(number) for number in range(5, 10)])
assert jax.tree.structure(batch) == jax.tree.structure(other), "a function is compiled once for both"
traces = []


@jax.jit
def step(batch):
    traces.append(repr(batch))
    return batch["image"].sum(), batch.weight * 2, batch


for each in (batch, other):
    total, doubled, same = step(each)
    assert int(total) == int(each.image.sum())
    assert doubled.tolist() == [2 * weight for weight in each.weight]
    assert isinstance(same, SampleBatch) and list(same.keys()) == names and len(same) == 5
    assert same["label"].tolist() == each.label
assert len(traces) == 1
moved = jax.device_put(batch)
assert isinstance(moved.image, jax.Array) and isinstance(moved["count"], jax.Array)
assert jax.tree.structure(jax.tree.map(lambda leaf: leaf + 0, moved)) == jax.tree.structure(batch)
row = jax.tree.map(np.asarray, moved).samples[2]
assert (row["label"], row["weight"]) == (2, 0.5)
jax.tree.unflatten(jax.tree.structure(batch), [object() for _ in leaves])

holder = jax.tree.map(lambda leaf: leaf, SampleBatch.of(Holder, [Holder(np.ones(2))]))
assert holder.sample_type is Holder and holder.samples == [Holder(np.ones(2))]
"""


def test_jax_takes_batches():
    need("jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", JAX]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]


def test_samples_of_several_types_have_no_columns_to_give() -> None:
    """Nothing is given for them in silence."""

    @packable
    class One:
        x: int

    @packable
    class Other:
        y: int

    untyped: Any = DictSample
    batch = SampleBatch.of(untyped, [One(1), Other(2)])
    for give in (batch.to_torch, batch.to_jax):
        with pytest.raises(UsageError, match="several types have no columns"):
            give()


# --- columns without a single item


@packable
class Sparse:
    ints: list[int]
    floats: list[float]
    flags: list[bool]
    labels: list[Annotated[int, ClassLabel(["a", "b"])]]
    pair: tuple[int, ...]
    texts: list[str]
    lists: list[list[int]]
    words: NDArray[np.int16]
    boxes: Annotated[NDArray[np.uint8], Shape(None, 4)]
    count: int | None = None


def without_items(_: int) -> Sparse:
    return Sparse([], [], [], [], (), [], [], np.empty(0, "i2"), np.empty((0, 4), "u1"))


DTYPES = {"ints": "i8", "floats": "f8", "flags": "?", "labels": "i8", "pair": "i8", "words": "i2", "boxes": "u1"}


def batches_without_items(folder: Path) -> Any:
    rows = list(map(without_items, range(3)))
    yield SampleBatch.of(Sparse, rows)
    yield SampleBatch.of(Sparse, [])
    write_samples(rows, folder / "a.tar")
    dataset = Dataset[Sparse](folder / "a.tar")
    yield next(iter(dataset.ordered(3)))
    yield next(iter(dataset.columns(*DTYPES, "texts", "lists", "count").ordered(3)))


def test_columns_without_items_have_the_declared_dtypes(tmp_path):
    need("torch")
    import pyarrow as pa

    for batch in batches_without_items(tmp_path):
        for name, dtype in DTYPES.items():
            ragged = batch.ragged_array(name)
            assert (ragged.values.dtype, len(ragged.values), len(ragged)) == (np.dtype(dtype), 0, len(batch)), name
            assert ragged.to_arrow().type.value_type == (
                pa.list_(pa.uint8(), 4) if name == "boxes" else pa.from_numpy_dtype(np.dtype(dtype))
            )
        assert batch.ragged_array("boxes").values.shape == (0, 4)
        for name in ("texts", "lists"):
            with pytest.raises(SampleError, match="no numbers"):
                batch.ragged_array(name)
        assert batch.masked_array("count").dtype == np.int64
        tensors = batch.to_torch()
        for name in ("ints", "floats", "flags", "labels", "pair"):
            assert tensors[name].dtype == SampleBatch.of(Sparse, [full()]).to_torch()[name].dtype, name
        assert tensors["words"].numel() == tensors["boxes"].numel() == 0
        assert str(tensors["boxes"].dtype) == "torch.uint8"
        assert tensors["texts"] == tensors["lists"] == [[]] * len(batch)
        assert str(tensors["count"].dtype) == "torch.int64"
        assert tensors["count_mask"].tolist() == [True] * len(batch)
        assert batch.to_arrow().schema.field("ints").type == pa.list_(pa.int64())


def full() -> Sparse:
    return Sparse([1], [1.0], [True], [1], (1,), ["a"], [[1]], np.ones(1, "i2"), np.ones((1, 4), "u1"), 1)


JAX_WITHOUT_ITEMS = """
import sys
from pathlib import Path
from samples.test_numeric import batches_without_items

for batch in batches_without_items(Path(sys.argv[1])):
    found = batch.to_jax()
    names = ("ints", "floats", "flags")
    assert [str(found[name]["values"].dtype) for name in names] == ["int32", "float32", "bool"]
    assert found["texts"] == [[]] * len(batch)
"""


def test_columns_without_items_are_those_of_jax(tmp_path):
    """In a process of its own: one that has JAX must not fork, and other tests do."""
    need("jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", JAX_WITHOUT_ITEMS, str(tmp_path)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_columns_without_items_their_dtypes(tmp_path, workers):
    need("torch")
    from torch.utils.data import DataLoader

    rows = [without_items(0)] * 2 + [full()] * 2
    loader = write_samples(rows, tmp_path / "a.tar").loader(2, rank=0, world_size=1, format="torch")
    first, second = DataLoader(loader, batch_size=None, num_workers=workers)
    for name in ("ints", "floats", "flags", "labels", "pair"):
        assert first[name].dtype == second[name].dtype, name


def test_ragged_values_count_rows_without_items():
    """An array of shape (3, 0) has three rows: beside arrays of another shape, offsets would else point nowhere."""
    batch = SampleBatch(DictSample, {"x": [np.empty((3, 0)), np.ones((2, 2))]})
    with pytest.raises(SampleError, match="differ in more than their length"):
        batch.ragged_array("x")
    ragged = SampleBatch(DictSample, {"x": [np.empty((0, 3), "f4"), np.empty((0, 2), "f4")]}).ragged_array("x")
    assert (ragged.values.dtype, ragged.offsets.tolist()) == (np.float32, [0, 0, 0])
