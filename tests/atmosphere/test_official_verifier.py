"""Our proof checks and those of the official implementation give the same verdict, on truth and on every lie."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from atdata.atproto.keys import PublicKey
from atdata.atproto.repo.proof import prove_record
from atdata.atproto.syntax import AtUri, Did, RecordKey, Tid
from atdata.errors import AtdataError
from atdata.records import Label
from atdata.testing import DevAccount, proof_lies
from atdata.testing.http import Answer, Request
from support.networks import NODE_ROOT, PDS_FOLDER, Network, get, unavailable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(unavailable() is not None, reason=unavailable() or "")]

COLLECTION = "science.alt.dataset.label"


def official(car: bytes, did: str, key: PublicKey, rkey: str) -> bool:
    done = subprocess.run(
        ["node", str(PDS_FOLDER / "verify_car.cjs"), did, key.did_key, f"{COLLECTION}/{rkey}"],
        input=car,
        capture_output=True,
        env={**os.environ, "ATP_NODE_ROOT": str(NODE_ROOT)},
        timeout=60,
    )
    return bool(json.loads(done.stdout)["ok"])


def ours(car: bytes, did: str, key: PublicKey, rkey: str) -> bool:
    try:
        prove_record(car, Did(did), key, AtUri.of(did, COLLECTION, rkey).collection, RecordKey(rkey))
    except AtdataError:
        return False
    return True


def test_the_same_verdicts(network: Network, alice: DevAccount, bob: DevAccount) -> None:
    clients = {account.did: network.client(account) for account in (alice, bob)}
    target = AtUri.of(alice.did, "science.alt.dataset.entry", Tid.now())
    for client in clients.values():
        for number in range(30):
            client.records.create(
                Label(name=f"n{number}", dataset_uri=target), RecordKey(f"key{number:02d}"), lambda _: True
            )
    key = clients[alice.did].reader.identity(alice.did).key

    def proof(account: DevAccount, rkey: str = "key07") -> bytes:
        return get(account.pds_url, "com.atproto.sync.getRecord", did=account.did, collection=COLLECTION, rkey=rkey)

    honest, others = proof(alice), proof(bob)
    verdicts = {"honest": honest, "of another record": proof(alice, "key08"), "empty": b"", "cut": honest[:-10]}
    request = Request("GET", "/xrpc/com.atproto.sync.getRecord", {}, {}, b"", "")
    for lie in proof_lies(lambda _: others):
        altered = lie.tell(request, Answer(200, honest)).body
        if altered != honest:
            verdicts[lie.name] = altered
    assert len(verdicts) > 10
    agreed = {
        name: (ours(car, alice.did, key, "key07"), official(car, alice.did, key, "key07"))
        for name, car in verdicts.items()
    }
    assert agreed["honest"] == (True, True)
    assert {name: verdict for name, verdict in agreed.items() if name != "honest" and verdict != (False, False)} == {}
    assert ours(proof(alice, "key09"), alice.did, key, "key09")
    assert official(proof(alice, "key09"), alice.did, key, "key09")
    assert not official(proof(alice, "absent"), alice.did, key, "absent")
