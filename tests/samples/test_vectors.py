"""Foreign vectors: the msgpack test suite, and `.npy` files of another implementation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples import DictSample, packable
from atdata.samples.npy import decode_array, encode_array
from support.arrays import identical
from support.oracles import OWN_VECTORS, VECTORS, needs_vectors


@packable
class Of:
    """A field of each type; only one at a time is stored."""

    boolean: bool = False
    whole: int = 0
    real: float = 0.0
    text: str = ""
    raw: bytes = b""
    items: list | None = None
    table: dict | None = None
    plain: Any = 0
    array: NDArray | None = None


def cases() -> list[Any]:
    groups = json.loads((OWN_VECTORS / "msgpack-test-suite/dist/msgpack-test-suite.json").read_text())
    return [
        pytest.param(case, id=f"{group}-{number}")
        for group, members in groups.items()
        for number, case in enumerate(members)
    ]


def expectation(case: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What each field should hold for a case, and whether the case is one that no field holds."""
    if "binary" in case:
        return {"raw": bytes.fromhex(case["binary"].replace("-", ""))}, False
    if "bignum" in case:
        return {"whole": int(case["bignum"])}, False
    if "number" in case:
        number = case["number"]
        return ({"whole": int(number)} if number == int(number) else {}) | {"real": float(number)}, False
    if "nil" in case:
        return {"items": None}, False
    names = {"bool": "boolean", "string": "text", "array": "items", "map": "table"}
    ((kind, value),) = ((kind, case[kind]) for kind in case if kind != "msgpack")
    return ({names[kind]: value}, False) if kind in names else ({}, True)


@pytest.mark.parametrize("case", cases())
def test_every_encoding_of_a_value_gives_the_value_and_ours_is_among_them(case):
    encodings = [bytes.fromhex(text.replace("-", "")) for text in case["msgpack"]]
    fields, is_foreign = expectation(case)
    for name in vars(Of()):
        for encoding in encodings:
            stored = b"\x81" + bytes([0xA0 | len(name)]) + name.encode() + encoding
            number_as_float = name == "whole" and encoding[0] in (0xCA, 0xCB)
            if name in fields and not number_as_float:
                value = getattr(Of.from_bytes(stored), name)
                assert value == fields[name]
                assert type(value) is type(fields[name])
            elif is_foreign or number_as_float:
                with pytest.raises(SampleError):
                    Of.from_bytes(stored)
    for name, value in fields.items():
        listed = [encoding for encoding in encodings if name != "real" or encoding[0] == 0xCB]  # a float stays one
        packed = Of(**{name: value}).packed
        assert not listed or any(name.encode() + encoding in packed for encoding in listed)
    for value in [case.get(kind) for kind in ("bool", "string", "array", "map") if kind in case]:
        assert DictSample({"x": value}).packed[3:] in encodings


@needs_vectors
@pytest.mark.parametrize("name", ["c-order", "f-order", "plain", "structured", "unicode/ok"])
def test_arrays_of_another_implementation_are_read_as_numpy_reads_them(name):
    path = VECTORS / f"npy-npyz/test-data/{name}.npy"
    oracle = np.load(path)
    array = decode_array(path.read_bytes())
    assert identical(array, oracle)
    assert identical(decode_array(encode_array(array)), oracle)


@needs_vectors
@pytest.mark.parametrize("name", ["pickle", "unicode/surrogate", "unicode/surrogate-pair"])
def test_arrays_that_are_no_values_are_refused(name):
    with pytest.raises(SampleError):
        decode_array((VECTORS / f"npy-npyz/test-data/{name}.npy").read_bytes())


@needs_vectors
def test_archives_of_arrays_are_refused():
    archives = [p for p in (VECTORS / "npy-npyz/test-data").rglob("*") if p.suffix == ".npz"]
    assert len(archives) == 13
    for path in archives:
        with pytest.raises(SampleError):
            decode_array(path.read_bytes())
