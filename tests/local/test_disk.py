"""Shards in a folder: named by what they hold, whole or not there, and never written twice."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata.dataset import Dataset, write_samples
from atdata.dataset.stores import AbstractDataStore, ShardStore
from atdata.errors import DigestError, LimitError, ShardError, ShardNotFoundError, StorageError, UsageError
from atdata.local.disk import LocalDiskStore
from atdata.manifest import Manifest, ManifestWriter, manifest_paths
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from atdata.shards.http import HttpSource
from atdata.testing.conformance.ports import DataSourceSuite, Row, ShardStoreSuite, SourceUnderTest, rows
from support.rawhttp import FileServer


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LocalDiskStore:
    return LocalDiskStore(tmp_path / "store")


@pytest.fixture
def data() -> Dataset[Any]:
    return write_samples(rows(30), "rows-%06d.tar", maxcount=12)


def held(store: LocalDiskStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


class TestLocalDiskStore(ShardStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalDiskStore:
        return LocalDiskStore(tmp_path / "store")


class TestItsSource(DataSourceSuite):
    @pytest.fixture
    def made(self, store: LocalDiskStore, data: Dataset[Any]) -> SourceUnderTest:
        urls = store.write_shards(data, prefix="suite")
        return SourceUnderTest(
            store.create_source(urls), [Path(url).read_bytes() for url in urls], str(store.root / "absent.tar")
        )


def test_by_default_it_is_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATDATA_DATA", str(tmp_path / "own"))
    assert LocalDiskStore().root == tmp_path / "own" / "shards"
    assert isinstance(LocalDiskStore(), ShardStore)
    assert isinstance(LocalDiskStore(), AbstractDataStore)


def test_whole_shards_keep_their_bytes(store: LocalDiskStore, data: Dataset[Any]) -> None:
    stored = store.put(data, prefix="mnist/v1")
    assert [shard.digest for shard in stored] == [shard.digest for shard in data.shards]
    for shard, before in zip(stored, data.shards, strict=True):
        assert Path(shard.url) == store.root / "mnist/v1" / f"{before.digest.hex}.tar"
        assert Path(shard.url).read_bytes() == Path(before.url).read_bytes()
        assert (shard.size, shard.samples) == (before.size, before.samples)
    assert len(held(store)) == 3


def test_what_is_not_known_of_shards_is_found_out(store: LocalDiskStore, data: Dataset[Any]) -> None:
    again = Dataset(FileSource.of([shard.url for shard in data.shards]), sample_type=Row)
    assert {shard.digest for shard in again.shards} == {None}
    assert store.put(again, prefix="a") == store.put(data, prefix="a")


def test_a_plan_stores_nothing(store: LocalDiskStore, data: Dataset[Any]) -> None:
    planned = store.plan(data, prefix="a")
    assert held(store) == []
    assert [(p.url, p.digest, p.size, p.samples) for p in planned] == [
        (s.url, s.digest, s.size, s.samples) for s in store.upload(planned)
    ]
    assert store.upload(planned) == store.put(data, prefix="a")


def test_what_is_there_is_not_written_again(store: LocalDiskStore, data: Dataset[Any]) -> None:
    first = store.put(data, prefix="a")
    before = [Path(shard.url).stat().st_ino for shard in first]
    assert store.put(data, prefix="a") == first
    assert [Path(shard.url).stat().st_ino for shard in first] == before


def test_what_is_there_and_damaged_is_replaced(store: LocalDiskStore, data: Dataset[Any]) -> None:
    first = store.put(data, prefix="a")
    for shard, spoil in zip(first, (_flip, _cut, _grow), strict=True):
        spoil(Path(shard.url))
    for shard, before in zip(store.put(data, prefix="a"), data.shards, strict=True):
        assert Path(shard.url).read_bytes() == Path(before.url).read_bytes()


def _flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[600] ^= 1
    path.write_bytes(body)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 512)


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("spoil", [_flip, _cut, _grow])
def test_what_changed_since_it_was_planned_is_not_stored(store: LocalDiskStore, data: Dataset[Any], spoil: Any) -> None:
    planned = store.plan(data, prefix="a")
    spoil(Path(data.shards[1].url))
    with pytest.raises(DigestError):
        store.upload(planned)
    assert len(held(store)) == 1, "the first, whole"


def test_a_false_reference_is_refused(store: LocalDiskStore, data: Dataset[Any]) -> None:
    false = replace(data.shards[0], digest=Digest.sha256(b"other"))
    with pytest.raises(DigestError):
        store.put(Dataset(FileSource((false,)), sample_type=Row), prefix="a")
    assert held(store) == []


def test_another_algorithm_is_checked_and_named_by_sha256(store: LocalDiskStore, data: Dataset[Any]) -> None:
    path = data.shards[0].url
    true = ShardRef(path, Digest.of_file(path, "sha512"))
    (stored,) = store.put(Dataset(FileSource((true,)), sample_type=Row), prefix="a")
    assert stored.digest == data.shards[0].digest
    false = ShardRef(data.shards[1].url, Digest.of_file(path, "sha512"))
    with pytest.raises(DigestError):
        store.put(Dataset(FileSource((false,)), sample_type=Row), prefix="a")


def test_what_is_no_shard_is_refused(store: LocalDiskStore) -> None:
    Path("notes.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(ShardError):
        store.put(Dataset(FileSource.of(["notes.tar"]), sample_type=Row), prefix="a")
    assert held(store) == []


def test_views_and_limits_have_shards_cut_anew(store: LocalDiskStore, data: Dataset[Any]) -> None:
    picked = store.put(data.select([5, 25, 7]), prefix="picked")
    assert [sample.number for sample in Dataset(store.create_source([s.url for s in picked]), sample_type=Row)] == [
        5,
        25,
        7,
    ]
    odd = store.put(data.filter(lambda row: row.number % 2 == 1), prefix="odd")
    assert sum(shard.samples or 0 for shard in odd) == 15
    cut = store.put(data, prefix="cut", maxcount=4)
    assert [shard.samples for shard in cut] == [4] * 7 + [2]
    assert store.put(data, prefix="cut", maxcount=4) == cut
    for shard in (*picked, *odd, *cut):
        assert Digest.of_file(shard.url) == shard.digest
    assert not [name for name in held(store) if name.startswith(".scratch")]


def _large() -> bytes:
    return b"\x81\xa1a\xc5" + (5000).to_bytes(2, "big") + bytes(5000)


def test_nothing_and_too_much(store: LocalDiskStore, data: Dataset[Any]) -> None:
    with pytest.raises(UsageError):
        store.put(data.filter(lambda _: False), prefix="a")
    write_shard("some.tar", [("a", b"\x80"), ("b", b"\x81\xa1a" + b"\xc4\xff" + bytes(255)), ("c", _large())])
    with pytest.raises(LimitError):
        store.put(Dataset("some.tar"), prefix="a", maxsize=2048)
    with pytest.raises(UsageError):
        store.put(data, prefix="a", maxcount=0)
    assert held(store) == []


@pytest.mark.parametrize(
    "prefix",
    [
        "..",
        "a/..",
        "../a",
        "/etc",
        "a//b",
        "a/",
        "/",
        ".",
        "a/./b",
        ".scratch",
        "a\0b",
        "a\\b",
        "a\nb",
        "\ud800",
        "a" * 256,
    ],
)
def test_a_prefix_never_leads_elsewhere(store: LocalDiskStore, data: Dataset[Any], prefix: str) -> None:
    with pytest.raises(UsageError):
        store.write_shards(data, prefix=prefix)
    assert not store.root.exists()


@pytest.mark.parametrize("prefix", ["", "a", "mnist/v1.0", "größe/a b", "a..b"])
def test_a_prefix_is_a_folder(store: LocalDiskStore, data: Dataset[Any], prefix: str) -> None:
    urls = store.write_shards(data, prefix=prefix)
    assert {Path(url).parent for url in urls} == {store.root / prefix}


def test_equal_shards_are_one_file(store: LocalDiskStore) -> None:
    for name in ("a", "b"):
        write_samples(rows(5), f"{name}.tar")
    stored = store.put(Dataset(FileSource.of(["a.tar", "b.tar"]), sample_type=Row), prefix="a")
    assert len(stored) == 2
    assert len(held(store)) == 1


# --- manifests -------------------------------------------------------------------------------------------------------


def test_manifests_go_with_their_shards(store: LocalDiskStore) -> None:
    pytest.importorskip("pyarrow")
    data = write_samples(rows(30), "with-%06d.tar", maxcount=12, manifest=True)
    stored = store.put(data, prefix="a")
    for shard, before in zip(stored, data.shards, strict=True):
        assert Manifest.find(shard) is not None
        for mine, theirs in zip(manifest_paths(Path(shard.url)), manifest_paths(Path(before.url)), strict=True):
            assert mine.read_bytes() == theirs.read_bytes()
        assert [file.digest for file in shard.manifest.shards] == [
            Digest.of_file(path) for path in manifest_paths(Path(before.url))
        ]
    assert [s.manifest for s in store.put(data, prefix="a")] == [s.manifest for s in stored]


def test_manifests_of_shards_cut_anew(store: LocalDiskStore, data: Dataset[Any]) -> None:
    pytest.importorskip("pyarrow")
    stored = store.put(data, prefix="a", maxcount=7, observer=ManifestWriter(Row))
    assert all(Manifest.find(shard) is not None and shard.manifest is not None for shard in stored)
    assert len(held(store)) == 3 * len(stored)


def test_the_manifest_of_another_shard_stays_behind(store: LocalDiskStore) -> None:
    pytest.importorskip("pyarrow")
    data = write_samples(rows(5), "stale.tar", manifest=True)
    kept = [path.read_bytes() for path in manifest_paths(Path("stale.tar"))]
    data = write_samples(rows(6), "stale.tar", overwrite=True)
    for path, raw in zip(manifest_paths(Path("stale.tar")), kept, strict=True):
        path.write_bytes(raw)
    (stored,) = store.put(data, prefix="a")
    assert stored.manifest is None
    assert len(held(store)) == 1


def test_a_manifest_that_is_there_stays(store: LocalDiskStore, data: Dataset[Any]) -> None:
    pytest.importorskip("pyarrow")
    first = store.put(data, prefix="a", maxcount=30, observer=ManifestWriter(Row))[0]
    other = store.put(data, prefix="a", maxcount=30, observer=ManifestWriter(Row, provenance={"by": "another"}))[0]
    assert other == first
    assert other.manifest is None, "it is not the one that is stored"
    assert Manifest.find(first).header.provenance.get("by") is None


# --- from elsewhere --------------------------------------------------------------------------------------------------


@contextmanager
def served(data: Dataset[Any]) -> Iterator[FileServer]:
    with FileServer() as server:
        for number, shard in enumerate(data.shards):
            server.files[f"/{number}.tar"] = Path(shard.url).read_bytes()
        yield server


@pytest.mark.parametrize("known", ["nothing", "digest", "digest and size"])
def test_remote_shards_are_fetched_once(store: LocalDiskStore, data: Dataset[Any], known: str) -> None:
    with served(data) as server:
        source = HttpSource.from_urls([f"{server.url}/{number}.tar" for number in range(3)])
        shards = [
            replace(
                shard,
                digest=before.digest if known != "nothing" else None,
                size=before.size if known == "digest and size" else None,
            )
            for shard, before in zip(source.shards, data.shards, strict=True)
        ]
        planned = store.plan(Dataset(replace(source, shards=tuple(shards)), sample_type=Row), prefix="a")
        if known == "digest and size":
            assert server.requests == []
        stored = store.upload(planned)
        assert len(server.requests) == 3
    assert [shard.digest for shard in stored] == [shard.digest for shard in data.shards]
    assert list(Dataset(store.create_source([s.url for s in stored]), sample_type=Row)) == rows(30)


def test_a_remote_shard_that_lies_is_not_stored(store: LocalDiskStore, data: Dataset[Any]) -> None:
    with served(data) as server:
        server.files["/0.tar"] = server.files["/1.tar"]
        source = HttpSource.from_urls([f"{server.url}/0.tar"])
        known = replace(source.shards[0], digest=data.shards[0].digest, size=len(server.files["/0.tar"]))
        with pytest.raises(DigestError):
            store.put(Dataset(replace(source, shards=(known,)), sample_type=Row), prefix="a")
    assert held(store) == []


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_is_read_is_what_the_name_says(store: LocalDiskStore, data: Dataset[Any]) -> None:
    urls = store.write_shards(data, prefix="a")
    _flip(Path(urls[1]))
    with pytest.raises(DigestError):
        list(Dataset(store.create_source(urls), sample_type=Row))
    with pytest.raises(ShardNotFoundError):
        store.read_url(str(store.root / "absent.tar"))
    with pytest.raises(ShardNotFoundError):
        store.read_url(str(store.root / ("x" * 5000)))


def test_addresses_that_an_index_lists_are_taken_back(store: LocalDiskStore, data: Dataset[Any]) -> None:
    urls = store.write_shards(data, prefix="rows")
    listed = [Path(url).as_uri() for url in urls]
    assert store.create_source(listed) == store.create_source(urls)
    assert [store.read_url(url) for url in listed] == list(urls)
    with pytest.raises(ShardNotFoundError):
        store.read_url(f"{listed[0]}.gone")


def test_a_store_pickles(store: LocalDiskStore, data: Dataset[Any]) -> None:
    again = pickle.loads(pickle.dumps(store))
    assert again.put(data, prefix="a") == store.put(data, prefix="a")


# --- crashes ---------------------------------------------------------------------------------------------------------

STORING = """
    import sys
    from atdata.dataset import Dataset
    from atdata.local.disk import LocalDiskStore
    from atdata.shards import FileSource
    LocalDiskStore(sys.argv[1], cache=sys.argv[2]).write_shards(Dataset(FileSource.of(sys.argv[3:])), prefix="a")
    print("stored")
"""


def storing(store: LocalDiskStore, cache: Path, *paths: str, before: Any = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", textwrap.dedent(STORING), store.root, cache, *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=before)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_nothing_visible(store: LocalDiskStore, tmp_path: Path) -> None:
    big = write_shard("big.tar", ((f"{n:04d}", bytes(1_000_000)) for n in range(200)))
    with storing(store, tmp_path / "cache", big.url) as child:
        deadline = time.monotonic() + 60
        while not held(store):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    (left,) = held(store)
    assert left.startswith("a/."), left
    assert [shard.digest for shard in store.put(Dataset(FileSource.of([big.url])), prefix="a")] == [big.digest]


def test_a_disk_that_is_full_leaves_nothing(store: LocalDiskStore, tmp_path: Path) -> None:
    import resource

    big = write_shard("big.tar", ((f"{n:04d}", bytes(1_000_000)) for n in range(20)))

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    with storing(store, tmp_path / "cache", big.url, before=small_files) as child:
        _, error = child.communicate(timeout=60)
    assert StorageError.__name__ in error.decode()
    assert held(store) == []


@pytest.mark.slow
def test_two_processes_that_store_the_same(store: LocalDiskStore, data: Dataset[Any], tmp_path: Path) -> None:
    paths = [shard.url for shard in data.shards]
    children = [storing(store, tmp_path / "cache", *paths) for _ in range(3)]
    for child in children:
        assert child.communicate(timeout=60) == (b"stored\n", b"")
    assert len(held(store)) == 3
    assert list(Dataset(store.create_source([s.url for s in store.put(data, prefix="a")]), sample_type=Row)) == rows(30)
