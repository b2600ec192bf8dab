"""Trials: the command line over a network that fails, and a process that is killed, at a request that is chosen."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atdata.atmosphere import AtmosphereClient
from atdata.testing import DevAccount
from atdata.testing.http import Answer, Request
from support import MANY
from support.commands import start
from support.networks import Network, RealNet, list_records


@dataclass
class Trial:
    """One account, publishing on one machine."""

    network: Network
    account: DevAccount
    folder: Path
    process: Any = None
    sent: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        home = {"ATDATA_CACHE": str(self.folder / "cache"), "ATDATA_DATA": str(self.folder / "data")}
        return {**self.network.environment, **home}

    def login(self) -> None:
        client = self.client()
        session = self.folder / "data" / "session"
        session.parent.mkdir(parents=True)
        session.write_text(client.export_session())

    def client(self) -> AtmosphereClient:
        client = AtmosphereClient(
            plc_url=self.network.plc_url,
            resolver_url=self.network.environment["ATDATA_RESOLVER_URL"],
            allow_loopback=True,
            cache=self.folder / "cache",
            data=self.folder / "data",
        )
        client.login(self.account.handle, self.account.password)
        return client

    def run(self, *arguments: str) -> int:
        """`atdata ...` in a process of its own; its exit code."""
        self.process = start([*arguments, "--json"], self.environment)
        self.process.join(120)
        assert self.process.exitcode is not None, "it hangs"
        return self.process.exitcode

    def watch(
        self,
        on_request: Callable[[int, Request], Answer | None] | None,
        on_answer: Callable[[int, Request, Answer], Answer] | None = None,
    ) -> None:
        """Count the requests of a publication, and let something happen at one."""
        self.sent = []

        def before(request: Request) -> Answer | None:
            self.sent.append(f"{request.method} {request.path}")
            return on_request(len(self.sent) - 1, request) if on_request else None

        def after(request: Request, answer: Answer) -> Answer:
            return on_answer(len(self.sent) - 1, request, answer) if on_answer else answer

        for server in (self.network.plc_server, *self.network.pds_servers):
            server.before, server.tamper = before, after

    def uploads(self) -> int:
        return sum("uploadBlob" in request for request in self.sent)

    def records(self) -> list[int]:
        url, did = self.account.pds_url, self.account.did
        for server in (self.network.plc_server, *self.network.pds_servers):
            server.before = server.tamper = None
        return [len(list_records(url, did, f"science.alt.dataset.{kind}")) for kind in ("schema", "entry", "label")]


def tried(network: Network, requests: list[str], turn: int) -> list[int]:
    """The requests at which something happens: on the real server those that change something, or say what changed.

    Args:
        network: on which.
        requests: all of them.
        turn: which share of them is tried, where not all are; those of different turns together are all.
    """
    numbers, shares = list(range(len(requests))), 2
    if isinstance(network, RealNet):
        numbers, shares = [n for n in numbers if requests[n].startswith("POST") or "getRepo" in requests[n]], 3
    return numbers if MANY else numbers[turn % shares :: shares]


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)  # it takes no further step; who started it waits for it


def moments(requests: Sequence[str], turn: int) -> list[tuple[str, int]]:
    """The moments at which a command is killed whose requests depend on what the account has: which request of a kind.

    Args:
        requests: those that it made once.
        turn: which share of those is tried that change something or are the first of their kind, where not all are.
    """
    kinds = [_kind(request) for request in requests]
    counted = [(kind, kinds[:number].count(kind)) for number, kind in enumerate(kinds)]
    changing = [item for item in counted if item[0].startswith("POST")]
    first = [item for item in counted if item not in changing and item[1] == 0 and "getBlocks" not in item[0]]
    return [*changing, *first] if MANY else [*changing[turn % 2 :: 2], *first[turn % 4 :: 4]]


def _kind(request: str) -> str:
    """A request without what is of one account alone."""
    return re.sub(r"did:plc:\w+", "DID", request.partition("?")[0])


def killed_at_moment(
    trial: Trial, arguments: Sequence[str], moment: tuple[str, int], *, after: bool
) -> tuple[int, int]:
    """The same as `killed_at`, at a moment."""
    kind, occurrence = moment

    def is_it() -> bool:
        kinds = [_kind(request) for request in trial.sent]
        return kinds[-1] == kind and kinds.count(kind) == occurrence + 1

    return _killed(trial, arguments, lambda _: is_it(), after=after)


def killed_at(trial: Trial, arguments: Sequence[str], number: int, *, after: bool) -> tuple[int, int]:
    """Run a command, killed when request `number` comes in (or just after it was carried out); then run it again.

    Returns how many uploads the two runs made, and whether the kill came.
    """
    return _killed(trial, arguments, lambda index: index == number, after=after)


def _killed(trial: Trial, arguments: Sequence[str], is_it: Callable[[int], bool], *, after: bool) -> tuple[int, int]:
    fired: list[int] = []

    def before(index: int, _request: Request) -> Answer | None:
        if not after and not fired and is_it(index):
            fired.append(index)
            kill(trial.process)
            return Answer(503)
        return None

    def done(index: int, _request: Request, answer: Answer) -> Answer:
        if after and not fired and is_it(index):
            fired.append(index)
            kill(trial.process)
        return answer

    trial.watch(before, done)
    code = trial.run(*arguments)
    uploads = trial.uploads()
    if fired:
        assert code == -signal.SIGKILL
    trial.watch(None)
    assert trial.run(*arguments) == 0
    return uploads + trial.uploads(), len(fired)
