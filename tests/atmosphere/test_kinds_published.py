"""Every kind of field through a published schema, on the real PDS too: what comes back is what went, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import Phase, find, settings

import atdata
from atdata.atmosphere import AtmosphereIndex
from atdata.samples import DictSample, fields_of, packable
from atdata.testing import DevAccount
from support.kinds import TABLE, bits
from support.networks import Network

NAMES = {f"f{number}": name for number, name in enumerate(TABLE)}
EVERYTHING: Any = packable(
    type(
        "Everything",
        (),
        {"__annotations__": {f: TABLE[name].annotation for f, name in NAMES.items()}, "__module__": __name__},
    )
)

SIMPLE = settings(phases=[Phase.generate], max_examples=5, database=None)


def test_all_kinds(network: Network, alice: DevAccount, tmp_path: Path) -> None:
    values = {field: find(TABLE[name].values, lambda _: True, settings=SIMPLE) for field, name in NAMES.items()}
    sample = EVERYTHING(**values)
    dataset = atdata.write_samples([sample] * 3, tmp_path / "a.tar").as_type(EVERYTHING)
    client = network.client(alice)
    index = AtmosphereIndex(client, data_store=atdata.PDSBlobStore(client))
    index.insert_dataset(dataset, name="everything", version="1.0.0")
    reader = AtmosphereIndex(network.client(alice, folder=str(tmp_path / "elsewhere")))
    read = reader.load("everything")["train"]
    assert read.sample_type is not DictSample
    assert [str(field) for field in fields_of(read.sample_type)] == [str(field) for field in fields_of(EVERYTHING)]
    for again in read:
        assert again.packed == sample.packed
        assert {field: bits(getattr(again, field)) for field in NAMES} == {f: bits(v) for f, v in values.items()}
