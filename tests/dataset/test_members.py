"""Promise: shards whose samples are one file a field are read as `webdataset` reads them, and written so that it does."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata import Dataset, DictSample

webdataset = pytest.importorskip("webdataset")

MANY = os.environ.get("ATDATA_TEST_MANY") == "1"


def npy(array: Any) -> bytes:
    output = io.BytesIO()
    np.save(output, array)
    return output.getvalue()


def npz(**arrays: Any) -> bytes:
    output = io.BytesIO()
    np.savez_compressed(output, **arrays)
    return output.getvalue()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
VALUES = JSON.filter(lambda value: value is not None)  # webdataset gives the bytes of a file that holds null
ARRAYS = st.sampled_from(
    [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.int16), np.array(7), np.array([True, False])]
)
TENSORS = st.sampled_from([np.arange(4, dtype=np.float32), np.ones((2, 2), np.int64), np.zeros((0,), np.uint8)])
CONTENT: dict[str, st.SearchStrategy[bytes]] = {
    **dict.fromkeys(
        ("cls", "cls2", "id", "index", "inx", "class", "count"), st.integers(-(10**9), 10**9).map(b"%d".__mod__)
    ),
    **dict.fromkeys(("txt", "text", "transcript"), st.text(max_size=20).map(str.encode)),
    **dict.fromkeys(("json", "jsn"), VALUES.map(json.dumps).map(str.encode)),
    **dict.fromkeys(("mp", "msg"), VALUES.map(msgspec.msgpack.encode)),
    "npy": ARRAYS.map(npy),
    "npz": ARRAYS.map(lambda array: npz(a=array, b=array)),
    "ten": st.lists(TENSORS, min_size=1, max_size=2).map(lambda some: bytes(webdataset.tenbin.encode_buffer(some))),
    **dict.fromkeys(("jpg", "png", "wav", "mp4", "bin", "seg.png", "left.txt.bin"), st.binary(max_size=700)),
    "caption.txt": st.text(max_size=20).map(str.encode),
}
GZIPPED = {f"{name}.gz": CONTENT[name].map(gzip.compress) for name in ("txt", "json", "cls", "npy", "bin")}
FILES = {**CONTENT, **GZIPPED}
KEYS = st.text(
    st.characters(exclude_characters="./\0\\", exclude_categories=("Cs",), max_codepoint=0x2FFF),
    min_size=1,
    max_size=30,
).filter(lambda key: not key.startswith("__"))
FOLDERS = st.sampled_from(["", "", "", "a/", "./", "n0144/deep/", "v1.5/", "long" * 30 + "/"])
STRAY = st.sampled_from(["README", "__meta__", "__index__/x.json", ".DS_Store", "folder/LICENSE"])


@st.composite
def archives(draw: st.DrawFn) -> tuple[int, float, list[tuple[str, bytes | None]]]:
    """The members of a tar as some program may write it: the form, their time, and name and content of each."""
    members: list[tuple[str, bytes | None]] = []
    for folder, key in draw(st.lists(st.tuples(FOLDERS, KEYS), max_size=6, unique=True)):
        if folder and draw(st.booleans()):
            members.append((folder.rstrip("/"), None))
        if draw(st.integers(0, 5)) == 0:
            members.append((draw(STRAY), b"stray"))
        for extension in draw(st.lists(st.sampled_from(sorted(FILES)), min_size=1, max_size=5, unique=True)):
            cased = extension.upper() if draw(st.integers(0, 5)) == 0 else extension
            members.append((f"{folder}{key}.{cased}", draw(FILES[extension])))
    form = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    return form, draw(st.sampled_from([0, 1234567890, 1234567890.25])), members


def tar(form: int, time: float, members: list[tuple[str, bytes | None]]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data or b""), time if form == tarfile.PAX_FORMAT else int(time)
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            with contextlib.suppress(ValueError):  # a name that ustar cannot hold
                archive.addfile(info, io.BytesIO(data or b""))
    return output.getvalue()


def expected(path: Path) -> list[dict[str, Any]]:
    """What `webdataset` reads, by the rules of its documentation where its decoders lack an extension."""

    def samples() -> list[dict[str, Any]]:
        with path.open("rb") as file:
            files = webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": file}])
            return list(webdataset.tariterators.group_by_keys(files))

    raw, decoded = samples(), list(webdataset.decode()(samples()))
    for one, other in zip(raw, decoded, strict=True):
        for name in ("class", "count"):  # documented as integers
            if name in one:
                other[name] = int(one[name])
    return [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in decoded]


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, np.ndarray):
        return isinstance(ours, np.ndarray) and ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, bytes):
        return bytes(getattr(ours, "data", ours)) == theirs
    return type(ours) is type(theirs) and ours == theirs


def keys_of(dataset: Dataset[Any]) -> list[str]:
    table = dataset.view.table
    return [key for shard in range(len(table.refs)) for key in list(table.shards.keys(shard))]


@pytest.mark.usefixtures("either_form")
@settings(
    max_examples=2000 if MANY else 100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(archives())
def test_every_sample_is_what_webdataset_reads(tmp_path_factory, archive):
    path = tmp_path_factory.mktemp("members") / "x.tar"
    path.write_bytes(tar(*archive))
    theirs = expected(path)
    dataset: Dataset[DictSample] = Dataset(str(path))
    if not theirs:
        return
    ours = list(dataset)
    assert len(ours) == len(dataset) == len(theirs)
    assert keys_of(dataset) == [sample.pop("__key__") for sample in theirs]
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert equal(dict(one), other)
        assert equal(dict(dataset[number]), other)
