"""The gathering of evidence, as network steps: handle to DID, DID to document, record and collection to proof.

The steps ask and judge nothing: what they bring is evidence for `verify`. The exception is a collection, which
cannot be walked without reading the tree; every block that is walked has been hashed.

https://atproto.com/specs/handle, /did, and the `com.atproto.sync` lexicons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote, unquote

from atdata.atproto.cid import Cid
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.proof import ProvenCommit, prove_commit
from atdata.atproto.syntax import AtUri, Did, Handle, Nsid, RecordKey, Tid
from atdata.atproto.verify import IdentityEvidence, VerifiedIdentity, VerifiedLabeler
from atdata.errors import (
    ContentionError,
    DataModelError,
    IdentifierError,
    IdentityError,
    LimitError,
    NetworkError,
    NotFoundError,
    ProofError,
    XrpcError,
)
from atdata.json_reader import read_json
from atdata.transport import Get, Response, Steps, TxtLookup

MAX_DOCUMENT = 1 << 20
MAX_CAR = 1 << 23
MAX_BLOCKS = 1 << 28  # bytes of all that is brought of one collection: of some hundred thousand records
BLOCKS_AT_ONCE = 60  # their CIDs make a URL of 5 kB
MAX_REPOSITORY = 1 << 26
LABELS_AT_ONCE = 250  # what a labeler gives on a page at most (lexicon of queryLabels)
MAX_PAGES = 20
ADDRESSES_AT_ONCE = 20  # they make a URL of 4 kB
MANY = 4 * BLOCKS_AT_ONCE  # blocks: where more are missing, the whole repository is one answer
ROUNDS = 20
_ANY = frozenset({200, 400, 401, 403, 404, 410, 501})
_SPECIAL = (".alt", ".arpa", ".example", ".internal", ".invalid", ".local", ".localhost", ".onion")


def resolve_handle(handle: Handle, resolvers: Iterable[str]) -> Steps[tuple[Did, str]]:
    """The DID a handle stands for, and who says so.

    Resolvers are asked in order; without any, DNS and then the handle's own web server are (spec: Handle Resolution).

    Raises:
        IdentityError: nobody knows the handle, or DNS names several DIDs, or what is said is no DID.
        NetworkError: one who may know it could not be asked.
    """
    resolvers = tuple(resolvers)
    if resolvers:
        failed: NetworkError | None = None
        for server in resolvers:
            try:
                did = yield from _ask_resolver(server, handle)
            except NetworkError as error:
                failed = failed or error  # another may know it
                continue
            if did is not None:
                return did, server
        if failed is not None:
            raise failed
    elif handle.normalized.endswith((*_SPECIAL, ".test")):
        raise _unknown(handle, "its domain is not public")
    else:
        names = yield from _txt_records(f"_atproto.{handle.normalized}")
        dids = {text.removeprefix("did=") for text in names if text.startswith("did=")}
        if len(dids) > 1:
            raise IdentityError("a handle has several DIDs in DNS", step="handle", uri=handle, actual=sorted(dids))
        if dids:
            return _did(dids.pop(), handle), "dns"
        try:
            answer: Response = yield Get(
                f"https://{handle.normalized}/.well-known/atproto-did", max_bytes=4096, accept=_ANY
            )
        except LimitError as error:  # many a web server answers any question with its first page
            raise _unknown(handle, "its web server answers with more than a DID") from error
        if answer.status == 200:
            return _did(answer.body.decode("utf-8", "replace").strip(), handle), "well-known"
    raise _unknown(handle, "it was not found")


def _txt_records(name: str) -> Steps[list[str]]:
    try:
        found: list[str] = yield TxtLookup(name)
    except NetworkError:
        return []  # the other way may still work
    return found


def _ask_resolver(server: str, handle: Handle) -> Steps[Did | None]:
    url = f"{server}/xrpc/com.atproto.identity.resolveHandle"
    answer: Response = yield Get(url, (("handle", handle.normalized),), accept=_ANY)
    if answer.status != 200:
        return None
    return _did(_json(answer).get("did"), handle)


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
    answer: Response = yield Get(url, max_bytes=MAX_DOCUMENT, accept=_ANY)
    if answer.status == 404:
        raise IdentityError(
            "no such account is registered", step="did", uri=did, actual=url, hint="Check the DID or handle."
        )
    if answer.status == 410:
        raise IdentityError("the identity was tombstoned", step="did", uri=did, actual=url)
    if answer.status != 200:
        raise NetworkError(f"a directory answered {answer.status}", uri=url)
    return _parsed(answer)


def _web_document(did: Did) -> str:
    host = unquote(did.removeprefix("did:web:"))
    if ":" in did.removeprefix("did:web:") or "/" in host:
        raise IdentityError("a did:web has a path", step="did", uri=did, hint="Accounts are at the root of a host.")
    scheme = "http" if host.partition(":")[0] == "localhost" else "https"
    return f"{scheme}://{quote(host, safe=':.-')}/.well-known/did.json"


def fetch_record(identity: VerifiedIdentity, collection: Nsid, rkey: RecordKey) -> Steps[bytes]:
    """The CAR that proves a record, or proves that there is none.

    Raises:
        NotFoundError: the server does not have the account, or serves nothing of it.
        XrpcError: it refuses.
    """
    params = (("did", identity.did), ("collection", collection), ("rkey", rkey))
    answer = yield from _sync(identity, "getRecord", params, MAX_CAR)
    return answer.body


@dataclass(frozen=True, slots=True)
class HostedAccount:
    """An account by the word of its server. Nobody signs that.

    Attributes:
        active: whether it is to be shown.
        status: why not, as the server says.
        rev: of its repository, where the server says so.
    """

    active: bool
    status: str | None = None
    rev: Tid | None = None


def fetch_status(identity: VerifiedIdentity) -> Steps[HostedAccount]:
    """The word of an account's server about the account.

    Raises:
        NotFoundError: the server does not have the account.
        XrpcError: it does not say.
    """
    answer = yield from _sync(identity, "getRepoStatus", (("did", str(identity.did)),), MAX_DOCUMENT)
    said = _json(answer)
    status, rev = said.get("status"), said.get("rev")
    with suppress(IdentifierError):
        rev = Tid(rev) if isinstance(rev, str) else None
        return HostedAccount(said.get("active") is True, status if isinstance(status, str) else None, rev)
    raise NetworkError("a server's answer has a malformed revision", uri=answer.url)


class RepositoryCopy(Protocol):
    """A copy of parts of a repository, which is brought from one commit to another."""

    @property
    def collections(self) -> Sequence[Nsid]:
        """The collections of which there is a copy."""

    @property
    def rev(self) -> Tid | None:
        """The revision that there is a copy of."""

    @property
    def blocks(self) -> Mapping[Cid, bytes]:
        """The blocks that were brought, and the copy's own commit."""

    def reserve(self, count: int) -> None:
        """Be told that so many bytes more may have to be held; raises where there is no room for them."""

    def add(self, blocks: Mapping[Cid, bytes]) -> None:
        """Take blocks that were brought, each what its CID names."""

    def move_to(self, proven: ProvenCommit) -> list[Cid]:
        """Move the copy to a commit. The blocks that this takes; empty once it is there."""


def fetch_update(identity: VerifiedIdentity, copy: RepositoryCopy) -> Steps[ProvenCommit]:
    """Bring a copy of a repository to its newest commit, and prove it complete.

    A server can thus neither invent records nor leave any out. What the copy has is not fetched again; where the
    repository changes meanwhile, the next round asks for what changed. Much is fetched as the whole repository at once.

    Raises:
        VerificationError: a block is not what it should be, or the commit is not signed by the account.
        LimitError: the part of the tree is larger than is read.
        ContentionError: the repository kept changing.
    """
    whole, left = False, MAX_BLOCKS
    for _ in range(ROUNDS):
        car = yield from _newest(identity, copy)
        proven = _proven(identity, car, copy)
        while missing := copy.move_to(proven):
            if len(missing) > MANY and not whole:
                whole, everything = True, (yield from _whole(identity, copy))
                if everything is not None:
                    with suppress(LimitError):  # of all that is in it little may be wanted
                        proven = _proven(identity, everything, copy)
                continue
            brought = yield from fetch_blocks(identity, missing, left, copy.add)
            if brought is None:
                break
            left -= sum(map(len, brought.values()))
        else:
            return proven
    raise ContentionError("a repository changes faster than it can be read", uri=identity.did, hint="Try again later.")


def _proven(identity: VerifiedIdentity, car: bytes, copy: RepositoryCopy) -> ProvenCommit:
    proven = prove_commit(car, identity.did, identity.key, copy.blocks)
    copy.add(proven.blocks)
    return proven


def _newest(identity: VerifiedIdentity, copy: RepositoryCopy) -> Steps[bytes]:
    """The newest commit, with what changed since the copy's own."""
    if copy.rev is not None:
        params = (("did", str(identity.did)), ("since", str(copy.rev)))
        with suppress(XrpcError, LimitError):  # a server need not know `since`
            answer = yield from _sync(identity, "getRepo", params, MAX_CAR)
            return answer.body
    # The proof of absence of the lowest key brings the commit and the left edge of the range in one answer.
    return (yield from fetch_record(identity, copy.collections[0], RecordKey("-")))


def _whole(identity: VerifiedIdentity, copy: RepositoryCopy) -> Steps[bytes | None]:
    """The whole repository, if it is not too large."""
    copy.reserve(MAX_REPOSITORY)
    with suppress(XrpcError, LimitError):
        answer = yield from _sync(identity, "getRepo", (("did", str(identity.did)),), MAX_REPOSITORY)
        return answer.body
    return None


def fetch_blocks(
    identity: VerifiedIdentity,
    cids: list[Cid],
    most: int | None = None,
    take: Callable[[Mapping[Cid, bytes]], None] = lambda _: None,
) -> Steps[dict[Cid, bytes] | None]:
    """Blocks by their CIDs, each hashed, and given to `take` as they come; `None` where the server lacks one of them.

    Raises:
        LimitError: they are more bytes than `most`, by default `MAX_BLOCKS`.
        ProofError: the server sent other blocks than were asked for.
    """
    blocks: dict[Cid, bytes] = {}
    left = MAX_BLOCKS if most is None else most
    for start in range(0, len(cids), BLOCKS_AT_ONCE):
        part = cids[start : start + BLOCKS_AT_ONCE]
        try:
            params = (("did", str(identity.did)), *(("cids", str(cid)) for cid in part))
            answer = yield from _sync(identity, "getBlocks", params, MAX_CAR)
        except XrpcError as error:
            if error.status == 400:
                return None
            raise
        brought = read_car(answer.body).blocks
        if lacking := [cid for cid in part if cid not in brought]:
            raise ProofError(
                "a server did not send all requested blocks", step="car", uri=identity.did, expected=lacking[0]
            )
        wanted = {cid: brought[cid] for cid in part}
        take(wanted)
        blocks |= wanted
        left -= sum(map(len, wanted.values()))
        if left < 0:
            raise LimitError("a collection is too large to read", uri=identity.did, expected=f"{MAX_BLOCKS} bytes")
    return blocks


def fetch_labels(labeler: VerifiedLabeler, uris: Sequence[str]) -> Steps[list[Any]]:
    """All that a labeler says of some addresses, as parsed JSON, unread: labels and negations.

    Raises:
        LimitError: it does not come to an end.
        NotFoundError, XrpcError, NetworkError: it refuses, or its answer is none.
    """
    found: list[Any] = []
    for start in range(0, len(uris), ADDRESSES_AT_ONCE):
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            labels, cursor = yield from fetch_label_page(labeler, uris[start : start + ADDRESSES_AT_ONCE], cursor)
            found += labels
            if not labels or cursor is None:  # after the last page there may be an empty one
                break
        else:
            facts = {"expected": f"at most {MAX_PAGES} pages", "actual": f"{len(found)} labels, and more"}
            raise LimitError("a labeler says more of an address than is read", uri=labeler.did, **facts)
    return found


def fetch_label_page(
    labeler: VerifiedLabeler, patterns: Sequence[str], cursor: str | None
) -> Steps[tuple[list[Any], str | None]]:
    """A page of what a labeler says after a cursor of addresses (`*` is any), unread, and the cursor after it, if any.

    Raises:
        NotFoundError, XrpcError, NetworkError: it refuses, or its answer is none.
    """
    asked = [("uriPatterns", str(pattern)) for pattern in patterns]
    asked += [("sources", str(labeler.did)), ("limit", str(LABELS_AT_ONCE))]
    asked += [] if cursor is None else [("cursor", cursor)]
    answer: Response = yield Get(f"{labeler.server}/xrpc/com.atproto.label.queryLabels", tuple(asked), accept=_ANY)
    if answer.status != 200:
        raise refusal(answer, labeler.did)
    labels, after = (_json(answer).get(name) for name in ("labels", "cursor"))
    if not isinstance(labels, list):
        raise NetworkError("a labeler's answer lists no labels", uri=answer.url)
    return labels, after if isinstance(after, str) else None


def _sync(identity: VerifiedIdentity, method: str, params: tuple[tuple[str, str], ...], limit: int) -> Steps[Response]:
    url = f"{identity.pds}/xrpc/com.atproto.sync.{method}"
    answer: Response = yield Get(url, params, max_bytes=limit, accept=_ANY)
    if answer.status == 200:
        return answer
    raise refusal(answer, AtUri.of(identity.did))


_GONE = ("RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated", "RecordNotFound", "AccountNotFound")


def refusal(answer: Response, uri: str) -> NetworkError | NotFoundError:
    """The error that a server's refusal stands for."""
    try:
        body = read_json(answer.body)
    except DataModelError:
        body = None
    said = body if isinstance(body, dict) else {}
    error, message = str(said.get("error", ""))[:100], str(said.get("message", ""))[:300]
    if error in _GONE or (answer.status == 400 and message.startswith("Could not find repo")):
        return NotFoundError("a server has no such account or record", uri=uri, actual=f"{error}: {message}")
    return XrpcError(
        f"a server refuses: {answer.status} {error}".rstrip(),
        status=answer.status,
        error=error,
        uri=uri,
        actual=message or None,
    )


def _json(answer: Response) -> dict[str, Any]:
    body = _parsed(answer)
    if not isinstance(body, dict):
        raise NetworkError("a server's answer is not a JSON object", uri=answer.url)
    return body


def _parsed(answer: Response) -> Any:
    try:
        return read_json(answer.body)
    except DataModelError as error:
        raise NetworkError("a server's answer is not JSON", uri=answer.url) from error


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
