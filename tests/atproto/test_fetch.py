"""Gathering evidence ends, however much a server has to tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from atdata.atproto.cid import Cid
from atdata.atproto.fetch import fetch_blocks
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import write_car
from atdata.atproto.syntax import Did
from atdata.atproto.verify import IdentityEvidence, VerifiedIdentity
from atdata.errors import LimitError
from atdata.transport import Response
from atdata.transport.steps import drive

DID = Did("did:web:a.test")
IDENTITY = VerifiedIdentity(
    DID,
    PrivateKey.generate("k256").public,
    "https://a.test",
    None,
    (),
    IdentityEvidence(DID, {}, None, datetime(2026, 1, 1, tzinfo=UTC)),
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
