"""A repository fetched now: it is marked, and the process that ingests compares it with its own server."""

from __future__ import annotations

import time

from atdata.atproto.syntax import Did
from atdata.errors import NetworkError, NotFoundError
from atdata.replica import Replica, Writing, many_wait
from atdata.replica.writing import ASKED, HeadRow

_PAUSE = 0.05


class MarkingFetcher:
    """Has repositories fetched by whoever ingests into the same database (`RecordFetcher`).

    Args:
        replica: in which they are marked.
        patience: seconds after which nobody waits any more; it is fetched all the same.
    """

    def __init__(self, replica: Replica, patience: float = 20.0) -> None:
        self._replica, self._patience = replica, patience

    def fetch(self, did: Did) -> None:
        """See `RecordFetcher`."""
        if not self._replica.write(lambda writing: _mark(writing, did)):
            raise NetworkError("too many accounts wait to be looked at for the first time", hint="Ask again later.")
        tried, until = self._tries(did), time.monotonic() + self._patience
        while (tries := self._tries(did)) is not None:
            if tries > (tried or 0):
                raise NetworkError("the repository could not be fetched and verified", uri=f"at://{did}")
            if time.monotonic() > until:
                raise NetworkError("the repository was not fetched in time", uri=f"at://{did}", hint="Ask again.")
            time.sleep(_PAUSE)

    def _tries(self, did: Did) -> int | None:
        """The number of tries in vain; `None` once it was compared."""
        found = "SELECT behind, tries FROM replica_accounts WHERE did = ?"
        row = self._replica.read(lambda reading: reading.sql.first(found, did))
        if row is None:
            raise NotFoundError(
                "nothing was found of an account",
                uri=f"at://{did}",
                hint="Ask again: its server may not have answered.",
            )
        return None if row[0] is None else int(row[1])


def _mark(writing: Writing, did: Did) -> bool:
    """Have an account looked at; `False` where it is one more of which nothing is known."""
    if HeadRow.read(writing.sql, did) is None and (many_wait(writing.sql) or many_wait(writing.sql, asked=True)):
        return False
    writing.mark_behind(did, ASKED)
    return True
