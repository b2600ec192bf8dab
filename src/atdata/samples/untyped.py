"""Rows without a declared type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from atdata.arguments import checked_type
from atdata.errors import SampleError
from atdata.plain import plain
from atdata.samples.codec import pack, unpack
from atdata.samples.kinds import Array, Misfit, Plain, same
from atdata.samples.kinds.media import Encoded
from atdata.samples.kinds.scalars import encode_str
from atdata.samples.npy import array_in
from atdata.samples.packable import PackableSample, brief

_ARRAY, _PLAIN = Array(), Plain()


class DictSample(Mapping[str, Any]):
    """A row without a declared type: a mapping, with its fields as attributes too.

    Values are what msgpack holds; `bytes` that are an array, as `.npy` or in the compact form, appear as arrays.
    `packed` gives back exactly the bytes the sample was read from.
    """

    __slots__ = ("_packed", "_values")

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({}), /, **named: Any) -> None:
        merged = {**checked_type(values, Mapping, "values", "Give a mapping, or fields by name."), **named}
        self._set(merged, _pack_untyped(merged))

    def _set(self, values: dict[str, Any], packed: bytes | None) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_packed", packed)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """The sample in msgpack bytes.

        Raises:
            SampleError: the bytes are no msgpack map.
        """
        sample = cls.__new__(cls)
        sample._set({name: _decode_untyped(name, value) for name, value in unpack(data).items()}, bytes(data))
        return sample

    @classmethod
    def of_files(cls, values: dict[str, Any]) -> Self:
        """The sample whose values were read from a file each. They may be of kinds that a packed sample holds only in a
        field with a type, such as a list of arrays.
        """
        sample = cls.__new__(cls)
        sample._set(values, None)
        return sample

    @property
    def packed(self) -> bytes:
        """The sample as msgpack.

        Raises:
            SampleError: it was read from files, and a value needs a field with a type.
        """
        if self._packed is None:
            self._set(self._values, _pack_untyped(self._values))
        packed: bytes = self._packed
        return packed

    as_wds = PackableSample.as_wds

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        raise AttributeError(f"this sample has no field {name!r}; it has {', '.join(map(repr, self))}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a DictSample does not change; make a new one from a dict")

    def __reduce__(self) -> tuple[Callable[[Any], Self], tuple[Any]]:
        if self._packed is None:
            return type(self).of_files, (self._values,)
        return type(self).from_bytes, (self._packed,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DictSample):
            return NotImplemented
        own, others = self._identity, other._identity
        return own == others if own is not None or others is not None else same(self._values, other._values)

    def __hash__(self) -> int:
        return hash(self._identity or tuple(self._values))

    @property
    def _identity(self) -> bytes | None:
        """The bytes by which samples are compared; `None` where only values can be."""
        try:
            return self.packed
        except SampleError:
            return None

    def __repr__(self) -> str:
        return f"DictSample({', '.join(f'{plain(name)}={brief(value)}' for name, value in self.items())})"


def _pack_untyped(values: Mapping[str, Any]) -> bytes:
    encoded = {}
    for name, value in values.items():
        try:
            plain_value = value.data if isinstance(value, Encoded) else value
            encoded[encode_str(name)] = (_ARRAY if isinstance(value, np.ndarray) else _PLAIN).encoder(plain_value)
        except Misfit as misfit:
            raise misfit.under(str(name)).as_error("a sample cannot hold such a value") from None
    return pack(encoded)


def _decode_untyped(name: str, value: Any) -> Any:
    if type(value) is bytes:
        array = array_in(value)
        return value if array is None else array
    try:
        return _PLAIN.decoder(value)
    except Misfit as misfit:
        raise misfit.under(name).as_error("stored bytes are not a valid sample") from None
