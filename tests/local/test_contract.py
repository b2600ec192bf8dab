"""SQLite, Redis and PostgreSQL answer as a plain model does, whatever is asked of them in whatever order.

`ATDATA_TEST_MANY=1` tries many more orders.
"""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import UNSET

from atdata.dataset import Dataset, write_samples
from atdata.errors import AtdataError, NotTakenWarning
from atdata.index import Withdrawal
from atdata.local import LocalIndex
from atdata.local.integrity import check
from atdata.local.records import LocalRecords
from atdata.records import Record
from atdata.samples import packable
from atdata.testing import MemoryDatabase
from support.services import fresh_postgres, fresh_redis, postgres_connection, redis_client

EXAMPLES, STEPS = (400, 60) if os.environ.get("ATDATA_TEST_MANY") else (8, 30)

NAMES = ("a", "ab", "a%", "é\n")
VERSIONS = ("1.0.0", "1.0.1", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0+x")
LABELS = (*VERSIONS[:3], None, "draft")
PREFIXES = ("", "a", "a%", "b", "é", "%")

TID = re.compile(r"\b[2-7a-z]{13}\b")
CID = re.compile(r"\bbafy[a-z2-7]{55}\b")


def kind_of(number: int) -> type:
    return packable(type("Point", (), {"__annotations__": {f"x{number}": int}}))


TYPES = [kind_of(number) for number in range(4)]


class Side:
    """One index, and what the records that it made are called by all of them: their number, in the order of their making."""

    def __init__(self, name: str, index: LocalIndex, clear: Callable[[], None]) -> None:
        self.name, self.index, self.clear = name, index, clear
        self.known: dict[str, int] = {}

    def answer(self, ask: Callable[[LocalIndex], Any]) -> Any:
        """What it says, so that it can be compared: records by number, times left out, errors by type and first line."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotTakenWarning)  # it depends on what is there, as the answer does
                return self.plain(ask(self.index))
        except AtdataError as error:
            return type(error).__name__, self.without_names(error.what)

    def plain(self, value: Any) -> Any:
        if isinstance(value, Record):
            wire = {name: item for name, item in value.to_record().items() if name != "createdAt"}
            if "retraction" in wire:
                wire["retraction"] = wire["retraction"]["reason"]
            return self.without_names(repr((value.uri and str(value.uri), wire)))
        if isinstance(value, list | Iterator):
            return [self.plain(item) for item in value]
        return self.without_names(str(value)) if value is not None else None

    def without_names(self, text: str) -> str:
        return TID.sub(lambda found: f"<{self.known.setdefault(found[0], len(self.known))}>", CID.sub("<cid>", text))


def sides(folder: Path, redis: str, postgres: str) -> list[Side]:
    def clear_postgres() -> None:
        with postgres_connection(postgres) as connection:
            connection.execute("TRUNCATE atdata_records RESTART IDENTITY")

    def clear_redis() -> None:
        with redis_client(redis) as client:
            client.flushdb()

    def clear_sqlite() -> None:
        with sqlite3.connect(folder / "index.sqlite") as file:
            file.execute("DELETE FROM atdata_records")
        file.close()

    sqlite = LocalIndex(folder / "index.sqlite")
    found = [Side("memory", LocalIndex(folder / "unused.sqlite"), lambda: None), Side("sqlite", sqlite, clear_sqlite)]
    found += [Side("redis", LocalIndex(redis), clear_redis), Side("postgres", LocalIndex(postgres), clear_postgres)]
    for side in found:
        side.index.list_schemas()
    return found


class Contract(RuleBasedStateMachine):
    """Every call on every index; all must answer alike."""

    made: list[Side]
    datasets: list[Dataset[Any]]

    def __init__(self) -> None:
        super().__init__()
        for side in self.made:
            side.clear()
            side.known = {}
        self.made[0].index.records = LocalRecords(MemoryDatabase())

    def all(self, ask: Callable[[LocalIndex], Any]) -> Any:
        """Ask all of them; the answer that they must agree on."""
        answers = {side.name: side.answer(ask) for side in self.made}
        expected = answers["memory"]
        assert all(answer == expected for answer in answers.values()), answers
        return expected

    @initialize(
        names=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(NAMES), st.sampled_from(LABELS)), min_size=3)
    )
    def begin(self, names: list[tuple[int, str, str | None]]) -> None:
        for which, name, version in names[:6]:
            self.insert(which, name, version, None)
            self.publish(which, name, None, None)

    @rule(
        number=st.integers(0, 3),
        name=st.sampled_from(NAMES),
        version=st.sampled_from((None, None, *VERSIONS)),
        rkey=st.sampled_from((None, None, None, None, "own:1", "own:2")),
    )
    def publish(self, number: int, name: str, version: str | None, rkey: str | None) -> None:
        self.all(lambda index: index.publish_schema(TYPES[number], name=name, version=version, rkey=rkey))

    @rule(
        which=st.integers(0, 3),
        name=st.sampled_from(NAMES),
        version=st.sampled_from(LABELS),
        ref=st.sampled_from((None, None, None, "Point", "a")),
    )
    def insert(self, which: int, name: str, version: str | None, ref: str | None) -> None:
        dataset = self.datasets[which]
        self.all(lambda index: index.insert_dataset(dataset, name=name, version=version, schema_ref=ref))

    @rule(data=st.data(), name=st.sampled_from(NAMES), version=st.sampled_from(LABELS))
    def label(self, data: st.DataObject, name: str, version: str | None) -> None:
        place = self.draw_place(data)
        self.all(lambda index: index.add_label(index.list_datasets()[place], name=name, version=version))

    @rule(
        data=st.data(),
        description=st.sampled_from((UNSET, None, "a", "b")),
        metadata=st.sampled_from((UNSET, None, {"a": 1}, {"a": None, "b": [0.5]})),
    )
    def update(self, data: st.DataObject, description: Any, metadata: Any) -> None:
        place = self.draw_place(data)
        before = self.made[0].index.list_datasets()[place]
        self.all(
            lambda index: index.update_dataset(
                str(index.list_datasets()[place].uri), description=description, metadata=metadata
            )
        )
        after = self.made[0].index.get_dataset(str(before.uri))
        assert (after.index_keys, after.created_at) == (before.index_keys, before.created_at)
        assert description in (UNSET, after.description)

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from((None, None, None, *LABELS)))
    def remove(self, name: str, version: str | None) -> None:
        self.all(lambda index: index.remove(name, version))

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from((None, *LABELS)), dry_run=st.booleans())
    def retract(self, name: str, version: str | None, dry_run: bool) -> None:
        self.all(lambda index: _told(index.retract(name, version, reason="wrong", dry_run=dry_run)))

    @rule(name=st.sampled_from(NAMES), which=st.integers(0, 3), version=st.sampled_from((None, None, *LABELS)))
    def append(self, name: str, which: int, version: str | None) -> None:
        dataset = self.datasets[which]
        self.all(lambda index: index.append(name, dataset, version=version, notes="more"))

    @rule(name=st.sampled_from(NAMES))
    def history(self, name: str) -> None:
        self.all(
            lambda index: [
                str((item.version, item.notes, item.predecessor, item.changes, item.entry is None))
                for item in index.history(name)
            ]
        )

    @rule(data=st.data())
    def remove_schema(self, data: st.DataObject) -> None:
        there = [schema.name + f"@{schema.version}" for schema in self.made[0].index.list_schemas()]
        ref = data.draw(st.sampled_from((*there, "Point", "absent@1.0.0")))
        self.all(lambda index: index.remove_schema(ref))

    @rule(data=st.data())
    def of_one_entry(self, data: st.DataObject) -> None:
        place = self.draw_place(data)
        self.all(lambda index: index.get_entry(str(index.list_datasets()[place].cid)))
        self.all(lambda index: index.labels_of(index.list_datasets()[place]))
        self.all(lambda index: index.get_dataset(str(index.list_datasets()[place].uri)))

    def draw_place(self, data: st.DataObject) -> int:
        count = len(self.made[0].index.list_datasets())
        assume(count)
        return data.draw(st.integers(0, count - 1))

    @rule()
    def every_lookup(self) -> None:
        for name in (*NAMES, "Point"):
            for version in (None, *VERSIONS[:3], "draft"):
                self.all(lambda index: index.get_schema(name + (f"@{version}" if version else "")))  # noqa: B023
                self.all(lambda index: index.get_entry_by_name(name, version))  # noqa: B023

    @rule(prefix=st.sampled_from(PREFIXES), limit=st.sampled_from((None, 0, 1, 2, 3, 100)))
    def listing(self, prefix: str, limit: int | None) -> None:
        self.all(lambda index: index.list_schemas(limit=limit, prefix=prefix))
        self.all(lambda index: index.list_datasets(limit=limit, prefix=prefix))
        self.all(lambda index: index.list_labels(limit=limit, prefix=prefix))

    @invariant()
    def they_hold_the_same(self) -> None:
        self.all(lambda index: [*index.list_schemas(), *index.list_datasets(), *index.list_labels()])

    def teardown(self) -> None:
        for side in self.made:
            assert check(side.index) == [], side.name


def _told(done: Withdrawal) -> list[Any]:
    labels = [f"{label.name} {label.version} {label.is_retracted}" for label in done.labels]
    return [labels, list(done.entries), list(done.kept)]


@pytest.fixture(scope="module")
def places(session_redis: Any, session_postgres: Any) -> Iterator[tuple[str, str]]:
    with (
        fresh_redis(os.environ.get("TEST_REDIS_URL") or session_redis.url) as redis,
        fresh_postgres(os.environ.get("TEST_POSTGRES_URL") or session_postgres.url) as postgres,
    ):
        yield redis, postgres


@pytest.mark.timeout(3600)
def test_all_databases_answer_alike(places: tuple[str, str], tmp_path: Path) -> None:
    datasets = [
        write_samples([TYPES[n % 2](**{f"x{n % 2}": x}) for x in range(n + 1)], tmp_path / f"{n}.tar") for n in range(4)
    ]

    class Machine(Contract):
        made = sides(tmp_path, *places)

    Machine.datasets = datasets
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
