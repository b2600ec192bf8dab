"""The rules for public records: an allow-list. No secret, no address that only its publisher can reach.

A record is public for ever, and copied by strangers the moment it is written. So every text and every byte string in
it is searched first, however deep and however encoded; a refusal names the field and shows nothing of the value
(promises.md 5). What cannot be searched is refused, not passed over.
"""

from __future__ import annotations

from atdata.errors import UsageError
from atdata.records.record import Record
from atdata.settings import STRICT, Settings


def check_public(record: Record, settings: Settings = STRICT) -> None:
    """Refuse a record that says what strangers must not, or cannot use.

    Args:
        record: about to be written.
        settings: `allow_loopback` lets addresses on this machine stand in it, over http too, for networks that are all
            here; `public_query` names the parameters that its addresses may have.

    Raises:
        UsageError: `path` names the field; the value is not shown.
    """
    from atdata.records.public.search import first_found  # only who writes needs its many patterns
    from atdata.records.public.urls import Allowed

    found = first_found(record.to_record(), Allowed(settings.allow_loopback, frozenset(settings.public_query)))
    if found is not None:
        raise UsageError(found.fault.what, path=found.path, actual="(not shown)", hint=found.fault.hint)
