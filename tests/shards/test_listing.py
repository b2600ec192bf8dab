"""What is listed is read, or it is an error: nothing of a shard's name is passed over."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import atdata
from atdata.errors import ShardError, ShardNotFoundError, UsageError
from atdata.local.disk import LocalDiskStore
from atdata.manifest import Manifest
from atdata.samples import DictSample
from atdata.shards import FileSource
from support.services import temporary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    atdata.write_samples([DictSample({"n": n}) for n in range(30)], tmp_path / "data" / "d-%d.tar", maxcount=10)
    return tmp_path / "data"


@pytest.fixture
def open_folder(folder: Path) -> Iterator[Path]:
    """The same where others may read: another pytest that starts meanwhile closes the folders of this one to them."""
    if os.getuid():
        pytest.skip("only root can become somebody else")
    with temporary("atdata-open-") as place:
        place.chmod(0o755)
        yield Path(shutil.copytree(folder, place / "data"))


def by_folder(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.load_dataset(str(folder), split="train")]


def by_glob(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.Dataset(f"{folder}/*.tar")]


def by_open_glob(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.load_dataset(f"{folder}/*", split="train")]


def by_deep_glob(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.Dataset(f"{folder.parent}/**/*.tar")]


def by_braces(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.Dataset(f"{folder}/d-{{0..2}}.tar")]


def by_data_files(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.load_dataset(str(folder), data_files="d-*.tar", split="train")]


def by_paths(folder: Path) -> list[int]:
    return [sample.n for sample in atdata.Dataset([folder / f"d-{number}.tar" for number in range(3)])]


def by_importer(folder: Path) -> list[int]:
    from atdata.importers import open_path

    return [sample.n for sample in open_path(folder, "Row").samples()]


Read = Callable[[Path], list[int]]
SHARD_READERS: list[Read] = [by_folder, by_glob, by_open_glob, by_deep_glob, by_braces, by_data_files, by_paths]


def name_of(function: Callable[..., object]) -> str:
    return function.__name__


@pytest.mark.parametrize("read", [*SHARD_READERS, by_importer], ids=name_of)
def test_a_link_to_nothing_is_an_error(folder: Path, read: Read) -> None:
    """As in a clone by git-annex, before its content is fetched; it would be out of the folder."""
    assert read(folder) == list(range(30))
    for number in (0, 2):
        (folder / f"d-{number}.tar").unlink()
        (folder / f"d-{number}.tar").symlink_to("../.git/annex/objects/Xz/SHA256E-s10240--0.tar")
    with pytest.raises(ShardNotFoundError, match="symbolic link is broken") as caught:
        read(folder)
    assert caught.value.uri
    assert caught.value.uri.endswith("d-0.tar")
    assert "git annex get" in (caught.value.hint or "")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


PUTS = [a_folder, a_pipe, a_socket, a_link_to_itself]
# Importers read folders as classes.
CASES = [
    (read, put) for read in [*SHARD_READERS, by_importer] for put in PUTS if (read, put) != (by_importer, a_folder)
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read, put", CASES, ids=name_of)
def test_what_has_a_shards_name_and_is_no_file_is_an_error(
    folder: Path, read: Read, put: Callable[[Path], None]
) -> None:
    (folder / "d-1.tar").unlink()
    put(folder / "d-1.tar")
    with pytest.raises(ShardNotFoundError) as caught:
        read(folder)
    assert "d-1.tar" in str(caught.value)


def test_a_file_that_may_not_be_read_is_an_error(open_folder: Path) -> None:
    """Asked as a user to whom the disk says no."""
    script = """
        import os, sys
        from pathlib import Path
        import atdata

        readers = [lambda: atdata.Dataset(sys.argv[1] + "/*.tar"), lambda: atdata.load_dataset(sys.argv[1], split="train")]
        for read in readers:
            assert len(list(read())) == 30
        Path(sys.argv[1], "d-1.tar").chmod(0)
        os.seteuid(65534)
        for read in readers:
            try:
                list(read())
            except atdata.errors.ShardNotFoundError as error:
                print(error.what, error.uri)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(open_folder)]
    environment = {**os.environ, "ATDATA_CACHE": str(open_folder / ".cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.stdout.splitlines() == [f"a file cannot be opened: Permission denied {open_folder}/d-1.tar"] * 2, (
        done.stderr
    )


def test_links_that_lead_out_of_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "d-1.tar").rename(tmp_path / "elsewhere")
    (folder / "d-1.tar").symlink_to(tmp_path / "elsewhere")
    assert by_folder(folder) == by_glob(folder) == list(range(30))
    (tmp_path / "mounted").mkdir()
    (folder / "d-2.tar").rename(tmp_path / "mounted" / "d-2.tar")
    (folder / "more").symlink_to(tmp_path / "mounted")
    assert by_folder(folder) == list(range(30))


def test_a_link_to_a_folder_that_is_not_mounted_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "more").symlink_to(tmp_path / "not-mounted")
    with pytest.raises(ShardNotFoundError, match="symbolic link is broken"):
        by_folder(folder)
    (folder / "more").rename(folder / "notes.txt")  # of another kind
    (folder / "LICENSE").symlink_to("../.git/annex/objects/x")
    assert by_folder(folder) == list(range(30))


def test_what_is_changed_between_listing_and_opening_is_told(folder: Path) -> None:
    source = FileSource.of([f"{folder}/*.tar"])
    other = pickle.loads(pickle.dumps(source))  # as a worker has it
    with (folder / "d-1.tar").open("ab") as file:
        file.write(bytes(512))
    for each in (source, other):
        each.open(each.shards[0]).close()
        with pytest.raises(ShardError, match="changed since"):
            each.open(each.shards[1])


def test_a_folder_of_compressed_shards_says_so(tmp_path: Path) -> None:
    for name in ("a-0.tar.gz", "a-1.tgz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(ShardNotFoundError) as caught:
        atdata.load_dataset(str(tmp_path))
    assert "a-0.tar.gz is compressed" in (caught.value.actual or "")
    assert "Decompress" in (caught.value.hint or "")
    with pytest.raises(ShardError, match="compressed"):
        list(atdata.Dataset(str(tmp_path / "a-0.tar.gz")))
    with pytest.raises(UsageError) as refused:
        atdata.write_samples([DictSample({"n": 1})], tmp_path / "b.tar.gz")
    assert "not compressed" in (refused.value.hint or "")


def test_a_path_is_always_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("@local/x.tar")
    atdata.write_samples([DictSample({"n": n}) for n in range(3)], path)
    assert (tmp_path / "@local" / "x.tar").is_file()
    assert [sample.n for sample in atdata.load_dataset(path, split="train")] == [0, 1, 2]
    assert [sample.n for sample in atdata.load_dataset(Path("@local"), split="train")] == [0, 1, 2]
    assert [sample.n for sample in atdata.Dataset(path)] == [0, 1, 2]
    with pytest.raises(ShardNotFoundError):
        atdata.load_dataset(Path("@local/mnist"))


def test_a_folders_name_may_have_percent_signs(tmp_path: Path) -> None:
    dataset = atdata.write_samples([DictSample({"n": n}) for n in range(3)], f"{tmp_path}/a%b/x-%06d.tar", maxcount=2)
    assert sorted(path.name for path in (tmp_path / "a%b").iterdir()) == ["x-000000.tar", "x-000001.tar"]
    assert [sample.n for sample in dataset] == [0, 1, 2]


def test_a_manifest_that_is_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    @atdata.packable
    class Row:
        n: int

    dataset = atdata.write_samples([Row(n) for n in range(3)], tmp_path / "d.tar", manifest=True)
    header = tmp_path / "d.manifest.json"
    header.unlink()
    assert Manifest.find(dataset.shards[0]) is None
    header.symlink_to("../.git/annex/objects/x")
    for read in (
        lambda: Manifest.find(dataset.shards[0]),
        lambda: LocalDiskStore(tmp_path / "store", cache=tmp_path / "cache").write_shards(dataset),
    ):
        with pytest.raises(ShardNotFoundError, match="symbolic link is broken"):
            read()


@pytest.mark.parametrize("pattern", ["**/*.tar", "**", "**/d-?.tar", "*/*.tar", "data/**", "d[a]ta/**/*.tar"])
def test_a_glob_passes_over_no_folder_and_reads_none_twice(
    folder: Path, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deep = "**" in pattern
    (folder / "in").mkdir()
    (folder / "d-1.tar").rename(folder / "in" / "d-1.tar")
    (folder / "in" / "up").symlink_to("../..")  # leads back up, and would for ever
    for given in (pattern, f"{tmp_path}/{pattern}"):
        found = [n for shard in atdata.Dataset(given).shards for n in shards_of(shard.url)]
        assert sorted(found) == (list(range(30)) if deep else [*range(10), *range(20, 30)])
    (folder / "in" / "up").unlink()
    (tmp_path / "away").symlink_to(tmp_path / "not-mounted")
    if not pattern.startswith("d"):
        with pytest.raises(ShardNotFoundError, match="symbolic link is broken"):
            atdata.Dataset(pattern)


def shards_of(url: str) -> list[int]:
    return [sample.n for sample in atdata.Dataset(url)]


@pytest.mark.parametrize("pattern", ["**/*.tar", "**", "*/**", "*/*/*.tar", "data/*/d-1.tar"])
def test_a_glob_over_a_folder_that_may_not_be_read_is_an_error(open_folder: Path, pattern: str) -> None:
    (open_folder / "in").mkdir()
    (open_folder / "d-1.tar").rename(open_folder / "in" / "d-1.tar")
    script = """
        import sys, os
        import atdata
        os.chdir(sys.argv[1])
        atdata.Dataset("data/*.tar")
        os.chmod("data/in", 0)
        os.setuid(65534)
        try:
            atdata.Dataset(sys.argv[2])
        except atdata.errors.AtdataError as error:
            print(type(error).__name__, error.what)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(open_folder.parent), pattern]
    environment = {**os.environ, "ATDATA_CACHE": str(open_folder / ".cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    (open_folder / "in").chmod(0o755)
    assert done.stdout == "StorageError a folder cannot be listed: Permission denied\n", done.stderr
