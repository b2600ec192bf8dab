"""Columns of documents: what is held in memory is what the database has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.replica import Replica
from atdata.search import columns
from atdata.search.columns import DocumentFacts, facts_of, mark_changed
from atdata.search.facets import FacetKind
from atdata.search.packing import codes, count_codes, head, rank_of, read_rows

Documents = dict[int, tuple[int, list[int]]]

numbers = st.one_of(st.integers(0, 30), st.integers(0, 2**53))
contents = st.tuples(st.integers(-(10**15), 10**16), st.lists(st.integers(0, 2**26 - 1), max_size=6))
changes = st.lists(st.dictionaries(numbers, st.none() | contents, max_size=12), min_size=1, max_size=6)


def text_of(number: int, time: int, facets: list[int]) -> tuple[str, str]:
    return head(number, time, f"at://{number}"), codes((facet, FacetKind.tag) for facet in facets)


def write(replica: Replica, there: Documents, change: dict[int, tuple[int, list[int]] | None]) -> None:
    for number, content in change.items():
        there.pop(number, None)
        if content is not None:
            there[number] = content
    rows = [(number, *text_of(number, *content)) for number, content in change.items() if content is not None]

    def put(writing: object) -> None:
        sql = writing.sql  # type: ignore[attr-defined]
        sql.run_each("DELETE FROM search_shown WHERE id = ?", [(number,) for number in change])
        made = (
            "(id, head, codes, words) VALUES (?, ?, ?, '')"
            if sql.dialect.name != "sqlite"
            else "(id, head, codes) VALUES (?, ?, ?)"
        )
        sql.run_each(f"INSERT INTO search_shown {made}", rows)
        mark_changed(sql, change)

    replica.write(put)


def read(replica: Replica, asked: list[int]) -> DocumentFacts:
    return replica.read(lambda reading: facts_of(reading.sql, np.array(sorted(set(asked)), np.int64)))


def check(replica: Replica, there: Documents, asked: list[int]) -> None:
    found = read(replica, asked)
    wanted = {number: there[number] for number in sorted(set(asked)) if number in there}
    assert found.numbers.tolist() == list(wanted)
    assert found.times.tolist() == [time for time, _ in wanted.values()]
    assert found.ranks.tolist() == [rank_of(f"at://{number}") for number in wanted]
    coded = [facet << 4 | FacetKind.tag for _, facets in wanted.values() for facet in facets]
    assert sorted(found.codes.tolist()) == sorted(coded)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes, st.lists(numbers, max_size=10))
def test_facts_are_those_of_the_database_however_it_was_changed(
    searched: Callable[[], Replica], steps: list[dict[int, tuple[int, list[int]] | None]], others: list[int]
) -> None:
    replica, there = searched(), Documents()
    for change in steps:
        write(replica, there, change)
        check(replica, there, [*there, *others])
        check(replica, there, [*list(there)[::2], *others])


def test_what_another_process_changed_is_read_again(searched: Callable[[], Replica]) -> None:
    replica, there = searched(), Documents()
    write(replica, there, {number: (number, [number]) for number in range(4)})
    before = read(replica, [0, 1, 2, 3])
    held = dict(columns._held._groups)
    write(replica, there, {1: (99, [7])})
    assert read(replica, [0, 1, 2, 3]).times.tolist() == [0, 99, 2, 3]
    assert before.times.tolist() == [0, 1, 2, 3]
    assert set(columns._held._groups) > set(held)


def test_a_snapshot_keeps_what_it_had(searched: Callable[[], Replica]) -> None:
    replica, there = searched(), Documents()
    write(replica, there, {number: (number, []) for number in range(4)})

    def look(reading: object) -> list[list[int]]:
        sql = reading.sql  # type: ignore[attr-defined]
        seen = [facts_of(sql, np.arange(4)).times.tolist()]
        write(replica, there, {2: (50, [])})
        read(replica, [0, 1, 2, 3])  # which holds the group as it is now
        return [*seen, facts_of(sql, np.arange(4)).times.tolist()]

    assert replica.read(look) == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert read(replica, [2]).times.tolist() == [50]


def test_memory_is_bounded(searched: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    replica, there = searched(), Documents()
    write(replica, there, {number: (number, [1, 2, 3]) for number in range(400)})
    monkeypatch.setattr(columns, "_READ_WHOLE", 1000)
    monkeypatch.setattr(columns, "MAX_MEMORY", 10_000)
    for _ in range(2):
        check(replica, there, list(range(400)))
        sizes = [group.size for group in columns._held._groups.values()]
        assert 0 < sum(sizes) == columns._held._size <= 10_000


def test_a_fork_of_a_process_that_holds_the_lock_searches() -> None:
    program = """
import os
from atdata.search import columns
with columns._held._lock:
    child = os.fork()
    if not child:
        os._exit(7 if columns._held.get(1) is None else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "7\n"


@given(st.dictionaries(st.integers(0, 2**53), contents, max_size=8))
def test_rows_are_read_as_they_were_packed(documents: Documents) -> None:
    rows = read_rows(" ".join("".join(text_of(number, *content)) for number, content in sorted(documents.items())))
    assert rows.numbers.tolist() == sorted(documents)
    assert rows.times.tolist() == [documents[number][0] for number in sorted(documents)]
    parts = [part.tolist() for part in np.split(rows.codes >> 4, rows.starts[1:-1])][: len(documents)]
    assert parts == [documents[number][1] for number in sorted(documents)]
    facets, kinds, counts = count_codes(rows.codes)
    said = [facet for _, each in documents.values() for facet in each]
    assert dict(zip(facets.tolist(), counts.tolist(), strict=True)) == {facet: said.count(facet) for facet in said}
    assert set(kinds.tolist()) <= {int(FacetKind.tag)}
