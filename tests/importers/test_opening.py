"""From a path to an importer: what is taken is taken, everything else is refused with what is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from atdata.errors import AtdataError, ShardNotFoundError, StorageError, UsageError
from atdata.importers import Imported, open_path
from atdata.importers.opening import SUPPORTED

TABLE = "a,b\n1,x\n2,y\n"


def test_a_path_may_be_text_or_a_path(tmp_path: Path) -> None:
    place = tmp_path / "x.csv"
    place.write_text(TABLE)
    for where in (place, str(place)):
        result = open_path(where, "Row")
        assert isinstance(result, Imported)
        assert result.count == 2


def test_the_type_has_the_name_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TABLE)
    assert open_path(tmp_path / "x.csv", "Digit").sample_type.__name__ == "Digit"
    assert open_path(tmp_path / "x.csv", "my digits!").sample_type.__name__ == "my_digits"


def test_equal_data_give_the_same_type(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TABLE)
    (tmp_path / "y.tsv").write_text(TABLE.replace(",", "\t"))
    first, second = open_path(tmp_path / "x.csv", "Row"), open_path(tmp_path / "y.tsv", "Row")
    assert first.sample_type is second.sample_type
    assert list(first.samples()) == list(second.samples())


@pytest.mark.parametrize("name", ["x.txt", "x.png", "x", "x.csv.gz", "x.zip"])
def test_other_files_are_refused_with_what_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLE)
    with pytest.raises(UsageError) as caught:
        open_path(tmp_path / name, "Row")
    assert caught.value.expected == SUPPORTED


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ([], "a folder is empty"),
        ([".hidden.png"], "a folder is empty"),
        (["a.txt", "deep/b.md"], "no supported files"),
        (["a.png", "b.tar"], "both images and shards"),
        (["a.parquet", "b/c.tar"], "both Parquet files and shards"),
    ],
)
def test_folders_that_cannot_be_meant(tmp_path: Path, files: list[str], what: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match=what):
        open_path(tmp_path, "Row")


def test_a_folder_around_one_file_of_arrays_names_it(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        open_path(tmp_path, "Row")
    assert caught.value.hint == f"Give the path of the file: {tmp_path / 'x.npz'}"


@pytest.mark.parametrize(
    "name", ["nothing", "nothing.csv", "nothing.npz", "nothing.parquet", "nothing.tar", "no/thing"]
)
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ShardNotFoundError):
        open_path(tmp_path / name, "Row")


@pytest.mark.parametrize("where", ["https://example.com/data.csv", "s3://bucket/data.parquet", "at://did:plc:x/y/z"])
def test_what_is_not_on_this_machine_must_be_shards(where: str) -> None:
    with pytest.raises(UsageError, match="only shards"):
        open_path(where, "Row")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(UsageError):
        open_path(tmp_path / "x.csv", "Row")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    for name in ("x.csv", "x.npz", "x.npy"):
        (tmp_path / name).write_text(TABLE)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            with pytest.raises(StorageError, match="Permission denied") as caught:
                open_path(tmp_path / name, "Row")
        assert caught.value.uri == str(tmp_path / name)
        assert isinstance(caught.value, AtdataError)
