"""Histories, many and long, against the state that ingest makes of them: `python -m support.sweeping --help`, in `tests`.

Each history is made from a seed. The ingester is stopped wherever a stream breaks, and killed as often as is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from atdata.appview import operator
from atdata.replica import Replica
from atdata.testing import Devnet
from support.histories import History, settled
from support.ingesting import ingesting, replica_at, until, until_begun
from support.upstreams import TestedUpstream

TESTS = Path(__file__).parents[1]


@contextmanager
def history_of(seed: int, cut: float = 0.005, accounts: int = 8) -> Iterator[History]:
    """A history that begins, on a network of its own; a stream breaks before any frame by a chance."""
    with Devnet(servers=2) as net, TestedUpstream() as relay:
        cuts = random.Random(seed)
        relay.cut = lambda: cuts.random() < cut
        yield History(net, relay, seed, accounts)


def accounts_of(events: int) -> int:
    """How many accounts a history has: a log of a thousand identities, read whole each time, is nobody's."""
    return max(8, events // 600)


def follow(history: History, replica: Replica, events: int) -> Counter[str]:
    """Let a history of so many events happen while an ingester follows it, until all is as it should be; what was counted."""
    with ingesting(replica, history.net, history.relay.url, history.direct) as ingester:
        until_begun(replica)
        history.mark()
        while history.counted["events"] < events:
            history.step()
            if history.counted["steps"] % 25 == 0:  # so that what comes next is applied as it comes
                history.end()
                settled(replica, history)
        history.end()
        settled(replica, history)
    return ingester.counted


def follow_killed(history: History, address: str, events: int, kills: int) -> None:
    """Let a history of so many events happen while ingesters follow it in processes that are killed, one after the other."""
    replica, moments = replica_at(address), random.Random(history.seed)
    try:
        for number in range(kills + 1):
            with _process(history, address) as process:
                if number == 0:
                    until_begun(replica)
                    history.mark()
                    until(lambda: operator.status(replica).upstreams[0].cursor)
                while history.counted["events"] < events * (number + 1) // (kills + 1):
                    history.step()
                    time.sleep(moments.choice([0, 0, 0, 0, 0, 0, 0.001, 0.01]))
                if number == kills:
                    history.end()
                    settled(replica, history)
                    assert process.poll() is None
                else:
                    time.sleep(moments.random() * 0.3)
    finally:
        replica.close()


@contextmanager
def _process(history: History, address: str) -> Iterator[subprocess.Popen[str]]:
    """An ingester that has begun, and is killed at the end."""
    environment = history.net.environment
    arguments = [address, environment["ATDATA_PLC_URL"], environment["ATDATA_RESOLVER_URL"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "support.ingest_process", *arguments, history.relay.url, history.direct],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), *sys.path]))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begins\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> int:
    """Sweep, and say what was done, one line of JSON for each history."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="histories")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--events", type=int, default=1000, help="that each has")
    parser.add_argument("--kills", type=int, default=0, help="kills in each history that is followed by processes")
    parser.add_argument("--jobs", type=int, default=1, help="histories at a time")
    chosen = parser.parse_args()
    one = partial(sweep, events=chosen.events, kills=chosen.kills)
    failed, total = 0, Counter[str]()
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        seeds = {pool.submit(one, seed): seed for seed in range(chosen.first, chosen.first + chosen.seeds)}
        for done in as_completed(seeds):
            if error := done.exception():
                failed += 1
                print(json.dumps({"seed": seeds[done], "failed": f"{type(error).__name__}: {error}"}), flush=True)
            else:
                total.update(done.result()["history"])
                print(json.dumps(done.result()), flush=True)
    kills = chosen.kills * (chosen.seeds - failed)
    print(json.dumps({"histories": chosen.seeds, "failed": failed, "kills": kills, "history": total}), flush=True)
    return 1 if failed else 0


def sweep(seed: int, events: int, kills: int) -> dict[str, Any]:
    """One history, followed to its end; what was done."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, history_of(seed, accounts=accounts_of(events)) as history:
        address, counted = f"sqlite:///{folder}/appview.db", Counter[str]()
        if kills:
            follow_killed(history, address, events, kills)
        else:
            replica = replica_at(address)
            counted = follow(history, replica, events)
            replica.close()
    seconds = round(time.monotonic() - began, 1)
    return {"seed": seed, "differences": 0, "seconds": seconds, "history": history.counted, "ingest": counted}


if __name__ == "__main__":
    sys.exit(main())
