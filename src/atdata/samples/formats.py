"""The formats of files that hold one field of a sample, by their extension, as WebDataset uses them.

What a file holds becomes the stored form of a field: what msgpack would hold in a packed sample. So each kind of field
reads and writes every format that has its stored form.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from atdata.errors import MissingExtraError, SampleError
from atdata.samples.kinds.containers import MAX_DEPTH
from atdata.samples.kinds.scalars import INT_MAX, INT_MIN
from atdata.samples.npy import decode_array, encode_array
from atdata.samples.tenbin import decode_tensors, encode_tensors
from atdata.samples.unambiguous import check_keys, pairs_in_cbor, pairs_in_msgpack, read_json_text

GZIP = ".gz"
_HELD, _RATIO = 1 << 28, 100  # bytes that may come out of a compressed file; and times its size
_INT = re.compile(rb"\s*[+-]?[0-9]{1,20}\s*")
_NPZ_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: what it is called in errors.
        extensions: the last components of the extensions of its files, in lower case.
        read: gives the stored form that the bytes of a file stand for. Raises `SampleError` or `ValueError`.
        write: the other way round. Raises `SampleError`, `TypeError` or `ValueError`.
    """

    name: str
    extensions: tuple[str, ...]
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _read_int(data: bytes) -> int:
    if not _INT.fullmatch(data):
        raise ValueError(f"{data[:40]!r} is no integer")
    return _checked(int(data))


def _checked(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise ValueError("an integer of more than 64 bits")
    return value


def _write_int(value: Any) -> bytes:
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} is no integer")
    return b"%d" % value


def _write_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no text")
    return value.encode()


def _read_json(data: bytes) -> Any:
    value = read_json_text(data)
    _check_depth(value)
    return value


def _read_msgpack(data: bytes) -> Any:
    value = msgspec.msgpack.decode(data)
    check_keys(data, value, msgspec.msgpack.encode, pairs_in_msgpack)
    return value


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if type(value) is int:
        _checked(value)
    if type(value) is str:
        value.encode()  # half of a surrogate pair is no text
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(part, depth + 1)


def _write_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _read_npz(data: bytes) -> dict[str, bytes]:
    arrays: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_size(sum(info.file_size for info in archive.infolist()), data)
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename or name in arrays:
                    raise ValueError(f"{info.filename!r} is no array, or is there twice")
                arrays[name] = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    return arrays


def _write_npz(value: Any) -> bytes:
    if not isinstance(value, dict) or not all(isinstance(array, bytes) for array in value.values()):
        raise TypeError("these are no named arrays")
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in value.items():
            info = zipfile.ZipInfo(f"{name}.npy", _NPZ_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, array)
    return output.getvalue()


def _write_tensors(value: Any) -> bytes:
    arrays = [value] if isinstance(value, bytes) else value
    if not isinstance(arrays, list) or not all(isinstance(array, bytes) for array in arrays):
        raise TypeError("these are no arrays")
    return encode_tensors([decode_array(array) for array in arrays])


def _read_cbor(data: bytes) -> Any:
    cbor2, file = _cbor2("reading CBOR"), io.BytesIO(data)
    try:
        value = cbor2.load(file)
    except (cbor2.CBORError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if file.read(1):
        raise ValueError("bytes after the value")
    _check_depth(value)
    check_keys(data, value, cbor2.dumps, pairs_in_cbor)
    return value


def _write_cbor(value: Any) -> bytes:
    encoded: bytes = _cbor2("writing CBOR").dumps(value)
    return encoded


def _cbor2(purpose: str) -> Any:
    try:
        import cbor2
    except ImportError as error:
        raise MissingExtraError.of("cbor", purpose) from error
    return cbor2


def _refuse(_: Any) -> Any:
    raise SampleError(
        "a pickle is not read: it may run any code",
        hint="Leave its extension out of the layout, or declare its field as bytes to get it as it is.",
    )


def _raw(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"{type(data).__name__} is no content of a file")
    return data


INT = Format("an integer as text", ("cls", "cls2", "class", "count", "index", "inx", "id"), _read_int, _write_int)
TEXT = Format("text in UTF-8", ("txt", "text", "transcript"), bytes.decode, _write_text)
JSON = Format("JSON", ("json", "jsn"), _read_json, _write_json)
MSGPACK = Format("msgpack", ("mp", "msg", "msgpack", "messagepack"), _read_msgpack, msgspec.msgpack.encode)
CBOR = Format("CBOR", ("cbor",), _read_cbor, _write_cbor)
NPY = Format("an array (.npy)", ("npy",), _raw, _raw)
NPZ = Format("named arrays (.npz)", ("npz",), _read_npz, _write_npz)
TENSORS = Format(
    "tensors", ("ten", "tb", "tenbin"), lambda data: [encode_array(a) for a in decode_tensors(data)], _write_tensors
)
PICKLE = Format("a pickle", ("pth", "pyd", "pickle", "pkl"), _refuse, _refuse)
RAW = Format("a file", (), _raw, _raw)

_FORMATS = {
    extension: known
    for known in (INT, TEXT, JSON, MSGPACK, CBOR, NPY, NPZ, TENSORS, PICKLE)
    for extension in known.extensions
}


def format_of(extension: str) -> Format:
    """The format of files with an extension: its last component tells. What is unknown is `RAW`."""
    return _FORMATS.get(extension.rpartition(".")[2], RAW)


def decompressed(data: bytes) -> bytes:
    """The content of a gzip file.

    Raises:
        ValueError: it is none, or too large.
    """
    most = max(_HELD, _RATIO * len(data))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from None
    _check_size(len(content), data)
    return content


def compressed(data: bytes) -> bytes:
    """A gzip file with some content; the same bytes for the same content."""
    return gzip.compress(data, mtime=0)


def _check_size(size: int, data: bytes) -> None:
    most = max(_HELD, _RATIO * len(data))
    if size > most:
        raise ValueError(f"{size} bytes come out of {len(data)}, at most {most} may")
