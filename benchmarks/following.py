"""What a service that follows the network takes in: foreign frames, own commits, and repositories that it never saw.

A whole ingester over real sockets, with a Devnet and its relay in a process of their own. Seconds by the clock hold the
Devnet's work too; seconds of this process are what a core of the service is busy for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from copies import ENTRY, entry
from goals import in_short
from rich.console import Console
from rich.table import Table

from atdata.appview import operator
from atdata.appview.ingest import Ingester
from atdata.appview.opening import open_appview
from atdata.atproto.syntax import Tid
from atdata.replica import Replica
from atdata.settings import Settings
from index import peak_memory

ACCOUNTS, RECORDS, FOREIGN, COMMITS = 1000, 100, 200_000, 5000
FOREIGN_GOAL, COMMITS_GOAL, BACKFILL_GOAL = 20_000, 1500, 60.0


def serve(pipe: Connection, accounts: int, foreign: int, commits: int) -> None:
    """Serve accounts with records; then say foreign and own things, once asked to, and give the last event's number."""
    from atdata.testing import Devnet

    with Devnet() as net:
        made = [net.create_account(f"of{number}.test") for number in range(accounts)]
        for account in made:
            net.account(account.did).repo.write(dict(_records(account.did, range(RECORDS))))
        relay = net.create_relay()
        relay.firehose.window = foreign + commits + accounts
        stranger = net.create_account("stranger.test")
        event = net.account(stranger.did).repo.write({"app.bsky.feed.post/3k2aaaaaaaa2a": {"text": "hello " * 20}})
        pipe.send((net.plc_url, net.pds_url, "ws" + relay.url.removeprefix("http")))
        while (asked := pipe.recv()) != "end":
            for _ in range({"foreign": foreign, "one": 1}.get(asked, 0)):
                relay.firehose.add(event)
            for number in range(RECORDS, RECORDS + commits) if asked == "own" else ():
                net.host(made[0].did).write(made[0].did, dict(_records(made[0].did, [number])))
            pipe.send(relay.firehose.seq)


def _records(did: str, numbers: Any) -> Iterator[tuple[str, Any]]:
    schema = f"at://{did}/science.alt.dataset.schema/3k2aaaaaaaa2a"
    for number in numbers:
        rkey = Tid.from_microseconds(1_700_000_000_000_000 + 1000 * number)
        yield f"{ENTRY}/{rkey}", entry(f"name-{number}", schema, number)


@contextmanager
def following(replica: Replica, settings: Settings, relay: str) -> Iterator[Ingester]:
    """An ingester that runs."""
    ingester = Ingester(replica, [relay], settings)
    thread = threading.Thread(target=ingester.run)
    thread.start()
    try:
        yield ingester
    finally:
        ingester.stop()
        thread.join()


def measured(replica: Replica, settings: Settings, relay: str, is_done: Callable[[], bool]) -> tuple[float, float]:
    """Seconds until something is so, by the clock and of this process."""
    began, busy = time.perf_counter(), time.process_time()
    with following(replica, settings, relay):
        while not is_done():
            time.sleep(0.05)
        return time.perf_counter() - began, time.process_time() - busy


def main(options: argparse.Namespace) -> bool:
    """Measure, print, and say if it is as promised."""
    part, before = 20 if options.quick else 1, peak_memory()  # other benchmarks have imported what they need
    accounts, foreign, commits = ACCOUNTS // part, FOREIGN // part, COMMITS // part
    pipe, other = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=serve, args=(other, accounts, foreign, commits), daemon=True).start()
    plc, resolver, relay = pipe.recv()
    settings = Settings.of(plc_url=plc, resolver_url=resolver, allow_loopback=True)
    with tempfile.TemporaryDirectory(prefix="atdata-following-") as folder:
        replica = open_appview(Path(folder) / "appview.sqlite")

        def has_all() -> bool:
            return operator.status(replica).records >= accounts * RECORDS

        def is_at(last: int) -> bool:
            return operator.status(replica).upstreams[0].cursor == last

        backfill = measured(replica, settings, relay, has_all)
        with following(replica, settings, relay):  # who never got an event has no place in the stream to go on from
            while operator.status(replica).upstreams[0].cursor is None:
                pipe.send("one")
                pipe.recv()
                time.sleep(0.1)
        found = {"backfill": (accounts * RECORDS, *backfill)}
        for what, count in (("own", commits), ("foreign", foreign)):
            pipe.send(what)
            last = pipe.recv()
            found[what] = (count, *measured(replica, settings, relay, lambda last=last: is_at(last)))
        counted = operator.status(replica).records
        assert counted == accounts * RECORDS + commits, counted
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        replica.close()
    pipe.send("end")
    done = _show(found, BACKFILL_GOAL / part)
    memory = (peak_memory() - before) / 2**20
    print(f"At most {memory:.0f} MiB of memory; {size / counted:.0f} bytes of the database for each record.")
    print(json.dumps(found))
    return done


def _show(found: dict[str, tuple[int, float, float]], backfill_goal: float) -> bool:
    table = Table(title="An ingester over real sockets, with the tables of search")
    for heading in ("", "", "by the clock", "of this process", "a second", "a second and core", "goal", ""):
        table.add_column(heading, justify="right" if heading else "left")
    goals = {"own": COMMITS_GOAL, "foreign": FOREIGN_GOAL}
    titles = {"backfill": "records of accounts never seen", "own": "own commits", "foreign": "foreign frames"}
    reached = True
    for what, (count, wall, busy) in found.items():
        rates = f"{wall:.1f} s", f"{busy:.1f} s", in_short(count / wall), in_short(count / busy)
        held = count / busy >= goals[what] if what in goals else wall <= backfill_goal
        goal = f"{goals[what]:,} a core" if what in goals else f"at most {backfill_goal:.0f} s"
        table.add_row(titles[what], f"{count:,}", *rates, goal, "[green]reached" if held else "[red]missed")
        reached &= held
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args())
