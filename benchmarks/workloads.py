"""What is read and written: four sample types that are typical, and one drawn at random on each run."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from numpy.typing import NDArray

from atdata import packable
from atdata.dataset import write_samples
from atdata.samples import Maybe, Scalar, fields_of

BATCH = 256
SHARDS = 8
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon")
MASK = 2**64 - 1


@packable
class Features:
    features: NDArray[np.float32]
    label: int
    name: str


@packable
class Image:
    image: NDArray[np.uint8]
    name: str
    score: float


@packable
class Passage:
    text: str
    embedding: NDArray[np.float32]
    source: str


@packable
class Tiny:
    id: int
    value: float
    tag: str


def features(rng: np.random.Generator, i: int) -> Features:
    return Features(rng.random(128, np.float32), int(rng.integers(0, 1000)), f"sample-{i}")


def image(rng: np.random.Generator, i: int) -> Image:
    return Image(rng.integers(0, 256, (224, 224, 3), np.uint8), f"img-{i}", float(rng.random()))


def passage(rng: np.random.Generator, i: int) -> Passage:
    text = "".join(WORDS[k] for k in rng.integers(0, 5, 230).tolist())[:1000]
    return Passage(text, rng.random(768, np.float32), f"src-{i % 7}")


def tiny(rng: np.random.Generator, i: int) -> Tiny:
    return Tiny(int(rng.integers(0, 2**40)), float(rng.random()), WORDS[i % 5])


@dataclass(frozen=True)
class Workload:
    """Samples of one type.

    Attributes:
        make: sample number i, from a generator that is used for samples 0, 1, 2, ... in turn.
        count: how many samples are read.
        written: how many are written while the clock runs.
    """

    name: str
    title: str
    sample_type: type[Any]
    make: Callable[[np.random.Generator, int], Any]
    count: int
    written: int

    @property
    def numbers(self) -> tuple[str, ...]:
        """The fields that are not text."""
        text = (Scalar("str"), Maybe(Scalar("str")))
        return tuple(field.name for field in fields_of(self.sample_type) if field.type not in text)

    def samples(self, count: int | None = None) -> Iterator[Any]:
        """The same samples on each call."""
        rng = np.random.default_rng(0)
        return (self.make(rng, i) for i in range(self.count if count is None else count))

    def write(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The shards as webdataset's writer makes them, and as ours does."""
        theirs, ours = folder / "theirs", folder / "ours"
        theirs.mkdir(parents=True)
        maxcount = -(-self.count // SHARDS)
        write_with_webdataset(self.samples(), theirs, maxcount)
        write_samples(self.samples(), ours / "%06d.tar", maxcount=maxcount)
        return sorted(theirs.glob("*.tar")), sorted(ours.glob("*.tar"))


def write_with_webdataset(samples: Iterator[Any], folder: Path, maxcount: int) -> None:
    sink = None
    for i, sample in enumerate(samples):
        if i % maxcount == 0:
            if sink is not None:
                sink.close()
            sink = webdataset.TarWriter(str(folder / f"{i // maxcount:06d}.tar"))
        sink.write({**sample.as_wds, "__key__": f"{i:09d}"})
    sink.close()


def workloads(quick: bool, seed: int) -> dict[str, Workload]:
    """All of them, by their letter. `quick` is a twentieth of the size."""
    part = 20 if quick else 1
    known = [
        Workload("A", "features", Features, features, 200_000 // part, 50_000 // part),
        Workload("B", "images", Image, image, 4_000 // part, 1_000 // part),
        Workload("C", "text + embedding", Passage, passage, 50_000 // part, 20_000 // part),
        Workload("D", "tiny", Tiny, tiny, 500_000 // part, 100_000 // part),
        _drawn(seed, 40_000 // part, 20_000 // part),
    ]
    return {workload.name: workload for workload in known}


# Workload E. Items of arrays with one shape come in multiples of 8, other numbers have 8 bytes: so the sum of a column
# as 64-bit words does not depend on which samples are side by side.

Make = Callable[[np.random.Generator, int], Any]


def _drawn(seed: int, count: int, written: int) -> Workload:
    draw = random.Random(seed)
    fields = [_ragged(draw), _optional(draw), *(_any(draw) for _ in range(draw.randint(1, 6)))]
    draw.shuffle(fields)
    names = draw.sample(
        [a + b for a in ("x", "label", "field_", "a_rather_long_name_for_a_field_") for b in "abcdefg"], len(fields)
    )
    annotations = {name: annotation for name, (annotation, _) in zip(names, fields, strict=True)}
    makes = [make for _, make in fields]
    sample_type: Any = packable(type("Drawn", (), {"__annotations__": annotations, "__module__": __name__}))
    globals()["Drawn"] = sample_type  # where pickle looks for it

    def make(rng: np.random.Generator, i: int) -> Any:
        return sample_type(**{name: field(rng, i) for name, field in zip(names, makes, strict=True)})

    title = ", ".join(str(field.type) for field in fields_of(sample_type))
    return Workload("E", f"drawn with seed {seed}: {title}", sample_type, make, count, written)


def _any(draw: random.Random) -> tuple[Any, Make]:
    return draw.choice([_array, _array, _int, _float, _bool, _str])(draw)


def _ragged(draw: random.Random) -> tuple[Any, Make]:
    scalar, most = draw.choice([np.int64, np.float64]), draw.randint(2, 40)
    return NDArray[scalar], lambda rng, i: rng.integers(0, 1000, int(rng.integers(0, most))).astype(scalar)


def _optional(draw: random.Random) -> tuple[Any, Make]:
    annotation, make = _any(draw)
    share = draw.random()
    return annotation | None, lambda rng, i: None if rng.random() < share else make(rng, i)


def _array(draw: random.Random) -> tuple[Any, Make]:
    scalar = draw.choice([np.uint8, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64])
    shape = (*(draw.randint(1, 4) for _ in range(draw.randint(0, 2))), 8 * draw.randint(1, 12))
    return NDArray[scalar], lambda rng, i: rng.integers(0, 100, shape).astype(scalar)


def _int(draw: random.Random) -> tuple[Any, Make]:
    most = 2 ** draw.choice([5, 8, 16, 32, 63])
    return int, lambda rng, i: int(rng.integers(-most // 2, most // 2))


def _float(draw: random.Random) -> tuple[Any, Make]:
    return float, lambda rng, i: float(rng.random())


def _bool(draw: random.Random) -> tuple[Any, Make]:
    return bool, lambda rng, i: bool(rng.integers(0, 2))


def _str(draw: random.Random) -> tuple[Any, Make]:
    most, unit = draw.choice([3, 30, 300]), draw.choice(["a", "é", "漢"])
    return str, lambda rng, i: unit * int(rng.integers(0, most))


# What a reader has to have delivered.

Columns = Mapping[str, Any]
"""A batch: by field, an array of shape `(n, ...)` or a list of `n` values."""


def words(columns: Columns, numbers: Sequence[str]) -> int:
    """Every byte of the numbers and arrays in a batch, summed as 64-bit words."""
    return sum(_words(columns[name]) for name in numbers) & MASK


def _words(column: Any) -> int:
    if not isinstance(column, np.ndarray):
        values = [value for value in column if value is not None]
        if not values or isinstance(values[0], np.ndarray):
            return sum(map(_words, values))
        column = np.array(values)
    if column.dtype == bool:
        column = column.astype(np.int64)
    return int(np.ascontiguousarray(column).reshape(-1).view(np.uint64).sum())


def contents(columns: Columns, numbers: Sequence[str]) -> np.ndarray[Any, Any]:
    """The samples, the words, the items, the missing values and the text of a batch, as five sums; any order gives them."""
    rows = [
        column.tolist() if isinstance(column, np.ndarray) else column
        for name, column in columns.items()
        if name not in numbers
    ]
    texts = [value for column in rows for value in column if value is not None]
    items = missing = 0
    for name in numbers:
        column = columns[name]
        items += (
            column.size
            if isinstance(column, np.ndarray)
            else sum(np.size(value) for value in column if value is not None)
        )
        missing += 0 if isinstance(column, np.ndarray) else sum(value is None for value in column)
    missing += sum(map(len, rows)) - len(texts)
    text = sum(zlib.crc32(value.encode()) for value in texts)
    count = len(next(iter(columns.values())))
    return np.array([count, words(columns, numbers), items, missing, text], np.uint64)
