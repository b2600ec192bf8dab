"""A small file does not fill the memory, however large it says it is: measured in processes of their own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy_format

pytestmark = pytest.mark.slow

MOST = 512 << 20  # bytes above what the libraries themselves take: what may be held, decoded and as Python has it
READ = """
import json, sys
import numpy, pyarrow.parquet, pyarrow.compute, PIL.Image
import atdata.importers.parquet, atdata.dataset
from atdata.errors import AtdataError
from atdata.importers import open_path

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

before = peak()
try:
    result = open_path(sys.argv[1], "Row")
    said, read = None, sum(1 for _ in result.samples())
except AtdataError as error:
    said, read = type(error).__name__, None
print(json.dumps([said, read, peak() - before]))
"""


def read(path: Path) -> tuple[str | None, int | None, int]:
    """The error, or how many samples there were, and the most memory that it took."""
    command = [sys.executable, "-c", READ, str(path)]
    environment = {**os.environ, "ATDATA_CACHE": str(path.parent / "cache")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    said, count, memory = json.loads(done.stdout)
    return said, count, memory


def one_long_text(place: Path) -> None:
    """A text of 32 MB, once in a dictionary and a thousand times in the rows."""
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.array(["x" * (1 << 25)]).dictionary_encode()
    rows = text.take(pa.array([0] * 1000))
    parquet.write_table(pa.table({"x": rows}), place, compression="zstd", dictionary_pagesize_limit=1 << 30)


def one_long_value(place: Path) -> None:
    """One value of half a gigabyte, compressed to nothing."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.array([bytes(1 << 29)])
    parquet.write_table(pa.table({"x": rows}), place, compression="zstd", use_dictionary=False, write_statistics=False)


def one_long_list(place: Path) -> None:
    """A list of fifty million zeros, as runs in a dictionary."""
    import pyarrow as pa
    from pyarrow import parquet

    zeros = pa.array(np.zeros(50_000_000, np.int64))
    rows = pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)
    parquet.write_table(pa.table({"x": rows}), place, compression="zstd", write_statistics=False)


def lists_of_nothing(place: Path) -> None:
    """Nulls that would be lists of a hundred million ints each."""
    import pyarrow as pa
    from pyarrow import parquet

    kind = pa.list_(pa.int8(), 100_000_000)
    rows = pa.FixedSizeListArray.from_arrays(pa.nulls(100_000_000, pa.int8()), 100_000_000)
    table = pa.table({"x": pa.chunked_array([rows])}, schema=pa.schema([("x", kind)]))
    parquet.write_table(table, place, compression="zstd", write_statistics=False)


def texts_that_begin_alike(place: Path) -> None:
    """Three hundred texts of a megabyte, each of which begins with the one before it: no more than they should be."""
    import pyarrow as pa
    from pyarrow import parquet

    long = "x" * (1 << 20)
    rows = pa.array([long + str(number) for number in range(300)])
    encoding = {"x": "DELTA_BYTE_ARRAY"}
    parquet.write_table(
        pa.table({"x": rows}), place, use_dictionary=False, column_encoding=encoding, compression="zstd"
    )


def rows_of_nothing(place: Path) -> None:
    """A hundred million rows of nothing."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"x": pa.nulls(100_000_000)}), place, compression="zstd", row_group_size=100_000_000)


def a_footer_that_lies(place: Path) -> None:
    """A footer that announces a million row groups."""
    fields = b"\x15\x04\x19\x1c\x48\x01r\x15\x00\x00\x16\x00\x19\xfc\xc0\x84\x3d"  # version, schema, rows, groups
    place.write_bytes(b"PAR1" + fields + struct.pack("<I", len(fields)) + b"PAR1")


def zipped(place: Path, shape: tuple[int, ...], fortran: bool, method: int) -> None:
    header = {"descr": "|u1", "fortran_order": fortran, "shape": shape}
    with zipfile.ZipFile(place, "w", method) as archive, archive.open("x.npy", "w", force_zip64=True) as file:
        npy_format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
        for _ in range(int(np.prod(shape)) >> 24):
            file.write(bytes(1 << 24))


def one_long_row(place: Path) -> None:
    """An array whose only row has half a gigabyte of zeros."""
    zipped(place, (1, 1 << 29), False, zipfile.ZIP_DEFLATED)


def all_at_once(place: Path) -> None:
    """An array in an order in which it can only be read whole."""
    zipped(place, (1 << 15, 1 << 14), True, zipfile.ZIP_DEFLATED)


def in_one_piece(place: Path) -> None:
    """Half a gigabyte in a few bytes, compressed as numpy does not, which `zipfile` unpacks at the first read."""
    zipped(place, (1 << 13, 1 << 16), False, zipfile.ZIP_BZIP2)


def picture(place: Path, width: int, height: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj()
    row = bytes(1 + width * 4)
    rows = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def a_large_picture(place: Path) -> None:
    """A picture of a hundred million pixels, all the same."""
    picture(place / "a.png", 10_000, 10_000)


def a_long_line(place: Path) -> None:
    """A line without end."""
    with place.open("w") as file:
        file.write("a,b\n1,")
        for _ in range(40):
            file.write("x" * (1 << 20))


BOMBS: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "dictionary.parquet": (one_long_text, "LimitError"),
    "value.parquet": (one_long_value, "LimitError"),
    "list.parquet": (one_long_list, "LimitError"),
    "nulls.parquet": (lists_of_nothing, "LimitError"),
    "beginnings.parquet": (texts_that_begin_alike, None),
    "rows.parquet": (rows_of_nothing, "LimitError"),
    "footer.parquet": (a_footer_that_lies, "SampleError"),
    "row.npz": (one_long_row, "LimitError"),
    "fortran.npz": (all_at_once, "LimitError"),
    "bzip2.npz": (in_one_piece, "SampleError"),
    "pictures": (a_large_picture, "LimitError"),
    "line.csv": (a_long_line, "LimitError"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process took")
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_does_not_fill_the_memory(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    make, expected = BOMBS[name]
    place = tmp_path / name
    make(place)
    said, _, memory = read(place)
    assert said == expected
    assert memory < MOST, f"{memory >> 20} MiB"


def test_what_repeats_itself_honestly_is_read(tmp_path: Path) -> None:
    """Columns of one value, lists of zeros, arrays and pictures of one colour: small files of what people have."""
    pytest.importorskip("PIL")
    pa = pytest.importorskip("pyarrow")
    rows = {
        "name": ["the same"] * 20_000,
        "mask": list(np.zeros((20_000, 64), np.uint8)),
        "text": ["x" * 10_000] * 20_000,
        "none": [None] * 20_000,
    }
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(rows), tmp_path / "x.parquet", compression="zstd")
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((20_000, 1000), np.uint8))
    picture(tmp_path / "x" / "a.png", 6_000, 6_000)
    for name, count in (("x.parquet", 20_000), ("x.npz", 20_000), ("x", 1)):
        assert read(tmp_path / name)[:2] == (None, count), (name, (tmp_path / name).stat().st_size)
