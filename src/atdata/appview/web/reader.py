"""Pages for what somebody asks for: an address, a name, a question; each of one state of the service."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from atdata.appview.web.accounts import LiveCounts, about_page, account_page, home_page
from atdata.appview.web.addresses import record_path
from atdata.appview.web.datasets import dataset_page
from atdata.appview.web.lenses import lens_page
from atdata.appview.web.pages import DatasetPage, Page
from atdata.appview.web.proofs import proof_of, proof_page
from atdata.appview.web.records import record_page
from atdata.appview.web.schemas import schema_page
from atdata.appview.web.searching import search_page
from atdata.appview.web.service_pages import ProblemPage
from atdata.appview.web.source import PageSource
from atdata.appview.xrpc import resolving
from atdata.appview.xrpc.asking import AskedQuery
from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.appview.xrpc.service import AppViewService
from atdata.appview.xrpc.views import RecordViews
from atdata.atproto.syntax import AtUri, Did, parse_identifier
from atdata.preview import Preview, PreviewSection
from atdata.records import Entry, LensRecord, Schema
from atdata.replica import Reading, StoredRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Elsewhere:
    """The address of a page that is meant."""

    path: str


@dataclass(frozen=True)
class KeptFile:
    """A file to be kept."""

    body: bytes
    name: str
    media_type: str


Answer = Page | Elsewhere | KeptFile

LOOK = "samples"
"""The parameter with which the page of a dataset is asked by whoever wants to see samples."""


@dataclass(frozen=True)
class WebReader:
    """Makes the pages of a service.

    Attributes:
        service: whose.
    """

    service: AppViewService
    _counts: LiveCounts = field(default_factory=LiveCounts)

    def home(self) -> Answer:
        """The first page."""
        return self._read(lambda source: home_page(source, self._counts.of(source.reading)))

    def about(self) -> Answer:
        """The page of the service."""
        did, contact = self.service.did, self.service.contact
        return self._read(lambda source: about_page(source, self._counts.of(source.reading), did, contact))

    def search(self, question: str, cursor: str | None) -> Answer:
        """The answer to a question."""
        return self._read(lambda source: search_page(source, question, cursor))

    def account(self, identifier: str) -> Answer:
        """An account: by its DID, or the way to it."""

        def work(source: PageSource) -> Answer:
            did = _account(source, identifier)
            if did != identifier:
                return Elsewhere(_path(f"at://{did}"))
            return account_page(source, did) or _absent("account")

        return self._read(work)

    def record(self, authority: str, collection: str, rkey: str, look: str | None = None) -> Answer:
        """A record: by the DID of its account, or the way to it.

        Args:
            authority, collection, rkey: of its address.
            look: how often somebody has looked for samples of it already; `None` where nobody wants to see any.
        """
        seen: list[tuple[StoredRecord, Schema | None]] = []

        def work(source: PageSource, stored: StoredRecord) -> Answer:
            page, record = page_of_record(source, stored), stored.parse()
            if isinstance(record, Entry):
                seen.append((stored, source.record(str(record.schema_ref), Schema)))
            return page

        answer = self._of_record(authority, collection, rkey, "", work)
        if not isinstance(answer, DatasetPage) or not seen:
            return answer
        return replace(answer, preview=self._preview(*seen[0], look))  # nothing of the database waits for it

    def _preview(self, stored: StoredRecord, schema: Schema | None, look: str | None) -> PreviewSection:
        if self.service.previews is None:
            return PreviewSection("shown", Preview(why="this service shows no samples"))
        entry, again = stored.parse(), int(look) + 1 if look and re.fullmatch("[0-9]{1,6}", look) else 1
        assert isinstance(entry, Entry)
        ask = f"{_path(str(stored.uri))}?{LOOK}={again}#{LOOK}"  # another each time: else a browser stays on the page
        return self.service.previews.section(entry, schema, ask, look is not None)

    def proof(self, authority: str, collection: str, rkey: str) -> Answer:
        """The proof of a record, as a page."""
        return self._of_record(authority, collection, rkey, "/proof", proof_page)

    def proof_file(self, authority: str, collection: str, rkey: str) -> Answer:
        """The proof of a record, as it is kept."""

        def work(source: PageSource, stored: StoredRecord) -> Answer:
            proof = proof_of(source, stored)
            return KeptFile(proof.car, f"{stored.cid}-{proof.rev}.car", "application/vnd.ipld.car")

        return self._of_record(authority, collection, rkey, "/proof.car", work)

    def named(self, account: str, name: str, version: str | None) -> Answer:
        """The way to the dataset that an account gave a name."""

        def work(reading: Reading) -> Answer:
            params = {"handle": account, "name": name} | ({} if version is None else {"version": version})
            views = RecordViews(reading, self.service.book, False)
            found = resolving.resolve_label(AskedQuery(reading, params, self.service.book, views))
            return Elsewhere(_path(found["uri"]))

        return self.service.replica.read(work)

    def _of_record(
        self, authority: str, collection: str, rkey: str, more: str, work: Callable[[PageSource, StoredRecord], Answer]
    ) -> Answer:
        with requested():
            uri = AtUri(f"at://{authority}/{collection}/{rkey}")

        def found(source: PageSource) -> Answer:
            did = _account(source, authority)
            if did != authority:
                return Elsewhere(_path(uri.with_authority(did)) + more)
            stored = source.stored(uri)
            return _absent("record") if stored is None else work(source, stored)

        return self._read(found)

    def _read(self, work: Callable[[PageSource], T]) -> T:
        return self.service.replica.read(lambda reading: work(PageSource(reading, self.service.book)))


def page_of_record(source: PageSource, stored: StoredRecord) -> Page:
    """The page of a record, of whatever kind it is."""
    record = stored.parse()
    match record:
        case Entry():
            return dataset_page(source, stored, record)
        case Schema():
            return schema_page(source, stored, record)
        case LensRecord():
            return lens_page(source, stored, record)
    return record_page(source, stored, record)


def _account(source: PageSource, identifier: str) -> Did:
    with requested():
        who = parse_identifier(identifier)
    if isinstance(who, Did):
        return who
    identity = source.book.of_handle(source.reading, who.normalized)
    if identity is None:
        raise QueryFailure.absent("RepoNotFound", f"No account of the name {identifier[:300]} is known here.")
    return identity.did


def _path(uri: str) -> str:
    path = record_path(uri)
    if path is None:
        raise QueryFailure.absent("RecordNotFound", "It has an address that no page has.")
    return path


def _absent(what: str) -> ProblemPage:
    return ProblemPage(
        code=404,
        heading="Nothing is here",
        message=f"No such {what} is known to this service, or its publisher has taken it away.",
    )
