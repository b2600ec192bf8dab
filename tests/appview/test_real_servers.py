"""Two real PDSes on one real directory are followed, through all that can happen to an account there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from atdata.appview import operator
from atdata.replica import Replica
from atdata.testing import DevAccount
from atdata.testing.http import ask
from support.freshness import measured
from support.histories import ENTRY, entry, named, shown, stored
from support.ingesting import ingesting, replica_at, until
from support.networks import RealNet, fresh_handle, post

A, B = "a", "b"
ADMIN = {"authorization": "Basic " + base64.b64encode(b"admin:admin-pass").decode()}


class RealWriter:
    """An account on a real PDS, logged in."""

    def __init__(self, account: DevAccount) -> None:
        self.account = account
        body = {"identifier": account.handle, "password": account.password}
        self._token = post(account.pds_url, "com.atproto.server.createSession", body)["accessJwt"]

    def put(self, rkey: str, name: str) -> str:
        """Write a record: its CID."""
        record = entry(name)
        body = {"repo": self.account.did, "collection": ENTRY, "rkey": rkey, "record": record, "validate": False}
        return str(self._post("repo.putRecord", body)["cid"])

    def delete(self, rkey: str) -> None:
        """Delete a record."""
        self._post("repo.deleteRecord", {"repo": self.account.did, "collection": ENTRY, "rkey": rkey})

    def call(self, method: str, body: dict[str, Any] | None = None) -> None:
        """Ask for something that is answered with nothing."""
        headers = {"authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        sent = None if body is None else json.dumps(body).encode()
        assert ask("POST", f"{self.account.pds_url}/xrpc/com.atproto.{method}", headers, sent)[0] == 200

    def _post(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        return post(self.account.pds_url, f"com.atproto.{method}", body, self._token)

    def address(self, rkey: str) -> str:
        """Where a record is."""
        return f"at://{self.account.did}/{ENTRY}/{rkey}"


def administer(account: DevAccount, method: str, body: dict[str, Any]) -> None:
    headers = {**ADMIN, "content-type": "application/json"}
    assert (
        ask("POST", f"{account.pds_url}/xrpc/com.atproto.admin.{method}", headers, json.dumps(body).encode())[0] == 200
    )


@pytest.mark.served
def test_real_servers_are_followed(realnet: RealNet, tmp_path: Any) -> None:
    replica: Replica = replica_at(f"sqlite:///{tmp_path}/appview.db")
    first, second = (RealWriter(realnet.create_account(fresh_handle(), server=number)) for number in range(2))
    expected = {first.address(A): first.put(A, "before")}  # found by the list of its server
    upstreams = ["ws" + server.url.removeprefix("http") for server in realnet.pds_servers]

    def until_shown() -> None:
        mine = {first.account.did, second.account.did}

        def there() -> bool:
            found = {at: cid for at, cid in shown(replica).items() if at.split("/")[2] in mine}
            return found == expected and not operator.status(replica).behind

        until(there)

    with ingesting(replica, realnet, *upstreams) as ingester:
        until_shown()
        expected[second.address(A)] = second.put(A, "one")
        until_shown()
        for number in range(10):
            expected[second.address(A)] = second.put(A, f"name {number}")
            expected[first.address(B)] = first.put(B, f"name {number}")
        until_shown()
        first.delete(A)
        del expected[first.address(A)]
        until_shown()
        assert ingester.counted["commits"] > 0, "some were applied as they came"
        renamed = fresh_handle()
        second.call("identity.updateHandle", {"handle": renamed})
        until(lambda: named(replica).get(second.account.did) == renamed)
        kept = dict(expected)
        second.call("server.deactivateAccount", {})
        del expected[second.address(A)]
        until_shown()
        second.call("server.activateAccount")
        expected = kept
        until_shown()
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": first.account.did}
        administer(
            first.account, "updateSubjectStatus", {"subject": subject, "takedown": {"applied": True, "ref": "r"}}
        )
        mine = expected.pop(first.address(B))
        until_shown()
        administer(first.account, "updateSubjectStatus", {"subject": subject, "takedown": {"applied": False}})
        expected[first.address(B)] = mine
        until_shown()
        administer(second.account, "deleteAccount", {"did": second.account.did})
        del expected[second.address(A)]
        until_shown()
        until(lambda: second.address(A) not in stored(replica))
    replica.close()


@pytest.mark.served
def test_all_that_is_served_of_real_servers_has_a_proof_that_the_official_verifier_accepts(
    realnet: RealNet, tmp_path: Path
) -> None:
    """A small part of `python3 dev.py freshness`."""
    found = measured(realnet, tmp_path, writes=60)
    assert (found.missing, found.refused) == (set(), [])
    assert found.served == 42
    assert len(found.seconds) == 6
    assert found.at(50) < 5.0, "a write is found at once, be the machine ever so busy"
