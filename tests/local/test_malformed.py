"""Rows of an index that cannot be read keep nobody from the others."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import AtdataError, LexiconError, ProofError
from atdata.local import LocalIndex
from atdata.local.database import RecordRow
from atdata.local.integrity import check
from atdata.local.records import row_of
from atdata.records import Entry, Label, Record
from support.services import postgres_connection
from support.terminal import Terminal


@atdata.packable
class Point:
    x: NDArray[np.float32]


@pytest.fixture
def index(index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    monkeypatch.chdir(tmp_path)
    index = LocalIndex(index_url)
    for name in ("a", "b"):
        index.insert_dataset(
            atdata.write_samples([Point(np.ones(3, np.float32))] * len(name), f"{name}.tar"), name=name, version="1.0.0"
        )
    return index


def spoil(index: LocalIndex, record: Record, number: int, **members: object) -> str:
    """Put a malformed copy of a record into the index, filed as the record is, under a key of its own."""
    row = row_of(record)
    value = cbor.encode({**record.to_record(), **members})  # type: ignore[dict-item]
    key = f"3jzfcijpj2z2{'abcdef'[number]}"
    spoilt = row._replace(rkey=key, name="bad", value=value, cid=str(Cid.of_cbor(value)), content=f"bad{number}")
    index.records.database.insert([RecordRow(*spoilt)])
    return f"{record.NSID}/{key}"


def test_a_row_that_cannot_be_read_is_passed_over(index: LocalIndex) -> None:
    [_, entry], [_, label] = index.list_datasets(), index.list_labels()
    bad = [
        spoil(index, entry, 0, createdAt="yesterday", name="bad"),
        spoil(index, label, 1, datasetUri=5, name="bad", version="1.0.0"),
    ]
    assert [passed.uri for passed in index.list_datasets().malformed] == [f"at://atdata.local/{bad[0]}"]
    assert [passed.uri for passed in index.list_labels(prefix="ba").malformed] == [f"at://atdata.local/{bad[1]}"]
    assert [passed.name for passed in index.list_labels().malformed] == ["bad"]
    assert {found.name for found in index.entries} == {"a", "b"}
    assert [found.name for found in index.list_datasets(limit=2)] == ["b", "a"]
    assert len(list(index.load("a")["train"])) == 1
    again = index.insert_dataset(atdata.write_samples([Point(np.zeros(3, np.float32))], "c.tar"), name="c")
    assert index.get_dataset("c") == again
    for name in ("bad", "bad@1.0.0"):
        with pytest.raises(LexiconError):
            index.get_dataset(name)
    lines = "\n".join(check(index))
    assert all(where in lines for where in bad)


def test_lists_in_the_terminal_go_on(
    index: LocalIndex, index_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [_, entry], [_, label] = index.list_datasets(), index.list_labels()
    assert isinstance(entry, Entry)
    assert isinstance(label, Label)
    bad = spoil(index, entry, 0, createdAt="yesterday", name="bad")
    spoil(index, label, 1, datasetUri=f"at://atdata.local/{bad}", name="bad", version="1.0.0")
    monkeypatch.setenv("ATDATA_INDEX_URL", index_url)
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run("index", "ls") == 0
    assert "1 record of the index cannot be read; atdata doctor names them." in terminal.out
    assert [row["name"] for row in terminal.json("index", "ls")] == ["b", "a"]
    assert terminal.run("doctor") == 1
    assert bad in terminal.out


WRECKS = [b"", b"\xc1", b"[" * 50, b"\x91" * 3000, b"\x99" + b"\xc0" * 9, b"\x05", "text", 10**9]


@pytest.mark.parametrize("wreck", WRECKS, ids=repr)
def test_what_is_no_row_at_all_is_an_error_of_ours(index: LocalIndex, index_url: str, wreck: Any) -> None:
    """Whoever else has written into the database."""
    if index_url.startswith("redis"):
        redis = pytest.importorskip("redis")
        with redis.Redis.from_url(index_url) as client:
            [key] = [key for key in client.hkeys("{atdata}:records") if b"entry" in key][:1]
            stored = client.hget("{atdata}:records", key)
            client.hset(
                "{atdata}:records", key, stored[:8] + (wreck if isinstance(wreck, bytes) else str(wreck).encode())
            )
    elif index_url.startswith("postgres"):
        with postgres_connection(index_url) as connection:
            raw = wreck if isinstance(wreck, bytes) else str(wreck).encode()
            connection.execute(
                "UPDATE atdata_records SET value = %s WHERE number ="
                " (SELECT min(number) FROM atdata_records WHERE collection LIKE '%%entry')",
                (raw,),
            )
    else:
        with sqlite3.connect(index_url) as file:
            file.execute(
                "UPDATE atdata_records SET value = ? WHERE number ="
                " (SELECT min(number) FROM atdata_records WHERE collection LIKE '%entry')",
                (wreck,),
            )
        file.close()
    listing = index.list_datasets()
    assert (len(listing), len(listing.malformed)) == (1, 1)
    assert isinstance(listing.malformed[0].reason, AtdataError)
    assert len(list(index.entries)) == 1
    assert check(index) != []
    for name in ("a", "b"):
        with suppress(AtdataError):
            assert index.get_dataset(name) in listing


@pytest.mark.parametrize("number", [b"", b"\xff" * 8, b"\0" * 8])
def test_rows_whose_order_was_altered_are_an_error_of_ours(redis_url: str, number: bytes) -> None:
    redis = pytest.importorskip("redis")
    index = LocalIndex(redis_url)
    for name in ("A", "B"):
        index.publish_schema(Point, name=name)
    with redis.Redis.from_url(redis_url) as client:
        for key, stored in client.hgetall("{atdata}:records").items():
            client.hset("{atdata}:records", key, number + stored[8:])
    with pytest.raises(ProofError):
        index.list_schemas()
    assert check(index) != []
