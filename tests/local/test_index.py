"""`LocalIndex` on each database: every form of every call, and every error a typed one without a secret in it."""

from __future__ import annotations

import os
import pickle
import pwd
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from atdata.dataset import write_samples
from atdata.errors import (
    AtdataError,
    AuthError,
    ConflictError,
    NetworkError,
    NotFoundError,
    ProofError,
    StorageError,
    UsageError,
)
from atdata.local import LocalIndex
from atdata.local.integrity import check
from atdata.local.records import LocalRecords
from atdata.samples import packable
from atdata.testing import MemoryDatabase
from atdata.testing.conformance.ports import IndexSuite
from support.services import postgres_connection, redis_client

SECRET = "correct-horse-battery"


@packable
class Point:
    x: int


@packable
class Pair:
    x: int
    y: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def index(index_url: str) -> LocalIndex:
    return LocalIndex(index_url)


def points(count: int = 3, file: str = "points.tar") -> Any:
    return write_samples([Point(x) for x in range(count)], file, overwrite=True)


class TestSuite(IndexSuite):
    @pytest.fixture
    def index(self, index_url: str) -> LocalIndex:
        return LocalIndex(index_url)


class TestSuiteInMemory(IndexSuite):
    @pytest.fixture
    def index(self) -> LocalIndex:
        return in_memory()


def in_memory() -> LocalIndex:
    index = LocalIndex("unused.sqlite")
    index.records = LocalRecords(MemoryDatabase())
    return index


# --- schemas


def test_versions_follow_each_other(index: LocalIndex) -> None:
    one = index.publish_schema(Point)
    assert index.publish_schema(Point) == one, "the same content is the same schema"
    two = index.publish_schema(Pair, name="Point")
    assert index.get_schema(one).version == "1.0.0"
    assert index.get_schema(two).version == "2.0.0", "another field"
    index.publish_schema(Point, version="3.0.0-rc.1")
    assert index.get_schema("Point").version == "3.0.0-rc.1"
    assert index.publish_schema(Pair, name="Point") == two
    assert index.get_schema(index.publish_schema(Point)).version == "3.0.0-rc.1", "the newest of equal content"
    assert check(index) == []


@pytest.mark.parametrize(
    "ref",
    [
        "Point",
        "Point@1.0.0",
        "@local/Point",
        "@local/Point@1.0.0",
        "atdata://local/schema/Point",
        "atdata://local/schema/Point@1.0.0",
        "atdata://local/sampleSchema/Point@1.0.0",
        "local://schemas/some.module.Point@1.0.0",
        "local://schemas/Point@1.0.0",
    ],
)
def test_a_schema_has_many_addresses(index: LocalIndex, ref: str) -> None:
    raised(NotFoundError, lambda: index.get_schema(ref))
    uri = index.publish_schema(Point)
    assert index.get_schema(ref).uri == uri
    assert index.get_schema(str(uri)).uri == uri
    assert index.decode_schema(ref) is index.decode_schema(str(uri))


@pytest.mark.parametrize(
    "ref",
    [
        *("Pont", "Point@2.0.0", "", "\0", "x\0y", "\ud800"),
        "at://atdata.local/science.alt.dataset.schema/absent",
        "atdata://local/schema/Absent",
        "atdata://local/dataset/Point",
        "at://atdata.local/science.alt.dataset.entry/3jzfcijpj2z2a",
    ],
)
def test_what_there_is_not(index: LocalIndex, ref: str) -> None:
    index.publish_schema(Point)
    raised(NotFoundError, lambda: index.get_schema(ref))


def test_schemas_are_listed(index: LocalIndex) -> None:
    for name in ("b", "ab", "a", "é", "a%"):
        index.publish_schema(Point, name=name)
    assert [schema.name for schema in index.list_schemas()] == ["a%", "é", "a", "ab", "b"]
    assert [schema.name for schema in index.list_schemas(limit=2)] == ["a%", "é"]
    assert index.list_schemas(limit=0) == index.list_schemas(prefix="zz") == []
    assert [schema.name for schema in index.list_schemas(prefix="a")] == ["a", "a%", "ab"]
    assert [schema.name for schema in index.list_schemas(prefix="a", limit=2)] == ["a", "a%"]
    assert [schema.name for schema in index.list_schemas("local")] == ["a%", "é", "a", "ab", "b"]
    raised(UsageError, lambda: index.list_schemas("alice.test"))


def test_how_many_are_listed(index: LocalIndex) -> None:
    for name in ("a", "b"):
        index.publish_schema(Point, name=name)
    assert [len(index.list_schemas(limit=limit)) for limit in (0, 1, 2, 3)] == [0, 1, 2, 2]
    assert [len(index.list_schemas(limit=limit, prefix="a")) for limit in (0, 1, 2)] == [0, 1, 1]
    for prefix in ("", "a"):
        with pytest.raises(UsageError):
            index.list_schemas(limit=-1, prefix=prefix)


def test_a_schema_in_use_stays(index: LocalIndex) -> None:
    entry = index.insert_dataset(points(), name="points")
    raised(ConflictError, lambda: index.remove_schema("Point"))
    assert index.remove("points")[0].uri == entry.uri
    assert index.remove_schema("Point@1.0.0").name == "Point"
    assert index.list_schemas() == []
    raised(NotFoundError, lambda: index.remove_schema("Point"))
    assert len(index.records.database) == 0
    assert check(index) == []


def test_a_key_that_another_schema_has(index: LocalIndex) -> None:
    index.publish_schema(Pair, name="Other", rkey="Point:1.0.0")
    raised(ConflictError, lambda: index.publish_schema(Point))
    raised(ConflictError, lambda: index.insert_dataset(points(), name="points"))
    ref = index.publish_schema(Point, rkey="mine")
    assert index.insert_dataset(points(), name="points").schema_ref == ref


# --- datasets


def test_an_entry_is_found(index: LocalIndex) -> None:
    entry = index.insert_dataset(points(), name="points", version="1.0.0")
    newer = index.insert_dataset(points(5, "more.tar"), name="points", version="1.1.0")
    assert index.get_entry(str(entry.cid)) == entry
    assert (
        index.get_entry_by_name("points") == index.get_dataset("points") == index.get_dataset("@local/points") == newer
    )
    assert index.get_entry_by_name("points", "1.0.0") == index.get_dataset("points@1.0.0") == entry
    assert index.get_dataset("atdata://local/dataset/points@1.0.0") == index.get_dataset(str(entry.uri)) == entry
    assert list(index.entries) == index.list_datasets() == [newer, entry]
    assert index.list_datasets(limit=1) == [newer]
    assert [sample.x for sample in index.load("points", "1.0.0")["train"]] == [0, 1, 2]
    for wrong in ("", "x", "\0", "\ud800", "bafy", str(index.publish_schema(Pair))):
        raised(NotFoundError, lambda: index.get_entry(wrong))  # noqa: B023
    for name, version in (("point", None), ("points", "1.0"), ("points", "\0"), ("\0", None), ("points\0", "1.0.0")):
        raised(NotFoundError, lambda: index.get_entry_by_name(name, version))  # noqa: B023
    assert check(index) == []


def test_labels(index: LocalIndex) -> None:
    entry = index.insert_dataset(points(), name="points", version="1.0.0")
    other = index.insert_dataset(points(5, "more.tar"), name="points", version="1.1.0")
    label = index.add_label(entry, name="stable", description="the one to use")
    assert index.add_label(entry, name="stable") == label
    assert index.get_dataset("stable") == entry
    assert [found.name for found in index.labels_of(entry)] == ["stable", "points"]
    raised(ConflictError, lambda: index.add_label(other, name="points", version="1.0.0"))
    index.add_label(other, name="stable")
    assert index.get_dataset("stable") == other, "of labels without version the latest"
    assert [found.name for found in index.list_labels()] == ["stable", "stable", "points", "points"]
    assert [found.version for found in index.list_labels(prefix="p")] == ["1.1.0", "1.0.0"]
    assert index.remove("points") == [], "each has another name"
    assert index.get_dataset("stable") == other
    gone = index.remove("stable")
    assert {found.uri for found in gone} == {entry.uri, other.uri}
    assert index.list_datasets() == index.list_labels() == []
    raised(NotFoundError, lambda: index.add_label(entry, name="again"))
    raised(NotFoundError, lambda: index.remove("points"))
    assert check(index) == []


def test_without_a_version_the_name_leads_to_it(index: LocalIndex) -> None:
    index.insert_dataset(points(), name="points", version="1.0.0")
    newer = index.insert_dataset(points(5, "more.tar"), name="points")
    assert index.get_dataset("points") == index.get_dataset("points@1.0.1") == newer
    assert index.insert_dataset(points(5, "more.tar"), name="points") == newer
    other = index.insert_dataset(points(7, "other.tar"), name="other")
    assert index.add_label(other, name="points").version == "1.0.2"
    assert index.get_dataset("points") == other
    assert len(index.list_labels()) == 4


def test_one_version_is_removed(index: LocalIndex) -> None:
    index.insert_dataset(points(), name="points", version="1.0.0")
    index.insert_dataset(points(5, "more.tar"), name="points", version="1.1.0")
    index.insert_dataset(points(7, "other.tar"), name="points-2")
    (gone,) = index.remove("points", "1.1.0")
    assert gone.size.samples == 5
    assert index.get_dataset("points").size.samples == 3
    raised(NotFoundError, lambda: index.remove("points", "1.1.0"))
    index.remove("points")
    assert [entry.name for entry in index.list_datasets()] == ["points-2"]


@pytest.mark.parametrize("name", ["a/b@c", "%", "_", "é🙂", "' OR 1=1 --", "{atdata}:records", "a\nb", "x" * 200])
def test_names_are_data(index: LocalIndex, name: str) -> None:
    index.insert_dataset(points(), name="other")
    entry = index.insert_dataset(points(), name=name)
    assert index.get_entry_by_name(name) == entry
    assert index.list_datasets(prefix=name) == [entry]
    index.remove(name)
    assert [found.name for found in index.list_datasets()] == ["other"]


# --- where it is


def test_the_environment_says_where(index_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalIndex(index_url).publish_schema(Point)
    monkeypatch.setenv("ATDATA_INDEX_URL", index_url)
    assert [schema.name for schema in LocalIndex().list_schemas()] == ["Point"]
    assert LocalIndex("another.sqlite").list_schemas() == []


def test_by_default_it_is_in_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATDATA_INDEX_URL", raising=False)
    LocalIndex().publish_schema(Point)
    file = Path(os.environ["ATDATA_DATA"]) / "index.sqlite"
    assert file.exists()
    assert file.stat().st_mode & 0o077 == 0 or file.parent.stat().st_mode & 0o077 == 0
    assert LocalIndex(f"sqlite://{file}").get_schema("Point").name == "Point"


@pytest.mark.parametrize("decode", [False, True])
def test_a_client_of_ones_own(redis_url: str, decode: bool) -> None:
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(redis_url, decode_responses=decode) as client:
        index = LocalIndex(redis=client)
        entry = index.insert_dataset(points(), name="é")
        assert index.get_dataset("é") == entry
        assert LocalIndex(redis_url).get_dataset("é") == entry
        raised(UsageError, lambda: pickle.dumps(index))
        raised(UsageError, lambda: LocalIndex(redis_url, redis=client))


def test_an_index_pickles(index: LocalIndex) -> None:
    entry = index.insert_dataset(points(), name="points")
    again = pickle.loads(pickle.dumps(index))
    assert again.get_dataset("points") == entry


# --- errors


def raised(kind: type[BaseException], work: Callable[[], Any]) -> BaseException:
    with pytest.raises(kind) as caught:
        work()
    assert SECRET not in repr(caught.value) + str(caught.value)
    return caught.value


def failing(url: str, monkeypatch: pytest.MonkeyPatch) -> AtdataError:
    """The error of every call on an index, which must be one of ours, of one kind, with no secret in it."""
    monkeypatch.setattr("atdata.databases.servers._PATIENCE", (0.01,))
    index = LocalIndex(url)
    assert SECRET not in repr(index) + repr(index.records) + repr(index.settings)
    calls: list[Callable[[], Any]] = [
        lambda: index.publish_schema(Point),
        lambda: index.get_schema("Point"),
        lambda: index.list_schemas(),
        lambda: index.list_datasets(prefix="x"),
        lambda: list(index.entries),
        lambda: index.get_dataset("x"),
        lambda: index.get_entry("bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxgf5kpqcsgz7soitae"),
        lambda: index.remove("x"),
        lambda: check(index),
    ]
    errors = [raised(AtdataError, call) for call in calls]
    assert len({type(error) for error in errors}) == 1, errors
    for error in errors:
        assert isinstance(error, AtdataError)
        assert error.hint
        assert SECRET not in str(error.__dict__)
    return error  # type: ignore[return-value]


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user = f"{parts.username or ''}:{password}@"
    return urlunsplit(parts._replace(netloc=user + parts.netloc.rpartition("@")[2]))


@pytest.mark.served
@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_wrong_password(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    url = with_password(request.getfixturevalue(f"{kind}_url"), SECRET)
    assert isinstance(failing(url, monkeypatch), AuthError)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:1/0",
        f"unix://:{SECRET}@/nowhere/socket",
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:{SECRET}@/db?host=/nowhere",
        f"postgresql:///db?host=/nowhere&password={SECRET}",
        f"redis://127.0.0.1:1/0?password={SECRET}",
    ],
)
def test_nobody_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis" if "postgres" not in url else "psycopg")
    error = failing(url, monkeypatch)
    assert type(error) is NetworkError
    assert "does not answer" in error.what


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@h:port/db",
        f"redis://:{SECRET}@h:port/0",
        f"redis://:{SECRET}@h/0?socket_timeout=x",
        f"redis://:{SECRET}@a..b/0",
        f"redis://:{SECRET}@{'a' * 70}.test/0",
    ],
)
def test_an_address_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(failing(url, monkeypatch), UsageError)


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///index.sqlite?mode=ro"])
def test_an_address_of_no_file_is_refused_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="the index"):
        LocalIndex(url)


def test_a_database_that_there_is_not(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = failing(urlunsplit(urlsplit(postgres_url)._replace(path="/absent")), monkeypatch)
    assert "absent" in str(error)
    assert "does not exist" in str(error)


def test_a_file_that_is_no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"not a database" * 1000)
    assert isinstance(failing(str(tmp_path / "index.sqlite"), monkeypatch), StorageError)


def test_a_file_that_is_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = LocalIndex(path)
    for number in range(50):
        index.publish_schema(Point, version=f"1.0.{number}")
    index.records.database.close()
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    assert isinstance(failing(str(path), monkeypatch), StorageError)


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(failing(str(tmp_path / "file" / "index.sqlite"), monkeypatch), StorageError)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Without the rights of root, to whom every folder is open."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = Path("/usr") / "atdata-index"
    request.getfixturevalue("as_nobody")
    raised(StorageError, lambda: LocalIndex(folder / "index.sqlite").list_schemas())


def test_a_later_format(index_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalIndex(index_url).publish_schema(Point)
    if index_url.startswith("redis"):
        with redis_client(index_url) as client:
            client.set("{atdata}:format", 99)
    elif index_url.startswith("postgres"):
        with postgres_connection(index_url) as connection:
            connection.execute("UPDATE atdata_format SET format = 99")
    else:
        with sqlite3.connect(index_url) as file:
            file.execute("PRAGMA user_version = 99")
        file.close()
    error = failing(index_url, monkeypatch)
    assert isinstance(error, UsageError)
    assert "99" in str(error)


def test_a_redis_that_is_full(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = LocalIndex(redis_url)
    index.publish_schema(Point)
    with redis_client(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            error = raised(NetworkError, lambda: index.publish_schema(Pair))
            assert "maxmemory" in str(error)
            assert index.get_schema("Point").name == "Point", "reading goes on"
        finally:
            client.config_set("maxmemory", 0)
    index.publish_schema(Pair)
    assert check(index) == []


# --- rows that were altered


def altered(url: str) -> None:
    """Change the records behind the index's back: `Point` becomes `Paint`."""
    if url.startswith("redis"):
        redis = pytest.importorskip("redis")
        with redis.Redis.from_url(url) as client:
            for key, value in client.hgetall("{atdata}:records").items():
                client.hset("{atdata}:records", key, value.replace(b"Point", b"Paint"))
    elif url.startswith("postgres"):
        with postgres_connection(url) as connection:
            connection.execute(
                "UPDATE atdata_records SET value = replace(encode(value, 'escape'), 'Point', 'Paint')::bytea"
            )
    else:
        with sqlite3.connect(url) as file:
            file.execute(
                "UPDATE atdata_records SET value = CAST(replace(CAST(value AS TEXT), 'Point', 'Paint') AS BLOB)"
            )
        file.close()


def test_a_record_that_was_altered_is_refused(index_url: str) -> None:
    index = LocalIndex(index_url)
    uri = index.publish_schema(Point)
    assert check(index) == []
    altered(index_url)
    for call in (
        lambda: index.get_schema("Point"),
        lambda: index.get_schema(str(uri)),
        lambda: index.publish_schema(Point),
        lambda: index.publish_schema(Pair, name="Point"),
    ):
        raised(ProofError, call)
    for listing in (index.list_schemas(), index.list_schemas(prefix="P"), index.list_schemas(limit=1)):
        assert listing == []
        [passed] = listing.malformed
        assert isinstance(passed.reason, ProofError)
    assert index.publish_schema(Pair)  # it stands in nobody's way but its name's
    assert check(index) != []
