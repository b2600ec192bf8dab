"""Identities of accounts, as far as they were proven before: nothing is looked up while a question is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from atdata.atproto.syntax import Did, Handle
from atdata.replica import KeptIdentity, Reading


@dataclass(frozen=True, slots=True)
class ProvenIdentity:
    """An identity that was proven.

    Attributes:
        did: the account.
        handle: a handle that leads to it, and that it names.
        server: the URL of its server.
    """

    did: Did
    handle: Handle | None = None
    server: str | None = None


class HandleBook(Protocol):
    """The identities that were proven."""

    def of_handle(self, reading: Reading, handle: Handle) -> ProvenIdentity | None:
        """The account that a handle leads to."""

    def of_account(self, reading: Reading, did: Did) -> ProvenIdentity | None:
        """The identity of an account."""


class KeptHandleBook:
    """The identities that a replica keeps; by a handle only accounts that are shown."""

    def of_handle(self, reading: Reading, handle: Handle) -> ProvenIdentity | None:
        """See `HandleBook`."""
        found = _proven(KeptIdentity.of_handle(reading, handle))
        return None if found is None or not reading.account(found.did).is_shown() else found

    def of_account(self, reading: Reading, did: Did) -> ProvenIdentity | None:
        """See `HandleBook`."""
        return _proven(KeptIdentity.of_account(reading, did))


def _proven(kept: KeptIdentity | None) -> ProvenIdentity | None:
    return None if kept is None else ProvenIdentity(kept.did, kept.handle, kept.pds)
