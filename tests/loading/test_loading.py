"""`load_dataset` of shards that the caller names: every form of address, splits, and everything at once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import AddressError, DigestError, NetworkError, ShardError, ShardNotFoundError, UsageError
from atdata.shards import FileSource
from support.rawhttp import FileServer, RawServer, Request, answer


@atdata.packable
class Row:
    n: int


LAYOUT = {
    "data/train/part-2.tar": 0,
    "data/train/part-10.tar": 10,
    "data/test/part-0.tar": 20,
    "data/.hidden/part-0.tar": 90,
    "flat/train-000.tar": 0,
    "flat/train-001.tar": 10,
    "flat/my_val-000.tar": 20,
    "flat/000.tar": 30,
    "plain/b-2.tar": 20,
    "plain/b-10.tar": 30,
    "plain/a.tar": 10,
    "odd [1]/x {y}.tar": 40,
    "odd [1]/100%.tar": 50,
}
"""Shards of two rows each, by the number of their first."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "test data"  # where everything is says nothing of splits
    for name, first in LAYOUT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        made = tmp_path / "made.tar"
        atdata.write_samples([Row(first), Row(first + 1)], made)
        made.replace(root / name)
    (root / "plain" / "a.manifest.json").write_text("{}")
    (root / "empty").mkdir()
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def web(folder: Path) -> Iterator[FileServer]:
    files = {f"/bucket/{name}".replace(" ", "%20"): (folder / name).read_bytes() for name in LAYOUT}
    with FileServer(files=files) as server:
        yield server


def rows(loaded: Any) -> Any:
    """What is in each split."""
    if isinstance(loaded, atdata.DatasetDict):
        return {name: rows(dataset) for name, dataset in loaded.items()}
    return [row["n"] if isinstance(row, atdata.DictSample) else row.n for row in loaded]


DATA = {"train": [0, 1, 10, 11], "test": [20, 21]}
FLAT = {"train": [30, 31, 0, 1, 10, 11], "validation": [20, 21]}
PLAIN = {"train": [10, 11, 20, 21, 30, 31]}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("plain/a.tar", {"train": [10, 11]}),
        ("flat/my_val-000.tar", {"validation": [20, 21]}),
        ("data", DATA),
        ("data/", DATA),
        ("./data", DATA),
        (Path("data"), DATA),
        ("data/train", {"train": [0, 1, 10, 11]}),
        ("data/test", {"train": [20, 21]}),  # its own name is not below it
        ("flat", FLAT),
        ("plain", PLAIN),
        ("flat/*.tar", FLAT),
        ("plain/*", PLAIN),
        ("plain/b-?.tar", {"train": [20, 21]}),
        ("data/*/*.tar", DATA),
        ("data/**/*.tar", DATA),
        ("data/**", DATA),
        ("d[a]ta/**/part-?.tar", {"train": [0, 1], "test": [20, 21]}),
        ("flat/{train-000,train-001,my_val-000}.tar", {"train": [0, 1, 10, 11], "validation": [20, 21]}),
        ("flat/train-{001,000}.tar", {"train": [10, 11, 0, 1]}),
        ("data/{test,train}/*.tar", DATA),
        ("data/{test,train}", DATA),
        ("odd [1]", {"train": [50, 51, 40, 41]}),
        ("odd [1]/x {y}.tar", {"train": [40, 41]}),
    ],
)
def test_a_path_in_any_form(folder: Path, ref: Any, expected: Any) -> None:
    assert rows(atdata.load_dataset(ref, Row)) == expected
    assert rows(atdata.load_dataset(folder / ref)) == expected
    assert list(atdata.load_dataset(ref)) == list(expected)
    for split, numbers in expected.items():
        assert rows(atdata.load_dataset(ref, Row, split=split)) == numbers


def test_a_file_url_is_percent_decoded(folder: Path) -> None:
    for url in (f"{folder.as_uri()}/data", f"file://localhost{folder}/data/", f"FILE://{folder}/%64ata"):
        assert rows(atdata.load_dataset(url, Row)) == DATA
    assert rows(atdata.load_dataset((folder / "odd [1]" / "x {y}.tar").as_uri(), split="train")) == [40, 41]
    assert rows(atdata.load_dataset((folder / "odd [1]" / "100%.tar").as_uri(), split="train")) == [50, 51]
    assert rows(atdata.Dataset[Row](f"{folder.as_uri()}/flat/train-{{000..001}}.tar")) == [0, 1, 10, 11]
    for elsewhere in ("file://server/share/a.tar", "file://a.tar"):
        with pytest.raises(UsageError, match="does not name a local file"):
            atdata.load_dataset(elsewhere)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("plain/aa.tar", "Did you mean 'a.tar'"),
        ("plain/another.tar", "Check the path"),
        ("pliin", "Did you mean 'plain'"),
        ("nothing/*.tar", "nothing"),
        ("plain/b-{2,3}.tar", "b-3.tar"),
        ("empty", "folder has no shards"),
        ("alice.example.com/mnist", "Did you mean '@alice.example.com/mnist'"),
        ("x" * 5000, "no such shard"),
        ("a\0b", "no such shard"),
    ],
)
def test_what_is_not_there_is_named(ref: str, said: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        atdata.load_dataset(ref)
    assert isinstance(caught.value, ShardNotFoundError)
    assert said in str(caught.value)


def test_a_folder_that_leads_back_up_is_read_once(folder: Path) -> None:
    (folder / "data" / "train" / "up").symlink_to(folder / "data")
    (folder / "data" / "validation").symlink_to(folder / "plain")
    (folder / "plain" / "down").symlink_to(folder / "data" / "train")
    expected = {"train": [0, 1, 10, 11], "validation": [10, 11, 20, 21, 30, 31, 0, 1, 10, 11], "test": [20, 21]}
    assert rows(atdata.load_dataset("data", Row)) == expected


def test_a_split_goes_by_all_its_names() -> None:
    for name in ("validation", "val", "valid", "dev", "VAL"):
        assert rows(atdata.load_dataset("flat", Row, split=name)) == FLAT["validation"]
    with pytest.raises(ValueError, match="no split 'test'") as caught:
        atdata.load_dataset("flat", split="test")
    assert "train, validation" in str(caught.value)
    with pytest.raises(KeyError, match="no split"):
        atdata.load_dataset("flat")["test"]


@pytest.mark.parametrize(
    ("ref", "data_files", "expected"),
    [
        ("data", "train/*.tar", {"train": [0, 1, 10, 11]}),
        ("data", ["test/part-0.tar", "train/part-2.tar"], {"train": [0, 1], "test": [20, 21]}),
        ("data", ["test", "train"], DATA),
        ("flat", Path("my_val-000.tar"), {"validation": [20, 21]}),
        ("flat", "train-{000..001}.tar", {"train": [0, 1, 10, 11]}),
        (
            "flat",
            {"train": "my_val-*.tar", "extra": ["000.tar", "train-00?.tar"]},
            {"train": [20, 21], "extra": [30, 31, 0, 1, 10, 11]},
        ),
        ("flat", {"val": "my_val-000.tar"}, {"val": [20, 21]}),
        ("odd [1]", "*.tar", {"train": [50, 51, 40, 41]}),
        ("odd [1]", {"test": ["x {y}.tar", "100%.tar"]}, {"test": [40, 41, 50, 51]}),
        (".", {"train": "plain", "test": "data/test"}, {"train": PLAIN["train"], "test": [20, 21]}),
    ],
)
def test_files_that_are_named(folder: Path, ref: str, data_files: Any, expected: Any) -> None:
    assert rows(atdata.load_dataset(ref, Row, data_files=data_files)) == expected
    assert rows(atdata.load_dataset(folder / ref, Row, data_files=data_files)) == expected
    assert rows(atdata.load_dataset((folder / ref).as_uri(), Row, data_files=data_files)) == expected


def test_named_files_may_be_anywhere(folder: Path, web: FileServer) -> None:
    absolute = str(folder / "plain" / "*.tar")
    named = {"train": absolute, "test": f"{web.url}/bucket/data/test/part-0.tar"}
    assert rows(atdata.load_dataset("empty", Row, data_files=named)) == {**PLAIN, "test": [20, 21]}
    assert rows(atdata.load_dataset(f"{web.url}/bucket", data_files=(folder / "plain").as_uri())) == PLAIN
    base, parts = f"{web.url}/bucket/data", ["{train,test}/part-{2..2}.tar"]
    found = atdata.load_dataset(base, data_files=parts)
    assert {name: len(dataset.shards) for name, dataset in found.items()} == {"train": 1, "test": 1}
    assert rows(found["train"]) == [0, 1]
    with pytest.raises(UsageError, match="the same URL scheme"):
        atdata.load_dataset("empty", data_files={"train": [absolute, f"{web.url}/bucket/plain/a.tar"]})


@pytest.mark.parametrize("nothing", ["test-*.tar", ["000.tar", "test-000.tar"], {"train": "test-{0..9}.tar"}])
def test_a_pattern_that_matches_nothing_is_named_with_its_folder(nothing: Any) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        atdata.load_dataset("flat", data_files=nothing)
    assert "test-" in str(caught.value)
    assert "flat" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        atdata.load_dataset("absent", data_files="*.tar")


@pytest.mark.parametrize(
    "nothing", [[], {}, {"train": []}, {"": "000.tar"}, {1: "000.tar"}, [1], 7, {"train": None}, b"0"]
)
def test_data_files_that_name_nothing_are_refused(nothing: Any) -> None:
    with pytest.raises(UsageError):
        atdata.load_dataset("flat", data_files=nothing)


@pytest.mark.parametrize(
    ("repeated", "actual"),
    [
        (["*.tar", "000.tar"], "twice in train"),
        (["000.tar", "./000.tar"], "twice in train"),
        ({"a": ["000.tar", "000.tar"]}, "twice in a"),
        ({"a": "000.tar", "b": "0*.tar"}, "in a and in b"),
    ],
)
def test_a_shard_is_in_one_split_once(repeated: Any, actual: str) -> None:
    with pytest.raises(UsageError, match="one split, once") as caught:
        atdata.load_dataset("flat", data_files=repeated)
    assert caught.value.actual == actual
    assert caught.value.uri.endswith("000.tar")
    with pytest.raises(UsageError, match="one split, once"):
        atdata.load_dataset("flat/{000,000}.tar")


def test_a_split_has_a_name() -> None:
    dataset = atdata.Dataset("flat/000.tar")
    assert list(atdata.DatasetDict({"train": dataset}, test=dataset)) == ["train", "test"]
    for name in ("", " ", 1, None):
        with pytest.raises(UsageError, match="name"):
            atdata.DatasetDict({name: dataset})
        with pytest.raises(UsageError, match="name"):
            atdata.load_dataset("flat", data_files={name: "000.tar"})


def test_data_files_of_a_file_or_a_name_are_refused() -> None:
    for ref in ("flat/000.tar", "@alice.test/rows", "@local/rows"):
        with pytest.raises(UsageError, match="data_files="):
            atdata.load_dataset(ref, data_files="*.tar")


def test_over_http(web: FileServer) -> None:
    one = f"{web.url}/bucket/flat/my_val-000.tar"
    assert rows(atdata.load_dataset(one, Row)) == {"validation": [20, 21]}
    assert rows(atdata.load_dataset(one.replace("http://", "HTTP://"), Row, split="val")) == [20, 21]
    many = f"{web.url}/bucket/data/{{train/part-2,train/part-10,test/part-0}}.tar"
    loaded = atdata.load_dataset(many, Row)
    assert rows(loaded) == DATA
    assert rows(pickle.loads(pickle.dumps(loaded))) == DATA
    with pytest.raises(FileNotFoundError):
        rows(atdata.load_dataset(f"{web.url}/bucket/absent.tar"))


def test_what_a_query_says_is_no_name(web: FileServer) -> None:
    web.files["/get?name=a/test/b.tar"] = web.files["/bucket/plain/a.tar"]
    assert rows(atdata.load_dataset(f"{web.url}/get?name=a/test/b.tar")) == {"train": [10, 11]}


def test_a_server_that_was_spelled_out_leads_only_where_it_may(web: FileServer) -> None:
    def moved(_: Request) -> bytes:
        return answer(302, location=f"http://localhost:{web.port}/bucket/plain/a.tar")

    with RawServer(moved) as door:
        url = f"{door.url}/a.tar"
        with pytest.raises(AddressError):
            rows(atdata.load_dataset(url, split="train"))
        assert rows(atdata.load_dataset(url, split="train", allow_loopback=True)) == [10, 11]


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_public_objects_of_google_cloud_storage(web: FileServer, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{scheme}127.0.0.1:{web.port}")
    loaded = atdata.load_dataset("gs://bucket/data/{train/part-2,test/part-0}.tar", Row)
    assert rows(loaded) == {"train": [0, 1], "test": [20, 21]}
    web.files["/bucket/a%20%231%3F.tar"] = web.files["/bucket/plain/a.tar"]
    assert rows(atdata.load_dataset("gs://bucket/a #1?.tar", Row, split="train")) == [10, 11]
    assert rows(atdata.load_dataset("gs://bucket", Row, data_files={"x": "plain/a.tar"}, split="x")) == [10, 11]
    with pytest.raises(FileNotFoundError):
        rows(atdata.load_dataset("gs://bucket/absent.tar", split="train"))


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError):
        atdata.load_dataset("flat", cahce="/tmp")
    with pytest.raises(UsageError, match="source="):
        atdata.load_dataset("flat", source=FileSource.of(["flat/000.tar"]))


# --- everything at once ----------------------------------------------------------------------------------------------


def test_without_streaming_every_shard_is_here_before_it_returns(web: FileServer, tmp_path: Path) -> None:
    many = f"{web.url}/bucket/data/{{train/part-2,train/part-10,test/part-0}}.tar"
    later = atdata.load_dataset(many, Row)
    assert not web.requests
    loaded = atdata.load_dataset(many, Row, streaming=False, cache=tmp_path / "cache")
    assert len(web.requests) == 3
    web.files.clear()
    assert rows(loaded) == DATA
    assert rows(pickle.loads(pickle.dumps(loaded))) == DATA
    assert len(loaded["train"]) == 4
    assert loaded["train"][3] == Row(11)
    assert len(web.requests) == 3
    with pytest.raises(FileNotFoundError):
        rows(later)


def test_what_was_fetched_is_what_is_read_for_good(web: FileServer, tmp_path: Path) -> None:
    url = f"{web.url}/bucket/plain/a.tar"
    loaded = atdata.load_dataset(url, Row, split="train", streaming=False, cache=tmp_path / "cache")
    for kept in (tmp_path / "cache").rglob("*.tar"):
        kept.unlink()
    assert rows(pickle.loads(pickle.dumps(loaded))) == [10, 11]  # had again
    for kept in (tmp_path / "cache").rglob("*.tar"):
        kept.unlink()
    web.files["/bucket/plain/a.tar"] = web.files["/bucket/plain/b-2.tar"]
    with pytest.raises(DigestError):
        rows(pickle.loads(pickle.dumps(loaded)))


def test_only_the_split_that_was_asked_for_is_fetched(web: FileServer) -> None:
    many = f"{web.url}/bucket/data/{{train/part-2,train/part-10,test/part-0}}.tar"
    assert rows(atdata.load_dataset(many, Row, split="test", streaming=False)) == [20, 21]
    assert [request.target for request in web.requests] == ["/bucket/data/test/part-0.tar"]


def test_without_streaming_damage_shows_at_once(folder: Path, web: FileServer) -> None:
    good = Path("plain/b-10.tar").read_bytes()
    Path("plain/b-10.tar").write_bytes(good[:700])
    assert list(atdata.load_dataset("plain")) == ["train"]
    with pytest.raises(ShardError):
        atdata.load_dataset("plain", streaming=False)
    Path("plain/b-10.tar").write_bytes(good)
    assert rows(atdata.load_dataset("plain", streaming=False)) == PLAIN
    with pytest.raises(FileNotFoundError):
        atdata.load_dataset(f"{web.url}/bucket/plain/{{a,absent}}.tar", streaming=False)


def test_everything_at_once_tells_its_progress(web: FileServer, folder: Path) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    program = (
        "import os, pty, sys\n"
        "def work():\n"
        "    import atdata\n"
        f"    atdata.load_dataset({web.url + '/bucket/plain/{a,b-2,b-10}.tar'!r}, streaming=False)\n"
        "pid, fd = pty.fork()\n"
        "if not pid:\n"
        "    work(); os._exit(0)\n"
        "seen = b''\n"
        "try:\n"
        "    while piece := os.read(fd, 9999): seen += piece\n"
        "except OSError: pass\n"
        "status = os.waitpid(pid, 0)[1]\n"
        "assert status == 0, seen\n"
        "assert b'Fetching train' in seen, seen\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "200"})


def test_loading_files_imports_nothing_of_the_network() -> None:
    program = (
        "import sys\n"
        "for name in ('cryptography', 'httpcore', 'certifi', 'dns', 'boto3'): sys.modules[name] = None\n"
        "import atdata\n"
        "assert [row['n'] for row in atdata.load_dataset('plain', split='train')][:2] == [10, 11]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_a_server_that_is_not_there() -> None:
    with FileServer() as gone:
        url = f"{gone.url}/a.tar"
    with pytest.raises(NetworkError):
        atdata.load_dataset(url, streaming=False)
