"""The state of a service, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atdata.appview.ingest.lease import is_ingesting
from atdata.appview.xrpc.views import moment_text
from atdata.replica import Reading, now


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The state of a service.

    Attributes:
        seq: the number of the last change.
        last_change: when it was, in microseconds since 1970; 0 where there was none.
        behind: repositories that are to be compared with their servers.
        last_event: when the last event of an upstream was written, of which all is kept; 0 where there was none.
        following: whether a process follows upstreams just now.
        moment: of all this, in microseconds since 1970.
    """

    seq: int
    last_change: int
    behind: int
    last_event: int
    following: bool
    moment: int

    @classmethod
    def of(cls, reading: Reading) -> ServiceHealth:
        """The state now."""
        sql = reading.sql
        last = sql.first("SELECT number, moment FROM replica_changes ORDER BY number DESC LIMIT 1") or (0, 0)
        (behind,) = sql.first("SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL")
        (event,) = sql.first("SELECT COALESCE(max(event_at), 0) FROM ingest_upstreams")
        return cls(int(last[0]), int(last[1]), int(behind), int(event), is_ingesting(sql), now())

    @property
    def lag(self) -> float | None:
        """The seconds since the last event was written; `None` where there was none."""
        return None if self.last_event == 0 else max(0.0, (self.moment - self.last_event) / 1_000_000)

    def is_ready(self, most: float) -> bool:
        """True unless it is longer since the last event of an upstream than so many seconds; 0 for any time."""
        return not most or (self.lag is not None and self.lag <= most)

    def as_json(self) -> dict[str, Any]:
        """The state in words."""
        times = {"lastChange": self.last_change, "lastEvent": self.last_event}
        shown = {name: moment_text(when) if when else None for name, when in times.items()}
        return {"seq": self.seq, **shown, "lagSeconds": self.lag, "behind": self.behind}
