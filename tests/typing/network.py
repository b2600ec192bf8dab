"""The network as its users write against it: a function, since it takes an account to run."""

from __future__ import annotations

from typing import assert_type

import atdata
from atdata import (
    AtmosphereClient,
    AtmosphereIndex,
    AtUri,
    Dataset,
    DatasetDict,
    LocalIndex,
    PDSBlobStore,
    promote_to_atmosphere,
)
from atdata.atmosphere import DatasetLoader
from atdata.errors import AtdataError, VerificationError
from atdata.records import Entry


@atdata.packable
class Row:
    n: int


def publish(handle: str, password: str, rows: Dataset[Row]) -> Entry:
    client = AtmosphereClient()
    client.login(handle, password)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    return index.insert_dataset(rows, name="rows", version="1.0.0")


def load() -> list[Row]:
    client = AtmosphereClient(resolver_url="https://resolver.test", patience=10)
    assert_type(atdata.load_dataset("@alice.test/rows", Row, client=client), DatasetDict[Row])
    rows = atdata.load_dataset("@alice.test/rows", Row, split="train", client=client, streaming=False)
    assert_type(rows, Dataset[Row])
    try:
        return list(rows)
    except VerificationError as error:
        assert_type(error.step, str | None)
        raise
    except AtdataError as error:
        assert_type(error.hint, str | None)
        return []


def promote(index: LocalIndex, client: AtmosphereClient) -> AtUri:
    return promote_to_atmosphere(index.get_dataset("rows"), index, client, tags=["small"])


def read(client: AtmosphereClient, uri: AtUri) -> Dataset[Row]:
    return DatasetLoader(client).to_dataset(uri, Row)
