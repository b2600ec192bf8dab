"""Types and values of Arrow: what its types are to us, and one Python value for each row of an array."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np

from atdata.errors import SampleError
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, Plain, Scalar
from atdata.samples.arrow import arrow
from atdata.samples.kinds.moments import Date, DateTime, Duration
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.kinds.tuples import TupleOf

# What Arrow types are to us. A dictionary is its values, an extension its storage, an image as Hugging Face writes
# it, {bytes, path}, its bytes.


def bare_type(kind: Any) -> Any:
    """The Arrow type without what stands around it: dictionaries, extensions, paths of pictures."""
    pa = arrow()
    if isinstance(kind, pa.BaseExtensionType):
        return bare_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return bare_type(kind.value_type)
    return kind.field("bytes").type if is_image(kind) else kind


def bare_array(array: Any) -> Any:
    """The array without what stands around its type; see `bare_type`."""
    pa = arrow()
    if isinstance(array.type, pa.BaseExtensionType):
        return bare_array(array.storage)
    if pa.types.is_dictionary(array.type):
        return bare_array(array.dictionary_decode())
    return array.flatten()[array.type.get_field_index("bytes")] if is_image(array.type) else array


def is_image(kind: Any) -> bool:
    """True for the bytes and the path of a file."""
    if not arrow().types.is_struct(kind) or {part.name for part in kind} != {"bytes", "path"}:
        return False
    return is_bytes(kind.field("bytes").type) and is_text(kind.field("path").type)


def is_bytes(kind: Any) -> bool:
    """True for bytes of any length."""
    is_ = arrow().types
    return bool(
        is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind) or is_.is_binary_view(kind)
    )


def is_text(kind: Any) -> bool:
    """True for what is text in samples."""
    is_ = arrow().types
    text = is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind)
    return bool(text or is_.is_decimal(kind) or is_.is_time(kind))


def is_time(kind: Any) -> bool:
    """True for moments, days and durations."""
    is_ = arrow().types
    return bool(is_.is_timestamp(kind) or is_.is_date(kind) or is_.is_duration(kind))


def is_list(kind: Any) -> bool:
    """True for lists of any length."""
    is_ = arrow().types
    return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind))


def scalar_class(kind: Any) -> type[np.generic] | None:
    """The numpy class of numbers and times."""
    is_ = arrow().types
    if is_time(kind):
        return np.timedelta64 if is_.is_duration(kind) else np.datetime64
    if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind):
        scalar: type[np.generic] = np.dtype(kind.to_pandas_dtype()).type
        return scalar
    return None


def dims_of(kind: Any) -> tuple[list[int | None], Any]:
    """The dimensions of lists of numbers, and what the numbers are: lists of one size in each other are one array.

    No dimensions where the lists do not hold numbers, or hold lists of several sizes.
    """
    dims = [kind.list_size if arrow().types.is_fixed_size_list(kind) else None]
    leaf = kind.value_type
    while arrow().types.is_fixed_size_list(leaf):
        dims.append(leaf.list_size)
        leaf = leaf.value_type
    return ([] if scalar_class(leaf) is None else dims), leaf


# Values, a batch at a time. Each function gives one Python value for each row, None for null.


def values_of(array: Any, wanted: FieldType) -> list[Any]:
    """One Python value for each row, `None` for null."""
    if arrow().types.is_null(array.type):
        return [None] * len(array)
    match wanted:
        case Maybe(inner):
            return values_of(array, inner)
        case Array():
            return _times(array) if is_time(bare_type(array.type)) else _arrays(array)
        case ListOf(item) if not isinstance(item, Plain):
            array = bare_array(array)
            return _cut(array, values_of(array.flatten(), item))
        case Scalar("float"):
            return [None if value is None else float(value) for value in plain_values(array)]
    return plain_values(array)


def cells_of(array: Any, wanted: FieldType) -> list[Any]:
    """The values of a column, one for each row, as a kind of field takes it out of a cell; `None` for null.

    Moments are those of Python, to the microsecond where they have no more, and arrays are numpy's, wherever the kind asks
    for such: text and lists would no longer say what they were.
    """
    if isinstance(wanted, Maybe):
        return cells_of(array, wanted.inner)
    is_, array = arrow().types, array if isinstance(wanted, Array) else _unwrapped(array)
    kind = bare_type(array.type)
    match wanted:
        case Array() if is_time(kind) or (is_list(kind) and dims_of(kind)[0]):
            return values_of(array, wanted)
        case DateTime() | Date() | Duration() if is_time(kind):
            return [None if moment is None else _moment(moment, array.type) for moment in _times(array)]
        case SampleOf() if is_.is_struct(array.type):
            kinds = {part.name: part.type for part in wanted.fields}
            return _structs(array, _parts(array, lambda name: kinds.get(name, Plain())))
        case TupleOf(items) if is_.is_struct(array.type):
            return _structs(array, _parts(array, lambda name: items[int(name)] if name.isdecimal() else Plain()))
        case DictOf(inner) if not isinstance(inner, Plain) and is_.is_struct(array.type):
            return _structs(array, _parts(array, lambda _: inner))
        case DictOf(inner) if not isinstance(inner, Plain) and is_.is_map(array.type):
            return _maps(array, cells_of(array.items, inner))
        case DictOf(inner) if not isinstance(inner, Plain) and _is_pairs(array.type):
            keys, items = array.flatten().flatten()
            pairs = list(zip(plain_values(keys), cells_of(items, inner), strict=True))
            return [None if some is None else dict(some) for some in _cut(array, pairs)]
        case ListOf(inner) | TupleOf((inner,), True) if not isinstance(inner, Plain) and is_list(array.type):
            return _cut(array, cells_of(array.flatten(), inner))
    return plain_values(array)


def _is_pairs(kind: Any) -> bool:
    """True for maps as tables have them that know no maps."""
    return is_list(kind) and arrow().types.is_struct(kind.value_type) and kind.value_type.names == ["key", "value"]


def _unwrapped(array: Any) -> Any:
    """The array without dictionaries and extensions."""
    if isinstance(array.type, arrow().BaseExtensionType):
        return _unwrapped(array.storage)
    return _unwrapped(array.dictionary_decode()) if arrow().types.is_dictionary(array.type) else array


def _parts(array: Any, kind_of: Callable[[str], FieldType]) -> list[list[Any]]:
    return [cells_of(part, kind_of(field.name)) for part, field in zip(array.flatten(), array.type, strict=True)]


def _moment(moment: Any, kind: Any) -> Any:
    """A moment of numpy as one of Python; the same where Python has none that is equal."""
    whole = moment.astype("m8[us]" if moment.dtype.kind == "m" else "M8[us]" if moment.dtype != "M8[D]" else "M8[D]")
    python = whole.item() if whole == moment else None
    if isinstance(python, dt.datetime) and arrow().types.is_timestamp(kind) and kind.tz:
        return python.replace(tzinfo=dt.UTC)
    return moment if python is None or isinstance(python, int) else python


def _times(array: Any) -> list[Any]:
    array = bare_array(array)
    moments = array.to_numpy(zero_copy_only=False)
    return [moments[index, ...].copy() if valid else None for index, valid in enumerate(array.is_valid().to_pylist())]


def tensor_shape(kind: Any) -> list[int] | None:
    """The shape of the tensors of a type, their dimensions in the order that they are meant in; `None` for other types."""
    if not isinstance(kind, arrow().FixedShapeTensorType):
        return None
    return list(kind.shape) if kind.permutation is None else [kind.shape[place] for place in kind.permutation]


def _arrays(array: Any) -> list[Any]:
    """Lists of numbers as arrays."""
    tensors = array.type if isinstance(array.type, arrow().FixedShapeTensorType) else None
    array = bare_array(array)
    dims, _ = dims_of(array.type)
    numbers = array.flatten()
    for _ in dims[1:]:
        numbers = numbers.flatten()
    items = numbers.to_numpy(zero_copy_only=False).reshape(-1, *dims[1:])
    rows = [None if row is None else row.copy() for row in _cut(array, items)]
    if tensors is None:
        return rows
    order = range(len(tensors.shape)) if tensors.permutation is None else tensors.permutation
    return [None if row is None else row.reshape(tensors.shape).transpose(order) for row in rows]


def _cut(array: Any, items: Any) -> list[Any]:
    """The items of all lists, flattened, as one piece for each list."""
    pieces, start = [], 0
    for length in arrow().compute.list_value_length(array).to_pylist():
        pieces.append(None if length is None else items[start : start + length])
        start += length or 0
    return pieces


def plain_values(array: Any) -> list[Any]:
    """Values as msgpack has them: times and decimals as text."""
    is_, array = arrow().types, bare_array(array)
    if is_.is_struct(array.type):
        return _structs(array, [plain_values(part) for part in array.flatten()])
    if is_list(array.type):
        return _cut(array, plain_values(array.flatten()))
    if is_.is_map(array.type):
        return _maps(array, plain_values(array.items))
    if is_time(array.type):
        zone = "Z" if is_.is_timestamp(array.type) and array.type.tz else ""
        return [None if moment is None else f"{moment}{zone}" for moment in _times(array)]
    if is_.is_time(array.type):
        return list(array.cast(arrow().string()).to_pylist())
    if is_.is_decimal(array.type):
        return [None if number is None else f"{number:f}" for number in array.to_pylist()]
    return list(array.to_pylist())


def _structs(array: Any, columns: list[list[Any]]) -> list[Any]:
    """Structs as dicts, of the values of their parts."""
    names = [part.name for part in array.type]
    if len(set(names)) < len(names):
        raise SampleError("a struct has two parts of one name", actual=str(names)[:80], hint="Rename one of them.")
    valid = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else [()] * len(array)
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]


def _maps(array: Any, items: list[Any]) -> list[Any]:
    """Maps as dicts, of the values of their items; a key that is no text becomes its text."""
    keys = plain_values(array.keys)
    ends = array.offsets.to_pylist()
    maps: list[Any] = []
    for start, end, valid in zip(ends, ends[1:], array.is_valid().to_pylist(), strict=False):
        entries = {str(key): item for key, item in zip(keys[start:end], items[start:end], strict=True)}
        if len(entries) < end - start:
            raise SampleError("a map has a key twice", actual=str(keys[start:end])[:80])
        maps.append(entries if valid else None)
    return maps
