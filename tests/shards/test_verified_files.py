"""What a machine knows of its shard files: true while they stay as they are, and never in the way of reading them."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.dataset import Dataset, write_samples
from atdata.errors import DigestError, ShardError, ShardNotFoundError
from atdata.samples import packable
from atdata.shards import Digest, FileSource, ShardRef, opening, verified_files, write_shard
from atdata.shards.cache import ShardCache
from atdata.shards.index import ShardIndex
from atdata.shards.opening import open_shard
from atdata.shards.proving import proved_shards
from atdata.shards.verified_files import UNKNOWN, VerifiedFiles, _pack, _unpack, state_of

LONG_AGO = 1_600_000_000_123_456_789
STATE = f"1:2:3:{LONG_AGO}:{LONG_AGO}"


def index_of(*places: tuple[int, int]) -> ShardIndex:
    table = np.array(places, np.int64).reshape(-1, 2)
    return ShardIndex(np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1]))


def same(one: ShardIndex | None, other: ShardIndex | None) -> bool:
    if one is None or other is None:
        return one is other
    pairs = ((one.starts, other.starts), (one.sizes, other.sizes))
    return all(a.dtype == b.dtype == np.int64 and np.array_equal(a, b) for a, b in pairs)


INDEX = index_of((512, 10), (1536, 0), (2048, 700))
DIGEST = Digest.sha256(b"shard")


@pytest.fixture
def book(tmp_path) -> VerifiedFiles:
    return VerifiedFiles(tmp_path / "cache")


def learn(book: VerifiedFiles, state: str = STATE, index: ShardIndex = INDEX, digest: Digest | None = DIGEST) -> None:
    book.record(state, digest, index, time.time_ns())


# --- what is written down --------------------------------------------------------------------------------------------


def test_what_was_recorded_is_known(book):
    assert book.known(STATE) == UNKNOWN
    assert book.counts([STATE]) == {}
    learn(book)
    found = book.known(STATE)
    assert (found.digest, found.samples) == (str(DIGEST), 3)
    assert same(found.index, INDEX)
    assert book.counts([STATE, "other"]) == {STATE: 3}
    assert book.known("other") == UNKNOWN
    assert VerifiedFiles(book.root).known(STATE).samples == 3


def test_looking_makes_nothing(book):
    book.known(STATE)
    book.counts([STATE])
    assert not book.root.exists()


def test_a_file_proved_without_a_digest_has_none(book):
    learn(book, digest=None)
    assert book.known(STATE).digest is None
    learn(book)
    assert book.known(STATE).digest == str(DIGEST)


def test_the_counts_of_many_files_are_asked_for_at_once(book, tmp_path):
    states = [f"2:{n}:3:{LONG_AGO}:{LONG_AGO}" for n in range(1203)]
    learn(book)
    with closing(sqlite3.connect(book.root / "atdata-ledger.sqlite")) as db, db:
        db.executemany("INSERT INTO files VALUES (?, NULL, ?, NULL, 0)", [(s, n) for n, s in enumerate(states)])
    assert book.counts(states) == {state: n for n, state in enumerate(states)}
    assert book.counts([]) == {}
    assert book.known(states[7]) == UNKNOWN, "a row without places proves nothing"


def test_a_row_that_stands_elsewhere_says_nothing(book):
    """As a crash of the machine may leave it, for nothing is written through to the disk."""
    learn(book)
    other = f"1:2:4:{LONG_AGO}:{LONG_AGO}"
    with closing(sqlite3.connect(book.root / "atdata-ledger.sqlite")) as db, db:
        db.execute("INSERT INTO files SELECT ?, digest, samples, places, used FROM files", [other])
    assert book.known(other) == UNKNOWN
    with closing(sqlite3.connect(book.root / "atdata-ledger.sqlite")) as db, db:
        db.execute("UPDATE files SET digest = ?", [str(Digest.sha256(b"another shard"))])
    assert book.known(STATE) == UNKNOWN


indexes = st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=40).map(
    lambda steps: index_of(*zip(itertools.accumulate(step for step, _ in steps), (n for _, n in steps), strict=True))
)


@given(indexes)
def test_an_index_comes_back_as_it_was(index):
    assert same(_unpack(_pack(index, b"seal"), len(index), b"seal"), index)


@given(indexes, st.integers(-50, 2**63 - 1))
def test_an_index_of_another_length_is_none(index, count):
    if count == len(index):
        return
    with pytest.raises((ValueError, OverflowError)):
        _unpack(_pack(index, b"seal"), count, b"seal")


@given(indexes, st.data())
def test_an_index_that_was_damaged_is_none_or_as_it_was(index, data):
    packed = bytearray(_pack(index, b"seal"))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    found = None
    with suppress(*verified_files._DAMAGED):
        found = _unpack(bytes(packed), len(index), b"seal")
    assert found is None or same(found, index)


def test_an_index_is_recorded_through_the_database(book):
    for count in (0, 1, 1000, 50_000):
        index = index_of(*[(512 + n * 1024, n % 500) for n in range(count)])
        learn(book, f"1:2:{count}:{LONG_AGO}:{LONG_AGO}", index)
        assert same(book.known(f"1:2:{count}:{LONG_AGO}:{LONG_AGO}").index, index)


# --- a state is one content ------------------------------------------------------------------------------------------


def written(path: Path, count: int = 3) -> ShardRef:
    """A shard that has been there for a while."""
    ref = write_shard(path, [(f"{n:03d}", bytes([n]) * 100) for n in range(count)])
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    settle(path)
    return ref


def settle(path: Path) -> None:
    """Wait until the file was not changed a moment ago."""
    while time.time_ns() - path.stat().st_ctime_ns < 2 * verified_files._TICK:
        time.sleep(0.005)


def flip(path: Path) -> None:
    """Alter eight bytes, and put the time of the content back: only the system's own time tells."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(600)
        file.write(b"tampered")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    settle(path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(600)
        file.write(b"!")


def replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.replace(path)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "content": overwrite,
    "size": lambda path: os.truncate(path, path.stat().st_size + 512),
    "time": lambda path: os.utime(path, ns=(LONG_AGO, LONG_AGO + 1)),
    "an older time": lambda path: os.utime(path, ns=(LONG_AGO, LONG_AGO - 1_000_000_000)),
    "replaced by another, as old and as large": replace,
    "content, with its time put back": flip,
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changed_is_not_known(book, tmp_path, what):
    path = tmp_path / "a.tar"
    written(path)
    learn(book, state_of(path.stat()))
    path.read_bytes()
    assert book.known(state_of(path.stat())).samples == 3
    CHANGES[what](path)
    assert book.known(state_of(path.stat())) == UNKNOWN
    assert book.counts([state_of(path.stat())]) == {}


MS = 1_000_000


@pytest.mark.parametrize(
    ("changed", "looked", "known"),
    [
        (LONG_AGO, LONG_AGO, False),
        (LONG_AGO, LONG_AGO + 4 * MS, False),  # the clock of a disk ticks every few ms
        (LONG_AGO, LONG_AGO + 25 * MS, True),
        (LONG_AGO, LONG_AGO - 1, False),
        (LONG_AGO, LONG_AGO - 3600 * 1000 * MS, False),  # a clock that was set back
        (1_600_000_000 * 1000 * MS, 1_600_000_001 * 1000 * MS, False),  # of a disk that counts seconds, or two
        (1_600_000_000 * 1000 * MS, 1_600_000_003 * 1000 * MS, True),
    ],
)
def test_a_file_just_changed_is_not_recorded(book, changed, looked, known):
    """It may change again without a trace: within a tick of its clock, and in its length of before."""
    for state in (f"1:2:3:{changed}:{changed}", f"1:2:3:{changed}:{LONG_AGO - 1}", f"1:2:3:{LONG_AGO - 1}:{changed}"):
        book.record(state, DIGEST, INDEX, max(looked, 0))
        assert (book.known(state) != UNKNOWN) == known


def test_a_file_written_over_while_it_was_proved_is_not_taken_for_proved(tmp_path, monkeypatch):
    """Changed, looked at, and changed once more within a tick; hashing takes longer than that."""
    path = tmp_path / "a.tar"
    ref = write_shard(path, [("a", bytes(100))])
    cache = ShardCache(tmp_path / "cache")
    real, now = opening.scan_shard, time.time_ns()
    os.utime(path, ns=(now + 5 * MS, now + 5 * MS))

    def slow(*arguments: Any) -> ShardIndex:
        index = real(*arguments)
        overwrite(path)
        os.utime(path, ns=(now + 5 * MS, now + 5 * MS))  # as a disk would that counts in ticks
        time.sleep(0.05)
        return index

    with monkeypatch.context() as patch:
        patch.setattr(opening, "scan_shard", slow)
        open_shard(FileSource((ref,)), ref, cache).file.close()
    with pytest.raises(DigestError):
        open_shard(FileSource((ref,)), ref, cache).file.close()


def test_who_gives_a_verdict_is_told_nothing(book):
    learn(book)
    revalidate = VerifiedFiles(book.root, revalidate=True)
    assert revalidate.known(STATE) == UNKNOWN
    assert revalidate.counts([STATE]) == {}
    other = f"1:2:5:{LONG_AGO}:{LONG_AGO}"
    learn(revalidate, other)
    assert book.known(other).samples == 3, "but what is found out is remembered"
    revalidate.forget(STATE)
    assert book.known(STATE) == UNKNOWN


def test_a_verdict_corrects_what_was_believed(tmp_path):
    """As where a disk alters bytes and tells nobody: the file's state is as it was."""
    ref = written(tmp_path / "a.tar")
    cache = ShardCache(tmp_path / "cache")
    flip(tmp_path / "a.tar")
    cache.verified.record(state_of(Path(ref.url).stat()), ref.digest, index_of((512, 100)), time.time_ns())
    open_shard(FileSource((ref,)), ref, cache).file.close()
    for look in (ShardCache(cache.root, revalidate=True), cache):
        with pytest.raises(DigestError):
            open_shard(FileSource((ref,)), ref, look)
    (proved,) = proved_shards(
        FileSource((ShardRef(ref.url),)), [ShardRef(ref.url)], ShardCache(cache.root, revalidate=True)
    )
    assert (proved.digest, proved.samples) == (Digest.of_file(ref.url), 3)


@pytest.mark.slow
def test_what_was_learned_longest_ago_goes_first(book, monkeypatch):
    monkeypatch.setattr(verified_files, "_LIMIT", 1 << 20)
    chance = np.random.default_rng(1)
    index = index_of(*np.cumsum(chance.integers(1, 2**40, (45, 2)), 0).tolist())  # about a kilobyte

    def state(number: int) -> str:
        return f"1:{number}:3:{LONG_AGO}:{LONG_AGO}"

    count = 0
    for second in range(6):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda second=second: 1e9 + second)
            for _ in range(300):
                learn(book, state(count), index)
                count += 1
    known = [n for n in range(count) if book.counts([state(n)])]
    assert 501 < len(known) < 1500
    assert known == list(range(known[0], count)), "the newest are there"
    assert (book.root / "atdata-ledger.sqlite").stat().st_size < 3 << 19


# --- a database that is of no use ------------------------------------------------------------------------------------


def trouble(name: str, book: VerifiedFiles) -> None:
    path = book.root / "atdata-ledger.sqlite"
    if name == "missing":
        shutil.rmtree(book.root)
    elif name == "emptied":
        path.write_bytes(b"")
    elif name == "no database":
        path.write_bytes(b"hello" * 1000)
    elif name == "cut":
        os.truncate(path, 5000)
    elif name == "cut to its first page":
        os.truncate(path, 4096)
    elif name == "zeros after its first page":
        path.write_bytes(path.read_bytes()[:4096].ljust(path.stat().st_size, b"\0"))
    elif name == "chance after its first page":
        path.write_bytes(path.read_bytes()[:4096] + random.Random(1).randbytes(path.stat().st_size - 4096))
    elif name == "of another make":
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DROP TABLE files")
            db.execute("CREATE TABLE files (a, b)")
    elif name == "a folder":
        path.unlink()
        path.mkdir()
    elif name == "in the place of its folder":
        shutil.rmtree(book.root)
        book.root.write_bytes(b"")
    else:
        raise AssertionError(name)


TROUBLES = [
    "missing", "emptied", "no database", "cut", "cut to its first page", "zeros after its first page",
    "chance after its first page", "of another make", "a folder", "in the place of its folder",
]  # fmt: skip
FOR_GOOD = ["of another make", "a folder", "in the place of its folder"]


@pytest.fixture
def full(book) -> VerifiedFiles:
    learn(book)
    states = [f"1:{n}:3:{LONG_AGO}:{LONG_AGO}" for n in range(200)]
    rows = [(s, str(DIGEST), 3, _pack(INDEX, verified_files._seal(s, str(DIGEST))), 0) for s in states]
    with closing(sqlite3.connect(book.root / "atdata-ledger.sqlite")) as db, db:
        db.execute("DELETE FROM files")
        db.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", rows)
    return book


@pytest.mark.parametrize("name", TROUBLES)
def test_a_ledger_of_no_use_is_in_nobodys_way(full, name):
    trouble(name, full)
    for _ in range(2):
        assert full.known(f"1:7:3:{LONG_AGO}:{LONG_AGO}") == UNKNOWN
        assert full.counts([f"1:7:3:{LONG_AGO}:{LONG_AGO}"]) == {}
    learn(full)
    learn(full)  # what was damaged is thrown away, and begun anew
    assert (full.known(STATE) == UNKNOWN) == (name in FOR_GOOD)


@pytest.mark.parametrize("name", TROUBLES)
def test_shards_are_read_beside_a_ledger_of_no_use(full, tmp_path, name):
    trouble(name, full)
    ref = written(tmp_path / "a.tar")
    for _ in range(3):
        opened = open_shard(FileSource((ref,)), ref, ShardCache(full.root))
        opened.file.close()
        assert len(opened.index) == 3


def test_a_place_that_cannot_be_is_in_nobodys_way(tmp_path):
    for root in (tmp_path / ("n" * 300), Path("/proc/none"), tmp_path / "a" / ".." / "\ud800"):
        book = VerifiedFiles(root)
        assert book.known(STATE) == UNKNOWN
        assert book.counts([STATE]) == {}
        learn(book)


def test_a_read_only_ledger_is_read(full):
    root = os.geteuid() == 0  # to whom nothing is read-only
    path = full.root / "atdata-ledger.sqlite"
    path.chmod(0o400)
    full.root.chmod(0o500)
    try:
        assert full.known(f"1:7:3:{LONG_AGO}:{LONG_AGO}").samples == 3
        learn(full)
        assert root or full.known(STATE) == UNKNOWN
        full.root.chmod(0)
        assert root or full.known(f"1:7:3:{LONG_AGO}:{LONG_AGO}") == UNKNOWN
        assert root or full.counts([f"1:7:3:{LONG_AGO}:{LONG_AGO}"]) == {}
    finally:
        full.root.chmod(0o700)


@pytest.mark.slow
def test_a_ledger_that_is_locked_is_in_nobodys_way(full):
    db = sqlite3.connect(full.root / "atdata-ledger.sqlite")
    db.execute("BEGIN EXCLUSIVE")
    found: list[Any] = []
    tasks = [
        lambda: found.append(full.known(f"1:7:3:{LONG_AGO}:{LONG_AGO}") == UNKNOWN),
        lambda: found.append(full.counts([f"1:7:3:{LONG_AGO}:{LONG_AGO}"]) == {}),
        lambda: found.append(learn(full) is None),
    ]
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    db.close()
    assert found == [True] * 3
    assert full.known(f"1:7:3:{LONG_AGO}:{LONG_AGO}").samples == 3, "busy is not damaged"


def test_bytes_altered_in_the_database_make_nothing_fail_and_no_place_wrong(full):
    path = full.root / "atdata-ledger.sqlite"
    states = [f"1:{n}:3:{LONG_AGO}:{LONG_AGO}" for n in range(200)]
    chance, whole = random.Random(2), path.read_bytes()
    fallen = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        full.counts(states)
        for state in chance.sample(states, 8):
            known = full.known(state)
            fallen += known.index is None
            assert known.index is None or same(known.index, INDEX)
        learn(full)
    assert fallen


# --- once per machine ------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often shards were scanned and hashed. The work itself is done as ever."""
    counts: Counter[str] = Counter()
    scan, of_stream = opening.scan_shard, Digest.of_stream

    def scanning(*arguments: Any) -> ShardIndex:
        counts["scanned"] += 1
        return scan(*arguments)

    def hashing(*arguments: Any) -> Digest:
        counts["hashed"] += 1
        return of_stream(*arguments)

    monkeypatch.setattr(opening, "scan_shard", scanning)
    monkeypatch.setattr(Digest, "of_stream", hashing)
    return counts


@pytest.mark.parametrize("samples", [3, 0])
@pytest.mark.parametrize("digested", [True, False])
def test_a_file_is_scanned_once_and_hashed_once(tmp_path, counted, samples, digested):
    ref = written(tmp_path / "a.tar", samples)
    ref = ref if digested else ShardRef(ref.url)
    for _ in range(4):
        opened = open_shard(FileSource((ref,)), ref, ShardCache(tmp_path / "cache"))
        opened.file.close()
        assert len(opened.index) == samples
    assert counted == ({"scanned": 1, "hashed": 1} if digested else {"scanned": 1})


def test_a_file_that_was_scanned_is_hashed_when_its_digest_is_told(tmp_path, counted):
    ref = written(tmp_path / "a.tar")
    cache = ShardCache(tmp_path / "cache")
    wrong = ShardRef(ref.url, Digest.sha256(b"another"))
    for asked in (ShardRef(ref.url), ref, ref, ShardRef(ref.url), ref):
        open_shard(FileSource((asked,)), asked, cache).file.close()
    assert counted == {"scanned": 1, "hashed": 1}
    for _ in range(2):
        with pytest.raises(DigestError):
            open_shard(FileSource((wrong,)), wrong, cache)
    open_shard(FileSource((ref,)), ref, cache).file.close()
    assert counted == {"scanned": 1, "hashed": 3}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changed_is_proved_again(tmp_path, counted, what):
    path = tmp_path / "a.tar"
    ref = written(path)
    cache = ShardCache(tmp_path / "cache")
    open_shard(FileSource((ref,)), ref, cache).file.close()
    CHANGES[what](path)
    try:
        open_shard(FileSource((ref,)), ref, cache).file.close()
    except DigestError:
        assert what in ("content", "size", "content, with its time put back")
    assert counted["hashed"] == 2


def test_a_shard_that_failed_is_not_recorded(tmp_path):
    path = tmp_path / "a.tar"
    ref = ShardRef(written(path).url)
    overwrite(path)
    with path.open("r+b") as file:
        file.write(b"?")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    cache = ShardCache(tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(ShardError):
            open_shard(FileSource((ref,)), ref, cache)
        assert cache.verified.known(state_of(path.stat())) == UNKNOWN


def test_a_fetched_shard_is_hashed_on_its_way_and_once_more_at_most(tmp_path, counted):
    ref = written(tmp_path / "a.tar")

    class Remote:
        shards = ()

        def open(self, shard: ShardRef, offset: int = 0) -> Any:
            return Path(shard.url).open("rb")

    cache = ShardCache(tmp_path / "cache")
    for _ in range(5):
        open_shard(Remote(), ref, cache).file.close()
        time.sleep(0.03)
    assert counted["hashed"] <= 1
    assert counted["scanned"] <= 2


@packable
class Row:
    number: int


def test_a_second_look_at_a_dataset_scans_nothing(tmp_path, counted):
    made = write_samples(map(Row, range(10)), tmp_path / "d-%d.tar", maxcount=3)
    paths = [Path(shard.url) for shard in made.shards]
    for path in paths:
        settle(path)
    for _ in range(3):
        assert [row.number for row in Dataset[Row]([str(path) for path in paths])] == list(range(10))
    assert counted == {"scanned": 4}
    again = Dataset[Row]([str(path) for path in paths])
    for path in paths[1:]:
        path.rename(path.with_suffix(".away"))
        path.mkdir()  # whoever opens it would be told
    with pytest.raises(ShardNotFoundError):
        list(again)
    assert counted == {"scanned": 4}


@pytest.mark.slow
def test_processes_share_what_they_learn(tmp_path):
    """All look at the same shards at once, and write down what they find; one deletes the ledger now and then."""
    refs = [written(tmp_path / f"{n}.tar", n % 5) for n in range(12)]
    script = """
        import sys
        from pathlib import Path
        from atdata.shards import Digest, FileSource, ShardRef
        from atdata.shards.cache import ShardCache
        from atdata.shards.opening import open_shard

        folder, seed = Path(sys.argv[1]), int(sys.argv[2])
        cache = ShardCache(folder / "cache")
        for turn in range(60):
            number = (turn * (seed + 1) + seed) % 12
            ref = ShardRef(str(folder / f"{number}.tar"), Digest("sha256", sys.argv[3 + number]))
            with (opened := open_shard(FileSource((ref,)), ref, cache)).file:
                assert len(opened.index) == number % 5
            if seed == 3 and turn % 20 == 19:
                (cache.root / "atdata-ledger.sqlite").unlink(missing_ok=True)
        print("read")
    """
    digests = [ref.digest.hex for ref in refs if ref.digest]
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    children = [
        subprocess.Popen([*command, str(n), *digests], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(4)
    ]
    for child in children:
        out, error = child.communicate(timeout=60)
        assert (out, error) == (b"read\n", b"")
    book = VerifiedFiles(tmp_path / "cache")
    for ref in refs:
        learn(book, state_of(Path(ref.url).stat()), index_of(*[(n, n) for n in range(ref.samples or 0)]))
    states = [state_of(Path(ref.url).stat()) for ref in refs]
    assert list(book.counts(states).values()).count(4) == 2


def test_threads_share_what_they_learn(book):
    def work(seed: int) -> None:
        for number in range(15):
            learn(book, f"{seed}:{number}:3:{LONG_AGO}:{LONG_AGO}")
            assert book.known(f"{seed}:{number}:3:{LONG_AGO}:{LONG_AGO}").samples == 3

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book.counts([f"{seed}:{n}:3:{LONG_AGO}:{LONG_AGO}" for seed in range(4) for n in range(15)])) == 60
