"""`DocumentWriter`: reads what documents of a search are made of, and writes and removes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import Did
from atdata.records.nsids import ENTRY, LABEL, LENS, SCHEMA
from atdata.replica import Statements
from atdata.replica.columns import RecordColumns, columns_of
from atdata.replica.tables import SHOWN
from atdata.search.columns import mark_changed
from atdata.search.document import COLUMNS, Context, Document, document_of, parts_of
from atdata.search.engines import word_index
from atdata.search.facets import COUNTED, Facet
from atdata.search.packing import codes, head
from atdata.trust.labels import labelled_among, labels_of, note_contents

T = TypeVar("T")

_MOST = 500  # parameters of a statement
RELATIONS = ("schema", "sourceSchema", "targetSchema")
"""Relations of datasets and lenses to the schemas whose words and facets they take."""


class DocumentSource(Struct, frozen=True, eq=False):
    """A record that a document is made of.

    Attributes:
        number: its row.
        account: that of its account.
        did: whose it is.
        uri: its address.
        sorted_at: when it says it was made, in microseconds since 1970.
        cid: it.
        columns: what it is found by.
        hidden: whether it is shown to nobody.
    """

    number: int
    account: int
    did: str
    uri: str
    sorted_at: int
    cid: Cid
    columns: RecordColumns
    hidden: bool

    @property
    def kind(self) -> str:
        """The collection in which such records are written today."""
        return self.columns.kind


class DocumentWriter:
    """Writes and removes documents, in a transaction.

    Args:
        sql: the transaction.
    """

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def sources(self, numbers: Sequence[int], known: Mapping[int, RecordColumns | None]) -> Iterator[DocumentSource]:
        """Read the records of some numbers of which there are documents.

        Args:
            numbers: of the records.
            known: columns of some of them.
        """
        rows = self._sql.all(
            f"""SELECT r.id, r.account, a.did, r.kind, r.key, r.sorted_at, r.cid, r.block,
            COALESCE(h.account, t.since)
            FROM replica_records r JOIN replica_accounts a ON a.id = r.account
            LEFT JOIN search_hidden h ON h.account = r.account
            LEFT JOIN replica_hidden t ON t.did = a.did AND t.key = r.key WHERE r.id IN ({marks(numbers)})""",  # noqa: S608
            *numbers,
        )
        for number, account, did, kind, raw, sorted_at, cid, block, hidden in rows:
            if kind in (ENTRY, LENS, SCHEMA):
                key, block = bytes(raw).decode(), None if block is None else bytes(block)
                version = Cid.from_bytes(cid)
                columns = known.get(number) or columns_of(Did(did), key, version, block)
                uri = f"at://{did}/{key}"
                yield DocumentSource(number, account, did, uri, sorted_at, version, columns, hidden is not None)

    def context(self, sources: Sequence[DocumentSource]) -> Context:
        """The facts of other records that some datasets and lenses take."""
        schemas: dict[str, Document] = {}
        contents: dict[str, Cid] = {}
        wanted = dict.fromkeys(
            str(link.target) for s in sources for link in s.columns.links if link.relation in RELATIONS
        )
        for uri in wanted:
            did, _, key = uri.removeprefix("at://").partition("/")
            row = self._sql.first(
                f"""SELECT r.content, {", ".join(f"d.{name}" for name in (*COLUMNS, "facets"))} FROM replica_accounts a
                JOIN replica_records r ON r.account = a.id AND r.key = ? JOIN search_documents d ON d.id = r.id
                WHERE a.did = ? AND r.kind = ?""",  # noqa: S608
                *(key.encode(), did, SCHEMA),
            )
            if row is not None:
                schemas[uri] = Document.of_row(*row[1:])
                if row[0] is not None:
                    contents[uri] = Cid.from_bytes(row[0])
        return Context(schemas, contents, self._labels(sources), self.labelled_as(sources))

    def labelled_as(self, sources: Sequence[DocumentSource]) -> dict[str, list[tuple[str, str]]]:
        """The labels of labelers that may concern records as they are, and those of their accounts."""
        subjects: dict[str, Cid | None] = {source.did: None for source in sources}
        subjects |= {source.uri: source.cid for source in sources}
        note_contents(self._sql, labelled_among(self._sql, [source.uri for source in sources]))
        found = labels_of(self._sql, subjects, datetime.now(UTC))
        said: dict[str, list[tuple[str, str]]] = {}
        for source in sources:
            kept = [label for subject in (source.uri, source.did) for label in found.get(subject, ()) if label.applies]
            if kept:
                said[source.uri] = sorted({(one.label.val, str(one.label.src)) for one in kept})
        return said

    def _labels(self, sources: Sequence[DocumentSource]) -> dict[str, list[str]]:
        """The names of the labels of datasets: those of the account that has the dataset, for others may say anything."""
        accounts = {source.uri: source.account for source in sources if source.kind == ENTRY}
        labels: dict[str, list[str]] = {}
        for some in chunks(list(accounts)):
            found = f"""SELECT r.account, r.target, r.name FROM replica_records r JOIN replica_accounts a ON a.id = r.account
                WHERE r.target IN ({marks(some)}) AND r.kind = ? AND {SHOWN} ORDER BY r.name"""  # noqa: S608
            for account, target, name in self._sql.all(found, *(uri.encode() for uri in some), LABEL):
                uri = bytes(target).decode()
                if accounts[uri] == account and name is not None:
                    labels.setdefault(uri, []).append(bytes(name).decode("utf-8", "replace"))
        return labels

    def write(self, sources: Sequence[DocumentSource], context: Context) -> dict[int, Document]:
        """Add documents of records that have none; the documents."""
        made = {s: document_of(s.columns.record, s.did, s.columns.content, context) for s in sources}
        kept = {source: document for source, document in made.items() if document is not None}
        numbers = self._facet_numbers([facet for document in kept.values() for facet in document.facets])
        names = ("id", "account", *COLUMNS, "facets")
        insert = f"INSERT INTO search_documents ({', '.join(names)}) VALUES ({marks(names)})"  # noqa: S608
        self._sql.run_each(
            insert, [(s.number, s.account, *parts_of(document).values()) for s, document in kept.items()]
        )
        rows = []
        for source, document in kept.items():
            counted = [(numbers[facet], facet.kind) for facet in document.facets if facet in numbers]
            rows.append((source.number, head(source.number, source.sorted_at, source.uri), codes(counted), document))
        word_index(self._sql).add(self._sql, rows)
        mark_changed(self._sql, [number for number, *_ in rows])
        self._count_uses(Counter(numbers[f] for made in kept.values() for f in made.facets if f in numbers))
        return {source.number: document for source, document in kept.items()}

    def remove(self, numbers: Sequence[int]) -> dict[int, Document]:
        """Forget documents; those that there were."""
        names = ", ".join(("id", *COLUMNS, "facets"))
        rows = self._sql.all(f"SELECT {names} FROM search_documents WHERE id IN ({marks(numbers)})", *numbers)  # noqa: S608
        found = {number: Document.of_row(*texts) for number, *texts in rows}
        word_index(self._sql).remove(self._sql, found.items())
        mark_changed(self._sql, found)
        facets = Counter(f for document in found.values() for f in document.facets if f.kind in COUNTED)
        known = self._known_numbers(list(facets))
        self._count_uses({number: -facets[facet] for facet, number in known.items()})
        self._sql.run_each("DELETE FROM search_documents WHERE id = ?", [row[:1] for row in rows])
        return found

    def _facet_numbers(self, facets: Iterable[Facet]) -> dict[Facet, int]:
        """The numbers of facets that are counted, given to those that have none."""
        wanted = [facet for facet in dict.fromkeys(facets) if facet.kind in COUNTED]
        numbers = self._known_numbers(wanted)
        new = [facet for facet in wanted if facet not in numbers]
        if new:
            insert = "INSERT INTO search_facets (kind, value) VALUES (?, ?) ON CONFLICT (kind, value) DO NOTHING"
            self._sql.run_each(
                insert, [(int(kind), value.encode("utf-8", "surrogatepass")) for kind, value in sorted(new)]
            )
            numbers |= self._known_numbers(new)
        return numbers

    def _count_uses(self, uses: Mapping[int, int]) -> None:
        """Note how many documents more have facets. Those of none are let go of once their documents were written anew."""
        rows = [(more, number) for number, more in sorted(uses.items())]
        self._sql.run_each("UPDATE search_facets SET uses = uses + ? WHERE id = ?", rows)

    def _known_numbers(self, facets: Sequence[Facet]) -> dict[Facet, int]:
        found: dict[Facet, int] = {}
        for kind in {facet.kind for facet in facets}:
            values = [facet.value.encode("utf-8", "surrogatepass") for facet in facets if facet.kind == kind]
            for some in chunks(values):
                which = f"SELECT id, value FROM search_facets WHERE kind = ? AND value IN ({marks(some)})"  # noqa: S608
                for number, raw in self._sql.all(which, int(kind), *some):
                    found[Facet(kind, bytes(raw).decode("utf-8", "surrogatepass"))] = number
        return found


def marks(items: Sequence[object]) -> str:
    """Placeholders for parameters of a statement."""
    return ", ".join("?" * len(items))


def chunks(items: Sequence[T]) -> Iterator[list[T]]:
    """The items, as many at a time as a statement may have parameters."""
    rest = iter(items)
    while some := list(islice(rest, _MOST)):
        yield some
