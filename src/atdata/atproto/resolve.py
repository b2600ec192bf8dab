"""The resolution of handles and DIDs, as network steps: handle to DID, DID to document and log.

As in `fetch`, what they bring is evidence for `verify`. https://atproto.com/specs/handle and /did.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from atdata.atproto.fetch import ACCEPTED, MAX_DOCUMENT, json_object, json_value
from atdata.atproto.syntax import Did, Handle
from atdata.atproto.verify import IdentityEvidence
from atdata.errors import IdentifierError, IdentityError, LimitError, NetworkError
from atdata.transport import Get, Response, Steps, TxtLookup

_SPECIAL = (".alt", ".arpa", ".example", ".internal", ".invalid", ".local", ".localhost", ".onion")


def resolve_handle(handle: Handle, resolvers: Iterable[str]) -> Steps[tuple[Did, str]]:
    """The DID a handle stands for, and who says so.

    Resolvers are asked in order; without any, DNS and then the handle's own web server are (spec: Handle Resolution).

    Raises:
        IdentityError: nobody knows the handle, or DNS names several DIDs, or what is said is no DID.
        NetworkError: one who may know it could not be asked.
    """
    resolvers, failed = tuple(resolvers), None
    if resolvers:
        for server in resolvers:
            try:
                did = yield from _ask_resolver(server, handle)
            except NetworkError as error:
                failed = failed or error  # another may know it
                continue
            if did is not None:
                return did, server
    elif handle.normalized.endswith((*_SPECIAL, ".test")):
        raise _unknown(handle, "its domain is not public")
    else:
        names: list[str] = []
        try:
            names = yield TxtLookup(f"_atproto.{handle.normalized}")
        except NetworkError as error:
            failed = error  # the other way may still work
        dids = {text.removeprefix("did=") for text in names if text.startswith("did=")}
        if len(dids) > 1:
            raise IdentityError("a handle has several DIDs in DNS", step="handle", uri=handle, actual=sorted(dids))
        if dids:
            return _did(dids.pop(), handle), "dns"
        try:
            answer: Response = yield Get(
                f"https://{handle.normalized}/.well-known/atproto-did", max_bytes=4096, accept=ACCEPTED
            )
        except LimitError as error:  # many a web server answers any question with its first page
            raise _unknown(handle, "its web server answers with more than a DID") from error
        if answer.status == 200:
            return _did(answer.body.decode("utf-8", "replace").strip(), handle), "well-known"
    if failed is not None:
        raise failed
    raise _unknown(handle, "it was not found")


def _ask_resolver(server: str, handle: Handle) -> Steps[Did | None]:
    url = f"{server}/xrpc/com.atproto.identity.resolveHandle"
    answer: Response = yield Get(url, (("handle", handle.normalized),), accept=ACCEPTED)
    if answer.status != 200:
        return None
    return _did(json_object(answer).get("did"), handle)


def fetch_identity(did: Did, plc_url: str) -> Steps[IdentityEvidence]:
    """Asks the PLC directory, or for `did:web` the account's own server, about an account.

    Raises:
        IdentityError: there is no such account, or the DID's method is unknown.
    """
    if did.method == "plc":
        document = yield from _directory(f"{plc_url}/{did}", did)
        log = yield from _directory(f"{plc_url}/{did}/log/audit", did)
        return IdentityEvidence(did, document, log, datetime.now(UTC))
    if did.method == "web":
        document = yield from _directory(_web_document(did), did)
        return IdentityEvidence(did, document, None, datetime.now(UTC))
    raise IdentityError(
        "the method of a DID is unknown", step="did", uri=did, expected="did:plc or did:web", actual=did.method
    )


def _directory(url: str, did: Did) -> Steps[Any]:
    answer: Response = yield Get(url, max_bytes=MAX_DOCUMENT, accept=ACCEPTED)
    if answer.status == 404:
        raise IdentityError(
            "no such account is registered", step="did", uri=did, actual=url, hint="Check the DID or handle."
        )
    if answer.status == 410:
        raise IdentityError("the identity was tombstoned", step="did", uri=did, actual=url)
    if answer.status != 200:
        raise NetworkError(f"a directory answered {answer.status}", uri=url)
    return json_value(answer)


def _web_document(did: Did) -> str:
    host = unquote(did.removeprefix("did:web:"))
    if ":" in did.removeprefix("did:web:") or "/" in host:
        raise IdentityError("a did:web has a path", step="did", uri=did, hint="Accounts are at the root of a host.")
    scheme = "http" if host.partition(":")[0] == "localhost" else "https"
    return f"{scheme}://{quote(host, safe=':.-')}/.well-known/did.json"


def _did(text: Any, handle: Handle) -> Did:
    try:
        return Did(text)
    except IdentifierError as error:
        raise IdentityError(
            "a handle does not resolve to a DID", step="handle", uri=handle, actual=error.actual
        ) from error


def _unknown(handle: Handle, why: str) -> IdentityError:
    return IdentityError(
        f"the handle {handle} cannot be resolved: {why}",
        step="handle",
        uri=handle,
        hint="Check its spelling; ATDATA_RESOLVER_URL names servers to ask instead of DNS.",
    )
