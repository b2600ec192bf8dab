"""Fields of every kind, as users declare them and look at their values."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

from atdata import Audio, ClassLabel, Doc, Dtype, Image, PackableSample, SampleBatch, Shape, Unit, Video


class Color(enum.Enum):
    RED = "red"


class Place(PackableSample):
    x: Annotated[float, Unit("m"), Doc("to the east")]
    y: float


class Shot(PackableSample):
    at: dt.datetime
    day: dt.date | None
    exposure: dt.timedelta
    price: Decimal
    id: uuid.UUID
    color: Color
    mode: Literal["auto", "manual"]
    label: Annotated[int, ClassLabel(names=["cat", "dog"])]
    place: Place
    track: list[Place]
    size: tuple[int, int]
    image: Image
    sound: Audio | None = None
    film: Video | None = None
    events: Annotated[NDArray[np.void], Dtype([("t", "<f8")]), Shape(None)] | None = None


picture = Image(np.zeros((2, 3, 3), np.uint8))
shot = Shot(
    at=dt.datetime.now(dt.UTC),
    day=None,
    exposure=dt.timedelta(milliseconds=4),
    price=Decimal("1.50"),
    id=uuid.uuid4(),
    color=Color.RED,
    mode="auto",
    label=1,
    place=Place(1.0, 2.0),
    track=[],
    size=(2, 3),
    image=picture,
)
again = Shot.from_bytes(shot.packed)
assert_type(again.at, dt.datetime)
assert_type(again.mode, Literal["auto", "manual"])
assert_type(again.label, int)
assert_type(again.place.x, float)
assert_type(again.image.data, bytes)
assert_type(again.image.media_type, str)
assert_type(again.image.array, NDArray[Any])
assert_type(ClassLabel(names=["cat"]).index("cat"), int)

batch = SampleBatch.of(Shot, [shot, again])
assert_type(batch.decode_images("image", size=(4, 4), mode="RGB"), NDArray[np.uint8])


def refused() -> None:
    Image(3)  # type: ignore[arg-type]
    Place("a", 2.0)  # type: ignore[arg-type]
    ClassLabel(names=3)  # type: ignore[arg-type]
