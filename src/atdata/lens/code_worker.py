"""The side of a code lens that is in the sandbox: it runs the text of a file, and calls its functions with samples."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atdata.errors import LensError
from atdata.lens.functions import Lens
from atdata.lens.signatures import signature_types
from atdata.samples import DictSample, PackableSample

MODULES = (
    *("array", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "collections.abc", "colorsys"),
    *("copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq"),
    *("html", "io", "ipaddress", "itertools", "json", "math", "numbers", "operator", "random", "re", "secrets"),
    *("statistics", "string", "struct", "textwrap", "typing", "unicodedata", "uuid", "zlib", "_strptime"),
    *("encodings.ascii", "encodings.cp1252", "encodings.idna", "encodings.latin_1", "encodings.utf_8"),
    *("encodings.utf_8_sig", "encodings.utf_16", "encodings.utf_16_le", "encodings.utf_16_be", "encodings.utf_32"),
    *("numpy", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.typing"),
    *("atdata", "atdata.errors", "atdata.samples"),
    *("atdata.lens", "atdata.lens.functions", "atdata.lens.projection", "atdata.lens.registry", "atdata.lens.ulps"),
)
"""The modules that the file may import; with what these import, the last that is read before the process is locked."""

_modules: dict[bytes, types.ModuleType] = {}
_functions: dict[bytes, Callable[..., bytes]] = {}


def answer(parts: Sequence[bytes]) -> Sequence[bytes]:
    """One call: `load`, with side, path, function and text; or a side, with the samples it takes."""
    name, *rest = parts
    if name == b"load":
        side, path, function, source = rest
        _functions[side] = _called(_found(_module(path.decode(), source), function.decode()), side)
        return []
    return [_functions[name](*rest)]


def _module(path: str, source: bytes) -> types.ModuleType:
    """The module of a file; the same for both sides, if it is one file."""
    digest = hashlib.sha256(source).digest()
    if digest not in _modules:
        module = types.ModuleType(f"code_{digest.hex()[:16]}")
        sys.modules[module.__name__] = module  # where dataclasses look up what annotations name
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102  in the sandbox, which this is
        _modules[digest] = module
    return _modules[digest]


def _found(module: types.ModuleType, function: str) -> Any:
    found: Any = module
    for part in function.split("."):
        found = getattr(found, part)
    return found


def _called(found: Any, side: bytes) -> Callable[..., bytes]:
    """The function from packed samples to a packed sample. What has no annotation is a `DictSample`."""
    call: Callable[..., Any] = found
    kinds: list[Any]
    if isinstance(found, Lens):
        kinds = [found.source_type] if side == b"get" else [found.view_type, found.source_type]
        call = found.get if side == b"get" else found.put
    else:
        kinds = signature_types(found, {})[:-1]
        wanted = 1 if side == b"get" else 2
        if len(kinds) != wanted:
            raise LensError(f"the function takes {len(kinds)} values, not {wanted}")
    readers = [_reader(kind) for kind in kinds]
    return lambda *samples: _packed(call(*(read(data) for read, data in zip(readers, samples, strict=True))))


def _reader(kind: Any) -> Callable[[bytes], Any]:
    known = isinstance(kind, type) and issubclass(kind, PackableSample | DictSample)
    read: Callable[[bytes], Any] = (kind if known else DictSample).from_bytes
    return read


def _packed(given: Any) -> bytes:
    if isinstance(given, PackableSample | DictSample):
        return given.packed
    if isinstance(given, Mapping):
        return DictSample(given).packed
    raise LensError(f"the function gives {type(given).__name__}, not a sample")
