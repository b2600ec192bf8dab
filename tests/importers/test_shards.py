"""Shards that are already there: the type of all samples, whoever wrote them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.dataset import write_samples
from atdata.errors import ConflictError, SampleError, ShardError, ShardNotFoundError
from atdata.importers import open_path
from atdata.samples import packable
from atdata.samples.npy import encode_array
from atdata.shards import write_shard


@packable
class Digit:
    image: NDArray[np.float32]
    label: int
    boxes: list[list[float]]
    extra: dict
    note: str | None = None


DIGITS = [
    Digit(np.full((2, 2), i, "f4"), i, [[0.5, i]] * i, {"k": [i, None, "x"]}, None if i % 2 else "even")
    for i in range(5)
]


def shard(place: Path, *rows: dict[str, Any]) -> Path:
    write_shard(place, ((f"{i:03d}", msgspec.msgpack.encode(row)) for i, row in enumerate(rows)))
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_samples(DIGITS, tmp_path / "in" / "digits-%03d.tar", maxcount=2)
    return tmp_path / "in"


def test_one_shard_brace_notation_and_a_folder(folder: Path, imported: Any, types_of: Any) -> None:
    (folder / "README.md").write_text("hello")
    for where, count in ((folder / "digits-000.tar", 2), (f"{folder}/digits-{{000..002}}.tar", 5), (folder, 5)):
        result, samples = imported(where)
        assert result.kind == "shards"
        assert types_of(result) == {
            "image": "NDArray[float32] [2, 2]",
            "label": "int",
            "boxes": "list[list[float]]",
            "extra": "dict",
            "note": "str | None",
        }
        assert [s.packed for s in samples] == [digit.packed for digit in DIGITS[:count]]
    assert "passed over 1 (no shards): README.md" in result.notes


def test_a_name_that_looks_like_brace_notation_is_a_name(folder: Path, imported: Any) -> None:
    strange = folder.parent / "{a,b}"
    folder.rename(strange)
    assert imported(strange)[0].count == 5
    assert imported(strange / "digits-000.tar")[0].count == 2


def test_samples_with_other_fields_and_shorter_numbers(tmp_path: Path, imported: Any, types_of: Any) -> None:
    place = shard(tmp_path / "x.tar", {"a": 1, "b-c": [1]}, {"a": 2.5}, {"a": None, "b-c": [0.5], "d": b"raw"})
    result, samples = imported(place)
    assert types_of(result) == {"a": "float | None", "b_c": "list[float] | None", "d": "bytes | None"}
    assert [(s.a, s.b_c, s.d) for s in samples] == [(1.0, [1.0], None), (2.5, None, None), (None, [0.5], b"raw")]
    assert result.notes == (
        "a: empty in 1 row, so it is optional",
        "b-c: empty in 1 row, so it is optional",
        "d: empty in 2 rows, so it is optional",
        "renamed, for a field's name is a Python name: 'b-c' is b_c",
    )


def test_unlike_values_are_named_with_their_samples(tmp_path: Path) -> None:
    shard(tmp_path / "in/a.tar", {"x": 1}, {"x": 2})
    last = shard(tmp_path / "in/b.tar", {"x": "three"})
    with pytest.raises(SampleError, match="'x'") as caught:
        open_path(tmp_path / "in", "Row")
    assert caught.value.path == f"sample 000 of {last}, x"
    assert caught.value.expected == f"int, as in sample 000 of {tmp_path / 'in/a.tar'}"


def test_a_sample_that_is_none_is_named(tmp_path: Path) -> None:
    place = tmp_path / "x.tar"
    write_shard(place, [("a", DIGITS[0].packed), ("b", b"\xc1")])
    with pytest.raises(SampleError) as caught:
        open_path(place, "Row")
    assert (caught.value.uri, caught.value.path) == (str(place), "sample b")


def test_a_damaged_shard_is_refused(folder: Path) -> None:
    place = folder / "digits-001.tar"
    place.write_bytes(place.read_bytes()[:-700])
    with pytest.raises(ShardError):
        open_path(folder, "Row")


def test_a_shard_that_is_not_there(folder: Path) -> None:
    for where in (folder / "digits-009.tar", f"{folder}/digits-{{000..009}}.tar"):
        with pytest.raises(ShardNotFoundError):
            open_path(where, "Row")


def test_shards_that_change_in_between_are_refused(folder: Path) -> None:
    result = open_path(folder, "Row")
    shutil.copy(folder / "digits-002.tar", folder / "digits-000.tar")
    with pytest.raises(ConflictError):
        next(result.samples())


def compact(array: np.ndarray[Any, Any]) -> bytes:
    dtype = array.dtype.str.encode()
    return bytes([len(dtype)]) + dtype + struct.pack(f"<B{array.ndim}q", array.ndim, *array.shape) + array.tobytes()


def test_arrays_in_the_compact_form_are_arrays_and_written_as_npy(tmp_path: Path, imported: Any, types_of: Any) -> None:
    arrays = [np.arange(6, dtype="<f4").reshape(2, 3) * number for number in range(3)]
    result, samples = imported(shard(tmp_path / "a.tar", *({"x": compact(array), "n": 1} for array in arrays)))
    assert types_of(result) == {"x": "NDArray[float32] [2, 3]", "n": "int"}
    for sample, array in zip(samples, arrays, strict=True):
        assert np.array_equal(sample.x, array)
        assert b"\x93NUMPY" in sample.packed


@pytest.mark.parametrize("inside", [lambda raw: raw, lambda raw: [raw], lambda raw: {"a": [raw]}])
@pytest.mark.parametrize(
    "raw", [compact(np.arange(3))[:-1], compact(np.arange(3)) + b"x", encode_array(np.arange(3))[:-1]]
)
def test_a_damaged_array_is_not_published_as_bytes(tmp_path: Path, inside: Any, raw: bytes) -> None:
    with pytest.raises(SampleError, match="begin like an array"):
        open_path(shard(tmp_path / "a.tar", {"x": inside(raw)}), "Row")


def test_an_array_inside_a_list_is_not_published_as_bytes(tmp_path: Path) -> None:
    for raw in (compact(np.arange(3)), encode_array(np.arange(3))):
        with pytest.raises(SampleError, match="declare the sample type") as caught:
            open_path(shard(tmp_path / "a.tar", {"x": [1, [raw]]}), "Row")
        assert caught.value.path is not None
        assert "x[1][0]" in caught.value.path
