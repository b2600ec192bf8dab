"""Segments: memory that workers lend. What somebody keeps is never written to; what nobody keeps is used again."""

from __future__ import annotations

import gc
import os
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.dataset import segments
from atdata.dataset.segments import SegmentPool, receive
from atdata.errors import StorageError
from atdata.samples import DictSample, SampleBatch

pytestmark = pytest.mark.skipif(not segments._readable(), reason="this system has no memory files that others can open")

MB = 1 << 20


def filled(pool: SegmentPool, size: int, value: int) -> Any:
    array = pool.empty((size,), np.dtype("u1"))
    array[:] = value
    return array


def send(pool: SegmentPool, *arrays: Any) -> list[Any] | None:
    lent = pool.lend(arrays)
    return None if lent is None else receive(*lent)


@pytest.fixture
def pool() -> SegmentPool:
    segments._detach_old()
    return SegmentPool()


def count(pool: SegmentPool) -> int:
    return len(pool._segments)


def test_what_lies_in_a_segment_is_there_without_being_copied(pool):
    array = filled(pool, 2 * MB, 7)
    (there,) = send(pool, array[100 : MB + 100])
    assert count(pool) == 1
    array[100] = 9
    assert there[0] == 9
    assert len(there) == MB
    there[1] = 3
    assert array[101] == 3


def test_what_lies_in_none_is_copied_to_one(pool):
    own = np.full(MB, 5, "u1"), np.full(77, 6, "u1")
    there = send(pool, *own)
    assert [part.tobytes() for part in there] == [array.tobytes() for array in own]
    own[0][:] = 0
    assert there[0].min() == 5
    assert count(pool) == 1


def test_a_segment_is_used_again_when_nobody_refers_to_it(pool):
    for number in range(100):
        array = filled(pool, 2 * MB, number)
        (there,) = send(pool, array)
        part = there[5:10]
        del array, there
        assert part.tolist() == [number] * 5
        del part
        assert count(pool) == 1


def test_the_sizes_of_what_comes_may_change(pool):
    for number in range(300):
        array = filled(pool, (1 + number // 10) * MB, number % 256)
        (there,) = send(pool, array)
        assert there.max() == number % 256
        assert count(pool) <= segments._MOST


def test_more_than_is_lent_is_copied_and_more_than_that_goes_another_way(pool):
    kept = [send(pool, np.full(MB, number, "u1")) for number in range(3 * segments._MOST)]
    assert count(pool) == segments._MOST + 1, "what is copied is given back at once"
    assert all(part is not None and part[0].min() == part[0].max() == number for number, part in enumerate(kept))
    del kept
    pending = [pool.lend([np.full(MB, number, "u1")]) for number in range(3 * segments._MOST)]
    assert [lent is None for lent in pending] == [False] * 2 * segments._MOST + [True] * segments._MOST
    for number, lent in enumerate(pending[: 2 * segments._MOST]):
        assert receive(*lent)[0][-1] == number
    assert filled(pool, MB, 1) is not None


def test_a_segment_has_room_for_as_many_batches_as_it_has_leases(pool):
    array = filled(pool, 4 * MB, 1)
    for _ in range(segments._LEASES):
        assert send(pool, array[:9000])
    assert send(pool, array[:9000]) is None
    del array
    array = filled(pool, 4 * MB, 2)
    assert send(pool, array[:9000])
    assert count(pool) == 1


@given(st.lists(st.tuples(st.sampled_from(["make", "send", "own", "drop", "forget"]), st.integers(0, 9)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_is_referred_to_keeps_its_values(steps):
    """The model: what was written, by whoever still has it."""
    pool, here, there, value = SegmentPool(), list[Any](), list[Any](), 0
    for step, number in steps:
        value = (value + 1) % 251
        if step == "make":
            here.append((filled(pool, MB + number * 99_999, value), value))
        elif step == "send" and here:
            array, own = here[number % len(here)]
            got = send(pool, array[number * 100 :])
            there.append((got[0][number:], own))
        elif step == "own":
            got = send(pool, np.full(9000 + number, value, "u1"), np.full(64, value, "u1"))
            there += [(part, value) for part in got or ()]
        elif step == "drop" and there:
            del there[number % len(there)]
        elif here:
            del here[number % len(here)]
        for array, own in [*here, *there]:
            assert array[0] == array[-1] == own
            assert array[::4096].min() == array[::4096].max() == own


class Label(str):
    """A text that is more than one."""


TEXT = st.text(st.characters(exclude_categories=[])) | st.text("a\0", max_size=3)  # half a surrogate pair is text too


@pytest.fixture
def lending():
    """This process lends as a worker does."""
    before, segments.pool = segments.pool, SegmentPool()
    yield segments.pool
    segments.pool = before


@given(columns=st.lists(st.lists(TEXT) | st.lists(TEXT | st.builds(Label, TEXT) | st.none() | st.binary()), max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_comes_as_it_was(lending, columns):
    sent = SampleBatch(DictSample, {f"c{number}": column for number, column in enumerate(columns)})
    got = ForkingPickler.loads(ForkingPickler.dumps(sent))
    assert got.stored == sent.stored
    assert [list(map(type, column)) for column in got.stored.values()] == [list(map(type, c)) for c in columns]


def test_much_text_comes_through_memory_that_both_have(lending):
    texts = [f"text {number} \N{SNOWMAN}" for number in range(5000)]
    sent = ForkingPickler.dumps(SampleBatch(DictSample, {"a": texts, "b": texts[::-1]}))
    assert len(sent) < 1000
    got = ForkingPickler.loads(sent)
    assert got.stored == {"a": texts, "b": texts[::-1]}
    assert not any(segment.lent for segment in lending._segments), "the texts are the reader's own"


def test_a_child_that_is_forked_gives_back_nothing(pool):
    (there,) = send(pool, np.full(MB, 4, "u1"))
    child = os.fork()
    if not child:
        del there
        gc.collect()
        os._exit(len(segments._attached) + len(segments._loans))
    assert os.waitpid(child, 0)[1] == 0
    assert pool._segments[0].lent
    other = filled(pool, MB, 5)
    assert there.max() == 4
    del there
    assert not pool._segments[0].lent
    del other


def test_nothing_is_received_twice(pool):
    lent = pool.lend([np.full(MB, 4, "u1")])
    receive(*lent)
    with pytest.raises(StorageError, match="received twice"):
        receive(*lent)


def test_what_a_worker_had_that_is_gone_is_named(pool):
    leases, places = pool.lend([np.full(MB, 4, "u1")])
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    for wrong in ({"process": child}, {"descriptor": 1 << 20}):
        segments._attached.clear()
        with pytest.raises(StorageError, match="its worker has ended"):
            receive([leases[0]._replace(**wrong)], places)


def test_neither_descriptors_nor_memory_grow(pool):
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text().count("memfd:atdata")
        return len(list(Path("/proc/self/fd").iterdir())), maps

    segments._detach_old()
    before = held()
    for number in range(200):
        (there,) = send(pool, filled(pool, MB + number % 7 * 700_000, 1))
        assert held()[1] - before[1] <= 2 * segments._MOST * 2  # here and there
    for segment in pool._segments:
        segment.retire()
    del there, segment, pool._segments
    segments._detach_old()
    gc.collect()
    assert held() <= before
