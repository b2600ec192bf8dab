"""Lenses that break a law, and lenses that keep them. Most of the first would pass a check that compares with `==`, or that
compares some model of the samples and not what is stored.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import itertools
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.errors import NoHomeError
from atdata.lens import Identity, Lens, Projection, Ulps
from atdata.samples import ClassLabel, Shape, packable
from atdata.schema import schema_of, type_of
from support.kinds import Color, Inner, Level

_types: dict[str, Any] = {}


def held(annotation: Any) -> Any:
    """The type of samples with a number, a value of some kind, and a text."""
    declared = {"__annotations__": {"n": int, "value": annotation, "text": str}, "__module__": __name__}
    if str(annotation) not in _types:
        _types[str(annotation)] = packable(type("Held", (), declared))
    return _types[str(annotation)]


def same(value: Any) -> Any:
    return value


def newer(new: Any, _old: Any) -> Any:
    return new


def on(annotation: Any, get: Callable[[Any], Any] = same, put: Callable[[Any, Any], Any] = newer) -> Lens[Any, Any]:
    """The lens that does something to the field `value`, and nothing to others."""
    kind = held(annotation)
    return Lens(
        lambda s: dataclasses.replace(s, value=get(s.value)),
        lambda v, s: dataclasses.replace(v, value=put(v.value, s.value)),
        source_type=kind,
        view_type=kind,
        name="planted",
    )


def through(annotation: Any, change: Callable[[Any], Any]) -> Lens[Any, Any]:
    """The same, where only the way back changes something."""
    return on(annotation, put=lambda new, _: change(new))


def in_seconds(duration: dt.timedelta) -> dt.timedelta:
    try:
        return dt.timedelta(seconds=duration.total_seconds())
    except OverflowError as error:  # rounded beyond the longest
        raise NoHomeError("too long") from error


@packable
class Log:
    x: int
    edits: int
    history: list[str]


@packable
class Entry:
    x: int


@packable
class Metres:
    length: float
    n: int


@packable
class Feet:
    size: float
    n: int


def logged(put: Callable[[Any, Any], Any], get: Callable[[Any], Any] = lambda s: Entry(s.x)) -> Lens[Any, Any]:
    return Lens(get, put, source_type=Log, view_type=Entry, name="planted")


def scaled(factor: float, rounding: Any, *, put: Any = None, home: Callable[[float], float] = same) -> Lens[Any, Any]:
    """Metres times a factor, where what is not changed stays."""

    def back(v: Any, s: Any) -> Any:
        kept = Feet(home(s.length * factor), s.n)
        length = s.length if kept.packed == Feet(v.size, s.n).packed else home((put or (lambda x: x / factor))(v.size))
        return Metres(length, v.n)

    made = Lens(lambda s: Feet(home(s.length * factor), s.n), back, source_type=Metres, view_type=Feet, name="scaled")
    made.rounding = rounding
    return made


class Counting:
    """A getter that counts."""

    def __init__(self) -> None:
        self.count = itertools.count()

    def __call__(self, s: Any) -> Any:
        return Entry(s.x + next(self.count))


class Remembering:
    """A putter that keeps the first view."""

    def __init__(self) -> None:
        self.first: Any = None

    def __call__(self, v: Any, s: Any) -> Any:
        self.first = self.first or v
        return Log(self.first.x, s.edits, s.history)


class Caching:
    """A lens that shows what was put last."""

    def __init__(self) -> None:
        self.last: Any = None

    def get(self, s: Any) -> Any:
        return self.last or Entry(s.x)

    def put(self, v: Any, s: Any) -> Any:
        self.last = v
        return Log(s.x, s.edits, s.history)


class Buffered:
    """A getter that fills the same array each time."""

    def __init__(self) -> None:
        self.buffer = np.zeros(2, "f4")

    def __call__(self, value: Any) -> Any:
        self.buffer[:] = value
        return self.buffer


class Careless(Projection):
    """A projection that maps columns to others than `get` gives."""

    def map_columns(self, columns: Any, count: int) -> Any:
        return {**super().map_columns(columns, count), "text": ["x"] * count}


def refill(new: list[Any], old: list[Any]) -> list[Any]:
    old[:] = new
    return old


def arranged(new: list[Any], _old: list[Any]) -> list[Any]:
    new.sort()
    return list(new)


def _raises(error: Exception) -> Any:
    raise error


def _caching() -> Lens[Any, Any]:
    cache = Caching()
    return logged(cache.put, cache.get)


LARGE = 1.7976931348623157e308
FLOATS = NDArray[np.float32]

PLANTED: dict[str, Callable[[], Lens[Any, Any]]] = {
    # numbers
    "adds 0.0, which loses -0.0": lambda: through(float, lambda x: x + 0.0),
    "shows -0.0 as 0.0": lambda: on(float, get=lambda x: x + 0.0),
    "makes every NaN the usual one": lambda: through(float, lambda x: float("nan") if x != x else x),
    "makes NaN None": lambda: through(float | None, lambda x: None if x != x else x),
    "clips infinities": lambda: through(float, lambda x: max(min(x, LARGE), -LARGE)),
    "goes through 32 bits": lambda: through(float, lambda x: float(np.float32(x))),
    "goes through text of 15 digits": lambda: through(float, lambda x: x if x != x else float(f"{x:.15g}")),
    "flushes what is subnormal": lambda: through(float, lambda x: x if not 0 < abs(x) < 2.2250738585072014e-308 else 0.0),
    "goes through a float": lambda: through(int, lambda n: min(int(float(n)), 2**64 - 1)),
    "clips to 32 bits": lambda: through(int, lambda n: min(n, 2**31 - 1)),
    "wraps at 64 bits": lambda: through(int, lambda n: n - 2**64 if n >= 2**63 else n),
    "loses the sign": lambda: through(int, abs),
    # anything
    "takes 0 for False": lambda: through(Any, lambda x: bool(x) if type(x) is int and x in (0, 1) else x),
    "takes True for 1": lambda: through(Any, lambda x: int(x) if isinstance(x, bool) else x),
    "makes whole floats ints": lambda: through(Any, lambda x: int(x) if isinstance(x, float) and x == 0 else x),
    "makes bytes text": lambda: through(Any, lambda x: x.decode("latin-1") if isinstance(x, bytes) else x),
    # text
    "normalizes text": lambda: through(str, lambda x: unicodedata.normalize("NFC", x)),
    "strips text": lambda: through(str, str.strip),
    "lowers text": lambda: through(str, str.lower),
    "ends text at NUL": lambda: through(str, lambda x: x.split("\0")[0]),
    "changes ends of lines": lambda: through(str, lambda x: x.replace("\r\n", "\n")),
    "knows latin-1 alone": lambda: through(str, lambda x: x.encode("latin-1", "replace").decode("latin-1")),
    "knows 16 bits of Unicode": lambda: through(str, lambda x: "".join(chr(ord(c) & 0xFFFF if ord(c) > 0xFFFF else ord(c)) for c in x)),
    "cuts text at 32": lambda: through(str, lambda x: x[:32]),
    "cuts text at 255": lambda: through(str, lambda x: x[:255]),
    "cuts bytes at 512": lambda: through(bytes, lambda x: x[:512]),
    "cuts lists at 50": lambda: through(list[str], lambda x: x[:50]),
    "cuts lists of numbers at 8": lambda: through(list[float], lambda x: x[:8]),
    "cuts maps at 50": lambda: through(dict[str, int], lambda x: dict(itertools.islice(x.items(), 50))),
    "cuts arrays at 256": lambda: through(NDArray[np.float32], lambda x: x[:256] if x.ndim else x),
    "makes no text None": lambda: through(str | None, lambda x: x or None),
    "makes None no text": lambda: on(str | None, get=lambda x: x or ""),
    "strips zeros off bytes": lambda: through(bytes, lambda x: x.rstrip(b"\0")),
    # arrays
    "turns the bytes of arrays": lambda: through(FLOATS, lambda x: x.astype("<f4")),
    "loses Fortran's order": lambda: through(FLOATS, lambda x: np.ascontiguousarray(x).reshape(x.shape)),
    "widens arrays": lambda: through(NDArray[Any], lambda x: x.astype("f4") if x.dtype == np.float16 else x),
    "gives arrays a dimension": lambda: through(FLOATS, np.atleast_1d),
    "goes through lists": lambda: through(FLOATS, lambda x: np.array(x.tolist(), x.dtype, order="F" if x.flags.f_contiguous else "C")),
    "clips pixels": lambda: through(NDArray[np.uint8], lambda x: np.minimum(x, 254)),
    "adds 0, in arrays": lambda: through(FLOATS, lambda x: (x + np.float32(0)).astype(x.dtype)),
    "fills NaN in arrays": lambda: through(FLOATS, lambda x: np.where(np.isnan(x), np.float32(0), x).astype(x.dtype, order="A")),
    "sorts arrays": lambda: through(Annotated[NDArray[np.int32], Shape(None)], np.sort),
    "fills one array again and again": lambda: on(Annotated[FLOATS, Shape(2)], get=Buffered()),
    # containers
    "sorts lists": lambda: through(list[str], sorted),
    "drops what stands twice": lambda: through(list[str], lambda x: list(dict.fromkeys(x))),
    "knows lists of one": lambda: through(list[int], lambda x: x[:1]),
    "fills the list of the source": lambda: on(list[str], put=refill),
    "sorts the list of the view": lambda: on(list[str], put=arranged),
    "sorts dicts": lambda: through(dict[str, int], lambda x: dict(sorted(x.items()))),
    "drops None in dicts": lambda: through(dict[str, int | None], lambda x: {k: v for k, v in x.items() if v is not None}),
    "normalizes keys": lambda: through(dict[str, int], lambda x: {unicodedata.normalize("NFC", k): v for k, v in x.items()}),
    "forgets a field of a nested sample": lambda: through(Inner, lambda x: dataclasses.replace(x, at=None)),
    # moments and others
    "drops offsets": lambda: through(dt.datetime, lambda x: x.replace(tzinfo=None)),
    "drops microseconds": lambda: through(dt.datetime, lambda x: x.replace(microsecond=0)),
    "turns moments to UTC": lambda: through(dt.datetime, lambda x: x if x.tzinfo is None else x.astimezone(dt.UTC)),
    "counts seconds in floats": lambda: through(dt.timedelta, in_seconds),
    "normalizes decimals": lambda: through(Decimal, lambda x: x if x.is_nan() else x.normalize()),
    "encodes pictures again": lambda: through(atdata.Image, lambda x: atdata.Image(x.array)),
    "knows one member": lambda: through(Level, lambda x: Level.LOW),
    "knows one class": lambda: through(Annotated[int, ClassLabel(["a", "b", "c"])], lambda n: min(n, 1)),
    # ways of putting
    "never puts a field": lambda: Lens(lambda s: s, lambda v, s: dataclasses.replace(v, n=s.n), source_type=held(int), view_type=held(int)),
    "keeps what was there for None": lambda: on(int | None, put=lambda new, old: old if new is None else new),
    "keeps what was there for no text": lambda: on(str, put=lambda new, old: new or old),
    "keeps the larger": lambda: on(int, put=max),
    "counts changes": lambda: logged(lambda v, s: Log(v.x, s.edits + (v.x != s.x), s.history)),
    "keeps a history": lambda: logged(lambda v, s: Log(v.x, s.edits, [*s.history, str(s.x)] if v.x != s.x else s.history)),
    "resets what is not seen": lambda: logged(lambda v, s: Log(v.x, 0, s.history)),
    # state
    "counts its calls": lambda: logged(lambda v, s: Log(v.x, s.edits, s.history), Counting()),
    "keeps the first view": lambda: logged(Remembering()),
    "shows what was put last": _caching,
    # no value, or none of that type
    "fails for no items": lambda: on(list[str], get=lambda x: [x[0], *x[1:]]),
    "gives a dict": lambda: logged(lambda v, s: s, lambda s: {"x": s.x}),
    "returns nothing": lambda: logged(lambda v, s: None),
    "gives a tuple for a list": lambda: through(list[int], lambda x: tuple(x) if len(x) > 1 else x),
    "has no home for what was there": lambda: on(int, put=lambda new, old: new if new != old or old < 3 else _raises(NoHomeError("none"))),
    # rounding and columns
    "rounds more than it says": lambda: scaled(3.28084, {"size": 1, "length": 1}, put=lambda x: x * (1 / 3.28084) * (1 + 4e-16)),
    "rounds and says nothing": lambda: scaled(3.28084, {}, home=lambda x: x if abs(x) < 1e300 else _raises(NoHomeError("far"))),
    "overflows": lambda: scaled(3.28084, {"size": 8, "length": 8}),
    "maps columns to others": lambda: Careless(held(float), held(float)),
}  # fmt: skip


def lens(source: Any, view: Any, get: Any, put: Any, name: str = "good", rounding: Any = None) -> Lens[Any, Any]:
    made = Lens(get, put, source_type=source, view_type=view, name=name)
    made.rounding = rounding or {}
    return made


@packable
class Person:
    first: str
    last: str
    born: dt.date | None


@packable
class Name:
    name: str


@packable
class Wrapped:
    items: list[float]


@packable
class Bare:
    item: float


@packable
class Outer:
    id: int
    inner: Inner


@packable
class Hoisted:
    id: int
    x: float
    words: list[str]


@packable
class Signal:
    left: Annotated[NDArray[np.float32], Shape(2)]
    right: Annotated[NDArray[np.float32], Shape(None)]


@packable
class Joined:
    signal: Annotated[NDArray[np.float32], Shape(None)]


@packable
class Whole:
    number: int


@packable
class Real:
    number: float


@packable
class Painted:
    color: Color
    grid: NDArray[Any]


@packable
class Coded:
    code: str
    grid: NDArray[Any]


@packable
class Encoded64:
    text: str


@packable
class Blob:
    data: bytes


def split(v: Any, s: Any) -> Any:
    first, found, last = v.name.partition(" ")
    if not found:
        raise NoHomeError("no space in the name")
    return Person(first, last, s.born)


def full_name(s: Any) -> Any:
    if " " in s.first:
        raise NoHomeError("a space in the first name")
    return Name(f"{s.first} {s.last}")


def one_of(s: Any) -> Any:
    if len(s.items) != 1:
        raise NoHomeError("not one item")
    return Bare(s.items[0])


def wrapped(v: Any, _: Any) -> Any:
    if len(v.items) != 1:
        raise NoHomeError("not one item")
    return Bare(v.items[0])


def halves(v: Any, _: Any) -> Any:
    if len(v.signal) < 2:
        raise NoHomeError("too short")
    return Signal(v.signal[:2], v.signal[2:])


def both(s: Any) -> Any:
    if s.left.dtype != s.right.dtype:
        raise NoHomeError("two orders of bytes")
    return Joined(np.concatenate([s.left, s.right]).astype(s.left.dtype))


def exact(number: int) -> float:
    if int(float(number)) != number:
        raise NoHomeError("more than a float holds")
    return float(number)


def back_to_int(number: float) -> int:
    if not -(2.0**63) <= number < 2.0**64 or number != int(number) or str(number) == "-0.0":
        raise NoHomeError("no whole number")
    return int(number)


def decoded(v: Any, _: Any) -> Any:
    try:
        data = base64.b64decode(v.text, validate=True)
    except ValueError:
        raise NoHomeError("no base64") from None
    if base64.b64encode(data).decode() != v.text:
        raise NoHomeError("base64 that is not canonical")
    return Blob(data)


def finite(number: float) -> float:
    if number in (float("inf"), -float("inf")):
        raise NoHomeError("too large")
    return number


def narrowed(s: Any) -> Any:
    with np.errstate(over="ignore"):
        small = float(np.float32(s.length))
    if small in (float("inf"), -float("inf")) and s.length != small:
        raise NoHomeError("too large")
    return Feet(small, s.n)


def widened(v: Any, s: Any) -> Any:
    if v.size == v.size and abs(v.size) != float("inf") and float(np.float32(v.size)) != v.size:
        raise NoHomeError("more than 32 bits")
    old = narrowed(Metres(s.length, s.n)) if abs(s.length) < 3e38 or s.length != s.length else None
    kept = old is not None and old.packed == Feet(v.size, s.n).packed
    return Metres(s.length if kept else v.size, v.n)


def by_offset(v: Any, s: Any) -> Any:
    kept = Feet(finite(s.length * 1.8 + 32.0), s.n).packed == Feet(v.size, s.n).packed
    return Metres(s.length if kept else finite((v.size - 32.0) / 1.8), v.n)


def _schema_of_person() -> Any:
    return type_of(schema_of(Person))


GOOD: dict[str, Callable[[], Lens[Any, Any]]] = {
    "identity": lambda: Identity(Outer),
    "projection": lambda: Projection(Log, Entry),
    "identity of any array": lambda: Identity(held(NDArray[Any])),
    "identity of anything": lambda: Identity(held(Any)),
    "identity of what a schema says": lambda: Identity(_schema_of_person()),
    "renamed": lambda: lens(Blob, held(bytes), lambda s: held(bytes)(0, s.data, ""), lambda v, s: Blob(v.value) if (v.n, v.text) == (0, "") else _raises(NoHomeError("added"))),
    "negated": lambda: on(float, get=lambda x: -x, put=lambda new, _: -new),
    "reversed text": lambda: on(str, get=lambda x: x[::-1], put=lambda new, _: new[::-1]),
    "transposed": lambda: on(NDArray[Any], get=lambda x: x.T, put=lambda new, _: new.T),
    "hidden fields are kept": lambda: logged(lambda v, s: Log(v.x, s.edits, s.history)),
    "split at a space": lambda: lens(Person, Name, full_name, split),
    "a list of one": lambda: lens(Wrapped, Bare, one_of, lambda v, _: Wrapped([v.item])),
    "wrapped": lambda: lens(Bare, Wrapped, lambda s: Wrapped([s.item]), wrapped),
    "hoisted": lambda: lens(Outer, Hoisted, lambda s: Hoisted(s.id, s.inner.x, s.inner.words), lambda v, s: Outer(v.id, dataclasses.replace(s.inner, x=v.x, words=v.words))),
    "joined arrays": lambda: lens(Signal, Joined, both, halves),
    "ints as floats": lambda: lens(Whole, Real, lambda s: Real(exact(s.number)), lambda v, _: Whole(back_to_int(v.number))),
    "members as text": lambda: lens(Painted, Coded, lambda s: Coded(s.color.value, s.grid), lambda v, _: Painted(Color(v.code), v.grid) if v.code in ("red", "grün") else _raises(NoHomeError("no color"))),
    "base64": lambda: lens(Blob, Encoded64, lambda s: Encoded64(base64.b64encode(s.data).decode()), decoded),
    "scaled, and says how it rounds": lambda: scaled(3.28084, {"size": 1, "length": 1}, home=finite),
    "scaled by a power of two": lambda: on(int, get=lambda n: n ^ 1, put=lambda new, _: new ^ 1),
    "offset": lambda: lens(Metres, Feet, lambda s: Feet(finite(s.length * 1.8 + 32.0), s.n), by_offset, rounding={"size": Ulps(2, 32.0), "length": Ulps(2, 32.0 / 1.8)}),
    "narrowed": lambda: lens(Metres, Feet, narrowed, widened, rounding={"length": Ulps(1, format="float32"), "size": Ulps(0)}),
    "two after each other": lambda: lens(Bare, Wrapped, lambda s: Wrapped([s.item]), wrapped) | Identity(Wrapped),
}  # fmt: skip
