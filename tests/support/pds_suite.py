"""The suite of what atdata relies on in a PDS. The Devnet passes it, and so must the real one, or the Devnet is a lie.

Subclass `PdsSuite` and provide a fixture `pds` that gives a `PdsUnderTest`. Everything is asked over plain HTTP, with
nothing of atdata in between but the verifier, which judges the proofs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json
from atdata.atproto.identity import DidDocument
from atdata.atproto.plc import verify_audit_log
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.proof import prove_commit, prove_record
from atdata.atproto.syntax import Did, Nsid, RecordKey, Tid
from atdata.errors import NotFoundError
from atdata.shards.writer import END, tar_member
from atdata.testing.http import ask

COLLECTION = "science.alt.dataset.label"
RECORD = {
    "$type": COLLECTION,
    "name": "x",
    "datasetUri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.entry/3jzfcijpj2z2a",
    "createdAt": "2026-01-01T00:00:00.000Z",
}
TAR = tar_member("a", b"\x80") + END


@dataclass
class PdsUnderTest:
    """The server under test, and a fresh account on it."""

    url: str
    plc_url: str
    did: str
    handle: str
    password: str
    blob_limit: int
    tokens: dict[str, str] = field(default_factory=dict)

    def get(self, method: str, **params: Any) -> tuple[int, Any]:
        """Call a query."""
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        return ask("GET", f"{self.url}/xrpc/{method}{query}", {}, None)

    def post(
        self, method: str, body: Any = None, *, token: str | None = "access", raw: tuple[bytes, str] | None = None
    ) -> tuple[int, Any]:
        """Call a procedure: with a JSON body, or with bytes of a type."""
        headers = {}
        if token is not None:
            headers["authorization"] = f"Bearer {self.token(token)}"
        content = b"" if body is None else json.dumps(body).encode()
        if raw is not None:
            content, headers["content-type"] = raw
        elif body is not None:
            headers["content-type"] = "application/json"
        return ask("POST", f"{self.url}/xrpc/{method}", headers, content)

    def token(self, kind: str) -> str:
        """A token of a session of the account: `access`, `refresh`, or the text given."""
        if not self.tokens:
            body = {"identifier": self.handle, "password": self.password}
            _, made = self.post("com.atproto.server.createSession", body, token=None)
            self.tokens = {"access": made["accessJwt"], "refresh": made["refreshJwt"]}
        return self.tokens.get(kind, kind)

    def put(self, rkey: str, record: dict[str, Any], **more: Any) -> tuple[int, Any]:
        """`putRecord` as atdata calls it."""
        body = {"repo": self.did, "collection": COLLECTION, "rkey": rkey, "record": record}
        return self.post("com.atproto.repo.putRecord", {**body, "validate": False, "swapRecord": None, **more})

    def apply(self, *writes: tuple[str, str, dict[str, Any] | None], **more: Any) -> tuple[int, Any]:
        """`applyWrites` of actions, record keys and records, as atdata calls it."""
        method = "com.atproto.repo.applyWrites"
        said = [
            {"$type": f"{method}#{action}", "collection": COLLECTION, "rkey": rkey}
            | ({} if record is None else {"value": record})
            for action, rkey, record in writes
        ]
        return self.post(method, {"repo": self.did, "writes": said, "validate": False, **more})

    def head(self) -> dict[str, str]:
        """CID and revision of the newest commit."""
        head: dict[str, str] = self.get("com.atproto.sync.getLatestCommit", did=self.did)[1]
        return head

    def upload(self, data: bytes, mime_type: str = "application/octet-stream") -> tuple[int, Any]:
        """`uploadBlob`."""
        return self.post("com.atproto.repo.uploadBlob", raw=(data, mime_type))


def error(answer: tuple[int, Any]) -> tuple[int, str]:
    """Status and error name of an answer."""
    return answer[0], answer[1].get("error", "") if isinstance(answer[1], dict) else ""


class PdsSuite:
    """Subclass it; the fixture `pds` gives a server and a fresh account."""

    def test_a_session(self, pds: PdsUnderTest) -> None:
        status, made = pds.post(
            "com.atproto.server.createSession", {"identifier": pds.handle, "password": pds.password}, token=None
        )
        assert (status, made["did"], made["handle"]) == (200, pds.did, pds.handle)
        status, fresh = pds.post("com.atproto.server.refreshSession", token=made["refreshJwt"])
        assert status == 200
        assert fresh["did"] == pds.did
        assert {"accessJwt", "refreshJwt"} <= fresh.keys()

    def test_wrong_credentials(self, pds: PdsUnderTest) -> None:
        body = {"identifier": pds.handle, "password": "wrong"}
        assert error(pds.post("com.atproto.server.createSession", body, token=None)) == (401, "AuthenticationRequired")
        assert error(pds.post("com.atproto.repo.putRecord", {}, token="nonsense")) == (400, "InvalidToken")
        assert error(pds.post("com.atproto.repo.putRecord", {}, token=None)) == (401, "AuthMissing")
        assert error(pds.post("com.atproto.server.refreshSession", token="access")) == (400, "InvalidToken")

    def test_an_unknown_method(self, pds: PdsUnderTest) -> None:
        status, answer = pds.get("science.alt.dataset.nonsense")
        assert (status, answer["error"]) == (400, "InvalidRequest")
        assert answer["message"] == "No service configured for science.alt.dataset.nonsense"

    def test_handles_and_directory(self, pds: PdsUnderTest) -> None:
        assert pds.get("com.atproto.identity.resolveHandle", handle=pds.handle) == (200, {"did": pds.did})
        assert error(pds.get("com.atproto.identity.resolveHandle", handle="nobody-at-all.test"))[0] == 400
        status, document = ask("GET", f"{pds.plc_url}/{pds.did}", {}, None)
        assert status == 200
        parsed = DidDocument.parse(document, pds.did)
        assert [str(handle) for handle in parsed.handles] == [pds.handle]
        assert parsed.pds == pds.url
        _, log = ask("GET", f"{pds.plc_url}/{pds.did}/log/audit", {}, None)
        state = verify_audit_log(pds.did, log)
        assert state.current.signing_key == parsed.signing_key.did_key
        assert ask("GET", f"{pds.plc_url}/did:plc:{'a' * 24}", {}, None)[0] == 404

    def test_creating_a_record_once(self, pds: PdsUnderTest) -> None:
        rkey = Tid.now()
        status, made = pds.put(rkey, RECORD)
        assert status == 200
        assert made["uri"] == f"at://{pds.did}/{COLLECTION}/{rkey}"
        assert made["cid"] == str(Cid.of_cbor(cbor.encode(from_json(RECORD))))
        again_status, again = pds.put(rkey, RECORD)
        assert (again_status, again["cid"]) == (200, made["cid"])
        assert "commit" not in again, "the same record again is no commit"
        status, answer = pds.put(rkey, {**RECORD, "name": "y"})
        assert (status, answer) == (400, {"error": "InvalidSwap", "message": f"Record was at {made['cid']}"})
        assert (
            pds.get("com.atproto.repo.getRecord", repo=pds.did, collection=COLLECTION, rkey=rkey)[1]["value"] == RECORD
        )

    def test_refused_records(self, pds: PdsUnderTest) -> None:
        assert error(pds.put("a", {**RECORD, "name": 1.5})) == (400, "InvalidRequest")
        assert error(pds.put("a@b", RECORD)) == (400, "InvalidRequest")
        assert error(pds.put("a", {**RECORD, "$type": "science.alt.dataset.other"})) == (400, "InvalidRequest")
        assert error(pds.put("a", {**RECORD, "description": "x" * 160_000})) == (413, "PayloadTooLargeError")
        assert error(pds.put("a", RECORD, repo="did:plc:" + "a" * 24))[0] in (400, 403)
        assert error(pds.put("a", RECORD, validate=True)) == (400, "InvalidRequest")
        missing = pds.get("com.atproto.repo.getRecord", repo=pds.did, collection=COLLECTION, rkey="a")
        assert error(missing) == (400, "RecordNotFound")

    def test_listing_and_deleting(self, pds: PdsUnderTest) -> None:
        for number in range(5):
            assert pds.put(f"key{number}", {**RECORD, "name": f"n{number}"})[0] == 200
        listed = pds.get("com.atproto.repo.listRecords", repo=pds.did, collection=COLLECTION, limit=2)[1]
        assert [record["value"]["name"] for record in listed["records"]] == ["n4", "n3"]
        rest = pds.get("com.atproto.repo.listRecords", repo=pds.did, collection=COLLECTION, cursor=listed["cursor"])[1]
        assert [record["value"]["name"] for record in rest["records"]] == ["n2", "n1", "n0"]
        place = {"repo": pds.did, "collection": COLLECTION, "rkey": "key0"}
        assert "commit" in pds.post("com.atproto.repo.deleteRecord", place)[1]
        assert pds.post("com.atproto.repo.deleteRecord", place) == (200, {})
        described = pds.get("com.atproto.repo.describeRepo", repo=pds.did)[1]
        assert (described["did"], described["handle"], described["collections"]) == (pds.did, pds.handle, [COLLECTION])

    def test_writing_several_records_at_once(self, pds: PdsUnderTest) -> None:
        before, other = pds.head(), {**RECORD, "name": "y"}
        status, made = pds.apply(("create", "a", RECORD), ("create", "b", other), swapCommit=before["cid"])
        assert (status, made["commit"]) == (200, pds.head())
        cids = [str(Cid.of_cbor(cbor.encode(from_json(record)))) for record in (RECORD, other)]
        kind = "com.atproto.repo.applyWrites#createResult"
        assert made["results"] == [
            {"$type": kind, "uri": f"at://{pds.did}/{COLLECTION}/{rkey}", "cid": cid}
            for rkey, cid in zip("ab", cids, strict=True)
        ]
        third = {**RECORD, "name": "z"}
        status, changed = pds.apply(("update", "a", third), ("delete", "b", None))
        assert status == 200
        cid = str(Cid.of_cbor(cbor.encode(from_json(third))))
        assert [result.get("cid") for result in changed["results"]] == [cid, None]
        listed = pds.get("com.atproto.repo.listRecords", repo=pds.did, collection=COLLECTION)[1]["records"]
        assert [record["value"] for record in listed] == [third]

    def test_all_writes_or_none_on_the_state_that_was_read(self, pds: PdsUnderTest) -> None:
        old = pds.head()
        assert pds.apply(("create", "a", RECORD), swapCommit=old["cid"])[0] == 200
        head = pds.head()
        stale = {"error": "InvalidSwap", "message": f"Commit was at {head['cid']}"}
        for rkey in ("a", "b"):  # the very write that succeeded, and another one
            assert pds.apply(("create", rkey, RECORD), swapCommit=old["cid"]) == (400, stale)
        never = {"$type": "blob", "ref": {"$link": str(Cid.of_raw(b"never"))}, "mimeType": "image/png", "size": 5}
        named = pds.apply(("create", "b", RECORD), ("create", "c", {**RECORD, "blob": never}), swapCommit=head["cid"])
        assert error(named) == (400, "BlobNotFound")
        for impossible in (
            ("create", "a", RECORD),
            ("create", "b", RECORD),
            ("update", "c", RECORD),
            ("delete", "c", None),
        ):
            answer = pds.apply(("create", "b", RECORD), impossible, swapCommit=head["cid"])
            assert error(answer) == (500, "InternalServerError"), impossible
        many = [("create", f"key{number}", RECORD) for number in range(201)]
        assert error(pds.apply(*many)) == (400, "InvalidRequest")
        assert error(pds.apply(("create", "b", {**RECORD, "name": 1.5}))) == (400, "InvalidRequest")
        assert error(pds.apply(("create", "b", RECORD), swapCommit="no CID")) == (400, "InvalidRequest")
        assert error(pds.apply(("create", "b", RECORD), repo="did:plc:" + "a" * 24)) == (403, "AccountNotFound")
        assert pds.head() == head, "nothing of all that was written"

    def test_the_limit_of_a_request(self, pds: PdsUnderTest) -> None:
        def body(filler: int) -> bytes:
            write = {"$type": "com.atproto.repo.applyWrites#create", "collection": COLLECTION, "rkey": "a"}
            writes = [{**write, "value": {**RECORD, "description": "x" * filler}}]
            return json.dumps({"repo": pds.did, "writes": writes, "validate": False}).encode()

        most = 150 * 1024 - len(body(0))
        for filler, expected in ((most + 1, (413, "PayloadTooLargeError")), (most, (200, ""))):
            raw = (body(filler), "application/json")
            assert error(pds.post("com.atproto.repo.applyWrites", raw=raw)) == expected

    def test_what_changed_since(self, pds: PdsUnderTest) -> None:
        pds.put("a", RECORD)
        first = pds.head()
        assert self._since(pds, first["rev"]) == ((Cid.parse(first["cid"]),), {}), "not even the commit"
        pds.put("b", {**RECORD, "name": "y"})
        roots, blocks = self._since(pds, first["rev"])
        assert roots == (Cid.parse(pds.head()["cid"]),)
        assert Cid.of_cbor(cbor.encode(from_json({**RECORD, "name": "y"}))) in blocks
        assert Cid.of_cbor(cbor.encode(from_json(RECORD))) not in blocks
        assert len(blocks) < len(self._since(pds, "2222222222222")[1])

    def _since(self, pds: PdsUnderTest, rev: str) -> tuple[tuple[Cid, ...], dict[Cid, bytes]]:
        car = read_car(pds.get("com.atproto.sync.getRepo", did=pds.did, since=rev)[1])
        return car.roots, dict(car.blocks)

    def test_the_life_of_a_blob(self, pds: PdsUnderTest) -> None:
        status, answer = pds.upload(TAR)
        cid = str(Cid.of_raw(TAR))
        blob = {"$type": "blob", "ref": {"$link": cid}, "mimeType": "application/x-tar", "size": len(TAR)}
        assert (status, answer) == (200, {"blob": blob}), "the server looks at the bytes, not at what we call them"
        assert error(pds.get("com.atproto.sync.getBlob", did=pds.did, cid=cid))[0] == 400, "no record names it yet"
        assert error(pds.put("b", {**RECORD, "blob": {**blob, "mimeType": "image/png"}})) == (400, "InvalidMimeType")
        assert error(pds.put("b", {**RECORD, "blob": {**blob, "size": 5}})) in [(400, "InvalidSize"), (200, "")]
        never = {**blob, "ref": {"$link": str(Cid.of_raw(b"never uploaded"))}}
        assert error(pds.put("c", {**RECORD, "blob": never})) == (400, "BlobNotFound")
        assert pds.put("d", {**RECORD, "blob": blob})[0] == 200
        assert pds.get("com.atproto.sync.getBlob", did=pds.did, cid=cid) == (200, TAR)
        assert cid in pds.get("com.atproto.sync.listBlobs", did=pds.did)[1]["cids"]
        for rkey in ("b", "d"):
            pds.post("com.atproto.repo.deleteRecord", {"repo": pds.did, "collection": COLLECTION, "rkey": rkey})
        assert error(pds.get("com.atproto.sync.getBlob", did=pds.did, cid=cid))[0] == 400, "nothing names it any more"

    def test_the_limit_of_a_blob(self, pds: PdsUnderTest) -> None:
        assert error(pds.upload(bytes(pds.blob_limit + 1))) == (413, "PayloadTooLarge")
        assert pds.upload(bytes(pds.blob_limit))[0] == 200

    def test_proofs(self, pds: PdsUnderTest) -> None:
        for number in range(40):
            assert pds.put(f"key{number:02d}", {**RECORD, "name": f"n{number}"})[0] == 200
        document = DidDocument.parse(ask("GET", f"{pds.plc_url}/{pds.did}", {}, None)[1], pds.did)
        did, key = Did(pds.did), document.signing_key
        _, car = pds.get("com.atproto.sync.getRecord", did=pds.did, collection=COLLECTION, rkey="key07")
        assert prove_record(car, did, key, Nsid(COLLECTION), RecordKey("key07")).value["name"] == "n7"
        _, car = pds.get("com.atproto.sync.getRecord", did=pds.did, collection=COLLECTION, rkey="-")
        absent = False
        try:
            prove_record(car, did, key, Nsid(COLLECTION), RecordKey("-"))
        except NotFoundError:
            absent = True
        assert absent, "a missing record is answered by a proof of its absence"
        proven = prove_commit(car, did, key)
        latest = pds.get("com.atproto.sync.getLatestCommit", did=pds.did)[1]
        assert latest == {"cid": str(proven.cid), "rev": proven.commit.rev}
        blocks = dict(proven.blocks)
        while missing := mst.missing_nodes(proven.commit.data, blocks, f"{COLLECTION}/"):
            _, car = pds.get("com.atproto.sync.getBlocks", did=pds.did, cids=[str(cid) for cid in missing])
            blocks.update(read_car(car).blocks)
        keys = [leaf.key for leaf in mst.entries(proven.commit.data, blocks, f"{COLLECTION}/")]
        assert keys == [f"{COLLECTION}/key{number:02d}" for number in range(40)]
        whole = read_car(pds.get("com.atproto.sync.getRepo", did=pds.did)[1])
        assert whole.roots == (proven.cid,)
        gone = pds.get("com.atproto.sync.getBlocks", did=pds.did, cids=[str(Cid.of_cbor(b"\xa0"))])
        assert error(gone) == (400, "InvalidRequest")

    def test_unknown_accounts(self, pds: PdsUnderTest) -> None:
        nobody = "did:plc:" + "a" * 24
        assert error(pds.get("com.atproto.sync.getRecord", did=nobody, collection=COLLECTION, rkey="a")) == (
            400,
            "RepoNotFound",
        )
        assert error(pds.get("com.atproto.sync.getLatestCommit", did=nobody)) == (400, "RepoNotFound")
        status = pds.get("com.atproto.sync.getRepoStatus", did=pds.did)[1]
        assert (status["did"], status["active"]) == (pds.did, True)
        assert pds.did in [repo["did"] for repo in pds.get("com.atproto.sync.listRepos", limit=1000)[1]["repos"]]

    def test_an_account_that_is_deactivated(self, pds: PdsUnderTest) -> None:
        assert pds.put("a", RECORD)[0] == 200
        assert pds.post("com.atproto.server.deactivateAccount", {})[0] == 200
        status = pds.get("com.atproto.sync.getRepoStatus", did=pds.did)
        assert status == (200, {"did": pds.did, "active": False, "status": "deactivated"})
        for method, more in (("getLatestCommit", {}), ("getRecord", {"collection": COLLECTION, "rkey": "a"})):
            assert error(pds.get(f"com.atproto.sync.{method}", did=pds.did, **more)) == (400, "RepoDeactivated")
        assert pds.post("com.atproto.server.activateAccount")[0] == 200
        assert pds.get("com.atproto.sync.getRepoStatus", did=pds.did)[1]["active"] is True
        assert pds.get("com.atproto.sync.getRecord", did=pds.did, collection=COLLECTION, rkey="a")[0] == 200
