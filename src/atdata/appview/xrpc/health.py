"""The state of a service, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atdata.appview.xrpc.views import moment_text
from atdata.replica import Reading


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The state of a service.

    Attributes:
        seq: the number of the last change.
        last_change: when it was, in microseconds since 1970; 0 where there was none.
        behind: repositories that are to be compared with their servers.
    """

    seq: int
    last_change: int
    behind: int

    @classmethod
    def of(cls, reading: Reading) -> ServiceHealth:
        """The state now."""
        sql = reading.sql
        last = sql.first("SELECT number, moment FROM replica_changes ORDER BY number DESC LIMIT 1") or (0, 0)
        (behind,) = sql.first("SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL")
        return cls(int(last[0]), int(last[1]), int(behind))

    def as_json(self) -> dict[str, Any]:
        """The state in words."""
        last = None if self.last_change == 0 else moment_text(self.last_change)
        return {"seq": self.seq, "lastChange": last, "behind": self.behind}
