"""Promise: shards whose samples are one file a field are read as `webdataset` reads them, and written so that it does."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
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
from support import MANY

webdataset = pytest.importorskip("webdataset")


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
        ({"a.cls": b"%d" % (2**64 - 1)}, None),
        ({"a.cls": b"9" * 30}, "a file is not an integer as text"),
        ({"a.cls.gz": gzip.compress(b"7")}, None),
        ({"a.cls.gz": b"7"}, "a file cannot be unpacked (gzip)"),
        ({"a.cls": b"99999999999999999999"}, "a file is not an integer as text"),
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


# --- what a stranger broke ----------------------------------------------------------------------------------------------


def put(folder: Path, *members: tuple[str, bytes]) -> str:
    path = folder / "put.tar"
    path.write_bytes(b"".join(member(*each) for each in members) + bytes(1024))
    return str(path)


@atdata.packable
class Defaulted:
    text: str
    number: int | None = 5


def test_none_comes_back_as_none_or_is_refused(tmp_path):
    sample = Defaulted("x", None)
    with pytest.raises(SampleError):
        atdata.write_samples([sample], tmp_path / "a.tar", layout={"text": "txt", "number": "cls"})
    written = atdata.write_samples([sample], tmp_path / "b.tar", layout={"text": "txt", "number": "json"})
    assert list(written) == [sample]


def test_columns_that_some_samples_lack_are_none_in_every_batch(tmp_path):
    path = put(tmp_path, ("a.txt", b"A"), ("b.cls", b"1"), ("c.txt", b"C"), ("d.cls", b"2"), ("e.cls", b"3"))
    texts = ["A", None, "C", None, None]
    dataset = Dataset(path).columns("txt")
    for size in (1, 2, 5):
        assert [text for batch in dataset.ordered(batch_size=size) for text in batch.txt] == texts
        assert [text for batch in dataset.loader(size) for text in batch.txt] == texts
    assert dataset.to_dict()["txt"] == texts
    assert [dataset[number].txt for number in range(5)] == texts
    packed = atdata.write_samples([DictSample(a=1), DictSample(b=2)], tmp_path / "p.tar")
    assert [batch.a for batch in packed.columns("a").ordered(batch_size=1)] == [[1], [None]]


def test_a_file_that_several_fields_may_have_is_an_error(tmp_path):
    path = put(tmp_path, ("x.cls", b"7"))

    @atdata.packable
    class Two:
        label: int | None
        other: int | None

    with pytest.raises(SampleError) as caught:
        list(Dataset[Two](path))
    assert caught.value.what == "a file may be that of several fields"
    assert list(Dataset[Two](path, layout={"label": "cls"})) == [Two(7, None)]


def test_a_file_of_the_fields_name_comes_first(tmp_path):
    @atdata.packable
    class Named:
        id: int
        title: str
        caption: str

    path = put(
        tmp_path, ("x.cls", b"1"), ("x.id", b"2"), ("x.txt", b"no"), ("x.title.txt", b"yes"), ("x.caption", b"so")
    )
    assert list(Dataset[Named](path)) == [Named(2, "yes", "so")]


def test_a_loader_is_not_resumed_over_another_layout(tmp_path):
    path = put(tmp_path, ("a.cls", b"1"), ("a.index", b"100"), ("b.cls", b"2"), ("b.index", b"200"))
    loader = Dataset[Labelled](path, layout={"label": "cls"}).loader(1)
    next(iter(loader))
    with pytest.raises(atdata.errors.AtdataError):
        Dataset[Labelled](path, layout={"label": "index"}).loader(1).load_state_dict(loader.state_dict())


@pytest.mark.parametrize(
    "data", [b"", b"\x81" * 500 + b"\xf6", b"\x61\xff", b"\x9b" + b"\xff" * 8, b"\x01\x02", b"\xc0\x01"]
)
def test_cbor_that_is_none_is_an_error_of_its_sample(tmp_path, data):
    pytest.importorskip("cbor2")
    with pytest.raises(SampleError) as caught:
        list(Dataset(put(tmp_path, ("a.cbor", data))))
    assert caught.value.path == "a: cbor"


@pytest.mark.parametrize("data", [b"9" * 400, b"99999999999999999999", b'"\\ud800"', b"[" * 100 + b"]" * 100])
def test_json_beyond_what_a_field_may_hold_is_an_error(tmp_path, data):
    with pytest.raises(SampleError):
        list(Dataset(put(tmp_path, ("a.json", data))))

    @atdata.packable
    class Number:
        x: float

    with pytest.raises(SampleError):
        list(Dataset[Number](put(tmp_path, ("a.json", data)), layout={"x": "json"}))


def test_an_array_may_stand_in_a_file_of_tensors(tmp_path):
    @atdata.packable
    class One:
        values: NDArray[Any]

    samples = [One(np.arange(n)) for n in range(3)]
    assert list(atdata.write_samples(samples, tmp_path / "t.tar", layout={"values": "ten"})) == samples


def test_many_extensions_take_no_time_of_their_own(tmp_path):
    """Each name is looked for among the files of the samples once: here a million files would be looked at a thousand times."""
    path = put(tmp_path, *((f"{sample}.f{number:04d}.txt", b"x") for sample in range(3) for number in range(1500)))
    assert [len(sample) for sample in Dataset(path)] == [1500] * 3


def test_manifests_of_them_are_found_and_proved(pictures):
    from atdata.manifest import Manifest

    for shard in pictures.shards:
        manifest = Manifest.find(shard)
        assert manifest.header.packed is False
        index = pictures.view.table.shards.open(list(pictures.shards).index(shard)).index
        assert manifest.offsets.tolist() == index.starts.tolist()


def test_what_a_filter_keeps_is_written(pictures, tmp_path):
    kept = pictures.filter(lambda sample: sample.label > 20)
    assert list(atdata.write_samples(kept, tmp_path / "kept.tar", layout=LAYOUT)) == PICTURES[21:]


def test_pictures_without_a_type_are_bytes_where_they_are_packed_or_in_tables(tmp_path):
    image = PICTURES[0].image.data
    dataset = Dataset(put(tmp_path, ("a.png", image), ("a.cls", b"1")))
    assert dataset.to_arrow()["png"].to_pylist() == [image]
    assert list(atdata.write_samples(dataset, tmp_path / "packed.tar")) == [DictSample(png=image, cls=1)]


def test_gz_alone_is_unpacked_and_hidden_files_at_the_root_are_passed_over(tmp_path):
    path = put(tmp_path, ("./.DS_Store", b"x"), ("./a.gz", gzip.compress(b"inside")))
    assert [dict(sample) for sample in Dataset(path)] == [{"gz": b"inside"}]


def test_a_field_that_is_none_throughout_needs_no_file(tmp_path):
    assert list(atdata.write_samples([Labelled(1)], tmp_path / "n.tar", layout={"label": "cls"})) == [Labelled(1)]
