"""A folder's splits stay splits, whatever is in it: in shards of their own, and in what the entry says of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import atdata
from atdata.errors import PassedOverWarning
from atdata.importers import Imported, open_path
from atdata.local import LocalIndex
from atdata.testing import DevAccount
from support.networks import Network
from support.terminal import Terminal


def shard(place: Path, count: int) -> None:
    @atdata.packable
    class Row:
        x: int

    atdata.write_samples([Row(x) for x in range(count)], place)


def picture(place: Path, count: int) -> None:
    image = pytest.importorskip("PIL.Image")
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(place / f"{number}.png")


def table(place: Path, count: int) -> None:
    place.write_text("x,name\n" + "".join(f"{x},n{x}\n" for x in range(count)))


def parquet(place: Path, count: int) -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table({"x": list(range(count))}), place)


KINDS: dict[str, tuple[Callable[[Path, int], None], str]] = {
    "shards": (shard, "0.tar"),
    "pictures": (picture, "cat"),
    "tables": (table, "0.csv"),
    "Parquet": (parquet, "0.parquet"),
}
WORDS = {
    "train": ["train", "TRAIN", "training", "Training"],
    "validation": ["val", "dev", "valid", "Validation"],
    "test": ["test", "Testing", "eval", "evaluation"],
}
CASES = [(train, validation, test) for train, validation, test in zip(*(WORDS[split] for split in WORDS), strict=True)]


def fill(root: Path, kind: str, folders: dict[str, int]) -> Path:
    write, name = KINDS[kind]
    for folder, count in folders.items():
        (root / folder).mkdir(parents=True)
        write(root / folder / name, count)
    return root


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", CASES, ids=lambda words: "-".join(words))
def test_each_kind_under_each_word(tmp_path: Path, kind: str, words: tuple[str, str, str]) -> None:
    train, validation, test = words
    root = fill(tmp_path / "data", kind, {test: 2, train: 5, validation: 3})
    result = open_path(root, "Row")
    assert list(result.splits.items()) == [("train", 5), ("validation", 3), ("test", 2)]
    check_written(result, tmp_path / "out")


def check_written(result: Imported, folder: Path) -> None:
    """Shards hold samples of one split only, and the metadata say of which."""
    folder.mkdir()
    dataset = result.gather(folder, maxcount=2)
    samples = list(result.samples())
    assert list(dataset) == samples
    begin, numbers = 0, []
    for split, count in result.splits.items():
        wanted, begin = samples[begin : begin + count], begin + count
        places = dataset.metadata["splits"][split]
        numbers += places
        part = atdata.Dataset[result.sample_type]([dataset.shards[n].url for n in places])  # type: ignore[name-defined]
        assert list(part) == wanted
    assert numbers == list(range(len(dataset.shards)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::atdata.errors.PassedOverWarning")
def test_a_stray_file_becomes_a_note(tmp_path: Path, kind: str) -> None:
    root = fill(tmp_path / "data", kind, {"train": 3, "test": 2})
    write, name = KINDS[kind]
    write(root if kind == "pictures" else root / name, 1)
    (root / "README.md").write_text("about")
    result = open_path(root, "Row")
    assert result.splits == {"train": 3, "test": 2}
    stray = "0.png" if kind == "pictures" else name
    assert f"passed over 1 (in no split): {stray}" in result.notes
    assert any("README.md" in note for note in result.notes)
    if kind == "shards":
        assert {split: len(part) for split, part in atdata.load_dataset(root).items()} == result.splits


def test_loading_warns_of_a_stray_shard(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", "shards", {"train": 3, "test": 2})
    shard(root / "x.tar", 1)
    with pytest.warns(PassedOverWarning, match=r"passed over 1 \(in no split.*/x.tar\nMove") as caught:
        loaded = atdata.load_dataset(root)
    assert {split: len(part) for split, part in loaded.items()} == {"train": 3, "test": 2}
    assert caught[0].filename == __file__
    for data_files in ("**/*.tar", ["x.tar", "train", "test"]):  # who names a file means it
        assert len(atdata.load_dataset(root, data_files=data_files)["train"]) == 4


def test_folders_of_images_that_are_taken_for_classes_are_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", "pictures", {"train": 3, "test": 2, "truck": 1})
    result = open_path(root, "Row")
    assert result.splits == {"train": 6}
    assert [note for note in result.notes if "classes" in note] == [
        "taken for classes, not for splits: test/cat, train/cat; of the other folders truck/cat say none"
    ]
    assert open_path(fill(tmp_path / "more", "pictures", {"plane": 1, "truck": 1}), "Row").notes == ()


def test_the_names_of_files_say_splits_too(tmp_path: Path) -> None:
    for name, count in (
        ("train-00000-of-00002.csv", 3),
        ("train-00001-of-00002.csv", 2),
        ("test.csv", 1),
        ("x.csv", 4),
    ):
        table(tmp_path / name, count)
    assert open_path(tmp_path, "Row").splits == {"train": 9, "test": 1}, "what says nothing is of train"
    assert open_path(tmp_path / "test.csv", "Row").splits == {"test": 1}


def test_without_splits_there_are_none(tmp_path: Path) -> None:
    table(tmp_path / "x.csv", 3)
    result = open_path(tmp_path / "x.csv", "Row")
    assert result.splits == {"train": 3}
    (tmp_path / "out").mkdir()
    assert result.gather(tmp_path / "out").metadata == {}


def test_loading_and_publishing_tell_the_same_splits(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", "shards", {"a/Train": 3, "b/dev": 2, "c/EVAL": 1, "other": 4})
    loaded = {split: len(dataset) for split, dataset in atdata.load_dataset(root).items()}
    assert open_path(root, "Row").splits == loaded == {"train": 7, "validation": 2, "test": 1}
    braces = f"{tmp_path}/{{test,train}}-0.tar"
    for split, count in (("test", 2), ("train", 3)):
        shard(tmp_path / f"{split}-0.tar", count)
    assert open_path(braces, "Row").splits == {"train": 3, "test": 2}


def test_tables_of_a_folder_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1,x\n")
    (tmp_path / "test.csv").write_text("b;a\ny;2\nz;3\n")
    result = open_path(tmp_path, "Row")
    assert [(s.a, s.b) for s in result.samples()] == [(1, "x"), (2, "y"), (3, "z")]  # type: ignore[attr-defined]
    (tmp_path / "test.csv").write_text("b,c\n1,2\n")
    with pytest.raises(atdata.AtdataError, match="other columns than the first"):
        open_path(tmp_path, "Row")


def test_a_team_loads_what_was_written(tmp_path: Path) -> None:
    dataset = open_path(fill(tmp_path / "data", "tables", {"train": 5, "val": 2}), "Row")
    (tmp_path / "out").mkdir()
    written = dataset.gather(tmp_path / "out", maxcount=2)
    index = LocalIndex(tmp_path / "index.sqlite")
    index.insert_dataset(written, name="rows", metadata=dict(written.metadata))
    assert {name: len(part) for name, part in index.load("rows").items()} == {"train": 5, "validation": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_published_splits_are_loaded_again(
    kind: str,
    network: Network,
    alice: DevAccount,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    terminal = Terminal(capsys, monkeypatch)
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0, terminal.err
    fill(tmp_path / "data", kind, {"training": 5, "val": 3, "Test": 2})
    counts = {"train": 5, "validation": 3, "test": 2}
    plan = terminal.json("publish", "data", "--name", "rows", "--dry-run")
    assert plan["splits"] == counts
    assert terminal.run("publish", "data", "--name", "rows", "--dry-run") == 0
    assert "train: 5 samples, validation: 3 samples, test: 2 samples" in terminal.out
    done = terminal.json("publish", "data", "--name", "rows", "--maxcount", "2", "--yes")
    client = network.client()
    loaded = atdata.load_dataset(done["ref"], client=client)
    assert {name: len(part) for name, part in loaded.items()} == counts
    assert len(list(atdata.load_dataset(done["ref"], split="eval", client=client))) == 2


IMPORT = "import atdata, sys; atdata.open('in').write('out/r-%06d.tar', overwrite='again' in sys.argv, manifest=False)"


@pytest.mark.parametrize("seen", ["out/test/r-000000.tar", "out/validation/.atdata-*.tmp", "out/train/.atdata-*.tmp"])
def test_after_a_kill_train_is_there_with_all_others_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation", "test"):
        Path("in", split).mkdir(parents=True)
        table(Path("in", split, "a.csv"), 20_000)
    process = subprocess.Popen([sys.executable, "-c", IMPORT])
    while not any(tmp_path.glob(seen)) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    found = {path.parent.name for path in tmp_path.glob("out/*/r-*.tar")}
    assert "train" not in found
    for split in found:
        assert len(list(atdata.load_dataset("out", split=split))) == 20_000
    again = subprocess.run([sys.executable, "-c", IMPORT, "again"], check=False)
    assert again.returncode == 0
    assert {split: len(dataset) for split, dataset in atdata.load_dataset("out").items()} == dict.fromkeys(
        ("train", "validation", "test"), 20_000
    )
    assert not list(Path("out").rglob(".atdata-*"))
