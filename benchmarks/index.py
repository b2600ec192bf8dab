"""An index of 100 entries and one of 100,000: each lookup, in a process of its own, takes about the same.

A time is from opening the index to the answer; imports, and reading
lexicons, come before. Inserts are one transaction each, beside the same
rows written with nothing but the driver, into tables with the same indexes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Tid
from atdata.local import LocalIndex
from atdata.local.database import RecordRow
from atdata.local.records import row_of
from atdata.records import Entry, HttpStorage, Label, Record, Schema, lexicons
from atdata.records.address import AUTHORITY
from atdata.samples import packable
from atdata.shards import Digest, ShardRef
from atdata.testing.services import PostgresServer, RedisServer

SMALL, LARGE, BATCH, ROUNDS, INSERTS = 100, 100_000, 500, 7, 500
GOAL = 2.0
ARGUMENTS = {"name": "data-000042", "CID": "", "newest schema": "Point", "prefix": "data-00004"}


@packable
class Point:
    x: int


LOOKUPS: dict[str, Callable[[LocalIndex, str], Any]] = {
    "name": lambda index, name: [index.get_entry_by_name(name)],
    "CID": lambda index, cid: [index.get_entry(cid)],
    "newest schema": lambda index, name: [index.get_schema(name)],
    "prefix": lambda index, prefix: index.list_datasets(prefix=prefix),
}


def placed(record: Record, rkey: object) -> Any:
    """A record as it is in an index, without the checks that each goes through before it is written."""
    uri = AtUri.of(AUTHORITY, record.NSID, rkey)
    return record.at(uri, Cid.of_cbor(cbor.encode(record.to_record())))


def rows(count: int) -> Iterator[RecordRow]:
    """So many datasets, each with a label, of a schema of which every hundredth made a new version."""
    schema = placed(Schema.of(Point, version="1.0.0"), "Point:1.0.0")
    for number in range(count):
        if number % 100 == 0:
            schema = placed(Schema.of(Point, version=f"1.0.{number // 100}"), f"Point:1.0.{number // 100}")
            yield row_of(schema)
        entry, label = dataset(f"data-{number:06d}", schema.located)
        yield row_of(entry)
        yield row_of(label)


def dataset(name: str, schema_ref: AtUri) -> tuple[Entry, Label]:
    shard = ShardRef(f"https://shards.example/{name}.tar", Digest.sha256(name.encode()), size=1024, samples=1)
    entry = placed(Entry(name=name, schema_ref=schema_ref, storage=HttpStorage(listed=(shard,))), Tid.now())
    return entry, placed(Label(name=name, dataset_uri=entry.located, version="1.0.0"), Tid.now())


def fill(url: str, content: list[RecordRow]) -> None:
    database = LocalIndex(url).records.database
    for first in range(0, len(content), BATCH):
        database.insert(content[first : first + BATCH])
    database.close()


def measure(url: str, lookup: str, argument: str) -> None:
    """In a process of its own: print seconds, peak memory in bytes, and how much was found."""
    driver = {"postgresql": "psycopg", "redis": "redis"}.get(url.partition("://")[0], "sqlite3")
    importlib.import_module(driver)
    lexicons()
    began = time.perf_counter()
    found = LOOKUPS[lookup](LocalIndex(url), argument)
    taken = time.perf_counter() - began
    print(json.dumps([taken, peak_memory(), len(found)]))


def peak_memory() -> int:
    """Bytes. On Linux `ru_maxrss` begins with what the parent had; the kernel's own mark does not."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def measured(url: str, lookup: str, argument: str) -> tuple[float, float, int]:
    command = [sys.executable, __file__, url, lookup, argument]
    taken, memory, found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return taken, memory, found


def compare(small: str, large: str, lookup: str) -> tuple[list[str], bool]:
    """A line of the table, and whether the goal was reached."""
    both: list[list[tuple[float, float, int]]] = [[], []]
    for _ in range(ROUNDS):
        for url, found in zip((small, large), both, strict=True):
            argument = ARGUMENTS[lookup] or str(LocalIndex(url).get_entry_by_name(ARGUMENTS["name"]).cid)
            found.append(measured(url, lookup, argument))
    assert {count for runs in both for *_, count in runs} == {10 if lookup == "prefix" else 1}
    times = [statistics.median(taken for taken, *_ in runs) for runs in both]
    sizes = [statistics.median(memory for _, memory, _ in runs) for runs in both]
    ratios = times[1] / times[0], sizes[1] / sizes[0]
    cells = [f"{taken * 1e3:.1f} ms" for taken in times] + [f"{ratios[0]:.2f}"]
    cells += [f"{size / 2**20:.0f} MiB" for size in sizes] + [f"{ratios[1]:.2f}"]
    return cells, max(ratios) <= GOAL


# --- inserts


def bare_sqlite(folder: Path, content: list[RecordRow]) -> Callable[[RecordRow], None]:
    import sqlite3

    from atdata.local.opening import open_database

    path = folder / "bare.sqlite"
    with closing(open_database(path)) as made:
        made.insert(content)
    db = sqlite3.connect(path, isolation_level=None)
    return lambda row: db.execute(STATEMENT, values(row)) and None


def bare_postgres(url: str) -> Callable[[RecordRow], None]:
    import psycopg

    db = psycopg.connect(url, autocommit=True)
    statement = STATEMENT.replace("?", "%s")
    return lambda row: db.execute(statement, values(row)) and None


def bare_redis(url: str) -> Callable[[RecordRow], None]:
    import redis

    client = redis.Redis.from_url(url)

    def write(row: RecordRow) -> None:
        writes = client.pipeline(transaction=True)
        number = b"\0" * 8 + row.key.encode()
        writes.hset("bare:records", row.key, row.value)
        writes.hset("bare:slots", f"{row.collection}\0{row.name}\0{row.slot}", row.key)
        for index in ("cid", "name", "content", "collection", "target"):
            writes.zadd(f"bare:{index}", {str(getattr(row, index)).encode() + number: 0})
        writes.execute()

    return write


STATEMENT = """
    INSERT INTO atdata_records (key, rkey, collection, name, slot, rank, content, cid, target, value)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def values(row: RecordRow) -> list[object]:
    names = [row.key, row.rkey, row.collection, row.name.encode(), row.slot.encode(), row.rank]
    return [*names, row.content, row.cid, row.target, row.value]


def inserts(url: str, bare: Callable[[RecordRow], None], label: str) -> list[str]:
    """Rows a second: of the index's records, of its database alone, and of the driver alone; interleaved."""
    index = LocalIndex(url)
    schema = index.get_schema("Point")
    made = [dataset(f"{label}-{number}", schema.located)[0] for number in range(3 * INSERTS)]
    with_encoding, ready, plain = (made[first::3] for first in range(3))
    prepared, bare_rows = [row_of(entry) for entry in ready], [row_of(entry) for entry in plain]
    taken = [0.0, 0.0, 0.0]
    for first in range(0, INSERTS, 100):
        last = first + 100
        for place, (write, items) in enumerate(
            (
                (lambda entry: index.records.put([entry]), with_encoding),
                (lambda row: index.records.database.insert([row]), prepared),
                (bare, bare_rows),
            )
        ):
            began = time.perf_counter()
            for item in items[first:last]:
                write(item)
            taken[place] += time.perf_counter() - began
    rates = [INSERTS / seconds for seconds in taken]
    return [*(f"{rate:,.0f}" for rate in rates), f"{rates[0] / rates[2]:.2f}", f"{rates[1] / rates[2]:.2f}"]


# --- all of it


def main(_options: argparse.Namespace) -> bool:
    console = Console()
    console.width = max(console.width, 110)
    reached, small, large = True, list(rows(SMALL)), list(rows(LARGE))
    lookups = Table(title=f"Lookups in {SMALL} and {LARGE} entries, opening included  (goal: at most {GOAL} times)")
    for title in ("", "lookup", *(f"{SMALL}", f"{LARGE}", "ratio") * 2):
        lookups.add_column(title, justify="left" if title in ("", "lookup") else "right")
    written = Table(title="Inserts a second, one transaction each")
    for title in ("", "index", "its database", "driver alone", "index / driver", "database / driver"):
        written.add_column(title, justify="right" if title else "left")
    with tempfile.TemporaryDirectory(prefix="atdata-bench-") as place, ExitStack() as running:
        for name, urls, bare in places(Path(place), running, small):
            began = time.perf_counter()
            fill(urls[0], small)
            fill(urls[1], large)
            console.print(f"[dim]{name}: {len(large)} rows in {time.perf_counter() - began:.0f} s")
            for lookup in LOOKUPS:
                cells, fine = compare(*urls, lookup)
                lookups.add_row(name, lookup, *cells)
                reached = reached and fine
            written.add_row(name, *inserts(urls[0], bare, "inserted"))
    console.print(lookups)
    console.print(written)
    return reached


def places(
    folder: Path, running: ExitStack, first: list[RecordRow]
) -> Iterator[tuple[str, tuple[str, str], Callable[[RecordRow], None]]]:
    """Of each database that is installed: its name, two places in it, and how its driver alone writes a row."""
    yield "SQLite", (f"{folder}/small.sqlite", f"{folder}/large.sqlite"), bare_sqlite(folder, first)
    if RedisServer.installed():
        redis = RedisServer(folder / "redis")
        running.callback(redis.stop, kill=True)
        redis.start()
        urls = redis.url.removesuffix("/0") + "/1", redis.url.removesuffix("/0") + "/2"
        yield "Redis", urls, bare_redis(redis.url)
    if PostgresServer.installed():
        postgres = PostgresServer(folder / "postgres")
        running.callback(postgres.stop, kill=True)
        postgres.start()
        yield "PostgreSQL", two_databases(postgres.url), bare_postgres(two_databases(postgres.url)[0])


def two_databases(url: str) -> tuple[str, str]:
    import psycopg

    found = []
    for name in ("small", "large"):
        with psycopg.connect(url, autocommit=True) as db:
            if db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                db.execute(f"CREATE DATABASE {name}")
        found.append(url.rpartition("/")[0] + f"/{name}")
    return found[0], found[1]


if __name__ == "__main__":
    measure(*sys.argv[1:])
