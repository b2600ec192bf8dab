"""The one door through which shards are read: hashed before a byte is used, cached under their digests, bounded."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from atdata.errors import DigestError, NetworkError, ShardNotFoundError, StorageError
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from atdata.shards.cache import STALE, ShardCache
from atdata.shards.opening import AHEAD, open_shard, open_shards
from atdata.shards.ports import DataSource
from atdata.shards.rows import read_rows


@dataclass
class RemoteSource:
    """A source that is no folder of this machine: bytes by URL, with a count of who opened and closed what."""

    bodies: dict[str, bytes]
    opened: Counter[str] = field(default_factory=Counter)
    streams: list[BinaryIO] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def shards(self) -> list[ShardRef]:
        return [ShardRef(url) for url in self.bodies]

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        self.opened[shard.url] += 1
        self.gate.wait(30)
        if shard.url not in self.bodies:
            raise ShardNotFoundError("there is no such shard", uri=shard.url)
        stream = io.BytesIO(self.bodies[shard.url])
        stream.seek(offset)
        self.streams.append(stream)
        return stream


class Endless(io.RawIOBase):
    """A body without an end."""

    total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.total += len(buffer)
        return len(buffer)


@pytest.fixture
def shards(tmp_path) -> list[tuple[ShardRef, bytes]]:
    """Six shards of ten samples, with their digests."""
    made = []
    for index in range(6):
        path = tmp_path / "made" / f"{index}.tar"
        ref = write_shard(path, [(f"{n:03d}", bytes([index]) * 1000) for n in range(10)])
        made.append((ShardRef(f"test:{index}", ref.digest, ref.size), path.read_bytes()))
    return made


@pytest.fixture
def source(shards) -> RemoteSource:
    return RemoteSource({ref.url: body for ref, body in shards})


@pytest.fixture
def cache(tmp_path) -> ShardCache:
    return ShardCache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def _every_thread_and_file_is_given_back():
    yield
    deadline = time.monotonic() + 10
    while any(thread.name.startswith("atdata-fetch") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    gc.collect()  # an unclosed file warns, and a warning is an error


def refs(shards: list[tuple[ShardRef, bytes]]) -> list[ShardRef]:
    return [ref for ref, _ in shards]


def files(cache: ShardCache) -> set[str]:
    """All that is in its folder, but for the ledger."""
    found = {str(path.relative_to(cache.root)) for path in cache.root.rglob("*") if path.is_file()}
    return found - {"atdata-ledger.sqlite"}


def lie(source: RemoteSource, ref: ShardRef) -> None:
    """Alter one byte of a sample."""
    body = bytearray(source.bodies[ref.url])
    body[600] ^= 1
    source.bodies[ref.url] = bytes(body)


# --- one shard -------------------------------------------------------------------------------------------------------


def test_a_shard_is_fetched_once_and_then_read_from_the_cache(source, cache, shards):
    ref, body = shards[0]
    for _ in range(3):
        opened = open_shard(source, ref, cache)
        with opened.file:
            assert opened.file.read() == body
            assert (opened.ref, opened.size) == (ref, len(body))
    assert source.opened[ref.url] == 1
    assert all(stream.closed for stream in source.streams)
    assert files(cache) == {f"shards/sha256/{ref.digest.hex[:2]}/{ref.digest.hex}.tar"}


def test_a_shard_in_the_cache_serves_every_source_that_names_its_digest(source, cache, shards):
    ref, body = shards[0]
    open_shard(source, ref, cache).file.close()
    elsewhere = RemoteSource({})
    with open_shard(elsewhere, ShardRef("other:0", ref.digest), cache).file as file:
        assert file.read() == body
    assert not elsewhere.opened


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "blake2b"])
def test_a_shard_is_checked_by_whichever_digest_is_known(source, cache, shards, algorithm):
    ref, body = shards[0]
    digest = Digest.of_stream(io.BytesIO(body), algorithm)
    open_shard(source, ShardRef(ref.url, digest), cache).file.close()
    lie(source, ref)
    open_shard(source, ShardRef(ref.url, digest), cache).file.close()
    with pytest.raises(DigestError):
        open_shard(source, ShardRef(ref.url, digest), ShardCache(cache.root / "fresh"))


@pytest.mark.parametrize("what", ["altered", "cut", "longer", "empty", "swapped"])
def test_a_shard_that_is_not_the_one_published_is_refused_and_not_kept(source, cache, shards, what):
    (ref, body), (_, other) = shards[:2]
    source.bodies[ref.url] = {
        "altered": body[:600] + bytes([body[600] ^ 1]) + body[601:],
        "cut": body[:-1024],
        "longer": body + bytes(512),
        "empty": b"",
        "swapped": other,
    }[what]
    for size in (ref.size, None):
        with pytest.raises(DigestError) as caught:
            open_shard(source, ShardRef(ref.url, ref.digest, size), cache)
        assert (caught.value.step, caught.value.uri) == ("shard digest", ref.url)
    assert files(cache) == set()
    assert all(stream.closed for stream in source.streams)


def test_a_body_longer_than_its_record_says_is_not_read_to_its_end(cache, shards):
    ref, _ = shards[0]
    bodies: list[Endless] = []

    class Endlessly(RemoteSource):
        def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
            bodies.append(Endless())
            return bodies[-1]  # type: ignore[return-value]

    for digest in (ref.digest, None):
        with pytest.raises(DigestError):
            open_shard(Endlessly({}), ShardRef(ref.url, digest, 5_000_000), cache)
    assert all(body.total < 10_000_000 for body in bodies)
    assert files(cache) == set()


def test_a_cached_file_that_was_altered_is_not_used(source, cache, shards):
    ref, body = shards[0]
    open_shard(source, ref, cache).file.close()
    for damage in (b"", body[:-1], bytes(len(body))):
        cache.path(ref.digest).write_bytes(damage)
        with open_shard(source, ref, cache).file as file:
            assert file.read() == body
    cache.path(ref.digest).unlink()
    cache.path(ref.digest).mkdir()
    with pytest.raises(StorageError):
        open_shard(source, ref, cache)


def test_a_shard_without_a_digest_leaves_nothing_behind(source, cache, shards):
    ref, body = shards[0]
    for _ in range(2):
        with open_shard(source, ShardRef(ref.url), cache).file as file:
            assert file.read() == body
            assert files(cache) == set()
    assert source.opened[ref.url] == 2


def test_a_file_of_this_machine_stays_where_it_is_and_is_checked(tmp_path, cache):
    made = write_shard(tmp_path / "a.tar", [("a", b"1")])
    source = FileSource((made,))
    with open_shard(source, made, cache).file as file:
        assert Path(file.name) == tmp_path / "a.tar"
    damaged = bytearray((tmp_path / "a.tar").read_bytes())
    damaged[512] ^= 1
    (tmp_path / "a.tar").write_bytes(damaged)
    with pytest.raises(DigestError):
        open_shard(source, made, cache)
    assert files(cache) == set()


def test_a_cache_that_cannot_be_written_is_told(source, shards, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ref, _ = shards[0]
    for digest in (ref.digest, None):
        with pytest.raises(StorageError):
            open_shard(source, ShardRef(ref.url, digest), ShardCache(tmp_path / "file"))


def test_a_shard_just_written_is_taken_in(cache, tmp_path):
    made = write_shard(tmp_path / "a.tar", [("a", b"1")])
    cache.add(tmp_path / "a.tar", made.digest)
    with open_shard(RemoteSource({}), ShardRef("test:a", made.digest), cache).file as file:
        assert list(read_rows(file, made.size or 0, "a")) == [("a", b"1")]
    assert not (tmp_path / "a.tar").exists()


# --- bounded, shared -------------------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_keeps_what_was_used_last(source, shards, tmp_path, monkeypatch):
    size = len(shards[0][1])
    cache = ShardCache(tmp_path / "cache", limit=3 * size)
    now = time.time()

    def use(index: int, when: int) -> None:
        monkeypatch.setattr(time, "time", lambda: now + 3600 * when)
        open_shard(source, shards[index][0], cache).file.close()

    def held() -> set[int]:
        return {index for index, (ref, _) in enumerate(shards) if cache.path(ref.digest).exists()}

    for when, index in enumerate([0, 1, 2, 0, 3], 1):
        use(index, when)
    assert held() == {0, 2, 3}
    cache = ShardCache(tmp_path / "cache", limit=size - 1)
    with open_shard(source, shards[4][0], cache).file as file:  # too large to keep, but read all the same
        assert file.read() == shards[4][1]
    assert held() == set()


def test_only_the_caches_own_files_make_room(source, shards, tmp_path):
    """Somebody may have chosen a folder that has other things in it."""
    others = ["shards/mine/train/0.tar", "shards/sha256/ab/notes.tar", "shards/sha256/ab/.x.tmp", "0.tar"]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1, 1))
    cache = ShardCache(tmp_path, limit=1)
    open_shard(source, shards[0][0], cache).file.close()
    assert all((tmp_path / name).exists() for name in others)
    assert not cache.path(shards[0][0].digest).exists()


def test_what_a_killed_process_left_is_cleared_after_a_day(source, shards, cache):
    place = cache.path(shards[0][0].digest)
    place.parent.mkdir(parents=True)
    fresh, stale = (place.with_name(f".atdata-{n * 16}.tmp") for n in "12")
    for leftover, age in ((fresh, STALE - 100), (stale, STALE + 100)):
        leftover.write_bytes(bytes(100))
        os.utime(leftover, (time.time() - age,) * 2)
    open_shard(source, shards[1][0], cache).file.close()
    assert fresh.exists()
    assert not stale.exists()


@pytest.mark.slow
def test_processes_that_share_a_small_cache_all_read_what_was_published(tmp_path, shards):
    """Each makes room while the others fetch, open and read."""
    script = """
        import sys
        from pathlib import Path
        from atdata.shards import FileSource, ShardRef
        from atdata.shards.cache import ShardCache
        from atdata.shards.opening import open_shard

        class Remote:
            shards = ()
            def open(self, shard, offset=0):
                return open(shard.url, "rb")

        made, root, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
        paths = sorted(made.glob("*.tar"))
        from atdata.shards import Digest
        digests = [Digest.of_file(path) for path in paths]
        bodies = [path.read_bytes() for path in paths]
        cache = ShardCache(root, limit=2 * len(bodies[0]))
        for turn in range(40):
            index = (turn * (seed + 1) + seed) % len(paths)
            with open_shard(Remote(), ShardRef(str(paths[index]), digests[index]), cache).file as file:
                assert file.read() == bodies[index]
        print("read")
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), tmp_path / "made", tmp_path / "cache"]
    children = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(4)]
    for child in children:
        out, error = child.communicate(timeout=60)
        assert (out, error) == (b"read\n", b"")
    left = [path for path in (tmp_path / "cache" / "shards").rglob("*") if path.is_file()]
    assert all(path.suffix == ".tar" for path in left)


def test_threads_that_want_one_shard_all_get_it(source, cache, shards):
    ref, body = shards[0]
    read: list[bytes] = []

    def want() -> None:
        with open_shard(source, ref, cache).file as file:
            read.append(file.read())

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [body] * 8


# --- one after the other ---------------------------------------------------------------------------------------------


def consume(opened: Iterator[Any]) -> list[str]:
    return [shard.ref.url for shard in opened]


def test_shards_come_in_order_and_each_is_closed_when_the_next_is_asked_for(source, cache, shards):
    previous = None
    for (ref, body), shard in zip(shards, open_shards(source, refs(shards), cache), strict=True):
        assert previous is None or previous.closed
        assert shard.ref == ref
        assert shard.file.read() == body
        previous = shard.file
    assert previous.closed
    assert consume(open_shards(source, [], cache)) == []


def test_only_a_few_shards_are_fetched_ahead(source, cache, shards):
    opened = open_shards(source, refs(shards), cache)
    for taken in range(1, 4):
        next(opened)
        time.sleep(0.05)
        assert len(source.opened) <= taken + AHEAD
    opened.close()
    assert len(source.opened) < len(shards)


def test_whoever_stops_early_stops_the_fetching(source, cache, shards):
    source.gate.clear()
    opened = open_shards(source, refs(shards), cache)
    threading.Timer(0.1, source.gate.set).start()
    for shard in opened:
        assert shard.ref == shards[0][0]
        break
    opened.close()
    assert shard.file.closed
    assert sum(source.opened.values()) <= 1 + AHEAD


def test_whoever_stops_early_does_not_wait_for_a_slow_server(cache, shards):
    slow = Endless()
    slow_read, slow.readinto = slow.readinto, lambda buffer: time.sleep(0.01) or slow_read(buffer)  # type: ignore[method-assign]

    class HalfSlow(RemoteSource):
        def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
            return super().open(shard) if shard.url == "test:0" else slow  # type: ignore[return-value]

    source = HalfSlow({ref.url: body for ref, body in shards})
    opened = open_shards(source, [shards[0][0], ShardRef("test:1")], cache)
    next(opened)
    began = time.monotonic()
    opened.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bad", [0, 1, 3, 5])
def test_a_bad_shard_is_reported_in_its_turn(source, cache, shards, bad):
    lie(source, shards[bad][0])
    seen = []
    with pytest.raises(DigestError) as caught:
        for shard in open_shards(source, refs(shards), cache):
            seen.append(shard.ref.url)
    assert seen == [ref.url for ref, _ in shards[:bad]]
    assert caught.value.uri == shards[bad][0].url


def test_a_missing_shard_is_reported_in_its_turn(source, cache, shards):
    del source.bodies["test:2"]
    seen = []
    with pytest.raises(ShardNotFoundError):
        for shard in open_shards(source, refs(shards), cache):
            seen.append(shard.ref.url)
    assert seen == ["test:0", "test:1"]


def test_what_was_fetched_ahead_and_not_wanted_is_closed(source, cache, shards):
    opened = open_shards(source, [ShardRef(ref.url) for ref, _ in shards], cache)
    next(opened)
    deadline = time.monotonic() + 10
    while len(source.streams) < 1 + AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    opened.close()  # and waits for nobody: who is still fetching closes what it has
    while any(thread.name.startswith("atdata-fetch") for thread in threading.enumerate()):
        assert time.monotonic() < deadline + 10
        time.sleep(0.01)
    assert all(stream.closed for stream in source.streams)


def test_an_error_thrown_in_closes_everything(source, cache, shards):
    opened = open_shards(source, refs(shards), cache)
    shard = next(opened)
    with pytest.raises(KeyboardInterrupt):
        opened.throw(KeyboardInterrupt)
    assert shard.file.closed


def test_a_stopped_fetch_says_so(source, cache, shards):
    stopped = threading.Event()
    stopped.set()
    for digest in (shards[0][0].digest, None):
        with pytest.raises(NetworkError):
            open_shard(source, ShardRef("test:0", digest), cache, stopped)
    assert files(cache) == set()


def test_the_fake_is_a_source(source):
    assert isinstance(source, DataSource)
