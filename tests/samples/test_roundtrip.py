"""What goes in comes out: every value of every field type, bit-equal, with its dtype."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.samples import DictSample, PackableSample, Shape, packable
from atdata.samples.npy import decode_array, encode_array
from support.arrays import ALIGNED, NESTED, SPECIMENS, arrays, fill, identical, simple_arrays


@packable
class Holder:
    x: NDArray


@packable
class Everything:
    text: str
    number: int
    real: float
    flag: bool
    raw: bytes
    words: list[str]
    table: dict
    maybe: float | None
    image: NDArray[np.float32]
    images: list[NDArray] | None


def there_and_back(sample: Any) -> Any:
    return type(sample).from_bytes(sample.packed)


@pytest.mark.parametrize("name", SPECIMENS)
def test_an_array_comes_back_bit_equal(name):
    array = SPECIMENS[name]
    back = there_and_back(Holder(array)).x
    assert identical(back, array)
    assert back.flags.writeable
    assert back.flags.owndata or back.base.flags.owndata
    assert there_and_back(Holder(array)) == Holder(array)
    assert there_and_back(Holder(array)).packed == Holder(array).packed


@given(arrays)
def test_any_array_comes_back_bit_equal_and_numpy_reads_the_same(array):
    stored = encode_array(array)
    back = decode_array(stored)
    assert identical(back, np.asarray(array))
    assert encode_array(back) == stored  # in the same order, too
    assert identical(np.load(io.BytesIO(stored)), back)


@given(arrays, st.sampled_from([(1, 0), (2, 0), (3, 0), None]))
def test_what_numpy_writes_is_read(array, version):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that only newer numpy reads version 3
        np.lib.format.write_array(file, array, version if array.dtype.names is None else None, allow_pickle=False)
    assert identical(decode_array(file.getvalue()), np.asarray(array))


@given(arrays)
def test_equal_arrays_give_equal_bytes_wherever_they_lie(array):
    other = np.empty_like(array, order="K")
    other[...] = array
    assert encode_array(other) == encode_array(array)
    assert Holder(other) == Holder(array)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.builds(
        Everything,
        text=st.text(),
        number=st.integers(-(2**63), 2**64 - 1),
        real=st.floats(),
        flag=st.booleans(),
        raw=st.binary(),
        words=st.lists(st.text()),
        table=st.dictionaries(st.text(), values),
        maybe=st.none() | st.floats(),
        image=arrays.map(lambda a: np.resize(np.frombuffer(a.tobytes()[: a.size // 4 * 4], "f4"), (2, 2))),
        images=st.none() | st.lists(arrays, max_size=3),
    )
)
def test_any_sample_comes_back_equal(sample):
    back = there_and_back(sample)
    assert back == sample
    assert back.packed == sample.packed
    assert DictSample.from_bytes(sample.packed).packed == sample.packed


@given(values)
def test_any_plain_value_comes_back_equal_without_a_type(value):
    sample = DictSample({"value": value})
    assert DictSample.from_bytes(sample.packed) == sample
    assert DictSample.from_bytes(sample.packed).packed == DictSample({"value": sample.value}).packed


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        ({"number": np.int16(3)}, 3),
        ({"number": np.uint64(2**64 - 1)}, 2**64 - 1),
        ({"real": 3}, 3.0),
        ({"real": np.float32(0.5)}, 0.5),
        ({"real": np.float16(np.inf)}, math.inf),
        ({"real": np.longdouble(0.5)}, 0.5),
        ({"flag": np.bool_(True)}, True),
        ({"text": np.str_("a")}, "a"),
        ({"raw": bytearray(b"a")}, b"a"),
        ({"raw": memoryview(b"abc")[::2]}, b"ac"),
        ({"raw": np.bytes_(b"a")}, b"a"),
        ({"words": [np.str_("a")]}, ["a"]),
        ({"table": {"a": np.float64(1), "b": np.int8(1), "c": np.bool_(False)}}, {"a": 1.0, "b": 1, "c": False}),
    ],
)
def test_what_indexing_an_array_gives_is_taken_for_the_number_it_is(given_value, kept):
    (name,) = given_value
    back = getattr(there_and_back(everything(**given_value)), name)
    assert back == kept
    assert type(back) is type(kept)


def everything(**changed: Any) -> Everything:
    values: dict[str, Any] = {
        "text": "é",
        "number": -1,
        "real": 1.5,
        "flag": True,
        "raw": b"\0",
        "words": ["a", "b"],
        "table": {"a": [None, {"b": 1}]},
        "maybe": None,
        "image": np.arange(4, dtype="f4"),
        "images": None,
    }
    return Everything(**{**values, **changed})


# A sample's bytes are its identity on the network: these digests and bytes change only with the format itself.


def test_the_bytes_of_a_sample_are_these():
    @packable
    class Small:
        name: str
        label: int
        image: NDArray[np.uint8]

    header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }".ljust(127) + b"\n"
    expected = b"\x83\xa4name\xa1a\xa5label\x07\xa5image\xc4\x84" + header + b"\x00\x01\x02\x03"
    assert Small("a", 7, np.arange(4, dtype="u1").reshape(2, 2)).packed == expected


def test_the_bytes_of_every_specimen_are_these():
    fixed = {n: a for n, a in SPECIMENS.items() if "longdouble" not in n}  # 80 bits here, not on every machine
    for name, array in fixed.items():
        stored = encode_array(array)
        assert identical(np.load(io.BytesIO(stored)), np.asarray(array)), name
        assert stored.index(b"\n") % 64 == 63, name
    digest = hashlib.sha256(b"".join(map(encode_array, fixed.values()))).hexdigest()
    assert digest == "c8dc1f07c84898a997448a7bd1de58ae5a379618fd129a85e94542bbda106203"


@pytest.mark.parametrize("dtype", [ALIGNED, "longdouble", ">g", "clongdouble", [("x", ALIGNED, (2,)), ("y", "g")]])
def test_what_lies_in_padding_is_not_stored(dtype):
    """It is chance, so equal arrays would have other bytes; and it may be a piece of anything the process held."""
    clean = np.zeros(3, dtype)
    dirty = np.frombuffer(bytearray(b"\xaa" * clean.nbytes), dtype)
    for array in (clean, dirty):
        fill(array, np.random.default_rng(0))
    if dirty.dtype.names is None:  # numpy copies padding along; so put some where we know it is
        dirty.view("u1").reshape(-1, 16)[:, slice(6) if dtype == ">g" else slice(10, None)] = 0xAA
    assert dirty.tobytes() != clean.tobytes()
    assert encode_array(dirty) == encode_array(clean)
    assert Holder(dirty) == Holder(clean)


def test_the_compact_form_of_newer_peers_is_read():
    example = bytes.fromhex("03 3c6634 01 0300000000000000 00000000 0000803f 00000040")
    stored = b"\x81\xa1x\xc4" + bytes([len(example)]) + example
    assert identical(Holder.from_bytes(stored).x, np.array([0, 1, 2], "<f4"))


@given(simple_arrays)
def test_any_array_in_the_compact_form_is_read(array):
    text = array.dtype.str.encode()
    stored = bytes([len(text)]) + text + bytes([array.ndim])
    stored += np.array(array.shape, "<i8").tobytes() + array.tobytes()
    assert identical(decode_array(stored), array)


def test_a_shape_holds_in_both_directions():
    @packable
    class Rows:
        x: np.ndarray[tuple[int, int], np.dtype[np.float32]]

    assert there_and_back(Rows(np.ones((2, 3), "f4"))).x.shape == (2, 3)
    assert Shape(None, 3).fits((2, 3))
    assert not Shape(None, 3).fits((3,))


@pytest.mark.parametrize("travel", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    "sample", [everything(), Holder(np.zeros(2, NESTED)), DictSample({"a": 1, "x": np.arange(3), "y": {"b": [None]}})]
)
def test_a_sample_is_copied_and_pickled(sample, travel):
    back = travel(sample)
    assert type(back) is type(sample)
    assert back == sample
    assert back.packed == sample.packed


def test_a_sample_is_written_to_webdataset_under_a_key_of_its_own():
    sample = everything()
    written = [sample.as_wds for _ in range(1000)]
    assert all(w.keys() == {"__key__", "msgpack"} and w["msgpack"] == sample.packed for w in written)
    keys = [w["__key__"] for w in written]
    assert len(set(keys)) == len(keys)
    assert sorted(keys) == keys
    assert not any("." in key or "/" in key for key in keys)
    assert isinstance(sample, PackableSample)
