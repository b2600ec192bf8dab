"""Identities of accounts as they were proven last: key, server, and a handle that leads to the account and that it names back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from atdata.atproto.syntax import Did, Handle
from atdata.json_reader import read_json
from atdata.replica.reading import Reading
from atdata.replica.statements import Statements
from atdata.replica.writing import Writing

if TYPE_CHECKING:
    from atdata.atproto.verify import VerifiedIdentity

_COLUMNS = "a.did, i.key, i.pds, i.handle, i.checked_at, i.evidence"
_FROM = f"SELECT {_COLUMNS} FROM replica_identities i JOIN replica_accounts a ON a.id = i.account"  # noqa: S608  ours


class KeptIdentity(Struct, frozen=True):
    """An identity as a replica keeps it.

    Attributes:
        did: the account.
        key: its signing key, as a `did:key`.
        pds: its server's URL, unguarded.
        handle: a handle that was proven; none where none was.
        checked_at: when, in microseconds since 1970; 0 where it may have changed since.
        evidence: JSON of what it rests on.
    """

    did: Did
    key: str
    pds: str
    handle: Handle | None
    checked_at: int
    evidence: bytes

    @classmethod
    def of_account(cls, reading: Reading | Writing, did: Did) -> KeptIdentity | None:
        """The identity of an account, if it was ever proven."""
        return cls._find(reading.sql, "a.did = ?", did)

    @classmethod
    def of_handle(cls, reading: Reading | Writing, handle: Handle) -> KeptIdentity | None:
        """The identity of the account to which a handle leads; none where no account that is kept is known to have it."""
        return cls._find(reading.sql, "i.handle = ?", handle.normalized)

    @classmethod
    def _find(cls, sql: Statements, where: str, value: str) -> KeptIdentity | None:
        row = sql.first(f"{_FROM} WHERE {where}", value)
        if row is None:
            return None
        did, key, pds, handle, checked_at, evidence = row
        return cls(Did(did), key, pds, handle and Handle(handle), checked_at, bytes(evidence))

    def verify(self) -> VerifiedIdentity:
        """Verify the evidence anew.

        Raises:
            DataModelError: the evidence is none: the database was changed by something else.
            IdentityError, SignatureError: it does not hold.
        """
        from atdata.atproto.verify import IdentityEvidence, verify_identity

        return verify_identity(IdentityEvidence.from_value(read_json(self.evidence)))


def keep_identity(writing: Writing, identity: VerifiedIdentity, checked_at: int) -> None:
    """Keep who an account is. A handle is one account's: another that had it is marked, and must be looked at anew."""
    account, sql = writing.head(identity.did).account, writing.sql
    handle = None if identity.handle is None else identity.handle.normalized
    if handle is not None:
        taken = sql.all(f"{_FROM} WHERE i.handle = ? AND i.account <> ?", handle, account)
        sql.run("UPDATE replica_identities SET handle = NULL WHERE handle = ? AND account <> ?", handle, account)
        for row in taken:
            doubt_identity(writing, Did(row[0]), "its handle leads elsewhere")
    values = (identity.key.did_key, identity.pds, handle, checked_at, json.dumps(identity.evidence.to_value()).encode())
    sql.run("DELETE FROM replica_identities WHERE account = ?", account)
    insert = (
        "INSERT INTO replica_identities (account, key, pds, handle, checked_at, evidence) VALUES (?, ?, ?, ?, ?, ?)"
    )
    sql.run(insert, account, *values)


def doubt_identity(writing: Writing, did: Did, reason: str, by: int | None = None) -> None:
    """Note that an account's identity may have changed, and mark its repository (`Writing.mark_behind`)."""
    account = writing.head(did).account
    writing.sql.run("UPDATE replica_identities SET checked_at = 0 WHERE account = ?", account)
    writing.mark_behind(did, reason, by)
