"""AppViews that answer over real sockets, and repositories whose records they show."""

from __future__ import annotations

import http.client
import json
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from atdata.appview.opening import open_appview
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, ProvenIdentity, RateLimit
from atdata.appview.xrpc.lexicons import method_lexicons
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json
from atdata.atproto.fetch import fetch_update
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Handle, Tid
from atdata.replica import Moved, Reading, Replica, ReplicaCopy, Writing, keep_identity
from atdata.transport.websocket import WebSocket

NAMESPACE = "science.alt.dataset"
ENTRY, SCHEMA, LABEL, LENS = (f"{NAMESPACE}.{kind}" for kind in ("entry", "schema", "label", "lens"))
ALICE, BOB = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Did("did:plc:z72i7hdynmk6r22z27h6tvur")
KEY = PrivateKey.generate("k256")


def entry(name: str, schema: str = f"at://{BOB}/{SCHEMA}/point:1.0.0", **members: Any) -> dict[str, Any]:
    """A dataset."""
    shard = {"url": "https://example.org/a.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}
    storage = {"$type": f"{NAMESPACE}.storageHttp", "shards": [shard]}
    made = {"createdAt": "2026-01-01T00:00:00.000Z", "schemaRef": schema, "storage": storage}
    return {"$type": ENTRY, "name": name, **made, **members}


def label(name: str, uri: str, version: str | None = None, **members: Any) -> dict[str, Any]:
    """A name for a dataset."""
    said = {"$type": LABEL, "name": name, "datasetUri": uri, "createdAt": "2026-01-01T00:00:00.000Z", **members}
    return said if version is None else {**said, "version": version}


def lens(source: str, target: str) -> dict[str, Any]:
    """A lens that is code."""
    code = {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}
    ends = {"sourceSchema": source, "targetSchema": target, "getterCode": code, "putterCode": code}
    return {"$type": LENS, "name": "a lens", "createdAt": "2026-01-01T00:00:00.000Z", **ends}


def at(key: str, did: str = ALICE) -> str:
    """The address of a record."""
    return f"at://{did}/{key}"


@dataclass
class Author:
    """An account that writes into a replica, as if its commits had come from the network."""

    replica: Replica
    did: Did = ALICE
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(
        self, changes: dict[str, dict[str, Any] | None], before_commit: Callable[[], object] = lambda: None
    ) -> Commit:
        """Change records, by `collection/rkey`; `None` deletes one. Something may be done before it is committed."""
        kept = {**self.records, **changes}
        self.records = {key: value for key, value in kept.items() if value is not None}
        blocks = {key: cbor.encode(value) for key, value in self.records.items()}
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in blocks.items()})
        commit = Commit.sign(KEY, self.did, Tid.now(), root)
        brought = {**nodes, **{Cid.of_cbor(block): block for block in blocks.values()}}
        proven, moment = ProvenCommit(commit.cid, commit, {}), time.time_ns() // 1000

        def move(writing: Writing) -> Moved:
            moved = writing.move(proven, brought, moment)
            before_commit()
            return moved

        moved = self.replica.write(move)
        assert not moved.missing
        return commit


class Book:
    """The identities of some accounts."""

    def __init__(self, **names: str) -> None:
        self.known = {Did(did): Handle(name.replace("_", ".")) for name, did in names.items()}

    def of_handle(self, reading: Reading, handle: Handle) -> ProvenIdentity | None:
        return next((self.of_account(reading, did) for did, name in self.known.items() if name == handle), None)

    def of_account(self, reading: Reading, did: Did) -> ProvenIdentity | None:
        return ProvenIdentity(did, self.known[did], "https://pds.example.org") if did in self.known else None


@dataclass(frozen=True)
class Said:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asker:
    """Asks a server over a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        where = urlsplit(url)
        self._http = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
        weakref.finalize(self, self._http.close)  # also where a test ends early

    def send(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> Said:
        """A request, sent as it is; once more where the server has just ended a connection that was idle (RFC 9110, 9.2.2)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        used = self._http.sock is not None
        try:
            self._http.request(verb, path, body, named)
            response = self._http.getresponse()
        except ConnectionError:
            if not used or verb != "GET":
                raise
            self._http.close()
            self._http.request(verb, path, body, named)
            response = self._http.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Said(response.status, found, response.read())

    def get(self, method: str, headers: dict[str, str] | None = None, **params: Any) -> Said:
        """A query; an answer that is no error must be what its lexicon says."""
        query = urlencode(params, doseq=True)
        said = self.send("GET", f"/xrpc/{NAMESPACE}.{method}?{query}", **(headers or {}))
        if said.status == 200:
            method_lexicons().validate_output(f"{NAMESPACE}.{method}", from_json(said.json))
        elif said.status != 304:
            assert set(said.json) == {"error", "message"}, said.body
        return said

    def error(self, method: str, **params: Any) -> tuple[int, str]:
        """The status and name of the error that a query is answered with."""
        said = self.get(method, **params)
        return said.status, said.json["error"]

    def follow(self, cursor: int | str | None = None) -> WebSocket:
        """The changes after a cursor."""
        query = "" if cursor is None else f"?cursor={cursor}"
        address = f"{self.url.replace('http', 'ws', 1)}/xrpc/{NAMESPACE}.subscribeChanges{query}"
        return WebSocket(address, max_message=5_000_000, allow_loopback=None)

    def close(self) -> None:
        self._http.close()


def follow(replica: Replica, net: Any, *dids: str) -> None:
    """Bring copies of accounts of a network, and who they are, as an ingester does."""
    reader = net.client().reader
    for did in map(Did, dids):
        identity = reader.identity(did)
        reader.transport.run(fetch_update(identity, ReplicaCopy(replica, did)))
        handle = reader.shown_handle(did) or reader.shown_handle(did)  # it waits only so long
        named = identity if handle is None else reader.identity(handle)
        moment = time.time_ns() // 1000
        replica.write(lambda writing, it=named, at=moment: keep_identity(writing, it, at))


def frames(socket: WebSocket, count: int) -> list[Any]:
    """The next frames of a socket, which must come."""
    found: list[Any] = []
    until = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < until, found
        found += [json.loads(frame) for frame in socket.receive(1.0)]
    return found


@contextmanager
def answering(where: str | Path, **parts: Any) -> Iterator[tuple[Replica, Asker]]:
    """A service over the database at an address, and somebody who asks it."""
    replica = open_appview(where)
    parts = {"limit": RateLimit(per_second=0), "book": Book(alice_example=ALICE, bob_example=BOB), **parts}
    try:
        with AppViewServer(AppViewService(replica, **parts)) as server, closing(Asker(server.url)) as asker:
            yield replica, asker
    finally:
        replica.close()
