"""Bytes from strangers: a sample or a `SampleError`, nothing else; no code runs, no buffer is theirs to choose."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples import DictSample, packable
from atdata.samples.npy import MAGIC, decode_array, encode_array
from support.arrays import NESTED, arrays

pytestmark = pytest.mark.timeout(60)


@packable
class Target:
    image: NDArray[np.float32]
    name: str
    label: int
    weight: float | None
    tags: list[str]
    extra: dict


SAMPLE = Target(np.arange(3, dtype="f4"), "é", -300, 0.5, ["a", "b"], {"k": [1, None, b"x"]})
READERS: list[Callable[[bytes], Any]] = [Target.from_bytes, DictSample.from_bytes]


def holding(value: bytes) -> bytes:
    """A sample whose field `image` holds an array's bytes."""
    return b"\x81\xa5image\xc6" + struct.pack(">I", len(value)) + value


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    raw = header.encode("utf-8") if isinstance(header, str) else header
    return MAGIC + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(raw)) + raw + data


def described(descr: str, shape: str = "(1,)", order: str = "False", data: bytes = bytes(16)) -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", data)


def test_a_sample_cut_anywhere_is_refused():
    packed = SAMPLE.packed
    for length in range(len(packed)):
        for read in READERS:
            with pytest.raises(SampleError):
                read(packed[:length])
    for read in READERS:
        with pytest.raises(SampleError):
            read(packed + b"\0")


def test_a_sample_with_any_byte_changed_is_a_sample_or_refused():
    packed = SAMPLE.packed
    outcomes = {True: 0, False: 0}
    for position in range(len(packed)):
        for other in {packed[position] ^ (1 << bit) for bit in range(8)} | {0, 0x80, 0x93, 0xC1, 0xFF}:
            changed = packed[:position] + bytes([other]) + packed[position + 1 :]
            for read in READERS:
                try:
                    sample = read(changed)
                except SampleError as error:
                    outcomes[False] += 1
                    str(error)
                else:
                    outcomes[True] += 1
                    assert read(sample.packed) == sample
    assert min(outcomes.values()) > 100


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sample_or_refused(data):
    for read in READERS:
        with suppress(SampleError):
            assert read(read(data).packed).packed == read(data).packed


@given(arrays, st.data())
def test_an_array_cut_anywhere_is_refused(array, data):
    stored = encode_array(array)
    with pytest.raises(SampleError):
        decode_array(stored[: data.draw(st.integers(0, len(stored) - 1))])
    with pytest.raises(SampleError):
        decode_array(stored + b"\0")


@given(
    st.text("<>|=biufcSUVmMO?0123456789[]/DasY,() ", max_size=8),
    st.lists(st.integers(-1, 2**66) | st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from(["True", "False", "1", "None"]),
    st.binary(max_size=64),
)
def test_any_header_is_an_array_or_refused(text, shape, order, data):
    for descr in (repr(text), repr([("a", text), ("b", text, (2,))]), repr([(("t", "a"), [("c", text)])])):
        with suppress(SampleError):
            array = decode_array(described(descr, repr(shape), order, data))
            assert array.nbytes <= len(data)
            assert encode_array(array)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_compact_array_or_refused(data):
    with suppress(SampleError):
        assert decode_array(data).nbytes < len(data)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/atdata-was-here",)


def object_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], object), allow_pickle=True)
    return file.getvalue()


HOSTILE_ARRAYS: dict[str, bytes] = {
    "a pickle in .npy": object_npy(),
    "a pickle behind an honest header": described("'<f4'", data=pickle.dumps(Bomb())),
    "a pickle and nothing else": pickle.dumps(Bomb()),
    "objects": described("'|O'", data=bytes(8)),
    "objects, of 8 bytes": described("'O8'", data=bytes(8)),
    "objects in a structure": described("[('a', '<f4'), ('b', '|O')]"),
    "objects in a sub-array": described("[('a', ('|O', (2,)))]"),
    "objects deep in a structure": described("[('a', [('b', [('c', 'O')])])]"),
    "a dtype by its Python name": described("'object'"),
    "a dtype of several": described("'O,O'"),
    "a dtype as a dict": described("{'names': ['a'], 'formats': ['O']}"),
    "a dtype as a tuple of a class": described("('numpy.record', '<f4')"),
    "a dtype of a bit": described("'<f4', 'x'"),
    "code for a header": npy("__import__('os').system('touch /tmp/atdata-was-here')"),
    "code in a header": described("(lambda: '<f4')()"),
    "a header that calls": described("dict()"),
    "a header without an end": npy("{'descr': '<f4'"),
    "a header with a key too many": npy("{'descr':'<f4','fortran_order':False,'shape':(),'x':1}"),
    "a header that is a list": npy("[1]"),
    "a header that cannot be hashed": npy("{[]: 1}"),
    "a header of zeros": npy(bytes(64)),
    "a header that is no text": npy(b"\xff\xfe", version=b"\x03\x00"),
    "a header with a deep list": npy("[" * 60_000),
    "a header with many signs": npy("-" * 60_000 + "1"),
    "a header with a long sum": npy("+".join("1" * 30_000)),
    "a header with a number of 60,000 digits": described("'<f4'", f"({'9' * 60_000},)"),
    "a header with a bad escape": described(r"'\d'"),
    "a header longer than its bytes": MAGIC + b"\x01\x00\xff\xff" + b"{}",
    "a header of 4 GB": MAGIC + b"\x02\x00\xff\xff\xff\xff" + b"{}",
    "an unknown version": MAGIC + b"\x04\x00" + bytes(100),
    "only magic": MAGIC,
    "a negative dimension": described("'<f4'", "(-1,)", data=b""),
    "a dimension of True": described("'<f4'", "(True,)", data=bytes(4)),
    "a dimension of 4.0": described("'<f4'", "(4.0,)"),
    "a list of dimensions": described("'<f4'", "[4]"),
    "2**64 items": described("'<f4'", "(18446744073709551616,)"),
    "2**31 * 2**31 items": described("'<f4'", "(2147483648, 2147483648)"),
    "2**70 by no items": described("'<f4'", "(0, 1180591620717411303424)", data=b""),
    "2**63 by no items": described("'<f4'", "(0, 9223372036854775808)", data=b""),
    "2**62 by 2**62 by no items": described("'<f4'", "(0, 4611686018427387904, 4611686018427387904)", data=b""),
    "40 dimensions": described("'|u1'", repr((1,) * 40), data=b"\0"),
    "items of 2 GB": described("'|S2147483647'", "(0,)", data=b""),
    "items of 1 GB of text": described("'<U999999999'", "(0,)", data=b""),
    "items without bytes": described("'|S0'", "(1000000000000,)", data=b""),
    "a sub-array of 2**60 items": described("[('a', '<f4', (1073741824, 1073741824))]", "(0,)", data=b""),
    "structures in structures": described("[('a', " * 40 + "'<f4'" + ")]" * 40),
    "two fields of one name": described("[('a', '<f4'), ('a', '<f4')]", data=bytes(8)),
    "text that is no Unicode": described("'<U1'", data=b"\0\xd8\0\0"),
    "structured text that is no Unicode": described("[('a', ('<U1', (2,)))]", data=b"a\0\0\0\xff\xff\xff\xff"),
    "compact: nothing": b"",
    "compact: no dtype": b"\x00\x00",
    "compact: one letter": b"\x01f\x00" + bytes(4),
    "compact: objects": b"\x02|O\x00" + bytes(8),
    "compact: not ASCII": b"\x03\xff\xff\xff\x00",
    "compact: a structure": b"\x05f4,f4\x00" + bytes(8),
    "compact: a negative dimension": b"\x03<f4\x01" + struct.pack("<q", -1),
    "compact: a dimension cut off": b"\x03<f4\x01" + bytes(7),
    "compact: too short": b"\x03<f4\x01" + struct.pack("<q", 2) + bytes(7),
    "compact: too long": b"\x03<f4\x01" + struct.pack("<q", 2) + bytes(9),
    "compact: 255 dimensions": b"\x03<f4\xff" + struct.pack("<255q", *[1] * 255) + bytes(4),
    "compact: dimensions that overflow": b"\x03<f4\x02" + struct.pack("<2q", 2**62, 4),
    "compact: dimensions that overflow to nothing": b"\x03<f4\x03" + struct.pack("<3q", 2**62, 2**62, 0),
}

HOSTILE: dict[str, bytes] = {
    **{name: holding(data) for name, data in HOSTILE_ARRAYS.items()},
    "nothing": b"",
    "no map": b"\x93\x01\x02\x03",
    "a map with keys of bin": b"\x81\xc4\x05image\x01",
    "a reserved byte": b"\x81\xa5image\xc1",
    "4 G of fields": b"\xdf\xff\xff\xff\xff",
    "4 G of items": b"\x81\xa5image\xdd\xff\xff\xff\xff" + bytes(100),
    "4 GB of text": b"\x81\xa5image\xdb\xff\xff\xff\xff" + bytes(100),
    "4 GB of bytes": b"\x81\xa5image\xc6\xff\xff\xff\xff" + bytes(100),
    "4 GB of an extension": b"\x81\xa5image\xc9\xff\xff\xff\xff\x01" + bytes(100),
    "a date beyond Python's": b"\x81\xa5image\xc7\x0c\xff" + bytes([0, 0, 0, 0]) + b"\x7f" + b"\xff" * 7,
    "text that is no UTF-8": b"\x81\xa5image\xa1\xff",
    "a field name that is no UTF-8": b"\x81\xa1\xff\x01",
    "a key that cannot be hashed": b"\x81\xa5image\x81\x80\x01",
    "lists in lists, 100": b"\x81\xa5image" + b"\x91" * 100 + b"\xc0",
    "lists in lists, 500": b"\x81\xa5image" + b"\x91" * 500 + b"\xc0",
    "lists in lists, a million": b"\x81\xa5image" + b"\x91" * 1_000_000 + b"\xc0",
    "maps in maps, 500": b"\x81\xa5image" + b"\x81\xa1a" * 500 + b"\xc0",
    "maps in maps, a million": b"\x81\xa5image" + b"\x81\xa1a" * 1_000_000 + b"\xc0",
}


@contextmanager
def bounded(limit: int = 64 << 20) -> Iterator[None]:
    """Whatever happens inside takes no more memory than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name):
    with bounded(), pytest.raises(SampleError) as caught:
        Target.from_bytes(HOSTILE[name])
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_without_a_type_are_refused_or_stay_bytes(name):
    with bounded(), suppress(SampleError):
        sample = DictSample.from_bytes(HOSTILE[name])
        assert sample.keys() == {"image"}
        assert type(sample.image) is bytes


EVENTS: list[str] | None = None
FORBIDDEN = {"import", "exec", "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
FORBIDDEN |= {"os.fork", "open", "socket.connect", "ctypes.dlopen"}


def _listen(event: str, _: Any) -> None:
    if EVENTS is not None and event in FORBIDDEN:
        EVENTS.append(event)


def test_no_hostile_bytes_import_run_or_open_anything():
    global EVENTS
    sys.addaudithook(_listen)
    corpus = [*HOSTILE.values(), SAMPLE.packed, holding(encode_array(np.zeros(2, NESTED)))]

    def read_all() -> None:
        for data in corpus:
            for read in READERS:
                with suppress(SampleError):
                    read(data)

    read_all()  # what numpy and Python import at first use is not the bytes' doing
    EVENTS = []
    try:
        read_all()
        heard, EVENTS = EVENTS, []
        with suppress(ImportError):
            import atdata_nothing  # noqa: F401  the hook does listen
        assert EVENTS == ["import"]
    finally:
        EVENTS = None
    assert heard == []
    assert not Path("/tmp/atdata-was-here").exists()
