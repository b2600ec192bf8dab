"""An index that is copied to another database is the same there: all it holds, in its order, however often it is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import ConflictError, RetractedError
from atdata.local import LocalIndex
from atdata.local.copying import copy_records
from atdata.local.integrity import KINDS, check
from atdata.records import CodeReference
from support import MANY

CODE = CodeReference("https://example.com/r", "0" * 40, "a.py:f", language="python")


@atdata.packable
class Row:
    n: int


@atdata.packable
class Other:
    m: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int) -> Any:
    return atdata.write_samples([Row(n) for n in numbers], f"rows-{'-'.join(map(str, numbers))}.tar", overwrite=True)


def fill(index: LocalIndex) -> None:
    """Some of everything that there is."""
    entry = index.insert_dataset(rows(1), name="rows", version="1.0.0", metadata={"a": 0.5})
    index.append("rows", rows(2), notes="more")
    index.append("rows", rows(3))
    index.retract("rows", "1.2.0", reason="three is wrong")
    index.add_label(entry, name="é\n")
    for n in range(4):
        index.insert_dataset(rows(10 + n), name="nightly")
    index.update_dataset("rows@1.0.0", description="the first")
    other = index.publish_schema(Other)
    index.publish_lens(
        name="l", source_schema=entry.schema_ref, target_schema=other, getter_code=CODE, putter_code=CODE
    )


def everything(index: LocalIndex) -> list[Any]:
    found: list[Any] = [[dict(record) for record in index.records.read_all(None, kind)] for kind in KINDS]
    return [*found, [item.version for item in index.history("rows")], index.get_entry_by_name("nightly").data_urls]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.served)])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> LocalIndex:
    where = tmp_path / "source.sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    index = LocalIndex(where)
    fill(index)
    return index


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.served)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> LocalIndex:
    where = tmp_path / "target.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return LocalIndex(where)


def test_all_of_it_is_there(source: LocalIndex, target: LocalIndex) -> None:
    count = len(source.records.database)
    done = source.copy_to(target)
    assert (done.copied, done.changed, done.same, done.unread) == (count, 0, 0, ())
    assert everything(target) == everything(source)
    assert check(target) == []
    with pytest.raises(RetractedError, match="three is wrong"):
        target.get_entry_by_name("rows", "1.2.0")
    with pytest.raises(ConflictError, match="was retracted"):
        target.insert_dataset(rows(9), name="rows", version="1.2.0")
    done = source.copy_to(target)
    assert (done.copied, done.changed, done.same) == (0, 0, count)
    assert everything(target) == everything(source)


def test_what_has_changed_meanwhile_is_changed(source: LocalIndex, target: LocalIndex) -> None:
    source.copy_to(target)
    source.update_dataset("rows@1.0.0", description="better said")
    source.retract("rows", "1.1.0", reason="two is wrong")
    source.insert_dataset(rows(5), name="later")
    done = source.copy_to(target)
    assert (done.copied, done.changed) == (2, 2)
    assert target.get_dataset("rows@1.0.0").description == "better said"
    with pytest.raises(RetractedError):
        target.get_entry_by_name("rows", "1.1.0")
    assert check(target) == []


def datasets(index: LocalIndex) -> list[str]:
    return sorted(f"{entry.name} {entry.shards[0].url.rpartition('/')[2]}" for entry in index.list_datasets())


def test_what_is_retracted_in_either_is_retracted_in_both(source: LocalIndex, target: LocalIndex) -> None:
    source.copy_to(target)
    there, here = target.get_entry_by_name("rows", "1.1.0"), source.get_entry_by_name("nightly")
    target.retract("rows", "1.1.0", reason="two is wrong, they say there")
    source.retract("nightly", reason="all four nights are wrong")
    source.retract("rows", "1.0.0", reason="but for its other name")
    done = source.copy_to(target)
    assert (done.copied, done.changed, done.withdrawn) == (0, 5, 5)
    with pytest.raises(RetractedError, match="they say there"):
        target.get_entry_by_name("rows", "1.1.0")
    for name, version in (("nightly", None), ("rows", "1.0.0")):
        with pytest.raises(RetractedError):
            target.get_entry_by_name(name, version)
    listed = {entry.uri for entry in target.list_datasets()}
    assert not listed & {there.uri, here.uri}
    assert listed == {
        target.get_dataset(label.dataset_uri).uri for label in target.list_labels() if not label.retraction
    }
    assert check(target) == []
    again = source.copy_to(target)
    assert (again.copied, again.changed) == (0, 0)
    assert target.copy_to(source).withdrawn == 1
    assert datasets(source) == datasets(target)


def test_an_entry_stays_where_the_target_has_a_version_of_its_own(source: LocalIndex, target: LocalIndex) -> None:
    source.copy_to(target)
    entry = target.get_entry_by_name("rows", "1.1.0")
    target.add_label(entry, name="kept", version="1.0.0")
    source.retract("rows", "1.1.0", reason="two is wrong")
    assert source.copy_to(target).withdrawn == 0
    assert target.get_entry_by_name("kept") == entry
    assert check(target) == []


def test_what_is_something_else_there_stays(source: LocalIndex, target: LocalIndex) -> None:
    target.insert_dataset(rows(99), name="rows", version="1.1.0")
    with pytest.raises(ConflictError, match="has something else"):
        source.copy_to(target)
    assert [row.n for row in target.load("rows", "1.1.0")["train"]] == [99]
    assert check(target) == []


def copied(source: Any, target: Any) -> None:
    copy_records(LocalIndex(source).records.database, LocalIndex(target).records.database)


@pytest.mark.slow
def test_a_copy_that_is_killed_is_taken_up(index_url: str, tmp_path: Path) -> None:
    source = LocalIndex(tmp_path / "source.sqlite")
    fill(source)
    for n in range(400 if MANY else 60):
        source.publish_schema(atdata.packable(type("Many", (), {"__annotations__": {f"x{n}": int}})))
    context, kills = multiprocessing.get_context("fork"), 0
    source.records.database.close()
    for round in range(20 if MANY else 4):
        worker = context.Process(target=copied, args=(tmp_path / "source.sqlite", index_url))
        worker.start()
        time.sleep(0.01 * (round + 1))
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        kills += worker.exitcode == -signal.SIGKILL
    assert kills > 0
    target = LocalIndex(index_url)
    LocalIndex(tmp_path / "source.sqlite").copy_to(target)
    assert everything(target) == everything(LocalIndex(tmp_path / "source.sqlite"))
    assert check(target) == []
