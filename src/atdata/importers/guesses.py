"""Field types from values: the lattice of what values have in common, and columns that climb it row by row.

A `Guess` is a point of the lattice. `join` gives the closest point above two of them; it is commutative, associative
and idempotent, so that neither the order of rows nor where a file is cut changes what is inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np

from atdata.errors import SampleError
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, Plain, Scalar, Shape
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.arrays import PORTABLE
from atdata.samples.npy import encode_array

MAX_DEPTH = 8  # of lists in lists that are told apart; what is deeper is `Any`


class Bound(Enum):
    """Kinds of values in a column that are no field types."""

    NOTHING = "nothing"  # no value seen yet
    WHOLE = "int"  # ints, and some of them no float holds
    CLASH = "no one type"  # no field holds these values side by side

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Items:
    """Lists, and what their items have in common."""

    item: Guess

    def __str__(self) -> str:
        return f"list[{self.item}]"


Core: TypeAlias = Scalar | Array | Items | DictOf | Plain | Bound


@dataclass(frozen=True)
class Guess:
    """A guess at the type that some values have in common, and whether `None` is among them."""

    core: Core = Bound.NOTHING
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.core} | None" if self.optional else str(self.core)


NONE = Guess(optional=True)
STR, INT, FLOAT = Guess(Scalar("str")), Guess(Scalar("int")), Guess(Scalar("float"))
BOOL, BYTES = Guess(Scalar("bool")), Guess(Scalar("bytes"))
WHOLE = Guess(Bound.WHOLE)
DICT = Guess(DictOf(Plain()))
_GUESSES = {type(None): NONE, str: STR, float: FLOAT, bool: BOOL, bytes: BYTES}
_ENCODE = Plain().encoder
_EXACT, _DEPTH = 2**53, 32
INT64_MIN, UINT64_MAX = -(2**63), 2**64 - 1


def guess_of(value: Any, depth: int = 0) -> Guess:
    """The type of one value.

    Raises:
        SampleError: no sample can hold it.
    """
    kind = type(value)
    if kind is int:
        return guess_of_int(value)
    if kind is dict or (kind is list and depth == MAX_DEPTH):  # whose parts are not told apart
        if not _is_plain(value):
            try:
                _ENCODE(value)
            except Misfit as misfit:
                raise misfit.as_error("a sample cannot hold such a value") from None
        return DICT if kind is dict else Guess(Plain())
    if kind is list:
        return Guess(_items(reduce(join, (guess_of(item, depth + 1) for item in value), Guess())))
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            encode_array(value)  # text may be no Unicode, a dtype may have no portable bytes
        return _guess_of_array(value.dtype.type, value.shape)
    if kind is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise SampleError("text is not valid Unicode", actual=ascii(value)[:80]) from None
    if kind not in _GUESSES:
        raise SampleError("a sample cannot hold such a value", actual=kind.__name__)
    return _GUESSES[kind]


def _is_plain(value: Any, depth: int = 1) -> bool:
    """True for a dict or list of what JSON has, which needs no closer look: this is asked of each row."""
    inside = depth < _DEPTH
    if type(value) is dict:
        if not all(type(key) is str and key.isascii() for key in value):
            return False
        value = value.values()
    for item in value:
        kind = type(item)
        if kind is str:
            if not item.isascii():
                return False
        elif kind is int:
            if not -_EXACT < item < _EXACT:
                return False
        elif kind is dict or kind is list:
            if not (inside and _is_plain(item, depth + 1)):
                return False
        elif kind is not float and kind is not bool and item is not None:
            return False
    return True


def guess_of_int(value: int) -> Guess:
    """The type of an int: some are beyond what a float holds.

    Raises:
        SampleError: it has more than 64 bits.
    """
    if not INT64_MIN <= value <= UINT64_MAX:
        raise SampleError("an int has more than 64 bits", actual=f"an int of {value.bit_length()} bits")
    return INT if float(value) == value else WHOLE


@lru_cache(maxsize=4096)
def _guess_of_array(scalar: type[np.generic], shape: tuple[int, ...]) -> Guess:
    return Guess(Array(PORTABLE.get(scalar, scalar), Shape(*shape)))


def join(one: Guess, other: Guess) -> Guess:
    """The closest type that holds what either holds.

    int and float meet in float unless an int would lose digits; None makes a type optional; arrays keep of dtype and
    shape what they share; lists meet in their items. Inside lists, unlike values meet in `Any`, which holds no arrays.
    """
    return Guess(_join(one.core, other.core), one.optional or other.optional)


def _join(one: Core, other: Core) -> Core:
    if one == other or other is Bound.NOTHING:
        return one
    if one is Bound.NOTHING:
        return other
    match one, other:
        case Array(), Array():
            return Array(one.scalar if one.scalar is other.scalar else None, _join_shapes(one.shape, other.shape))
        case Items(), Items():
            return _items(join(one.item, other.item))
    kinds = {one, other}
    if kinds == {INT.core, FLOAT.core}:
        return FLOAT.core
    if kinds == {INT.core, Bound.WHOLE}:
        return Bound.WHOLE
    return Bound.CLASH if _holds_arrays(one) or _holds_arrays(other) else Plain()


def _join_shapes(one: Shape | None, other: Shape | None) -> Shape | None:
    """Each dimension's size where it is always the same; nothing where their number differs."""
    if one is None or other is None or len(one.dims) != len(other.dims):
        return None
    return Shape(*(size if size == second else None for size, second in zip(one.dims, other.dims, strict=True)))


def _items(item: Guess) -> Core:
    return Bound.CLASH if item.core is Bound.CLASH else Items(item)


def _holds_arrays(core: Core) -> bool:
    if isinstance(core, Items):
        return _holds_arrays(core.item.core)
    return isinstance(core, Array) or core is Bound.CLASH


def settle(guess: Guess) -> FieldType:
    """The field type of a guess that is not a clash. Where no value was seen, any is taken."""
    core: FieldType
    match guess.core:
        case Items(item):
            core = ListOf(settle(item))
        case Bound():
            assert guess.core is not Bound.CLASH
            core = Scalar("int") if guess.core is Bound.WHOLE else Plain()
        case _:
            core = guess.core
    return Maybe(core) if guess.optional and not isinstance(core, Plain) else core


def fit(value: Any, field_type: FieldType) -> Any:
    """The same value as its column's type has it: an int among floats becomes one."""
    match field_type:
        case Scalar("float"):
            return float(value)
        case Maybe(inner):
            return None if value is None else fit(value, inner)
        case ListOf(item) if not isinstance(item, Plain):
            return [fit(one, item) for one in value]
    return value


@dataclass
class InferredColumn:
    """The inferred type of a column, updated row by row.

    Attributes:
        guess: what its values so far have in common.
        rows: how many there were.
        empty: how many of them were `None`.
        clash: the first two that have no one type: what each is, and where.
    """

    guess: Guess = Guess()
    rows: int = 0
    empty: int = 0
    clash: tuple[Guess, str, Guess, str] | None = None
    _where: str = ""

    def add(self, guess: Guess, where: Callable[[], str], count: int = 1) -> None:
        """Take in `count` values of one type. `where` is asked only when they change something."""
        self.rows += count
        if guess is NONE:
            self.empty += count
        if guess is self.guess or guess == self.guess:
            return
        joined = join(self.guess, guess)
        if joined.core != self.guess.core:
            place = where()
            if self.clash is None and (isinstance(joined.core, Plain) or joined.core is Bound.CLASH):
                self.clash = self.guess, self._where, guess, place
            self._where = place
        self.guess = joined


class Columns:
    """The columns of rows that come as mappings. A row need not have every column."""

    def __init__(self, uri: str) -> None:
        self.uri, self.rows = uri, 0
        self._columns: dict[str, InferredColumn] = {}

    def add_row(self, row: Mapping[str, Any], where: str, declared: Container[str] = ()) -> None:
        """Take in one row. Values of declared columns may be any.

        Raises:
            SampleError: no sample can hold one of its values; `path` names it.
        """
        self.rows += 1
        for name, value in row.items():
            if name in declared:
                self._columns.setdefault(name, InferredColumn()).rows += 1
                continue
            try:
                guess = guess_of(value)
            except SampleError as error:
                raise SampleError(
                    error.what,
                    uri=self.uri,
                    path=f"{where}, {name}{error.path or ''}",
                    expected=error.expected,
                    actual=error.actual,
                    hint=error.hint,
                ) from error
            self._columns.setdefault(name, InferredColumn()).add(guess, lambda: where)

    def fields(self, declared: Container[str] = ()) -> list[tuple[str, FieldType]]:
        """Name and type of each column, in the order they were first seen.

        Raises:
            SampleError: a column holds values that have no one type; the error names two of them.
        """
        for name, column in self._columns.items():
            if column.clash is not None:
                raise clash_error(self.uri, name, column.clash)
        return [
            (name, Plain() if name in declared else settle(self._whole(column)))
            for name, column in self._columns.items()
        ]

    def notes(self, declared: Container[str] = ()) -> list[str]:
        """Notes about what was decided about the columns, for people."""
        return [
            note
            for name, column in self._columns.items()
            if name not in declared
            for note in describe(name, self._whole(column), column.empty + self.rows - column.rows)
        ]

    def _whole(self, column: InferredColumn) -> Guess:
        return join(column.guess, NONE) if column.rows < self.rows else column.guess


def describe(name: str, guess: Guess, empty: int) -> list[str]:
    """A note about what was decided about one column, for people."""
    notes = []
    if guess.core is Bound.NOTHING:
        notes.append(f"{name}: no row has a value, so any is taken")
    elif empty:
        notes.append(f"{name}: empty in {rows(empty)}, so it is optional")
    if isinstance(guess.core, Array) and guess.core.scalar is None:
        notes.append(f"{name}: arrays of different dtypes, so its dtype is open")
    return notes


def rows(count: int) -> str:
    """A number of rows in words."""
    return "1 row" if count == 1 else f"{count} rows"


def clash_error(uri: str, name: str, clash: tuple[Guess, str, Guess, str]) -> SampleError:
    """The error for a column whose values have no one type."""
    first, first_where, second, second_where = clash
    return SampleError(
        f"the values of {name!r} are of several types",
        uri=uri,
        path=f"{second_where}, {name}",
        expected=f"{first.core}, as in {first_where}",
        actual=str(second.core),
        hint="A field has one type: convert the values, or give those of another type a field of their own.",
    )
