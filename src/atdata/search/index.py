"""`SearchIndex`: documents, kept in the transactions that write the records they are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from atdata.records.nsids import ENTRY, LABEL, LENS, SCHEMA, today
from atdata.replica import RecordChange, Statements, now
from atdata.replica.columns import RecordColumns
from atdata.replica.reading import fitting
from atdata.search.document import Context
from atdata.search.writing import RELATIONS, DocumentSource, DocumentWriter, chunks, marks
from atdata.trust.labels import are_relabelled, take_relabelled

AT_ONCE, AT_ONCE_BYTES = 500, 16_000_000
"""Documents that follow another record, or their account, in the transaction that changes it; more of them follow later.
And the bytes of the records that these are made of."""
FOLLOWED_AT_ONCE = 2_000
"""Changes of the log that are followed in a transaction that has another purpose."""


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
        self, sql: Statements, account: int, keys: Mapping[int, str], gone: Set[str], known: Sequence[RecordChange]
    ) -> None:
        """Follow changes of records, given their keys by their numbers, and the keys of those that are gone."""
        (did,) = sql.first("SELECT did FROM replica_accounts WHERE id = ?", account)
        labels = [number for number, key in keys.items() if today(key.partition("/")[0]) == LABEL]
        numbers = [*keys, *self._labelled(sql, account, did, labels)]
        schemas = [f"at://{did}/{key}" for key in sorted(gone) if today(key.partition("/")[0]) == SCHEMA]
        self._derive(sql, numbers, {change.number: change.columns for change in known}, schemas)

    def follow_log(self, sql: Statements, limit: int = AT_ONCE, known: Sequence[RecordChange] = ()) -> bool:
        """Follow some of the replica's log of changes, where this is no derivation of all who write it; true if there may be more.

        Args:
            sql: in a transaction that writes.
            limit: how many changes.
            known: changes of this transaction, whose columns need not be made again.
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
            self._follow(sql, account, of_account, {of_account[n] for n, it in gone[account].items() if it}, known)
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
            found = f"""SELECT DISTINCT record FROM replica_links WHERE target = ? AND relation IN ({marks(RELATIONS)})
                AND record > ? ORDER BY record LIMIT ?"""  # noqa: S608
            return [number for (number,) in sql.all(found, target, *RELATIONS, after, limit)]
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
        targets = {target for some in chunks(labels) for target in self._remember(sql, some)}
        own = f"at://{did}/".encode()
        keys = sorted(target.removeprefix(own) for target in targets if target.startswith(own))
        for some in chunks(keys):
            found = f"SELECT id FROM replica_records WHERE account = ? AND kind = ? AND key IN ({marks(some)})"  # noqa: S608
            yield from (number for (number,) in sql.all(found, account, ENTRY, *some))

    def _remember(self, sql: Statements, labels: Sequence[int]) -> set[bytes]:
        """Note what labels name; what they name, and named before."""
        which = f"WHERE id IN ({marks(labels)})"
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
        writer, others = DocumentWriter(sql), dict[int, DocumentSource]()
        changed = set(gone)
        for some in chunks(sorted(set(numbers))):
            sources = {source.number: source for source in writer.sources(some, known)}
            self._remember(sql, some)
            of_schemas = {s.uri: s for s in sources.values() if s.kind == SCHEMA}
            before = writer.remove(some)
            shown = [s for s in of_schemas.values() if not s.hidden]
            after = writer.write(shown, Context(labelled=writer.labelled_as(shown)))
            changed |= {uri for uri, s in of_schemas.items() if before.get(s.number) != after.get(s.number)}
            others |= {n: s for n, s in sources.items() if s.kind in (ENTRY, LENS) and not s.hidden}
        for some in chunks(sorted(set(self._naming(sql, changed)) - others.keys())):
            sources = {s.number: s for s in writer.sources(some, known)}
            writer.remove(some)
            others |= {n: s for n, s in sources.items() if s.kind in (ENTRY, LENS) and not s.hidden}
        for made in chunks([others[number] for number in sorted(others)]):
            writer.write(made, writer.context(made))
        sql.run("DELETE FROM search_facets WHERE uses <= 0")


class LogFollower:
    """A `Derivation` of a replica that others write too, without one: with its changes documents follow the log to its end.

    Where much is to be followed that is left for later, as a transaction keeps others from writing.

    Args:
        index: whose documents.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    def apply(self, sql: Statements, account: int, changes: Sequence[RecordChange]) -> None:  # noqa: ARG002
        """Follow changes of an account's records, and all that came before them."""
        more = "SELECT 1 FROM replica_changes WHERE number > (SELECT change FROM search_followed) LIMIT 1 OFFSET ?"
        if changes and sql.first(more, FOLLOWED_AT_ONCE) is None:
            while self._index.follow_log(sql, known=changes):
                pass

    def show(self, sql: Statements, account: int, visible: bool) -> None:
        """Nothing: the log says it, and is followed with the next change, or before a question."""


def _alone(sql: Statements) -> None:
    """Let no other transaction make documents before this one has ended: each sees what the one before it wrote."""
    sql.first(f"SELECT one FROM search_lock {sql.dialect.lock}")  # noqa: S608
