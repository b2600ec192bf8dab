"""Many writers at once, writers that are killed, and servers that are killed: nothing is lost, doubled or left half done.

`--many` lets each of the many write five times as much.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from atdata.atproto.syntax import AtUri, Tid
from atdata.dataset import Dataset, write_samples
from atdata.errors import ConflictError, NotFoundError
from atdata.local import LocalIndex
from atdata.local.integrity import check
from atdata.records import Entry, HttpStorage, Label, Schema
from atdata.samples import packable
from atdata.shards import ShardRef
from atdata.shards.digest import Digest
from atdata.testing.services import PostgresServer, RedisServer, Server
from support import MANY
from support.services import redis_client, running, temporary

forked = multiprocessing.get_context("fork")

KINDS, ENTRIES, NAMES = (200, 1000, 20) if MANY else (20, 100, 4)
"""How many schemas, entries and datasets each of several writers writes."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.timeout(900),
]


@packable
class Point:
    x: int


def kind_of(number: int) -> type:
    """A sample type unlike any other number's."""
    return packable(type("Point", (), {"__annotations__": {f"x{number}": int}}))


def entry_of(name: str, schema_ref: AtUri) -> Entry:
    """An entry of a name, as `insert_dataset` would make it."""
    shard = ShardRef(f"https://shards.example/{name}.tar", Digest.sha256(name.encode()), size=1024, samples=1)
    return Entry(name=name, schema_ref=schema_ref, storage=HttpStorage(listed=(shard,)))


def together(work: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    """Do some work in as many processes, which all must succeed."""
    processes = [forked.Process(target=work, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


# --- many writers


def publish(url: str, first: int, count: int) -> None:
    index = LocalIndex(url)
    for number in range(first, first + count):
        index.publish_schema(kind_of(number))


def test_versions_are_given_once(index_url: str) -> None:
    together(publish, [(index_url, KINDS * writer, KINDS) for writer in range(8)])
    index = LocalIndex(index_url)
    schemas = index.list_schemas()
    assert {schema.version for schema in schemas} == {f"{major}.0.0" for major in range(1, 8 * KINDS + 1)}, (
        "each a rename"
    )
    assert len(schemas) == len({schema.index_keys.content for schema in schemas}) == 8 * KINDS
    assert index.get_schema("Point").version == f"{8 * KINDS}.0.0"


def say(url: str, writer: int, count: int) -> None:
    index = LocalIndex(url)
    for number in range(count):
        index.update_dataset("points", metadata={f"{writer}-{number}": number}, description=f"by {writer}")


def test_what_several_say_is_all_there(index_url: str, tmp_path: Path) -> None:
    index = LocalIndex(index_url)
    first = index.insert_dataset(write_samples([Point(1)], tmp_path / "points.tar"), name="points")
    index.records.database.close()
    together(say, [(index_url, writer, ENTRIES // 20) for writer in range(8)])
    entry = index.get_dataset("points")
    assert entry.metadata == {f"{w}-{number}": number for w in range(8) for number in range(ENTRIES // 20)}
    assert (entry.uri, entry.index_keys) == (first.uri, first.index_keys)
    assert index.get_entry(str(entry.cid)) == entry
    assert check(index) == []
    with pytest.raises(NotFoundError):
        index.get_entry(str(first.cid))


def put_entries(url: str, schema_ref: AtUri, writer: int, count: int) -> None:
    index = LocalIndex(url)
    for number in range(count):
        index.records.put([index.records.placed(entry_of(f"e-{writer}-{number}", schema_ref), Tid.now())])


def test_every_insert_is_there(index_url: str) -> None:
    schema_ref = LocalIndex(index_url).publish_schema(Point)
    together(put_entries, [(index_url, schema_ref, writer, ENTRIES) for writer in range(16)])
    database = LocalIndex(index_url).records.database
    found = database.under(str(Entry.NSID), "e-")
    assert len(found) == len(database.recent(str(Entry.NSID), 20_000)) == 16 * ENTRIES
    for writer in range(16):
        for number in range(0, ENTRIES, 10):
            assert database.newest(str(Entry.NSID), f"e-{writer}-{number}") is not None
    assert database.faults() == []


def insert_datasets(url: str, dataset: Dataset[Point], writer: int, count: int) -> None:
    index = LocalIndex(url)
    for number in range(count):
        index.insert_dataset(dataset, name=f"own-{writer}-{number}", version="1.0.0")
        index.insert_dataset(dataset, name=f"shared-{number}")


def test_datasets_are_listed_once(index_url: str, tmp_path: Path) -> None:
    dataset = write_samples([Point(x) for x in range(10)], tmp_path / "points.tar")
    together(insert_datasets, [(index_url, dataset, writer, NAMES) for writer in range(16)])
    index = LocalIndex(index_url)
    entries, labels = index.list_datasets(), index.list_labels()
    assert len(entries) == len({entry.name for entry in entries}) == 17 * NAMES
    assert len(labels) == len({label.name for label in labels}) == 17 * NAMES
    assert [schema.version for schema in index.list_schemas()] == ["1.0.0"]
    assert check(index) == []


# --- writers that are killed


def write_at_random(url: str, seed: int, told: int) -> None:
    """Do what users do, in any order, for ever; tell each record that is there."""
    index, draw = LocalIndex(url), random.Random(seed)
    schema_ref = index.publish_schema(Point)
    while True:
        name = f"data-{draw.randrange(6)}"
        with suppress(ConflictError, NotFoundError):  # others take and remove the same names
            match draw.randrange(9):
                case 0 | 1:
                    index.publish_schema(kind_of(draw.randrange(40)))
                case 2:
                    index.remove(name)
                case 3:
                    index.remove_schema(f"Point@1.0.{draw.randrange(40)}")
                case 4:
                    index.add_label(
                        index.get_dataset(name), name=f"data-{draw.randrange(6)}", version=f"1.{draw.randrange(9)}.0"
                    )
                case 5:
                    write_one(
                        index,
                        Schema.of(kind_of(draw.randrange(1 << 60)), version="1.0.0"),
                        f"kept-{draw.randrange(1 << 60)}",
                        told,
                    )
                case 6:
                    index.retract(name, draw.choice([None, f"1.{draw.randrange(9)}.0"]), reason="wrong")
                case _:
                    entry = index.records.placed(entry_of(name, schema_ref), Tid.now())
                    label = index.records.placed(Label(name=name, dataset_uri=entry.located), Tid.now())
                    index.records.put([entry, label])


def write_one(index: LocalIndex, schema: Schema, name: str, told: int) -> None:
    """Write three records as one; tell when they are there."""
    schema = index.records.placed(replace(schema, name=name), Tid.now())
    entry = index.records.placed(entry_of(name, schema.located), Tid.now())
    label = index.records.placed(Label(name=name, dataset_uri=entry.located, version="1.0.0"), Tid.now())
    os.write(told, f"?{name}\n".encode())
    index.records.put([schema, entry, label])
    os.write(told, f"!{name}\n".encode())


class Told:
    """What writers say they began (`?`) and what they say is done (`!`)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"told-{time.monotonic_ns()}"
        self.file = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def done(self) -> set[str]:
        return {line[1:] for line in self.path.read_text().splitlines() if line.startswith("!")}

    def begun(self) -> set[str]:
        return {line[1:] for line in self.path.read_text().splitlines()}


def assert_whole(index: LocalIndex, told: Told) -> None:
    """All that was said to be done is there once, nothing that nobody began, and all of it hangs together."""
    for _ in range(20):  # a server may still be busy with what it was sent before the sender died
        if not (faults := check(index)):
            break
        time.sleep(0.2)
    assert faults == []
    kept = [label.name for label in index.list_labels(prefix="kept-")]
    assert len(kept) == len(set(kept))
    assert told.done() <= set(kept) <= told.begun()
    entries = index.list_datasets(prefix="kept-")
    assert sorted(entry.name for entry in entries) == sorted(kept)
    for entry in entries:
        assert index.get_schema(entry.schema_ref).name == entry.name


@contextmanager
def writers(work: Callable[..., None], arguments: list[tuple[object, ...]]) -> Iterator[list[BaseProcess]]:
    processes: list[BaseProcess] = [forked.Process(target=work, args=each, daemon=True) for each in arguments]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def test_writers_that_are_killed_leave_nothing_half_done(index_url: str, tmp_path: Path) -> None:
    told, draw, killed = Told(tmp_path), random.Random(7), 0
    LocalIndex(index_url).publish_schema(Point)
    for round_ in range(8):
        with writers(write_at_random, [(index_url, 100 * round_ + n, told.file) for n in range(4)]) as running:
            before = len(told.begun())
            while len(told.begun()) < before + 4:
                time.sleep(0.01)
            for process in running:
                time.sleep(draw.random() / 50)
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                killed += process.exitcode == -signal.SIGKILL
        assert_whole(LocalIndex(index_url), told)
    assert killed == 32
    assert len(told.done()) > 20


# --- servers that are killed


class Durable:
    """A server that writes to disk before it answers, and may be killed."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def start(self) -> None:
        self.server.start()
        if isinstance(self.server, RedisServer):
            with redis_client(self.server.url) as client:
                client.config_set("appendfsync", "always")

    def kill(self) -> None:
        self.server.stop(kill=True)


@pytest.fixture(params=[RedisServer, PostgresServer], ids=["redis", "postgres"])
def durable(served: None, request: pytest.FixtureRequest) -> Iterator[Durable]:
    with temporary("atdata-durable-") as folder, running(request.param(folder / "server")) as server:
        found = Durable(server)
        found.start()
        yield found


def write_until_told(url: str, writer: int, told: int, stop: Path) -> None:
    index, number = LocalIndex(url), 0
    while not stop.exists():
        kind = kind_of(1000 * writer + number)
        index.publish_schema(kind)
        write_one(index, Schema.of(kind, version="1.0.0"), f"kept-{writer}-{number}", told)
        assert index.get_entry_by_name(f"kept-{writer}-{number}").name == f"kept-{writer}-{number}"
        number += 1


def test_a_server_that_is_killed_and_started_again(durable: Durable, tmp_path: Path) -> None:
    told, stop, draw = Told(tmp_path), tmp_path / "stop", random.Random(7)
    url = durable.server.url
    LocalIndex(url).publish_schema(Point)
    with writers(write_until_told, [(url, n, told.file, stop) for n in range(4)]) as running:
        for _ in range(5):
            before = len(told.done())
            while len(told.done()) < before + 10:
                assert all(process.is_alive() for process in running)
                time.sleep(0.01)
            time.sleep(draw.random() / 20)
            durable.kill()
            durable.start()
        stop.touch()
        for process in running:
            process.join()
        assert [process.exitcode for process in running] == [0] * 4, "no call failed"
    index = LocalIndex(url)
    assert_whole(index, told)
    versions = [schema.version for schema in index.list_schemas(prefix="Point")]
    assert sorted(versions) == sorted({f"{major}.0.0" for major in range(1, len(versions) + 1)}), (
        "no version was skipped, none given twice"
    )
    assert told.begun() == told.done()
