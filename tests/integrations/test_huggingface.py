"""Datasets of Hugging Face made of ours, copied and streamed: types, values, ranks, resumes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import ClassLabel, Dataset, Image, Shape
from atdata.errors import SampleError
from atdata.integrations.huggingface import BLOCK, stream, to_huggingface

datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")


@atdata.packable
class Photo:
    image: Image
    label: Annotated[int, ClassLabel(["cat", "dog"])]
    box: Annotated[NDArray[np.float32], Shape(2, 2)]
    vector: Annotated[NDArray[np.int16], Shape(3)]
    points: Annotated[NDArray[np.float64], Shape(None, 2)]
    sound: NDArray[np.uint8]
    words: list[str]
    score: float | None
    count: int
    name: str
    raw: bytes


def photo(number: int) -> Photo:
    return Photo(
        Image(np.full((4, 5, 3), number % 256, np.uint8)),
        number % 2,
        np.full((2, 2), number, "f4"),
        np.full(3, number, "i2"),
        np.full((number % 4, 2), number, "f8"),
        np.arange(number % 5, dtype="u1"),
        ["a"] * (number % 3),
        None if number % 3 else number / 2,
        number + 2**40,
        f"photo {number}",
        b"\x00\xff",
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Photo]:
    folder = tmp_path_factory.mktemp("photos")
    return atdata.write_samples(map(photo, range(30)), folder / "p-%03d.tar", maxcount=10).as_type(Photo)


def test_a_copy_has_types_and_values(photos, tmp_path):
    made = to_huggingface(photos, str(tmp_path))
    assert made.features == datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "box": datasets.Array2D((2, 2), "float32"),
            "vector": datasets.List(datasets.Value("int16"), length=3),
            "points": datasets.Array2D((None, 2), "float64"),
            "sound": datasets.List(datasets.Value("uint8")),
            "words": datasets.List(datasets.Value("string")),
            "score": datasets.Value("float64"),
            "count": datasets.Value("int64"),
            "name": datasets.Value("string"),
            "raw": datasets.Value("binary"),
        }
    )
    assert len(made) == 30
    for row, sample in zip(made, photos, strict=True):
        assert np.asarray(row["image"]).tolist() == sample.image.array.tolist()
        for name in ("box", "vector", "points", "sound"):
            assert row[name] == getattr(sample, name).tolist()
        for name in ("label", "words", "score", "count", "name", "raw"):
            assert row[name] == getattr(sample, name)


def test_there_and_back_again(photos, tmp_path):
    back = atdata.from_huggingface(to_huggingface(photos, str(tmp_path)), sample_type=Photo)
    assert [sample.packed for sample in back] == [sample.packed for sample in photos]


def test_other_samples_are_another_copy(photos, tmp_path):
    assert len(to_huggingface(photos, str(tmp_path))) == 30
    assert to_huggingface(photos.take(3), str(tmp_path))["name"][:] == ["photo 0", "photo 1", "photo 2"]
    kept = to_huggingface(photos.columns("name", "label").filter(lambda sample: sample["label"] == 1), str(tmp_path))
    assert kept.column_names == ["name", "label"]
    assert len(kept) == 15


def test_samples_without_a_type(photos, tmp_path):
    made = to_huggingface(Dataset(list(map(str, photos.shards))).columns("box", "count", "name"), str(tmp_path))
    assert made.features["box"] == datasets.Array2D((2, 2), "float32")
    assert made[7]["count"] == 2**40 + 7


def test_what_does_not_fit_is_named(tmp_path):
    @atdata.packable
    class Loose:
        x: NDArray[np.float32]

    rows = [Loose(np.zeros((2, 2), "f4")), Loose(np.zeros((2, 3), "f4"))]
    loose = atdata.write_samples(rows, tmp_path / "a.tar").as_type(Loose)
    with pytest.raises(SampleError) as caught:
        to_huggingface(loose, str(tmp_path))
    assert caught.value.path == "x"
    nothing = atdata.write_samples([Loose(np.zeros((), "f4"))], tmp_path / "b.tar").as_type(Loose)
    with pytest.raises(SampleError) as caught:
        stream(nothing)
    assert caught.value.path == "x"


@atdata.packable
class Item:
    id: int
    values: Annotated[NDArray[np.float32], Shape(2)]


COUNT = 3 * BLOCK + 100


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Item]:
    folder: Path = tmp_path_factory.mktemp("items")
    samples = (Item(number, np.full(2, number, "f4")) for number in range(COUNT))
    return atdata.write_samples(samples, folder / "i-%03d.tar", maxcount=1000).as_type(Item)


def ids(rows: Any) -> list[int]:
    return [row["id"] for row in rows]


def test_a_stream_has_the_order_of_the_dataset(items):
    for shuffle in (False, "global", "window"):
        for epoch in (0, 1):
            expected = items.shuffled(seed=3, epoch=epoch, mode=shuffle) if shuffle else items
            assert ids(stream(items, shuffle=shuffle, seed=3, epoch=epoch)) == [item.id for item in expected]
    assert stream(items).features == to_features()


def to_features() -> Any:
    return datasets.Features(
        {"id": datasets.Value("int64"), "values": datasets.List(datasets.Value("float32"), length=2)}
    )


@pytest.mark.parametrize("stop", [0, 1, BLOCK, BLOCK + 7, COUNT - 1, COUNT])
def test_a_stream_goes_on_where_it_was(items, stop):
    made = stream(items, shuffle="global", seed=1)
    seen = ids(itertools.islice(made, stop))
    again = stream(items, shuffle="global", seed=1)
    again.load_state_dict(json.loads(json.dumps(made.state_dict())))
    assert seen + ids(again) == ids(stream(items, shuffle="global", seed=1))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_a_stream(items, world):
    from datasets.distributed import split_dataset_by_node

    made = stream(items, shuffle="global", seed=1)
    parts = [ids(split_dataset_by_node(made, rank, world)) for rank in range(world)]
    assert sorted(itertools.chain(*parts)) == list(range(COUNT))


def test_a_stream_of_what_a_filter_keeps(items):
    kept = items.filter(lambda item: item.id < 10 or item.id > COUNT - 10)
    assert ids(stream(kept)) == [*range(10), *range(COUNT - 9, COUNT)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_workers_of_a_dataloader_share_a_stream(items):
    data = pytest.importorskip("torch.utils.data", reason="torch is not installed: python3 dev.py frameworks")
    batches = data.DataLoader(stream(items).with_format("torch"), batch_size=64, num_workers=2)
    seen = list(batches)
    assert sorted(itertools.chain(*(batch["id"].tolist() for batch in seen))) == list(range(COUNT))
    assert {str(batch["values"].dtype) for batch in seen} == {"torch.float32"}
