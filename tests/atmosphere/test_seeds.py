"""The founding documents' network examples run as written, on the Devnet and on the real PDS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetLoader, PDSBlobStore, SchemaLoader
from atdata.errors import LensError, UsageError
from atdata.testing import DevAccount
from support.networks import Network, list_records, official_verdicts, unavailable
from support.oracles import needs_seeds
from support.seed_code import (
    PUBLISHER,
    REFERENCE,
    REFERENCE_WORKFLOW,
    TUTORIAL,
    TUTORIAL_WORKFLOW,
    Block,
    blocks,
    replaced,
)

pytestmark = [pytest.mark.slow, needs_seeds]

TUTORIAL_TEXT, REFERENCE_TEXT = "atmosphere-publishing-tutorial.txt", "atmosphere-reference.txt"
COLLECTIONS = ("schema", "entry", "label", "lens")


@atdata.packable
class ImageSample:
    image: NDArray
    label: str
    confidence: float


@atdata.packable
class DemoSample:
    id: int
    text: str


@atdata.packable
class SimpleSample:
    label: str


class Runner:
    """Runs blocks one after the other in one namespace, as a reader would type them."""

    def __init__(self, network: Network, account: DevAccount, other: DevAccount) -> None:
        self.names: dict[str, Any] = {"__name__": "seed", "atdata": atdata, "np": np, "NDArray": NDArray}
        self.network, self.account = network, account
        self.values: dict[str, str] = {
            "handle": account.handle,
            "password": account.password,
            "did": account.did,
            "pds_url": account.pds_url,
            "other_did": other.did,
        }

    def run(self, block: Block) -> None:
        self.run_text(replaced(block.code, self.values), str(block))

    def run_text(self, code: str, name: str) -> None:
        exec(compile(code, name, "exec", dont_inherit=True), self.names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


@pytest.fixture
def runner(
    network: Network, alice: DevAccount, bob: DevAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runner:
    """A folder, an account and settings of its own: what a reader has."""
    monkeypatch.chdir(tmp_path)
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    return Runner(network, alice, bob)


def image_samples(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [ImageSample(rng.random((4, 4, 3)).astype(np.float32), f"label{i}", i / 4) for i in range(count)]


def records_of(account: DevAccount) -> dict[str, list[dict[str, Any]]]:
    return {name: list_records(account.pds_url, account.did, f"science.alt.dataset.{name}") for name in COLLECTIONS}


def assert_valid(account: DevAccount) -> None:
    if unavailable():
        return  # the Devnet half of these tests runs without Node
    written = [record for listed in records_of(account).values() for record in listed]
    assert written
    assert [verdict for verdict in official_verdicts(written) if not verdict["ok"]] == []


def test_the_tutorial(runner: Runner) -> None:
    before: dict[int, Callable[[], None]] = {142: lambda: know_cid(runner), 173: lambda: know_demo(runner)}
    for block in blocks(TUTORIAL_TEXT, TUTORIAL):
        before.get(block.line, lambda: None)()
        runner.run(block)
    assert runner["client"].did == runner.account.did
    assert runner["restored"].image.shape == (224, 224, 3)
    assert [schema["name"] for schema in runner["schemas"]] == ["ImageSample"]
    assert runner["entry"].data_urls == [
        f"at://{runner.account.did}/blob/{blob}" for blob in blobs_of(runner.account)[:1]
    ]
    assert runner["batch"].text == "sample 4"
    entries = records_of(runner.account)["entry"]
    names = sorted(entry["value"]["name"] for entry in entries)
    # Its two "Demo Image Dataset" examples name different schemas: two datasets.
    assert names == ["Demo Image Dataset", "Demo Image Dataset", "blob-stored-features", "demo"]
    assert_valid(runner.account)


def know_cid(runner: Runner) -> None:
    runner.values["cid"] = runner["entry"].data_urls[0].rpartition("/")[2]


def know_demo(runner: Runner) -> None:
    """The two names that the tutorial's last example leaves undefined."""
    demo = atdata.write_samples((DemoSample(i, f"sample {i}") for i in range(5)), "demo.tar")
    runner.names["DemoSample"] = DemoSample
    runner.names["blob_dataset_uri"] = runner["index"].insert_dataset(demo, name="demo").uri


def blobs_of(account: DevAccount) -> list[str]:
    found = []
    for entry in reversed(records_of(account)["entry"]):
        found += [blob["blob"]["ref"]["$link"] for blob in entry["value"]["storage"].get("blobs", ())]
    return found


@pytest.mark.parametrize("document", ["tutorial", "reference"])
def test_the_complete_workflow(
    document: str, runner: Runner, bob: DevAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    if document == "tutorial":
        for block in [*blocks(TUTORIAL_TEXT, TUTORIAL)[:1], *blocks(TUTORIAL_TEXT, TUTORIAL_WORKFLOW)]:
            runner.run(block)
        assert "Loaded batch with 32 samples" in capsys.readouterr().out
    else:
        runner.run(blocks(REFERENCE_TEXT, REFERENCE_WORKFLOW, after="Complete Example")[0])
        assert "(32, 128)" in capsys.readouterr().out
    entry = runner["entry"]
    again = runner["index"].insert_dataset(
        runner["dataset"], name="synthetic-features-v1", schema_ref=runner["schema_uri"], tags=["features", "synthetic"]
    )
    assert (again.uri, again.cid) == (entry.uri, entry.cid)
    listed = records_of(runner.account)
    assert [len(listed[name]) for name in ("schema", "entry", "label")] == [1, 1, 1]
    assert entry.data_urls[0] == f"at://{runner.account.did}/blob/{blobs_of(runner.account)[0]}"
    assert_valid(runner.account)
    assert_streams(runner.network.client(bob), runner.account, runner["samples"])


def test_external_references_to_local_files_are_refused(runner: Runner) -> None:
    """The one example of the complete workflow that cannot be kept: a local path is never recorded."""
    workflow, external = blocks(REFERENCE_TEXT, REFERENCE_WORKFLOW, after="Complete Example")
    runner.run(workflow)
    with pytest.raises(UsageError, match="files of this machine") as caught:
        runner.run(external)
    assert "AtmosphereIndex(client, data_store=PDSBlobStore(client))" in str(caught.value)
    assert len(records_of(runner.account)["entry"]) == 1


def assert_streams(client: AtmosphereClient, owner: DevAccount, samples: list[Any]) -> None:
    """A second account lists, decodes and streams the data, and gets the same bytes."""
    index = AtmosphereIndex(client)
    (entry,) = index.list_datasets(repo=owner.did)
    sample_type = index.decode_schema(entry.schema_ref)
    loaded = list(DatasetLoader(client).to_dataset(str(entry.uri), sample_type))
    assert len(loaded) == len(samples)
    for got, given in zip(loaded, samples, strict=True):
        assert got.features.dtype == given.features.dtype
        assert got.features.tobytes() == given.features.tobytes()
        assert (got.label, got.source) == (given.label, given.source)


# Its second example publishes, with a description, the schema that its first has published without one.
@pytest.mark.filterwarnings("default::atdata.errors.NotTakenWarning")
def test_the_reference(runner: Runner) -> None:
    names = runner.names
    names |= {
        "MySample": ImageSample,
        "MySampleType": ImageSample,
        "FullSample": ImageSample,
        "SimpleSample": SimpleSample,
    }
    names |= {"process": lambda batch: None, "samples": image_samples(8)}
    names["dataset"] = atdata.write_samples(image_samples(8), "my.tar")
    atdata.write_samples(image_samples(40), "data-%06d.tar", maxcount=4)
    refused = {195: UsageError, 296: LensError}  # nobody finds the code of what was typed
    before: dict[int, Callable[[], None]] = {
        90: lambda: know_shards(runner),
        158: lambda: runner.values.update(entry_uri=runner["entry"].uri),
        328: lambda: names.update(uri=runner["entry"].uri),
        274: lambda: know_schemas(runner),
        354: lambda: runner.values.update(lens_uri=runner["uri_of_lens"]),
    }
    for block in blocks(REFERENCE_TEXT, REFERENCE):
        before.get(block.line, lambda: None)()
        if block.line in refused:
            with pytest.raises(refused[block.line]) as caught:
                runner.run(block)
            assert caught.value.hint, "a refusal names the way out"
        else:
            runner.run(block)
        if block.line == 274:
            names["uri_of_lens"] = names["uri"]
        if block.line == 296:
            from_a_checkout(runner, replaced(block.code, runner.values))
    assert names["new_client"].did == runner.account.did
    assert names["http_url"].startswith(f"{runner.account.pds_url}/xrpc/com.atproto.sync.getBlob?did=")
    assert names["storage_type"] == "blobs"
    assert len(names["urls"]) == len(names["entry"].data_urls) == 10
    assert [lens["name"] for lens in names["lenses"]] == ["simplify", "simplify"]
    assert [lens.has_putter for lens in names["lenses"]] == [False, True]
    assert names["uri"].collection == "ac.foundation.dataset.sampleSchema"
    assert_valid(runner.account)


def know_shards(runner: Runner) -> None:
    """The examples read blobs that a record names already: publish what `store.write_shards` uploaded."""
    entry = AtmosphereIndex(runner["client"], data_store=PDSBlobStore(runner["client"])).insert_dataset(
        runner["dataset"], name="shards"
    )
    runner.values["cid"] = entry.data_urls[0].rpartition("/")[2]


def know_schemas(runner: Runner) -> None:
    simple = runner["index"].publish_schema(SimpleSample, version="1.0.0")
    runner.names |= {"full_schema_uri": runner["schema_uri"], "simple_schema_uri": simple}
    runner.names |= {"FullSample": ImageSample, "SimpleSample": SimpleSample}
    runner.values |= {"schema_uri": runner["schema_uri"], "target_uri": simple}


def from_a_checkout(runner: Runner, code: str) -> None:
    """Run code from a file in a clean checkout of a public repository."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    Path("simplify.py").write_text(code)
    for step in (
        "init --quiet",
        "add simplify.py",
        "commit --quiet -m x",
        "remote add origin https://github.com/org/r",
    ):
        subprocess.run([*git, *step.split()], check=True)
    runner.run_text(code, str(Path("simplify.py").resolve()))


def test_the_publisher_page(runner: Runner) -> None:
    """`DatasetPublisher.publish` of shards at public addresses, with the parameters the page lists."""
    runner.names |= {"MySample": ImageSample}
    exec("from atdata.atmosphere import AtmosphereClient, DatasetPublisher", runner.names)
    (block,) = blocks("dataset-publisher-api.txt", PUBLISHER)
    runner.run(block)
    entry = DatasetLoader(runner["client"]).get(runner["uri"])
    assert entry["storage"]["urls"] == [f"s3://bucket/data-{number:06d}.tar" for number in range(10)]
    assert (entry.name, entry.tags) == ("My Training Data", ("computer-vision", "training"))
    with pytest.raises(ValueError, match="schema"):
        runner["publisher"].publish(runner["dataset"], name="x", auto_publish_schema=False)
    assert_valid(runner.account)


def test_accounts_on_two_servers_read_each_other(
    network: Network, alice: DevAccount, bob: DevAccount, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert alice.pds_url != bob.pds_url
    for owner, reader in ((alice, bob), (bob, alice)):
        client = network.client(owner)
        dataset = atdata.write_samples(image_samples(6), f"{owner.handle}.tar")
        AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(dataset, name="images")
        theirs = network.client(reader)
        loaded = atdata.load_dataset(f"@{owner.handle}/images", ImageSample, split="train", client=theirs)
        assert list(loaded) == image_samples(6)
        assert SchemaLoader(theirs).list_all(repo=owner.handle)[0].name == "ImageSample"
