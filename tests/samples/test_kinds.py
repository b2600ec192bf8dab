"""Every kind of field, over every road: what goes in comes out, bit for bit. A new kind is one row in `support.kinds`."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atdata
from atdata.atproto import cbor
from atdata.errors import FieldTypeError, SampleError
from atdata.samples import SampleBatch, fields_of
from atdata.schema import from_json_schema, schema_of, to_json_schema, type_of
from support import MANY
from support.kinds import TABLE, bits, sample_type

kinds = pytest.mark.parametrize("name", TABLE)
few = settings(
    max_examples=15 if MANY else 6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def values(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(TABLE[name].values, min_size=1, max_size=6)


def content_of(name: str) -> dict[str, Any]:
    content, _ = to_json_schema(schema_of(sample_type(name)))
    return json.loads(json.dumps(content))


@kinds
@few
@given(data=st.data())
def test_alone(name: str, data: st.DataObject) -> None:
    value = data.draw(TABLE[name].values)
    sample = sample_type(name)(3, value)
    back = type(sample).from_bytes(sample.packed)
    assert bits(back.value) == bits(value)
    assert back == sample
    assert back.packed == sample.packed
    assert type(sample).from_bytes(sample.as_wds["msgpack"]) == sample
    if TABLE[name].pickles:
        assert bits(pickle.loads(pickle.dumps(sample)).value) == bits(value)


@kinds
@few
@given(data=st.data())
def test_in_columns(name: str, data: st.DataObject, tmp_path: Path) -> None:
    drawn = data.draw(values(name))
    samples = [sample_type(name)(number, value) for number, value in enumerate(drawn)]
    atdata.write_samples(samples, tmp_path / "a.tar", overwrite=True)
    (batch,) = atdata.Dataset[sample_type(name)](tmp_path / "a.tar").ordered(batch_size=len(samples))
    assert [bits(sample.value) for sample in batch.samples] == list(map(bits, drawn))
    assert bits(batch["value"]) == bits(SampleBatch.of(sample_type(name), samples)["value"])
    if TABLE[name].pickles:
        assert pickle.loads(pickle.dumps(batch)).samples == samples
    picked = atdata.Dataset[sample_type(name)](tmp_path / "a.tar")[len(samples) - 1]
    assert bits(picked.value) == bits(drawn[-1])


@kinds
@few
@given(data=st.data())
def test_through_a_schema(name: str, data: st.DataObject) -> None:
    schema = schema_of(sample_type(name))
    content = content_of(name)
    read = from_json_schema(schema.name, content)
    assert read == schema
    assert (
        from_json_schema(schema.name, cbor.decode(cbor.encode(content))) == schema
    )  # it fits into a record: no floats
    built: Any = type_of(read)
    assert schema_of(built) == schema
    assert pickle.loads(pickle.dumps(built)) is built
    sample = sample_type(name)(3, data.draw(TABLE[name].values))
    again = built.from_bytes(sample.packed)
    assert again.packed == sample.packed
    assert bits(again.value) == bits(sample.value)
    if TABLE[name].pickles:
        assert pickle.loads(pickle.dumps(again)) == again


@kinds
def test_what_does_not_fit_is_refused_by_its_path(name: str) -> None:
    for value in TABLE[name].wrong:
        with pytest.raises(SampleError) as caught:
            _ = sample_type(name)(3, value).packed
        assert str(caught.value.path).split(".")[1].startswith("value")
        assert caught.value.expected
        assert caught.value.actual


@kinds
def test_a_type_is_shown_as_people_write_it(name: str) -> None:
    field = fields_of(sample_type(name))[1]
    if TABLE[name].text:
        assert field.shown == TABLE[name].text
    assert str(field).startswith(f"value: {field.shown}")


@kinds
@pytest.mark.parametrize(
    "junk", [b"\xc1", "2026-13-45T99", "é", -1, 2**64 - 1, 1.5, [], [1, 2], {}, {"x": None}, None, True]
)
def test_damage_is_an_error_of_a_sample(name: str, junk: Any) -> None:
    packed = atdata.DictSample({"n": 1, "value": junk}).packed
    with suppress(SampleError):
        back = sample_type(name).from_bytes(packed)
        assert back.from_bytes(back.packed) == back


def test_units_and_documentation_are_the_fields() -> None:
    field = fields_of(sample_type("unit"))[1]
    assert (field.unit, field.doc) == ("m/s2", "how fast\nit grows")
    node = content_of("unit")["properties"]["value"]
    assert node == {"type": "number", "description": "how fast\nit grows", "atdata": {"unit": "m/s2"}}


@pytest.mark.parametrize("unit", ["", "n m", "é", "(", "m" * 101, 3])
def test_what_is_no_unit(unit: Any) -> None:
    with pytest.raises(FieldTypeError):
        atdata.Unit(unit)


@pytest.mark.parametrize("names", ["cat", [], ["a", "a"], [""], [1]])
def test_what_are_no_names_of_classes(names: Any) -> None:
    with pytest.raises(FieldTypeError):
        atdata.ClassLabel(names)


def test_classes_have_names() -> None:
    label = atdata.ClassLabel(names=["cat", "dog"])
    assert (label.index("dog"), label.names[0]) == (1, "cat")
    with pytest.raises(FieldTypeError):
        label.index("cow")


MISSING = {
    "sparse": ("scipy", "csr_array"),
    "tables": ("pyarrow", "pyarrow.Tensor"),
    "safetensors": ("safetensors", "safetensors"),
    "frames": ("polars", "polars.DataFrame"),
    "images": ("PIL", None),
}


@pytest.mark.parametrize("extra", MISSING)
def test_without_a_library_the_extra_is_named(extra: str) -> None:
    """Reading a schema, and a sample, that needs it; nothing else needs it."""
    library, name = MISSING[extra]
    if name is None:
        needs = "atdata.Image(b'x').array"
    else:
        needs = f"type_of(from_json_schema('T', {content_of(name)!r})).from_bytes({b'x'!r})"
        if name == "safetensors":
            needs = "SafetensorsOf(Array()).from_stored(b'')"
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import atdata\n"
        "from atdata.schema import from_json_schema, type_of\n"
        "from atdata.samples.kinds import Array, SafetensorsOf\n"
        "try:\n"
        f"    {needs}\n"
        "except atdata.errors.MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"atdata[{extra}]" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "name", ["csr_array", "any sparse array", "pyarrow.Tensor", "safetensors", "structured", "pandas.DataFrame"]
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_bytes_are_an_error_of_a_sample(name: str, data: st.DataObject) -> None:
    kind = fields_of(sample_type(name))[1].type
    whole = bytearray(kind.encoder(data.draw(TABLE[name].values.filter(lambda value: value is not None))))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for stored in (bytes(whole), bytes(whole[:cut])):
        with suppress(SampleError):
            repr(sample_type(name).from_bytes(atdata.DictSample({"n": 1, "value": stored}).packed))
