"""The founding document about promotion: its examples run as written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.local import LocalIndex, S3DataStore
from atdata.testing import DevAccount
from support.networks import Network, list_records
from support.oracles import needs_seeds
from support.s3_servers import S3Server
from support.seed_code import PROMOTION, PROMOTION_ERRORS, PROMOTION_WORKFLOW, Block, blocks, replaced

pytestmark = [pytest.mark.slow, needs_seeds]

TEXT = "promotion-workflow-reference.txt"


@atdata.packable
class ImageSample:
    image: NDArray
    label: str


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.served)])
def index_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    url = str(tmp_path / "team.sqlite") if request.param == "sqlite" else request.getfixturevalue("redis_url")
    monkeypatch.setenv("ATDATA_INDEX_URL", url)
    return str(url)


class Reader:
    """Types one block after the other."""

    def __init__(self, account: DevAccount, server: S3Server, bucket: str, other_bucket: str) -> None:
        self.names: dict[str, Any] = {"__name__": "seed"}
        self.account, self.server = account, server
        self.values = {
            "handle": account.handle,
            "password": account.password,
            "s3_url": server.url,
            "s3_key": server.key,
            "s3_secret": server.secret,
            "bucket": bucket,
            "other_bucket": other_bucket,
        }

    def run(self, block: Block) -> None:
        exec(compile(replaced(block.code, self.values), str(block), "exec", dont_inherit=True), self.names)


@pytest.fixture
def reader(
    network: Network,
    alice: DevAccount,
    s3_server: S3Server,
    public_bucket: str,
    index_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    monkeypatch.chdir(tmp_path)
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    with s3_server.new_public_bucket() as other:
        yield Reader(alice, s3_server, public_bucket, other)


def images(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    samples = [ImageSample(rng.random((4, 4)).astype(np.float32), f"{i}") for i in range(10)]
    return atdata.write_samples(samples, f"images-{seed}-%06d.tar", maxcount=4, overwrite=True)


def test_the_reference(reader: Reader, bob: DevAccount, network: Network) -> None:
    credentials = reader.server.credentials
    Path("new-s3-creds.env").write_text("".join(f"{name}={value}\n" for name, value in credentials.items()))
    index = LocalIndex(data_store=S3DataStore(credentials, bucket=reader.values["bucket"]))
    index.insert_dataset(images(0), name="my-dataset", metadata={"scale": 0.5}, tags=["local"])
    first, second, third, fourth, fifth = blocks(TEXT, PROMOTION)
    reader.run(first)
    assert reader.names["local_index"].settings.index_url, "the default index is the team's"
    uri = reader.names["at_uri"]
    reader.run(second)
    assert reader.names["at_uri"] != uri
    reader.names["entry1"], reader.names["entry2"] = (
        index.insert_dataset(images(seed), name=f"images-{seed}") for seed in (1, 2)
    )
    reader.run(third)
    assert reader.names["uri1"] != reader.names["uri2"]
    reader.run(fourth)
    assert reader.names["at_uri"] == uri, "the same call again is the same record"
    reader.run(fifth)
    assert reader.names["at_uri"] == uri, "it is published already, and nothing is copied"
    assert reader.server.keys(reader.values["other_bucket"]) == []
    (errors,) = blocks(TEXT, PROMOTION_ERRORS)
    reader.run(errors)
    records = {
        kind: list_records(reader.account.pds_url, reader.account.did, f"science.alt.dataset.{kind}")
        for kind in ("schema", "entry")
    }
    assert len(records["schema"]) == 1, "the schema is there once"
    names = sorted(record["value"]["name"] for record in records["entry"])
    assert names == ["images-1", "images-2", "my-dataset", "my-dataset-v2"]
    for record in records["entry"]:
        with_client = network.client(bob)
        loaded = atdata.load_dataset(record["uri"], client=with_client)["train"]
        assert len(list(loaded)) == 10


def test_the_complete_workflow(reader: Reader, bob: DevAccount, network: Network) -> None:
    (workflow,) = blocks(TEXT, PROMOTION_WORKFLOW, after="Complete Workflow Example")
    reader.run(workflow)
    entry, local = reader.names["entry"], reader.names["local_entry"]
    assert (entry.name, entry.license, entry.tags) == ("feature-vectors-v1", "MIT", ("features", "embeddings"))
    assert entry.data_urls == local.data_urls, "kept where they are"
    schema = reader.names["local_index"].get_schema(local.schema_ref)
    assert entry.identity(schema.identity) == local.identity(schema.identity)
    loaded = atdata.load_dataset(
        f"@{reader.account.handle}/feature-vectors-v1", client=network.client(bob), split="train"
    )
    assert [sample.label for sample in loaded] == [i % 10 for i in range(1000)]
