"""Publishing under faults: whatever a server or a power cut does, nothing is lost and nothing is there twice.

Single faults are enumerated: every request of a 3-shard publication, times every kind of fault. With
ATDATA_TEST_MANY=1 each meets each; otherwise every request meets some of the faults, and every fault some of the requests.
The checker is the server's own `listRecords`, never our index. A fault that never fired fails its test.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.testing import DevAccount
from atdata.testing.http import Answer, Request
from support.commands import start
from support.networks import Network, RealNet, fresh_handle, list_records

pytestmark = pytest.mark.slow

MANY = os.environ.get("ATDATA_TEST_MANY") == "1"
SHARDS = 3
BLOBS = 3 * SHARDS  # each with the two files of its manifest


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


def write_csv(folder: Path) -> Path:
    path = folder / "rows.csv"
    path.write_text("n,text\n" + "".join(f"{number},row {number}\n" for number in range(12)))
    return path


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

    def publish(self) -> int:
        """`atdata publish` of three shards, in a process of its own; its exit code."""
        arguments = [
            "publish",
            str(write_csv(self.folder)),
            "--name",
            "rows",
            "--version",
            "1.0.0",
            "--maxcount",
            "4",
            "--yes",
            "--json",
        ]
        self.process = start(arguments, self.environment)
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


@pytest.fixture
def trial(network: Network, tmp_path: Path) -> Iterator[Callable[[], Trial]]:
    def begin() -> Trial:
        handle = fresh_handle()
        made = Trial(network, network.create_account(handle), tmp_path / handle)
        made.login()
        return made

    return begin


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


def killed_at(trial: Trial, number: int, *, after: bool) -> tuple[int, int]:
    """Publish, killed when request `number` comes in (or just after it was carried out); then publish again.

    Returns how many uploads the two runs made, and whether the kill came.
    """
    fired = []

    def before(index: int, _request: Request) -> Answer | None:
        if index == number and not after:
            fired.append(index)
            kill(trial.process)
            return Answer(503)
        return None

    def done(index: int, _request: Request, answer: Answer) -> Answer:
        if index == number and after:
            fired.append(index)
            kill(trial.process)
        return answer

    trial.watch(before, done)
    code = trial.publish()
    uploads = trial.uploads()
    if fired:
        assert code == -signal.SIGKILL
    trial.watch(None)
    assert trial.publish() == 0
    return uploads + trial.uploads(), len(fired)


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after it was carried out"])
def test_killed_at_any_request(trial: Callable[[], Trial], network: Network, after: bool) -> None:
    control = trial()
    control.watch(None)
    assert control.publish() == 0
    requests = list(control.sent)
    assert control.uploads() == BLOBS
    assert control.records() == [1, 1, 1]
    for number in tried(network, requests, int(after)):
        victim = trial()
        uploads, fired = killed_at(victim, number, after=after)
        assert fired == 1, f"no kill at {requests[number]}"
        assert victim.records() == [1, 1, 1], f"killed at {requests[number]}"
        assert uploads <= BLOBS + 1, f"killed at {requests[number]}: more than one blob was sent again"
        assert not list((victim.folder / "data" / "publications").glob("*.json")), "the journal is done with"


FAULTS: dict[str, Callable[[Request], Answer]] = {
    "429": lambda _: Answer(
        429, b'{"error":"RateLimitExceeded"}', {"retry-after": "0", "content-type": "application/json"}
    ),
    "429 until a moment": lambda _: Answer(429, b"{}", {"ratelimit-reset": str(int(time.time()))}),
    "500": lambda _: Answer(500, b'{"error":"InternalServerError"}'),
    "503": lambda _: Answer(503, b"<html>busy</html>"),
    "reset before": lambda _: Answer(200, b"x" * 100, cut=0),
    "expired": lambda _: Answer.error(400, "ExpiredToken", "Token has expired"),
}


def insert(trial: Trial) -> Any:
    client = trial.client()
    rows = (Row(np.full(4, number, np.float32), number) for number in range(12))
    dataset = atdata.write_samples(rows, trial.folder / "rows-%06d.tar", maxcount=4)
    return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(
        dataset, name="rows", version="1.0.0"
    )


ALL_FAULTS = [*FAULTS, "reset after", "reset in the middle of the answer"]


@pytest.mark.parametrize("fault", ALL_FAULTS)
def test_every_fault_at_every_request(trial: Callable[[], Trial], network: Network, fault: str) -> None:
    control = trial()
    control.watch(None)
    insert(control)
    requests = list(control.sent)
    for number in tried(network, requests, ALL_FAULTS.index(fault)):
        under_session = requests[number].startswith("POST") and "createSession" not in requests[number]
        if fault == "expired" and not under_session:
            continue  # only such a request can meet it
        victim, fired = trial(), []

        def before(index: int, request: Request, number: int = number, fired: list[int] = fired) -> Answer | None:
            if index == number and fault in FAULTS and not fired:
                fired.append(index)
                return FAULTS[fault](request)
            return None

        def done(
            index: int, _request: Request, answer: Answer, number: int = number, fired: list[int] = fired
        ) -> Answer:
            if index == number and fault not in FAULTS and not fired:
                fired.append(index)
                return Answer(
                    answer.status,
                    answer.body,
                    answer.headers,
                    cut=0 if fault == "reset after" else len(answer.body) // 2,
                )
            return answer

        victim.watch(before, done)
        entry = insert(victim)
        assert fired, f"{fault} never fired at {requests[number]}"
        assert victim.records() == [1, 1, 1], f"{fault} at {requests[number]}"
        assert len(entry.shards) == SHARDS


def test_blobs_that_the_server_dropped_are_sent_again(network: Network, trial: Callable[[], Trial]) -> None:
    """A journal remembers uploads; a server may have forgotten them meanwhile."""
    victim = trial()
    dropped = []

    def before(_index: int, request: Request) -> Answer | None:
        if request.path.endswith("applyWrites") and b"dataset.entry" in request.body and not dropped:
            dropped.append(request.path)
            return Answer.error(400, "BlobNotFound", "Could not find blob")
        return None

    victim.watch(before)
    entry = insert(victim)
    assert dropped
    assert victim.uploads() == 2 * BLOBS
    assert victim.records() == [1, 1, 1]
    assert len(entry.shards) == SHARDS
