"""The blocks of a repository that a transaction can have: those that were brought, and those that are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atdata.atproto.cid import Cid
from atdata.replica.statements import Statements


class KnownBlocks(Mapping[Cid, bytes]):
    """Blocks that were brought, and those that a replica holds of an account, which are read when they are asked for."""

    def __init__(self, sql: Statements, account: int | None, brought: Mapping[Cid, bytes]) -> None:
        self._sql, self._account, self._brought = sql, account, brought
        self._held: dict[Cid, bytes | None] = {}

    def get(self, cid: Cid, default: Any = None) -> Any:
        """A block; `default` where there is none."""
        block = self._brought.get(cid)
        if block is None and self._account is not None:
            if cid not in self._held:
                self._held[cid] = self._first("replica_nodes", cid) or self._first("replica_records", cid)
            block = self._held[cid]
        return default if block is None else block

    def _first(self, table: str, cid: Cid) -> bytes | None:
        found = f"SELECT block FROM {table} WHERE account = ? AND cid = ?"  # noqa: S608  a name of ours
        row = self._sql.first(found, self._account, bytes(cid))
        return None if row is None or row[0] is None else bytes(row[0])

    def __getitem__(self, cid: Cid) -> bytes:
        block: bytes | None = self.get(cid)
        if block is None:
            raise KeyError(cid)
        return block

    def __contains__(self, cid: object) -> bool:
        return isinstance(cid, Cid) and self.get(cid) is not None

    def __iter__(self) -> Iterator[Cid]:
        raise NotImplementedError("there are many, and nobody needs them all")

    def __len__(self) -> int:
        raise NotImplementedError("nobody counts them")
