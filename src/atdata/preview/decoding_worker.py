"""The side of a preview that is in the sandbox: it decodes samples, and draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from atdata.dataset.stored import stored_decoder
from atdata.errors import AtdataError
from atdata.preview.shown import PreviewLimits, ShownSample, ShownValue
from atdata.preview.values import SampleShower
from atdata.samples import DictSample, Field
from atdata.samples.codec import unpack
from atdata.samples.kinds import Misfit
from atdata.samples.layout import Layout
from atdata.samples.pictures import load_decoders
from atdata.schema import SampleSchema, from_json_schema, type_of
from atdata.shards.index import SampleMembers

MODULES = ("zoneinfo", "atdata.preview.decoding_worker")
"""The modules that are read before the process is locked. Libraries of tables are not: what needs them is not decoded."""

load_decoders()


def answer(parts: Sequence[bytes]) -> Sequence[bytes]:
    """One call: the schema, the layout and the limits, and samples, to the samples as they are shown."""
    said, *samples = parts
    schema, layout, *limits = msgspec.json.decode(said)
    show = _Decoder(schema, layout, PreviewLimits(*limits)).show
    return [msgspec.json.encode([show(number, sample) for number, sample in enumerate(samples)])]


class _Decoder:
    def __init__(self, schema: Mapping[str, Any] | None, layout: Mapping[str, str], limits: PreviewLimits) -> None:
        self._shower, self._limits = SampleShower(limits), limits
        self._schema: SampleSchema | None = None
        if schema is not None:
            self._schema = from_json_schema("Sample", schema)
        self._layout = Layout.of(layout) if layout else None

    def show(self, number: int, sample: bytes) -> ShownSample:
        """One sample, as it is sent: after a byte that says how it is stored."""
        packed, stored = sample[:1] == b"p", sample[1:]
        try:
            if not packed:
                return self._shower.show(number, self._read_files(SampleMembers(stored)))
            if self._schema is None:
                return self._shower.show(number, DictSample.from_bytes(stored))
            return self._by_field(number, unpack(stored), self._schema.fields)
        except AtdataError as error:
            return ShownSample(number, why=error.what)

    @property
    def _read_files(self) -> Callable[[bytes], Any]:
        return stored_decoder(DictSample if self._schema is None else type_of(self._schema), self._layout)

    def _by_field(self, number: int, stored: Mapping[str, Any], fields: Sequence[Field]) -> ShownSample:
        """A packed sample field by field: one that cannot be decoded takes no other with it."""
        values, whys = dict[str, Any](), dict[str, str]()
        for field in fields[: self._limits.fields]:
            raw = values[field.name] = stored.get(field.name)
            try:
                values[field.name] = None if field.name not in stored else field.type.decoder(raw)
            except Misfit as misfit:
                whys[field.name] = f"it is not {misfit.expected}"
            except Exception as error:  # noqa: BLE001  of the library of its kind, which is not in here
                whys[field.name] = f"such a field is not decoded for a preview ({type(error).__name__})"
        shown = self._shower.show(number, values, fields)
        said = [_with(value, whys.get(name)) for name, (_, value) in zip(values, shown.values, strict=True)]
        named = tuple((name, value) for (name, _), value in zip(shown.values, said, strict=True))
        return replace(shown, values=named, more=max(0, len(fields) - len(named)))


def _with(value: ShownValue, why: str | None) -> ShownValue:
    return value if why is None else replace(value, why=why)
