"""Numbers and values in programs, which are JSON without floats: what is no integer below 2**53 stands as decimal text."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from atdata.errors import LensError, SchemaError
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, Scalar
from atdata.samples.kinds import Derived, Misfit
from atdata.samples.kinds.arrays import NUMBERS
from atdata.samples.kinds.field import Field
from atdata.schema import from_json_schema

LARGEST = 2**53 - 1
MOST = 10_000
"""Items of a constant, and pairs of a map of values."""

BEYOND = (ArithmeticError, RecursionError, MemoryError)
"""Errors of Python's that what a program says can lead to: they are its writer's. Any other is a fault of ours."""

_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,99})(\.\d{1,100})?([eE][+-]?\d{1,3})?")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,19})")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def exact(given: Any, where: str) -> Fraction:
    """The number that an integer or a decimal text says, exactly.

    Raises:
        LensError: it is none.
    """
    if type(given) is int and abs(given) <= LARGEST:
        return Fraction(given)
    if isinstance(given, str) and _DECIMAL.fullmatch(given):
        return Fraction(Decimal(given))
    raise LensError(
        "a program needs an exact number",
        path=where,
        expected='an integer, or decimal text such as "0.001"',
        actual=given,
    )


def node_field(name: str, node: Mapping[str, Any], where: str) -> Field:
    """The field that a node of a JSON Schema describes, as `schema` writes it.

    Raises:
        LensError: it describes none.
    """
    optional = isinstance(node.get("anyOf"), list)
    content = {"type": "object", "properties": {name: node}, "required": [] if optional else [name]}
    try:
        return from_json_schema("Sample", content).fields[0]
    except SchemaError as error:
        raise LensError(
            "a program names no possible type", path=where, actual=str(error.actual or error.what)
        ) from None


def constant(kind: FieldType, data: Any, where: str) -> Callable[[], Any]:
    """Makes the value of a kind that a program says, anew each time: text, truth values and `null` as they are; an integer as
    itself or as text; a float as an integer or as text, `nan`, `inf` and `-inf` among them; bytes as base64 in text; an
    array as `{"shape": [...], "items": [...]}`; what stands for one of these as that.

    Raises:
        LensError: it is none of this kind.
    """
    try:
        stored = _stored(kind, data)
        kind.decoder(stored)
    except Misfit as misfit:
        expected = misfit.expected
        raise LensError("a value in a program is not of its type", path=where, expected=expected, actual=data) from None
    decode = kind.decoder
    return lambda: decode(stored)


def _stored(kind: FieldType, data: Any) -> Any:
    """The stored value for a value in a program. It raises `Misfit`."""
    if isinstance(kind, Maybe):
        return None if data is None else _stored(kind.inner, data)
    if isinstance(kind, Derived):
        return _stored(kind.stored, data)
    if isinstance(kind, ListOf) and isinstance(data, list) and len(data) <= MOST:
        return [_stored(kind.inner, item) for item in data]
    if isinstance(kind, DictOf) and isinstance(data, dict) and len(data) <= MOST:
        return {key: _stored(kind.inner, item) for key, item in data.items()}
    if isinstance(kind, Array) and kind.scalar in NUMBERS:
        return kind.encoder(_array(kind, data))
    if isinstance(kind, Scalar):
        return _scalar(kind, data)
    raise Misfit(f"text, a number, a list, a dict or an array of numbers, not {kind}", type(data).__name__)


def _scalar(kind: Scalar, data: Any) -> Any:
    text = data if isinstance(data, str) else ""
    match kind.kind:
        case "int" if _INTEGER.fullmatch(text):
            return kind.encoder(int(text))
        case "float" if text in _SPECIAL:
            return _SPECIAL[text]
        case "float" if text == "-0":
            return -0.0
        case "float" if type(data) is int or _DECIMAL.fullmatch(text):
            return _double(data)
        case "bytes" if isinstance(data, str):
            try:
                return base64.b64decode(data, validate=True)
            except binascii.Error:
                raise Misfit("base64", "other text") from None
    return kind.encoder(data)


def _double(data: Any) -> float:
    """The double nearest to a number; the sizes of doubles end both ways. It raises `Misfit` beyond."""
    number = Fraction(Decimal(data)) if isinstance(data, str) else Fraction(data)
    try:
        value = float(number)
    except OverflowError:
        raise Misfit("a number that a double can hold", "a larger one") from None
    if number and not value:
        raise Misfit("a number that a double can hold, not one that becomes 0", "a smaller one")
    return value


def _array(kind: Array, data: Any) -> Any:
    shape, items = (data.get("shape"), data.get("items")) if isinstance(data, dict) and len(data) == 2 else (None, None)
    sizes = shape if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape) else None
    if sizes is None or not isinstance(items, list) or len(items) > MOST or math.prod(sizes) != len(items):
        raise Misfit('{"shape": [...], "items": [...]}', type(data).__name__)
    dtype = np.dtype(kind.scalar)
    code = Scalar("bool" if dtype.kind == "b" else "float" if dtype.kind == "f" else "int")
    if dtype.kind == "c":
        raise Misfit("an array of real numbers", str(dtype))
    try:
        with np.errstate(over="raise"):
            given = [_scalar(code, item) for item in items]
            array = np.array(given, dtype).reshape(sizes)
    except (OverflowError, FloatingPointError):
        raise Misfit(f"numbers of {dtype}", "larger ones") from None
    if np.count_nonzero(array) < sum(map(bool, given)):
        raise Misfit(f"numbers of {dtype}, not such that become 0", "smaller ones")
    return array


def check_plain_data(value: Any, where: str = "program", depth: int = 0) -> None:
    """Check that a value is JSON without floats and without integers that others round.

    Raises:
        LensError: a value is none; the path names it.
    """
    if depth > 16:
        raise LensError("a program is nested too deeply", path=where)
    if value is None or type(value) in (bool, str) or (type(value) is int and abs(value) <= LARGEST):
        return
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_plain_data(item, f"{where}[{number}]", depth + 1)
    elif isinstance(value, Mapping) and all(type(key) is str for key in value):
        for key, item in value.items():
            check_plain_data(item, f"{where}.{key}", depth + 1)
    else:
        raise LensError(
            "a program holds what JSON cannot say exactly",
            path=where,
            expected="text, truth values, null, integers up to 2**53 - 1, lists and objects",
            actual="a larger integer" if isinstance(value, int) else type(value).__name__,
            hint='Write other numbers as text: "0.001".',
        )
