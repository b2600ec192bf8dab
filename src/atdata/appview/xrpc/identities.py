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
    """The identities that were proven, of accounts that are shown."""

    def of_handle(self, reading: Reading, handle: Handle) -> ProvenIdentity | None:
        """The account that a handle leads to."""

    def of_account(self, reading: Reading, did: Did) -> ProvenIdentity | None:
        """The identity of an account."""


class KeptHandleBook:
    """The identities that a replica keeps, of accounts that are shown: nobody learns that another was ever known."""

    def of_handle(self, reading: Reading, handle: Handle) -> ProvenIdentity | None:
        """See `HandleBook`."""
        return _shown(reading, KeptIdentity.of_handle(reading, handle))

    def of_account(self, reading: Reading, did: Did) -> ProvenIdentity | None:
        """See `HandleBook`."""
        return _shown(reading, KeptIdentity.of_account(reading, did))


def _shown(reading: Reading, kept: KeptIdentity | None) -> ProvenIdentity | None:
    if kept is None or not reading.account(kept.did).is_shown():
        return None
    return ProvenIdentity(kept.did, kept.handle, kept.pds)
