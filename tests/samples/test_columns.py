"""Many samples decoded at once give what they give one by one, or the question goes to who decodes them one by one."""

from __future__ import annotations

import io
import os
import random
import struct
import tempfile
import tracemalloc
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.native import native
from atdata.samples import SampleBatch, Shape, blocks, fields_of, packable
from atdata.samples.codec import pack
from atdata.samples.columns import FAR, ColumnDecoder
from atdata.samples.forms import Numbers
from atdata.samples.gather import LARGE
from atdata.samples.npy import encode_array
from atdata.samples.stacking import stack
from support import MANY
from support.arrays import SPECIMENS, arrays, fill, identical, simple_arrays

pytestmark = pytest.mark.usefixtures("either_form")

SPARE = 8  # bytes after the last sample that may be looked at
Columns = dict[str, Any]


# --- two ways, one result --------------------------------------------------------------------------------------------


def laid_out(samples: Sequence[bytes], around: bytes = b"") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Samples as they may lie in a shard: something before, between and after them."""
    starts, data = [], bytearray(around)
    for sample in samples:
        starts.append(len(data))
        data += sample + around
    return np.frombuffer(bytes(data) + bytes(SPARE), np.uint8), np.array(starts, np.int64)


def one_by_one(sample_type: type[Any], samples: Sequence[bytes]) -> Columns | None:
    """The oracle; `None` where a sample is refused."""
    try:
        return dict(SampleBatch.of(sample_type, [sample_type.from_bytes(sample) for sample in samples]).columns)
    except SampleError:
        return None


def at_once(sample_type: type[Any], samples: Sequence[bytes], around: bytes = b"") -> Columns | None:
    memory, starts = laid_out(samples, around)
    sizes = np.array([len(sample) for sample in samples], np.int64)
    fields = fields_of(sample_type)
    decoder = ColumnDecoder(fields, [field.name for field in fields])
    found = stacked(decoder.decode(memory, starts, sizes))
    reads = bool(samples) and decoder.block(len(samples), int(sizes.min())) is not None
    read = out_of_a_file(decoder, memory, starts, sizes)
    assert (read is not None) or not reads  # what the loop in C decodes in memory it decodes in a file
    if read is not None:
        assert found is not None, "a file may hold what memory may not"
        assert all(alike(read[name], found[name]) for name in found)
    return found


def out_of_a_file(
    decoder: ColumnDecoder, memory: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Columns | None:
    """The same by blocks: in one go; in three parts; and out of order, by turns out of memory and out of a file."""
    with tempfile.TemporaryFile() as file:
        file.write(memory[:-SPARE])
        file.flush()
        number, count, cuts = file.fileno(), len(starts), [0, len(starts) // 3, len(starts) // 2, len(starts)]
        read = in_a_block(decoder, starts, sizes, [(number, slice(0, count), 0)])
        if read is not None:
            parts = [(number, slice(a, b), a) for a, b in pairwise(cuts)]
            orders = np.array_split(np.random.default_rng(count).permutation(count), 3)
            mixed = [(number if n % 2 else memory, order, order) for n, order in enumerate(orders)]
            for way in (parts, mixed):
                again = in_a_block(decoder, starts, sizes, way)
                assert again is not None
                assert all(alike(again[name], read[name]) for name in read)
    return read


def in_a_block(
    decoder: ColumnDecoder, starts: NDArray[np.int64], sizes: NDArray[np.int64], parts: Sequence[tuple[Any, Any, Any]]
) -> Columns | None:
    block = decoder.block(len(starts), int(sizes.min())) if len(starts) else None
    if block is None:
        return None
    for source, which, rows in parts:
        block.add(source, starts[which], sizes[which], rows)
    return stacked(decoder.finish(block))


def stacked(columns: Columns | None) -> Columns | None:
    return None if columns is None else {name: made(column) for name, column in columns.items()}


def made(column: Any) -> Any:
    """A column as a batch has it: lists of arrays alike are stacked."""
    if isinstance(column, Numbers):
        assert column.array.dtype in ("int64", "float64", "bool")
        assert column.mask is None or not column.array[column.mask].any()
        return column.tolist()
    return stack(column) if isinstance(column, list) else column


def alike(one: Any, other: Any) -> bool:
    """Whether two columns are equal to the bit."""
    if isinstance(one, np.ndarray):
        return identical(one, other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return type(other) is float and struct.pack("d", one) == struct.pack("d", other)
    return type(one) is type(other) and one == other


def agreed(sample_type: type[Any], samples: Sequence[bytes], around: bytes = b"") -> bool:
    """Whether the samples were decoded at once; if so, to what they are one by one."""
    found = at_once(sample_type, samples, around)
    if found is None:
        return False
    expected = one_by_one(sample_type, samples)
    assert expected is not None, "damage went unnoticed"
    assert found.keys() == expected.keys()
    for name in expected:
        assert alike(found[name], expected[name]), name
    return True


def declare(annotations: dict[str, Any], **defaults: Any) -> type[Any]:
    drawn: type[Any] = packable(type("Drawn", (), {"__annotations__": annotations, "__module__": __name__, **defaults}))
    return drawn


@packable
class Holder:
    x: NDArray


@packable
class MaybeHolder:
    x: NDArray | None


@packable
class Number:
    x: int


@packable
class MaybeNumber:
    x: int | None


@packable
class Text:
    x: str


@packable
class MaybeText:
    x: str | None


@packable
class Raw:
    x: bytes


@packable
class MaybeRaw:
    x: bytes | None


@packable
class Real:
    x: float


@packable
class MaybeReal:
    x: float | None


@packable
class Flag:
    x: bool


@packable
class MaybeFlag:
    x: bool | None


@packable
class Mixed:
    image: NDArray[np.uint8]
    label: int
    text: str
    raw: bytes
    weight: float
    flag: bool
    points: NDArray[np.float32] | None = None
    note: str | None = None
    split: str = "train"
    zeros: NDArray = field(default_factory=lambda: np.zeros(3))


def mixed(number: int, **changed: Any) -> Mixed:
    values: dict[str, Any] = {
        "image": np.full((3, 4), number, "u1"),
        "label": number * 1000 - 3000,
        "text": f"text {'x' * number}",
        "raw": b"r" * number,
        "weight": number / 3,
        "flag": number % 2 == 0,
    }
    return Mixed(**{**values, **changed})


ORDINARY = [mixed(n).packed for n in range(8)]


def test_ordinary_samples_are_decoded_at_once():
    assert agreed(Mixed, ORDINARY)
    assert agreed(Mixed, [mixed(n, note="é" if n else None).packed for n in range(8)])
    ragged = [mixed(n, points=None if n == 3 else np.ones((n, 2), "f4")).packed for n in range(8)]
    assert agreed(Mixed, ragged)
    assert agreed(Mixed, ORDINARY[:1])


def test_what_lies_around_samples_does_not_matter():
    for around in (b"", b"\0", b"\xff" * 600, ORDINARY[0], b"\xc0" * 9, b"\x93NUMPY"):
        assert agreed(Mixed, ORDINARY, around)


def test_no_samples_have_no_columns():
    empty = np.empty(0, np.int64)
    assert ColumnDecoder(fields_of(Mixed), ["label"]).decode(np.zeros(100, np.uint8), empty, empty) is None


@given(st.lists(st.integers(0, 7), min_size=1, max_size=30), st.lists(st.sampled_from(sorted(mixed(0).__dict__))))
def test_samples_are_decoded_in_any_order_and_any_number_of_times(which, wanted):
    memory, starts = laid_out(ORDINARY, b"between")
    sizes = np.array([len(sample) for sample in ORDINARY], np.int64)
    found = ColumnDecoder(fields_of(Mixed), wanted).decode(memory, starts[which], sizes[which])
    expected = one_by_one(Mixed, [ORDINARY[n] for n in which])
    assert found is not None
    assert expected is not None
    assert list(found) == list(dict.fromkeys(wanted))
    assert all(alike(stacked(found)[name], expected[name]) for name in wanted)  # type: ignore[index]


def test_columns_are_the_readers_own():
    memory, starts = laid_out(ORDINARY)
    sizes = np.array([len(sample) for sample in ORDINARY], np.int64)
    before = memory.tobytes()
    for which in ([0, 0, 1], [3], [2, 2]):
        found = ColumnDecoder(fields_of(Mixed), ["image", "zeros", "raw"]).decode(memory, starts[which], sizes[which])
        assert found is not None
        assert found["image"].flags.writeable  # type: ignore[union-attr]
        assert not np.shares_memory(found["image"], memory)  # type: ignore[arg-type]
        found["image"][0] += 1  # type: ignore[index]
        assert len(which) < 2 or found["image"][1].tobytes() != found["image"][0].tobytes()
    assert memory.tobytes() == before
    missing = [mapped(entries_of(mixed(n))) for n in range(3)]
    memory, starts = laid_out(missing)
    sizes = np.array([len(sample) for sample in missing], np.int64)
    found = ColumnDecoder(fields_of(Mixed), ["zeros"]).decode(memory, starts, sizes)
    assert found is not None
    assert not any(np.shares_memory(one, other) for one, other in pairwise(found["zeros"]))


# --- arrays ----------------------------------------------------------------------------------------------------------


def changed(array: NDArray[Any], seed: int) -> NDArray[Any]:
    """Another array of the same dtype, shape and order."""
    other = np.zeros_like(array)
    if array.dtype.names is None or all(array.dtype[name].itemsize for name in array.dtype.names):
        fill(other, np.random.default_rng(seed))
    return other


@pytest.mark.parametrize("name", SPECIMENS)
def test_arrays_of_every_kind_are_decoded_at_once(name):
    array = SPECIMENS[name]
    for samples in (
        [Holder(array)] * 3,
        [Holder(array)],
        [Holder(changed(array, seed)) for seed in range(5)],
        [MaybeHolder(array), MaybeHolder(changed(array, 1))],
        [MaybeHolder(array), MaybeHolder(None)],
        [MaybeHolder(None), MaybeHolder(array)],
    ):
        assert agreed(type(samples[0]), [sample.packed for sample in samples])


@given(arrays, st.integers(1, 5))
def test_any_arrays_alike_are_decoded_at_once(array, count):
    assert agreed(Holder, [Holder(changed(array, seed)).packed for seed in range(count)])


@given(st.lists(arrays | st.none(), min_size=1, max_size=5))
def test_any_arrays_together_are_decoded_at_once(chosen):
    assert agreed(MaybeHolder, [MaybeHolder(array).packed for array in chosen])
    if all(array is not None for array in chosen):
        assert agreed(Holder, [Holder(array).packed for array in chosen])


@pytest.mark.parametrize(
    "dtype", ["u1", "?", "<f4", ">f8", "c16", "M8[s]", "longdouble", "S7", "<U5", "V3", [("a", "<i4"), ("b", "U2")]]
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [-1, 0, 1])
def test_large_arrays_are_decoded_at_once(dtype, order, size):
    items = -(-LARGE // np.dtype(dtype).itemsize) + size
    array = np.zeros((items, 1) if order == "C" else (2, -(-items // 2)), dtype, order)  # type: ignore[call-overload]
    samples = [Holder(changed(array, seed)).packed for seed in range(4)]
    assert agreed(Holder, samples, b"around")
    assert agreed(Holder, samples[:1])
    assert agreed(MaybeHolder, samples)
    assert not agreed(Holder, [samples[0], samples[1][:-1]])
    assert not agreed(Holder, [samples[0][:-1]] * 2, samples[0])
    assert not agreed(Holder, [sample + b"\0" for sample in samples])


def test_missing_arrays_alone_are_decoded_at_once():
    assert agreed(MaybeHolder, [MaybeHolder(None).packed] * 4)
    assert not agreed(Holder, [MaybeHolder(None).packed] * 4)


def binary(data: bytes, width: int = 0) -> bytes:
    """A msgpack `bin` with a length of so many bytes, at least."""
    width = width or (1 if len(data) < 256 else 2 if len(data) < 65536 else 4)
    return bytes([{1: 0xC4, 2: 0xC5, 4: 0xC6}[width]]) + len(data).to_bytes(width, "big") + data


def holding(value: bytes, key: bytes = b"\xa1x") -> bytes:
    return b"\x81" + key + value


def compact(array: NDArray[Any]) -> bytes:
    text = array.dtype.str.encode()
    return bytes([len(text)]) + text + bytes([array.ndim]) + np.array(array.shape, "<i8").tobytes() + array.tobytes()


def npy(array: NDArray[Any], version: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=False)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Stored array")
@given(
    simple_arrays,
    st.lists(st.sampled_from(["ours", "compact", (1, 0), (2, 0), (3, 0)]), min_size=1, max_size=5),
    st.lists(st.sampled_from([0, 2, 4]), min_size=1, max_size=5),
    st.booleans(),
)
def test_every_form_of_an_array_is_decoded(array, forms, widths, same):
    if same:
        forms, widths = forms[:1] * 3, widths[:1] * 3

    def stored(form: Any, seed: int) -> bytes:
        other = changed(array, seed)
        return encode_array(other) if form == "ours" else compact(other) if form == "compact" else npy(other, form)

    samples = []
    for number, form in enumerate(forms):
        body = stored(form, number)
        width = widths[number % len(widths)]
        samples.append(holding(binary(body, width if len(body) < 65536 else 4)))
    assert agreed(Holder, samples)


def numpy_header(text: str, items: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + items


def header(descr: Any, shape: Any, fortran: Any = False, items: bytes = b"") -> bytes:
    return numpy_header(repr({"descr": descr, "fortran_order": fortran, "shape": shape}), items)


HUGE = 2**61
STRANGE_ARRAYS = {
    "a sub-array dtype": header(("<f4", (2,)), (3,), items=bytes(24)),
    "a sub-array dtype of one": header(("<f4", (1,)), (3,), items=bytes(12)),
    "a sub-array dtype of one, 0-d": header(("<f4", (1,)), (), items=bytes(4)),
    "a sub-array dtype of one, twice": header((("<f4", (1,)), (1,)), (3,), items=bytes(12)),
    "a sub-array dtype of one, empty": header(("<f4", (1,)), (0,)),
    "a sub-array dtype, empty": header(("<f4", (2,)), (0,)),
    "a sub-array dtype, Fortran order": header(("<f4", (2,)), (2, 1), True, bytes(16)),
    "a sub-array dtype without dimensions": header(("<f4", ()), (2,), items=bytes(8)),
    "items without bytes": header("<U0", (2,)),
    "items without bytes in records": header([("a", "<U0")], (2,)),
    "no bytes and a dimension that is huge": header("<f4", (0, HUGE // 8)),
    "no bytes and dimensions beyond what can be addressed": header("<f4", (0, HUGE, HUGE)),
    "no bytes and a size beyond 64 bits": header("<f4", (0, 2**70)),
    "dimensions whose product is beyond 64 bits": header("u1", (2**40, 2**40), items=b"a"),
    "a negative size": header("u1", (-1,), items=b"a"),
    "a size that is true": header("u1", (True,), items=b"a"),
    "an order that is 1": header("u1", (1,), 1, b"a"),
    "33 dimensions": header("u1", (1,) * 33, items=b"a"),
    "32 dimensions": header("u1", (1,) * 32, items=b"a"),
    "31 dimensions": header("u1", (1,) * 31, items=b"a"),
    "32 dimensions and nothing": header("u1", (1,) * 31 + (0,)),
    "too few items": header("<f4", (3,), items=bytes(11)),
    "too many items": header("<f4", (3,), items=bytes(13)),
    "Python objects": header("|O", (1,), items=bytes(8)),
    "bool that is neither": header("|b1", (4,), items=b"\0\1\2\xff"),
    "text that is none": header("<U1", (1,), items=b"\0\xd8\0\0"),
    "text that is none, in records": header([("a", "<U1")], (1,), items=b"\xff\xff\xff\xff"),
    "names twice": header([("a", "<i4"), ("a", "<i4")], (1,), items=bytes(8)),
    "fields without names": header([("", "<i4"), ("", "V4")], (2,), items=bytes(16)),
    "a header that is no dict": numpy_header("[1, 2]"),
    "a header that is code": numpy_header("__import__('os').getcwd()"),
    "a header of another version": b"\x93NUMPY\4\0" + bytes(20),
    "a header longer than its bytes": b"\x93NUMPY\1\0\xff\xff{'descr'",
    "a header of 2^32 bytes": b"\x93NUMPY\2\0\xff\xff\xff\xff{'descr'",
    "a header of 65,000 bytes": header("u1", (3,), items=b"").ljust(1)
    and numpy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}".ljust(65_000), b"abc"),
    "nothing": b"",
    "one byte": b"\x03",
    "the compact form, short": b"\x03<f4\x01",
    "the compact form of a negative size": b"\x03|u1\x01" + b"\xff" * 8 + b"a",
    "the compact form of 255 dimensions": b"\x03|u1\xff" + b"\1\0\0\0\0\0\0\0" * 255 + b"a",
    "the compact form of Python objects": b"\x02|O\x01" + b"\1\0\0\0\0\0\0\0" + bytes(8),
}


@pytest.mark.parametrize("name", STRANGE_ARRAYS)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_strange_arrays_are_read_alike(name, count):
    for strange in (holding(binary(STRANGE_ARRAYS[name])), holding(binary(STRANGE_ARRAYS[name], 4))):
        ordinary = [Holder(np.zeros(3, "f4")).packed] * (count - 1)
        for samples in ([strange] * count, [strange, *ordinary], [*ordinary, strange]):
            if "huge" in name and samples == [strange] * 40:  # no column can hold them, each can be held
                assert at_once(Holder, samples) is None
            else:
                agreed(Holder, samples)


@packable
class Picky:
    pixels: Annotated[NDArray[np.uint8], Shape(None, 3)]
    weight: NDArray[np.floating] | None = None


@pytest.mark.parametrize(
    ("pixels", "weight", "fits"),
    [
        (np.zeros((2, 3), "u1"), None, True),
        (np.zeros((2, 3), "u1"), np.zeros(2, ">f8"), True),
        (np.zeros((2, 3), "u1"), np.zeros(2, "f2"), True),
        (np.zeros((2, 4), "u1"), None, False),
        (np.zeros(3, "u1"), None, False),
        (np.zeros((2, 3), "i1"), None, False),
        (np.zeros((2, 3), "u1"), np.zeros(2, "i4"), False),
    ],
)
def test_declared_dtypes_and_shapes_are_checked(pixels, weight, fits):
    sample = pack({"pixels": encode_array(pixels), "weight": None if weight is None else encode_array(weight)})
    good = Picky(np.zeros((1, 3), "u1"), None).packed
    for samples in ([sample], [sample] * 3, [good, sample], [sample, good]):
        assert agreed(Picky, samples) == fits


# --- numbers, texts, bytes -------------------------------------------------------------------------------------------

INTS = [0, 1, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1]
INTS += [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
BEYOND = [2**63, 2**63 + 1, 2**64 - 1]


@pytest.mark.parametrize("number", [*INTS, *BEYOND])
def test_whole_numbers_of_every_width_are_decoded_at_once(number):
    for count in (1, 3):
        assert agreed(Number, [Number(number).packed] * count)
        assert agreed(MaybeNumber, [MaybeNumber(number).packed] * count)
    assert agreed(MaybeNumber, [MaybeNumber(n).packed for n in (None, number, None)]) == (number not in BEYOND)


@given(st.lists(st.sampled_from(INTS) | st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1))
def test_whole_numbers_of_several_widths_are_decoded_at_once(numbers):
    assert agreed(MaybeNumber, [MaybeNumber(n).packed for n in numbers])
    assert agreed(Number, [Number(n).packed for n in numbers if n is not None] or [Number(0).packed])


@given(st.lists(st.sampled_from(INTS + BEYOND) | st.integers(0, 2**64 - 1), min_size=1))
def test_numbers_beyond_a_signed_word_are_never_taken_for_others(numbers):
    agreed(Number, [Number(n).packed for n in numbers])


WIDTHS = {
    "cc": (1, False),
    "cd": (2, False),
    "ce": (4, False),
    "cf": (8, False),
    "d0": (1, True),
    "d1": (2, True),
    "d2": (4, True),
    "d3": (8, True),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(WIDTHS)), st.binary(min_size=8, max_size=8)), min_size=1, max_size=6))
@example([("cf", b"\x7f" + b"\xff" * 7), ("d0", b"\x80" * 8)])
def test_numbers_wider_than_they_need_be_are_decoded(numbers):
    samples = [holding(bytes.fromhex(token) + body[: WIDTHS[token][0]]) for token, body in numbers]
    large = any(token == "cf" and body[0] > 127 for token, body in numbers)
    assert agreed(Number, samples) or large
    assert agreed(Number, samples[:1])


@given(st.lists(st.floats() | st.none(), min_size=1), st.lists(st.booleans() | st.none(), min_size=1))
def test_reals_and_flags_are_decoded_at_once(reals, flags):
    assert agreed(MaybeReal, [MaybeReal(real).packed for real in reals])
    assert agreed(MaybeFlag, [MaybeFlag(flag).packed for flag in flags])
    assert agreed(Real, [Real(real or 0.0).packed for real in reals])
    assert agreed(Flag, [Flag(bool(flag)).packed for flag in flags])


@pytest.mark.parametrize("nan", ["7ff8000000000000", "fff8000000000001", "7ff0000000000001", "8000000000000000"])
def test_the_bits_of_a_real_are_kept(nan):
    assert agreed(Real, [holding(bytes.fromhex("cb" + nan))] * 2)
    assert agreed(Real, [holding(bytes.fromhex("cb" + nan)), Real(1.0).packed])


LENGTHS = [0, 1, 7, 8, 9, 30, 31, 32, 33, 254, 255, 256, 257, 65534, 65535, 65536, 70_000]


@pytest.mark.parametrize("letter", ["a", "\0", "\x7f", "é", "名", "🎈"])
def test_texts_and_bytes_of_every_length_are_decoded_at_once(letter):
    texts = [letter * (length // len(letter.encode())) + "a" * (length % len(letter.encode())) for length in LENGTHS]
    assert [len(text.encode()) for text in texts] == LENGTHS
    for text in texts:
        assert agreed(Text, [Text(text).packed] * 3)
        assert agreed(Raw, [Raw(text.encode()).packed] * 3)
        assert agreed(MaybeText, [MaybeText(t).packed for t in (text, None, "b")])
    for some in (texts, texts[::-1], texts[:9], texts[5:9], texts[8:12], ["", ""], ["", letter]):
        assert agreed(Text, [Text(text).packed for text in some])
        assert agreed(Raw, [Raw(text.encode()).packed for text in some])
        assert agreed(MaybeRaw, [MaybeRaw(text.encode() or None).packed for text in some])


@pytest.mark.parametrize("length", [3, 40, 300])
@pytest.mark.parametrize(
    "form",
    ["{}", "{}\0", "\0{}", "\0\0{}\0\0", "{}é", "é{}", "\0{}é", "{}\x80", "{}\u07ff", "{}\ud7ff", "{}\U0010ffff"],
)
def test_texts_are_kept_letter_by_letter(form, length):
    texts = [form.format(chr(97 + n % 26) * (length - n % 3)) for n in range(20)]
    assert agreed(Text, [Text(text).packed for text in texts])
    assert agreed(Text, [Text(texts[0]).packed] * 5)
    mostly = ["b" * length] * 19 + [texts[0]]
    assert agreed(Text, [Text(text).packed for text in mostly])
    assert agreed(Text, [Text(text).packed for text in reversed(mostly)])


letters = st.text(st.sampled_from("ab\0é名🎈"), max_size=40) | st.text(max_size=40) | st.text("a\0", max_size=70)


@given(st.lists(letters | st.none(), min_size=1, max_size=12))
def test_any_texts_are_decoded_at_once(texts):
    assert agreed(MaybeText, [MaybeText(text).packed for text in texts])
    assert agreed(Text, [Text(text or "").packed for text in texts])


@pytest.mark.parametrize(
    "wrong", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\x80", b"\xc3a"]
)
@pytest.mark.parametrize("length", [0, 20, 40, 300])
def test_what_is_no_text_is_noticed(wrong, length):
    def text(body: bytes) -> bytes:
        return holding(b"\xda" + len(body).to_bytes(2, "big") + body)

    good, bad = text(b"a" * (length + len(wrong))), text(b"a" * length + wrong)
    for samples in ([bad], [bad] * 3, [good, bad, good], [good] * 9 + [bad]):
        assert not agreed(Text, samples)
        assert not agreed(MaybeText, samples)
        if wrong not in (b"\xc3", b"\xc3a"):
            continue
        # two halves side by side are not one letter
        assert not agreed(Text, [text(b"a" * length + b"\xc3"), text(b"\xa9" + b"a" * length)])


@pytest.mark.slow
@pytest.mark.parametrize("token", range(256))
def test_a_value_of_another_kind_is_never_taken_for_one(token):
    """Every token, with zeros after it, in every kind of field: alone, and beside values that belong there."""
    good: dict[type[Any], Any] = {
        Number: 1, MaybeNumber: None, Text: "a", MaybeText: None, Raw: b"a", MaybeRaw: None, Real: 1.5,
        MaybeReal: None, Flag: True, MaybeFlag: None, Holder: np.zeros(1), MaybeHolder: None,
    }  # fmt: skip
    for rest in range(10):
        value = holding(bytes([token]) + bytes(rest))
        for sample_type, other in good.items():
            beside = sample_type(other).packed
            for samples in ([value], [value] * 2, [value, beside], [beside, value]):
                agreed(sample_type, samples)


# --- templates ---------------------------------------------------------------------------------------------------------


def key(name: str) -> bytes:
    raw = name.encode()
    return bytes([0xA0 + len(raw)]) + raw if len(raw) < 32 else b"\xd9" + bytes([len(raw)]) + raw


def mapped(entries: Iterable[tuple[str, bytes]], form: str = "least") -> bytes:
    pairs = list(entries)
    count = len(pairs)
    if form == "least":
        form = "fix" if count < 16 else "16"
    head = {
        "fix": bytes([0x80 + count % 16]),
        "16": b"\xde" + count.to_bytes(2, "big"),
        "32": b"\xdf" + count.to_bytes(4, "big"),
    }
    return head[form] + b"".join(key(name) + value for name, value in pairs)


def entries_of(sample: Mixed) -> list[tuple[str, bytes]]:
    return [(name, pack({"": getattr(sample, name)})[2:]) for name in ("label", "text", "raw", "weight", "flag")] + [
        ("image", binary(encode_array(sample.image)))
    ]


FOREIGN = {
    "nil": b"\xc0",
    "bool": b"\xc3",
    "int": b"\x07",
    "negative": b"\xe0",
    "uint8": b"\xcc\x07",
    "uint16": b"\xcd\0\x07",
    "uint32": b"\xce\0\0\0\x07",
    "uint64": b"\xcf" + b"\xff" * 8,
    "int8": b"\xd0\x80",
    "int16": b"\xd1\x80\0",
    "int32": b"\xd2\x80\0\0\0",
    "int64": b"\xd3" + b"\x80" * 8,
    "float32": b"\xca\x3f\x80\0\0",
    "float64": b"\xcb" + bytes(8),
    "text": b"\xa3abc",
    "text, no ASCII": b"\xa2\xc3\xa9",
    "text of 40": b"\xd9\x28" + b"a" * 40,
    "text of 300": b"\xda\x01\x2c" + b"a" * 300,
    "text, long form": b"\xdb\0\0\0\1a",
    "bin": b"\xc4\1a",
    "bin, longer form": b"\xc5\0\1a",
    "bin, longest form": b"\xc6\0\0\0\1a",
    "list": b"\x92\1\2",
    "list, long form": b"\xdc\0\1\xc0",
    "map": b"\x81\xa1a\1",
    "map with a number as key": b"\x81\1\1",
    "map, long form": b"\xde\0\1\xa1a\1",
    "fixext": b"\xd4\1a",
    "fixext 16": b"\xd8\1" + b"a" * 16,
    "ext": b"\xc7\1\1a",
    "ext 32": b"\xc9\0\0\0\1\1a",
    "time": b"\xd6\xff" + bytes(4),
    "wrong: reserved": b"\xc1",
    "wrong: no UTF-8": b"\xa1\xff",
    "wrong: no UTF-8, long": b"\xd9\x28" + b"a" * 39 + b"\xc3",
    "wrong: text past the end": b"\xdb\xff\xff\xff\xff",
    "wrong: bin past the end": b"\xc6\xff\xff\xff\xff",
    "wrong: nothing": b"",
}
IN_BULK = {"nil", "bool", "int", "negative", "text", "bin"} | {
    name for name in FOREIGN if name[:2] in ("ui", "in", "fl")
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_field_that_is_not_declared_is_passed_over(name, place):
    samples = []
    for number in range(4):
        entries = entries_of(mixed(number))
        entries.insert(place, ("unknown", FOREIGN[name]))
        samples.append(mapped(entries))
    assert agreed(Mixed, samples) or name not in IN_BULK
    without = mapped(entries_of(mixed(1)))
    for pair in ([without, samples[0]], [samples[0], without], [samples[1]]):
        agreed(Mixed, pair)


def test_fields_not_declared_may_differ_from_sample_to_sample():
    for values in ([b"\x07", b"\xa3abc", b"\xc0", b"\xc4\1a"], [b"\xa1a", b"\xa2\xc3\xa9", b"\xd9\1a", b"\xa0"]):
        samples = [mapped([("unknown", value), *entries_of(mixed(n))]) for n, value in enumerate(values)]
        assert agreed(Mixed, samples)
    samples = [mapped([("unknown", value), *entries_of(mixed(1))]) for value in (b"\x07", b"\x91\1")]
    agreed(Mixed, samples)


@given(st.permutations(range(6)), st.permutations(range(6)), st.integers(0, 6), st.booleans())
def test_fields_come_in_any_order_and_may_be_missing(order, other, left, same):
    def stored(number: int, order: Sequence[int]) -> bytes:
        entries = entries_of(mixed(number))
        return mapped([entries[n] for n in order if n != left])

    samples = [stored(0, order), stored(1, order), stored(2, order if same else other)]
    decoded = agreed(Mixed, samples)
    assert decoded == (left == 6 and (same or list(order) == list(other)))


def test_missing_fields_have_their_defaults():
    assert agreed(Mixed, [mapped(entries_of(mixed(n))) for n in range(3)])
    agreed(Mixed, [mapped(entries_of(mixed(0))), mixed(1).packed])
    agreed(Mixed, [mixed(1).packed, mapped(entries_of(mixed(0)))])


@pytest.mark.parametrize("name", ["label", "image", "unknown"])
def test_a_key_twice_is_what_it_is_one_by_one(name):
    entries = [*entries_of(mixed(0)), ("unknown", b"\1")]
    twice = [*entries, (name, dict(entries)[name])]
    agreed(Mixed, [mapped(twice)] * 2)
    agreed(Mixed, [mapped(entries), mapped(twice)])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300])
def test_samples_have_any_number_of_fields(count):
    wide = declare({f"field_{n}": int for n in range(count)})
    samples = [wide(*range(n, n + count)).packed for n in (0, 100, 1000)]
    assert agreed(wide, samples)
    assert agreed(wide, [mapped([], "16")] * 2) == (count == 0)


@pytest.mark.parametrize("form", ["fix", "16", "32"])
def test_every_form_of_a_map_is_read(form):
    samples = [mapped(entries_of(mixed(n)), form) for n in range(3)]
    assert agreed(Mixed, samples) or form == "32"
    agreed(Mixed, [samples[0], mapped(entries_of(mixed(1)))])


@pytest.mark.parametrize("name", ["", "é" * 20, "n" * 31, "n" * 32, "n" * 255])
def test_keys_have_any_length(name):
    samples = [mapped([(name, b"\1"), *entries_of(mixed(n))]) for n in range(3)]
    assert agreed(Mixed, samples)
    long = [
        sample.replace(key(name), b"\xda" + len(name.encode()).to_bytes(2, "big") + name.encode()) for sample in samples
    ]
    agreed(Mixed, long)
    agreed(Mixed, [samples[0], long[1]])


@pytest.mark.parametrize(
    "odd", [b"\xa1\xff", b"\1", b"\xc0", b"\xc4\1a", b"\xd9\xff", b"\xdb\xff\xff\xff\xff", b"\x90", b"\xc1"]
)
def test_keys_that_are_none_are_noticed(odd):
    good = mapped(entries_of(mixed(0)))
    bad = b"\x87" + odd + b"\1" + good[1:]
    for samples in ([bad], [bad, bad], [good, bad], [bad, good]):
        assert not agreed(Mixed, samples)


def test_lists_and_dicts_are_left_to_who_decodes_one_by_one():
    table = declare({"a": int, "b": list[int], "c": dict})
    samples = [table(n, [n] * n, {"n": n}).packed for n in range(3)]
    assert not agreed(table, samples)
    memory, starts = laid_out(samples)
    sizes = np.array([len(sample) for sample in samples], np.int64)
    assert ColumnDecoder(fields_of(table), ["a"]).decode(memory, starts, sizes) in (None, {"a": [0, 1, 2]})


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    return {
        "int": st.integers(-(2**63), 2**63 - 1) | st.integers(-40, 300),
        "str": letters,
        "float": st.floats(),
        "bool": st.booleans(),
        "bytes": st.binary(max_size=40),
        "array": arrays,
    }[annotation]


ANNOTATIONS: dict[str, Any] = {"int": int, "str": str, "float": float, "bool": bool, "bytes": bytes, "array": NDArray}


@st.composite
def drawn(draw: st.DrawFn) -> tuple[type[Any], list[Any]]:
    """A type of up to 20 fields, and samples of it."""
    kinds = draw(st.lists(st.tuples(st.sampled_from(sorted(ANNOTATIONS)), st.booleans()), min_size=1, max_size=20))
    names = draw(st.permutations([f"{kind}_{n}" for n, (kind, _) in enumerate(kinds)]))
    kinds_of = {name: kinds[int(name.rpartition("_")[2])] for name in names}
    made = declare(
        {n: ANNOTATIONS[kind] | None if maybe else ANNOTATIONS[kind] for n, (kind, maybe) in kinds_of.items()}
    )
    count = draw(st.integers(1, 5))
    columns = {}
    for name, (kind, maybe) in kinds_of.items():
        if kind == "array" and draw(st.booleans()):
            first = draw(arrays)
            columns[name] = [changed(first, seed) for seed in range(count)]
        else:
            one = values_of(kind) | st.none() if maybe else values_of(kind)
            columns[name] = draw(st.lists(one, min_size=count, max_size=count))
    return made, [made(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


@settings(max_examples=150 if not MANY else 10_000)
@given(drawn(), st.binary(max_size=12))
def test_samples_of_any_type_are_decoded_at_once(some, around):
    sample_type, samples = some
    assert agreed(sample_type, [sample.packed for sample in samples], around)


@settings(max_examples=60 if not MANY else 5_000)
@given(drawn(), drawn())
def test_samples_of_another_type_are_read_alike(one, other):
    for sample_type, samples in ((one[0], other[1]), (other[0], one[1]), (one[0], one[1] + other[1])):
        agreed(sample_type, [sample.packed for sample in samples])


# --- damage ----------------------------------------------------------------------------------------------------------

RAGGED = [mixed(n, points=np.ones((n, 2), "f4") if n % 3 else None, note="n" * n).packed for n in range(6)]
DAMAGED = {
    "ordinary": (Mixed, ORDINARY[:4]),
    "ragged": (Mixed, RAGGED),
    "foreign": (Mixed, [mapped([*entries_of(mixed(n)), ("unknown", FOREIGN["text"])]) for n in range(3)]),
    "texts": (Text, [Text("a" * n).packed for n in range(28, 36)]),
    "numbers": (Number, [Number(n).packed for n in INTS]),
    "raw": (MaybeRaw, [MaybeRaw(raw).packed for raw in (b"", b"a" * 300, None)]),
    "array": (Holder, [Holder(np.arange(6, dtype="<f4").reshape(2, 3)).packed] * 3),
    "structured": (Holder, [Holder(SPECIMENS["structured, nested"]).packed] * 2),
    "Fortran": (Holder, [Holder(SPECIMENS["Fortran order"]).packed] * 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGED)
def test_a_byte_altered_anywhere_is_read_alike(name):
    sample_type, samples = DAMAGED[name]
    chance = random.Random(5)
    for _ in range(300 if not MANY else 20_000):
        which, damaged = chance.randrange(len(samples)), list(samples)
        sample = bytearray(samples[which])
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            sample[min(chance.randrange(len(sample)), chance.randrange(400))] ^= chance.choice([1, 2, 16, 64, 128, 255])
        damaged[which] = bytes(sample)
        agreed(sample_type, damaged, b"" if chance.random() < 0.5 else samples[0])
    everywhere = bytearray(samples[0])
    for position in range(min(len(everywhere), 300)):  # in all samples alike, so that one template has it
        everywhere[position] ^= 1 << chance.randrange(8)
        agreed(sample_type, [bytes(everywhere)] * 3)
        everywhere = bytearray(samples[0])


@pytest.mark.parametrize("name", DAMAGED)
def test_samples_cut_or_lengthened_are_noticed(name):
    """By their sizes; what lies behind them would complete some of them."""
    sample_type, samples = DAMAGED[name]
    for lost in range(1, len(samples[0]) + 1):
        cut = samples[0][:-lost]
        assert not agreed(sample_type, [cut] * 2)
        assert not agreed(sample_type, [samples[0], cut])
        assert not agreed(sample_type, [cut, samples[0]])
        memory, starts = laid_out(samples)
        sizes = np.array([len(sample) for sample in samples], np.int64)
        fields = fields_of(sample_type)
        sizes[0] -= lost
        assert ColumnDecoder(fields, [field.name for field in fields]).decode(memory, starts, sizes) is None
        sizes[0] += 2 * lost
        assert ColumnDecoder(fields, [field.name for field in fields]).decode(memory, starts, sizes) is None
    for more in (b"\0", b"\xc0", samples[0], bytes(600)):
        assert not agreed(sample_type, [samples[0] + more] * 2)
        assert not agreed(sample_type, [samples[0], samples[0] + more])


@given(
    st.lists(st.binary(max_size=60) | st.binary(max_size=40).map(lambda b: b"\x81\xa1x" + b), min_size=1, max_size=4)
)
def test_bytes_of_any_kind_are_read_alike(samples):
    for sample_type in (Holder, MaybeHolder, Number, Text, MaybeText, Raw, MaybeReal, MaybeFlag):
        agreed(sample_type, samples)


def peak_of(sample_type: type[Any], memory: NDArray[np.uint8], starts: Any, sizes: Any) -> int:
    fields = fields_of(sample_type)
    tracemalloc.start()
    try:
        found = ColumnDecoder(fields, [field.name for field in fields]).decode(
            memory, np.array(starts), np.array(sizes)
        )
        assert found is None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CLAIMS = {
    "an array of 2^40 items": (Holder, holding(binary(header("<f4", (2**40,), items=b"abc")))),
    "an array of 4 GB": (Holder, holding(b"\xc6\xff\xff\xff\xff" + header("u1", (0xFFFFFFFF - 60,)))),
    "an array of 1 GB": (Holder, holding(b"\xc6\x40\x00\x00\x00" + header("u1", (2**30 - 68,)))),
    "bytes of 4 GB": (Raw, holding(b"\xc6\xff\xff\xff\xffabc")),
    "a text of 4 GB": (Text, holding(b"\xdb\xff\xff\xff\xffabc")),
    "a text of 64 kB": (Text, holding(b"\xda\xff\xffabc")),
    "a name of 255": (Raw, b"\x81\xd9\xff"),
    "65,535 fields": (Raw, b"\xde\xff\xff"),
    "an unknown text of 4 GB": (Raw, b"\x82\xa1y\xdb\xff\xff\xff\xff\xa1x\xc4\0"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_sample_claims_takes_no_memory(name):
    sample_type, claim = CLAIMS[name]
    ordinary = (
        Holder(np.zeros(4)).packed
        if sample_type is Holder
        else sample_type("a" if sample_type is Text else b"a").packed
    )
    for samples in ([claim] * 100, [claim, ordinary], [ordinary, claim]):
        memory, starts = laid_out(samples)
        assert peak_of(sample_type, memory, starts, [len(sample) for sample in samples]) < 1 << 20


@pytest.mark.parametrize("claimed", [1 << 20, 4_000_000, 8_000_000 - 100])
@pytest.mark.parametrize("sample_type", [Raw, MaybeRaw, Text, MaybeText, Holder, MaybeHolder])
def test_samples_that_claim_what_lies_behind_them_take_no_memory(sample_type, claimed):
    """A shard is in memory as a whole: there is room for what each of many samples claims, but it is not theirs."""
    token = b"\xdb" if sample_type in (Text, MaybeText) else b"\xc6"
    array = header("u1", (claimed - 68,)) if sample_type in (Holder, MaybeHolder) else b""
    sample = holding(token + claimed.to_bytes(4, "big") + array)
    data = sample * 400
    memory = np.frombuffer(data.ljust(8_000_000, b"a"), np.uint8)
    starts, sizes = np.arange(400) * len(sample), np.full(400, len(sample))
    assert peak_of(sample_type, memory, starts, sizes) < 1 << 20
    if array:  # the first is as it should be, the others are not: so they are looked at one by one
        other = holding(b"\xc6" + (claimed + 1).to_bytes(4, "big") + array)
        memory = np.frombuffer((other + sample * 399).ljust(8_000_000, b"a"), np.uint8)
        assert peak_of(sample_type, memory, starts, sizes) < 1 << 20


@pytest.mark.parametrize("spare", [SPARE, 9, 1024])
def test_samples_at_the_end_of_memory_are_looked_at_no_further(spare):
    """Every token last in memory, in every kind of field."""
    for token in range(256):
        for tail in (b"", b"\0", b"\xff" * 3):
            for sample_type in (Holder, MaybeHolder, Number, Text, MaybeText, Raw, MaybeReal, MaybeFlag, Mixed):
                for sample in (
                    holding(bytes([token]) + tail),
                    b"\x81\xa1y" + bytes([token]) + tail,
                    bytes([token]) + tail,
                ):
                    memory = np.frombuffer(sample + bytes([token]) * spare, np.uint8)
                    fields = fields_of(sample_type)
                    wanted = [field.name for field in fields]
                    found = ColumnDecoder(fields, wanted).decode(memory, np.array([0]), np.array([len(sample)]))
                    assert found is None or one_by_one(sample_type, [sample]) is not None


# --- out of a file ---------------------------------------------------------------------------------------------------


@packable
class Sundry:
    n: int
    text: str
    maybe: float | None
    raw: bytes
    x: NDArray[np.float32]


def sundry(lengths: Sequence[int]) -> list[bytes]:
    rng = random.Random(7)
    return [
        Sundry(
            n=length * 1000,
            text="é" * length,
            maybe=None if number % 3 else number / 7,
            raw=rng.randbytes(length % 500),
            x=np.full(40, number, np.float32),
        ).packed
        for number, length in enumerate(lengths)
    ]


WINDOWFULS = {
    "in one window": [3] * 100,
    "in many windows": [n * 37 % 9000 for n in range(300)],
    "longer than a window": [5, 400_000, 5, 131_000, 5, 5],
    "none": [],
}


@pytest.mark.parametrize("lengths", WINDOWFULS.values(), ids=WINDOWFULS)
@pytest.mark.parametrize("order", ["as stored", "backwards", "some twice"])
def test_samples_are_read_out_of_a_file_window_by_window(lengths, order):
    memory, starts = laid_out(sundry(lengths), b"between")
    sizes = np.array([len(sample) for sample in sundry(lengths)], np.int64)
    decoder = ColumnDecoder(fields_of(Sundry), ["x", "text", "raw", "n", "maybe"])
    known, known_sizes = laid_out(sundry([1, 2])), np.array([len(sample) for sample in sundry([1, 2])], np.int64)
    decoder.decode(*known, known_sizes)
    places = {"as stored": slice(None), "backwards": slice(None, None, -1), "some twice": np.arange(len(starts)) // 2}
    starts, sizes = (np.ascontiguousarray(column[places[order]]) for column in (starts, sizes))
    read = out_of_a_file(decoder, memory, starts, sizes)
    if blocks.native is None or not lengths:
        assert read is None

        return
    found = stacked(decoder.decode(memory, starts, sizes))
    assert found is not None
    assert read is not None
    assert all(alike(read[name], found[name]) for name in found)


@packable
class Captioned:
    text: str
    x: NDArray[np.uint8]


@pytest.mark.parametrize("length", [0, 100, 4000, 60_000])
def test_a_sample_that_is_all_text_where_others_have_an_array_is_not_read(length):
    """It holds more text than there would be room for, were it like the others."""
    good = Captioned("a", np.zeros(4000, np.uint8)).packed
    for number in range(3):
        samples = [good, good, good]
        samples[number] = pack({"text": "b" * length, "y": 1})
        memory, starts = laid_out(samples)
        sizes = np.array([len(sample) for sample in samples], np.int64)
        decoder = ColumnDecoder(fields_of(Captioned), ["text", "x"])
        decoder.decode(memory, starts[[(number + 1) % 3]], sizes[[(number + 1) % 3]])
        assert out_of_a_file(decoder, memory, starts, sizes) is None


@packable
class Scan:
    title: str
    wide: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    deep: NDArray[np.float32]
    note: str
    maybe: int | None


def scan(number: int, wide: int, deep: int, title: str = "t", note: str = "n") -> Scan:
    rng = np.random.default_rng(number)
    arrays = rng.integers(0, 256, wide, np.uint8), rng.integers(0, 2, 100, np.uint8), rng.random(deep, np.float32)
    return Scan(title * (number + 1), *arrays, note * number, None if number % 2 else number)


SCANS = {
    "one straight": [scan(n, FAR, 10) for n in range(5)],
    "both straight": [scan(n, FAR + 1, FAR // 4) for n in range(5)],
    "none": [scan(n, FAR - 1, FAR // 4 - 1) for n in range(5)],
    "text longer than the arrays": [scan(n, FAR, FAR // 4, "long" * FAR, "longer" * FAR) for n in range(3)],
    "text longer than the first": [scan(n, FAR, FAR, note="x" * (FAR + 7)) for n in range(3)],
}


@pytest.mark.parametrize("name", SCANS)
def test_arrays_are_read_straight_to_where_they_are_wanted(name):
    samples = [sample.packed for sample in SCANS[name]]
    assert agreed(Scan, samples, b"between")
    assert agreed(Scan, samples[:1])


@pytest.mark.parametrize("name", SCANS)
def test_samples_that_are_cut_or_changed_are_not_read_straight(name):
    good = [sample.packed for sample in SCANS[name]]
    wrong = [good[1][:-1], good[1] + b"\0", good[1][:1000], pack({"title": "only"}), scan(1, FAR + 2, 10).packed]
    header = good[1].index(b"NUMPY")
    wrong.append(good[1][:header] + b"MUPPY" + good[1][header + 5 :])
    last = good[1].rindex(b"NUMPY")
    wrong.append(good[1][:last] + b"MUPPY" + good[1][last + 5 :])
    for bad in wrong:
        memory, starts = laid_out([good[0], bad, good[2]])
        sizes = np.array([len(good[0]), len(bad), len(good[2])], np.int64)
        decoder = ColumnDecoder(fields_of(Scan), [field.name for field in fields_of(Scan)])
        decoder.look(good[0])
        assert out_of_a_file(decoder, memory, starts, sizes) is None


def test_samples_are_expected_to_be_like_one_that_was_looked_at():
    decoder = ColumnDecoder(fields_of(Scan), ["deep", "note"])
    assert (decoder.knows, decoder.block(1, 1 << 20), decoder.straight) == (False, None, 0)
    decoder.look(b"no sample")
    assert (decoder.knows, decoder.block(1, 1 << 20), decoder.straight) == (False, None, 0)
    decoder.look(scan(0, FAR, FAR).packed)
    assert (decoder.knows, decoder.straight) == (True, 4 * FAR)
    assert (decoder.block(1, 1 << 20) is not None) == (blocks.native is not None)


def test_what_a_file_does_not_hold_is_not_read():
    samples = sundry([3] * 10)
    memory, starts = laid_out(samples)
    sizes = np.array([len(sample) for sample in samples], np.int64)
    decoder = ColumnDecoder(fields_of(Sundry), ["n", "text"])
    decoder.decode(memory, starts, sizes)
    assert out_of_a_file(decoder, memory[:-1], starts, sizes) is None  # a byte of the last one is missing
    for name, wrong in [
        ("starts", -1),
        ("starts", 2**62),
        ("sizes", -1),
        ("sizes", 2**62),
        ("sizes", 2**63 - 1),
        ("sizes", 0),
    ]:
        columns = {"starts": starts.copy(), "sizes": sizes.copy()}
        columns[name][4] = wrong
        assert out_of_a_file(decoder, memory, columns["starts"], columns["sizes"]) is None, (name, wrong)


# --- threads that need nothing of Python ------------------------------------------------------------------------------

compiled = pytest.mark.skipif(native is None, reason="atdata/_native.c is not compiled here")


@pytest.fixture
def sundries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ColumnDecoder, BinaryIO, NDArray[np.int64], NDArray[np.int64]]]:
    if native is None:
        pytest.skip("atdata/_native.c is not compiled here")
    monkeypatch.setattr(blocks, "native", native)  # also where the others try the form in numpy
    samples = sundry([3] * 5000)
    memory, starts = laid_out(samples)
    sizes = np.array([len(sample) for sample in samples], np.int64)
    decoder = ColumnDecoder(fields_of(Sundry), ["n", "text"])
    decoder.look(samples[0])
    (tmp_path / "samples").write_bytes(memory)
    with (tmp_path / "samples").open("rb") as file:
        yield decoder, file, starts, sizes


def test_blocks_that_are_begun_together_do_not_mix(sundries):
    decoder, file, starts, sizes = sundries

    def some(first: int) -> None:
        begun = []
        for start in range(first, 5000, 7):
            which = slice(start, start + 50)
            block = decoder.block(len(starts[which]), int(sizes.min()))
            assert block is not None
            block.add(file.fileno(), starts[which], sizes[which], 0)
            begun.append((start, block))
        random.Random(first).shuffle(begun)
        for start, block in begun[: len(begun) // 2]:  # the others are forgotten, whatever became of them
            found = stacked(decoder.finish(block))
            assert found is not None
            assert found["n"] == expected["n"][start : start + 50]
            assert found["text"] == expected["text"][start : start + 50]

    expected = in_a_block(decoder, starts, sizes, [(file.fileno(), slice(0, 5000), 0)])
    assert expected is not None
    with ThreadPoolExecutor(4) as pool:
        deque(pool.map(some, range(4)), maxlen=0)


def test_a_file_may_be_closed_once_its_block_is_begun(sundries):
    decoder, file, starts, sizes = sundries
    block = decoder.block(5000, int(sizes.min()))
    assert block is not None
    number = os.dup(file.fileno())
    block.add(number, starts, sizes, 0)
    os.close(number)
    assert decoder.finish(block) is not None
    with pytest.raises(OSError, match="descriptor"):
        block.add(number, starts, sizes, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_block_begun_before_a_fork_is_finished_on_both_sides(sundries):
    decoder, file, starts, sizes = sundries
    begun = []
    for _ in range(20):  # more than the threads have done by then
        block = decoder.block(5000, int(sizes.min()))
        assert block is not None
        block.add(file.fileno(), starts, sizes, 0)
        begun.append(block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads; that is the point
        child = os.fork()
    found = [decoder.finish(block) is not None for block in begun]
    if not child:
        after = in_a_block(decoder, starts, sizes, [(file.fileno(), slice(0, 5000), 0)])
        os._exit(0 if all(found) and after is not None else 1)
    assert all(found)
    assert os.waitpid(child, 0)[1] == 0


@compiled
def test_no_row_lies_outside_its_column():
    starts = sizes = np.ones(3, np.int64)
    numbers = np.empty(4, np.int64)
    steps = ((4, 0, numbers),)
    assert native.result(native.begin(b"\0\1\2\3", starts, sizes, steps, 1)) == []
    assert numbers[1:].tolist() == [1, 1, 1]
    assert native.result(native.begin(b"\0\1\2\3", starts, sizes, steps, np.array([3, 0, 1]))) == []
    for rows in (2, -1, 2**62, np.array([0, 1, 4]), np.array([0, -1, 1]), np.array([0, 1]), np.array([0, 1, 2**62])):
        with pytest.raises(ValueError, match=r"wanted|too small"):
            native.begin(b"\0\1\2\3", starts, sizes, steps, rows)
    with pytest.raises(ValueError, match="wanted"):
        native.begin(b"\0\1\2\3", starts, sizes[:2], steps, 0)
    with pytest.raises(OverflowError):
        native.begin(b"\0\1\2\3", starts, sizes, steps, 2**63)
    with pytest.raises(OSError, match="descriptor"):
        native.begin(-1, starts, sizes, steps, 0)
    for no_job in (None, object()):
        with pytest.raises(ValueError, match="PyCapsule"):
            native.result(no_job)
