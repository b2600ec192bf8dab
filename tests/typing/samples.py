"""Sample types as users declare and make them. A line with `type: ignore` is one that a checker must refuse."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, assert_type

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata import DictSample, ManifestField, PackableSample, SampleBatch, Shape


@atdata.packable
class Digit:
    image: Annotated[NDArray[np.uint8], Shape(2, 2)]
    label: Annotated[int, ManifestField("categorical")]
    note: str | None = None
    tags: list[str] = field(default_factory=list[str])


class Text(PackableSample):
    text: str
    length: int = 0


@atdata.packable
class Signed(Text):
    author: str = ""


pixels = np.zeros((2, 2), np.uint8)
floats = np.zeros((2, 2), np.float32)
digit = Digit(pixels, 3)
assert_type(digit, Digit)
assert_type(digit.label, int)
assert_type(digit.note, str | None)
assert_type(digit.tags, list[str])
digit = Digit(image=pixels, label=3, note="three", tags=["odd"])

text = Text("a", length=1)
assert_type(text, Text)
assert_type(text.packed, bytes)
assert_type(Text.from_bytes(text.packed), Text)
assert_type(text.as_wds, dict[str, Any])
assert_type(Signed("a", 1, author="b").text, str)

untyped = DictSample({"a": 1})
assert_type(untyped["a"], Any)
assert_type(untyped.packed, bytes)
for name in untyped:
    assert_type(name, str)

batch = SampleBatch.of(Digit, [digit, digit])
assert_type(batch, SampleBatch[Digit])
assert_type(batch.samples, list[Digit])
assert_type(len(batch), int)
assert_type(batch.columns, dict[str, Any])
print(batch.image.shape, batch["label"])


def refused() -> None:
    Digit(pixels)  # type: ignore[call-arg]
    Digit(pixels, "three")  # type: ignore[arg-type]
    Digit(floats, 3)  # type: ignore[arg-type]
    Digit(image=pixels, lable=3)  # type: ignore[call-arg]
    Text(1)  # type: ignore[arg-type]
    Text()  # type: ignore[call-arg]
    print(digit.lable)  # type: ignore[attr-defined]
    SampleBatch.of(Digit, 3)  # type: ignore[arg-type]
