"""`Dataset[T]`: written, read, read again, batched, viewed through a lens, sent to another process."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.dataset import Dataset, DatasetDict, write_samples
from atdata.errors import (
    DigestError,
    FieldTypeError,
    LensNotFoundError,
    LimitError,
    NoSampleError,
    NotFoundError,
    SampleError,
    ShardError,
    ShardNotFoundError,
    TruncatedShardError,
    UnsizedError,
    UsageError,
)
from atdata.lens import lens
from atdata.samples import DictSample, SampleBatch, packable
from atdata.shards import FileSource, ShardRef

webdataset = pytest.importorskip("webdataset")


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    note: str | None = None


@packable
class Plain:
    label: int


@packable
class Bright:
    mean: float
    label: int


@packable
class Worded:
    text: str


@lens
def bright(digit: Digit) -> Bright:
    return Bright(float(digit.image.mean()), digit.label)


@lens
def worded(view: Bright) -> Worded:
    return Worded(f"{view.label} at {view.mean:g}")


def digits(count: int) -> list[Digit]:
    return [Digit(np.full((2, 2), i, "u1"), i, None if i % 2 else f"note {i}") for i in range(count)]


@pytest.fixture
def written(tmp_path) -> Dataset[Digit]:
    """Ten digits in four shards."""
    return write_samples(digits(10), tmp_path / "d-%06d.tar", maxcount=3)


@pytest.fixture
def data(written, tmp_path) -> Dataset[Digit]:
    """The same, from a person who knows only the paths."""
    return Dataset[Digit](str(tmp_path / "d-{000000..000003}.tar"))


@pytest.fixture(autouse=True)
def _nothing_is_left_open():
    yield
    gc.collect()


# --- writing ---------------------------------------------------------------------------------------------------------


def test_samples_are_written_to_as_many_shards_as_it_takes(tmp_path, written):
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"d-{n:06d}.tar" for n in range(4)]
    assert [shard.samples for shard in written.shards] == [3, 3, 3, 1]
    assert all(shard.digest and shard.size == Path(shard.url).stat().st_size for shard in written.shards)
    assert list(written) == digits(10)
    assert written.sample_type is Digit


def test_a_plain_name_is_one_shard(tmp_path):
    made = write_samples(iter(digits(4)), tmp_path / "all.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["all.tar"]
    assert list(Dataset[Digit](tmp_path / "all.tar")) == list(made) == digits(4)


def test_equal_samples_give_equal_files(tmp_path):
    one = write_samples(digits(10), tmp_path / "a-%d.tar", maxsize=4096)
    other = write_samples((d for d in digits(10)), str(tmp_path / "elsewhere" / "b-%d.tar"), maxsize=4096)
    assert [shard.digest for shard in one.shards] == [shard.digest for shard in other.shards]
    assert len(one.shards) == 4
    assert all((shard.size or 0) <= 4096 for shard in one.shards)


def test_samples_without_a_type_are_written_too(tmp_path):
    rows = [DictSample({"a": n, "x": np.arange(n)}) for n in range(3)]
    assert list(write_samples(rows, tmp_path / "a.tar")) == rows
    assert list(Dataset(tmp_path / "a.tar")) == rows


@pytest.mark.parametrize(
    ("samples", "path", "limits", "error"),
    [
        ([], "a.tar", {}, UsageError),
        (digits(2), "a.tar", {"maxcount": 1}, UsageError),
        (digits(2), "a.tar", {"maxsize": 1e9}, UsageError),
        (digits(2), "a-%d.tar", {"maxcount": 0}, UsageError),
        (digits(2), "a-%d.tar", {"maxsize": 0}, UsageError),
        (digits(2), "a-%d.tar", {"maxsize": math.nan}, UsageError),
        (digits(2), "a.zip", {}, UsageError),
        (digits(2), "a-%d-%d.tar", {}, UsageError),
        ([digits(1)[0], Plain(1)], "a.tar", {}, SampleError),
        ([Plain("x")], "a.tar", {}, SampleError),  # type: ignore[arg-type]
        ([Digit(np.zeros(9000, "u1"), 1)], "a-%d.tar", {"maxsize": 4096}, LimitError),
    ],
)
def test_what_cannot_be_written_is_refused_with_nothing_left(tmp_path, samples, path, limits, error):
    with pytest.raises(error):
        write_samples(samples, tmp_path / path, **limits)
    assert list(tmp_path.iterdir()) == []


def test_an_infinite_limit_is_none(tmp_path):
    assert len(write_samples(digits(3), tmp_path / "a-%d.tar", maxsize=math.inf).shards) == 1


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_in_order_any_number_of_times(data):
    for _ in range(3):
        assert list(data) == digits(10)
    ordered = data.ordered()
    assert list(ordered) == list(ordered) == digits(10)
    assert len(ordered) == len(data) == 10
    one, other = iter(data), iter(data)
    assert [next(one), next(other), next(one)] == [*digits(1), *digits(2)]


def test_a_few_samples_are_had_without_reading_the_rest(data, tmp_path):
    (tmp_path / "d-000003.tar").write_bytes(b"damaged")
    assert data.head(2) == digits(2)
    assert data.head() == digits(5)
    assert data.head(0) == []
    assert list(data.ordered().take(3)) == digits(3)
    assert next(iter(data)) == digits(1)[0]
    with pytest.raises(UsageError):
        data.head(-1)


@pytest.mark.parametrize("form", ["path", "Path", "braces", "glob", "list", "source", "url"])
def test_every_form_of_address(tmp_path, written, form):
    paths = [str(tmp_path / f"d-{n:06d}.tar") for n in range(4)]
    where: Any = {
        "path": paths[0],
        "Path": Path(paths[0]),
        "braces": f"{tmp_path}/d-{{000000..000003}}.tar",
        "glob": f"{tmp_path}/d-*.tar",
        "list": paths,
        "source": FileSource(tuple(map(ShardRef, paths))),
        "url": f"file://{paths[0]}",
    }[form]
    found = list(Dataset[Digit](where))
    assert found == digits(3 if form in ("path", "Path", "url") else 10)


def test_what_webdataset_wrote_is_read(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as sink:
        for i, digit in enumerate(digits(5)):
            sink.write({**digit.as_wds, "__key__": f"{i:06d}"})
    data = Dataset[Digit](tmp_path / "w.tar")
    assert list(data) == digits(5)
    assert len(data) == 5
    with webdataset.ShardWriter(str(tmp_path / "s-%06d.tar"), maxcount=2, verbose=0) as sink:
        for digit in digits(5):
            sink.write(digit.as_wds)
    assert list(Dataset[Digit](f"{tmp_path}/s-*.tar")) == digits(5)


def test_without_a_type_samples_are_mappings(data):
    untyped = Dataset(data.view.source)
    assert untyped.sample_type is DictSample
    first = next(iter(untyped))
    assert list(first) == ["image", "label", "note"]
    assert first.packed == digits(1)[0].packed
    assert list(untyped.as_type(Digit)) == digits(10)
    assert untyped.as_type(Digit).sample_type is Digit
    assert list(Dataset[DictSample](data.view.source)) == list(untyped)


def test_a_type_may_be_a_value(data):
    assert list(Dataset(data.view.source, sample_type=Digit)) == digits(10)

    def reading(sample_type: type) -> Any:
        return Dataset[sample_type](data.view.source)

    assert list(reading(Plain)) == [Plain(n) for n in range(10)]


@pytest.mark.parametrize("wrong", [int, dict, np.ndarray, "Digit", None])
def test_what_is_no_sample_type_is_refused(data, wrong):
    with pytest.raises(FieldTypeError):
        Dataset[wrong](data.view.source).head(1)
    if wrong is not None:  # which says nothing
        with pytest.raises(FieldTypeError):
            Dataset(data.view.source, sample_type=wrong)
    with pytest.raises(FieldTypeError):
        Dataset(data.view.source).as_type(wrong)
    with pytest.raises(FieldTypeError):
        data.as_type(wrong)


def test_two_types_are_refused(data):
    assert Dataset[Digit](data.view.source, sample_type=Digit).head(1) == digits(1)
    assert Dataset[Any](data.view.source, sample_type=Digit).head(1) == digits(1)
    for read in (list, len, lambda dataset: dataset[0], lambda dataset: dataset.sample_type):
        with pytest.raises(UsageError, match="different types"):
            read(Dataset[Digit](data.view.source, sample_type=Plain))


def test_a_dataset_shows_what_it_is(data):
    assert repr(data) == "Dataset[Digit](4 shards)"
    assert Dataset[Digit](data.view.source, metadata={"a": 1}).metadata == {"a": 1}
    assert data.entry is None


# --- batches ---------------------------------------------------------------------------------------------------------


def test_batches_stack_arrays_and_list_the_rest(data):
    batches = data.ordered(batch_size=4)
    for _ in range(2):
        found = list(batches)
        assert [len(batch) for batch in found] == [4, 4, 2]
        assert len(batches) == 3
        assert all(isinstance(batch, SampleBatch) for batch in found)
        assert found[0].image.shape == (4, 2, 2)
        assert found[0].label == [0, 1, 2, 3]
        assert found[0].note == ["note 0", None, "note 2", None]
        assert [sample for batch in found for sample in batch] == digits(10)


@given(st.integers(0, 12), st.integers(1, 5), st.integers(1, 13))
def test_batches_hold_every_sample_once_in_order(tmp_path_factory, count, maxcount, batch_size):
    if not count:
        return
    made = write_samples(digits(count), tmp_path_factory.mktemp("b") / "%d.tar", maxcount=maxcount)
    batches = list(made.ordered(batch_size=batch_size))
    assert [sample for batch in batches for sample in batch.samples] == digits(count)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(made.ordered(batch_size=batch_size)) == len(batches)


def test_ragged_arrays_are_listed(tmp_path):
    rows = [Digit(np.zeros(n, "u1"), n) for n in range(4)]
    (batch,) = write_samples(rows, tmp_path / "a.tar").ordered(batch_size=4)
    assert [image.shape for image in batch.image] == [(0,), (1,), (2,), (3,)]
    assert batch.samples == rows


def test_batches_of_a_view_and_of_mappings(data):
    (batch,) = data.as_type(Bright).ordered(batch_size=10)
    assert batch.mean == [float(n) for n in range(10)]
    (batch,) = Dataset(data.view.source).ordered(batch_size=10)
    assert batch.image.shape == (10, 2, 2)
    assert batch.sample_type is DictSample


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_at_least_one_sample(data, size):
    with pytest.raises(UsageError):
        data.ordered(batch_size=size)


def test_what_only_reading_can_count_has_no_length(data):
    """Python asks for a length where it can do without: it takes a TypeError for "none"."""
    kept = data.filter(even)
    loader, padded = kept.loader(3, rank=0, world_size=1), kept.loader(3, rank=0, world_size=1, equal_steps="pad")
    for each in (kept, kept.ordered(), kept.shuffled(seed=1)):
        assert sorted(digit.label for digit in list(each)) == [0, 2, 4, 6, 8]
        assert len(tuple(each)) == len(sorted(each, key=lambda digit: digit.label)) == len([*each]) == 5
    assert len(list(kept.ordered(3))) == len(tuple(loader)) == 3
    for each in (kept, kept.ordered(), kept.ordered(3), loader):
        assert bool(each)
        with pytest.raises(TypeError) as caught:
            len(each)
        assert type(caught.value) is UnsizedError
        assert caught.value.hint
    with pytest.raises(TypeError):
        reversed(kept)
    assert len(list(padded)) == len(padded) == 4
    none = data.take(0)
    for each in (none, none.ordered(), none.ordered(3), none.loader(3, rank=0, world_size=1)):
        assert not each
        assert list(each) == []
    for each in (data, data.ordered(), data.ordered(3), data.loader(3, rank=0, world_size=1)):
        assert each
        assert len(list(each)) == len(each)
    assert [digit.label for digit in reversed(data)] == list(range(9, -1, -1))


def even(digit: Digit) -> bool:
    return digit.label % 2 == 0


def test_samples_that_only_reading_can_number_are_not_chosen_by_number(data):
    kept = data.filter(even)
    for choose in (
        lambda: kept.take(2),
        lambda: kept.skip(2),
        lambda: kept.select([0]),
        lambda: kept.select(slice(0, 2)),
        lambda: kept[0],
        lambda: kept[:2],
        lambda: kept.get("000000000"),
    ):
        with pytest.raises(UsageError, match="filtered") as caught:
            choose()
        assert "before filter" in caught.value.hint
    assert [digit.label for digit in kept.head(2)] == [0, 2]
    assert [digit.label for digit in kept.ordered().take(4)] == [0, 2, 4, 6]
    assert [digit.label for digit in data.skip(1).take(3).filter(even)] == [2]


# --- views -----------------------------------------------------------------------------------------------------------


def test_a_dataset_is_seen_through_a_lens(data):
    view = data.as_type(Bright)
    assert view.sample_type is Bright
    assert list(view) == [Bright(float(n), n) for n in range(10)]
    assert list(view) == list(view)
    assert len(view) == 10
    assert list(data) == digits(10)  # the dataset itself is as it was


def test_lenses_follow_one_another(data):
    assert data.as_type(Bright).as_type(Worded).head(2) == [Worded("0 at 0"), Worded("1 at 1")]
    assert data.as_type(Digit).head(2) == digits(2)
    with pytest.raises(LensNotFoundError):
        data.as_type(Worded)
    with pytest.raises(LensNotFoundError):
        data.as_type(Bright).as_type(Digit)


def test_only_some_fields(data):
    assert list(data.as_type(Plain)) == [Plain(n) for n in range(10)]
    assert data.as_type(Bright).as_type(Plain).head(1) == [Plain(0)]


def test_a_lens_to_or_from_data_without_a_type_is_used(data):
    @packable
    class Told:
        text: str

    @lens
    def told(source: DictSample) -> Told:
        return Told(f"number {source['label']}")

    @lens
    def forgotten(source: Bright) -> DictSample:
        return DictSample({"label": source.label})

    assert Dataset(data.view.source).as_type(Told).head(2) == [Told("number 0"), Told("number 1")]
    through = data.as_type(Bright).as_type(DictSample)
    assert through.head(1) == [DictSample({"label": 0})]
    assert through.as_type(Told).head(1) == [Told("number 0")]
    with pytest.raises(LensNotFoundError):
        through.as_type(Plain)  # it is no longer what the shards hold


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_shard_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(ShardNotFoundError):
        Dataset[Digit](tmp_path / "none.tar")


def test_a_damaged_shard_raises_in_its_turn(data, written, tmp_path):
    path = tmp_path / "d-000002.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1024])
    with pytest.raises(ShardError, match="changed since it was listed"):
        list(data)
    data = Dataset[Digit](str(tmp_path / "d-{000000..000003}.tar"))
    seen = []
    with pytest.raises(TruncatedShardError) as caught:
        for digit in data:
            seen.append(digit)
    assert seen == digits(9)[: len(seen)]
    assert caught.value.uri == str(path)
    with pytest.raises(TruncatedShardError):
        len(data)
    seen = []
    with pytest.raises(DigestError):  # with a digest, nothing of the shard is given
        for digit in written:
            seen.append(digit)
    assert seen == digits(6)
    path.write_bytes(b"")
    with pytest.raises(ShardError):
        list(data)


def test_a_sample_of_another_type_names_its_shard_its_key_and_the_field(data, tmp_path):
    @packable
    class Digit:
        image: NDArray[np.uint8]
        label: str

    with pytest.raises(SampleError) as caught:
        list(Dataset[Digit](data.view.source))
    assert caught.value.uri == str(tmp_path / "d-000000.tar")
    assert caught.value.path == "000000000: Digit.label"
    assert (caught.value.expected, caught.value.actual) == ("str", "int 0")


def test_a_lens_that_fails_is_passed_on(data):
    @packable
    class Never:
        n: int

    @lens
    def failing(digit: Digit) -> Never:
        raise ZeroDivisionError("of the caller")

    with pytest.raises(ZeroDivisionError):
        next(iter(data.as_type(Never)))


def test_stopping_early_leaves_nothing_running(data):
    for _ in range(20):
        for _digit in data:
            break
        for _batch in data.ordered(batch_size=2):
            break
    gc.collect()
    deadline = 500
    while any(t.name.startswith("atdata-fetch") for t in threading.enumerate()) and deadline:
        deadline -= 1
        threading.Event().wait(0.01)
    assert deadline


def test_a_number_beyond_the_end_is_an_error_that_says_so_and_ends_an_iteration(data):
    for number in (10, -11, [3, 10], np.int64(99)):
        with pytest.raises(NoSampleError, match="there is no sample") as caught:
            data[number]
        assert (caught.value.expected, isinstance(caught.value, IndexError)) == ("-10 to 9", True)
        assert type(pickle.loads(pickle.dumps(caught.value))) is NoSampleError
    with pytest.raises(NoSampleError, match="there is no sample 0") as caught:
        data.take(0)[0]
    assert caught.value.expected == "there are no samples"

    class ByNumber:
        def __getitem__(self, number: int) -> Digit:
            return data[number]

    assert list(ByNumber()) == digits(10)


def test_a_dataset_counts_by_what_is_known_and_reads_only_the_rest(data, tmp_path):
    refs = [*(ShardRef(str(shard), samples=100) for shard in data.shards[:3]), data.shards[3]]
    mixed = Dataset[Digit](FileSource(tuple(refs)))
    (tmp_path / "d-000000.tar").unlink()
    assert len(mixed) == 301


# --- splits ----------------------------------------------------------------------------------------------------------


def test_a_dataset_dict_holds_splits_and_names_them_when_asked_for_another(data):
    splits = DatasetDict({"train": data, "test": data.as_type(Plain)})
    assert splits["train"] is data
    assert list(splits) == ["train", "test"]
    assert splits.get("validation") is None
    assert "validation" not in splits
    with pytest.raises(NotFoundError) as caught:
        splits["validation"]
    assert isinstance(caught.value, KeyError)
    assert caught.value.expected == "train, test"
    assert repr(splits) == "DatasetDict({'train': Dataset[Digit](4 shards), 'test': Dataset[Plain](4 shards)})"
    assert list(pickle.loads(pickle.dumps(DatasetDict(a=Dataset(data.view.source))))["a"]) == list(
        Dataset(data.view.source)
    )


# --- other processes -------------------------------------------------------------------------------------------------


def test_a_dataset_is_copied(data):
    for made in (copy.copy(data), copy.deepcopy(Dataset(data.view.source))):
        assert len(list(made)) == 10


@pytest.mark.slow
def test_a_dataset_goes_to_spawned_and_forked_workers(tmp_path, written):
    """Everything a DataLoader worker holds: dataset, views, batches, samples; and what comes back from it."""
    script = tmp_path / "workers.py"
    script.write_text(
        textwrap.dedent(
            """
            from __future__ import annotations

            import multiprocessing
            import sys

            import numpy as np
            from numpy.typing import NDArray

            from atdata.dataset import Dataset
            from atdata.lens import lens
            from atdata.samples import PackableSample, packable

            @packable
            class Digit:
                image: NDArray[np.uint8]
                label: int

            class Bright(PackableSample):
                mean: float
                label: int

            @packable
            class Plain:
                label: int

            @lens
            def bright(digit: Digit) -> Bright:
                return Bright(float(digit.image.mean()), digit.label)

            def work(data):
                return list(data), list(data.ordered(batch_size=4)), data.ordered(), data

            if __name__ == "__main__":
                data = Dataset[Digit](sys.argv[1])
                next(iter(data))
                views = [data, data.as_type(Bright), data.as_type(Plain), data.as_type(Bright).as_type(Plain)]
                views += [Dataset(sys.argv[1]), Dataset(sys.argv[1]).as_type(Plain)]
                for method in ("spawn", "forkserver", "fork"):
                    with multiprocessing.get_context(method).Pool(1) as pool:
                        for view, (samples, batches, ordered, back) in zip(views, pool.map(work, views), strict=True):
                            assert samples == list(view) == list(ordered) == list(back)
                            assert [s for batch in batches for s in batch] == samples
                            assert back.sample_type is view.sample_type
                            assert repr(back) == repr(view)
                print("fine")
            """
        )
    )
    command = [sys.executable, str(script), f"{tmp_path}/d-{{000000..000003}}.tar"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


# --- large arrays ------------------------------------------------------------------------------------------------------


@packable
class Big:
    id: int
    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None


def big(number: int, side: int = 64) -> Big:
    rng = np.random.default_rng(number)
    return Big(number, rng.integers(0, 256, (side, side, 3), np.uint8), rng.random((side, side), np.float32))


@pytest.mark.parametrize("side", [64, 160], ids=["large", "read straight to their column"])
def test_large_arrays_are_those_that_were_written_in_every_order(tmp_path, side):
    """They are brought one by one, to memory that is used again once nobody looks at it."""
    model = {number: big(number, side) for number in range(150)}
    data = write_samples(model.values(), tmp_path / "big-%03d.tar", maxcount=40)
    for batches in (data.ordered(32), data.shuffled(32), data.shuffled(32, mode="window"), [data[[149, 0, 149, 75]]]):
        kept = []
        for number, batch in enumerate(batches):
            if number % 2:  # every other batch is kept, and must not change
                kept.append(batch)
            for index, sample in enumerate(batch.id):
                assert np.array_equal(batch.image[index], model[sample].image)
                assert np.array_equal(batch.depth[index], model[sample].depth)
        for batch in kept:
            assert list(batch) == [model[sample] for sample in batch.id]
    assert list(data) == list(model.values())


def test_large_arrays_of_two_shapes_are_listed(tmp_path):
    samples = [big(number, 64 if number % 7 else 60) for number in range(40)]
    samples[11] = Big(11, samples[11].image, None)
    data = write_samples(samples, tmp_path / "big-%03d.tar", maxcount=10)
    assert list(data) == samples
    for batch in data.shuffled(8):
        assert list(batch) == [samples[number] for number in batch.id]
    assert isinstance(data[[0, 1]].image, list)
    assert data[[1, 2]].image.shape == (2, 64, 64, 3)


@packable
class Wide:
    row: NDArray[np.uint8]
    label: int


@pytest.mark.parametrize("length", [100, 100_000])
def test_a_shard_closed_while_it_is_read_is_not_taken_for_another(tmp_path, length):
    """Two readers share what is open: one may close what the other is about to read, and open something else."""
    written = write_samples((Wide(np.full(length, n, np.uint8), n) for n in range(12)), tmp_path / "%d.tar", maxcount=6)
    dataset = Dataset([str(ref.url) for ref in written.view.source.shards], sample_type=Wide, cache=tmp_path / "cache")
    reader = dataset.view.reader()
    chunks = reader._chunks(range(6))
    started = reader._start(chunks)
    if started is None:
        pytest.skip("atdata/_native.c is not compiled here")
    number = reader.table.shards.open(0).file.fileno()
    reader.table.shards._files.drop(0)
    assert reader.table.shards.open(1).file.fileno() == number  # the system gives the lowest that is free
    columns = reader._columns(chunks, started)
    assert columns["row"][:, 0].tolist() == columns["label"].array.tolist() == list(range(6))  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [100, 100_000])
def test_who_may_open_no_more_files_reads_those_that_are_open(tmp_path, length):
    resource = pytest.importorskip("resource")
    written = write_samples((Wide(np.full(length, n, np.uint8), n) for n in range(12)), tmp_path / "a.tar")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    batches = iter(written.ordered(batch_size=3))
    found = [next(batches)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        found += batches
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [row.label for batch in found for row in batch] == list(range(12))
    assert all((row.row == row.label).all() for batch in found for row in batch)


@pytest.mark.parametrize("count", [500, 600, 9000])
def test_samples_of_any_number_of_fields_are_read(tmp_path, count):
    wide = packable(type("Wide", (), {"__annotations__": {f"f{n}": int for n in range(count)}}))
    samples = [wide(*range(row, row + count)) for row in range(4)]
    dataset = write_samples(samples, tmp_path / "wide.tar")
    assert list(dataset) == samples
    assert dataset[1:3][f"f{count - 1}"] == [count, count + 1]
