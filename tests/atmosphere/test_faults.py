"""Publishing under faults: whatever a server or a power cut does, nothing is lost and nothing is there twice.

Single faults are enumerated: every request of a 3-shard publication, times every kind of fault. With
ATDATA_TEST_MANY=1 each meets each; otherwise every request meets some of the faults, and every fault some of the requests.
The checker is the server's own `listRecords`, never our index. A fault that never fired fails its test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.testing.http import Answer, Request
from support.networks import Network, fresh_handle
from support.trials import Trial, killed_at, tried

pytestmark = pytest.mark.slow

SHARDS = 3
BLOBS = 3 * SHARDS  # each with the two files of its manifest


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


def publishing(folder: Path) -> list[str]:
    """The command that publishes three shards."""
    path = folder / "rows.csv"
    path.write_text("n,text\n" + "".join(f"{number},row {number}\n" for number in range(12)))
    return ["publish", str(path), "--name", "rows", "--version", "1.0.0", "--maxcount", "4", "--yes"]


@pytest.fixture
def trial(network: Network, tmp_path: Path) -> Iterator[Callable[[], Trial]]:
    def begin() -> Trial:
        handle = fresh_handle()
        made = Trial(network, network.create_account(handle), tmp_path / handle)
        made.login()
        return made

    return begin


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after it was carried out"])
def test_killed_at_any_request(trial: Callable[[], Trial], network: Network, after: bool) -> None:
    control = trial()
    control.watch(None)
    assert control.run(*publishing(control.folder)) == 0
    requests = list(control.sent)
    assert control.uploads() == BLOBS
    assert control.records() == [1, 1, 1]
    for number in tried(network, requests, int(after)):
        victim = trial()
        uploads, fired = killed_at(victim, publishing(victim.folder), number, after=after)
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
