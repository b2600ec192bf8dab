"""`SearchIndex`: documents, kept in the transactions that write the records they are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import Did
from atdata.records.nsids import ENTRY, LABEL, LENS, SCHEMA, today
from atdata.replica import RecordChange, Statements, now
from atdata.replica.columns import RecordColumns, columns_of
from atdata.replica.reading import fitting
from atdata.replica.tables import SHOWN
from atdata.search.columns import mark_changed
from atdata.search.document import COLUMNS, Context, Document, document_of, parts_of
from atdata.search.engines import word_index
from atdata.search.facets import COUNTED, Facet
from atdata.search.packing import codes, head
from atdata.trust.labels import are_relabelled, labelled_among, labels_of, note_contents, take_relabelled

T = TypeVar("T")

AT_ONCE, AT_ONCE_BYTES = 500, 16_000_000
"""Documents that follow another record, or their account, in the transaction that changes it; more of them follow later.
And the bytes of the records that these are made of."""

_MOST = 500  # parameters of a statement
_RELATIONS = ("schema", "sourceSchema", "targetSchema")


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """A record that a document is made of."""

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


class SearchIndex:
    """Documents of what a replica holds: a `Derivation` of it.

    A dataset's document has words of its schema, and the names of its labels; a lens's those of its schemas. Where one of
    these changes, documents that depend on it are made anew: a few hundred at once, the others by `catch_up`.
    """

    def apply(self, sql: Statements, account: int, changes: Sequence[RecordChange]) -> None:
        """Follow changes of an account's records."""
        if changes:
            _alone(sql)
            gone = {change.key for change in changes if change.columns is None}
            self._follow(sql, account, {change.number: change.key for change in changes}, gone, changes)

    def _follow(
        self, sql: Statements, account: int, keys: Mapping[int, str], gone: Set[str], known: Sequence[RecordChange] = ()
    ) -> None:
        """Follow changes of records, given their keys by their numbers, and the keys of those that are gone."""
        (did,) = sql.first("SELECT did FROM replica_accounts WHERE id = ?", account)
        labels = [number for number, key in keys.items() if today(key.partition("/")[0]) == LABEL]
        numbers = [*keys, *self._labelled(sql, account, did, labels)]
        schemas = [f"at://{did}/{key}" for key in sorted(gone) if today(key.partition("/")[0]) == SCHEMA]
        self._derive(sql, numbers, {change.number: change.columns for change in known}, schemas)

    def follow_log(self, sql: Statements, limit: int = AT_ONCE) -> bool:
        """Follow some of the replica's log of changes, for a replica that has no derivations; true if there may be more.

        Args:
            sql: in a transaction that writes.
            limit: how many changes.
        """
        _alone(sql)
        (last,) = sql.first("SELECT change FROM search_followed")
        found = """SELECT number, account, record, key, action FROM replica_changes WHERE number > ?
            ORDER BY number LIMIT ?"""
        rows = sql.all(found, last, limit)
        keys: dict[int, dict[int, str]] = {}
        gone: dict[int, dict[int, bool]] = {}
        for _, account, record, key, action in rows:
            if not bytes(key):  # all of an account
                self.show(sql, account, action == "show")
                continue
            keys.setdefault(account, {})[record] = bytes(key).decode()
            gone.setdefault(account, {})[record] = action == "delete"
        for account, of_account in keys.items():
            self._follow(sql, account, of_account, {of_account[n] for n, it in gone[account].items() if it})
        if rows:
            sql.run("UPDATE search_followed SET change = ?", rows[-1][0])
        return len(rows) == limit

    def show(self, sql: Statements, account: int, visible: bool) -> None:
        """Hide all of an account, or show it again. What is hidden is found by no question from now on."""
        _alone(sql)
        sql.run("DELETE FROM search_hidden WHERE account = ?", account)
        sql.run("DELETE FROM search_pending WHERE account = ?", account)
        if not visible:
            sql.run("INSERT INTO search_hidden (account) VALUES (?)", account)
        self._pending(sql, account=account)
        self.catch_up(sql, AT_ONCE, account)

    def follow_labels(self, sql: Statements, limit: int = AT_ONCE) -> bool:
        """Follow labels of labelers that came, ended or went, of at most so many addresses; true if there may be more."""
        _alone(sql)
        uris = take_relabelled(sql, now(), limit)
        for uri in uris:
            did, _, key = uri.removeprefix("at://").partition("/")
            account = sql.first("SELECT id FROM replica_accounts WHERE did = ?", did)
            if account is not None and not key:
                self._pending(sql, account=account[0])
            elif account is not None:
                found = "SELECT id FROM replica_records WHERE account = ? AND key = ?"
                self._derive(sql, [n for (n,) in sql.all(found, account[0], key.encode())], {}, [])
        return bool(uris)

    def rebuild(self, sql: Statements) -> None:
        """Let all documents be made anew from the records, by `catch_up`, while questions are answered."""
        _alone(sql)
        sql.run("DELETE FROM search_pending WHERE account IS NULL AND target IS NULL")
        known = "SELECT account FROM search_hidden"
        hidden = f"SELECT id FROM replica_accounts WHERE status <> 'active' AND id NOT IN ({known}) ORDER BY id"  # noqa: S608
        for (account,) in sql.all(hidden):
            sql.run("INSERT INTO search_hidden (account) VALUES (?)", account)
            self._pending(sql, account=account)
        self._pending(sql)

    def is_behind(self, sql: Statements) -> bool:
        """True if something is still to be done; asked before `catch_up`, which takes the one place of a writer."""
        return sql.first("SELECT 1 FROM search_pending LIMIT 1") is not None or are_relabelled(sql, now())

    def catch_up(self, sql: Statements, limit: int = AT_ONCE, account: int | None = None) -> bool:
        """Do some of what is still to be done, about so many documents; true if there may be more.

        Args:
            sql: in a transaction that writes.
            limit: how many.
            account: whose documents; else whatever waits the longest.
        """
        if account is None and self.follow_labels(sql, limit):
            return True
        _alone(sql)
        which = "" if account is None else "WHERE account = ?"
        found = f"SELECT id, account, target, after FROM search_pending {which} ORDER BY id LIMIT 1"  # noqa: S608
        row = sql.first(found, *([] if account is None else [account]))
        if row is None:
            return False
        number, of_account, target, after = row
        numbers, more = self._after(sql, of_account, None if target is None else bytes(target), after, limit)
        self._derive(sql, numbers, {}, [])
        if more:
            sql.run("UPDATE search_pending SET after = ? WHERE id = ?", numbers[-1], number)
        else:
            sql.run("DELETE FROM search_pending WHERE id = ?", number)
        return True

    # --- what has to be made anew

    def _after(
        self, sql: Statements, account: int | None, target: bytes | None, after: int, limit: int
    ) -> tuple[list[int], bool]:
        """The next numbers of documents, or of records that have none yet, and whether there may be more."""
        numbers = self._next(sql, account, target, after, limit)
        fits = fitting(sql, numbers, AT_ONCE_BYTES)
        return fits, len(numbers) == limit or len(fits) < len(numbers)

    def _next(self, sql: Statements, account: int | None, target: bytes | None, after: int, limit: int) -> list[int]:
        if target is not None:
            found = f"""SELECT DISTINCT record FROM replica_links WHERE target = ? AND relation IN ({_marks(_RELATIONS)})
                AND record > ? ORDER BY record LIMIT ?"""  # noqa: S608
            return [number for (number,) in sql.all(found, target, *_RELATIONS, after, limit)]
        where, values = ("", []) if account is None else ("account = ? AND", [account])
        numbers = {
            number
            for table in ("replica_records", "search_documents")
            for (number,) in sql.all(
                f"SELECT id FROM {table} WHERE {where} id > ? ORDER BY id LIMIT ?",  # noqa: S608
                *(*values, after, limit),
            )
        }
        return sorted(numbers)[:limit]

    def _naming(self, sql: Statements, targets: Iterable[str]) -> Iterator[int]:
        """Yields the records that name a schema; where there are many, the others are left for later."""
        for target in sorted(targets):
            raw = target.encode("utf-8", "surrogatepass")
            numbers, more = self._after(sql, None, raw, 0, AT_ONCE)
            if more:
                self._pending(sql, target=raw, after=numbers[-1])
            yield from numbers

    def _labelled(self, sql: Statements, account: int, did: str, labels: Sequence[int]) -> Iterator[int]:
        """Yields the datasets of an account that labels of it name now, or named before."""
        targets = {target for some in _chunks(labels) for target in self._remember(sql, some)}
        own = f"at://{did}/".encode()
        keys = sorted(target.removeprefix(own) for target in targets if target.startswith(own))
        for some in _chunks(keys):
            found = f"SELECT id FROM replica_records WHERE account = ? AND kind = ? AND key IN ({_marks(some)})"  # noqa: S608
            yield from (number for (number,) in sql.all(found, account, ENTRY, *some))

    def _remember(self, sql: Statements, labels: Sequence[int]) -> set[bytes]:
        """Note what labels name; what they name, and named before."""
        which = f"WHERE id IN ({_marks(labels)})"
        before = sql.all(f"SELECT target FROM search_labels {which}", *labels)  # noqa: S608
        sql.run(f"DELETE FROM search_labels {which}", *labels)  # noqa: S608
        now = f"SELECT id, target FROM replica_records {which} AND kind = ? AND target IS NOT NULL"  # noqa: S608
        sql.run(f"INSERT INTO search_labels (id, target) {now}", *labels, LABEL)
        after = sql.all(f"SELECT target FROM search_labels {which}", *labels)  # noqa: S608
        return {bytes(target) for (target,) in (*before, *after)}

    def _pending(
        self, sql: Statements, account: int | None = None, target: bytes | None = None, after: int = 0
    ) -> None:
        sql.run("INSERT INTO search_pending (account, target, after) VALUES (?, ?, ?)", account, target, after)

    # --- making

    def _derive(
        self,
        sql: Statements,
        numbers: Sequence[int],
        known: Mapping[int, RecordColumns | None],
        gone: Sequence[str],
    ) -> None:
        """Make the documents of records anew, and those that depend on a schema among them.

        Args:
            sql: in a transaction.
            numbers: of the records; where there is none any more, or it is hidden, there is no document.
            known: columns of some of them.
            gone: addresses of schemas that are no more.
        """
        others: dict[int, _Source] = {}
        changed = set(gone)
        for some in _chunks(sorted(set(numbers))):
            sources = {source.number: source for source in self._sources(sql, some, known)}
            self._remember(sql, some)
            of_schemas = {s.uri: s for s in sources.values() if s.kind == SCHEMA}
            before = self._remove(sql, some)
            shown = [s for s in of_schemas.values() if not s.hidden]
            after = self._write(sql, shown, Context(labelled=self._labelled_as(sql, shown)))
            changed |= {uri for uri, s in of_schemas.items() if before.get(s.number) != after.get(s.number)}
            others |= {n: s for n, s in sources.items() if s.kind in (ENTRY, LENS) and not s.hidden}
        for some in _chunks(sorted(set(self._naming(sql, changed)) - others.keys())):
            sources = {s.number: s for s in self._sources(sql, some, known)}
            self._remove(sql, some)
            others |= {n: s for n, s in sources.items() if s.kind in (ENTRY, LENS) and not s.hidden}
        for made in _chunks([others[number] for number in sorted(others)]):
            self._write(sql, made, self._context(sql, made))
        sql.run("DELETE FROM search_facets WHERE uses <= 0")

    def _sources(
        self, sql: Statements, numbers: Sequence[int], known: Mapping[int, RecordColumns | None]
    ) -> Iterator[_Source]:
        rows = sql.all(
            f"""SELECT r.id, r.account, a.did, r.kind, r.key, r.sorted_at, r.cid, r.block,
            COALESCE(h.account, t.since)
            FROM replica_records r JOIN replica_accounts a ON a.id = r.account
            LEFT JOIN search_hidden h ON h.account = r.account
            LEFT JOIN replica_hidden t ON t.did = a.did AND t.key = r.key WHERE r.id IN ({_marks(numbers)})""",  # noqa: S608
            *numbers,
        )
        for number, account, did, kind, raw, sorted_at, cid, block, hidden in rows:
            if kind in (ENTRY, LENS, SCHEMA):
                key, block = bytes(raw).decode(), None if block is None else bytes(block)
                version = Cid.from_bytes(cid)
                columns = known.get(number) or columns_of(Did(did), key, version, block)
                uri = f"at://{did}/{key}"
                yield _Source(number, account, did, uri, sorted_at, version, columns, hidden is not None)

    def _context(self, sql: Statements, sources: Sequence[_Source]) -> Context:
        """The facts of other records that some datasets and lenses take."""
        schemas: dict[str, Document] = {}
        contents: dict[str, Cid] = {}
        wanted = dict.fromkeys(
            str(link.target) for s in sources for link in s.columns.links if link.relation in _RELATIONS
        )
        for uri in wanted:
            did, _, key = uri.removeprefix("at://").partition("/")
            row = sql.first(
                f"""SELECT r.content, {", ".join(f"d.{name}" for name in (*COLUMNS, "facets"))} FROM replica_accounts a
                JOIN replica_records r ON r.account = a.id AND r.key = ? JOIN search_documents d ON d.id = r.id
                WHERE a.did = ? AND r.kind = ?""",  # noqa: S608
                *(key.encode(), did, SCHEMA),
            )
            if row is not None:
                schemas[uri] = Document.of_row(*row[1:])
                if row[0] is not None:
                    contents[uri] = Cid.from_bytes(row[0])
        return Context(schemas, contents, self._labels(sql, sources), self._labelled_as(sql, sources))

    def _labelled_as(self, sql: Statements, sources: Sequence[_Source]) -> dict[str, list[tuple[str, str]]]:
        """The labels of labelers that may concern records as they are, and those of their accounts."""
        subjects: dict[str, Cid | None] = {source.did: None for source in sources}
        subjects |= {source.uri: source.cid for source in sources}
        note_contents(sql, labelled_among(sql, [source.uri for source in sources]))
        found = labels_of(sql, subjects, datetime.now(UTC))
        said: dict[str, list[tuple[str, str]]] = {}
        for source in sources:
            kept = [label for subject in (source.uri, source.did) for label in found.get(subject, ()) if label.applies]
            if kept:
                said[source.uri] = sorted({(one.label.val, str(one.label.src)) for one in kept})
        return said

    def _labels(self, sql: Statements, sources: Sequence[_Source]) -> dict[str, list[str]]:
        """The names of the labels of datasets: those of the account that has the dataset, for others may say anything."""
        accounts = {source.uri: source.account for source in sources if source.kind == ENTRY}
        labels: dict[str, list[str]] = {}
        for some in _chunks(list(accounts)):
            found = f"""SELECT r.account, r.target, r.name FROM replica_records r JOIN replica_accounts a ON a.id = r.account
                WHERE r.target IN ({_marks(some)}) AND r.kind = ? AND {SHOWN} ORDER BY r.name"""  # noqa: S608
            for account, target, name in sql.all(found, *(uri.encode() for uri in some), LABEL):
                uri = bytes(target).decode()
                if accounts[uri] == account and name is not None:
                    labels.setdefault(uri, []).append(bytes(name).decode("utf-8", "replace"))
        return labels

    def _write(self, sql: Statements, sources: Sequence[_Source], context: Context) -> dict[int, Document]:
        """Add documents of records that have none; the documents."""
        made = {s: document_of(s.columns.record, s.did, s.columns.content, context) for s in sources}
        kept = {source: document for source, document in made.items() if document is not None}
        numbers = self._facet_numbers(sql, [facet for document in kept.values() for facet in document.facets])
        names = ("id", "account", *COLUMNS, "facets")
        insert = f"INSERT INTO search_documents ({', '.join(names)}) VALUES ({_marks(names)})"  # noqa: S608
        sql.run_each(insert, [(s.number, s.account, *parts_of(document).values()) for s, document in kept.items()])
        rows = []
        for source, document in kept.items():
            counted = [(numbers[facet], facet.kind) for facet in document.facets if facet in numbers]
            rows.append((source.number, head(source.number, source.sorted_at, source.uri), codes(counted), document))
        word_index(sql).add(sql, rows)
        mark_changed(sql, [number for number, *_ in rows])
        self._count_uses(sql, Counter(numbers[f] for made in kept.values() for f in made.facets if f in numbers))
        return {source.number: document for source, document in kept.items()}

    def _remove(self, sql: Statements, numbers: Sequence[int]) -> dict[int, Document]:
        """Forget documents; those that there were."""
        names = ", ".join(("id", *COLUMNS, "facets"))
        rows = sql.all(f"SELECT {names} FROM search_documents WHERE id IN ({_marks(numbers)})", *numbers)  # noqa: S608
        found = {number: Document.of_row(*texts) for number, *texts in rows}
        word_index(sql).remove(sql, found.items())
        mark_changed(sql, found)
        facets = Counter(f for document in found.values() for f in document.facets if f.kind in COUNTED)
        known = self._known_numbers(sql, list(facets))
        self._count_uses(sql, {number: -facets[facet] for facet, number in known.items()})
        sql.run_each("DELETE FROM search_documents WHERE id = ?", [row[:1] for row in rows])
        return found

    def _facet_numbers(self, sql: Statements, facets: Iterable[Facet]) -> dict[Facet, int]:
        """The numbers of facets that are counted, given to those that have none."""
        wanted = [facet for facet in dict.fromkeys(facets) if facet.kind in COUNTED]
        numbers = self._known_numbers(sql, wanted)
        new = [facet for facet in wanted if facet not in numbers]
        if new:
            insert = "INSERT INTO search_facets (kind, value) VALUES (?, ?) ON CONFLICT (kind, value) DO NOTHING"
            sql.run_each(insert, [(int(kind), value.encode("utf-8", "surrogatepass")) for kind, value in sorted(new)])
            numbers |= self._known_numbers(sql, new)
        return numbers

    def _count_uses(self, sql: Statements, uses: Mapping[int, int]) -> None:
        """Note how many documents more have facets. Those of none are let go of once their documents were written anew."""
        rows = [(more, number) for number, more in sorted(uses.items())]
        sql.run_each("UPDATE search_facets SET uses = uses + ? WHERE id = ?", rows)

    def _known_numbers(self, sql: Statements, facets: Sequence[Facet]) -> dict[Facet, int]:
        found: dict[Facet, int] = {}
        for kind in {facet.kind for facet in facets}:
            values = [facet.value.encode("utf-8", "surrogatepass") for facet in facets if facet.kind == kind]
            for some in _chunks(values):
                which = f"SELECT id, value FROM search_facets WHERE kind = ? AND value IN ({_marks(some)})"  # noqa: S608
                for number, raw in sql.all(which, int(kind), *some):
                    found[Facet(kind, bytes(raw).decode("utf-8", "surrogatepass"))] = number
        return found


def _alone(sql: Statements) -> None:
    """Let no other transaction make documents before this one has ended: each sees what the one before it wrote."""
    sql.first(f"SELECT one FROM search_lock {sql.dialect.lock}")  # noqa: S608


def _marks(items: Sequence[object]) -> str:
    return ", ".join("?" * len(items))


def _chunks(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _MOST)):
        yield some
