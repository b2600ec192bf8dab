"""Connections to both databases answer alike; and what each does where the other has no such thing."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atdata.databases import SqlTables, is_there, open_connection
from atdata.errors import AuthError, NetworkError, StorageError, UsageError
from atdata.testing.conformance.connections import (
    FIRST,
    LATER,
    SECOND,
    SHELF,
    SqlConnectionSuite,
    count_up,
    keys,
    opened,
    put,
    rows,
)
from atdata.testing.services import PostgresServer
from support.services import postgres_connection


class TestSqlite(SqlConnectionSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "folder" / "shelf.sqlite"


class TestPostgres(SqlConnectionSuite):
    @pytest.fixture
    def place(self, postgres_url: str) -> str:
        return postgres_url


# --- addresses


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(open_connection(f"sqlite://{tmp_path}/a.sqlite", [SHELF]), "a")
    for where in (tmp_path / "a.sqlite", "a.sqlite", Path("a.sqlite"), f"file://{tmp_path}/a.sqlite"):
        assert keys(open_connection(where, [SHELF])) == ["a"]
    with pytest.raises(UsageError, match="mysql"):
        open_connection("mysql://host/a", [SHELF])


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("sqlite://", "is empty"),
        ("sqlite:///", "a folder"),
        ("sqlite:////", "a folder"),
        ("sqlite://{}", "a folder"),
        ("{}", "a folder"),
        ("{}/new/", "a folder"),
        ("sqlite://{}/a.db?mode=ro", "has settings"),
        ("file://{}/a.db?immutable=1", "has settings"),
        ("sqlite://{}/a\0b", "NUL"),
    ],
)
def test_addresses_at_which_no_file_can_be(tmp_path: Path, where: str, what: str) -> None:
    place = where.format(tmp_path)
    for ask in (lambda: open_connection(place, [SHELF], what="the shelf"), lambda: is_there(place, what="the shelf")):
        with pytest.raises(UsageError, match=what) as caught:
            ask()
        assert caught.value.hint
        assert "the shelf" in caught.value.what or what == "NUL"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_and_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    for folder in (tmp_path, Path("/"), Path()):
        with pytest.raises(UsageError, match="a folder"):
            open_connection(folder, [SHELF])
    put(open_connection(f"{tmp_path}/a?b", [SHELF]), "a")
    assert is_there(tmp_path / "a?b")
    assert not is_there("x" * 5000)


# --- SQLite


def test_a_number_in_the_header(tmp_path: Path) -> None:
    db = opened(tmp_path / "a.sqlite", SHELF._replace(in_header=True))
    put(db, "a")
    db.close()
    assert keys(opened(tmp_path / "a.sqlite", LATER._replace(in_header=True))) == ["a"]
    with sqlite3.connect(tmp_path / "a.sqlite") as file:
        assert file.execute("PRAGMA user_version").fetchone() == (3,)
        assert file.execute("SELECT name FROM sqlite_master WHERE name LIKE '%format'").fetchall() == []
    file.close()


@pytest.mark.parametrize("durable", [True, False])
def test_a_log_is_written_ahead(tmp_path: Path, durable: bool) -> None:
    db = open_connection(tmp_path / "a.sqlite", [SHELF], durable=durable)
    for call in (db.read, db.write):
        assert call(lambda cursor: cursor.execute("PRAGMA journal_mode").fetchone(), one=True) == ("wal",)
        assert call(lambda cursor: cursor.execute("PRAGMA synchronous").fetchone(), one=True) == (2 if durable else 1,)
        assert call(lambda cursor: cursor.execute("PRAGMA foreign_keys").fetchone(), one=True) == (1,)


def test_a_file_in_which_somebody_is_writing_gets_its_log_once_that_has_ended(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE other_format (format INTEGER NOT NULL)")  # tables of ours, of another room
    other.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    ending.start()
    assert keys(open_connection(tmp_path / "a.sqlite", [SHELF])) == []
    ending.join()
    other.close()


def test_another_file_is_another_database(tmp_path: Path) -> None:
    db = opened(tmp_path / "a.sqlite")
    put(db, "a")
    before = db.identity()
    (tmp_path / "a.sqlite").rename(tmp_path / "b.sqlite")
    for path in tmp_path.glob("a.sqlite-*"):
        path.unlink()
    assert db.identity() != before
    assert keys(db) == []
    put(db, "b")
    assert keys(db) == ["b"]


@pytest.mark.parametrize("one", [True, False])
def test_a_file_that_goes_while_it_is_written_to(tmp_path: Path, one: bool) -> None:
    db = opened(tmp_path / "a.sqlite")
    put(db, "a")

    def work(cursor: Any) -> None:
        cursor.execute("UPDATE shelf_items SET size = 1")
        (tmp_path / "a.sqlite").unlink()

    with pytest.raises(StorageError, match="was removed or replaced"):
        db.write(work, one=one)


def test_a_table_that_is_made_anew(tmp_path: Path) -> None:
    """Rows that refer to others stay what they are, though their table goes for a moment."""
    anew = (
        "CREATE TABLE shelf_new (number {number}, key {text} NOT NULL UNIQUE, target {text} REFERENCES shelf_items (key))",
        "INSERT INTO shelf_new SELECT number, key, target FROM shelf_items",
        "DROP TABLE shelf_items",
        "ALTER TABLE shelf_new RENAME TO shelf_items",
    )
    db = opened(tmp_path / "a.sqlite")
    put(db, "a")
    put(db, "b", target="a")
    later = opened(tmp_path / "a.sqlite", SqlTables("shelf", (FIRST, anew)))
    assert rows(later, "SELECT key, target FROM shelf_items ORDER BY key") == [("a", None), ("b", "a")]
    with pytest.raises(StorageError, match="cannot be read or written"):
        later.write(lambda cursor: cursor.execute("DELETE FROM shelf_items WHERE key = 'a'"))


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("no database at all, and long enough to be looked at" * 50)
    for call in (keys, lambda db: put(db, "a"), lambda db: db.identity()):
        with pytest.raises(StorageError):
            call(opened(tmp_path / "a.sqlite"))
    with pytest.raises(StorageError, match="its file is damaged, or none of SQLite"):
        keys(opened(tmp_path / "a.sqlite"))


@pytest.mark.parametrize("in_header", [False, True])
def test_what_another_program_keeps_is_left_alone(tmp_path: Path, in_header: bool) -> None:
    file = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        db.execute("CREATE TABLE file_format (name TEXT)")
    before = file.read_bytes()
    for call in (keys, lambda db: put(db, "a")):
        with pytest.raises(UsageError, match="holds something else"):
            call(opened(file, SqlTables("shelf", (FIRST,), in_header)))
    assert file.read_bytes() == before
    with closing(sqlite3.connect(file)) as db:
        db.executescript("DROP TABLE bookmarks; DROP TABLE file_format")
    put(opened(file, SqlTables("shelf", (FIRST,), in_header)), "a")


@pytest.mark.parametrize("in_header", [False, True])
@pytest.mark.parametrize(
    ("made", "held"),
    [
        ("CREATE VIEW all_of_it AS SELECT 1", "a view all_of_it"),
        ("PRAGMA user_version = 1", "user_version 1"),
        ("PRAGMA user_version = 7", "user_version 7"),
        ("PRAGMA application_id = 1196444487", "application_id 1196444487"),
        ("PRAGMA user_version = 1; CREATE TABLE bookmarks (id INTEGER)", "a table bookmarks"),
    ],
)
def test_a_file_of_another_program_is_known_by_whatever_is_in_it(
    tmp_path: Path, in_header: bool, made: str, held: str
) -> None:
    file = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(made)
    before = file.read_bytes()
    for call in (keys, lambda db: put(db, "a")):
        with pytest.raises(UsageError, match="holds something else") as caught:
            call(opened(file, SqlTables("shelf", (FIRST, SECOND), in_header)))
        assert held in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize("private", [False, True])
def test_a_file_may_be_its_users_alone(tmp_path: Path, private: bool) -> None:
    db = open_connection(tmp_path / "a.sqlite", [SqlTables("shelf", (FIRST,))], private=private)
    put(pickle.loads(pickle.dumps(db)), "a")
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert (set(modes.values()) == {0}) == private, modes
    (tmp_path / "a.sqlite").chmod(0o640)
    put(db, "b")
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o777 == 0o640, "what somebody has opened to others stays so"


@pytest.mark.parametrize("private", [False, True])
def test_another_process_that_ends_takes_no_log_away(tmp_path: Path, private: bool) -> None:
    """It would be the last one only if this one had lost its locks."""
    db = open_connection(tmp_path / "a.sqlite", [SqlTables("shelf", (FIRST,))], private=private)
    put(db, "a")
    assert keys(db) == ["a"]
    look = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM shelf_items').fetchall(); db.close()"
    subprocess.run([sys.executable, "-c", look, str(tmp_path / "a.sqlite")], check=True)
    assert (tmp_path / "a.sqlite-wal").exists()
    put(db, "b")
    assert keys(db) == ["a", "b"]


# --- PostgreSQL


def others(url: str) -> str:
    return "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'atdata' AND datname = current_database()"


def test_lost_connections_are_made_again(postgres_url: str) -> None:
    db = opened(postgres_url)
    put(db, "a")
    with postgres_connection(postgres_url) as other:
        for number in range(5):
            assert other.execute(others(postgres_url)).fetchone()[0] >= 1
            count_up(db, "a")
            assert rows(db, "SELECT size FROM shelf_items") == [(number + 1,)]
    db.close()


def test_a_connection_that_is_lost_in_a_transaction(postgres_url: str) -> None:
    db, times = opened(postgres_url), []
    put(db, "a")

    def work(cursor: Any) -> None:
        cursor.execute("UPDATE shelf_items SET size = size + 1")
        times.append(1)
        if len(times) == 1:
            with postgres_connection(postgres_url) as other:
                other.execute(others(postgres_url))
        cursor.execute("SELECT 1")

    db.write(work)
    assert (len(times), rows(db, "SELECT size FROM shelf_items")) == (2, [(1,)])
    db.close()


def test_transactions_that_lock_each_other_out_are_run_again(postgres_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier, BrokenBarrierError

    db, both, times = opened(postgres_url), Barrier(2), []
    put(db, "a", "b")

    def crossing(first: str, second: str) -> None:
        def work(cursor: Any) -> None:
            times.append(first)
            cursor.execute("UPDATE shelf_items SET size = size + 1 WHERE key = %s", [first])
            if times.count(first) == 1:
                both.wait(60)
            cursor.execute("UPDATE shelf_items SET size = size + 1 WHERE key = %s", [second])

        db.write(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(crossing, "a", "b"), pool.submit(crossing, "b", "a")]:
            assert done.exception() is None or isinstance(done.exception(), BrokenBarrierError)
    assert len(times) == 3
    assert rows(db, "SELECT size FROM shelf_items") == [(2,), (2,)]
    db.close()


def test_a_server_that_is_killed_and_started_again(postgres_server: PostgresServer, postgres_url: str) -> None:
    db = opened(postgres_url)
    put(db, "a")
    postgres_server.stop(kill=True)
    with pytest.raises(NetworkError):
        opened(
            postgres_url.replace("postgresql://", "postgresql://nobody:wrong@", 1).split("@")[0] + "@127.0.0.1:1/none"
        ).identity()
    postgres_server.start()
    put(db, "b")
    assert keys(db) == ["a", "b"]
    db.close()


@pytest.mark.parametrize(("durable", "said"), [(True, "on"), (False, "off")])
def test_commits_wait_for_the_disk_where_they_must(postgres_url: str, durable: bool, said: str) -> None:
    db = open_connection(postgres_url, [SHELF], durable=durable)
    assert rows(db, "SHOW synchronous_commit") == [(said,)]
    db.close()


@pytest.fixture
def reader_url(postgres_url: str) -> Iterator[str]:
    """The address for a user who may only read what is there."""
    name = f"reader_{os.getpid()}"
    with postgres_connection(postgres_url) as other:
        other.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'reading'")
        try:
            yield f"postgresql://{name}:reading@{postgres_url.rpartition('@')[2]}"
        finally:
            other.execute(f"DROP OWNED BY {name}")
            other.execute(f"DROP ROLE {name}")


def test_who_may_only_read_reads(postgres_url: str, reader_url: str) -> None:
    db, reader = opened(postgres_url), opened(reader_url)
    with pytest.raises(AuthError):
        keys(reader)
    put(db, "a")
    with postgres_connection(postgres_url) as other:
        other.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_{os.getpid()}")
    assert keys(reader) == ["a"]
    assert reader.identity() == db.identity()
    with pytest.raises(AuthError, match="does not let this user"):
        put(reader, "b")
    with pytest.raises(AuthError):
        keys(opened(reader_url, LATER))
    reader.close()
    db.close()
