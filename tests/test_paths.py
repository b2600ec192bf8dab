"""Paths that callers give: what no file can have is an error of ours, whoever is given it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient
from atdata.errors import UsageError
from atdata.importers import open_path
from atdata.local import LocalDiskStore, LocalIndex, S3DataStore
from atdata.paths import checked_path
from atdata.samples import DictSample

HOMELESS = "~nobody-has-this-name/x"
IMPOSSIBLE = ["a\0b", "a\ud800b", HOMELESS]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@atdata.packable
class Row:
    n: int


def rows() -> atdata.Dataset[Row]:
    return atdata.write_samples([Row(1)], "rows.tar", overwrite=True)


GIVEN: dict[str, Callable[[str], object]] = {
    "write_samples": lambda path: atdata.write_samples([Row(1)], f"{path}.tar"),
    "write_samples, several": lambda path: atdata.write_samples([Row(1)], f"{path}/x-%06d.tar", maxcount=1),
    "to_parquet": lambda path: rows().to_parquet(f"{path}.parquet"),
    "load_dataset": lambda path: atdata.load_dataset(f"{path}.tar"),
    "load_dataset of a folder": lambda path: atdata.load_dataset(path, data_files=f"{path}.tar"),
    "data_files": lambda path: atdata.load_dataset(".", data_files=f"{path}.tar"),
    "Dataset": lambda path: list(atdata.Dataset[DictSample](f"{path}.tar")),
    "Dataset of a Path": lambda path: list(atdata.Dataset[DictSample](Path(f"{path}.tar"))),
    "what is published": lambda path: open_path(f"{path}.csv", "Row"),
    "the cache": lambda path: AtmosphereClient(cache=path),
    "the cache of a dataset": lambda path: atdata.load_dataset(rows().shards[0].url, cache=path),
    "the data folder": lambda path: AtmosphereClient(data=path),
    "an index": lambda path: LocalIndex(path).list_datasets(),
    "an index at a URL": lambda path: LocalIndex(f"sqlite:///{path}").list_datasets(),
    "a store": lambda path: LocalIndex("i.sqlite", data_store=LocalDiskStore(path)).insert_dataset(rows(), name="r"),
    "credentials": lambda path: S3DataStore(path, bucket="b"),
}


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=ascii)
@pytest.mark.parametrize("place", GIVEN)
def test_a_path_that_no_file_can_have_is_an_error_of_ours(place: str, path: str) -> None:
    if path is HOMELESS and place in ("write_samples", "write_samples, several", "to_parquet", "an index at a URL"):
        GIVEN[place](path)  # there a tilde is a letter
        return
    with pytest.raises(atdata.AtdataError):
        GIVEN[place](path)


def test_a_path_is_what_is_written_and_the_tilde_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert checked_path("~/x") == Path("/home/alice/x")
    assert checked_path("~/x", home=False) == Path("~/x")
    assert checked_path(Path("a/ü x\udc80")) == Path("a/ü x\udc80"), "bytes that are no UTF-8 are in such names"
    with pytest.raises(UsageError, match="no such home folder"):
        checked_path(HOMELESS)
