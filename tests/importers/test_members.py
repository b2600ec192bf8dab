"""WebDataset shards: their sample type and layout, inferred from the first, and what is not sure."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds

import atdata
from atdata.errors import ConflictError, SampleError, ShardError, UsageError
from atdata.samples import fields_of

Image = pytest.importorskip("PIL.Image", reason="pictures need the extra [images]")


def picture(number: int, encoding: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(file, encoding)
    return file.getvalue()


def shard(path: Path, *samples: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wds.TarWriter(str(path)) as sink:
        for number, sample in enumerate(samples):
            sink.write({"__key__": f"{number:05d}", **sample})
    return path


def types_of(sample_type: type) -> dict[str, str]:
    return {field.name: str(field.type) for field in fields_of(sample_type)}


def test_pictures_of_several_formats_are_one_field(tmp_path: Path) -> None:
    rows = [{("jpg" if n % 2 else "png"): picture(n, "JPEG" if n % 2 else "PNG"), "cls": n} for n in range(6)]
    found = atdata.infer(shard(tmp_path / "a.tar", *rows), name="Pic")
    assert types_of(found.sample_type) == {"label": "int", "image": "Image"}
    assert found.layout == {"label": "cls", "image": "jpg|png"}
    assert found.notes == ()
    assert (found.samples, found.shards, found.read) == (6, 1, 6)
    dataset: Any = found.dataset()
    assert [(s.label, s.image.data) for s in dataset] == [(n, next(iter(row.values()))) for n, row in enumerate(rows)]


def test_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    rows = [{"jpg": picture(n, "JPEG"), "json": {"a": n}, "npy": np.zeros((2, n + 1), "f4")} for n in range(3)]
    path = shard(tmp_path / "a.tar", *rows)
    found = atdata.infer(path)
    pasted: dict[str, Any] = {"__name__": "pasted"}
    exec(compile(repr(found), "pasted", "exec", dont_inherit=True), pasted)
    assert types_of(pasted["Sample"]) == types_of(found.sample_type)
    dataset = atdata.Dataset(path, sample_type=pasted["Sample"], layout=pasted["layout"])
    assert [s.meta for s in dataset] == [{"a": n} for n in range(3)]
    assert [s.array.shape for s in dataset] == [(2, 1), (2, 2), (2, 3)]


def test_what_is_not_sure_is_said(tmp_path: Path) -> None:
    both = {"jpg": picture(1, "JPEG"), "png": picture(1), "seg.png": picture(2), "strange": b"?", "pkl": b"\x80\x04N."}
    rows = [both, {"jpg": picture(2, "JPEG"), "txt": "words", "cls": b"cat"}, {"jpg": b"no picture"}]
    found = atdata.infer(shard(tmp_path / "a.tar", *rows))
    assert types_of(found.sample_type) == {
        "jpg": "Image",
        "png": "Image | None",
        "seg": "Image | None",
        "strange": "bytes | None",
        "label": "bytes | None",
        "text": "str | None",
    }
    said = "\n".join(found.notes)
    for note in (
        "pkl: left out, for a pickle may run any code",
        "jpg and png: a sample has both, so each is a field",
        "png: 1 of 3 samples have it, so it is optional",
        "strange: nothing is known of strange, so it is bytes as they are",
        "label: bytes, for a file is not",
        "jpg: 1 of 3 do not begin like one",
    ):
        assert note in said
    assert len(list(found.dataset())) == 3


def test_files_in_files(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"json": {"a": 1}, "txt.gz": b"hello"}, {"json": [1, 2]})
    found = atdata.infer(path)
    assert types_of(found.sample_type) == {"meta": "Any", "text": "str | None"}
    assert any(note.startswith("meta: dict in some samples, list[int] in others") for note in found.notes)
    assert [(s.meta, s.text) for s in found.dataset()] == [({"a": 1}, "hello"), ([1, 2], None)]


def test_only_the_first_shards_are_looked_at(tmp_path: Path) -> None:
    for number in range(6):
        shard(tmp_path / f"a-{number:06d}.tar", *({"cls": n} for n in range(30)))
    found = atdata.infer(tmp_path / "a-{000000..000005}.tar")
    assert (found.samples, found.shards, found.read) == (120, 4, 64)
    assert len(found.dataset()) == 180


def test_splits_are_told_by_names(tmp_path: Path) -> None:
    shard(tmp_path / "d" / "train-000000.tar", {"cls": 1}, {"cls": 2})
    shard(tmp_path / "d" / "val-000000.tar", {"cls": 3})
    dataset = atdata.infer(tmp_path / "d").dataset()
    assert isinstance(dataset, atdata.DatasetDict)
    assert {name: [s.label for s in part] for name, part in dataset.items()} == {"train": [1, 2], "validation": [3]}
    source = atdata.from_webdataset(tmp_path / "d")
    assert source.splits == {"train": 2, "validation": 1}
    written = source.write(tmp_path / "out" / "x-%06d.tar")
    assert [s.label for s in written["validation"]] == [3]
    again = source.write(tmp_path / "wds" / "x-%06d.tar", layout={"label": "cls"})
    with (tmp_path / again["train"].shards[0].url).open("rb") as file:
        members = wds.tariterators.tar_file_expander([{"url": "x", "stream": file}])
        read = [sample["cls"] for sample in wds.tariterators.group_by_keys(members)]
    assert read == [b"1", b"2"]


@atdata.packable
class Labelled:
    label: int
    extra: str | None = None


def test_a_type_and_a_layout_of_ones_own(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"id": 1, "cls": 5}, {"id": 2, "cls": 6, "txt": "more"})
    source = atdata.from_webdataset(path, sample_type=Labelled, layout={"label": "id", "extra": "txt"})
    assert list(source) == [Labelled(1), Labelled(2, "more")]
    assert atdata.open(path).layout == {"id": "id", "label": "cls", "text": "txt"}


def test_shards_that_need_no_layout(tmp_path: Path) -> None:
    atdata.write_samples([Labelled(1)], tmp_path / "a.tar")
    with pytest.raises(UsageError, match=r"one file of msgpack"):
        atdata.infer(tmp_path / "a.tar")


def test_a_later_sample_that_is_otherwise_is_an_error(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"json": json.dumps({"a": 1}).encode()}] * 70
    source = atdata.from_webdataset(shard(tmp_path / "a.tar", *rows, {"json": b"[1]"}))
    with pytest.raises(SampleError) as caught:
        source.write(tmp_path / "x.tar")
    assert "00070" in str(caught.value.path)
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its file open
def test_shards_are_gathered_as_they_are_and_cut_where_they_are_too_large(tmp_path: Path) -> None:
    rows = [{"jpg": picture(n, "JPEG"), "cls": n} for n in range(8)]
    large = shard(tmp_path / "in/train/a.tar", *rows)
    small = shard(tmp_path / "in/train/b.tar", *rows[:1])
    held_out = shard(tmp_path / "in/test/a.tar", *rows[:2])
    shard(tmp_path / "in/test/empty.tar")
    imported = atdata.open(tmp_path / "in")
    whole = imported.gather(tmp_path / "whole")
    assert [ref.url for ref in whole.shards] == [str(path) for path in (large, small, held_out)]
    assert (whole.metadata, whole.layout) == ({"splits": {"train": [0, 1], "test": [2]}}, imported.layout)
    for limits in ({"maxsize": small.stat().st_size}, {"maxcount": 3}):
        cut = imported.gather(tmp_path / f"cut-{next(iter(limits))}", **limits)
        urls = [ref.url for ref in cut.shards]
        assert str(large) not in urls
        assert str(small) in urls
        assert all((ref.samples or 0) <= 3 for ref in cut.shards)
        assert [(row.image.data, row.label) for row in cut] == [(row.image.data, row.label) for row in imported]
        raw = [{k: v for k, v in row.items() if k[0] != "_"} for row in wds.WebDataset(urls, shardshuffle=False)]
        assert raw == [{"jpg": row["jpg"], "cls": b"%d" % row["cls"]} for row in (*rows, *rows[:1], *rows[:2])]
    small.write_bytes(large.read_bytes())
    with pytest.raises(ConflictError):
        imported.gather(tmp_path / "late")
    with pytest.raises(ShardError):
        list(whole)
