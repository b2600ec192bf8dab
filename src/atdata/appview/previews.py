"""Previews on the pages of a service: fetched when somebody asks for them, a few at a time, and kept for a while."""

from __future__ import annotations

import logging
from functools import partial

from atdata.atmosphere import AtmosphereClient
from atdata.preview import (
    Background,
    FetchLimits,
    Preview,
    PreviewSection,
    PublishedPreview,
    preview_published,
    reason_against,
)
from atdata.records import Entry, Schema

log = logging.getLogger("atdata.appview")

_THREADS, _WAITING, _KEPT = 2, 16, 64
_PATIENCE = 0.8  # seconds that a page waits
_HASTE, _RATE = 10.0, 50_000.0  # seconds that a server may take, and bytes a second
_LASTING, _FAILED = 24 * 3600.0, 60.0  # seconds for which a preview is kept, and the reason why there is none


class PublishedPreviews:
    """The previews of a service.

    Nothing is fetched because a page was opened: whoever wants to see samples follows a link, which crawlers are told not
    to follow, and which costs more of what an address may ask.

    Args:
        client: to read with.
        fetch: what may be fetched for one.
    """

    def __init__(self, client: AtmosphereClient, fetch: FetchLimits) -> None:
        self._client, self._fetch = client, fetch
        self._background: Background[PublishedPreview] = Background(_THREADS, _WAITING, _KEPT, _PATIENCE, _lasting)

    @classmethod
    def of(cls, most: int) -> PublishedPreviews:
        """Previews for which so many bytes may be fetched, by a client that does not wait long for anybody."""
        return cls(AtmosphereClient(patience=_HASTE, least_rate=_RATE), FetchLimits(bytes=most))

    def section(self, entry: Entry, schema: Schema | None, ask: str, asked: bool) -> PreviewSection:
        """The part of a dataset's page.

        Args:
            entry: verified, with its address.
            schema: of its samples, verified, with its address; `None` where it is not known here.
            ask: the address that has it fetched.
            asked: whether that is the one that was asked.
        """
        if why := reason_against(entry, self._fetch):
            return PreviewSection("shown", Preview(why=why))
        key = entry.uri, entry.cid, None if schema is None else schema.cid
        work = partial(self._look, entry, schema) if asked else None
        found = self._background.ask(key, work)
        match found:
            case "unasked":
                return PreviewSection("offered", ask=ask)
            case "pending":
                return PreviewSection("pending", ask=ask)
            case "busy":
                why = "too many others are being fetched just now; ask again in a while"
                return PreviewSection("shown", Preview(why=why))
        return PreviewSection("shown", found.preview, found.statistics, verified=True)

    def _look(self, entry: Entry, schema: Schema | None) -> PublishedPreview:
        try:
            return preview_published(self._client, entry, schema, self._fetch)
        except Exception as error:
            log.error("a fault", extra={"facts": {"method": "preview"}}, exc_info=error)
            return PublishedPreview(Preview(why="a fault of this service; it was noted"))


def _lasting(found: PublishedPreview) -> float:
    return _LASTING if found.preview.samples else _FAILED
