"""The accounts of a server, and what happens to them: each change is said on its firehose, as the real PDS does."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from atdata.atproto.events import AccountEvent, IdentityEvent
from atdata.atproto.keys import PrivateKey
from atdata.atproto.plc import build_operation, did_of_genesis, sign_operation
from atdata.atproto.syntax import Did, Handle
from atdata.testing.devnet.firehose import Firehose
from atdata.testing.devnet.plc import PlcDirectory
from atdata.testing.devnet.repo import Repo
from atdata.testing.http import Refusal


@dataclass
class PdsAccount:
    """An account of a server.

    Attributes:
        status: why it is not to be shown, if so: deactivated, takendown, deleted.
        moved: whether another server has it now.
    """

    did: Did
    handle: Handle
    password: str = field(repr=False)
    repo: Repo
    rotation_key: PrivateKey
    status: str | None = None
    moved: bool = False

    @property
    def active(self) -> bool:
        """True if it is to be shown."""
        return self.status is None


class AccountHost:
    """Accounts, and what happens to them.

    Attributes:
        url: where the server is reached, and what DID documents say.
        accounts: by DID.
        firehose: what happens here.
    """

    def __init__(self, plc: PlcDirectory) -> None:
        self.url = ""
        self.accounts: dict[str, PdsAccount] = {}
        self.firehose = Firehose()
        self._plc = plc
        self._lock = threading.RLock()

    def create_account(self, handle: str, password: str) -> PdsAccount:
        """A new account with keys and a DID of its own.

        Raises:
            Refusal: the handle is taken.
        """
        name = Handle(handle).normalized
        with self._lock:
            if any(account.handle == name for account in self.accounts.values()):
                raise Refusal(400, "InvalidRequest", f"Handle already taken: {name}")
            key, rotation = PrivateKey.generate("k256"), PrivateKey.generate("k256")
            operation = build_operation(
                rotation_keys=[rotation.public.did_key], signing_key=key.public.did_key, handle=name, pds=self.url
            )
            signed = sign_operation(operation, rotation)
            did = did_of_genesis(signed)
            self._plc.submit(did, signed)
            account = PdsAccount(did, name, password, Repo(did, key), rotation)
            self.accounts[did] = account
            self._announce(account, IdentityEvent, AccountEvent)
            self.firehose.add(account.repo.first_event())
            self.firehose.add(account.repo.state())
            return account

    def rename(self, did: str, handle: str) -> None:
        """Give an account another handle, here and in the directory."""
        with self._lock:
            account = self.accounts[did]
            account.handle = Handle(handle).normalized
            self._register(account)
            self._announce(account, IdentityEvent)

    def rotate_key(self, did: str) -> None:
        """Give an account another signing key, and sign its repository anew."""
        with self._lock:
            account = self.accounts[did]
            self._renew(account)
            self._announce(account, IdentityEvent)
            self.firehose.add(account.repo.state())

    def delete_account(self, did: str) -> None:
        """Delete an account, and what the firehose keeps of it."""
        with self._lock:
            account = self.accounts.pop(did)
            account.status = "deleted"
            self._announce(account, AccountEvent)
            self.firehose.forget(did)

    def take_down(self, did: str, taken: bool = True) -> None:
        """Take an account down, or back up."""
        with self._lock:
            account = self.accounts[did]
            account.status = "takendown" if taken else None
            self._announce(account, AccountEvent)

    def take_in(self, account: PdsAccount) -> None:
        """Take an account of another server, with a copy of its repository, and make this its server."""
        with self._lock:
            repo = Repo(account.did, account.repo.key, dict(account.repo.records), dict(account.repo.blobs))
            here = PdsAccount(account.did, account.handle, account.password, repo, account.rotation_key)
            self.accounts[account.did] = here
            self._renew(here)
            self.activate(here.did)

    def leave(self, did: str) -> None:
        """Deactivate an account that another server has taken."""
        self.accounts[did].moved = True
        self.deactivate(did)

    def deactivate(self, did: str) -> None:
        """Deactivate an account."""
        with self._lock:
            account = self.accounts[did]
            account.status = "deactivated"
            self._announce(account, AccountEvent)

    def activate(self, did: str) -> None:
        """Activate an account again."""
        with self._lock:
            account = self.accounts[did]
            account.status = None
            self._announce(account, AccountEvent, IdentityEvent)
            self.firehose.add(account.repo.state())

    def write(self, did: str, changes: dict[str, Any | None]) -> None:
        """Put records of an account, or delete those that are `None`, in one commit.

        Raises:
            Refusal: a record names a blob that was not uploaded.
        """
        with self._lock:
            self.firehose.add(self.accounts[did].repo.write(changes))

    def _renew(self, account: PdsAccount) -> None:
        account.repo.key = PrivateKey.generate("k256")
        self._register(account)
        account.repo.commit()

    def _register(self, account: PdsAccount) -> None:
        operation = build_operation(
            rotation_keys=[account.rotation_key.public.did_key],
            signing_key=account.repo.key.public.did_key,
            handle=account.handle,
            pds=self.url,
        )
        following = {**operation, "prev": self._plc.newest(account.did)}
        self._plc.submit(account.did, sign_operation(following, account.rotation_key))

    def _announce(self, account: PdsAccount, *kinds: type[AccountEvent] | type[IdentityEvent]) -> None:
        for kind in kinds:
            if kind is AccountEvent:
                self.firehose.add(AccountEvent(0, account.did, account.active, account.status))
            else:
                self.firehose.add(IdentityEvent(0, account.did, account.handle))
