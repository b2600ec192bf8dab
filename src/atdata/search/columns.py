"""Columns of documents: what is read of each that a question finds.

A question that finds 10,000 of a million documents would look each up on a page of its own. So they are read by row groups,
documents with numbers beside each other, and groups are held in memory. Each has a stamp in the database, a random number
that every change of it replaces, so that what is held under a stamp is what any snapshot with that stamp has.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from atdata.replica import Statements
from atdata.search.packing import Codes, Numbers, RowGroup, read_rows

ROWS = 2048
"""Numbers in a row group; databases depend on it."""
MAX_MEMORY = 128 << 20
"""Bytes of row groups that a process holds: those of some 1.4 million documents."""
_WORTH_READING = 16  # documents of a group that a question must find for the group to be read whole
_READ_WHOLE = 64  # groups, at most, of a question
_CHUNK = 500


class DocumentFacts(NamedTuple):
    """The facts of documents.

    Attributes:
        numbers: of the documents, in their order.
        times: of each, in microseconds since 1970.
        ranks: of each, `rank_of` its address.
        codes: those of the facets of all, in any order.
    """

    numbers: Numbers
    times: Numbers
    ranks: Numbers
    codes: Codes


_NONE = np.empty(0, np.int64)
_NOTHING = DocumentFacts(_NONE, _NONE, _NONE, np.empty(0, np.uint32))


def mark_changed(sql: Statements, numbers: Iterable[int]) -> None:
    """Give new stamps to the row groups of documents that are added or removed in this transaction."""
    rows = [(group, int.from_bytes(os.urandom(8)) >> 2) for group in sorted({number // ROWS for number in numbers})]
    new = "INSERT INTO search_groups (id, stamp) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp"
    sql.run_each(new, rows)


def facts_of(sql: Statements, numbers: Numbers) -> DocumentFacts:
    """The facts of documents, given by their numbers in their order; those that are not there are left out."""
    if not len(numbers):
        return _NOTHING
    groups = numbers // ROWS
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    groups = groups[firsts]
    stamped = "SELECT id, stamp FROM search_groups WHERE id BETWEEN ? AND ?"
    stamps: dict[int, int] = dict(sql.all(stamped, int(groups[0]), int(groups[-1])))
    found, rest, reads = [_NOTHING], list[int](), 0
    for group, wanted in zip(groups.tolist(), np.split(numbers, firsts[1:]), strict=True):
        stamp = stamps.get(group)
        held = None if stamp is None else _held.get(stamp)
        if held is None and stamp is not None and len(wanted) >= _WORTH_READING and reads < _READ_WHOLE:
            held, reads = _read(sql, "id BETWEEN ? AND ?", group * ROWS, (group + 1) * ROWS - 1), reads + 1
            _held.put(stamp, held)
        if held is None:
            rest += wanted.tolist()
        else:
            found.append(_take(held, wanted))
    for some in (rest[at : at + _CHUNK] for at in range(0, len(rest), _CHUNK)):
        read = _read(sql, f"id IN ({', '.join('?' * len(some))})", *some)
        found.append(DocumentFacts(read.numbers, read.times, read.ranks, read.codes))
    together = DocumentFacts(*map(np.concatenate, zip(*found, strict=True)))
    order = np.argsort(together.numbers, kind="stable")
    return DocumentFacts(together.numbers[order], together.times[order], together.ranks[order], together.codes)


def _read(sql: Statements, where: str, *values: int) -> RowGroup:
    join = "group_concat({}, ' ')" if sql.dialect.name == "sqlite" else "string_agg({}, ' ' ORDER BY id)"
    ordered = f"SELECT id, head || codes AS row FROM search_shown WHERE {where} ORDER BY id"  # noqa: S608
    (text,) = sql.first(f"SELECT {join.format('row')} FROM ({ordered}) found", *values)  # noqa: S608
    return read_rows(text or "")


def _take(group: RowGroup, wanted: Numbers) -> DocumentFacts:
    places = group.numbers.searchsorted(wanted)
    places = places[group.numbers.take(places, mode="clip") == wanted] if len(group.numbers) else places[:0]
    first = group.starts[places]
    counts = group.starts[places + 1] - first
    ends = counts.cumsum()
    codes = group.codes[(first - ends + counts).repeat(counts) + np.arange(counts.sum())]
    return DocumentFacts(group.numbers[places], group.times[places], group.ranks[places], codes)


class _HeldGroups:
    """Row groups by their stamps, those that were asked for last."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Hold nothing, as in a fork, of which the parent may have been within a change."""
        self._groups, self._size, self._lock = OrderedDict[int, RowGroup](), 0, threading.Lock()

    def get(self, stamp: int) -> RowGroup | None:
        with self._lock:
            if stamp in self._groups:
                self._groups.move_to_end(stamp)
            return self._groups.get(stamp)

    def put(self, stamp: int, group: RowGroup) -> None:
        with self._lock:
            if stamp not in self._groups:
                self._groups[stamp] = group
                self._size += group.size
            while self._size > MAX_MEMORY:
                self._size -= self._groups.popitem(last=False)[1].size


_held = _HeldGroups()
os.register_at_fork(after_in_child=_held.renew)
