"""Mapping of shards: each to one of its own, done once whatever ends a run, and all in sight at once."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

import atdata
from atdata import Dataset
from atdata.dataset.mapping.work import identity_of
from atdata.errors import ConflictError, FailedShardsError, FieldTypeError, UsageError
from atdata.manifest import manifest_beside, proved_files
from atdata.shards import Digest, ShardRef
from support import mapped
from support.mapped import Length, Word

SHARDS, EACH = 5, 20
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "map_shards.py"
ENVIRONMENT = {"PYTHONPATH": f"{Path(atdata.__file__).parents[1]}{os.pathsep}{ROOT / 'tests'}"}


Told: TypeAlias = Callable[[Iterator[Word]], Iterator[Word]]


@pytest.fixture
def words(tmp_path: Path) -> Dataset[Word]:
    rows = (Word(f"word {n}", n) for n in range(SHARDS * EACH))
    return atdata.write_samples(rows, tmp_path / "words-%06d.tar", maxcount=EACH)


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out" / "made-%06d.tar")


@pytest.fixture
def tell(tmp_path: Path) -> Callable[[str], None]:
    """What `told` does from now on; what it has noted is forgotten."""

    def tell(what: str) -> None:
        (tmp_path / "seen").write_text("")
        (tmp_path / "told").write_text(what)

    return tell


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(mapped.told, tmp_path)


def seen(tmp_path: Path) -> list[int]:
    """The shards that were begun."""
    return sorted(int(line) // EACH for line in (tmp_path / "seen").read_text().split())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.exists() else {}


def in_sight(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*")}


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.glob(".*")}


def places(dataset: Any) -> list[int]:
    return [sample.place for sample in dataset]


def test_each_shard_becomes_one_of_its_own(words: Dataset[Word], out: str) -> None:
    made = words.map_shards(mapped.measured, out, workers=2)
    assert made.sample_type is Length
    assert [Path(shard.url).name for shard in made.shards] == [f"made-{n:06d}.tar" for n in range(SHARDS)]
    assert list(made) == [Length(n, len(f"word {n}")) for n in range(SHARDS * EACH)]
    for shard in made.shards:
        assert shard.digest == Digest.of_file(shard.url)
        assert shard.samples == EACH
        proved_files(made.view.source, shard)
    again = Dataset[Length](f"{Path(out).parent}/made-*.tar")
    assert list(again) == list(made)


def test_the_samples_of_a_shard_may_become_more_or_none(words: Dataset[Word], out: str, tmp_path: Path) -> None:
    assert places(words.map_shards(mapped.twice, out)) == [n for n in range(SHARDS * EACH) for _ in "ab"]
    none = words.map_shards(mapped.none_of_them, tmp_path / "none-%d.tar")
    assert (len(none.shards), list(none)) == (SHARDS, [])


def test_a_view_is_mapped_as_it_is_seen(words: Dataset[Word], out: str) -> None:
    seen = words.filter(mapped.is_even).map(mapped.shouted)
    made = seen.map_shards(iter, out)
    assert made.sample_type is Word
    assert list(made) == [Word(f"WORD {n}", n) for n in range(0, SHARDS * EACH, 2)]


def test_mappings_become_samples_without_a_type(words: Dataset[Word], out: str) -> None:
    made = words.map_shards(mapped.as_dicts, out)
    assert [sample["n"] for sample in made] == list(range(SHARDS * EACH))


def test_one_shard_needs_no_number(tmp_path: Path) -> None:
    one = atdata.write_samples([Word("a", 1)], tmp_path / "one.tar")
    made = one.map_shards(mapped.measured, tmp_path / "made.tar")
    assert list(made) == [Length(1, 1)]
    assert made.shards[0].url == str(tmp_path / "made.tar")


def test_the_same_work_writes_the_same_bytes(words: Dataset[Word], tmp_path: Path) -> None:
    words.map_shards(mapped.measured, tmp_path / "a" / "made-%d.tar", workers=1)
    words.map_shards(mapped.measured, tmp_path / "b" / "made-%d.tar", workers=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_paths_may_be_relative(words: Dataset[Word], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Dataset[Word]("words-*.tar").map_shards(mapped.measured, "made-%d.tar")
    assert made.shards[0].url == "made-0.tar"
    assert len(made) == SHARDS * EACH


def test_what_is_done_is_not_done_again(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told
) -> None:
    tell("nothing")
    first = words.map_shards(told, out)
    before = files(tmp_path / "out")
    tell("nothing")
    again = words.map_shards(told, out)
    assert seen(tmp_path) == []
    assert files(tmp_path / "out") == before
    assert list(again.shards) == list(first.shards)


def test_a_dataset_that_has_grown_has_its_new_shards_mapped(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told
) -> None:
    tell("nothing")
    Dataset[Word]([shard.url for shard in words.shards[:3]]).map_shards(told, out)
    tell("nothing")
    made = words.map_shards(told, out)
    assert seen(tmp_path) == [3, 4]
    assert places(made) == list(range(SHARDS * EACH))


def test_a_failed_shard_is_named_and_done_again_alone(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told
) -> None:
    tell("fail 47")
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 2") as raised:
        words.map_shards(told, out, workers=2)
    error = raised.value
    assert (error.uri, error.path) == (words.shards[2].url, "sample 000000047")
    assert error.actual == "RuntimeError: cannot do word 47"
    assert error.failures == {2: "RuntimeError: cannot do word 47"}
    assert "in told" in "".join(error.__notes__)
    assert seen(tmp_path) == [0, 1, 2, 3, 4]
    assert in_sight(tmp_path / "out") == set()
    tell("nothing")
    made = words.map_shards(told, out)
    assert seen(tmp_path) == [2]
    assert places(made) == list(range(SHARDS * EACH))
    assert hidden(tmp_path / "out") == set()


def test_a_run_that_goes_on_opens_no_finished_shard(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told
) -> None:
    """Of a shard with a digest that is known not even its file is asked for."""
    pinned = [ShardRef(shard.url, shard.digest, shard.size, shard.samples) for shard in words.shards]
    known: Dataset[Word] = Dataset(atdata.dataset.dataset.FileSource(tuple(pinned)), sample_type=Word)
    tell("fail 47")
    with pytest.raises(FailedShardsError):
        known.map_shards(told, out)
    for number in (0, 1, 3, 4):
        Path(words.shards[number].url).rename(tmp_path / f"away-{number}")
    tell("nothing")
    assert places(known.map_shards(told, out)) == list(range(SHARDS * EACH))


def test_too_many_failures_end_a_run(tmp_path: Path) -> None:
    rows = (Word(str(n), n) for n in range(60))
    many = atdata.write_samples(rows, tmp_path / "many-%d.tar", maxcount=1)
    with pytest.raises(FailedShardsError, match=r"20 of 60 shards failed: .*; \d+ were not tried") as raised:
        many.map_shards(mapped.no_samples, tmp_path / "made-%d.tar", workers=1)
    assert "must give samples" in str(raised.value)


@pytest.mark.parametrize("times", [1, 5])
def test_a_worker_that_is_killed_has_its_shard_done_again(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told, times: int
) -> None:
    tell(f"die 47 {times}")
    made = words.map_shards(told, out, workers=2)
    assert places(made) == list(range(SHARDS * EACH))
    assert Counter(seen(tmp_path)) == {0: 1, 1: 1, 2: 1 + times, 3: 1, 4: 1}


def test_a_shard_that_kills_each_worker_is_named(
    words: Dataset[Word], out: str, tell: Callable[[str], None], told: Told
) -> None:
    tell("die 47 100")
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 2") as raised:
        words.map_shards(told, out, workers=2)
    assert "died 9 times: killed by SIGKILL, perhaps for the memory" in str(raised.value)


def test_a_process_that_ends_itself_was_not_killed(words: Dataset[Word], out: str) -> None:
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 2") as raised:
        words.map_shards(mapped.leaving, out, workers=1)
    assert "it ended itself with exit status 0" in str(raised.value)
    assert "killed" not in str(raised.value)


def test_a_value_that_does_not_fit_is_named_with_its_sample_and_field(words: Dataset[Word], out: str) -> None:
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 2") as raised:
        words.map_shards(mapped.unfit, out, workers=1)
    assert raised.value.path == "sample 000000047: Length.length"


def test_a_sample_that_a_map_refuses_is_not_the_one_before(words: Dataset[Word], out: str) -> None:
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 2") as raised:
        words.map(mapped.refused).map_shards(iter, out, workers=1)
    assert raised.value.path == "sample 000000047"
    with pytest.raises(FailedShardsError) as raised:
        words.map(mapped.refused).filter(mapped.is_even).map_shards(iter, out, workers=1, overwrite=True)
    assert raised.value.path == "after sample 3 of those that the filter keeps"
    seen = []
    with pytest.raises(RuntimeError, match="not this one"):
        for word in words.map(mapped.refused):
            seen.append(word.place)
    assert seen == list(range(47))


def test_what_a_map_gives_is_told_where_it_is_said(words: Dataset[Word], out: str) -> None:
    seen = words.map(mapped.without_annotation)
    with pytest.raises(FailedShardsError, match="other samples than it says") as raised:
        seen.map_shards(iter, out, workers=1)
    assert "sample_type=Length" in str(raised.value)
    assert next(iter(seen.map_shards(iter, out, sample_type=Length))) == Length(0, 6)


@pytest.mark.parametrize("done", [False, True])
def test_a_failed_run_leaves_a_folder_only_for_what_is_finished(words: Dataset[Word], out: str, done: bool) -> None:
    with pytest.raises(FailedShardsError):
        words.map_shards(mapped.unfit if done else mapped.no_samples, out, workers=1)  # type: ignore[arg-type]
    assert len(hidden(Path(out).parent)) == done


def run(tmp_path: Path, *, wait_for: int | None = None) -> subprocess.Popen[bytes]:
    """A process that maps; once `wait_for` shards are finished it goes on alone."""
    program = (
        "import atdata; from functools import partial; from pathlib import Path; from support import mapped\n"
        "if __name__ == '__main__':\n"
        f"    words = atdata.Dataset[mapped.Word]({str(tmp_path / 'words-*.tar')!r})\n"
        f"    told = partial(mapped.told, Path({str(tmp_path)!r}))\n"
        f"    words.map_shards(told, {str(tmp_path / 'out' / 'made-%06d.tar')!r}, workers=2)\n"
    )
    (tmp_path / "job.py").write_text(program)
    return subprocess.Popen([sys.executable, str(tmp_path / "job.py")], env={**os.environ, **ENVIRONMENT})


@pytest.mark.slow
@pytest.mark.parametrize("finished", [0, 1, 2, 4])
def test_a_run_that_is_killed_leaves_nothing_in_sight_and_is_continued(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told, finished: int
) -> None:
    tell("sleep 0.02")
    job = run(tmp_path)
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("out/.atdata-*.work/*.manifest.json"))) < finished or not seen(tmp_path):
        assert time.monotonic() < end
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert in_sight(tmp_path / "out") == set()
    done = len(list(tmp_path.glob("out/.atdata-*.work/*.manifest.json")))
    time.sleep(0.5)  # in which its workers have ended too
    noted = seen(tmp_path)
    time.sleep(1)
    assert seen(tmp_path) == noted
    tell("nothing")
    assert places(words.map_shards(told, out)) == list(range(SHARDS * EACH))
    assert len(seen(tmp_path)) <= SHARDS - done
    assert {*in_sight(tmp_path / "out")} == {f"made-{n:06d}{end}" for n in range(SHARDS) for end in ENDS}


ENDS = (".tar", ".manifest.json", ".manifest.parquet")


@pytest.mark.parametrize("end", ENDS)
def test_what_was_damaged_meanwhile_is_done_again(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told, end: str
) -> None:
    tell("fail 47")
    with pytest.raises(FailedShardsError):
        words.map_shards(told, out)
    (damaged,) = tmp_path.glob(f"out/.atdata-*.work/made-000003{end}")
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    tell("nothing")
    assert places(words.map_shards(told, out)) == list(range(SHARDS * EACH))
    assert seen(tmp_path) == [2, 3]


@pytest.mark.parametrize("finished", [True, False])
def test_other_work_is_refused_until_it_may_be_replaced(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told, finished: bool
) -> None:
    tell("nothing" if finished else "fail 47")
    if finished:
        words.map_shards(told, out)
    else:
        with pytest.raises(FailedShardsError):
            words.map_shards(told, out)
    before = files(tmp_path / "out") if finished else {}
    said = "files of this name exist already" if finished else "unfinished shards of other work are in the way"
    with pytest.raises(ConflictError, match=said) as raised:
        words.map_shards(mapped.twice, out)
    assert (raised.value.expected, raised.value.actual) == ("function: twice", f"function: {identity_of(told)}")
    with pytest.raises(ConflictError, match="view: "):
        words.filter(mapped.is_even).map_shards(told, out)
    assert finished is False or files(tmp_path / "out") == before
    made = words.map_shards(mapped.measured, out, overwrite=True)
    assert list(made) == [Length(n, len(f"word {n}")) for n in range(SHARDS * EACH)]
    assert hidden(tmp_path / "out") == set()


def test_what_has_no_name_is_told_by_what_it_is() -> None:
    def named(size: int, words: Any) -> Any:
        return words

    same = [identity_of(partial(named, 64, path=Path("/a"))) for _ in range(2)]
    others = [partial(named, 128), partial(named, "64"), partial(named, 64, path=Path("/b")), named]
    others += [lambda words: words, lambda words: (words, 1), lambda words: (words, 2), lambda words: words.x]
    assert same[0] == same[1]
    assert same[0].startswith("test_what_has_no_name_is_told_by_what_it_is.<locals>.named with ")
    assert "/a" not in same[0]
    assert len({same[0], *map(identity_of, others)}) == 1 + len(others)
    assert identity_of(partial(named, object())) == identity_of(partial(named, object()))
    assert identity_of(lambda words: words) == identity_of(lambda words: words)

    def of(size: int) -> Any:
        return lambda words: (words, size)

    assert identity_of(of(1)) == identity_of(of(1)) != identity_of(of(2))


def test_the_functions_of_a_view_count_with_their_arguments(words: Dataset[Word], out: str) -> None:
    first = words.map(partial(mapped.padded, 10), sample_type=Word).map_shards(iter, out)
    assert first[0].text == "word 0    "
    with pytest.raises(ConflictError, match=r"view: map\(padded with"):
        words.map(partial(mapped.padded, 12), sample_type=Word).map_shards(iter, out)


def test_another_input_is_refused(words: Dataset[Word], out: str, tmp_path: Path) -> None:
    words.map_shards(mapped.measured, out)
    other = [Word(f"another {n}", n) for n in range(SHARDS * EACH)]
    written = atdata.write_samples(other, tmp_path / "other-%d.tar", maxcount=EACH)
    with pytest.raises(ConflictError, match="input: sha256:"):
        written.map_shards(mapped.measured, out)
    with pytest.raises(ConflictError, match="of no shard that is read"):
        Dataset[Word]([shard.url for shard in words.shards[:3]]).map_shards(mapped.measured, out)
    made = written.map_shards(mapped.measured, out, overwrite=True)
    assert made[0] == Length(0, len("another 0"))


def test_files_of_somebody_are_not_replaced(words: Dataset[Word], out: str, tmp_path: Path) -> None:
    theirs = atdata.write_samples([Word("theirs", 0)], Path(out))
    before = files(tmp_path / "out")
    with pytest.raises(ConflictError, match="there is none"):
        words.map_shards(mapped.measured, out)
    assert files(tmp_path / "out") == before
    assert list(theirs) == [Word("theirs", 0)]


def test_two_runs_at_once_are_one_too_many(
    words: Dataset[Word], out: str, tmp_path: Path, tell: Callable[[str], None], told: Told
) -> None:
    tell("sleep 0.1")
    job = run(tmp_path)
    try:
        end = time.monotonic() + 60
        while not seen(tmp_path):
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(ConflictError, match="another process is writing these files"):
            words.map_shards(told, out)
    finally:
        job.kill()
        job.wait()


def test_what_cannot_be_sent_is_an_error(words: Dataset[Word], out: str) -> None:
    with pytest.raises(UsageError, match="cannot be sent to worker processes"):
        words.map_shards(lambda words: words, out)
    with pytest.raises(UsageError, match="cannot be sent to worker processes"):
        words.map(lambda word: word).map_shards(iter, out)

    def inside(words: Iterator[Word]) -> Iterator[Word]:
        yield from words

    with pytest.raises(UsageError, match="cannot be sent to worker processes"):
        words.map_shards(inside, out)
    assert in_sight(Path(out).parent) == hidden(Path(out).parent) == set()


def test_a_script_without_a_guard_is_told_about_it(words: Dataset[Word], tmp_path: Path) -> None:
    program = (
        "import atdata\nfrom support import mapped\n"
        f"words = atdata.Dataset[mapped.Word]({str(tmp_path / 'words-*.tar')!r})\n"
        f"words.map_shards(mapped.measured, {str(tmp_path / 'made-%d.tar')!r})\n"
    )
    (tmp_path / "job.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "job.py")],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("if __name__ == '__main__'.")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLE))
    readings = (example["Reading"](n, np.full(16, n, np.float32)) for n in range(60))
    atdata.write_samples(readings, "readings-%06d.tar", maxcount=20)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Dataset[Level](3 shards)\n"
    made = atdata.Dataset("levels-*.tar", sample_type=example["Level"])
    assert [level.level for level in made] == [float(n) for n in range(60)]


def wrong(words: Dataset[Word], out: str) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "no such engine", lambda: words.map_shards(mapped.measured, out, engine="threads")  # type: ignore[arg-type]
    yield "must be a function", lambda: words.map_shards(None, out)  # type: ignore[arg-type]
    yield "must be of type str", lambda: words.map_shards(mapped.measured, out, engine=[])  # type: ignore[arg-type]
    yield "int'> is not a sample type", lambda: words.map_shards(mapped.measured, out, sample_type=int)  # type: ignore[type-var, arg-type]
    yield "takes all samples of each shard", lambda: words.take(3).map_shards(mapped.measured, out)
    yield "workers must be", lambda: words.map_shards(mapped.measured, out, workers=0)
    yield "must contain a %d placeholder", lambda: words.map_shards(mapped.measured, out.replace("%06d", ""))
    yield "gives other samples than it says", lambda: words.map_shards(mapped.twice, out, sample_type=Length)  # type: ignore[type-var, arg-type]
    yield "ShardSamples' object has no attribute 'text'", lambda: words.map_shards(mapped.of_one, out)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", range(9))
def test_what_cannot_be_meant_is_an_error(words: Dataset[Word], out: str, number: int) -> None:
    said, call = [*wrong(words, out)][number]
    with pytest.raises((UsageError, FailedShardsError, FieldTypeError), match=said):
        call()
    assert in_sight(Path(out).parent) == hidden(Path(out).parent) == set()


def test_a_damaged_shard_is_named(words: Dataset[Word], out: str) -> None:
    damaged = Path(words.shards[1].url)
    damaged.write_bytes(damaged.read_bytes()[:-600])
    with pytest.raises(FailedShardsError, match="1 of 5 shards failed: 1") as raised:
        Dataset[Word](f"{damaged.parent}/words-*.tar").map_shards(mapped.measured, out)
    assert raised.value.uri == str(damaged)


def test_shards_have_their_manifests_beside_them(words: Dataset[Word], out: str, tmp_path: Path) -> None:
    made = words.map_shards(mapped.measured, out)
    assert all(manifest_beside(shard) is not None for shard in made.shards)
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "said"), [("ending", "SystemExit: 3"), ("speechless", "Speechless: which does not say")]
)
def test_whatever_ends_a_function_is_its_failure(words: Dataset[Word], out: str, name: str, said: str) -> None:
    """And no worker that was killed, whose shard would be done again and again."""
    with pytest.raises(FailedShardsError, match="shards failed") as raised:
        words.map_shards(getattr(mapped, name), out)
    assert said in str(raised.value)
    assert str(raised.value.path).startswith("sample ")
