"""The suite of what rooms that keep rows rely on in a `SqlConnection`. Subclass it, provide a fixture `place`: an empty database's address."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

from atdata.databases import Dialect, SqlConnection, SqlTables, open_connection
from atdata.errors import AtdataError, ConflictError, UsageError
from atdata.testing.conformance.ports import raises

Place: TypeAlias = "str | Path"

_WAIT = 60.0  # seconds for what is bound to come


def _renamed(cursor: Any, dialect: Dialect) -> None:
    """A step that changes rows by what they hold: were it taken twice, they would show."""
    cursor.execute("SELECT key, value FROM shelf_items")
    changed = [(value + b"!", key) for key, value in cursor.fetchall()]
    cursor.executemany(dialect.sql("UPDATE shelf_items SET value = ? WHERE key = ?"), changed)


FIRST = (
    """
    CREATE TABLE shelf_items (
        number {number}, key {text} NOT NULL UNIQUE, size {integer} NOT NULL, value {bytes} NOT NULL,
        target {text} REFERENCES shelf_items (key)
    )
    """,
)
SECOND = ("ALTER TABLE shelf_items ADD COLUMN note {text}", _renamed)
THIRD = ("CREATE TABLE shelf_notes (number {number}, note {text} NOT NULL)", _renamed)
SHELF = SqlTables("shelf", (FIRST,))
LATER = SqlTables("shelf", (FIRST, SECOND, THIRD))
BROKEN = SqlTables("shelf", (FIRST, (*SECOND, "CREATE TABLE shelf_items (a {text})")))
OTHER = SqlTables("other", (("CREATE TABLE other_items (key {text} NOT NULL)",),))


def opened(place: Place, *tables: SqlTables) -> SqlConnection:
    """A connection with the tables of the suite, or others."""
    return open_connection(place, tables or (SHELF,))


def put(db: SqlConnection, *keys: str, size: int = 0, target: str | None = None) -> None:
    """Write an item under each of some keys, as one."""

    def work(cursor: Any) -> None:
        insert = "INSERT INTO shelf_items (key, size, value, target) VALUES (?, ?, ?, ?)"
        for key in keys:
            cursor.execute(db.dialect.sql(insert), [key, size, key.encode(), target])

    db.write(work, violated=lambda: ConflictError("nothing is there"))


def keys(db: SqlConnection) -> list[str]:
    """The keys of all items, in order."""
    return [key for (key,) in rows(db, "SELECT key FROM shelf_items ORDER BY key")]


def rows(db: SqlConnection, query: str, *values: object) -> list[Any]:
    """The rows that a statement gives."""

    def work(cursor: Any) -> list[Any]:
        cursor.execute(db.dialect.sql(query), values)
        return list(cursor.fetchall())

    return db.read(work, one=True)


def count_up(db: SqlConnection, key: str) -> None:
    """Add one to an item, by what it holds: what another adds in between would be lost."""

    def work(cursor: Any) -> None:
        cursor.execute(db.dialect.sql("SELECT size FROM shelf_items WHERE key = ? ") + db.dialect.lock, [key])
        (size,) = cursor.fetchone()
        cursor.execute(db.dialect.sql("UPDATE shelf_items SET size = ? WHERE key = ?"), [size + 1, key])

    db.write(work)


class SqlConnectionSuite:
    """Tests of a `SqlConnection`."""

    def test_rows_come_back_as_they_were(self, place: Place) -> None:
        db = opened(place)
        values = [("é\U0001f642", (1 << 62) + 1, bytes(range(256))), ("", -(1 << 62), b""), ("%s ? {x}", 0, b"\0")]

        def work(cursor: Any) -> None:
            cursor.executemany(db.dialect.sql("INSERT INTO shelf_items (key, size, value) VALUES (?, ?, ?)"), values)

        db.write(work)
        found = rows(db, "SELECT key, size, value FROM shelf_items ORDER BY number")
        assert found == values
        assert {type(value) for *_, value in found} == {bytes}
        assert db.faults() == []
        db.close()

    def test_texts_sort_by_code_points(self, place: Place) -> None:
        db, texts = opened(place), ["a", "B", "é", "z", "Z", "a b", "a-b", "ab", "\uffff", "\U0001f642", ""]
        put(db, *texts)
        assert keys(db) == sorted(texts)
        db.close()

    def test_a_statement_may_give_back_what_it_wrote(self, place: Place) -> None:
        db = opened(place)
        upsert = """
            INSERT INTO shelf_items (key, size, value) VALUES (?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET size = excluded.size + shelf_items.size RETURNING number, size
        """

        def work(cursor: Any) -> Any:
            cursor.execute(db.dialect.sql(upsert), ["a", 5, b""])
            return cursor.fetchone()

        first, second = db.write(work), db.write(work, one=True)
        assert (first[1], second) == (5, (first[0], 10))
        db.close()

    def test_numbers_grow_and_are_never_given_again(self, place: Place) -> None:
        db = opened(place)
        put(db, "a", "b")
        (last,) = rows(db, "SELECT max(number) FROM shelf_items")[0]
        db.write(lambda cursor: cursor.execute("DELETE FROM shelf_items"), one=True)
        put(db, "c")
        assert rows(db, "SELECT number FROM shelf_items")[0][0] > last
        db.close()

    def test_all_or_nothing(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")

        def fails(cursor: Any) -> None:
            cursor.execute(db.dialect.sql("UPDATE shelf_items SET size = ?"), [7])
            raise KeyError("of the caller's own")

        raises(KeyError, lambda: db.write(fails))
        raises(AtdataError, lambda: put(db, "b", "a"))
        raises(ConflictError, lambda: put(db, "b", target="absent"))
        put(db, "c", target="a")
        assert rows(db, "SELECT key, size FROM shelf_items ORDER BY key") == [("a", 0), ("c", 0)]
        db.close()

    def test_what_reads_writes_nothing(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        raises(AtdataError, lambda: db.read(lambda cursor: cursor.execute("DELETE FROM shelf_items")))
        assert keys(db) == ["a"]
        db.close()

    def test_reading_sees_one_state_and_waits_for_no_writer(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        written, read = threading.Event(), threading.Event()

        def writes(cursor: Any) -> None:
            cursor.execute(db.dialect.sql("INSERT INTO shelf_items (key, size, value) VALUES (?, ?, ?)"), ["b", 0, b""])
            written.set()
            assert read.wait(_WAIT), "a reader waits for a writer"

        def reads(cursor: Any) -> list[int]:
            found = []
            for each in (None, read, None):
                cursor.execute("SELECT count(*) FROM shelf_items")
                found.append(cursor.fetchone()[0])
                if each is not None:
                    each.set()
                    writer.result(_WAIT)  # the writer waits for no reader either
            return found

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(db.write, writes)
            assert written.wait(_WAIT)
            assert keys(db) == ["a"]
            assert db.read(reads) == [1, 1, 1]
        assert keys(db) == ["a", "b"]
        db.close()

    def test_threads_share_it(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")

        def work(number: int) -> None:
            count_up(db, "a")
            put(db, f"b-{number}")
            assert f"b-{number}" in keys(db)

        with ThreadPoolExecutor(24) as pool:  # more than there are connections
            list(pool.map(work, range(120)))
        assert rows(db, "SELECT size FROM shelf_items WHERE key = 'a'") == [(120,)]
        assert len(keys(db)) == 121
        db.close()

    def test_it_may_be_closed_while_threads_use_it(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        with ThreadPoolExecutor(5) as pool:
            done = [pool.submit(count_up, db, "a") for _ in range(60)]
            for _ in range(30):
                db.close()
        assert [each.exception() for each in done] == [None] * 60
        assert rows(db, "SELECT size FROM shelf_items") == [(60,)]
        db.close()

    def test_it_pickles(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        again: SqlConnection = pickle.loads(pickle.dumps(db))
        assert keys(again) == ["a"]
        again.close()
        db.close()

    def test_forks_have_connections_of_their_own(self, place: Place) -> None:
        """Also where threads write and read while the process is forked."""
        db, stop = opened(place), threading.Event()
        put(db, "a", "parent")

        def busy() -> int:
            count = 0
            while not stop.is_set():
                count_up(db, "parent")
                keys(db)
                count += 1
            return count

        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(busy)
            together(_count_up_often, [(db, place)] * 4)
            stop.set()
            count = counted.result(_WAIT)
        assert rows(db, "SELECT size FROM shelf_items WHERE key = 'parent'") == [(count,)]
        assert rows(db, "SELECT size FROM shelf_items WHERE key = 'a'") == [(80,)]
        assert db.faults() == []
        db.close()

    def test_a_writer_that_is_killed_leaves_nothing_half_done(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        for _ in range(3):
            ours, theirs = multiprocessing.Pipe()
            child = _forked(_write_half, (place, theirs))
            assert ours.poll(_WAIT)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            assert keys(db) == ["a"]
            put(db, "b")  # nor does a lock stay behind
            db.write(lambda cursor: cursor.execute("DELETE FROM shelf_items WHERE key = 'b'"), one=True)
        assert db.faults() == []
        db.close()

    def test_tables_are_made_once(self, place: Place) -> None:
        together(_put_one, [(place, number) for number in range(8)])
        db = opened(place)
        assert keys(db) == [f"key-{number}" for number in range(8)]
        db.close()

    def test_tables_of_several_rooms_share_a_database(self, place: Place) -> None:
        both, one, two = opened(place, SHELF, OTHER), opened(place), opened(place, OTHER)
        put(one, "a")
        two.write(lambda cursor: cursor.execute("INSERT INTO other_items VALUES ('b')"), one=True)
        assert keys(both) == ["a"]
        assert rows(both, "SELECT key FROM other_items") == [("b",)]
        for db in (both, one, two):
            db.close()

    def test_steps_are_taken_once_by_whoever_is_first(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        db.close()
        together(_read_later, [(place,)] * 8)
        later = opened(place, LATER)
        assert rows(later, "SELECT value, note FROM shelf_items") == [(b"a!!", None)]
        assert rows(later, "SELECT count(*) FROM shelf_notes") == [(0,)]
        later.close()

    def test_steps_on_an_empty_database(self, place: Place) -> None:
        later = opened(place, LATER)
        assert keys(later) == []
        assert rows(later, "SELECT note FROM shelf_notes") == []
        later.close()

    def test_steps_that_fail_change_nothing(self, place: Place) -> None:
        db = opened(place)
        put(db, "a")
        broken = opened(place, BROKEN)
        for _ in range(2):
            raises(AtdataError, lambda: keys(broken))
        assert rows(db, "SELECT value FROM shelf_items") == [(b"a",)]
        later = opened(place, LATER)
        assert rows(later, "SELECT value, note FROM shelf_items") == [(b"a!!", None)]
        for each in (db, broken, later):
            each.close()

    def test_a_later_format_is_left_alone(self, place: Place) -> None:
        """Also by those that were connected before it came."""
        before = opened(place)
        put(before, "a")
        later = opened(place, LATER)
        assert keys(later) == ["a"]
        calls: list[Callable[[SqlConnection], object]] = [
            keys,
            lambda db: put(db, "b"),
            lambda db: db.read(lambda _: 1),
        ]
        for call in calls:
            for db in (before, opened(place), opened(place, SHELF, OTHER)):
                error = raises(UsageError, lambda: call(db))  # noqa: B023  done at once
                assert all(said in str(error) for said in ("another version", "format 1", "format 3", "Update atdata"))
                db.close()
        assert keys(later) == ["a"]
        later.close()

    def test_a_step_more_while_others_write(self, place: Place) -> None:
        """Each of them has written before the step, or is refused after it."""
        db = opened(place)
        put(db, "a")
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(put, db, f"b-{number}") for number in range(40)]
            later = opened(place, LATER)
            values = dict(rows(later, "SELECT key, value FROM shelf_items"))
        errors = {number: each.exception() for number, each in enumerate(done)}
        assert {type(error) for error in errors.values() if error} <= {UsageError}
        written = {f"b-{number}" for number, error in errors.items() if not error}
        assert values == {key: f"{key}!!".encode() for key in {"a", *written}}
        db.close()
        later.close()

    def test_an_identity_is_that_of_the_database(self, place: Place) -> None:
        db, again = opened(place), opened(place, SHELF, OTHER)
        assert db.identity() == again.identity() != ""
        put(db, "a")
        db.close()
        assert db.identity() == again.identity()
        db.close()
        again.close()


def together(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Do some work in as many processes, which all must succeed."""
    children = [_forked(work, each) for each in arguments]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * len(children)


def _forked(work: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    return child


def _count_up_often(db: SqlConnection, place: Place) -> None:
    for _ in range(10):
        count_up(db, "a")
        count_up(own := opened(place), "a")
        own.close()


def _put_one(place: Place, number: int) -> None:
    put(opened(place), f"key-{number}")


def _read_later(place: Place) -> None:
    later = opened(place, LATER)
    assert rows(later, "SELECT value, note FROM shelf_items") == [(b"a!!", None)]
    later.close()


def _write_half(place: Place, told: Any) -> None:
    db = opened(place)

    def work(cursor: Any) -> None:
        cursor.execute(db.dialect.sql("UPDATE shelf_items SET key = ?"), ["half"])
        told.send("half")
        signal.pause()

    db.write(work)
