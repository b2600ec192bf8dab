"""Answers of a service: bodies of XRPC, pages of records, and the errors that a refusal stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from atdata.atmosphere.service_records import RefusedRecord, ServiceRecord
from atdata.atproto.syntax import AtUri
from atdata.errors import (
    AtdataError,
    DataModelError,
    LexiconError,
    NetworkError,
    NotFoundError,
    RateLimitError,
    UsageError,
    VerificationError,
    XrpcError,
)
from atdata.json_reader import read_json
from atdata.records import Record
from atdata.transport.http import Response

R = TypeVar("R", bound=Record)

_MAX_CURSOR, _MAX_FACETS = 12_000, 50
_IDLE_PAGES = 20  # in a row that give nothing
_ABSENT = ("LabelNotFound", "SchemaNotFound", "RecordNotFound", "RepoNotFound")


@dataclass(frozen=True)
class ServicePage(Generic[R]):
    """A page of an answer.

    Attributes:
        records: those that were proven, in the service's order.
        refused: what was not proven.
        cursor: leads to the next page; `None` at the end.
        total: how many there are on all pages, by the service's word.
        exact: whether these are all, by the service's word.
        facets: by kind, values and how many records have them, by the service's word.
    """

    records: tuple[ServiceRecord[R], ...] = ()
    refused: tuple[RefusedRecord, ...] = ()
    cursor: str | None = None
    total: int | None = None
    exact: bool = True
    facets: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


class ServiceAnswers(Generic[R]):
    """Records that a question finds, one after another, or pages of them. Pages are fetched as they are asked for.

    Args:
        fetch: gives the page at a cursor.
        cursor: where to begin.

    Attributes:
        refused: what was not proven, of the pages until now.
    """

    def __init__(self, fetch: Callable[[str | None], ServicePage[R]], cursor: str | None = None) -> None:
        self._fetch, self._cursor = fetch, cursor
        self.refused: list[RefusedRecord] = []

    def __iter__(self) -> Iterator[ServiceRecord[R]]:
        for page in self.pages():
            yield from page.records

    def pages(self) -> Iterator[ServicePage[R]]:
        """Yields the pages. A record that was given before is not given again.

        Raises:
            NetworkError: the pages lead in a circle, or go on without giving anything.
        """
        cursor, passed, given, idle = self._cursor, set[str | None](), set[AtUri](), 0
        while True:
            if cursor in passed or idle > _IDLE_PAGES:
                what = "the pages of a service lead in a circle" if idle <= _IDLE_PAGES else "a service gives nothing"
                raise NetworkError(what, actual=str(cursor)[:100], hint="Ask another service, or search without one.")
            passed.add(cursor)
            page = self._fetch(cursor)
            fresh = {found.record.located: found for found in page.records if found.record.located not in given}
            new = tuple(fresh.values())
            given |= fresh.keys()
            self.refused += page.refused
            idle = 0 if new else idle + 1
            yield replace(page, records=new)
            if page.cursor is None:
                return
            cursor = page.cursor


def items_of(said: dict[str, Any], member: str, service: str) -> list[Any]:
    """The items of a page.

    Raises:
        NetworkError: there are none.
    """
    items = said.get(member)
    if not isinstance(items, list):
        raise NetworkError(f"a service's answer lists no {member}", uri=service)
    return items


def told(said: dict[str, Any], service: str) -> dict[str, Any]:
    """The word of a page beside its records, as far as it can be meant.

    Raises:
        NetworkError: its cursor is none.
    """
    cursor, total = said.get("cursor"), said.get("hitsTotal")
    if cursor is not None and not (isinstance(cursor, str) and 0 < len(cursor) <= _MAX_CURSOR):
        raise NetworkError("a service's answer has a malformed cursor", uri=service)
    facets = dict[str, tuple[tuple[str, int], ...]]()
    with suppress(KeyError, TypeError, AttributeError):
        for facet in said.get("facets", [])[:_MAX_FACETS]:
            values = [(item["value"], item["count"]) for item in facet["values"][:_MAX_FACETS]]
            whole = all(isinstance(text, str) and type(count) is int for text, count in values)
            if whole and isinstance(facet["kind"], str):
                facets[facet["kind"][:100]] = tuple((text[:500], count) for text, count in values)
    return {
        "cursor": cursor,
        "total": total if type(total) is int and total >= 0 else None,
        "exact": said.get("exact") is not False,
        "facets": facets,
    }


def body_of(answer: Response) -> dict[str, Any]:
    """The body of an answer; of a refusal an empty one, where it says nothing.

    Raises:
        NetworkError: it is no JSON object.
    """
    try:
        said = read_json(answer.body)
    except DataModelError:
        said = None
    if isinstance(said, dict):
        return said
    if answer.status == 200:
        raise NetworkError("a service's answer is not a JSON object", uri=answer.url)
    return {}


def refusal_of(status: int, said: dict[str, Any], method: str, service: str) -> AtdataError:
    """The error that a service's refusal stands for. None of it is proven."""
    name, message = str(said.get("error", ""))[:100], str(said.get("message", ""))[:300]
    facts: dict[str, Any] = {"uri": service, "step": method, "actual": f"{name}: {message}"}
    facts["hint"] = "That is the service's word; the account's own server knows."
    if name == "TargetNotFound":
        return NotFoundError("a service knows a label, and not the entry that it stands for", **facts)
    if name in _ABSENT:
        return NotFoundError("a service knows nothing of what was asked for", **facts)
    if name == "RecordInvalid":
        return LexiconError("a service cannot tell what a name stands for: a record of it is malformed", **facts)
    if name == "NotVerified":
        return VerificationError("a service could not verify a record", **facts)
    if name == "InvalidRequest" and status == 400:
        return UsageError("a service takes the question for none", **facts)
    kind = RateLimitError if status == 429 else XrpcError
    return kind(f"a service refuses: {status} {name}".rstrip(), status=status, error=name, **facts)
