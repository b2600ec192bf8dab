"""Datasets as users read, select, change and write them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DatasetDict, DictSample, SampleBatch, load_dataset, write_samples


@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int


@atdata.packable
class Label:
    label: int


def is_odd(digit: Digit) -> bool:
    return digit.label % 2 == 1


def labelled(digit: Digit) -> Label:
    return Label(digit.label)


def doubled(digit: Digit) -> dict[str, int]:
    return {"twice": 2 * digit.label}


written = write_samples((Digit(np.full((2, 2), i, np.uint8), i) for i in range(10)), "digits-%06d.tar", maxcount=4)
assert_type(written, Dataset[Digit])
assert_type(write_samples([Label(1)], Path("labels.tar"), overwrite=True), Dataset[Label])

ds = Dataset[Digit]("digits-{000000..000002}.tar")
assert_type(ds, Dataset[Digit])
assert_type(Dataset(Path("digits-000000.tar"), sample_type=Digit), Dataset[Digit])
assert_type(Dataset(["digits-000000.tar", "digits-000001.tar"]), Dataset[Any])
assert_type(ds.sample_type, type[Digit])
assert_type(len(ds), int)

for sample in ds:
    assert_type(sample, Digit)
for sample in ds.shuffled(seed=1, mode="window"):
    assert_type(sample.label, int)
for batch in ds.ordered(4):
    assert_type(batch, SampleBatch[Digit])
for batch in ds.shuffled(batch_size=4, epoch=2):
    assert_type(batch.samples, list[Digit])
for row in Dataset("labels.tar"):
    print(row["label"], row.label)
for row in Dataset[DictSample]("labels.tar"):
    assert_type(row["label"], Any)

assert_type(ds[0], Digit)
assert_type(ds[-1].label, int)
assert_type(ds[0:3], SampleBatch[Digit])
assert_type(ds[[1, 2]], SampleBatch[Digit])
assert_type(ds[np.array([1, 2])], SampleBatch[Digit])
assert_type(ds.head(2), list[Digit])
assert_type(ds.get("000000000"), Digit)

assert_type(ds.select([1, 2]), Dataset[Digit])
assert_type(ds.take(3).skip(1), Dataset[Digit])
assert_type(ds.filter(is_odd), Dataset[Digit])
assert_type(ds.filter(lambda digit: digit.label > 3), Dataset[Digit])
assert_type(ds.columns("label"), Dataset[DictSample])
assert_type(ds.as_type(Label), Dataset[Label])
assert_type(ds.map(labelled), Dataset[Label])
assert_type(ds.map(lambda digit: Label(digit.label), Label), Dataset[Label])
assert_type(ds.map(doubled), Dataset[DictSample])
print([sample.label for sample in ds.filter(is_odd).map(labelled)], ds.map(doubled).head(1))

loader = ds.loader(4, shuffle="global", seed=1, equal_steps="pad")
for batch in loader:
    assert_type(batch, SampleBatch[Digit])
state = loader.state_dict()
loader.load_state_dict(state)
assert_type(ds.to_dict(), dict[str, Any])

everything = load_dataset(".", Digit, data_files={"train": "digits-*.tar"})
assert_type(everything, DatasetDict[Digit])
assert_type(everything["train"], Dataset[Digit])
for split, part in everything.items():
    assert_type(split, str)
    assert_type(part, Dataset[Digit])
assert_type(load_dataset("digits-*.tar", Digit, split="train"), Dataset[Digit])
assert_type(load_dataset("labels.tar"), DatasetDict[Any])


def takes_any(dataset: Dataset) -> None:
    assert_type(dataset, Dataset[Any])


takes_any(ds)


def refused() -> None:
    Dataset[Digit](3)  # type: ignore[arg-type]
    ds["first"]  # type: ignore[index]
    ds.filter(lambda label: label.text)  # type: ignore[attr-defined]
    ds.ordered("4")  # type: ignore[call-overload]
    ds.loader(4, shuffle="gobal")  # type: ignore[call-overload]
    print(ds.take(3).head(1)[0].text)  # type: ignore[attr-defined]
    takes_any([ds])  # type: ignore[arg-type]


mixed = atdata.mix({ds: 0.7, written.filter(is_odd): Fraction(1, 3)}, seed=1, stop="all")
assert_type(mixed, Dataset[Digit])
assert_type(atdata.mix([(ds, 1), (ds, 2)], stop=5), Dataset[Digit])
assert_type(atdata.mix({Dataset[Label]("labels.tar"): 1, ds: 2}), Dataset[Any])
assert_type(atdata.concat(ds, written).repeat(2), Dataset[Digit])
assert_type(ds.split({"train": 0.9, "val": 1}, seed=1, by="key"), DatasetDict[Digit])
mixed.loader(4).set_weights([1, Fraction(1, 2)])
