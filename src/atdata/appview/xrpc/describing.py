"""Descriptions of accounts, and of the service itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from atdata.appview.xrpc.asking import AskedQuery
from atdata.records.nsids import ENTRY, LABEL, LENS, LENS_VERIFICATION, SCHEMA
from atdata.replica.statements import Statements
from atdata.replica.tables import COLLECTIONS, SHOWN
from atdata.transport.guard import is_loopback_host
from atdata.urls import split_url

_KINDS = {"entries": ENTRY, "schemas": SCHEMA, "lenses": LENS, "labels": LABEL, "verifications": LENS_VERIFICATION}
_READABLE = (
    f"FROM replica_records r JOIN replica_accounts a ON a.id = r.account WHERE {SHOWN} AND r.validity <> 'invalid'"
)


def get_profile(asked: AskedQuery) -> dict[str, Any]:
    """An account: its handle, its newest revision, how much of what it has."""
    did = asked.account(asked.params["repo"])
    head, handle = asked.reading.account(did).head(), asked.views.handle(did)
    assert head is not None
    found = f"SELECT r.kind, count(*) {_READABLE} AND a.did = ? GROUP BY r.kind"
    counts = dict(asked.reading.sql.all(found, did))
    return {
        "did": str(did),
        **({} if handle is None else {"handle": str(handle)}),
        "rev": str(head.rev),
        "counts": {name: int(counts.get(str(kind), 0)) for name, kind in _KINDS.items()},
    }


class RecordCount:
    """The number of records that are shown, counted anew where the log of changes has grown."""

    def __init__(self) -> None:
        self._known: tuple[object, int] | None = None

    def of(self, sql: Statements) -> int:
        """The number now."""
        (newest,) = sql.first("SELECT max(number) FROM replica_changes")
        known = self._known
        if known is not None and known[0] == newest:
            return known[1]
        count = int(sql.first(f"SELECT count(*) {_READABLE}")[0])
        self._known = (newest, count)
        return count

    def describe_service(self, asked: AskedQuery) -> dict[str, Any]:
        """The service: its DID, the collections that it keeps, how many records it shows."""
        count = self.of(asked.reading.sql)
        return {"did": asked.service, "availableCollections": list(COLLECTIONS), "recordCount": count}


def did_document(did: str) -> dict[str, Any] | None:
    """The DID document of a service whose DID is the did:web of a host; `None` of another, which has one elsewhere.

    It names the service `#atdata_appview`.
    https://w3c-ccg.github.io/did-method-web/
    """
    host = unquote(did.removeprefix("did:web:"))
    if not did.startswith("did:web:") or ":" in did.removeprefix("did:web:"):
        return None
    scheme = "http" if is_loopback_host(split_url(f"//{host}").hostname or "") else "https"
    service = {"id": "#atdata_appview", "type": "AtdataAppView", "serviceEndpoint": f"{scheme}://{host}"}
    return {"@context": ["https://www.w3.org/ns/did/v1"], "id": did, "service": [service]}
