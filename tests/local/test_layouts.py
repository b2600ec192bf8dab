"""Promise: shards whose samples are one file a field are listed, published and promoted as they are, and read typed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import Dataset, load_dataset
from atdata.atmosphere import AtmosphereIndex, DatasetPublisher, PDSBlobStore
from atdata.errors import LexiconError, UsageError
from atdata.local import LocalDiskStore, LocalIndex
from atdata.promote import promote_to_atmosphere
from atdata.records import Entry
from atdata.shards import Digest
from atdata.testing import DevAccount
from support.networks import Network, list_records


@atdata.packable
class Labelled:
    picture: bytes
    label: int
    note: str | None = None


LAYOUT = {"picture": "jpg", "label": "cls", "note": "note.txt"}
SAMPLES = [Labelled(b"\xff\xd8\xff" + bytes([n]), n, f"note {n}" if n % 2 else None) for n in range(9)]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shards() -> list[str]:
    """Shards as GNU tar writes them: padded to ten blocks, with a folder."""
    paths = []
    for number in range(3):
        paths.append(f"train-{number}.tar")
        with tarfile.open(paths[-1], "w", format=tarfile.GNU_FORMAT) as archive:
            folder = tarfile.TarInfo("data")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for sample in SAMPLES[3 * number : 3 * number + 3]:
                files = {"jpg": sample.picture, "cls": b"%d" % sample.label}
                for extension, data in {**files, **({"note.txt": sample.note.encode()} if sample.note else {})}.items():
                    info = tarfile.TarInfo(f"data/{sample.label:04d}.{extension}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return paths


def dataset() -> Dataset[Labelled]:
    return Dataset[Labelled](shards(), layout=LAYOUT)


def of_content(entry: Entry) -> list[str]:
    return [str(shard.digest) for shard in entry.shards]


@pytest.mark.parametrize("store", [lambda: None, lambda: LocalDiskStore("store")], ids=["in place", "in a store"])
def test_an_index_lists_them_as_they_are(index_url: str, store: Callable[[], Any]) -> None:
    index = LocalIndex(index_url, data_store=store())
    entry = index.insert_dataset(dataset(), name="pictures")
    assert entry.layout == LAYOUT
    assert of_content(entry) == [f"sha256:{Digest.of_file(path).hex}" for path in shards()]
    assert list(index.load("pictures", sample_type=Labelled)["train"]) == SAMPLES
    assert index.insert_dataset(dataset(), name="pictures").uri == entry.uri
    other = index.insert_dataset(Dataset[Labelled](shards(), layout={**LAYOUT, "note": "other"}), name="pictures")
    assert other.uri != entry.uri  # the layout is a part of what they are
    assert list(index.load("pictures", sample_type=Labelled)["train"])[1].note is None


def test_a_view_of_them_is_stored_packed(index_url: str) -> None:
    index = LocalIndex(index_url, data_store=LocalDiskStore("store"))
    entry = index.insert_dataset(dataset().take(4), name="some")
    assert entry.layout == {}
    assert list(index.load("some", sample_type=Labelled)["train"]) == SAMPLES[:4]


def test_more_of_them_are_appended(index_url: str) -> None:
    index = LocalIndex(index_url)
    paths = shards()
    index.insert_dataset(Dataset[Labelled](paths[:2], layout=LAYOUT), name="pictures", version="1.0.0")
    entry = index.append("pictures", paths[2:])
    assert entry.layout == LAYOUT
    assert list(index.load("pictures", sample_type=Labelled)["train"]) == SAMPLES
    with pytest.raises(UsageError):
        other = atdata.write_samples(SAMPLES[:1], "o.tar", layout={"picture": "png", "label": "id", "note": "txt"})
        index.append("pictures", other)


def test_they_are_published_as_they_are(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    entry = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(dataset(), name="pictures")
    assert of_content(entry) == [f"sha256:{Digest.of_file(path).hex}" for path in shards()]
    (there,) = list_records(alice.pds_url, alice.did, "science.alt.dataset.entry")
    assert there["value"]["layout"] == LAYOUT
    assert len(entry.manifests) == 3
    for manifests in (True, False):
        loaded = load_dataset(str(entry.uri), split="train", client=network.client(), manifests=manifests)
        assert loaded.sample_type.__name__ == "Labelled"
        assert [(row.picture, row.label, row.note) for row in loaded] == [
            (sample.picture, sample.label, sample.note) for sample in SAMPLES
        ]
        assert loaded.layout == LAYOUT
        assert (loaded[4].label, loaded[4].note) == (4, None)
        assert loaded.get("data/0005").note == "note 5"


def test_they_are_promoted_as_they_are(network: Network, alice: DevAccount) -> None:
    client, index = network.client(alice), LocalIndex("team.sqlite")
    listed = index.insert_dataset(dataset(), name="pictures")
    uri = promote_to_atmosphere(listed, index, client, data_store=PDSBlobStore(client))
    entry = client.read(uri, Entry)
    assert (of_content(entry), entry.layout) == (of_content(listed), LAYOUT)
    assert len(entry.manifests) == 3
    loaded = load_dataset(str(uri), split="train", client=network.client())
    assert [row.label for row in loaded] == list(range(9))


def test_blobs_of_them_are_published_by_the_layout_that_the_type_implies(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)

    @atdata.packable
    class Implied:
        jpg: bytes
        label: int

    schema = atdata.atmosphere.SchemaPublisher(client).publish(Implied, version="1.0.0")
    blobs = [Path(path).read_bytes() for path in shards()]
    uri = DatasetPublisher(client).publish_with_blobs(blobs, str(schema), name="pictures")
    loaded = load_dataset(str(uri), split="train", client=network.client())
    assert [(row.jpg, row.label) for row in loaded] == [(sample.picture, sample.label) for sample in SAMPLES]


@pytest.mark.parametrize("layout", [7, [], {"label": 7}, {"label": "a/b"}, {"label": "cls", "note": "cls"}])
def test_a_layout_that_is_none_is_an_error_of_who_reads_by_it(layout: Any) -> None:
    index = LocalIndex("team.sqlite")
    record = index.insert_dataset(dataset(), name="pictures").to_record()
    entry = Entry.from_record({**record, "layout": layout})
    assert (entry.layout, entry.extra["layout"]) == ({}, layout)
    assert entry.to_record() == {**record, "layout": layout}
    with pytest.raises(LexiconError):
        index.open(entry)


def test_a_layout_names_only_fields_that_the_wanted_type_has() -> None:
    index = LocalIndex("team.sqlite")
    entry = index.insert_dataset(dataset(), name="pictures")

    @atdata.packable
    class Less:
        label: int

    assert [row.label for row in index.open(entry, Less)["train"]] == list(range(9))
    assert index.open(entry, atdata.DictSample)["train"][1].note == "note 1"
