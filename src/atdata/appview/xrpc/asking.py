"""A question, and what every method asks of a replica to answer it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.appview.xrpc.identities import HandleBook
from atdata.appview.xrpc.views import RecordViews
from atdata.atproto.syntax import AtUri, Did, parse_identifier
from atdata.records import Malformed, Record
from atdata.records.nsids import today
from atdata.replica import Reading, StoredRecord
from atdata.replica.writing import HeadRow


@dataclass(frozen=True)
class AskedQuery:
    """A question to one state of a replica.

    Attributes:
        reading: the state.
        params: the parameters, which their lexicon allows.
        book: who accounts are.
        views: of the records that are shown.
        service: the DID of this service.
        repos: the accounts whose records the answer is about.
    """

    reading: Reading
    params: dict[str, Any]
    book: HandleBook
    views: RecordViews
    service: str = ""
    repos: set[Did] = field(default_factory=set)

    def rev(self) -> str | None:
        """The newest revision of the repository that the answer is of; `None` where it is of none, or of several."""
        heads = [self.reading.account(did).head() for did in self.repos]
        return str(heads[0].rev) if len(heads) == 1 and heads[0] is not None else None

    def account(self, identifier: str, missing: str = "RepoNotFound") -> Did:
        """The account that a handle or DID stands for, if it is shown.

        Raises:
            QueryFailure: nothing is shown of it; `missing` is the name for that.
        """
        with requested():
            who = parse_identifier(identifier)
        did: Did | None
        if isinstance(who, Did):
            did = who
        else:
            identity = self.book.of_handle(self.reading, who.normalized)
            did = None if identity is None else identity.did
        head = None if did is None else HeadRow.read(self.reading.sql, did)
        if did is None or head is None or head.head is None or head.status != "active":
            raise QueryFailure.absent(missing, f"nothing is known of the account {identifier[:300]}")
        self.repos.add(did)
        return did

    def repo(self) -> Did | None:
        """The account that the parameter `repo` names, if there is one."""
        return self.account(self.params["repo"]) if "repo" in self.params else None

    def address(self, text: str) -> AtUri:
        """The address of a record, by the DID of its account where that is known.

        Raises:
            QueryFailure: it is none of a record.
        """
        with requested():
            uri = AtUri(text)
            if uri.collection is None or uri.rkey is None:
                raise QueryFailure("InvalidRequest", "the address is none of a record")
            authority = uri.authority
            if isinstance(authority, Did):
                return uri
            identity = self.book.of_handle(self.reading, authority.normalized)
            return uri if identity is None else uri.with_authority(identity.did)

    def find(self, text: str, kind: str | None = None) -> StoredRecord | None:
        """The record at an address, if it is shown.

        Raises:
            QueryFailure: it is no address of a record, or not of the kind.
        """
        uri = self.address(text)
        if kind is not None and today(str(uri.collection)) != kind:
            raise QueryFailure("InvalidRequest", f"the record is not in a collection of {kind}")
        found = self.reading.get(uri) if isinstance(uri.authority, Did) else None
        if found is not None:
            self.repos.add(found.did)
        return found

    def get(self, text: str, kind: str | None = None) -> StoredRecord:
        """The record at an address.

        Raises:
            QueryFailure: there is none, or `find` raises it.
        """
        record = self.find(text, kind)
        if record is None:
            raise QueryFailure.absent("RecordNotFound", f"nothing is known of {text[:500]}")
        return record


Method: TypeAlias = Callable[[AskedQuery], dict[str, Any]]
"""A query: from a question to the body of its answer."""


def parsed(records: list[StoredRecord]) -> tuple[list[Record], list[Malformed]]:
    """Records that can be read, and those that cannot."""
    found = [record.parse() for record in records]
    malformed = [record for record in found if isinstance(record, Malformed)]
    return [record for record in found if not isinstance(record, Malformed)], malformed
