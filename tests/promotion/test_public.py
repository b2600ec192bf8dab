"""There is one way to the network, and the search stands on it: whatever publishes a secret is refused, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetPublisher, PDSBlobStore, SchemaPublisher
from atdata.errors import UsageError
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere
from atdata.testing import Devnet
from support.networks import list_records

BAD = "see https://bob:pa55-w0rd@example.com/x"
CODE = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}


@atdata.packable
class Row:
    n: int


@atdata.packable
class Other:
    n: int
    m: int


class Ways:
    """Everything that writes records, each told to write the text."""

    def __init__(self, client: AtmosphereClient) -> None:
        self.client, self.index = client, AtmosphereIndex(client, data_store=PDSBlobStore(client))
        self.dataset = atdata.write_samples([Row(n) for n in range(3)], Path("rows.tar").absolute())
        self.more = atdata.write_samples([Row(n) for n in range(4)], Path("more.tar").absolute())
        self.uri = self.index.insert_dataset(self.dataset, name="rows", version="1.0.0").located
        self.schema = self.index.publish_schema(Row)
        self.local = LocalIndex(Path("team.sqlite").absolute())
        self.entry = self.local.insert_dataset(self.more, name="team", metadata={"note": BAD})
        self.plain = self.local.insert_dataset(self.more, name="plain")

    def lens(self, **facts: Any) -> object:
        both = {"source_schema": self.schema, "target_schema": self.schema}
        return self.index.publish_lens(**{"name": "l", **both, "getter_code": CODE, "putter_code": CODE, **facts})

    def publish_with(self, **facts: Any) -> object:
        return DatasetPublisher(self.client).publish_with_urls(
            ["https://example.com/a.tar"], self.schema, **{"name": "x", **facts}
        )

    def promote(self, **facts: Any) -> object:
        store = PDSBlobStore(self.client)
        return promote_to_atmosphere(self.plain, self.local, self.client, data_store=store, **facts)


WAYS: dict[str, Callable[[Ways], object]] = {
    "insert_dataset, description": lambda to: to.index.insert_dataset(to.more, name="more", description=BAD),
    "insert_dataset, name": lambda to: to.index.insert_dataset(to.more, name=BAD),
    "insert_dataset, tags": lambda to: to.index.insert_dataset(to.more, name="more", tags=["a", BAD]),
    "insert_dataset, metadata": lambda to: to.index.insert_dataset(to.more, name="more", metadata={"a": [{"b": BAD}]}),
    "insert_dataset, bytes": lambda to: to.index.insert_dataset(to.more, name="more", metadata={"a": BAD.encode()}),
    "update_dataset": lambda to: to.index.update_dataset(str(to.uri), description=BAD),
    "update_dataset, metadata": lambda to: to.index.update_dataset(str(to.uri), metadata={BAD: 1}),
    "publish_with_urls": lambda to: to.publish_with(license=BAD),
    "publish_schema, description": lambda to: to.index.publish_schema(Other, description=BAD),
    "publish_schema, metadata": lambda to: SchemaPublisher(to.client).publish(Other, metadata={"a": BAD}),
    "publish_lens, description": lambda to: to.lens(description=BAD),
    "publish_lens, metadata": lambda to: to.lens(metadata={"a": BAD}),
    "publish_lens, repository": lambda to: to.lens(getter_code={**CODE, "repository": "https://token@example.com/r"}),
    "promote, metadata": lambda to: promote_to_atmosphere(to.entry, to.local, to.client, data_store=PDSBlobStore(to.client)),
    "promote, description": lambda to: to.promote(description=BAD),
    "promote, license": lambda to: to.promote(license=BAD),
    "promote, name": lambda to: to.promote(name=BAD),
}  # fmt: skip


@pytest.fixture(scope="module")
def ways(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Ways:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("publisher"))
        patch.setenv("ATDATA_CACHE", str(Path("cache").absolute()))
        patch.setenv("ATDATA_DATA", str(Path("data").absolute()))
        return Ways(devnet.client(devnet.create_account("careless.test"), folder="home"))


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_written_around_the_search(ways: Ways, devnet: Devnet, way: str) -> None:
    did, url = ways.client.did, devnet.pds_url

    def records() -> list[Any]:
        kinds = ("schema", "entry", "label", "lens")
        return [list_records(url, did, f"science.alt.dataset.{kind}") for kind in kinds]

    before = records()
    devnet.pds_servers[0].requests.clear()
    with pytest.raises(UsageError) as caught:
        WAYS[way](ways)
    assert "credentials" in caught.value.what
    assert "w0rd" not in str(caught.value)
    assert caught.value.path
    assert records() == before
    writes = ("putRecord", "createRecord", "applyWrites", "deleteRecord")
    assert not [request for request in devnet.pds_servers[0].requests if any(write in request for write in writes)]
