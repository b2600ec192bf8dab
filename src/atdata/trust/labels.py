"""Labels of the labelers that are followed: kept as they were signed, with the date, and read again for each answer.

A label that was signed stands until it is taken back with a signature, or has expired: that its labeler cannot be
reached, or gives it out no more, ends nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from msgspec import Struct

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import to_json
from atdata.atproto.labels import SignedLabel, in_force, undisputed
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AtdataError, LimitError, NotFoundError
from atdata.records import Malformed
from atdata.records.nsids import today
from atdata.replica import Statements
from atdata.replica.columns import KINDS
from atdata.replica.reading import records_where
from atdata.replica.stored import StoredRecord
from atdata.trust.verifiers import checked_did, checked_reason

MAX_LABELERS = 32
MAX_OF_ONE = 1_000
"""Labels and negations of one address by one labeler: the last that were said."""

_CHUNK = 400


class FollowedLabeler(Struct, frozen=True):
    """A labeler that is followed. Moments are microseconds since 1970.

    Attributes:
        did: who it is.
        since: since when it is followed.
        why: the reason.
        cursor: its own word for how far it was read; `None` before its first answer.
        read_at: when it was last read to the end; 0 before that.
        tried_at: when it was last asked.
        failure: why that came to nothing; empty where it did not.
    """

    did: Did
    since: int
    why: str
    cursor: str | None
    read_at: int
    tried_at: int
    failure: str


class Concern(StrEnum):
    """The versions of a record that a label is about, as seen from the one that is there."""

    ALL = "all"
    THIS = "this"
    SAME_CONTENT = "sameContent"
    OTHER = "other"
    UNKNOWN = "unknown"


class KeptLabel(Struct, frozen=True):
    """A label that is in force, and was verified.

    Attributes:
        label: as it was signed.
        verified_at: when, in microseconds since 1970.
        concern: which versions it is about. A version that nobody here has seen may say the same as this one.
        disputed: whether its labeler has said something that makes a doubt.
    """

    label: SignedLabel
    verified_at: int
    concern: Concern
    disputed: bool

    @property
    def applies(self) -> bool:
        """True unless it is about another version with other content."""
        return self.concern is not Concern.OTHER

    def to_json(self) -> Any:
        """The label in the form in which labels are passed on."""
        return self.label.to_json()


def follow(sql: Statements, did: str, why: str, moment: int) -> None:
    """Follow a labeler; one that is followed is read from the beginning again.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no reason.
        LimitError: too many are followed.
    """
    who, said = checked_did(did), checked_reason(why).encode("utf-8", "replace")
    if sql.first("SELECT 1 FROM trust_labelers WHERE did = ?", who) is not None:
        sql.run("UPDATE trust_labelers SET cursor = NULL, tried_at = 0, why = ? WHERE did = ?", said, who)
        return
    (count,) = sql.first("SELECT count(*) FROM trust_labelers")
    if count >= MAX_LABELERS:
        raise LimitError(
            "too many labelers are followed", expected=f"at most {MAX_LABELERS}", hint="Let go of one of them first."
        )
    insert = "INSERT INTO trust_labelers (did, since, why) VALUES (?, ?, ?) ON CONFLICT (did) DO NOTHING"
    sql.run(insert, who, moment, said)


def unfollow(sql: Statements, did: str) -> None:
    """Follow a labeler no more, and forget its labels.

    Raises:
        IdentifierError: it is no DID.
        NotFoundError: it is not followed.
    """
    who = checked_did(did)
    if sql.first("SELECT 1 FROM trust_labelers WHERE did = ?", who) is None:
        raise NotFoundError("a labeler is not followed", uri=who, hint="The list names those that are.")
    sql.run("INSERT INTO trust_relabelled (uri) SELECT DISTINCT uri FROM trust_labels WHERE labeler = ?", who)
    sql.run("DELETE FROM trust_labels WHERE labeler = ?", who)
    sql.run("DELETE FROM trust_labelers WHERE did = ?", who)


def labelers(sql: Statements) -> list[FollowedLabeler]:
    """The labelers that are followed, the longest first."""
    rows = sql.all("SELECT did, since, why, cursor, read_at, tried_at, failure FROM trust_labelers ORDER BY since, did")
    return [
        FollowedLabeler(Did(did), since, _text(why) or "", _text(cursor), read_at, tried_at, _text(failure) or "")
        for did, since, why, cursor, read_at, tried_at, failure in rows
    ]


def keep(sql: Statements, labels: Sequence[SignedLabel], key: str, moment: int) -> int:
    """Keep labels of a labeler that is followed, each verified with a key; how many are new.

    Of one address a bounded number is kept: the last that was said.
    """
    new, relabelled = 0, dict[tuple[str, Did], None]()
    _alone(sql)
    for label in labels:
        uri, digest = label.uri.encode(), sha256(label.signed).digest()
        again = "UPDATE trust_labels SET sig = ?, key = ?, verified_at = ? WHERE labeler = ? AND digest = ?"
        if sql.run(again, label.sig, key, moment, label.src, digest).rowcount == 0:
            expiry = None if label.exp is None else int(label.exp.timestamp() * 1e6)
            insert = """INSERT INTO trust_labels (labeler, uri, digest, signed, sig, key, verified_at, expires_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
            sql.run(insert, label.src, uri, digest, label.signed, label.sig, key, moment, expiry)
            new += 1
            sql.run("INSERT INTO trust_relabelled (uri) VALUES (?)", uri)
            relabelled[label.uri, label.src] = None
    count = "SELECT count(*) FROM trust_labels WHERE uri = ? AND labeler = ?"
    for address, labeler in relabelled:
        if sql.first(count, address.encode(), labeler)[0] > MAX_OF_ONE:
            _forget_some(sql, address, labeler)
    return new


def _forget_some(sql: Statements, uri: str, labeler: Did) -> None:
    """Forget what counts no more of all that a labeler said of an address; and the oldest, if it is still too much.

    A label or negation counts no more once there is a later one of the same value and version, and neither ends by itself.
    Of the others those go first that are of a version of the record. So nothing goes that takes a label back which stays.
    """
    found = "SELECT id, signed, sig FROM trust_labels WHERE uri = ? AND labeler = ?"
    rows = [(number, _parsed(signed, sig)) for number, signed, sig in sql.all(found, uri.encode(), labeler)]
    last: dict[tuple[object, ...], datetime] = {}
    for _, one in rows:
        if one.exp is None:
            word = (one.val, one.neg, one.cid)
            last[word] = max(one.cts, last.get(word, one.cts))
    gone = {number for number, one in rows if one.exp is None and one.cts < last[one.val, one.neg, one.cid]}
    rest = sorted((one.cid is None, one.cts, number) for number, one in rows if number not in gone)
    gone |= {number for *_, number in rest[: max(0, len(rest) - MAX_OF_ONE)]}
    sql.run_each("DELETE FROM trust_labels WHERE id = ?", [(number,) for number in gone])


def take_relabelled(sql: Statements, moment: int, limit: int) -> list[str]:
    """Addresses of which a label came, ended or went since they were last taken, at most so many."""
    ended = sql.all("SELECT id, uri FROM trust_labels WHERE expires_at <= ? ORDER BY id LIMIT ?", moment, limit)
    sql.run_each("UPDATE trust_labels SET expires_at = NULL WHERE id = ?", [row[:1] for row in ended])
    rows = sql.all("SELECT id, uri FROM trust_relabelled ORDER BY id LIMIT ?", limit)
    sql.run_each("DELETE FROM trust_relabelled WHERE id = ?", [row[:1] for row in rows])
    return list(dict.fromkeys(bytes(uri).decode() for _, uri in (*ended, *rows)))


def are_relabelled(sql: Statements, moment: int) -> bool:
    """True if `take_relabelled` would give any."""
    found = """SELECT 1 FROM trust_relabelled UNION ALL
        SELECT 1 FROM trust_labels WHERE expires_at <= ? LIMIT 1"""
    return sql.first(found, moment) is not None


def labels_of(sql: Statements, subjects: Mapping[str, Cid | None], at: datetime) -> dict[str, list[KeptLabel]]:
    """The labels in force of records and accounts, by their addresses, each list in one order.

    Args:
        sql: in a transaction.
        subjects: addresses of records, each with its version now, and DIDs of accounts.
        at: the moment.
    """
    rows: dict[str, list[tuple[SignedLabel, int, Any]]] = defaultdict(list)
    listed = list(subjects)
    for some in (listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK)):
        marks = ", ".join("?" * len(some))
        found = f"SELECT uri, signed, sig, verified_at, contents FROM trust_labels WHERE uri IN ({marks})"  # noqa: S608
        for uri, signed, sig, verified_at, contents in sql.all(found, *(uri.encode() for uri in some)):
            rows[bytes(uri).decode()].append((_parsed(signed, sig), verified_at, contents))
    return {uri: list(_in_force(sql, uri, subjects[uri], said, at)) for uri, said in rows.items()}


def _parsed(signed: bytes, sig: bytes) -> SignedLabel:
    """A label as it was kept."""
    return SignedLabel.parse(to_json({**_members(signed), "sig": bytes(sig)}))


def _in_force(
    sql: Statements, uri: str, cid: Cid | None, said: Sequence[tuple[SignedLabel, int, Any]], at: datetime
) -> Iterator[KeptLabel]:
    """Yields the labels of an address that are in force."""
    known = {label.signed: (verified_at, contents) for label, verified_at, contents in said}
    labels = [label for label, _, _ in said]
    certain = set(undisputed(labels, at))
    now: frozenset[bytes] | None = None
    for label in in_force(labels, at):
        verified_at, contents = known[label.signed]
        if label.cid is None or cid is None:
            concern = Concern.ALL
        elif label.cid == cid:
            concern = Concern.THIS
        elif contents is None:
            concern = Concern.UNKNOWN
        else:
            now = contents_at(sql, uri) if now is None else now
            concern = Concern.SAME_CONTENT if now & _unpacked(contents) else Concern.OTHER
        yield KeptLabel(label, verified_at, concern, label not in certain)


def labelled_among(sql: Statements, uris: Sequence[str]) -> list[str]:
    """The addresses among some that have labels of which it is not known what the labelled version says."""
    found: list[str] = []
    for some in (uris[start : start + _CHUNK] for start in range(0, len(uris), _CHUNK)):
        marks = ", ".join("?" * len(some))
        rows = f"SELECT DISTINCT uri FROM trust_labels WHERE uri IN ({marks}) AND contents IS NULL"  # noqa: S608
        found += [bytes(uri).decode() for (uri,) in sql.all(rows, *(uri.encode() for uri in some))]
    return found


def note_contents(sql: Statements, uris: Iterable[str]) -> None:
    """Note what the labelled versions of records say, where they are the ones that are held now."""
    for uri in uris:
        found = "SELECT id, signed FROM trust_labels WHERE uri = ? AND contents IS NULL"
        pinned = {number: _members(signed).get("cid") for number, signed in sql.all(found, uri.encode())}
        record = _held(sql, uri) if any(pinned.values()) else None
        if record is not None:
            packed = b"".join(sorted(_contents(record)))
            ours = [number for number, cid in pinned.items() if cid == str(record.cid)]
            sql.run_each("UPDATE trust_labels SET contents = ? WHERE id = ?", [(packed, number) for number in ours])


def contents_at(sql: Statements, uri: str) -> frozenset[bytes]:
    """The content identities of the record at an address."""
    record = _held(sql, uri)
    return frozenset() if record is None else _contents(record)


def is_of_ours(uri: str) -> bool:
    """True if an address is that of an account, or of a record in one of our collections."""
    try:
        if not uri.startswith("at://"):
            return bool(Did(uri))
        address = AtUri(uri)
        return (
            isinstance(address.authority, Did) and address.rkey is not None and today(str(address.collection)) in KINDS
        )
    except AtdataError:
        return False


def _alone(sql: Statements) -> None:
    """Let nobody else keep labels before this transaction has ended."""
    sql.first(f"SELECT one FROM trust_lock {sql.dialect.lock}")  # noqa: S608


def _held(sql: Statements, uri: str) -> StoredRecord | None:
    did, _, key = uri.removeprefix("at://").partition("/")
    return next(iter(records_where(sql, "WHERE a.did = ? AND r.key = ?", did, key.encode())), None)


def _contents(record: StoredRecord) -> frozenset[bytes]:
    from atdata.policy import contents_of

    parsed = record.parse()
    if isinstance(parsed, Malformed):
        return frozenset()
    return frozenset(bytes(cid) for cid in contents_of(parsed))


def _unpacked(contents: Any) -> frozenset[bytes]:
    packed = bytes(contents)
    return frozenset(packed[start : start + _WIDTH] for start in range(0, len(packed), _WIDTH))


_WIDTH = len(bytes(Cid.of_cbor(b"")))


def _members(signed: Any) -> dict[str, Any]:
    members: Any = cbor.decode(bytes(signed))
    return dict(members)


def _text(value: Any) -> str | None:
    return None if value is None else bytes(value).decode("utf-8", "replace")
