"""`DictSample`: rows whose type nobody declared."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples import DictSample, packable
from atdata.samples.npy import array_in, begins_like_array, encode_array
from support.arrays import SPECIMENS, identical


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    items: list[str]


DIGIT = Digit(np.arange(4, dtype="u1").reshape(2, 2), 7, ["a"])


def test_it_shows_the_fields_of_any_sample_as_a_mapping_and_as_attributes():
    sample = DictSample.from_bytes(DIGIT.packed)
    assert list(sample) == ["image", "label", "items"]
    assert len(sample) == 3
    assert "label" in sample
    assert identical(sample["image"], DIGIT.image)
    assert identical(sample.image, DIGIT.image)
    assert sample.label == sample["label"] == 7
    assert sample["items"] == ["a"]
    assert dict(sample.items())["label"] == 7  # the mapping's own methods win over a field of their name
    assert repr(sample) == "DictSample(image=<uint8 [2, 2]>, label=7, items=['a'])"


def test_it_gives_back_the_bytes_it_was_read_from_and_becomes_the_type():
    odd = b"\x82\xa5label\xd3" + (7).to_bytes(8, "big") + b"\xa4more\xc0"  # an int in more bytes than it needs
    assert DictSample.from_bytes(odd).packed == odd
    assert DictSample.from_bytes(odd).as_wds["msgpack"] == odd
    assert Digit.from_bytes(DictSample.from_bytes(DIGIT.packed).packed) == DIGIT


def test_it_is_equal_and_hashed_by_its_bytes():
    one, same, other = DictSample({"a": 1}), DictSample({"a": 1}), DictSample({"a": 2})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != {"a": 1}


@pytest.mark.parametrize("name", SPECIMENS)
def test_arrays_pass_through_it(name):
    assert identical(DictSample.from_bytes(DictSample({"x": SPECIMENS[name]}).packed).x, SPECIMENS[name])


def compact(array: np.ndarray, dtype: str | None = None) -> bytes:
    text = (dtype or array.dtype.str).encode()
    return bytes([len(text)]) + text + struct.pack(f"<B{array.ndim}q", array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("name", [name for name, array in SPECIMENS.items() if array.dtype.names is None])
def test_arrays_in_the_compact_form_pass_through_it(name):
    array = SPECIMENS[name]
    sample = DictSample.from_bytes(DictSample({"x": compact(array)}).packed)
    assert identical(sample.x, np.ascontiguousarray(array).reshape(array.shape))
    assert sample.x.flags.writeable
    assert DictSample.from_bytes(sample.packed) == sample, "the bytes are those that were read"


LIKE = {
    "npy: magic": b"\x93NUMPY",
    "npy: header": b"\x93NUMPY\x01\x00\x02\x00{}",
    "npy: short": encode_array(np.arange(3))[:-1],
    "npy: long": encode_array(np.arange(3)) + b"x",
    "short": compact(np.arange(3))[:-1],
    "long": compact(np.arange(3)) + b"x",
    "header": compact(np.arange(3))[:5],
    "negative": b"\x03<f4\x01" + struct.pack("<q", -1),
    "negative twice": b"\x03<f4\x02" + struct.pack("<2q", -1, -1) + bytes(4),
    "too many dimensions": b"\x03|u1\x21" + struct.pack("<33q", *[1] * 33) + b"a",
    "overflow": b"\x03<f4\x02" + struct.pack("<2q", 2**62, 4),
    "objects": b"\x03|O8\x01" + struct.pack("<q", 1) + bytes(8),
    "no text": b"\x03<U1\x01" + struct.pack("<q", 1) + b"\xff" * 4,
    "empty": compact(np.arange(0, dtype="f4")) + b"\0",
}
OTHER = {
    "nothing": b"",
    "a byte": b"\x03",
    "text": b"<f4",
    "a size that is no dtype": b"\x04<f4\x01" + bytes(12),
    "not as numpy writes it": compact(np.arange(3, dtype="f4"), "f4"),
    "native order": compact(np.arange(3, dtype="f4"), "=f4"),
    "a structure": b"\x05f4,f4\x00" + bytes(8),
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "msgpack": b"\x82\xa1a\x01\xa1b\x02",
}


@pytest.mark.parametrize("raw", [*LIKE.values(), *OTHER.values()], ids=[*LIKE, *OTHER])
def test_bytes_that_only_begin_like_an_array_stay_bytes(raw):
    assert DictSample.from_bytes(DictSample({"x": raw}).packed).x == raw


@pytest.mark.parametrize("raw", LIKE.values(), ids=list(LIKE))
def test_bytes_that_begin_like_an_array_are_told(raw):
    assert begins_like_array(raw)


@pytest.mark.parametrize("raw", OTHER.values(), ids=list(OTHER))
def test_other_bytes_are_not(raw):
    assert not begins_like_array(raw)


@given(st.binary(max_size=60) | st.builds(lambda tail: b"\x03<f4\x01" + tail, st.binary(max_size=30)))
def test_any_bytes_are_an_array_from_end_to_end_or_none(raw):
    array = array_in(raw)
    assert array is None or compact(array) == raw or raw.startswith(b"\x93NUMPY")


def test_it_does_not_change():
    sample = DictSample({"a": 1})
    with pytest.raises(AttributeError):
        sample.a = 2
    with pytest.raises(TypeError):
        sample["a"] = 2  # type: ignore[index]


def test_a_field_it_does_not_have_is_named_with_those_it_has():
    sample = DictSample({"a": 1, "b": 2})
    with pytest.raises(AttributeError, match="no field 'c'; it has 'a', 'b'"):
        _ = sample.c
    with pytest.raises(KeyError):
        sample["c"]
    assert not hasattr(sample, "__array__")


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"\x81\x01\x01", b"\x80\x00", b"\x81\xa1a\xd4\x01\x00"])
def test_what_is_no_map_of_fields_is_refused(data):
    with pytest.raises(SampleError):
        DictSample.from_bytes(data)
