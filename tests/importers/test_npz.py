"""Arrays side by side: every dtype comes back as it was, and headers that lie are refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.errors import ConflictError, SampleError, UsageError
from atdata.importers import open_path
from atdata.importers.npz import CHUNK
from support.arrays import NESTED, SPECIMENS, identical, simple_arrays


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_arrays_are_columns(place: Path, imported: Any, types_of: Any) -> None:
    image = np.arange(24, dtype="u1").reshape(3, 2, 4)
    npz(
        place,
        image=image,
        label=np.array([3, 1, 2], "i2"),
        weight=np.array([0.5, 1, np.nan], "f4"),
        good=np.array([True, False, True]),
        name=np.array(["é", "", "abc"]),
        raw=np.array([b"a", b"bc", b""]),
        big=np.array([2**64 - 1, 0, 1], "u8"),
        when=np.array(["2024-02-29", "NaT", "2000-01-01"], "M8[D]"),
        wave=np.array([1j, 2, 3], ">c8"),
    )
    result, samples = imported(place)
    assert types_of(result) == {
        "image": "NDArray[uint8] [2, 4]",
        "label": "int",
        "weight": "float",
        "good": "bool",
        "name": "str",
        "raw": "bytes",
        "big": "int",
        "when": "NDArray[datetime64] []",
        "wave": "NDArray[complex64] []",
    }
    assert result.kind == "arrays (.npz)"
    assert np.array_equal(np.stack([s.image for s in samples]), image)
    assert [(s.label, s.good, s.name, s.raw) for s in samples] == [
        (3, True, "é", b"a"),
        (1, False, "", b"bc"),
        (2, True, "abc", b""),
    ]
    assert samples[0].big == 2**64 - 1
    assert samples[0].when == np.datetime64("2024-02-29")
    assert samples[0].wave.dtype == np.dtype(">c8")
    assert samples[0].image.flags.writeable


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
@pytest.mark.parametrize("name", [name for name in SPECIMENS if name != "32 dimensions"])
def test_rows_of_every_dtype_are_bit_equal(place: Path, imported: Any, name: str) -> None:
    specimen = SPECIMENS[name]
    array = np.zeros((2, *specimen.shape), specimen.dtype)
    array[...] = specimen
    npz(place, x=array, n=np.arange(2))
    samples = imported(place)[1]
    if isinstance(samples[0].x, np.ndarray):
        assert all(identical(sample.x, array[0, ...]) for sample in samples)
    else:
        assert [sample.x for sample in samples] == [specimen.item()] * 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    simple_arrays.filter(lambda array: array.ndim > 1 and array.size), st.sampled_from(["savez", "compressed", "npy"])
)
def test_any_array_of_rows(tmp_path: Path, array: np.ndarray, how: str) -> None:
    place = tmp_path / ("x.npy" if how == "npy" else "x.npz")
    if how == "npy":
        np.save(place, array)
    else:
        (np.savez if how == "savez" else np.savez_compressed)(place, data=array)
    samples: list[Any] = list(open_path(place, "Row").samples())
    assert len(samples) == len(array)
    for sample, row in zip(samples, array, strict=True):
        assert identical(np.ascontiguousarray(sample.data), np.ascontiguousarray(row))


def test_fortran_order_and_many_rows(place: Path, imported: Any) -> None:
    count = CHUNK // 8 + 3
    npz(place, f=np.asfortranarray(np.arange(count * 2).reshape(count, 2)), n=np.arange(count))
    samples = list(open_path(place, "Row").samples())
    assert [s.n for s in samples] == list(range(count))
    assert all(s.f.tolist() == [2 * s.n, 2 * s.n + 1] for s in samples)


def test_names_that_python_cannot_have_are_made_and_noted(place: Path, imported: Any, types_of: Any) -> None:
    npz(place, **{"x-1": np.arange(2), "x_1": np.arange(2), "class": np.arange(2), "0": np.arange(2)})
    result, _ = imported(place)
    assert list(types_of(result)) == ["x_1_2", "x_1", "class_", "_0"]
    assert result.notes == (
        "renamed, for a field's name is a Python name: 'x-1' is x_1_2, 'class' is class_, '0' is _0",
    )


def test_other_members_are_noted(place: Path, imported: Any) -> None:
    npz(place, x=np.arange(2))
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("README", "hello")
    assert imported(place)[0].notes == ("passed over 1 (no arrays): README",)


def test_the_fields_of_a_structured_npy_are_columns(tmp_path: Path, imported: Any, types_of: Any) -> None:
    array = np.zeros(3, NESTED)
    array["id"] = [1, 2, 3]
    array["name"] = ["a", "é", ""]
    np.save(tmp_path / "x.npy", array)
    result, samples = imported(tmp_path / "x.npy")
    assert types_of(result) == {"id": "int", "pose": "NDArray[void] []", "name": "str"}
    assert [(s.id, s.name) for s in samples] == [(1, "a"), (2, "é"), (3, "")]


def test_a_structured_dtype_with_names_that_are_not_latin(tmp_path: Path, imported: Any) -> None:
    with pytest.warns(UserWarning, match="Stored array"):
        np.save(tmp_path / "x.npy", np.array([(1,), (2,)], [("名", "<i4")]))
    assert [s.名 for s in imported(tmp_path / "x.npy")[1]] == [1, 2]


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"x": np.arange(3), "scale": np.float64(2)}, "'scale' is a single value"),
        ({"x": np.arange(3), "y": np.arange(4)}, "different numbers of rows"),
        ({}, "no arrays"),
        ({"x": np.zeros((0, 3))}, "no samples"),
        ({"x": np.zeros((3, 0))}, "no samples"),
    ],
)
def test_arrays_that_are_no_rows(place: Path, arrays: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        open_path(npz(place, **arrays), "Row")
    assert caught.value.uri == str(place)
    if "rows" in what:
        assert caught.value.actual == "x: 3, y: 4"


def test_python_objects_are_never_read(place: Path) -> None:
    class Boom:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was read",)

    npz(place, x=np.array([Boom(), Boom()], object))
    with pytest.raises(SampleError, match="Python objects") as caught:
        open_path(place, "Row")
    assert (caught.value.uri, caught.value.path) == (str(place), "x")


def npy(shape: str, items: bytes, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + items


@pytest.mark.parametrize(
    "data",
    [
        npy("(1000000000000,)", bytes(8)),
        npy("(1, 1000000000000)", bytes(8)),
        npy("(-1,)", b""),
        npy("(3,)", bytes(16)),
        npy("(1,)", bytes(16)),
        npy("(1,)", bytes(8), "'|O'"),
        npy("(1,)", bytes(8), "__import__('os')"),
        npy("(1,)", b"\x00\xd8\x00\x00", "'<U1'"),
        npy("(2,)", b"\xff\xff\xff\x7f" * 2, "'<U1'"),
        npy("(2, 1)", b"\xff\xff\xff\x7f" * 2, "'<U1'"),
        b"\x93NUMPY\x03\x00\xff\xff\xff\x7f",
        b"\x93NUMPY\x09\x00",
        b"hello",
        b"",
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_headers_that_lie_are_refused(tmp_path: Path, data: bytes, inside: bool) -> None:
    place = tmp_path / ("x.npz" if inside else "x.npy")
    if inside:
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", data)
    else:
        place.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(SampleError) as caught:
            open_path(place, "Row")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.uri == str(place)


def test_a_zip_that_announces_more_than_it_holds_is_refused(place: Path) -> None:
    data = npy("(100,)", bytes(800))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    honest, size = buffer.getvalue(), struct.pack("<I", len(data))
    lie = npy("(900000000,)", bytes(800))
    announced = len(lie) - 800 + 8 * 900_000_000
    assert announced > 2**32  # beyond what a zip header holds: take the most it does
    for claim in (0, len(data) - 8, 2**32 - 2):
        place.write_bytes(honest.replace(size, struct.pack("<I", claim)))
        with pytest.raises(SampleError):
            open_path(place, "Row")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_damaged_byte_is_refused_or_changes_nothing(place: Path, compression: int) -> None:
    with zipfile.ZipFile(place, "w", compression) as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.arange(6.0).reshape(2, 3))
        archive.writestr("x.npy", buffer.getvalue())
    data = place.read_bytes()
    for position in range(0, len(data), 3):
        place.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            samples: list[Any] = list(open_path(place, "Row").samples())
        except (SampleError, UsageError):
            continue
        assert [next(iter(vars(s).values())).tolist() for s in samples] == [[0, 1, 2], [3, 4, 5]]


def test_a_file_that_changes_in_between_is_refused(place: Path) -> None:
    result = open_path(npz(place, x=np.arange(3)), "Row")
    npz(place, x=np.arange(4))
    with pytest.raises(ConflictError):
        list(result.samples())
