"""Cursors: the place after which a page begins, as text that means nothing to anybody else."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from atdata.appview.xrpc.failures import QueryFailure

_TEXT = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PLACE = re.compile(rb"([A-Za-z]{1,64}):(-?[0-9]{1,19}(?:,-?[0-9]{1,19}){0,3})")
_LARGEST = 2**63 - 1


def cursor_of(method: str, place: Sequence[int]) -> str:
    """The cursor of a method for a place."""
    said = f"{method}:{','.join(map(str, place))}".encode()
    return base64.urlsafe_b64encode(said).decode().rstrip("=")


def place_of(method: str, cursor: str | None, count: int) -> tuple[int, ...] | None:
    """The place that a cursor of a method stands for; `None` for none.

    Raises:
        QueryFailure: no such cursor was ever given out.
    """
    if cursor is None:
        return None
    found = _PLACE.fullmatch(_decoded(cursor))
    place = () if found is None else tuple(map(int, found[2].split(b",")))
    if found is None or found[1].decode() != method or len(place) != count or max(map(abs, place)) > _LARGEST:
        raise QueryFailure("InvalidRequest", "the cursor is none of this method: begin with the first page")
    return place


def _decoded(cursor: str) -> bytes:
    if not _TEXT.fullmatch(cursor):
        return b""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return b""
