"""An account of ten thousand entries beside one of one entry: what a load by name, a listing and a publication cost.

Against a Devnet in a process of its own. Cold: the account was never seen here. Warm: it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console
from rich.table import Table

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atproto import cbor
from atdata.atproto.syntax import Tid

MANY, RATIO, COLD = 10_000, 1.5, 0.3e-3
NEWS = "load by name after a publication"
WARM = ("load by name", NEWS, "list 1", "publish")
ENTRY, LABEL = "science.alt.dataset.entry", "science.alt.dataset.label"


@atdata.packable
class Row:
    """A sample."""

    number: int


def serve(pipe: Connection, counts: list[int]) -> None:
    """Serve accounts with so many entries, each with a label, until told to end."""
    from atdata.testing import Devnet

    with Devnet() as net:
        said: dict[str, Any] = {"plc_url": net.plc_url, "resolver_url": net.pds_url}
        accounts = []
        for count in counts:
            account = net.create_account(f"of{count}.test")
            repo = net.account(account.did).repo
            schema = f"at://{account.did}/science.alt.dataset.schema/3k2aaaaaaaa2a"
            records: dict[str, Any] = {}
            for number in range(count):
                rkey = Tid.from_microseconds(1_700_000_000_000_000 + 1000 * number)
                uri = f"at://{account.did}/{ENTRY}/{rkey}"
                records[f"{ENTRY}/{rkey}"] = entry(f"name-{number}", schema, number)
                records[f"{LABEL}/{rkey}"] = {
                    "$type": LABEL,
                    "name": f"name-{number}",
                    "datasetUri": uri,
                    "version": "1.0.0",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                }
            repo.write(records)
            accounts.append(
                (account.handle, account.password, account.pds_url, sum(len(cbor.encode(r)) for r in records.values()))
            )
        pipe.send((said, accounts))
        pipe.recv()


def entry(name: str, schema: str, number: int) -> dict[str, Any]:
    """An entry as a publisher of shards on the web writes it."""
    shard = {
        "url": f"https://example.org/{number}.tar",
        "checksum": {"algorithm": "sha256", "digest": f"{number:064x}"},
    }
    storage = {"$type": "science.alt.dataset.storageHttp", "shards": [shard]}
    words = {"description": "some words about it, as people write them", "license": "CC-BY-4.0"}
    facts = {"$type": ENTRY, "name": name, "schemaRef": schema, "storage": storage, "tags": ["a", "b", "c"]}
    return {**facts, **words, "createdAt": "2026-01-01T00:00:00.000Z"}


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def account(settings: dict[str, Any], said: tuple[str, str, str, int], count: int, rounds: int) -> dict[str, Any]:
    """What each thing costs in one account: seconds by the clock, and of this process."""
    handle, password, server, size = said
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WARM}
    with tempfile.TemporaryDirectory(prefix="atdata-copies-") as folder:
        settings = {**settings, "allow_loopback": True, "cache": folder, "data": folder}

        def client() -> AtmosphereClient:
            """One that knows nothing but what is in the cache folder."""
            from atdata.atmosphere.evidence import reader_of

            reader_of.cache_clear()
            made = AtmosphereClient(server, **settings)
            made.login(handle, password)
            return made

        index = AtmosphereIndex(client())
        cold = measured(lambda: index.get_dataset(f"@{handle}/name-{count // 2}"))
        schema = AtmosphereIndex(client()).publish_schema(Row)
        for number in range(rounds):
            for name in (NEWS, "load by name"):
                index = AtmosphereIndex(client())
                index.client.reader.identity(handle)
                found[name].append(measured(lambda: index.get_dataset(f"@{handle}/name-{count // 2}")))  # noqa: B023
            found["list 1"].append(measured(lambda: index.list_datasets(handle, 1)))  # noqa: B023
            url = [f"https://example.org/new-{number}.tar"]
            publish = atdata.atmosphere.DatasetPublisher(index.client).publish_with_urls
            found["publish"].append(measured(lambda: publish(url, schema, name=f"new-{number}")))  # noqa: B023
    return {
        "cold": cold,
        "size": size,
        **{name: tuple(map(statistics.median, zip(*times, strict=True))) for name, times in found.items()},
    }


def main(options: argparse.Namespace) -> bool:
    """Measure, print, and say if it is as promised."""
    many, rounds = (MANY // 10 if options.quick else MANY), options.rounds
    pipe, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(other, [1, many]), daemon=True)
    server.start()
    settings, accounts = pipe.recv()
    one, all_ = (account(settings, said, count, rounds) for said, count in zip(accounts, (1, many), strict=True))
    pipe.send("end")
    table = Table(title=f"Copies of repositories: an account of 1 entry and one of {many:,}, each with a label")
    for title in ("", "1: wall", f"{many:,}: wall", "1: this process", f"{many:,}: this process", "ratio", "goal"):
        table.add_column(title, justify="left" if not title else "right")
    reached = True
    for name in WARM:
        (few_wall, few_busy), (wall, busy) = one[name], all_[name]
        reached &= busy / few_busy <= RATIO
        row = [f"{seconds * 1e3:.1f} ms" for seconds in (few_wall, wall, few_busy, busy)]
        table.add_row(f"{name}, warm", *row, f"{busy / few_busy:.2f}", f"at most {RATIO}")
    each = (all_["cold"][1] - one["cold"][1]) / (2 * many)
    reached &= each <= COLD
    row = [f"{found['cold'][column]:.2f} s" for column in (0, 1) for found in (one, all_)]
    table.add_row("load by name, cold", *row, f"{each * 1e3:.3f} ms a record", f"at most {COLD * 1e3} ms")
    Console().print(table)
    print(json.dumps({"one": one, "many": all_}))
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    main(parser.parse_args())
