"""Labelers that tests run with: one of the Devnet, or the reference labeler (Ozone) in a whole network of its own.

The real one runs only where `python3 dev.py labeler` has started it, and then in the place of the other: its network
says in the environment where it is (`NETWORK`), and takes what is to be labelled from a pipe (`NETWORK_ASK`).
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.syntax import Did
from atdata.records import Record
from atdata.testing import DevAccount, Devnet, Labeler
from support.networks import post

IS_REAL = "NETWORK" in os.environ
_numbers = itertools.count()


class LabelledNetwork(Protocol):
    """A network with a labeler."""

    @property
    def labeler(self) -> Did: ...
    def create_account(self) -> DevAccount: ...
    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient: ...
    def label(self, record: Record, val: str) -> None: ...
    def negate(self, record: Record, val: str) -> None: ...


class DevLabelled:
    """The Devnet, and a labeler of it."""

    def __init__(self, net: Devnet, labeler: Labeler) -> None:
        self.net, self.server = net, labeler

    @property
    def labeler(self) -> Did:
        return self.server.did

    def create_account(self) -> DevAccount:
        return self.net.create_account(f"labelled{next(_numbers)}.test")

    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient:
        return self.net.client(account, folder=folder)

    def label(self, record: Record, val: str) -> None:
        self.server.label(record.located, val, record.cid)

    def negate(self, record: Record, val: str) -> None:
        self.server.negate(record.located, val, record.cid)


class RealLabelled:
    """PLC, PDS, AppView and Ozone, as they were started in this network namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._there: dict[str, Any] = json.loads(os.environ["NETWORK"])

    @property
    def labeler(self) -> Did:
        return Did(self._there["labelerDid"])

    def create_account(self) -> DevAccount:
        handle, url = f"labelled{next(_numbers)}.test", self._there["pdsUrl"]
        body = {"handle": handle, "email": f"{handle}@example.com", "password": "app-password"}
        made = post(url, "com.atproto.server.createAccount", body)
        return DevAccount(made["did"], made["handle"], "app-password", url)

    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient:
        home = self._folder / folder if folder else Path(tempfile.mkdtemp(dir=self._folder))
        client = AtmosphereClient(
            plc_url=self._there["plcUrl"],
            resolver_url=self._there["pdsUrl"],
            allow_loopback=True,
            cache=home / "cache",
            data=home / "data",
        )
        if account is not None:
            client.login(account.handle, account.password)
        return client

    def label(self, record: Record, val: str) -> None:
        self._emit(record, add=[val])

    def negate(self, record: Record, val: str) -> None:
        self._emit(record, negate=[val])

    def _emit(self, record: Record, **change: list[str]) -> None:
        asked = {"label": {"uri": str(record.located), "cid": str(record.cid), **change}}
        with Path(os.environ["NETWORK_ASK"]).open("w") as ask:
            ask.write(json.dumps(asked) + "\n")
        with Path(os.environ["NETWORK_ANSWER"]).open() as answers:
            answer = json.loads(answers.readline())
        assert "error" not in answer, answer


@contextmanager
def labelled_network() -> Iterator[LabelledNetwork]:
    """The network with the real labeler, where it runs; else the Devnet with one."""
    if IS_REAL:
        with tempfile.TemporaryDirectory(prefix="atdata-labelled-") as folder:
            yield RealLabelled(Path(folder))
        return
    with Devnet() as net:
        yield DevLabelled(net, net.create_labeler())
