"""Gathering evidence ends, however much a server has to tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from atdata.atproto.cid import Cid
from atdata.atproto.fetch import fetch_blocks
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import write_car
from atdata.atproto.resolve import resolve_handle
from atdata.atproto.syntax import Did, Handle
from atdata.atproto.verify import IdentityEvidence, VerifiedIdentity
from atdata.errors import IdentityError, LimitError, NetworkError
from atdata.transport import Response, TxtLookup
from atdata.transport.steps import drive

DID = Did("did:web:a.test")
IDENTITY = VerifiedIdentity(
    DID,
    PrivateKey.generate("k256").public,
    "https://a.test",
    None,
    (),
    IdentityEvidence(DID, {}, None, datetime(2026, 1, 1, tzinfo=UTC)),
    frozenset(["https://a.test"]),
)


def test_blocks_are_brought_up_to_a_limit() -> None:
    blocks = {Cid.of_raw(block): block for block in (bytes([n]) * 1000 for n in range(200))}
    asked: list[int] = []

    def perform(get: Any) -> Response:
        wanted = [value for name, value in get.params if name == "cids"]
        asked.append(len(wanted))
        body = write_car([], {cid: block for cid, block in blocks.items() if str(cid) in wanted})
        return Response(200, {}, body, get.url)

    assert drive(fetch_blocks(IDENTITY, list(blocks), 200_000), perform) == blocks
    assert sum(asked) == 200
    asked.clear()
    with pytest.raises(LimitError):
        drive(fetch_blocks(IDENTITY, list(blocks), 100_000), perform)
    assert sum(asked) < 200


def resolving(perform: Any, *resolvers: str) -> tuple[str, str]:
    return drive(resolve_handle(Handle("a.test.org"), resolvers), perform)


def test_a_handle_is_asked_for_where_others_fail_and_unknown_only_where_nobody_fails() -> None:
    def perform(get: Any) -> Response:
        if "down" in get.url:
            raise NetworkError("a server cannot be reached")
        known = "knows" in get.url
        return Response(200 if known else 400, {}, b'{"did": "did:web:a.test"}' if known else b"{}", get.url)

    assert resolving(perform, "https://down", "https://knows") == (DID, "https://knows")
    assert resolving(perform, "https://other", "https://knows") == (DID, "https://knows")
    with pytest.raises(NetworkError):
        resolving(perform, "https://down", "https://other")
    with pytest.raises(IdentityError):
        resolving(perform, "https://other")


def test_a_web_server_that_answers_any_question_with_its_first_page_knows_no_handle() -> None:
    def perform(step: Any) -> Any:
        if isinstance(step, TxtLookup):
            return []
        raise LimitError("a server's answer is too long", uri=step.url)

    with pytest.raises(IdentityError, match="with more than a DID"):
        resolving(perform)


def test_a_handle_is_not_unknown_because_its_name_could_not_be_looked_up() -> None:
    def perform(step: Any) -> Any:
        if isinstance(step, TxtLookup):
            raise NetworkError("a name cannot be looked up")
        return Response(*found, step.url)

    found = (200, {}, b"did:web:a.test\n")
    assert resolving(perform) == (DID, "well-known")
    found = (404, {}, b"")
    with pytest.raises(NetworkError, match="looked up"):
        resolving(perform)
