"""Whole datasets, read in every way there is, against a model: the samples that were written, side by side in a list."""

from __future__ import annotations

import dataclasses
import random
import struct
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.dataset.order import Order
from atdata.errors import SampleError, ShardError
from atdata.samples import DictSample, PackableSample, SampleBatch, fields_of, packable
from atdata.samples.codec import pack, unpack
from atdata.samples.npy import encode_array
from atdata.shards import write_shard
from support import MANY
from support.arrays import SPECIMENS, fill, identical

webdataset = pytest.importorskip("webdataset")

CASES = 4000 if MANY else 120  # two and a half shards each
GROUPS = 40 if MANY else 12


# --- the judge -------------------------------------------------------------------------------------------------------


def alike(one: Any, other: Any) -> bool:
    """Whether two values, or columns of them, are equal to the bit."""
    if isinstance(one, np.ndarray):
        return identical(one, other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, float):
        return type(other) is float and struct.pack("d", one) == struct.pack("d", other)
    return type(one) is type(other) and bool(one == other)


def values_of(sample: Any) -> dict[str, Any]:
    if isinstance(sample, DictSample):
        return dict(sample)
    return {field.name: getattr(sample, field.name) for field in fields_of(type(sample))}


def same_samples(found: Sequence[Any], model: Sequence[Any]) -> bool:
    pairs = zip(found, model, strict=True)
    return all(type(a) is type(b) and alike(values_of(a), values_of(b)) for a, b in pairs)


def same_batch(batch: SampleBatch[Any], model: Sequence[Any], names: Sequence[str] | None = None) -> bool:
    expected = SampleBatch.of(type(model[0]), model).columns
    expected = expected if names is None else {name: expected[name] for name in names}
    return alike(dict(batch.columns), dict(expected))


def check_every_way(data: Dataset[Any], model: Sequence[Any], chance: random.Random) -> None:
    """Read a dataset in every way; all that comes is the model's."""
    count, size = len(model), chance.choice([1, 2, 3, 5, 7, 100])
    assert len(data) == count
    assert same_samples(list(data), model)
    orders: list[tuple[Any, Any]] = [(data.ordered(), data.ordered(size))]
    chosen = [list(range(count))]
    for mode in ("global", "window"):
        seed, epoch = chance.randrange(1000), chance.randrange(3)
        orders.append(
            tuple(data.shuffled(k, seed=seed, epoch=epoch, mode=mode, window=32) for k in (None, size))  # type: ignore[arg-type, call-overload]
        )
        chosen.append(Order(count, mode, seed, epoch, 32).samples(np.arange(count)).tolist())  # type: ignore[arg-type]
    for (samples, batches), numbers in zip(orders, chosen, strict=True):
        assert sorted(numbers) == list(range(count))
        assert same_samples(list(samples), [model[n] for n in numbers])
        windows = [[model[n] for n in numbers[start : start + size]] for start in range(0, count, size)]
        assert all(same_batch(b, w) for b, w in zip(batches, windows, strict=True))
        assert all(same_samples(b.samples, w) for b, w in zip(batches, windows, strict=True))
    if count:
        picks = [chance.randrange(-count, count) for _ in range(chance.randrange(1, 12))]
        assert same_batch(data[picks], [model[n] for n in picks])
        assert same_batch(data[np.array(picks)], [model[n] for n in picks])
        assert same_samples([data[picks[0]]], [model[picks[0]]])
        start, stop = sorted(chance.choices(range(count + 1), k=2))
        if start < stop:
            assert same_batch(data[start:stop], model[start:stop])
            assert same_samples(list(data.select(picks)), [model[n] for n in picks])


# --- shards of any kind ----------------------------------------------------------------------------------------------

ARRAYS = [array for name, array in SPECIMENS.items() if "one field without bytes" not in name]
TEXTS = ["", "a", "plain text", "é", "名前", "🎈" * 5, "nul\0inside", "nul at the end\0", "x" * 31, "y" * 32, "z" * 300]
NUMBERS = [0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 2**32, -(2**63), 2**63 - 1, 2**63, 2**64 - 1]
KINDS: dict[str, tuple[Any, Callable[[random.Random], Any]]] = {
    "number": (int, lambda chance: chance.choice(NUMBERS)),
    "label": (int, lambda chance: chance.randrange(10)),
    "text": (str, lambda chance: chance.choice(TEXTS)),
    "name": (str, lambda chance: f"name {chance.randrange(100)}"),
    "real": (float, lambda chance: chance.choice([0.0, -0.0, 1.5, float("nan"), float("inf"), chance.random()])),
    "flag": (bool, lambda chance: chance.random() < 0.5),
    "raw": (bytes, lambda chance: chance.randbytes(chance.choice([0, 1, 31, 300]))),
    "items": (list[int], lambda chance: [chance.randrange(300) for _ in range(chance.randrange(4))]),
    "table": (dict, lambda chance: {"a": None, "b": [chance.random(), {"c": chance.choice(TEXTS)}]}),
}
OFTEN = ["label", "name", "text", "real", "number", "flag", "raw", "array", "array", "array", "ragged", "wide"]
RARELY = ["items", "table"]


def other_array(array: NDArray[Any], chance: random.Random) -> NDArray[Any]:
    made = np.zeros_like(array)
    fill(made, np.random.default_rng(chance.randrange(2**32)))
    return made


@dataclasses.dataclass
class Drawn:
    """A type drawn at random, and what its samples are made of."""

    sample_type: type[Any]
    kinds: dict[str, str]
    maybe: dict[str, float]
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, chance: random.Random) -> Drawn:
        pool = OFTEN + (RARELY if chance.random() < 0.2 else [])
        kinds = {f"{kind}_{n}": kind for n, kind in enumerate(chance.choices(pool, k=chance.choice([1, 2, 4, 8, 18])))}
        maybe = {name: chance.choice([0.0, 0.3, 1.0]) for name in kinds if chance.random() < 0.3}
        arrays = {}
        annotations: dict[str, Any] = {}
        for name, kind in kinds.items():
            annotations[name] = KINDS[kind][0] if kind in KINDS else NDArray
            if name in maybe:
                annotations[name] = annotations[name] | None
            if kind == "wide":
                arrays[name] = np.zeros((chance.choice([1, 40, 2000]), 7), chance.choice(["u1", "<f4", ">i8", "c16"]))
            elif kind not in KINDS:
                arrays[name] = chance.choice(ARRAYS)
        made = packable(type("Drawn", (), {"__annotations__": annotations, "__module__": __name__}))
        return cls(made, kinds, maybe, arrays)

    def sample(self, chance: random.Random) -> Any:
        return self.sample_type(**{name: self.value(name, chance) for name in self.kinds})

    def value(self, name: str, chance: random.Random) -> Any:
        kind = self.kinds[name]
        if chance.random() < self.maybe.get(name, 0.0):
            return None
        if kind in KINDS:
            return KINDS[kind][1](chance)
        array = self.arrays[name]
        if kind == "ragged" and array.ndim and array.ndim < 32:
            array = array[: chance.randrange(len(array) + 1)]
        return other_array(array, chance)

    def packed(self, sample: Any, style: str) -> bytes:
        """A sample as its own writer packs it, or one of a type that has more or fewer fields, or in another order."""
        values = unpack(sample.packed)
        if style == "fewer":
            values = {name: value for name, value in values.items() if name not in self.maybe}
        elif style == "more":
            values = {"before": "text é", **values, "after": [1, {"a": b""}]}
        elif style == "more, plain":
            values = {**values, "after": 7, "and": "text"}
        elif style == "backwards":
            values = dict(reversed(values.items()))
        return pack(values)


STYLES = ["as written"] * 6 + ["fewer", "more", "more, plain", "backwards", "mixed"]


def write(path: Path, rows: list[bytes], by_webdataset: bool) -> Path:
    keyed = [(f"{number:06d}", row) for number, row in enumerate(rows)]
    if not by_webdataset:
        write_shard(path, keyed)
        return path
    with webdataset.TarWriter(str(path)) as sink:
        for key, row in keyed:
            sink.write({"__key__": key, "msgpack": row})
    return path


def cases(group: int) -> Iterator[int]:
    return iter(range(group, CASES, GROUPS))


@pytest.mark.slow
@pytest.mark.timeout(3000 if MANY else 100)
@pytest.mark.parametrize("group", range(GROUPS))
def test_shards_of_any_kind_are_read_as_they_were_written(tmp_path, group):
    for case in cases(group):
        chance = random.Random(case)
        drawn = Drawn.of(chance)
        paths, model = [], []
        for shard in range(chance.choice([1, 2, 3, 4])):
            style = chance.choice(STYLES)
            rows = []
            for _ in range(chance.choice([0, 1, 2, 5, 9, 40])):
                one = chance.choice(STYLES[:-1]) if style == "mixed" else style
                rows.append(drawn.packed(drawn.sample(chance), one))
            paths.append(write(tmp_path / f"{case}-{shard}.tar", rows, chance.random() < 0.5))
            model += [drawn.sample_type.from_bytes(row) for row in rows]
        for _ in range(2):  # first of all, and once more when the files are known
            check_every_way(Dataset([str(path) for path in paths], sample_type=drawn.sample_type), model, chance)
        some = chance.sample(sorted(drawn.kinds), chance.randrange(1, len(drawn.kinds) + 1))
        batches = list(Dataset([str(path) for path in paths], sample_type=drawn.sample_type).columns(*some).ordered(7))
        windows = [model[start : start + 7] for start in range(0, len(model), 7)]
        assert all(same_batch(batch, window, some) for batch, window in zip(batches, windows, strict=True))
        for path in paths:
            path.unlink()


@packable
class Ordinary:
    image: NDArray[np.uint8]
    points: NDArray[np.float32] | None
    label: int
    text: str
    note: str | None = None


def ordinary(count: int) -> list[Ordinary]:
    chance = np.random.default_rng(0)
    return [
        Ordinary(
            chance.integers(0, 256, (8, 8), "u1"),
            None if n % 5 == 3 else chance.random((n % 4, 2), "f4"),
            n,
            "text " * (n % 9),
            None if n % 3 else "é",
        )
        for n in range(count)
    ]


def test_ordinary_shards_are_not_read_one_by_one(tmp_path):
    """Whatever is said of agreement would hold of a reader that always took the careful path."""
    made = ordinary(500)
    data = write_samples(made, tmp_path / "d-%d.tar", maxcount=90)
    reader = data.view.reader()
    columns = reader.read(np.random.default_rng(1).permutation(500))
    assert len(columns["label"]) == 500
    assert reader.statistics.samples == 500
    assert reader.statistics.slow == 0
    check_every_way(Dataset(data.view.source, sample_type=Ordinary), made, random.Random(1))


# --- samples without a type ------------------------------------------------------------------------------------------

UNTYPED: dict[str, list[dict[str, Any]]] = {
    "alike": [{"a": n, "x": np.arange(n)} for n in range(5)],
    "of different fields": [{"a": 1}, {"b": "two"}, {"b": None, "a": 1}, {"c": [1, {"d": b""}]}],
    "of nothing": [{}, {}, {}],
    "of nothing, some of them": [{}, {"a": 1}, {}],
}


@pytest.mark.parametrize("name", UNTYPED)
def test_samples_without_a_type_come_back_one_by_one_as_they_were(tmp_path, name):
    rows = [DictSample(values) for values in UNTYPED[name]]
    data = Dataset(write(tmp_path / "a.tar", [row.packed for row in rows], False))
    assert [sample.packed for sample in data] == [row.packed for row in rows]
    assert [data[n].packed for n in range(len(rows))] == [row.packed for row in rows]
    shuffled = list(data.shuffled(seed=3))
    assert sorted(sample.packed for sample in shuffled) == sorted(row.packed for row in rows)


def test_samples_without_fields_are_still_samples(tmp_path):
    @packable
    class Nothing:
        pass

    data = write_samples([Nothing() for _ in range(5)], tmp_path / "a.tar")
    assert list(data) == [Nothing()] * 5
    assert [len(batch) for batch in data.ordered(2)] == [2, 2, 1]
    assert data[3] == Nothing()


# --- types that do something of their own ----------------------------------------------------------------------------


@packable
class Doubled:
    number: int
    x: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.number *= 2
        self.x = self.x + 1


@packable
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


@packable
class Derived:
    number: int
    x: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.square = self.number**2


class Constructed(PackableSample):
    number: int
    x: NDArray[np.int64]

    def __init__(self, number: int, x: Any) -> None:
        self.number, self.x, self.calls = number + 1, x, 1


@packable
@dataclasses.dataclass(slots=True)
class Slotted:
    number: int
    x: NDArray[np.int64]


@packable
@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    x: NDArray[np.int64]
    words: list[str] = dataclasses.field(default_factory=list)


@packable
@dataclasses.dataclass(kw_only=True)
class ByName:
    number: int
    x: NDArray[np.int64]


@packable
class Base:
    number: int
    kind: str = "base"


@packable
class Child(Base):
    x: NDArray[np.int64] | None = None
    kind: str = "child"


class Grandchild(Child):
    more: float = 0.5

    def __post_init__(self) -> None:
        self.more += self.number


@packable
class Guarded:
    number: int
    x: NDArray[np.int64]

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value + 1 if name == "number" else value)


@packable
class Own:
    number: int

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Own:
        sample = super().from_bytes(data)  # type: ignore[misc]
        sample.number = -sample.number
        return sample


@packable
class Renewed:
    number: int

    def __new__(cls, *args: Any, **values: Any) -> Renewed:
        made = super().__new__(cls)
        made.extra = "here"  # type: ignore[attr-defined]
        return made


X = np.arange(3)
SPECIAL: dict[str, Callable[[int], Any]] = {
    "__post_init__ that changes": lambda n: Doubled(n, X + n),
    "__post_init__ that adds": lambda n: Derived(n, X + n),
    "__post_init__ that checks": lambda n: Checked(2 * n),
    "__init__": lambda n: Constructed(n, X + n),
    "slots": lambda n: Slotted(n, X + n),
    "frozen": lambda n: Frozen(n, X + n, ["w"] * n),
    "by name": lambda n: ByName(number=n, x=X + n),
    "inheritance": lambda n: Child(n, "kind", X + n if n % 2 else None),
    "inheritance with __post_init__": lambda n: Grandchild(n, "kind", X + n if n % 2 else None),
    "__setattr__": lambda n: Guarded(n, X + n),
    "from_bytes": lambda n: Own(n),
    "__new__": lambda n: Renewed(n),
}


def state_of(sample: Any) -> dict[str, Any]:
    """All that a sample holds, its fields and what else its author put there."""
    return {**values_of(sample), **getattr(sample, "__dict__", {})}


@pytest.mark.parametrize("name", SPECIAL)
def test_types_that_do_something_of_their_own_do_it_once(tmp_path, name):
    """A sample that was read is what its type makes of the stored values, in whichever way it was read."""
    made = [SPECIAL[name](n) for n in range(9)]
    sample_type = type(made[0])
    rows = [sample.packed for sample in made]
    model = [sample_type.from_bytes(row) for row in rows]
    if name != "from_bytes":
        constructed = [sample_type(**{f: getattr(s, f) for f in values_of(s)}) for s in made]
        assert all(alike(state_of(a), state_of(b)) for a, b in zip(constructed, model, strict=True))
    paths = [write(tmp_path / f"{n}.tar", rows[start : start + 4], False) for n, start in enumerate((0, 4, 8))]
    data = Dataset([str(path) for path in paths], sample_type=sample_type)
    for found in (
        list(data),
        [data[n] for n in range(9)],
        [sample for batch in data.ordered(4) for sample in batch.samples],
        data[list(range(9))].samples,
        list(data.select(list(range(9)))),
    ):
        assert len(found) == 9
        assert all(type(sample) is sample_type for sample in found)
        assert all(alike(state_of(a), state_of(b)) for a, b in zip(found, model, strict=True))
    columns = [data.ordered(9), data.shuffled(9)]
    assert sorted(next(iter(columns[0]))["number"]) == sorted(next(iter(columns[1]))["number"])
    assert next(iter(columns[0]))["number"] == [sample.number for sample in model]


def test_a_sample_that_its_type_refuses_is_refused_in_every_way(tmp_path):
    rows = [pack({"number": n}) for n in (0, 2, 3, 4)]
    data = Dataset[Checked](write(tmp_path / "a.tar", rows, False))
    for read in (lambda: list(data), lambda: data[2], lambda: list(data.ordered(2)), lambda: data[[3, 2]]):
        with pytest.raises(ValueError, match="odd"):
            read()


# --- what is not a sample of the type --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 5, 19])
@pytest.mark.parametrize("what", ["cut", "no msgpack", "another field's type", "a field too few", "no text"])
def test_a_bad_sample_is_named_and_all_before_it_are_given(tmp_path, bad, what):
    made = ordinary(20)
    rows = [sample.packed for sample in made]
    values = unpack(rows[bad])
    rows[bad] = {
        "cut": rows[bad][:-1],
        "no msgpack": b"\xc1" * len(rows[bad]),
        "another field's type": pack({**values, "label": "one"}),
        "a field too few": pack({name: value for name, value in values.items() if name != "text"}),
        "no text": rows[bad].replace(b"\xa4text", b"\xa4text\xa1\xff\xa4textx")[: len(rows[bad])],
    }[what]
    path = write(tmp_path / "a.tar", rows, False)
    data = Dataset[Ordinary](path)
    seen: list[Any] = []
    with pytest.raises(SampleError) as caught:
        for sample in data:
            seen.append(sample)
    assert same_samples(seen, made[:bad])
    assert caught.value.uri == str(path)
    assert str(caught.value.path).startswith(f"{bad:06d}")
    batches: list[Any] = []
    with pytest.raises(SampleError):
        for batch in data.ordered(4):
            batches.append(batch)
    assert len(batches) == bad // 4
    assert data[[n for n in range(20) if n != bad]].label == [n for n in range(20) if n != bad]


def test_an_array_that_no_batch_can_hold_is_listed_or_refused(tmp_path):
    """A header alone may claim, of no items, dimensions that fit once and not twice."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**58}), }}".encode().ljust(118) + b"\n"
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    path = write(tmp_path / "a.tar", [pack({"x": array})] * 40, False)

    @packable
    class Held:
        x: NDArray

    for read in (lambda: list(Dataset[Held](path)), lambda: Dataset[Held](path)[[0, 1, 2] * 10]):
        try:
            found = read()
        except (SampleError, ShardError):
            continue
        assert len(found) in (30, 40)


# --- who owns what was read ------------------------------------------------------------------------------------------


def test_what_is_done_to_one_batch_is_done_to_no_other(tmp_path):
    class Big(PackableSample):
        x: NDArray[np.float32]
        y: NDArray[np.int64]

    made = [Big(np.full((64, 64), n, "f4"), np.arange(n % 3)) for n in range(600)]
    data = write_samples(made, tmp_path / "d-%d.tar", maxcount=200)
    for batches in (data.ordered(100), data.shuffled(100, seed=1), data.ordered(256)):
        kept = list(batches)
        numbers = [batch.x[:, 0, 0].copy() for batch in kept]
        assert sorted(np.concatenate(numbers).tolist()) == list(range(600))
        kept[0].x[...] = -1
        for batch in kept:
            batch.y[0][...] = -1
        assert all(
            (b.x[:, 0, 0] == n).all() and (b.x == b.x[:, :1, :1]).all()
            for b, n in zip(kept[1:], numbers[1:], strict=True)
        )
        assert same_samples(list(data)[:20], made[:20])
    one = iter(data.ordered(100))
    views = [next(one).x[0] for _ in range(6)]  # the batches are gone, what was taken of them is not
    assert [view[5, 5] for view in views] == [0, 100, 200, 300, 400, 500]
    buffers = [memoryview(batch.x) for batch in data.ordered(100)]
    assert [np.asarray(buffer)[0, 0, 0] for buffer in buffers] == [0, 100, 200, 300, 400, 500]


def test_a_sample_taken_twice_is_two(tmp_path):
    data = write_samples(ordinary(30), tmp_path / "d-%d.tar", maxcount=10)
    batch = data[[4, 4, 14, 4]]
    batch.image[0] = 0
    batch.points[0][...] = 0
    assert same_samples([batch.samples[1], batch.samples[3]], [ordinary(30)[4]] * 2)
    samples = list(data.select([4, 14, 4]))
    samples[0].image[...] = 0
    samples[0].points[...] = 0
    assert same_samples(samples[1:], [ordinary(30)[14], ordinary(30)[4]])


@pytest.mark.parametrize("way", ["one by one", "in batches", "shuffled in batches"])
def test_the_memory_of_an_epoch_is_a_few_chunks(tmp_path, way):
    """Of 8 MB each, and not so many samples, whatever their size."""

    @packable
    class Large:
        x: NDArray[np.uint8]

    path = write(
        tmp_path / "a.tar", [pack({"x": encode_array(np.full(500_000, n % 256, "u1"))}) for n in range(200)], False
    )
    data = Dataset[Large](path)
    epochs: dict[str, Any] = {
        "one by one": data,
        "in batches": data.ordered(4),
        "shuffled in batches": data.shuffled(4, seed=1),
    }
    tracemalloc.start()
    try:
        assert sum(int(sample.x.flat[0]) >= 0 for sample in epochs[way]) == (200 if way == "one by one" else 50)
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


def test_samples_one_by_one_own_their_arrays(tmp_path):
    class Odd(PackableSample):
        x: NDArray[np.float32]

    # alike within each shard, not across them
    made = [Odd(np.full(2 if n < 10 else 3, n, "f4")) for n in range(20)]
    data = write_samples(made, tmp_path / "d-%d.tar", maxcount=10)
    for samples in (data, data.shuffled(seed=2), data.select(slice(5, 15))):
        for sample in samples:
            owner = sample.x if sample.x.base is None else sample.x.base
            assert owner.nbytes == sample.x.nbytes, "one sample keeps others in memory"


# --- files that change while they are read ---------------------------------------------------------------------------

CUT = """
    import os, sys
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from atdata.dataset import Dataset
    from atdata.errors import ShardError
    from atdata.samples import packable

    @packable
    class Row:
        number: int
        x: NDArray[np.uint8]

    path, way, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    data = Dataset[Row](path)

    def numbers():
        if way == "ordered":
            for batch in data.ordered(10):
                assert (batch.x == np.array(batch.number, "u1")[:, None]).all()
                yield from batch.number
        elif way == "shuffled":
            for batch in data.shuffled(10, seed=1):
                assert (batch.x == np.array(batch.number, "u1")[:, None]).all()
                yield from batch.number
        elif way == "one by one":
            for sample in data:
                assert (sample.x == sample.number % 256).all()
                yield sample.number
        else:
            while True:
                yield from data[[3, 2300, 7]].number

    seen = 0
    try:
        for _ in numbers():
            seen += 1
            if seen == 10:
                os.truncate(path, left)
    except ShardError as error:
        assert seen >= 10
        assert "truncated" in str(error) or "ends before" in str(error), error
        print("told")
"""


@pytest.mark.parametrize("way", ["ordered", "shuffled", "one by one", "picked"])
@pytest.mark.parametrize("left", [0, 5_000_000])
def test_a_file_cut_while_it_is_read_is_an_error_and_not_the_end_of_the_process(tmp_path, way, left):
    rows = [pack({"number": n % 256, "x": encode_array(np.full(20_000, n % 256, "u1"))}) for n in range(2500)]
    path = write(tmp_path / "a.tar", rows, False)
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(CUT), str(path), way, str(left)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")


def test_a_file_replaced_while_it_is_read_is_read_to_its_end(tmp_path):
    made = ordinary(300)
    path = tmp_path / "a.tar"
    data = write_samples(made, path)
    for batches in (iter(data.ordered(10)), iter(data.shuffled(10))):
        seen = [*next(batches).label]
        write(tmp_path / "b.tar", [], False).replace(path)
        for batch in batches:
            seen += batch.label
        assert sorted(seen) == list(range(300))
        write_samples(made, path, overwrite=True)
        data = Dataset[Ordinary](path)
