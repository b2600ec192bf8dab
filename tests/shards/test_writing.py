"""The shard writer: equal samples give equal files, limits are exact, and nothing partial is ever visible."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import LimitError, SampleError, StorageError, UsageError
from atdata.files import atomic, atomic_file, write_all
from atdata.shards import Digest, Limits, cut_shards, write_shard, writer
from atdata.shards.file_pattern import FilePattern
from atdata.shards.rows import read_rows
from atdata.shards.tar import BLOCK
from atdata.shards.writer import DEFAULT_MAXSIZE, Row, tar_member

webdataset = pytest.importorskip("webdataset")

ROWS: list[Row] = [("000", b"first"), ("dir/001", b"x" * 600), ("long/" * 30 + "002", b""), ("ünïcode", b"y" * 512)]


def read(path: Path) -> list[Row]:
    with path.open("rb") as file:
        return list(read_rows(file, path.stat().st_size, str(path)))


def write_all_shards(folder: Path, rows: Iterable[Row], **limits: Any) -> list[Path]:
    shards = cut_shards(rows, Limits.of(limits.get("maxcount"), limits.get("maxsize")), lambda i: folder / f"{i}.tar")
    return [Path(shard.url) for shard in shards]


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_shard_are_these(tmp_path):
    """A shard's digest is its identity: it changes only with the format itself."""
    shard = write_shard(tmp_path / "a.tar", ROWS)
    raw = (tmp_path / "a.tar").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == "2e5bf64dc3f82eac980a3bae71776144668b60a022af7801b1cbb42865bc46be"
    assert shard.digest == Digest.sha256(raw)
    assert (shard.url, shard.size, shard.samples) == (str(tmp_path / "a.tar"), len(raw), len(ROWS))
    assert len(raw) % BLOCK == 0
    numbers = b"0000644\0" + b"0000000\0" * 2 + b"00000000005\0" + b"00000000000\0"  # mode, uid, gid, size, mtime
    header = b"000.msgpack".ljust(100, b"\0") + numbers + b"011046\0 " + b"0".ljust(101, b"\0")
    assert raw[:BLOCK] == header + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)


def test_when_and_where_a_shard_is_written_leaves_no_trace(tmp_path):
    one = write_shard(tmp_path / "a.tar", ROWS)
    previous = os.umask(0o077)
    try:
        other = write_shard(tmp_path / "elsewhere" / "b.tar", iter(ROWS))
    finally:
        os.umask(previous)
    assert one.digest == other.digest
    with tarfile.open(tmp_path / "a.tar") as archive:
        for info in archive:
            assert (info.mtime, info.mode, info.uid, info.gid, info.uname, info.gname) == (0, 0o644, 0, 0, "", "")


keys = st.text(st.characters(codec="utf-8", exclude_characters="\0./"), min_size=1, max_size=120)


@given(st.lists(st.tuples(keys, st.binary(max_size=1500)), unique_by=lambda row: row[0], max_size=8))
def test_any_rows_are_read_back_also_by_tarfile(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "a.tar"
    shard = write_shard(path, rows)
    assert read(path) == rows
    assert shard.samples == len(rows)
    with tarfile.open(path) as archive:
        assert [(i.name, archive.extractfile(i).read()) for i in archive] == [(f"{k}.msgpack", d) for k, d in rows]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its file open
def test_webdataset_reads_the_samples(tmp_path):
    write_shard(tmp_path / "a.tar", ROWS)
    found = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [(sample["__key__"], sample["msgpack"]) for sample in found] == ROWS


def test_a_member_of_8_gib_or_more_has_its_size_in_base_256():
    for size in (8**11 - 1, 8**11, 10**15):
        header = writer._header(b"a", size, b"0")
        assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


@pytest.mark.parametrize("length", range(80, 130))
def test_names_are_written_at_every_length_around_what_a_header_holds(length):
    member = tar_member("k" * length, b"") + writer.END
    with tarfile.open(fileobj=io.BytesIO(member)) as archive:
        assert archive.getnames() == ["k" * length + ".msgpack"]


@pytest.mark.parametrize("key", ["", "a.b", ".a", "dir/.a", "a\0", "dir/", "/", "\ud800"])
def test_a_key_that_names_no_sample_is_refused(tmp_path, key):
    with pytest.raises(SampleError) as caught:
        write_shard(tmp_path / "a.tar", [("fine", b""), (key, b"")])
    assert caught.value.path == "__key__"
    assert list(tmp_path.iterdir()) == []


def test_one_shard_holds_every_key_once(tmp_path):
    write_shard(tmp_path / "a.tar", [("old", b"")])
    with pytest.raises(SampleError):
        write_shard(tmp_path / "a.tar", [("a", b"1"), ("b", b"2"), ("a", b"3")])
    assert read(tmp_path / "a.tar") == [("old", b"")]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tar"]


# --- limits ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(4 * BLOCK, 20 * BLOCK), st.integers(1, 5) | st.none())
def test_no_shard_is_over_a_limit_and_none_could_hold_one_more(tmp_path_factory, sizes, maxsize, maxcount):
    folder = tmp_path_factory.mktemp("cut")
    rows = [(f"{n:06d}", bytes(size)) for n, size in enumerate(sizes)]
    largest = max((len(tar_member(*row)) for row in rows), default=0) + 2 * BLOCK
    if largest > maxsize:
        with pytest.raises(LimitError):
            write_all_shards(folder, rows, maxcount=maxcount, maxsize=maxsize)
    else:
        paths = write_all_shards(folder, rows, maxcount=maxcount, maxsize=maxsize)
        held = [read(path) for path in paths]
        assert [row for shard in held for row in shard] == rows
        for path, here, after in zip(paths, held, [*held[1:], None], strict=True):
            assert path.stat().st_size <= maxsize
            assert maxcount is None or len(here) <= maxcount
            if after:
                larger = path.stat().st_size + len(tar_member(*after[0]))
                assert len(here) == maxcount or larger > maxsize
    assert not list(folder.glob(".*"))


def test_a_limit_that_is_met_exactly_is_kept(tmp_path):
    rows = [("a", bytes(512)), ("b", bytes(512)), ("c", bytes(512))]
    whole = write_shard(tmp_path / "whole.tar", rows).size or 0
    assert len(write_all_shards(tmp_path, rows, maxsize=whole)) == 1
    assert len(write_all_shards(tmp_path, rows, maxsize=whole - 1)) == 2
    assert len(write_all_shards(tmp_path, rows, maxcount=3)) == 1
    assert [len(read(path)) for path in write_all_shards(tmp_path, rows, maxcount=2)] == [2, 1]


def test_a_key_that_comes_again_starts_a_new_shard(tmp_path):
    paths = write_all_shards(tmp_path, [("a", b"1"), ("b", b"2"), ("a", b"3"), ("b", b"4"), ("b", b"5")])
    assert [read(path) for path in paths] == [
        [("a", b"1"), ("b", b"2")],
        [("a", b"3"), ("b", b"4")],
        [("b", b"5")],
    ]


def test_a_sample_larger_than_a_shard_is_refused_before_its_shard_appears(tmp_path):
    rows = [("a", bytes(100)), ("b", bytes(5000)), ("c", bytes(100))]
    with pytest.raises(LimitError) as caught:
        write_all_shards(tmp_path, rows, maxsize=4096)
    assert (caught.value.path, caught.value.actual) == ("b", f"{len(tar_member(*rows[1])) + 2 * BLOCK} bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["0.tar"]
    assert read(tmp_path / "0.tar") == rows[:1]


def test_no_rows_make_one_empty_shard(tmp_path):
    assert [read(path) for path in write_all_shards(tmp_path, [])] == [[]]


@pytest.mark.parametrize(
    ("maxcount", "maxsize"),
    [(0, None), (-1, None), (2.5, None), (4.0, None), (True, None), (None, 0), (None, 2047), (None, float("nan"))],
)
def test_a_limit_under_which_nothing_fits_is_refused(maxcount, maxsize):
    with pytest.raises(UsageError):
        Limits.of(maxcount, maxsize)


def test_a_limit_may_be_a_float_or_infinite():
    assert Limits.of(None, 1e9) == Limits(None, DEFAULT_MAXSIZE)
    assert Limits.of(None, float("inf")) == Limits()


# --- watchers --------------------------------------------------------------------------------------------------------


def test_a_watcher_sees_each_member_where_it_is_and_each_shard_when_it_is_there(tmp_path):
    seen: list[Any] = []

    class ShardObserver:
        def __init__(self, path: Path) -> None:
            self.path = path

        def observe(self, key: str, offset: int, packed: bytes, sample: Any) -> None:
            assert not self.path.exists()
            seen.append((self.path, key, offset, packed, sample))

        def finish(self, shard: Any) -> None:
            assert (Path(shard.url), shard.digest) == (self.path, Digest.of_file(self.path))
            seen.append(self.path)

    @contextmanager
    def observer(path: Path) -> Any:
        yield ShardObserver(path)
        seen.append("left")

    rows = [(key, packed, number) for number, (key, packed) in enumerate(ROWS)]
    paths = [tmp_path / f"{index}.tar" for index in range(2)]
    list(cut_shards(rows, Limits(3), lambda index: paths[index], observer))
    members = [(paths[0], *row) for row in rows[:3]], [(paths[1], *row) for row in rows[3:]]
    told = [one if isinstance(one, Path | str) else (one[0], one[1], one[3], one[4]) for one in seen]
    assert told == [*members[0], paths[0], "left", *members[1], paths[1], "left"]
    for path, _, offset, packed, _ in (one for one in seen if isinstance(one, tuple)):
        assert path.read_bytes()[offset : offset + len(packed)] == packed


def test_rows_without_samples_may_be_watched_too(tmp_path):
    samples = []

    class ShardObserver:
        def observe(self, key: str, offset: int, packed: bytes, sample: Any) -> None:
            samples.append(sample)

        def finish(self, shard: Any) -> None:
            samples.append(shard.samples)

    list(cut_shards(ROWS, Limits(), lambda _: tmp_path / "a.tar", lambda _: nullcontext(ShardObserver())))
    assert samples == [None] * len(ROWS) + [len(ROWS)]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "first", "twelfth"),
    [
        ("d-%06d.tar", "d-000000.tar", "d-000011.tar"),
        ("d-%d.tar", "d-0.tar", "d-11.tar"),
        ("a%b/100%/d-%02d.tar", "a%b/100%/d-00.tar", "a%b/100%/d-11.tar"),
        ("a%%b-%06d/d-%d.tar", "a%%b-%06d/d-0.tar", "a%%b-%06d/d-11.tar"),
        (Path("file:/d-%02d.tar"), "file:/d-00.tar", "file:/d-11.tar"),
        ("100%%-%02d.tar", "100%-00.tar", "100%-11.tar"),
        ("d.tar", "d.tar", "d.tar"),
        ("%%06d.tar", "%06d.tar", "%06d.tar"),
    ],
)
def test_a_name_with_a_number_names_many_shards(pattern, first, twelfth):
    place = FilePattern.of(pattern, limited=False)
    assert (str(place(0)), str(place(11))) == (first, twelfth)


@pytest.mark.parametrize(
    "pattern",
    [
        "d-%06d-%d.tar",
        "d-%s.tar",
        "d-%x.tar",
        "100%.tar",
        "d.tgz",
        "d-%06d",
        "d-%-3d.tar",
        "d-%9999d.tar",
        "%03d/d.tar",
        "s3://b/d-%d.tar",
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(pattern):
    with pytest.raises(UsageError):
        FilePattern.of(pattern, limited=False)


def test_limits_need_a_number_in_the_name():
    with pytest.raises(UsageError):
        FilePattern.of("d.tar", limited=True)


# --- faults ----------------------------------------------------------------------------------------------------------


class Faults:
    """Counts every call to the operating system that a write makes, and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.failing = -1
        self.errno = 0
        for name in ("mkdir", "open", "fsync", "replace"):
            monkeypatch.setattr(os, name, self.around(f"os.{name}", getattr(os, name)))
        faults = self

        class File(io.FileIO):
            def __init__(self, *args: Any) -> None:
                faults.strike("open")
                super().__init__(*args)

            def write(self, data: Any) -> int:
                faults.strike("write")
                return super().write(data[: max(1, len(data) // 2)])  # the system may take a part

        monkeypatch.setattr(atomic, "FileIO", File)

    def around(self, name: str, call: Any) -> Any:
        def called(*args: Any, **options: Any) -> Any:
            self.strike(name)
            return call(*args, **options)

        return called

    def strike(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self.failing:
            raise OSError(self.errno, os.strerror(self.errno))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_whichever_call_fails_nothing_partial_is_left(tmp_path, monkeypatch, code):
    rows = [("a", bytes(700)), ("b", bytes(700)), ("c", bytes(700))]
    whole = [path.read_bytes() for path in write_all_shards(tmp_path / "whole", rows, maxcount=2)]
    faults = Faults(monkeypatch)
    write_all_shards(tmp_path / "counted" / "deep", rows, maxcount=2)
    calls = faults.calls
    ending = [
        "os.fsync",
        "os.replace",
        "os.open",
        "os.fsync",
    ]  # the file's bytes, its name, the folder that has the name
    first = calls.index("os.fsync")
    assert calls[first : first + 4] == calls[-4:] == ending
    harmless = [n for n, name in enumerate(calls) if name == "os.mkdir"][1:]  # the folder is there: not an error

    for failing in set(range(len(calls))) - set(harmless):
        folder = tmp_path / str(failing) / "deep"
        faults.calls, faults.failing, faults.errno = [], failing, code
        with pytest.raises(StorageError) as caught:
            write_all_shards(folder, rows, maxcount=2)
        assert (
            len(faults.calls) == failing + 1 or "fsync" not in faults.calls[failing + 1 :]
        )  # fired; fsync not retried
        assert caught.value.actual == f"errno {code}"
        assert str(folder) in (caught.value.uri or "")
        for path in folder.iterdir() if folder.exists() else ():
            assert path.read_bytes() == whole[int(path.stem)]


@pytest.mark.parametrize("failing", range(6))
def test_a_disk_that_fails_while_a_shard_is_still_written_is_not_asked_again(tmp_path, monkeypatch, failing):
    """The system tells each failure once: had we not listened the first time, all would look well at the end."""
    monkeypatch.setattr(writer, "CHUNK", 1)  # so each row is written, and the disk asked to keep it, at once
    monkeypatch.setattr(writer, "_SYNC", 1)
    asked = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        asked.append(descriptor)
        if len(asked) - 1 == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    rows = ((f"{number:06d}", bytes(700)) for number in range(100_000))  # far more than the disk is slow
    with pytest.raises(StorageError, match="Input/output error"):
        write_all_shards(tmp_path / "folder", rows)
    assert len(asked) == failing + 1
    assert not list((tmp_path / "folder").iterdir())


def test_a_disk_that_fills_up_is_told_with_nothing_left(tmp_path):
    """The kernel's own refusal: past RLIMIT_FSIZE a write takes a part of the data, then fails."""
    script = """
        import resource, sys
        from pathlib import Path
        from atdata.errors import StorageError
        from atdata.shards import write_shard
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
        folder = Path(sys.argv[1])
        write_shard(folder / "fits.tar", [("a", bytes(2_000_000))])
        try:
            write_shard(folder / "large.tar", [(str(n), bytes(500_000)) for n in range(8)])
        except StorageError as error:
            print(error.actual)
    """
    done = run(script, tmp_path)
    assert done.stdout.strip() == f"errno {errno.EFBIG}"
    assert [path.name for path in tmp_path.iterdir()] == ["fits.tar"]


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def test_a_crash_at_any_call_leaves_no_partial_shard_in_sight(tmp_path):
    """Each child is killed at another audited event (open, mkdir, rename) or between two of its writes."""
    script = """
        import io, os, signal, sys
        from pathlib import Path
        from atdata.files import atomic
        from atdata.shards import Limits, cut_shards

        rows = [("a", bytes(700)), ("b", bytes(700)), ("c", bytes(700))]
        top, calls, fatal = Path(sys.argv[1]), 0, -1

        def strike():
            global calls
            calls += 1
            if calls - 1 == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        def around(call):
            def called(*args, **options):
                strike()
                result = call(*args, **options)
                strike()
                return result
            return called

        for name in ("mkdir", "open", "fsync", "replace", "unlink"):
            setattr(os, name, around(getattr(os, name)))

        class File(io.FileIO):
            def write(self, data):
                strike()
                return super().write(data[: max(1, len(data) // 3)])

        atomic.FileIO = File

        def write(name):
            list(cut_shards(rows, Limits(2), lambda i: top / name / f"{i}.tar"))

        write("whole")
        total = calls
        for fatal in range(total):
            calls = 0
            child = os.fork()
            if not child:
                write(str(fatal))
                os._exit(1)
            assert os.waitpid(child, 0)[1] == signal.SIGKILL, fatal
        print(total)
    """
    total = int(run(script, tmp_path).stdout)
    assert total > 30
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert sorted(whole) == ["0.tar", "1.tar"]
    seen = Counter()
    for fatal in range(total):
        for path in (tmp_path / str(fatal)).glob("*") if (tmp_path / str(fatal)).exists() else ():
            if path.suffix == ".tar":
                assert path.read_bytes() == whole[path.name]
            else:
                assert path.name.startswith(".")
                assert path.suffix == ".tmp"
            seen[path.suffix] += 1
    assert seen[".tar"]
    assert seen[".tmp"]


def test_a_writer_that_is_killed_leaves_whole_shards_only(tmp_path):
    script = """
        import itertools, sys
        from pathlib import Path
        from atdata.shards import Limits, cut_shards
        rows = ((f"{n:09d}", bytes(100_000)) for n in itertools.count())
        for shard in cut_shards(rows, Limits(25), lambda i: Path(sys.argv[1]) / f"{i:06d}.tar"):
            pass
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)])
    try:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("*.tar"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    shards = sorted(tmp_path.glob("*.tar"))
    assert len(shards) >= 3
    assert [len(read(path)) for path in shards] == [25] * len(shards)


def test_an_error_of_the_rows_is_passed_on_with_nothing_left(tmp_path):
    def failing() -> Any:
        yield "a", b"1"
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        write_shard(tmp_path / "a.tar", failing())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_folder_or_under_a_file_is_told(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "folder.tar", tmp_path / "file" / "a.tar", tmp_path / ("n" * 300 + ".tar")):
        with pytest.raises(StorageError):
            write_shard(place, ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.tar"]


def test_a_file_already_there_is_replaced_whole_or_stays(tmp_path):
    place = tmp_path / "a"
    place.write_bytes(b"old")
    with place.open("rb") as reader, pytest.raises(KeyboardInterrupt), atomic_file(place) as file:
        write_all(file, b"half of the n", place)
        assert reader.read() == place.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert place.read_bytes() == b"old"
    with atomic_file(place) as file:
        write_all(file, b"new", place)
    assert place.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [place]
