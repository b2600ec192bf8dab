"""`DictSample`: rows whose type nobody declared."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from arrays import SPECIMENS, identical
from atdata.errors import SampleError
from atdata.samples import DictSample, packable
from atdata.samples.npy import encode_array


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


def test_bytes_that_only_begin_like_an_array_stay_bytes():
    for raw in (b"\x93NUMPY", b"\x93NUMPY\x01\x00\x02\x00{}", encode_array(np.arange(3))[:-1]):
        assert DictSample.from_bytes(DictSample({"x": raw}).packed).x == raw


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
