"""The gathering of evidence of what accounts wrote, as network steps: record and collection to proof.

The steps ask and judge nothing: what they bring is evidence for `verify`. The exception is a collection, which
cannot be walked without reading the tree; every block that is walked has been hashed.

The `com.atproto.sync` and `com.atproto.label` lexicons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from atdata.atproto.cid import Cid
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.proof import ProvenCommit, prove_commit
from atdata.atproto.syntax import AtUri, Did, Nsid, RecordKey, Tid
from atdata.atproto.verify import VerifiedIdentity, VerifiedLabeler
from atdata.errors import (
    ContentionError,
    DataModelError,
    IdentifierError,
    LimitError,
    NetworkError,
    NotFoundError,
    ProofError,
    XrpcError,
)
from atdata.json_reader import read_json
from atdata.transport import Get, Response, Steps

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
ACCEPTED = frozenset({200, 400, 401, 403, 404, 410, 501})
"""Statuses of answers that say something; others are failures."""


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


def fetch_status(server: str, did: Did) -> Steps[HostedAccount]:
    """The word of a server about an account: its own, or a relay.

    Raises:
        NotFoundError: the server does not have the account.
        XrpcError: it does not say.
    """
    url = f"{server}/xrpc/com.atproto.sync.getRepoStatus"
    answer: Response = yield Get(url, (("did", str(did)),), max_bytes=MAX_DOCUMENT, accept=ACCEPTED)
    if answer.status != 200:
        raise refusal(answer, AtUri.of(did))
    said = json_object(answer)
    status, rev = said.get("status"), said.get("rev")
    with suppress(IdentifierError):
        rev = Tid(rev) if isinstance(rev, str) else None
        return HostedAccount(said.get("active") is True, status if isinstance(status, str) else None, rev)
    raise NetworkError("a server's answer has a malformed revision", uri=answer.url)


def is_host(server: str) -> Steps[bool]:
    """True if a server says that it hosts accounts, as a PDS does and a relay does not (`com.atproto.server.describeServer`)."""
    answer: Response = yield Get(f"{server}/xrpc/com.atproto.server.describeServer", accept=ACCEPTED)
    return answer.status == 200 and isinstance(json_object(answer).get("did"), str)


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
    answer: Response = yield Get(f"{labeler.server}/xrpc/com.atproto.label.queryLabels", tuple(asked), accept=ACCEPTED)
    if answer.status != 200:
        raise refusal(answer, labeler.did)
    labels, after = (json_object(answer).get(name) for name in ("labels", "cursor"))
    if not isinstance(labels, list):
        raise NetworkError("a labeler's answer lists no labels", uri=answer.url)
    return labels, after if isinstance(after, str) else None


def _sync(identity: VerifiedIdentity, method: str, params: tuple[tuple[str, str], ...], limit: int) -> Steps[Response]:
    url = f"{identity.pds}/xrpc/com.atproto.sync.{method}"
    answer: Response = yield Get(url, params, max_bytes=limit, accept=ACCEPTED)
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


def json_object(answer: Response) -> dict[str, Any]:
    """The object that an answer is. Raises `NetworkError` where it is none."""
    body = json_value(answer)
    if not isinstance(body, dict):
        raise NetworkError("a server's answer is not a JSON object", uri=answer.url)
    return body


def json_value(answer: Response) -> Any:
    """The JSON that an answer is. Raises `NetworkError` where it is none."""
    try:
        return read_json(answer.body)
    except DataModelError as error:
        raise NetworkError("a server's answer is not JSON", uri=answer.url) from error
