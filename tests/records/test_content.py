"""Content metadata: a sample of a declared type, held to its schema when written; floats come back to the bit."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.atmosphere import AtmosphereIndex
from atdata.atproto import cbor
from atdata.errors import FieldTypeError, LexiconError, NotFoundError, SampleError
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere
from atdata.records.content import read_content, write_content
from atdata.samples import Doc, PackableSample, Unit
from atdata.testing import DevAccount
from support.networks import Network


class Lens(PackableSample):
    aperture: Annotated[float, Unit("1")]
    names: list[str]


class Instrument(PackableSample):
    voltage: Annotated[float, Unit("kV"), Doc("of the source")]
    gains: list[float]
    tuned: dict[str, float | None]
    pair: tuple[int, float]
    lens: Lens | None
    at: dt.datetime
    raw: bytes
    anything: Any = None


NUMBERS = st.floats(allow_nan=False)
instruments = st.builds(
    Instrument,
    voltage=NUMBERS,
    gains=st.lists(NUMBERS, max_size=4),
    tuned=st.dictionaries(st.text(max_size=5), st.none() | NUMBERS, max_size=3),
    pair=st.tuples(st.integers(-(2**53), 2**53), NUMBERS),
    lens=st.none() | st.builds(Lens, NUMBERS, st.lists(st.text(), max_size=2)),
    at=st.datetimes(timezones=st.just(dt.UTC)),
    raw=st.binary(max_size=5),
    anything=st.none() | st.lists(st.integers(0, 9) | st.text() | st.booleans(), max_size=3),
)


@given(instruments)
def test_what_goes_in_comes_out_to_the_bit(instrument: Instrument) -> None:
    content = write_content(instrument)
    again = read_content(Instrument, cbor.decode(cbor.encode(content)))  # no float is in it: this would refuse
    assert again == instrument  # but for the order of names, which a record does not keep
    assert write_content(again) == content


def instrument(**others: Any) -> Instrument:
    given: dict[str, Any] = {
        "voltage": 0.1, "gains": [-0.0, 1e300], "tuned": {"a": None, "b": 1.5}, "pair": (1, 2.5),
        "lens": Lens(1.4, ["a"]), "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "raw": b"\0",
    }  # fmt: skip
    return Instrument(**{**given, **others})


def test_floats_are_text_where_the_type_says_number() -> None:
    content = write_content(instrument())
    assert content["voltage"] == "0.1"
    assert content["gains"] == ["-0.0", "1e+300"]
    assert content["lens"]["aperture"] == "1.4"
    assert math.copysign(1, read_content(Instrument, content).gains[0]) == -1
    assert read_content(Instrument, {**content, "voltage": 3}).voltage == 3.0  # as others may write it


@pytest.mark.parametrize(
    "wrong", [{"voltage": "high"}, {"gains": [None]}, {"anything": [1, 2.5]}, {"lens": 3}, {"raw": "a"}], ids=str
)
def test_what_the_type_does_not_say_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SampleError) as caught:
        write_content(instrument(**wrong))
    assert next(iter(wrong)) in str(caught.value.path)


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(FieldTypeError):
        write_content({"voltage": 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [{}, {"voltage": "1_0"}, {"voltage": True}, {"voltage": "0.1", "gains": {}}])
def test_what_is_read_is_of_the_type_too(content: dict[str, Any]) -> None:
    with pytest.raises(LexiconError):
        read_content(Instrument, content)


@atdata.packable
class Row:
    n: int


def test_a_team_and_the_network_have_it(network: Network, alice: DevAccount, tmp_path: Path) -> None:
    dataset = atdata.write_samples([Row(1)], tmp_path / "a.tar").as_type(Row)
    team = LocalIndex(str(tmp_path / "index.db"))
    entry = team.insert_dataset(dataset, name="rows", content_metadata=instrument())
    entry = team.get_dataset("@local/rows")
    assert entry.content_as(Instrument) == instrument()
    assert entry.metadata_schema_ref is not None
    their_type = team.get_schema(entry.metadata_schema_ref).sample_type
    assert entry.content_as(their_type).packed == instrument().packed

    client = network.client(alice)
    promote_to_atmosphere(entry, team, client, data_store=atdata.PDSBlobStore(client))
    index = AtmosphereIndex(network.client(alice, folder=str(tmp_path / "elsewhere")))
    public = index.get_dataset("rows")
    assert public.content_as(Instrument) == instrument()
    assert public.metadata_schema_ref is not None
    assert public.metadata_schema_ref.authority == alice.did
    assert index.get_schema(public.metadata_schema_ref).name == "Instrument"
    assert json.dumps(dict(public.content_metadata or {}), default=repr)
    bare = team.get_dataset("@local/rows")
    with pytest.raises(NotFoundError):
        atdata.write_samples([Row(2)], tmp_path / "b.tar")
        team.insert_dataset(atdata.Dataset[Row](tmp_path / "b.tar"), name="bare").content_as(Instrument)
    assert bare == entry
