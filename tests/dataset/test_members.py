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
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DictSample
from atdata.errors import SampleError, ShardError, UsageError

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


# --- types and layouts ------------------------------------------------------------------------------------------------


@atdata.packable
class Picture:
    image: atdata.Image
    label: int
    caption: str
    meta: dict[str, Any]
    vector: NDArray[np.float32]
    seg: atdata.Image | None = None


def picture(number: int) -> Picture:
    pixels = np.random.default_rng(number).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    return Picture(
        image=atdata.Image(pixels, encoding="JPEG" if number % 2 else "PNG"),
        label=number,
        caption=f"nº {number}",
        meta={"number": number, "list": [1.5, None, "x"]},
        vector=np.arange(number % 5, dtype=np.float32),
        seg=atdata.Image(pixels[..., 0]) if number % 3 == 0 else None,
    )


LAYOUT = {
    "image": "jpg|png", "label": "cls", "caption": "txt", "meta": "json", "vector": "npy", "seg": "seg.png",
}  # fmt: skip
PICTURES = [picture(number) for number in range(25)]


@pytest.fixture
def pictures(tmp_path: Path) -> Dataset[Picture]:
    return atdata.write_samples(PICTURES, tmp_path / "pictures-%06d.tar", maxcount=10, layout=LAYOUT, manifest=True)


def read_by_webdataset(dataset: Dataset[Any]) -> list[dict[str, Any]]:
    return [sample for shard in dataset.shards for sample in expected(Path(shard.url))]


def test_what_is_written_comes_back_equal_here_and_from_webdataset(pictures):
    assert list(pictures) == PICTURES
    assert list(Dataset[Picture]([shard.url for shard in pictures.shards], layout=LAYOUT)) == PICTURES
    for sample, theirs in zip(PICTURES, read_by_webdataset(pictures), strict=True):
        names = {"image": "jpg" if sample.label % 2 else "png", "seg": "seg.png"}
        assert theirs[names["image"]] == sample.image.data
        assert (theirs["cls"], theirs["txt"], theirs["json"]) == (sample.label, sample.caption, sample.meta)
        assert np.array_equal(theirs["npy"], sample.vector)
        assert ("seg.png" in theirs) == (sample.seg is not None)


def test_equal_samples_give_equal_files(pictures, tmp_path):
    again = atdata.write_samples(PICTURES, tmp_path / "again-%06d.tar", maxcount=10, layout=LAYOUT)
    assert [shard.digest for shard in again.shards] == [shard.digest for shard in pictures.shards]


def test_everything_else_works_on_them(pictures):
    dataset = Dataset[Picture]([shard.url for shard in pictures.shards])  # the type implies the layout
    assert len(dataset) == 25
    assert dataset[3] == PICTURES[3]
    assert dataset[[7, 2, 20]].label == [7, 2, 20]
    assert dataset.get("000000013") == PICTURES[13]
    assert sorted(batch.label for batch in dataset.shuffled(seed=1)) == list(range(25))
    whole = [n for batch in dataset.loader(4, shuffle="global", seed=3) for n in batch.label]
    ranks = [
        [n for b in dataset.loader(2, shuffle="global", seed=3, rank=r, world_size=2) for n in b.label] for r in (0, 1)
    ]
    assert sorted(ranks[0] + ranks[1]) == sorted(whole) == list(range(25))
    assert [row.label for row in dataset.columns("label")] == list(range(25))
    assert dataset.to_pandas()["caption"].tolist() == [sample.caption for sample in PICTURES]
    assert dataset.filter(lambda sample: sample.label > 22).head() == PICTURES[23:]
    assert dataset[:4].decode_images("image").shape == (4, 8, 9, 3)
    seen = dataset.view.reader()
    seen.read(range(5))
    only = dataset.columns("label").view.reader()
    only.read(range(5))
    assert only.statistics.bytes == 5 < seen.statistics.bytes  # digits of labels


def test_resuming_in_the_middle_gives_the_rest(pictures):
    loader = pictures.loader(4, shuffle="global", seed=5)
    first = [next(iterator := iter(loader)).label, next(iterator).label]
    resumed = pictures.loader(4, shuffle="global", seed=5)
    resumed.load_state_dict(loader.state_dict())
    rest = [batch.label for batch in resumed]
    assert sorted(n for some in [*first, *rest] for n in some) == list(range(25))


@pytest.mark.parametrize("kept", ["verified before", "new"])
def test_a_shard_that_was_scanned_before_is_read_alike(pictures, tmp_path, kept):
    cache = tmp_path / "cache"
    for _ in range(2 if kept == "verified before" else 1):
        assert list(Dataset[Picture]([shard.url for shard in pictures.shards], cache=cache)) == PICTURES


def member(name: str, data: bytes = b"1") -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.usefixtures("either_form")
@pytest.mark.parametrize(
    ("names", "where"),
    [
        (["a.cls", "b.cls", "a.txt"], "a.txt"),
        (["a.cls", "a.CLS"], "a.CLS"),
        (["a.cls", "x/.hidden"], "x/.hidden"),
        (["a.msgpack", "b.cls"], "b.cls"),
        (["a.cls", "b.msgpack"], "b.msgpack"),
        (["README", "a.msgpack"], "README"),
        (["README"], "README"),
    ],
)
def test_half_a_sample_is_never_read(tmp_path, names, where):
    path = tmp_path / "x.tar"
    path.write_bytes(b"".join(map(member, names)) + bytes(1024))
    with pytest.raises(ShardError) as caught:
        list(Dataset(str(path)))
    assert caught.value.path == where


@atdata.packable
class Labelled:
    label: int
    note: str | None = None


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a.txt": b"x"}, "a sample has no file for a field"),
        ({"a.cls": b"1", "a.id": b"1"}, "a sample has several files for one field"),
        ({"a.cls": b"one"}, "a file is not an integer as text"),
        ({"a.cls": b"1", "a.txt": b"\xff"}, "a file is not text in UTF-8"),
        ({"a.cls": b"9" * 19}, None),
        ({"a.cls": b"9" * 30}, "a file is not an integer as text"),
        ({"a.cls.gz": gzip.compress(b"7")}, None),
        ({"a.cls.gz": b"7"}, "a file is not an integer as text"),
    ],
)
def test_a_file_that_does_not_hold_its_field_is_named(tmp_path, files, what):
    path = tmp_path / "x.tar"
    path.write_bytes(member("0.cls") + b"".join(member(*file) for file in files.items()) + bytes(1024))
    dataset = Dataset[Labelled](str(path))
    assert dataset[0].label == 1
    if what is None:
        assert len(list(dataset)) == 2
        return
    with pytest.raises(SampleError) as caught:
        list(dataset)
    assert (caught.value.what, caught.value.uri) == (what, str(path))
    assert caught.value.path.startswith("a: ")


@pytest.mark.parametrize("extension", ["pth", "pyd", "pickle", "pkl"])
def test_a_pickle_is_never_read(tmp_path, extension):
    path = tmp_path / "x.tar"
    path.write_bytes(member(f"a.{extension}", b"cos\nsystem\n(S'true'\ntR.") + bytes(1024))
    with pytest.raises(SampleError) as caught:
        list(Dataset(str(path)))
    assert "pickle" in caught.value.what

    @atdata.packable
    class Kept:
        model: bytes

    assert Dataset[Kept](str(path), layout={"model": extension})[0].model.startswith(b"cos")
    with pytest.raises(UsageError):
        len(Dataset[Labelled](str(path), layout={"label": extension})[0])


@pytest.mark.parametrize(
    "layout",
    [
        {}, "cls", {"label": ""}, {"label": "a/b"}, {"label": "cls", "note": "CLS"}, {"label": "cls", "note": "cls.gz"},
        {"label": 7}, {"label": "cls", "other": "txt"}, {"note": "txt"}, {"label": "a..b"}, {7: "cls"},
    ],
)  # fmt: skip
def test_a_layout_that_cannot_be_meant_is_refused(tmp_path, layout):
    with pytest.raises(UsageError):
        atdata.write_samples([Labelled(1)], tmp_path / "x.tar", layout=layout)
    (tmp_path / "y.tar").write_bytes(member("a.cls") + bytes(1024))
    with pytest.raises(UsageError):
        list(Dataset[Labelled](str(tmp_path / "y.tar"), layout=layout))


@pytest.mark.parametrize(
    ("sample", "layout"),
    [
        (Labelled(1, "x"), {"label": "cls"}),  # the note would be lost
        (DictSample({"a": 1, "b": 2}), {"a": "cls"}),
        (Labelled(1), {"label": "msgpack", "note": "txt"}),  # a packed sample, as it would be read
        (DictSample({"a": "text"}), {"a": "cls"}),
        (DictSample({"a": None}), {"a": "txt"}),
    ],
)
def test_nothing_is_written_that_would_be_read_otherwise(tmp_path, sample, layout):
    with pytest.raises(SampleError):
        atdata.write_samples([sample], tmp_path / "x.tar", layout=layout)
    assert list(tmp_path.iterdir()) == []


def test_an_image_stands_in_a_file_that_says_what_it_is(tmp_path):
    layout = {**LAYOUT, "image": "jpg"}
    with pytest.raises(SampleError) as caught:
        atdata.write_samples(PICTURES[:1], tmp_path / "x.tar", layout=layout)
    assert "jpg|png" in str(caught.value.hint)


def test_files_that_unpack_to_too_much_are_refused(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(member("a.txt.gz", gzip.compress(bytes((1 << 28) + 1))) + bytes(1024))
    with pytest.raises(SampleError):
        list(Dataset(str(path)))
