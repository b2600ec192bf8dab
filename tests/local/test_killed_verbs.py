"""What a database is asked to do, killed at any of its calls: the same verb once more makes it whole, and nothing twice.

With ATDATA_TEST_MANY=1 a verb is killed at each call; otherwise each is killed at some. A kill that never came fails its test.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import RetractedError
from atdata.local import LocalDiskStore, LocalIndex
from atdata.local.integrity import check
from support import MANY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
]
forked = multiprocessing.get_context("fork")


@atdata.packable
class Row:
    n: int


class Dying:
    """A database whose user is killed at a call that is chosen, before it or after it."""

    def __init__(self, inner: Any, at: int, after: bool, calls: Any) -> None:
        self._inner, self._at, self._after, self._calls = inner, at, after, calls

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            number = self._calls.value
            self._calls.value += 1
            if number == self._at and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            done = getattr(self._inner, name)(*arguments)
            if number == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call


Verb = Callable[[LocalIndex, str], Any]


def append(index: LocalIndex, name: str) -> Any:
    return index.append(name, atdata.Dataset[Row]("rows-2.tar"), notes="more")


def retract(index: LocalIndex, name: str) -> Any:
    return index.retract(name, reason="wrong")


def label(index: LocalIndex, name: str) -> Any:
    return index.add_label(index.get_entry_by_name(name), name=name, version="7.0.0")


def worker(url: str, name: str, verb: Verb, at: int, after: bool, calls: Any) -> None:
    index = LocalIndex(url, data_store=LocalDiskStore("store"))
    index.records = replace(index.records, database=Dying(index.records.database, at, after, calls))
    verb(index, name)


def assert_appended(index: LocalIndex, name: str) -> None:
    assert [item.version for item in index.history(name)] == ["1.1.0", "1.0.0"]
    assert [row.n for row in index.load(name)["train"]] == [1, 2]


def assert_retracted(index: LocalIndex, name: str) -> None:
    assert [item.retraction.reason for item in index.history(name) if item.retraction] == ["wrong"]
    assert [entry for entry in index.list_datasets() if entry.name == name] == []
    with pytest.raises(RetractedError):
        index.load(name)


def assert_labelled(index: LocalIndex, name: str) -> None:
    assert [item.version for item in index.history(name)] == ["7.0.0", "1.0.0"]


VERBS: dict[str, tuple[Verb, Callable[[LocalIndex, str], None]]] = {
    "append": (append, assert_appended),
    "retract": (retract, assert_retracted),
    "add_label": (label, assert_labelled),
}


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_call(index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.chdir(tmp_path)
    base, _ = (atdata.write_samples([Row(n)], f"rows-{n}.tar") for n in (1, 2))
    act, assert_done = VERBS[verb]

    def begin(name: str, at: int, after: bool) -> tuple[int, int | None]:
        """Let a process do it, and be killed; how many calls it made, and how it ended."""
        index = LocalIndex(index_url, data_store=LocalDiskStore("store"))
        index.insert_dataset(base, name=name, version="1.0.0")
        index.records.database.close()
        calls = forked.Value("i", 0)
        process = forked.Process(target=worker, args=(index_url, name, act, at, after, calls))
        process.start()
        process.join(60)
        return calls.value, process.exitcode

    count, code = begin("control", -1, after=False)
    assert code == 0
    chosen = [(at, after) for at in range(count) for after in (False, True)]
    for at, after in chosen if MANY else dict.fromkeys([*chosen[::4], *chosen[-2:]]):
        name = f"rows-{at}-{after}"
        _, code = begin(name, at, after)
        assert code == -signal.SIGKILL, f"no kill at call {at}"
        index = LocalIndex(index_url, data_store=LocalDiskStore("store"))
        entries = len(index.list_datasets())
        act(index, name)
        act(index, name) if verb != "add_label" else None
        assert_done(index, name)
        assert len(index.list_datasets()) <= entries + 1
        assert check(index) == [], f"killed at call {at}"
