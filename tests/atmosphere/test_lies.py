"""Every lie a server can tell is found out: a typed error names the broken link, and no sample is yielded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atproto.syntax import RecordKey
from atdata.errors import RollbackError
from atdata.records import Label
from atdata.records.storage import BlobStorage
from atdata.testing import DevAccount, Lie, OldState, Teller, blob_lies, identity_lies, proof_lies
from support.networks import Network, fresh_handle, get


@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int


@dataclass
class Scene:
    """A published dataset in a repository whose tree is three nodes deep, and somebody else's account."""

    network: Network
    owner: DevAccount
    other: DevAccount
    name: str
    other_blob: bytes
    other_car: bytes

    def lies(self) -> list[Lie]:
        return [
            *blob_lies(self.other_blob),
            *proof_lies(lambda _: self.other_car),
            *identity_lies(self.owner.did, self.other.did),
        ]

    def load(self, client: AtmosphereClient | None = None) -> Iterator[Digit]:
        client = client or self.network.client()
        return iter(atdata.load_dataset(f"@{self.owner.handle}/{self.name}", Digit, split="train", client=client))


_scenes: dict[int, Scene] = {}


@pytest.fixture
def scene(network: Network) -> Scene:
    if id(network) not in _scenes:
        owner, other = network.create_account(fresh_handle()), network.create_account(fresh_handle(), server=1)
        client = network.client(owner)
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        entry = index.insert_dataset(digits(60), name="digits", version="1.0.0", maxcount=40)
        assert isinstance(entry.storage, BlobStorage)
        second = get(owner.pds_url, "com.atproto.sync.getBlob", did=owner.did, cid=str(entry.storage.listed[1].cid))
        for number in range(60):  # a deep tree: lies about its inner nodes need some
            filler = Label(name=f"filler{number}", dataset_uri=entry.located)
            client.records.create(filler, RecordKey(f"filler{number:03d}"), lambda _: True)
        collection = "science.alt.dataset.entry"
        car = get(other.pds_url, "com.atproto.sync.getRecord", did=other.did, collection=collection, rkey="-")
        _scenes[id(network)] = Scene(network, owner, other, "digits", second, car)
    return _scenes[id(network)]


def digits(count: int) -> atdata.Dataset[Digit]:
    rng = np.random.default_rng(0)
    rows = (Digit(rng.integers(0, 17, (8, 8), dtype=np.uint8), number % 10) for number in range(count))
    return atdata.write_samples(rows, "digits.tar")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


LIES = [
    *(lie.name for lie in blob_lies(b"")),
    *(lie.name for lie in proof_lies(lambda _: b"")),
    *(lie.name for lie in identity_lies("", "")),
]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_out(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    assert len(list(scene.load())) == 60  # the control: nothing is wrong with the scene itself
    teller = Teller(lie)
    scene.network.tell(teller)
    yielded = []
    with pytest.raises(atdata.AtdataError) as caught:
        for sample in scene.load():
            yielded.append(sample)
    assert teller.told, "the lie was never told"
    assert caught.value.step in lie.steps
    assert len(yielded) % 40 == 0, "a sample of a shard that lies was yielded"
    assert not yielded or lie.steps == ("shard digest",)


@pytest.mark.parametrize("name", [lie.name for lie in blob_lies(b"")])
def test_a_lie_about_the_first_shard_yields_no_sample(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    scene.network.tell(lie.tell)
    with pytest.raises(atdata.AtdataError) as caught:
        next(scene.load())
    assert caught.value.step == "shard digest"
    assert caught.value.expected


def test_an_older_commit_than_one_already_seen_is_refused(scene: Scene) -> None:
    old = OldState()
    scene.network.tell(old)
    reader = scene.network.client(folder="remembers")
    assert len(list(scene.load(reader))) == 60
    scene.network.tell(None)
    client = scene.network.client(scene.owner)
    client.records.create(
        Label(name="later", dataset_uri=client.records.read_all(None, Label)[0].dataset_uri),
        RecordKey(fresh_handle()),
        lambda _: True,
    )
    assert len(list(scene.load(scene.network.client(folder="remembers")))) == 60
    old.recording = False
    scene.network.tell(old)
    with pytest.raises(RollbackError) as caught:  # another process, which only shares the cache folder
        next(scene.load(scene.network.client(folder="remembers")))
    assert caught.value.step == "rollback"
    scene.network.tell(old)
    assert len(list(scene.load(scene.network.client()))) == 60  # who has seen nothing newer cannot know
