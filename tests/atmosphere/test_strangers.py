"""A stranger's text selects nothing: no module, command, path, scheme or credential (promises.md 1, 4, 7, 15)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetLoader, PDSBlobStore, SchemaPublisher
from atdata.atproto.syntax import AtUri, RecordKey, Tid
from atdata.errors import AddressError, LexiconError, LimitError, UsageError
from atdata.records import Entry, ExternalStorage, HttpStorage, Label, Schema
from atdata.samples import Field, Scalar
from atdata.schema import SampleSchema, type_of
from atdata.shards import Digest, ShardRef
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, HttpServer, Request
from support.networks import Network, fresh_handle

WATCHED = (
    "compile",
    "exec",
    "import",
    "os.exec",
    "os.system",
    "os.posix_spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "ctypes.dlopen",
)

LOADER = f"""
import sys, os
import atdata
seen = []
def watch(event, args):
    if event in {WATCHED!r}:
        seen.append((event, repr(args)))
ref = os.environ["REF"]
def load():
    splits = atdata.load_dataset(ref)
    entry = splits["train"].entry
    str(entry), repr(dict(entry)), [link.what for link in entry.evidence.verify().links]
    return [repr(sample) for sample in splits["train"]]
load()  # what is imported on first use has been imported
sys.addaudithook(watch)
print(len(load()), [event for event in seen if "canary" in event[1].lower()], seen[:3])
"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_text_of_a_stranger_reaches_an_interpreter(network: Network, alice: DevAccount, tmp_path: Path) -> None:
    canary: Any = type_of(SampleSchema("CanaryType", (Field("canary_field", Scalar("str")),)))
    client = network.client(alice)
    dataset = atdata.write_samples([canary(canary_field="__import__('canary')")] * 2, "c.tar")
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(
        dataset,
        name="canary",
        version="1.0.0-canary",
        description="$(canary) `canary` {{canary}} {canary!r}",
        tags=["canary;canary", "..canary"],
        metadata={"canary": "canary", "module": "canary.module"},
    )
    environment = {
        **os.environ,
        **network.environment,
        "REF": f"@{alice.handle}/canary",
        "ATDATA_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run([sys.executable, "-c", LOADER], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 [] "), done.stdout
    assert not [path for path in tmp_path.rglob("*") if "canary" in path.name], "nor names a file"


class Trap:
    """A web server that must never be asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.server = HttpServer(self._answer)

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(302, b"", {"location": "http://169.254.169.254/latest/meta-data/"})


@pytest.fixture
def trap() -> Any:
    made = Trap()
    with made.server:
        yield made


def publish_raw(client: AtmosphereClient, storage: Any) -> AtUri:
    """An entry as some other software may write it: `create` would refuse such addresses."""
    schema = SchemaPublisher(client).publish(_row(), version="1.0.0")
    entry = Entry(name=f"raw-{Tid.now()}", schema_ref=schema, storage=storage)
    body = {
        "repo": client.did,
        "collection": str(entry.NSID),
        "rkey": str(Tid.now()),
        "record": entry.to_record(),
        "validate": False,
    }
    return AtUri(client.account.procedure("com.atproto.repo.putRecord", body)["uri"])


def _row() -> type:
    @atdata.packable
    class Row:
        n: int

    return Row


ADDRESSES = [
    "file:///etc/passwd",
    "/etc/passwd",
    "ftp://example.com/a.tar",
    "gopher://example.com/a.tar",
    "data:application/x-tar;base64,AAAA",
    "https://user:password@example.com/a.tar",
    "https://10.0.0.1/a.tar",
    "https://[::ffff:10.0.0.1]/a.tar",
    "https://169.254.169.254/latest/meta-data/",
    "http://example.com/a.tar",
    "jar:https://example.com/a.tar",
    "pipe:cat /etc/passwd",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_in_records_are_not_dialled(devnet: Devnet, url: str) -> None:
    client = devnet.client(devnet.create_account(fresh_handle()))
    try:
        uri = publish_raw(client, ExternalStorage((url,)))
    except LexiconError:
        return
    with pytest.raises((AddressError, UsageError, LexiconError)):
        list(DatasetLoader(devnet.client()).to_dataset(uri, _row(), allow_unverified=True))


def test_a_redirect_leads_nowhere_private(devnet: Devnet, trap: Trap) -> None:
    client = devnet.client(devnet.create_account(fresh_handle()))
    uri = publish_raw(client, HttpStorage((ShardRef(f"{trap.server.url}/a.tar", Digest.sha256(b"")),)))
    with pytest.raises(AddressError):
        list(DatasetLoader(devnet.client()).to_dataset(uri, _row()))
    assert len(trap.asked) == 1


def test_no_credential_leaves_for_an_address_in_a_record(devnet: Devnet, trap: Trap) -> None:
    client = devnet.client(devnet.create_account(fresh_handle()))
    uri = publish_raw(client, HttpStorage((ShardRef(f"{trap.server.url}/a.tar", Digest.sha256(b"")),)))
    with pytest.raises(AddressError):
        list(DatasetLoader(client).to_dataset(uri, _row()))
    (request,) = trap.asked
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


def test_brace_notation_in_a_record_is_bounded(devnet: Devnet) -> None:
    client = devnet.client(devnet.create_account(fresh_handle()))
    uri = publish_raw(client, ExternalStorage(("https://example.com/{0..999999999999}.tar",)))
    with pytest.raises(LimitError, match="too many"):
        DatasetLoader(devnet.client()).to_dataset(uri, _row(), allow_unverified=True)


def test_a_record_is_what_its_collection_says(devnet: Devnet) -> None:
    """A record of one kind in the collection of another is refused, as is one without the fields it needs."""
    client = devnet.client(devnet.create_account(fresh_handle()))
    for record in ({"$type": "science.alt.dataset.entry", "name": "x"}, {"$type": "science.alt.dataset.entry"}):
        body = {"repo": client.did, "collection": "science.alt.dataset.entry", "rkey": str(Tid.now()), "record": record}
        uri = client.account.procedure("com.atproto.repo.putRecord", body)["uri"]
        with pytest.raises(LexiconError) as caught:
            DatasetLoader(client).get(uri)
        assert (caught.value.step, caught.value.uri) == ("lexicon", uri)
    with pytest.raises(UsageError):
        client.read(f"at://{client.did}/science.alt.dataset.entry/3jzfcijpj2z2a", Schema)


def test_a_label_may_lead_to_another_account_whose_record_is_proved_there(
    network: Network, alice: DevAccount, bob: DevAccount
) -> None:
    client = network.client(alice)
    row = _row()
    dataset = atdata.write_samples([row(n) for n in range(3)], "r.tar")
    entry = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(dataset, name="mine")
    other = network.client(bob)
    other.records.create(Label(name="theirs", dataset_uri=entry.located), RecordKey("3jzfcijpj2z2a"), lambda _: True)
    loaded = atdata.load_dataset(f"@{bob.handle}/theirs", split="train", client=network.client())
    assert loaded.entry.evidence.verify().identity.did == alice.did, "it is said who published it"
    assert len(list(loaded)) == 3
