"""Sets of files are written whole: old shards do not join new ones, and a crash at any call leaves no mixture."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import ConflictError, ShardError, StorageError
from atdata.files.own import TEMPORARY
from atdata.manifest import Manifest
from atdata.shards import sets, transaction
from atdata.shards.file_pattern import FilePattern
from atdata.shards.transaction import TRANSACTION
from support import MANY

READERS = ["glob", "open", "folder", "braces", "path", "writer"]


@atdata.packable
class Row:
    number: int
    values: NDArray[np.float32]


def rows(start: int, count: int) -> list[Row]:
    return [Row(number=number, values=np.full(4, number, np.float32)) for number in range(start, start + count)]


def numbers(where: str | Path | list[Path]) -> list[int]:
    return [row.number for row in atdata.Dataset[Row](where)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_shards_that_are_there_are_not_joined_by_new_ones(tmp_path):
    pattern = tmp_path / "d-%03d.tar"
    atdata.write_samples(rows(0, 300), pattern, maxcount=100)
    with pytest.raises(ConflictError, match="already") as caught:
        atdata.write_samples(rows(1000, 10), pattern)
    assert caught.value.actual == "d-000.tar, d-001.tar, d-002.tar"
    assert "overwrite=True" in (caught.value.hint or "")
    assert numbers(f"{tmp_path}/d-*.tar") == list(range(300))
    dataset = atdata.write_samples(rows(1000, 10), pattern, overwrite=True)
    assert names(tmp_path) == ["d-000.tar"]
    assert numbers(f"{tmp_path}/d-*.tar") == [row.number for row in dataset] == list(range(1000, 1010))
    assert [shard.url for shard in dataset.shards] == [str(tmp_path / "d-000.tar")]


def test_one_file_is_no_exception(tmp_path):
    atdata.write_samples(rows(0, 3), tmp_path / "d.tar")
    with pytest.raises(ConflictError):
        atdata.write_samples(rows(5, 3), tmp_path / "d.tar")
    atdata.write_samples(rows(5, 3), tmp_path / "d.tar", overwrite=True)
    assert numbers(tmp_path / "d.tar") == [5, 6, 7]


def test_what_is_refused_takes_no_sample_from_its_iterator(tmp_path):
    atdata.write_samples(rows(0, 3), tmp_path / "d.tar")
    samples = iter(rows(5, 3))
    with pytest.raises(ConflictError):
        atdata.write_samples(samples, tmp_path / "d.tar")
    assert len(list(samples)) == 3


def test_only_the_shards_of_the_name_go(tmp_path):
    atdata.write_samples(rows(0, 4), tmp_path / "d-%03d.tar", maxcount=2, manifest=True)
    for name in ("d-train.tar", "d-001.tar.part", "e-001.tar", "d-001.csv", "d-.tar"):
        (tmp_path / name).write_bytes(b"")
    atdata.write_samples(rows(0, 1), tmp_path / "d-%03d.tar", overwrite=True)
    assert names(tmp_path) == sorted(["d-000.tar", "d-train.tar", "d-001.tar.part", "e-001.tar", "d-001.csv", "d-.tar"])


def test_manifests_belong_to_the_set(tmp_path):
    pattern = tmp_path / "d-%03d.tar"
    atdata.write_samples(rows(0, 6), pattern, maxcount=2, manifest=True)
    assert len(names(tmp_path)) == 9
    dataset = atdata.write_samples(rows(10, 3), pattern, maxcount=2, manifest=True, overwrite=True)
    assert len(names(tmp_path)) == 6
    for shard, expected in zip(dataset.shards, ([10, 11], [12]), strict=True):
        manifest = Manifest.find(shard)
        assert manifest is not None
        assert list(manifest.column("number")) == expected
    atdata.write_samples(rows(20, 3), pattern, overwrite=True)
    assert names(tmp_path) == ["d-000.tar"]


def test_numbers_of_other_digits_are_told_and_left_alone(tmp_path):
    atdata.write_samples(rows(0, 2), tmp_path / "d-%03d.tar")
    with pytest.raises(ConflictError, match="another number of digits"):
        atdata.write_samples(rows(5, 2), tmp_path / "d-%06d.tar", overwrite=True)
    assert names(tmp_path) == ["d-000.tar"]


def test_a_set_is_in_sight_only_when_all_of_it_is_there(tmp_path):
    pattern = tmp_path / "d-%03d.tar"

    def failing():
        yield from rows(0, 5)
        assert list(tmp_path.glob("*.tar")) == []
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        atdata.write_samples(failing(), pattern, maxcount=1)
    assert names(tmp_path) == []


def test_names_that_begin_with_a_dot_are_names(tmp_path):
    for start in (0, 5):
        atdata.write_samples(rows(start, 3), tmp_path / ".d-%d.tar", maxcount=2, manifest=True, overwrite=True)
        assert numbers([tmp_path / ".d-0.tar", tmp_path / ".d-1.tar"]) == list(range(start, start + 3))
    assert len(names(tmp_path)) == 6


def test_a_dataset_may_be_written_over_what_it_is_read_from(tmp_path):
    pattern = tmp_path / "d-%03d.tar"
    atdata.write_samples(rows(0, 30), pattern, maxcount=10)
    old = atdata.Dataset[Row](f"{tmp_path}/d-*.tar")
    atdata.write_samples((row for row in old if row.number % 2), pattern, maxcount=10, overwrite=True)
    assert numbers(f"{tmp_path}/d-*.tar") == list(range(1, 30, 2))


def test_parquet_files_are_a_set_too(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    dataset = atdata.write_samples(rows(0, 10), tmp_path / "d.tar")
    dataset.to_parquet(tmp_path / "t-%02d.parquet", maxcount=3)
    with pytest.raises(ConflictError):
        dataset.to_parquet(tmp_path / "t-%02d.parquet", maxcount=8)
    paths = dataset.to_parquet(tmp_path / "t-%02d.parquet", maxcount=8, overwrite=True)
    assert sorted(tmp_path.glob("t-*")) == paths
    assert [row for path in paths for row in pq.read_table(path)["number"].to_pylist()] == list(range(10))


# --- several at once -------------------------------------------------------------------------------------------------


def test_of_two_writers_at_once_one_wins(tmp_path):
    pattern = tmp_path / "d-%03d.tar"
    inside, go = threading.Event(), threading.Event()

    def slow():
        yield from rows(0, 2)
        inside.set()
        assert go.wait(30)

    results: list[object] = []
    writer = threading.Thread(target=lambda: results.append(atdata.write_samples(slow(), pattern, maxcount=1)))
    writer.start()
    assert inside.wait(30)
    with pytest.raises(ConflictError, match="another process"):
        atdata.write_samples(rows(5, 2), pattern, overwrite=True)
    go.set()
    writer.join(30)
    assert len(results) == 1
    assert numbers(f"{tmp_path}/d-*.tar") == [0, 1]


def test_what_came_to_the_places_meanwhile_stands(tmp_path):
    pattern = tmp_path / "d-%03d.tar"

    def intruded():
        yield from rows(0, 2)
        (tmp_path / "d-007.tar").write_bytes(b"of somebody")

    with pytest.raises(ConflictError, match="meanwhile"):
        atdata.write_samples(intruded(), pattern, maxcount=1)
    assert names(tmp_path) == ["d-007.tar"]


WRITER = """
    import sys, numpy as np, atdata
    from numpy.typing import NDArray

    @atdata.packable
    class Row:
        number: int
        values: NDArray[np.float32]

    def rows(start, count):
        for n in range(start, start + count):
            yield Row(number=n, values=np.full(4, n, np.float32))
"""


@pytest.mark.slow
def test_of_eight_processes_that_write_at_once_one_set_stands(tmp_path):
    script = textwrap.dedent(WRITER) + textwrap.dedent(
        """
        sys.stdin.readline()
        mine = int(sys.argv[2])
        try:
            atdata.write_samples(rows(mine * 100, 5 + mine), sys.argv[1] + "/d-%03d.tar", maxcount=2)
            print("won")
        except atdata.errors.ConflictError:
            print("refused")
        """
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(number)], **pipes) for number in range(8)]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=120)[0].strip() for writer in writers]
    assert sorted(said) == ["refused"] * 7 + ["won"]
    mine = said.index("won")
    assert numbers(f"{tmp_path}/d-*.tar") == list(range(mine * 100, mine * 100 + 5 + mine))
    assert all(name.endswith(".tar") for name in names(tmp_path))


def test_a_reader_sees_the_old_set_or_the_new_one(tmp_path):
    """While sets of different sizes replace one another, whoever lists and reads finds one whole set, or is told."""
    pattern = tmp_path / "d-%03d.tar"
    atdata.write_samples(rows(0, 6), pattern, maxcount=1)
    over = threading.Event()

    def write():
        for turn in range(1, 25):
            atdata.write_samples(rows(turn * 100, 6 - turn % 5), pattern, maxcount=1, overwrite=True)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    whole = told = 0
    while not over.is_set():
        try:
            for found in (
                numbers(f"{tmp_path}/d-*.tar"),
                [row.number for row in atdata.load_dataset(str(tmp_path), Row, split="train")],
            ):
                turn, count = found[0] // 100, len(found)
                assert found == list(range(turn * 100, turn * 100 + (6 - turn % 5 if turn else 6)))
                whole += count
        except (ShardError, atdata.errors.ShardNotFoundError):  # listed before and opened after
            told += 1
    writer.join(60)
    assert whole


def test_a_shard_that_was_replaced_since_it_was_listed_is_not_read_in_its_place(tmp_path):
    pattern = tmp_path / "d-%03d.tar"
    atdata.write_samples(rows(0, 4), pattern, maxcount=2)
    old = atdata.Dataset[Row](f"{tmp_path}/d-*.tar")
    iterator = iter(old)
    assert next(iterator).number == 0
    atdata.write_samples(rows(100, 4), pattern, maxcount=2, overwrite=True)
    again = atdata.Dataset[Row](f"{tmp_path}/d-*.tar")
    assert [row.number for row in again] == [100, 101, 102, 103]
    with pytest.raises(ShardError, match="changed since it was listed"):
        _ = old[3]


# --- crashes ---------------------------------------------------------------------------------------------------------

CRASHES = (
    WRITER
    + """
    import os, shutil, signal
    from pathlib import Path
    import fcntl, io
    from atdata.files import atomic

    top = Path(sys.argv[1])
    calls, fatal = [], -1

    def strike(name):
        calls.append(name)
        if len(calls) - 1 == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(module, name):
        call = getattr(module, name)
        def called(*args, **options):
            strike(name)
            result = call(*args, **options)
            strike(name)
            return result
        setattr(module, name, called)

    for name in ("mkdir", "open", "fsync", "replace", "rename", "unlink", "rmdir", "scandir", "listdir", "lstat", "write", "pread"):
        around(os, name)
    around(fcntl, "flock")

    class File(io.FileIO):
        def write(self, data):
            strike("write")
            return super().write(data)

    atomic.FileIO = File
    # The old set has three shards of six with manifests; the new one has two shards of three.
    PATTERN, GLOB = "d-%03d.tar", "d-*.tar"

    def prepare(folder):
        folder.mkdir()
        atdata.write_samples(rows(0, 6), folder / PATTERN, maxcount=2, manifest=True)

    def write(folder):
        atdata.write_samples(rows(100, 3), folder / PATTERN, maxcount=2, manifest=True, overwrite=True)

    def dying(number, work):
        # Whether it was killed before it was through.
        global fatal
        child = os.fork()
        if not child:
            calls.clear()
            fatal = number
            work()
            os._exit(7)
        status = os.waitpid(child, 0)[1]
        return os.WIFSIGNALED(status)
    """
)


def run(script: str, *args: object) -> str:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


OLD, NEW = list(range(6)), [100, 101, 102]


def check_one_set(folder: Path) -> list[int]:
    """What a reader finds is one of the two sets, whole, with its manifests and no other files in sight."""
    found = numbers(f"{folder}/d-*.tar")
    assert found in (OLD, NEW)
    shards = 3 if found == OLD else 2
    seen = [name for name in names(folder) if not name.startswith(".")]
    assert len(seen) == 3 * shards, seen
    for shard in atdata.write_samples(rows(0, 1), folder / "other.tar").shards:
        assert Manifest.find(shard) is None
    for path in sorted(folder.glob("d-*.tar")):
        assert (path.with_suffix(".manifest.json")).exists()
    return found


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders in which a writer was killed at each of its calls, in their order."""
    top = tmp_path_factory.mktemp("crashed")
    script = (
        CRASHES
        + """
    prepare(top / "count")
    calls.clear()
    write(top / "count")
    total = len(calls)
    for number in range(total):
        prepare(top / str(number))
        assert dying(number, lambda: write(top / str(number))), number
    print(total)
    """
    )
    total = int(run(script, top))
    assert total > 60
    return [top / str(number) for number in range(total)]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_after_a_crash_at_any_call_who_comes_next_finds_one_whole_set(tmp_path, crashed, reader):
    """Each reader comes after every third crash, and all of them together after each at least twice."""
    expected = {"braces": [OLD[:4], NEW], "path": [[2, 3], [102]]}.get(reader, [OLD, NEW])
    seen = []
    tried = list(enumerate(crashed))
    for number, left in tried if MANY else tried[READERS.index(reader) % 3 :: 3]:
        folder = tmp_path / str(number)
        shutil.copytree(left, folder)
        match reader:
            case "glob":
                first = numbers(f"{folder}/d-*.tar")
            case "open":
                first = numbers(f"{tmp_path}/{number}/**")
            case "folder":
                first = [row.number for row in atdata.load_dataset(str(folder), Row, split="train")]
            case "braces":
                first = numbers(f"{folder}/d-{{000..001}}.tar")
            case "path":
                first = numbers(folder / "d-001.tar")
            case "writer":
                atdata.write_samples(rows(200, 1), folder / "e.tar")
                (folder / "e.tar").unlink()
                assert not [
                    name for name in names(folder) if name.startswith(".") and (folder / name / "lock").exists()
                ]
                first = numbers(f"{folder}/d-*.tar")
        assert first in expected, number
        seen.append(check_one_set(folder))
        assert expected.index(first) == [OLD, NEW].index(seen[-1])
        assert not (folder / TRANSACTION).exists()
    assert seen == sorted(seen, key=[OLD, NEW].index)  # first the old ones, then the new ones
    assert {tuple(found) for found in seen} == {tuple(OLD), tuple(NEW)}


@pytest.mark.slow
def test_after_a_crash_of_who_finishes_it_the_next_one_does(tmp_path, crashed):
    """The one that was killed just after it had decided, and one after the other who are killed while they finish."""
    decided = next(folder for folder in crashed if (folder / TRANSACTION / transaction.PLAN).exists())
    script = (
        CRASHES
        + """
    from atdata.shards.transaction import recover

    for number in range(1000):
        folder = top / str(number)
        shutil.copytree(sys.argv[2], folder, copy_function=shutil.copy2)
        if not dying(number, lambda: recover(folder)):
            break
    print(number)
    """
    )
    total = int(run(script, tmp_path, decided))
    assert total > 20
    for number in range(total):
        assert check_one_set(tmp_path / str(number)) == NEW


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    script = (
        WRITER
        + """
    def dying():
        yield from rows(0, 3)
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)

    atdata.write_samples(dying(), sys.argv[1] + "/d-%03d.tar", maxcount=1)
    """
    )
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert TEMPORARY.fullmatch(left)
    (tmp_path / left / "results.csv").write_bytes(b"of somebody")
    atdata.write_samples(rows(0, 1), tmp_path / "e-%03d.tar")
    assert names(tmp_path / left) == ["results.csv"]
    (tmp_path / left / "results.csv").unlink()
    (tmp_path / left).rmdir()
    atdata.write_samples(rows(0, 1), tmp_path / "d-%03d.tar")
    assert names(tmp_path) == ["d-000.tar", "e-000.tar"]


def test_what_was_never_locked_is_removed_only_where_nothing_is_in_it(tmp_path):
    for name, file in ((".atdata-" + "0" * 16 + ".tmp", None), (".atdata-" + "1" * 16 + ".tmp", "a.tar")):
        (tmp_path / name).mkdir()
        if file:
            (tmp_path / name / file).write_bytes(b"of somebody")
    atdata.write_samples(rows(0, 1), tmp_path / "d-%03d.tar")
    assert names(tmp_path) == [".atdata-" + "1" * 16 + ".tmp", "d-000.tar"]
    assert names(tmp_path / names(tmp_path)[0]) == ["a.tar"]


@pytest.mark.parametrize("moment", ["before it is locked", "once its lock is there", "while it is looked at"])
def test_a_writer_whose_folder_is_swept_as_it_begins_begins_again(tmp_path, monkeypatch, moment):
    swept = []
    mkdir, opened = Path.mkdir, transaction.Lock._opened

    def swept_folder(path, *args, **options):
        mkdir(path, *args, **options)
        if TEMPORARY.fullmatch(path.name) and not swept and moment == "before it is locked":
            swept.append(path)
            sets._sweep(FilePattern.of(tmp_path / "e-%03d.tar", limited=True))

    def swept_lock(lock):
        file = opened(lock)
        if lock._new is not None and not swept and moment != "before it is locked":
            swept.append(lock._path.parent)
            if moment == "once its lock is there":
                sets._sweep(FilePattern.of(tmp_path / "e-%03d.tar", limited=True))
            else:
                held.append(os.open(lock._path, os.O_RDWR))
                fcntl.flock(held[0], fcntl.LOCK_EX)
        return file

    held = []
    monkeypatch.setattr(Path, "mkdir", swept_folder)
    monkeypatch.setattr(transaction.Lock, "_opened", swept_lock)
    monkeypatch.setattr(sets, "_move", None)  # one by one only where there are no locks
    atdata.write_samples(rows(0, 3), tmp_path / "d-%03d.tar", maxcount=1)
    assert len(swept) == 1
    assert names(tmp_path) == ["d-000.tar", "d-001.tar", "d-002.tar"]
    for file in held:
        os.close(file)


@pytest.mark.parametrize("which", ["who waits", "who ends"])
def test_a_transaction_that_takes_the_place_of_one_that_ends_is_no_fault(tmp_path, monkeypatch, which):
    """Between the removal of a lock and that of its folder another writer may come, with a folder and a lock of its own."""
    rmdir, came = Path.rmdir, []

    def late(path):
        if path.name == TRANSACTION and not came:
            came.append(path)
            if which == "who ends":
                rmdir(path)  # as whoever waits does
                path.mkdir()
            (path / "lock").write_bytes(b"other-%03d.tar")
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", late)
    if which == "who waits":
        (tmp_path / TRANSACTION).mkdir()
    atdata.write_samples(rows(0, 2), tmp_path / "d-%03d.tar", maxcount=1)
    assert came
    assert names(tmp_path)[-2:] == ["d-000.tar", "d-001.tar"]
    transaction.recover(tmp_path)
    assert names(tmp_path) == ["d-000.tar", "d-001.tar"]


def test_a_folder_of_somebody_in_the_place_of_a_transaction_is_an_error_at_once(tmp_path):
    (tmp_path / TRANSACTION).mkdir()
    (tmp_path / TRANSACTION / "notes.txt").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be finished"):
        atdata.write_samples(rows(0, 1), tmp_path / "d-%03d.tar")
    assert names(tmp_path / TRANSACTION) == ["notes.txt"]


def test_a_plan_of_a_stranger_touches_nothing_elsewhere(tmp_path):
    folder, precious = tmp_path / "data", tmp_path / "precious.tar"
    precious.write_bytes(b"")
    (folder / TRANSACTION).mkdir(parents=True)
    (folder / TRANSACTION / "lock").touch()
    for old in ("../precious.tar", str(precious), ".ssh", "notes.txt", "..", "", 7, None):
        for plan in ({"old": {str(old): [0, 0]}, "new": []}, {"old": {}, "new": [old]}, {"old": [old], "new": []}):
            (folder / TRANSACTION / transaction.PLAN).write_text(json.dumps(plan))
            with pytest.raises(StorageError, match="is invalid"):
                numbers(f"{folder}/*.tar")
    assert precious.exists()


@pytest.mark.parametrize("plan", ["goes", "is replaced", "is guessed"])
def test_a_plan_of_a_stranger_removes_no_file_that_it_does_not_know(tmp_path, plan):
    """It may come in an archive that is unpacked where one has shards of one's own."""
    atdata.write_samples(rows(0, 2), tmp_path / "mine-%03d.tar")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    (tmp_path / TRANSACTION).mkdir()
    (tmp_path / TRANSACTION / "lock").touch()
    size = len(before["mine-000.tar"])
    said = {"goes": ({"mine-000.tar": [0, 0]}, []), "is replaced": ({}, ["mine-000.tar"])}
    old, new = said.get(plan, ({"mine-000.tar": [size, 1_700_000_000_000_000_000]}, ["mine-000.tar"]))
    for name in new:
        (tmp_path / TRANSACTION / name).write_bytes(b"theirs")
    (tmp_path / TRANSACTION / transaction.PLAN).write_text(json.dumps({"old": old, "new": new}))
    for _ in range(2):
        with pytest.raises(StorageError, match="in the way of an unfinished replacement") as caught:
            numbers(f"{tmp_path}/mine-*.tar")
        assert TRANSACTION in (caught.value.hint or "")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")} == before
    shutil.rmtree(tmp_path / TRANSACTION)
    assert numbers(f"{tmp_path}/mine-*.tar") == [0, 1]


def test_a_link_in_place_of_the_exchange_is_none(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.tar").write_bytes(b"")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / TRANSACTION).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(atdata.errors.ShardNotFoundError):
        numbers(f"{tmp_path}/data/*.tar")
    assert names(tmp_path / "elsewhere") == ["d.tar"]


def test_who_may_not_write_is_told_that_an_exchange_is_unfinished(tmp_path, monkeypatch):
    atdata.write_samples(rows(0, 2), tmp_path / "d-%03d.tar")
    (tmp_path / TRANSACTION).mkdir()
    (tmp_path / TRANSACTION / "lock").touch()

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(StorageError, match="interrupted") as caught:
        numbers(f"{tmp_path}/d-*.tar")
    assert "may write" in (caught.value.hint or "")


def test_an_exchange_that_is_under_way_is_waited_for(tmp_path, monkeypatch):
    atdata.write_samples(rows(0, 2), tmp_path / "d-%03d.tar")
    (tmp_path / TRANSACTION).mkdir()
    with (tmp_path / TRANSACTION / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(transaction, "PATIENCE", 0.05)
        with pytest.raises(ConflictError, match="another process"):
            numbers(f"{tmp_path}/d-*.tar")
        monkeypatch.setattr(transaction, "PATIENCE", 60.0)
        timer = threading.Timer(0.2, fcntl.flock, [lock, fcntl.LOCK_UN])
        timer.start()
        assert numbers(f"{tmp_path}/d-*.tar") == [0, 1]
        timer.join()


def test_on_a_disk_without_locks_a_first_set_is_written_and_none_replaced(tmp_path, monkeypatch):
    def no_locks(*_args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    atdata.write_samples(rows(0, 3), tmp_path / "d-%03d.tar", maxcount=1)
    assert numbers(f"{tmp_path}/d-*.tar") == [0, 1, 2]
    with pytest.raises(StorageError, match="without locks"):
        atdata.write_samples(rows(5, 3), tmp_path / "d-%03d.tar", overwrite=True)
    assert numbers(f"{tmp_path}/d-*.tar") == [0, 1, 2]
    assert names(tmp_path) == ["d-000.tar", "d-001.tar", "d-002.tar"]


def test_a_folder_of_a_shards_name_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "d-001.tar").mkdir()
    with pytest.raises(StorageError):
        atdata.write_samples(rows(0, 3), tmp_path / "d-%03d.tar", overwrite=True)
    assert names(tmp_path) == ["d-001.tar"]


def test_places_know_their_files():
    places = FilePattern.of("x/d-%03d.tar", limited=True)
    known = {"d-000.tar": 0, "d-1000.tar": 1000, "d-7.tar": 7, "d-.tar": None, "d-00a.tar": None, "ed-000.tar": None}
    assert {name: places.number(name) for name in known} == known
    assert sets.FilePattern is FilePattern
