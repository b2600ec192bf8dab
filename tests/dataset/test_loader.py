"""Loaders: ranks, workers, padding, and going on after a stop. DataLoaders themselves are in test_torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset
from atdata.dataset.loader import Loader
from atdata.dataset.ranks import Rank, Ranks, Worker
from atdata.dataset.stored import rows_by_shard
from atdata.dataset.view import ShardView
from atdata.errors import ResumeError, UsageError
from atdata.shards import write_shard
from support import MANY

MODES: list[Any] = [False, "global", "window"]


@atdata.packable
class Point:
    id: int
    values: NDArray[np.float32]
    name: str


def point(number: int) -> Point:
    return Point(number, np.full(3, number, np.float32), f"p{number}")


SHARDS = {
    "1": [200],
    "7": [31, 31, 31, 31, 31, 31, 14],
    "64": [3] * 64,
    "uneven": [1, 97, 2, 60, 33],
    "one empty": [40, 0, 61],
    "fewer than workers": [5, 2],
    "none at all": [0],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def datasets(folder: Path) -> dict[str, Dataset[Point]]:
    made = {}
    for name, sizes in SHARDS.items():
        numbers = itertools.count()
        paths = []
        for shard, size in enumerate(sizes):
            path = folder / f"{name}-{shard:03d}.tar"
            write_shard(path, [(f"{n:06d}", point(n).packed) for n in itertools.islice(numbers, size)])
            os.utime(path, (1, 1))  # the ledger does not trust what was changed just now
            paths.append(str(path))
        made[name] = Dataset[Point](paths, cache=folder / "cache")
    return made


def ids(batches: Any) -> list[list[int]]:
    return [batch.id for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def of_workers(loader: Any, count: int) -> list[list[int]]:
    """What a DataLoader with some workers gives: their batches in turn."""
    place = loader._next
    streams = [iter(loader._batches(place, Worker(number, count), loader.rank)) for number in range(count)]
    out = []
    while streams:
        for stream in list(streams):
            batch = next(stream, None)
            if batch is None:
                return out + [b.id for rest in streams for b in rest]
            out.append(batch.id)
    return out


def in_global_order(steps_by_rank: list[list[list[int]]]) -> list[int]:
    rounds = itertools.zip_longest(*steps_by_rank, fillvalue=[])
    return [number for step in rounds for batch in step for number in batch]


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize("shuffle", MODES)
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_ranks_and_workers_share_one_order_and_lose_and_repeat_nothing(datasets, name, shuffle, workers):
    data = datasets[name]
    whole = flat(ids(data.loader(7, shuffle=shuffle, seed=5, rank=0, world_size=1)))
    assert sorted(whole) == list(range(len(data)))
    for world in (1, 2, 3, 8):
        loaders = [data.loader(7, shuffle=shuffle, seed=5, rank=rank, world_size=world) for rank in range(world)]
        counts = [len(loader) for loader in loaders]
        steps = [of_workers(loader, workers) if workers else ids(loader) for loader in loaders]
        assert in_global_order(steps) == whole
        assert [len(own) for own in steps] == counts
        assert max(counts, default=0) - min(counts, default=0) <= 1


@pytest.mark.parametrize("shuffle", MODES)
def test_the_order_of_a_loader_is_that_of_the_dataset(datasets, shuffle):
    data = datasets["7"]
    loader = data.loader(7, shuffle=shuffle, seed=5, rank=0, world_size=1)
    for epoch in range(3):
        expected = data.shuffled(7, seed=5, epoch=epoch, mode=shuffle) if shuffle else data.ordered(7)
        assert ids(loader) == ids(expected)
        assert loader.epoch == epoch + 1


@pytest.mark.parametrize("shuffle", MODES)
@pytest.mark.parametrize("name", ["7", "uneven", "fewer than workers", "none at all"])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_equal_steps_end_together(datasets, shuffle, name, world):
    data = datasets[name]
    whole = flat(ids(data.loader(7, shuffle=shuffle, rank=0, world_size=1)))
    for rule in ("pad", "drop"):
        loaders = [
            data.loader(7, shuffle=shuffle, rank=rank, world_size=world, equal_steps=rule) for rank in range(world)
        ]
        steps = [ids(loader) for loader in loaders]
        assert {len(own) for own in steps} == {len(loaders[0])}
        assert all(len(batch) == 7 for own in steps for batch in own)
        seen = in_global_order(steps)
        if rule == "drop":
            assert seen == whole[: len(whole) // (7 * world) * 7 * world]
        elif whole:
            assert seen == list(itertools.islice(itertools.cycle(whole), len(seen)))
            assert len(whole) <= len(seen) < len(whole) + 7 * world
        else:
            assert seen == []


def test_a_batch_that_is_not_full_may_be_left_out(datasets):
    data = datasets["7"]
    for world in (1, 2, 3):
        loaders = [data.loader(7, rank=rank, world_size=world, drop_last=True) for rank in range(world)]
        steps = [ids(loader) for loader in loaders]
        assert [len(own) for own in steps] == [len(loader) for loader in loaders]
        assert in_global_order(steps) == list(range(len(data) // 7 * 7))


@given(st.data())
@hypothesis_settings(max_examples=60 if MANY else 30)
def test_any_stop_and_any_other_world_size_go_on_where_it_was(datasets, data):
    """The model: the whole epochs one after another, cut where the states say."""
    dataset = datasets[data.draw(st.sampled_from(["1", "7", "uneven", "one empty"]))]
    shuffle, seed = data.draw(st.sampled_from(MODES)), data.draw(st.integers(0, 5))
    expected = [flat(ids(_alone(dataset, shuffle, seed, epoch))) for epoch in range(4)]
    seen: list[list[int]] = [[] for _ in range(4)]
    state, epoch = None, 0
    for _ in range(data.draw(st.integers(1, 6))):
        world, size = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 30))
        workers = data.draw(st.integers(1, 3))
        loaders = [
            dataset.loader(size, shuffle=shuffle, seed=seed, rank=rank, world_size=world) for rank in range(world)
        ]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
        left = dataset.view.extent - (state["position"] if state else 0)
        stop = min(data.draw(st.integers(0, 12)), -(-left // (size * world)))  # more steps a pass does not have
        states = [loader.state_dict(batches=stop) for loader in loaders]  # computed, before a sample is read
        taken = [of_workers(loader, workers)[:stop] for loader in loaders]
        seen[epoch] += in_global_order(taken)
        assert all(state == states[0] for state in states)
        assert len(json.dumps(states[0])) < 4096
        state = states[0]
        assert seen[epoch] == expected[epoch][: len(seen[epoch])]
        if state["epoch"] > epoch:
            assert seen[epoch] == expected[epoch]
            epoch = state["epoch"]
            if epoch == 4:
                return
        else:
            assert state["position"] >= len(seen[epoch])


def _alone(dataset: Dataset[Point], shuffle: Any, seed: int, epoch: int) -> Any:
    loader = dataset.loader(50, shuffle=shuffle, seed=seed, rank=0, world_size=1)
    loader.set_epoch(epoch)
    return loader


def test_a_state_counts_what_was_given_out(datasets):
    data = datasets["7"]
    loader = data.loader(7, shuffle="global", rank=0, world_size=1)
    assert loader.state_dict()["position"] == 0
    stream = iter(loader)
    assert loader.state_dict()["position"] == 0
    for count in range(1, 4):
        next(stream)
        assert loader.state_dict()["position"] == 7 * count
    assert loader.state_dict(batches=2)["position"] == 14
    rest = ids(stream)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)
    again = data.loader(7, shuffle="global", rank=0, world_size=1)
    again.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 21})
    assert ids(again) == rest
    assert ids(again) == ids(loader)


def test_a_state_after_the_last_batch_begins_the_next_epoch(datasets):
    data = datasets["7"]
    loader = data.loader(50, rank=0, world_size=1)
    stream = iter(loader)
    for _ in range(4):
        next(stream)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)


def test_a_stop_without_a_state_goes_on_with_the_next_epoch(datasets):
    loader = datasets["7"].loader(7, shuffle="global", rank=0, world_size=1)
    for _ in loader:
        break
    assert loader.epoch == 0
    assert ids(loader) == ids(datasets["7"].shuffled(7, epoch=1))
    loader.set_epoch(9)
    assert ids(loader) == ids(datasets["7"].shuffled(7, epoch=9))
    with pytest.raises(UsageError):
        loader.set_epoch(-1)


def test_a_state_of_other_data_or_another_order_is_refused(tmp_path, datasets):
    def made(first: int, count: int = 60) -> Dataset[Point]:
        folder = tmp_path / f"{first}-{count}"
        if not folder.exists():
            atdata.write_samples([point(first + n) for n in range(count)], folder / "s-%03d.tar", maxcount=20)
        return Dataset[Point](f"{folder}/s-{{000..002}}.tar")

    state = made(0).loader(5, shuffle="global", seed=1).state_dict()
    made(0).loader(5, shuffle="global", seed=1).load_state_dict(state)
    for other, path in [
        (made(0).loader(5, shuffle="window", seed=1), "mode"),
        (made(0).loader(5, shuffle="global", seed=2), "seed"),
        (made(0).loader(5, shuffle="global", seed=1, window=64), "window"),
        (made(0).take(59).loader(5, shuffle="global", seed=1), "plan"),
        (made(1).loader(5, shuffle="global", seed=1), "plan"),
        (made(0, 59).loader(5, shuffle="global", seed=1), "plan"),
    ]:
        with pytest.raises(ResumeError) as caught:
            other.load_state_dict(state)
        assert caught.value.path == path
    loader = made(0).loader(5, shuffle="global", seed=1)
    for damage in (
        {},
        {**state, "version": 2},
        {**state, "epoch": -1},
        {**state, "position": 1.5},
        {**state, "taken": True},
    ):
        with pytest.raises(ResumeError):
            loader.load_state_dict(damage)


def evens(point: Point) -> bool:
    return point.id % 2 == 0


def test_a_state_of_another_view_of_the_same_samples_is_refused(datasets):
    """By the names of what a view does; nothing else of a function is the same in the next run."""

    @atdata.packable
    class Name:
        name: str

    def odds(point: Point) -> bool:
        return not evens(point)

    def renamed(point: Point) -> dict[str, Any]:
        return {"id": point.id}

    data = datasets["7"]
    views = [
        data,
        data.filter(evens),
        data.filter(odds),
        data.filter(evens).filter(evens),
        data.map(renamed),
        data.as_type(Name),
        data.columns("id"),
        data.columns("id", "name"),
    ]
    states = [view.loader(7, rank=0, world_size=1).state_dict() for view in views]
    for view, state in itertools.product(views, states):
        loader = view.loader(7, rank=0, world_size=1)
        if state["pipeline"] == loader.state_dict()["pipeline"]:
            loader.load_state_dict(json.loads(json.dumps(state)))
            continue
        with pytest.raises(ResumeError, match="another view") as caught:
            loader.load_state_dict(state)
        assert caught.value.path == "pipeline"
    assert len({state["pipeline"] for state in states}) == len(views)


def test_a_state_that_says_nothing_of_its_view_is_an_older_one(datasets):
    loader = datasets["7"].filter(evens).loader(7, rank=0, world_size=1)
    state = loader.state_dict()
    del state["pipeline"]
    loader.load_state_dict({**state, "position": 14})
    assert ids(loader)[0] == [14, 16, 18, 20]


def test_a_view_is_named_alike_in_another_process_and_however_its_module_is_called(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import functools, sys, atdata\n"
        "def kept(sample, least): return sample['x'] >= least\n"
        "class Doubled:\n"
        "    def __call__(self, sample): return {'x': 2 * sample['x']}\n"
        "def view(path):\n"
        "    data = atdata.Dataset(path).columns('x').map(Doubled()).map(lambda sample: sample)\n"
        "    return data.filter(functools.partial(kept, least=1)).view.fingerprint().pipeline\n"
        "if __name__ == '__main__': print(view(sys.argv[1]))\n"
    )
    atdata.write_samples([atdata.DictSample({"x": 1})], tmp_path / "a.tar")
    runs = [[str(program)], ["-c", "import sys, program; print(program.view(sys.argv[1]))"]]
    said = {
        subprocess.run(
            [sys.executable, *run, str(tmp_path / "a.tar")], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        for run in runs
    }
    assert said == {"columns(x), map(Doubled), map(view.<locals>.<lambda>), filter(kept)\n"}


def test_what_is_no_state_is_refused(datasets):
    loader = datasets["7"].loader(7, rank=0, world_size=1)
    state = loader.state_dict()
    for wrong in (None, [], "state", 3, {**state, "plan": np.zeros(2)}, {**state, "epoch": 1 << 63}):
        with pytest.raises(ResumeError):
            loader.load_state_dict(wrong)
    for position in (200, 201, 10**12):
        with pytest.raises(ResumeError, match="beyond the end") as caught:
            loader.load_state_dict({**state, "position": position})
        assert caught.value.path == "position"
    loader.load_state_dict({**state, "position": 199})
    assert ids(loader) == [[199]]


def test_numbers_are_integers_of_any_kind_and_a_state_is_json_whatever_they_were(datasets):
    one = np.int64(1)
    loader = datasets["7"].loader(
        np.int8(7), shuffle="window", seed=np.uint8(3), window=np.int16(64), rank=one, world_size=2 * one
    )
    again = datasets["7"].loader(7, shuffle="window", seed=3, window=64, rank=0, world_size=1)
    loader.set_epoch(np.int32(2))
    next(iter(loader))
    for state in (loader.state_dict(), loader.state_dict(batches=one), loader.state_dict(step=0 * one)):
        again.load_state_dict(json.loads(json.dumps(state)))
        assert (again.epoch, state["position"]) == (2, 14)


WRONG: list[Any] = [None, "", "3", 1.5, float("nan"), np.float32(3), [], -1, 1 << 63, 1 << 70]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_is_no_number_of_anything_is_refused_at_once(datasets, wrong):
    data = datasets["7"]
    loader = data.loader(7, rank=0, world_size=1)
    next(iter(loader))
    calls: list[Any] = [
        lambda: data.loader(wrong),
        lambda: data.shuffled(5, epoch=wrong),
        lambda: data.loader(5, shuffle="window", window=wrong),
        lambda: data.loader(5, rank=wrong, world_size=1 << 62),
        lambda: data.loader(5, rank=1, world_size=wrong) if wrong not in (1 << 63, 1 << 70) else data.take(-1),
        lambda: loader.set_epoch(wrong),
        lambda: data.take(wrong),
        lambda: data.skip(wrong),
        lambda: data.head(wrong),
    ]
    if wrong is not None:  # which says nothing
        calls += [lambda: data.ordered(wrong), lambda: loader.state_dict(wrong), lambda: loader.state_dict(step=wrong)]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    if not isinstance(wrong, str):
        with pytest.raises(TypeError):
            data.get(wrong)


def test_setting_the_epoch_of_a_loaded_state_keeps_its_place(datasets):
    """As trainers' loops do, for every epoch, from the one that was resumed on."""
    loader = datasets["7"].loader(7, shuffle="global", rank=0, world_size=1)
    whole = [ids(loader) for _ in range(3)]
    loader.load_state_dict({**loader.state_dict(), "epoch": 1, "position": 70})
    with pytest.raises(UsageError, match="another epoch"):
        loader.set_epoch(0)
    loader.set_epoch(1)
    assert ids(loader) == whole[1][10:]
    loader.set_epoch(1)
    assert ids(loader) == whole[1]
    loader.set_epoch(0)
    assert ids(loader) == whole[0]


def test_a_seed_of_numpy_is_a_seed(datasets):
    for seed in (5, np.int64(5), np.uint8(5)):
        batches = datasets["7"].loader(7, shuffle="global", seed=seed, rank=0, world_size=1)
        assert ids(batches) == ids(datasets["7"].shuffled(7, seed=5))
        json.dumps(batches.state_dict())


# --- filters ----------------------------------------------------------------------------------------------------------


def some(point: Point) -> bool:
    return 21 <= point.id < 30 or point.id in (100, 199)


def nothing(_: Point) -> bool:
    return False


@pytest.mark.parametrize("shuffle", MODES)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_steps_that_a_filter_empties_are_passed_over_and_counted(datasets, shuffle, world):
    data = datasets["7"].filter(some)
    whole = [datasets["7"].loader(7, shuffle=shuffle, rank=rank, world_size=world) for rank in range(world)]
    steps = [[[i for i in step if some(point(i))] for step in ids(loader)] for loader in whole]
    for rank in range(world):
        loader = data.loader(7, shuffle=shuffle, rank=rank, world_size=world)
        batches = list(loader)
        assert [(batch.step, batch.id) for batch in batches] == [(n, own) for n, own in enumerate(steps[rank]) if own]
        for used, batch in enumerate(batches, 1):
            loader.set_epoch(0)
            again = data.loader(7, shuffle=shuffle, rank=rank, world_size=world)
            again.load_state_dict(loader.state_dict(step=batch.step))
            if again.epoch == 0:
                assert ids(again) == ids(batches[used:])
            else:
                assert used == len(batches)
    assert ids(data.ordered(7)) == [[21, 22, 23, 24, 25, 26, 27], [28, 29], [100], [199]]
    assert all(len(batch) for batch in data.shuffled(7, mode=shuffle or "global"))


def test_a_state_of_a_filtered_loader_is_asked_for_by_step(datasets):
    loader = datasets["7"].filter(some).loader(7, rank=0, world_size=1)
    with pytest.raises(UsageError, match=r"state_dict\(step=batch.step\)"):
        loader.state_dict(batches=2)
    with pytest.raises(UsageError, match="both"):
        loader.state_dict(2, step=2)
    batch = next(iter(loader))
    assert batch.step == 3
    assert loader.state_dict() == loader.state_dict(step=batch.step)
    assert loader.state_dict()["position"] == 28
    padded = datasets["7"].filter(some).loader(7, rank=0, world_size=1, equal_steps="pad")
    assert padded.state_dict(batches=4)["position"] == 28


@pytest.mark.parametrize("shuffle", MODES)
@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("workers", [0, 3])
def test_padding_fills_the_steps_that_a_filter_empties(datasets, shuffle, world, workers):
    data = datasets["7"].filter(some)
    kept = {number for number in range(200) if some(point(number))}
    loaders = [
        data.loader(7, shuffle=shuffle, seed=5, rank=rank, world_size=world, equal_steps="pad") for rank in range(world)
    ]
    steps = [of_workers(loader, workers) if workers else ids(loader) for loader in loaders]
    assert {len(own) for own in steps} == {len(loaders[0])} == {-(-200 // (7 * world))}
    assert all(batch for own in steps for batch in own)
    assert {number for own in steps for batch in own for number in batch} == kept
    resumed = data.loader(7, shuffle=shuffle, seed=5, rank=0, world_size=world, equal_steps="pad")
    resumed.load_state_dict(resumed.state_dict(batches=2))
    assert ids(resumed) == steps[0][2:]


def test_a_filter_that_keeps_nothing_ends_all_ranks(datasets):
    data = datasets["7"].filter(nothing)
    assert ids(data.loader(7, rank=0, world_size=1)) == []
    for rank in range(2):
        assert ids(data.loader(7, rank=rank, world_size=2, equal_steps="pad")) == []


def test_steps_of_a_filtered_dataset_cannot_be_dropped(datasets):
    with pytest.raises(UsageError, match="pad"):
        datasets["7"].filter(some).loader(7, equal_steps="drop")


def test_ranks_come_from_the_caller_or_the_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Ranks().current() == Rank(0, 1)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert Ranks().current() == Rank(3, 4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Ranks().current() == Rank(1, 2)
    assert Ranks(5, 6).current() == Rank(5, 6)
    for wrong in ((1, None), (None, 2), (2, 2), (-1, 2)):
        with pytest.raises(UsageError):
            Ranks(*wrong)
    for rank in ("one", "2"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(UsageError):
            Ranks().current()


def test_a_rank_that_nobody_names_is_not_guessed(monkeypatch, datasets):
    """As in a process that Lightning has started, before it has a process group."""
    for name in ("RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    loader = datasets["7"].loader(7)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert len(ids(loader)) == len(loader) == 29
    monkeypatch.setenv("WORLD_SIZE", "2")
    for act in (lambda: next(iter(loader)), lambda: len(loader)):
        with pytest.raises(UsageError, match="which of them"):
            act()
    assert loader.epoch == 1  # the pass did not begin
    monkeypatch.setenv("RANK", "1")
    assert ids(loader)[0] == list(range(7, 14))


def test_a_loader_is_asked_for_its_class_while_torch_is_being_imported(datasets, monkeypatch):
    """By another thread: the module is there already, and its classes are not."""
    loader = datasets["7"].loader(7, rank=0, world_size=1)
    monkeypatch.setitem(sys.modules, "torch.utils.data", ModuleType("torch.utils.data"))
    assert loader.__class__ is type(loader) is Loader
    assert not isinstance(loader, str)


@pytest.mark.parametrize("shuffle", MODES)
def test_all_ranks_and_workers_together_read_each_byte_once(datasets, shuffle):
    """Counted where samples are decoded."""
    data = datasets["7"]
    original = ShardView.reader

    def counting(self: Any) -> Any:
        reader = original(self)
        readers.append(reader)
        return reader

    for world, workers in ((1, 1), (2, 3), (3, 2)):
        readers: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ShardView, "reader", counting)
            for rank in range(world):
                of_workers(data.loader(7, shuffle=shuffle, rank=rank, world_size=world), workers)
        read = sum(reader.statistics.samples for reader in readers)
        size = sum(reader.statistics.bytes for reader in readers)
        assert read == len(data)
        assert size == sum(len(packed) for rows in rows_by_shard(data.view) for _, packed in rows)


def test_the_first_sample_after_a_resume_opens_one_shard(datasets):
    data = datasets["64"]
    loader = data.loader(1, rank=0, world_size=1)
    len(data)  # from now on the ledger knows where what is
    state = {**loader.state_dict(), "position": 100}
    fresh = Dataset[Point](list(map(str, data.shards)), cache=data.view.table.shards.cache.root)
    loader = fresh.loader(1, rank=0, world_size=1)
    loader.load_state_dict(state)
    assert next(iter(loader)).id == [100]
    assert set(fresh.view.table.shards._files.open) == {33}


# --- killed at random --------------------------------------------------------------------------------------------------

TRAIN = """
import json, os, sys, time
import numpy as np
from numpy.typing import NDArray
import atdata

@atdata.packable
class Point:
    id: int
    values: NDArray[np.float32]
    name: str

@atdata.packable
class Doubled:
    id: int
    twice: NDArray[np.float32]

@atdata.lens
def doubled(point: Point) -> Doubled:
    return Doubled(point.id, point.values * 2)

def keep(view: Doubled) -> bool:
    return view.id % 5 != 0

pattern, rank, world, folder, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
data = atdata.Dataset[Point](pattern).as_type(Doubled).filter(keep)
loader = data.loader(4, shuffle="global", seed=11, rank=rank, world_size=world)
if os.path.exists(f"{folder}/state.json"):
    loader.load_state_dict(json.load(open(f"{folder}/state.json")))
log = open(f"{folder}/log-{rank}.jsonl", "w")
while loader.epoch < epochs:
    epoch = loader.epoch
    for batch in loader:
        time.sleep(0.002)
        entry = {"epoch": epoch, "step": batch.step, "ids": batch.id, "state": loader.state_dict()}
        print(json.dumps(entry), file=log, flush=True)
print(json.dumps("end"), file=log, flush=True)
"""


KILLS = 20 if MANY else 6


@pytest.mark.slow
def test_runs_killed_at_random_with_other_world_sizes_see_what_one_run_sees(tmp_path):
    """Each run counts up to the last state that all of its ranks had reached."""
    atdata.write_samples(map(point, range(2000)), tmp_path / "s-%03d.tar", maxcount=300)
    pattern = f"{tmp_path}/s-{{000..006}}.tar"
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    rng = random.Random(3)
    whole = _run(script, pattern, tmp_path / "whole", 1, None)
    folder = tmp_path / "killed"
    seen: list[int] = []
    kills = 0
    for world in itertools.cycle([4, 2, 6]):
        delay = rng.uniform(0.0, 0.05) if kills < KILLS else None
        ids_, ended = _collect(_run_ranks(script, pattern, folder, world, delay), folder, world)
        seen += ids_
        kills += delay is not None
        if ended:
            break
    assert kills == KILLS
    assert hashlib.sha256(json.dumps(seen).encode()).digest() == hashlib.sha256(json.dumps(whole).encode()).digest()


def _run(script: Path, pattern: str, folder: Path, world: int, delay: float | None) -> list[int]:
    ids_, ended = _collect(_run_ranks(script, pattern, folder, world, delay), folder, world)
    assert ended
    return ids_


def _run_ranks(script: Path, pattern: str, folder: Path, world: int, delay: float | None) -> None:
    """Run all ranks; kill them some time after the first one has begun to read."""
    folder.mkdir(exist_ok=True)
    for log in folder.glob("log-*"):
        log.unlink()
    arguments = [[str(script), pattern, str(rank), str(world), str(folder), "3"] for rank in range(world)]
    children = [subprocess.Popen([sys.executable, *own]) for own in arguments]
    if delay is not None:
        while not any(log.stat().st_size for log in folder.glob("log-*")):
            time.sleep(0.005)
        time.sleep(delay)
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
    for child in children:
        child.wait(60)


def _collect(_: None, folder: Path, world: int) -> tuple[list[int], bool]:
    logs = []
    for rank in range(world):
        path = folder / f"log-{rank}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        logs.append([json.loads(line) for line in lines if _is_json(line)])
    ended = all(log and log[-1] == "end" for log in logs)
    if ended:
        steps = [[entry for entry in log if entry != "end"] for log in logs]
    else:
        reached = min(
            (
                (log[-1]["state"] if log and log[-1] != "end" else {"epoch": 9 if log else -1, "position": 0})
                for log in logs
            ),
            key=_place,
        )
        if reached["epoch"] < 0:
            return [], False
        (folder / "state.json").write_text(json.dumps(reached))
        steps = [
            [entry for entry in log if entry != "end" and _place(entry["state"]) <= _place(reached)] for log in logs
        ]
    places = [(e["epoch"], e["step"], rank, e["ids"]) for rank, log in enumerate(steps) for e in log]
    return [number for *_, ids_ in sorted(places) for number in ids_], ended


def _place(state: Any) -> tuple[int, int]:
    return state["epoch"], state["position"]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_read_no_more_than_there_is(tmp_path, world):
    """As the system counts: with the samples of one rank those of the others do not come."""
    rows = (Point(number, np.full(500, number, np.float32), "p") for number in range(6000))
    atdata.write_samples(rows, tmp_path / "x-%d.tar", maxcount=2000)
    data = Dataset[Point](sorted(tmp_path.glob("*.tar")), cache=tmp_path / "cache")
    assert len(list(data.ordered(batch_size=512))) == 12  # and all shards are proved
    size = sum(path.stat().st_size for path in tmp_path.glob("*.tar"))

    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before, ids = count(), list[int]()
    for rank in range(world):
        for batch in data.loader(batch_size=16, rank=rank, world_size=world):
            ids += batch.id
    assert sorted(ids) == list(range(6000))
    assert count() - before < 1.1 * size
