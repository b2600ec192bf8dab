"""`Devnet`: the network in one object."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.syntax import Did, Handle
from atdata.testing.devnet.accounts import PdsAccount
from atdata.testing.devnet.labeler import Labeler
from atdata.testing.devnet.pds import Pds
from atdata.testing.devnet.plc import PlcDirectory
from atdata.testing.devnet.relay import Relay
from atdata.testing.http import Answer, HttpServer, Request

BLOB_LIMIT = 52_428_800


@dataclass(frozen=True)
class DevAccount:
    """An account on a Devnet."""

    did: Did
    handle: Handle
    password: str = field(repr=False)
    pds_url: str


class Devnet:
    """A PLC directory and PDSes in this process, on loopback, with real keys, signed commits, proofs, firehoses and limits.

    Use it as a context. Everything it holds is in memory, and gone at its end.

    Args:
        servers: how many PDSes.
        blob_limit: bytes a blob may have.
    """

    def __init__(self, servers: int = 1, blob_limit: int = BLOB_LIMIT) -> None:
        self.plc = PlcDirectory()
        self.plc_server = HttpServer(self.plc.handle)
        self.pdses = [Pds(self.plc, blob_limit) for _ in range(servers)]
        self.pds_servers = [HttpServer(pds.handle) for pds in self.pdses]
        for pds, server in zip(self.pdses, self.pds_servers, strict=True):
            pds.url = server.url
        self.labeler_servers: list[HttpServer] = []
        self.relay_servers: list[HttpServer] = []
        self._running = ExitStack()
        self._folder = Path()

    def __enter__(self) -> Self:
        for server in (self.plc_server, *self.pds_servers):
            self._running.enter_context(server)
        self._folder = Path(tempfile.mkdtemp(prefix="atdata-devnet-"))
        self._running.callback(shutil.rmtree, self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def plc_url(self) -> str:
        """The URL of the PLC directory."""
        return self.plc_server.url

    @property
    def pds_url(self) -> str:
        """The URL of the first PDS."""
        return self.pds_servers[0].url

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which another process uses this network."""
        return {
            "ATDATA_PLC_URL": self.plc_url,
            "ATDATA_RESOLVER_URL": ",".join(server.url for server in self.pds_servers),
            "ATDATA_ALLOW_LOOPBACK": "1",
        }

    def create_account(self, handle: str, password: str = "app-password", server: int = 0) -> DevAccount:  # noqa: S107
        """A new account on one of the PDSes."""
        account = self.pdses[server].create_account(handle, password)
        return DevAccount(account.did, account.handle, password, self.pdses[server].url)

    def create_labeler(self) -> Labeler:
        """A new labeler, with an identity of its own."""
        labeler = Labeler(self.plc)
        server = self._running.enter_context(HttpServer(labeler.handle))
        labeler.register(server.url)
        self.labeler_servers.append(server)
        return labeler

    def create_relay(self) -> Relay:
        """A new relay, which sends on what all the PDSes say from now on."""
        relay = Relay(self.pdses)
        server = self._running.enter_context(HttpServer(relay.handle))
        relay.url = server.url
        self.relay_servers.append(server)
        return relay

    def account(self, did: str) -> PdsAccount:
        """A PDS's own view of an account: its keys and its repository."""
        return self.host(did).accounts[did]

    def host(self, did: str) -> Pds:
        """The PDS that has an account, and by which anything can happen to it; of two, the one that it did not leave."""
        having = [pds for pds in self.pdses if did in pds.accounts]
        return next((pds for pds in having if not pds.accounts[did].moved), having[0])

    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient:
        """A client of this network, logged in as an account where one is given.

        Args:
            account: whose.
            folder: where it keeps cache and journals; a fresh one by default, so that it knows nothing yet.
        """
        home = self._folder / folder if folder else Path(tempfile.mkdtemp(dir=self._folder))
        client = AtmosphereClient(
            plc_url=self.plc_url,
            resolver_url=self.environment["ATDATA_RESOLVER_URL"],
            allow_loopback=True,
            cache=home / "cache",
            data=home / "data",
        )
        if account is not None:
            client.login(account.handle, account.password)
        return client

    def rename(self, account: DevAccount, handle: str) -> None:
        """Give an account another handle: a signed operation in the directory, and the server's own record."""
        self.host(account.did).rename(account.did, handle)

    def migrate(self, account: DevAccount, server: int) -> DevAccount:
        """Move an account to another PDS, with its repository and a new signing key; at the old one it is deactivated."""
        old, new = self.host(account.did), self.pdses[server]
        new.take_in(old.accounts[account.did])
        old.leave(account.did)
        return replace(account, pds_url=new.url)

    def tell(self, tamper: Callable[[Request, Answer], Answer] | None) -> None:
        """Let every server pass its answers through a function first; `None` ends it."""
        for server in (self.plc_server, *self.pds_servers, *self.labeler_servers, *self.relay_servers):
            server.tamper = tamper
