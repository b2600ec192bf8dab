"""A service as everything in it sees it, and what it answers to one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from atdata.appview.previews import PublishedPreviews
from atdata.appview.xrpc import listing, resolving
from atdata.appview.xrpc.asking import AskedQuery, Method
from atdata.appview.xrpc.describing import RecordCount, get_profile
from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.appview.xrpc.identities import HandleBook, KeptHandleBook
from atdata.appview.xrpc.lexicons import NAMESPACE, method_lexicons
from atdata.appview.xrpc.limits import LOOPBACK, RateLimit
from atdata.appview.xrpc.searching import search_datasets, search_records
from atdata.appview.xrpc.trusting import get_labelers, get_trusted_verifiers
from atdata.appview.xrpc.views import RecordViews
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AtdataError, NotFoundError, VerificationError
from atdata.replica import Reading, Replica
from atdata.replica.writing import HeadRow

if TYPE_CHECKING:  # its library need not be there where nothing is served
    from atdata.appview.xrpc.metrics import IngestCounts

_PROVABLE = frozenset({"resolveLabel", "resolveSchema"})
"""Published methods that say nothing of `proof`, which ours have in their lexicons."""


class RecordFetcher(Protocol):
    """Fetches and verifies a record's repository now, and keeps it."""

    def fetch(self, did: Did) -> None:
        """Fetch it.

        Raises:
            NotFoundError: there is no such account.
            VerificationError: what its server shows does not hold.
            NetworkError: the server gives no usable answer.
        """


@dataclass(frozen=True)
class AppViewService:
    """An AppView that answers.

    Attributes:
        replica: from which.
        did: of the service.
        book: who accounts are.
        fetcher: fetches a record now, where there is one.
        limit: how much one address may ask.
        contact: how its operator is reached: an address on the web or for mail.
        previews: shows samples, where it does.
        ingest: what is taken in by this process, where it is.
        ready_lag: seconds since the last event of an upstream after which it is not ready any more; 0 for never.
        proxies: addresses of reverse proxies, whose word for the address of a client is believed.
    """

    replica: Replica
    did: str = "did:web:localhost"
    book: HandleBook = field(default_factory=KeptHandleBook)
    fetcher: RecordFetcher | None = None
    limit: RateLimit = field(default_factory=RateLimit)
    contact: str = ""
    previews: PublishedPreviews | None = None
    ingest: IngestCounts | None = None
    ready_lag: float = 0.0
    proxies: Sequence[str] = LOOPBACK
    _count: RecordCount = field(default_factory=RecordCount)

    @property
    def queries(self) -> dict[str, Method]:
        """The queries, by the last part of their NSIDs."""
        return {
            "resolveLabel": resolving.resolve_label,
            "resolveSchema": resolving.resolve_schema,
            "resolveBlobs": resolving.resolve_blobs,
            "getEntry": listing.get_entry,
            "getEntries": listing.get_entries,
            "getSchema": listing.get_schema,
            "getLens": listing.get_lens,
            "getProfile": get_profile,
            "listEntries": listing.list_entries,
            "listSchemas": listing.list_schemas,
            "listLenses": listing.list_lenses,
            "listLabels": listing.list_labels,
            "listVerifications": listing.list_verifications,
            "listBacklinks": listing.list_backlinks,
            "searchDatasets": search_datasets,
            "searchLenses": listing.search_lenses,
            "getTrustedVerifiers": get_trusted_verifiers,
            "searchRecords": search_records,
            "getLabelers": get_labelers,
            "describeService": self._count.describe_service,
        }

    def ask(self, method: str, pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], str | None]:
        """Answer a query.

        Args:
            method: the last part of its NSID.
            pairs: names and texts of the query string.

        Returns:
            The body, and the newest revision of the repository that it is of, where it is of one.

        Raises:
            QueryFailure: it has no answer but this.
        """
        query = self.queries[method]
        with requested():
            params = method_lexicons().read_params(f"{NAMESPACE}.{method}", pairs)
            proving = params.get("proof", False) if method not in _PROVABLE else _proof(pairs)
            _check_texts(params)

        def work(reading: Reading) -> tuple[dict[str, Any], str | None]:
            views = RecordViews(reading, self.book, bool(proving))
            asked = AskedQuery(reading, params, self.book, views, self.did)
            return query(asked), asked.rev()

        return self.replica.read(work)

    def index_now(self, body: object) -> dict[str, Any]:
        """Fetch and verify a record now.

        Raises:
            QueryFailure: it has no answer but this.
        """
        with requested():
            method_lexicons().validate_input(f"{NAMESPACE}.indexNow", body)
            assert isinstance(body, dict)
        if self.fetcher is None:
            raise QueryFailure("MethodNotImplemented", "this service follows nobody", 501)
        text = body["uri"]
        uri = self.replica.read(lambda reading: self._question(reading).address(text))
        if not isinstance(uri.authority, Did):
            raise QueryFailure.absent("RepoNotFound", f"nothing is known of the account {uri.authority}")
        try:
            self.fetcher.fetch(uri.authority)
        except NotFoundError as error:
            raise _unfound() from error
        except AtdataError as error:
            failure = (
                QueryFailure("NotVerified", error.what)
                if isinstance(error, VerificationError)
                else QueryFailure("UpstreamFailure", error.what, 502)
            )
            raise (_unfound() if self.replica.read(lambda reading: _is_hidden(reading, uri)) else failure) from error
        return self.replica.read(lambda reading: self._indexed(reading, uri))

    def _indexed(self, reading: Reading, uri: AtUri) -> dict[str, Any]:
        head = reading.account(Did(uri.authority)).head()
        if head is None or _is_hidden(reading, uri):
            raise _unfound()
        record = self._question(reading).get(uri)
        return {"uri": str(record.uri), "cid": str(record.cid), "rev": str(head.rev)}

    def _question(self, reading: Reading) -> AskedQuery:
        return AskedQuery(reading, {}, self.book, RecordViews(reading, self.book, False), self.did)


def _unfound() -> QueryFailure:
    """The answer for an account of which nothing was found; and, so that nobody learns of it, for one that is hidden."""
    return QueryFailure.absent("RepoNotFound", "nothing was found of an account")


def _is_hidden(reading: Reading, uri: AtUri) -> bool:
    head = HeadRow.read(reading.sql, Did(uri.authority))
    return head is not None and head.status != "active"


def _proof(pairs: Sequence[tuple[str, str]]) -> bool:
    said = [text for name, text in pairs if name == "proof"]
    if len(said) > 1 or not {*said} <= {"true", "false"}:
        raise QueryFailure("InvalidRequest", "proof must be true or false")
    return said == ["true"]


def _check_texts(params: dict[str, Any]) -> None:
    """Refuse what no name or address holds."""
    for name, value in params.items():
        if any("\0" in text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)):
            raise QueryFailure("InvalidRequest", f"{name} holds a NUL character")
