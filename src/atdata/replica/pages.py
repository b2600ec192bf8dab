"""Pages of the records that a replica shows, by keys: a walk gives each once, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from atdata.atproto.syntax import AtUri, Did
from atdata.replica.reading import fitting, numbered, records_where
from atdata.replica.statements import Statements
from atdata.replica.stored import StoredRecord
from atdata.replica.tables import SHOWN

_READABLE = f"{SHOWN} AND r.validity <> 'invalid'"


class Backlink(Struct, frozen=True):
    """A record that names another: `record` is `relation` to it, naming the version `cid` if any."""

    record: StoredRecord
    relation: str
    cid: str | None


class BacklinkPage(Struct, frozen=True):
    """Records that name another, by their numbers and relations.

    Attributes:
        links: of the page.
        last: the number and relation of its last, to begin the next page after; `None` at the end.
    """

    links: list[Backlink]
    last: tuple[int, str] | None


class RecordPage(Struct, frozen=True):
    """Records that can be read, the newest first.

    Attributes:
        records: of the page.
        last: the place of its last record, to begin the next page after; `None` at the end.
    """

    records: list[StoredRecord]
    last: tuple[int, int] | None


def page_of(
    sql: Statements,
    kind: str,
    limit: int,
    before: tuple[int, int] | None = None,
    *,
    did: Did | None = None,
    naming: Mapping[str, str] | None = None,
) -> RecordPage:
    """A page of the records of a kind.

    A walk gives each record once that is there all the while and keeps its time.

    Args:
        sql: in a transaction.
        kind: of which.
        limit: how many at most.
        before: `last` of the page before.
        did: of which account; of all without one.
        naming: what they must name, by relation (`RecordLink`).
    """
    conditions, values = ["r.kind = ?", _READABLE], list[object]([kind])
    if did is not None:
        conditions.append("a.did = ?")
        values.append(did)
    for relation, target in (naming or {}).items():
        linked = "SELECT 1 FROM replica_links l WHERE l.record = r.id AND l.relation = ? AND l.target = ?"
        conditions.append(f"EXISTS ({linked})")
        values += [relation, target.encode("utf-8", "surrogatepass")]
    if before is not None:
        conditions.append("(r.sorted_at, r.id) < (?, ?)")
        values += before
    found = f"""SELECT r.id, r.sorted_at FROM replica_records r JOIN replica_accounts a ON a.id = r.account
        WHERE {" AND ".join(conditions)} ORDER BY r.sorted_at DESC, r.id DESC LIMIT ?"""  # noqa: S608
    rows = sql.all(found, *values, limit + 1)
    kept = rows[: len(fitting(sql, [number for number, _ in rows[:limit]]))]
    last = (kept[-1][1], kept[-1][0]) if len(kept) < len(rows) else None
    return RecordPage(numbered(sql, [number for number, _ in kept]), last)


def links_to(
    sql: Statements, target: AtUri, relations: Sequence[str], limit: int, after: tuple[int, str] = (0, "")
) -> BacklinkPage:
    """The records that name another, by their numbers and relations, those after a number and relation."""
    marks = ", ".join("?" * len(relations))
    found = f"""SELECT r.id, l.relation, l.cid FROM replica_links l
        JOIN replica_records r ON r.id = l.record JOIN replica_accounts a ON a.id = r.account
        WHERE l.target = ? AND l.relation IN ({marks}) AND (r.id, l.relation) > (?, ?) AND {_READABLE}
        ORDER BY r.id, l.relation LIMIT ?"""  # noqa: S608
    rows = sql.all(found, str(target).encode(), *relations, *after, limit + 1)
    fits = fitting(sql, list({number: None for number, *_ in rows[:limit]}))
    records = {record.number: record for record in numbered(sql, fits)}
    kept = [row for row in rows[:limit] if row[0] in records]  # the rows of a record are beside each other
    links = [Backlink(records[number], name, cid and bytes(cid).decode()) for number, name, cid in kept]
    return BacklinkPage(links, (kept[-1][0], kept[-1][1]) if len(kept) < len(rows) else None)


class NamedRow(Struct, frozen=True):
    """A record under a name, without what it says: its address, its version, what it stands for, when it was made."""

    uri: str
    version: str | None
    target: str | None
    sorted_at: int


def versions_named(sql: Statements, did: Did, kind: str, name: str, limit: int) -> list[NamedRow]:
    """The records of an account under a name that can be read, by version: the newest first, of equals the latest."""
    found = f"""SELECT r.key, r.version, r.target, r.sorted_at FROM replica_records r
        JOIN replica_accounts a ON a.id = r.account WHERE a.did = ? AND r.kind = ? AND r.name = ? AND {_READABLE}
        ORDER BY r.sort_key DESC, r.sorted_at DESC, r.key DESC LIMIT ?"""  # noqa: S608
    rows = sql.all(found, did, kind, name.encode("utf-8", "surrogatepass"), limit)
    return [
        NamedRow(f"at://{did}/{bytes(key).decode()}", _text(version), _text(target), sorted_at)
        for key, version, target, sorted_at in rows
    ]


def counts_of(sql: Statements, did: Did, kinds: Sequence[str], most: int) -> dict[str, int]:
    """The number of records of an account that can be read, by kind; of each kind none above `most` is counted."""
    found = f"""SELECT count(*) FROM (SELECT 1 FROM replica_records r JOIN replica_accounts a ON a.id = r.account
        WHERE a.did = ? AND r.kind = ? AND {_READABLE} LIMIT ?) some"""  # noqa: S608
    return {kind: int(sql.first(found, did, kind, most)[0]) for kind in kinds}


def keyed(sql: Statements, did: Did, keys: Sequence[str], most: int) -> list[StoredRecord]:
    """The records of an account at some keys, and at those keys with a colon and anything behind it.

    Raises:
        LimitError: they have more than `most` bytes together.
    """
    found: list[StoredRecord] = []
    for key in keys:
        first, left = key.encode(), most - sum(len(record.block or b"") for record in found)
        where = (
            f"WHERE a.did = ? AND {_READABLE} AND (r.key = ? OR (r.key >= ? AND r.key < ?)) ORDER BY r.key LIMIT 1000"
        )
        found += records_where(sql, where, did, first, first + b":", first + b";", most=left)
    return found


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else bytes(raw).decode("utf-8", "replace")
