"""Loaders inside PyTorch: DataLoader, StatefulDataLoader, and distributed training on the CPU."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset

torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
data_loading = pytest.importorskip("torch.utils.data", reason="torch is not installed: python3 dev.py frameworks")
stateful = pytest.importorskip(
    "torchdata.stateful_dataloader", reason="torchdata is not installed: python3 dev.py frameworks"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
]


@atdata.packable
class Item:
    id: int
    values: NDArray[np.float32]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Item]:
    folder = tmp_path_factory.mktemp("shards")
    atdata.write_samples([Item(n, np.full(4, n, np.float32)) for n in range(103)], folder / "s-%03d.tar", maxcount=17)
    return Dataset[Item](f"{folder}/s-{{000..006}}.tar", cache=folder / "cache")


def ids(batches: Any) -> list[list[int]]:
    return [batch.id for batch in batches]


def expected(data: Dataset[Item], shuffle: Any, epoch: int) -> list[list[int]]:
    return ids(data.shuffled(10, mode=shuffle, epoch=epoch) if shuffle else data.ordered(10))


MODES = [False, "global", "window"]
WORKERS = [(count, "fork" if count else None, shuffle) for count in (0, 1, 4) for shuffle in MODES]
WORKERS += [(2, "spawn", "global"), (3, "forkserver", "window")]  # each takes seconds to begin


@pytest.mark.parametrize(("count", "method", "shuffle"), WORKERS)
def test_a_dataloader_gives_one_epoch_after_another(data, count, method, shuffle):
    batches = data_loading.DataLoader(
        data.loader(10, shuffle=shuffle, rank=0, world_size=1),
        batch_size=None,
        num_workers=count,
        multiprocessing_context=method,
    )
    assert len(batches) == 11
    for epoch in range(2 if method == "spawn" else 3):
        assert ids(batches) == expected(data, shuffle, epoch)


@pytest.mark.parametrize("shuffle", MODES)
def test_workers_that_stay_give_one_epoch_after_another(data, shuffle):
    batches = data_loading.DataLoader(
        data.loader(10, shuffle=shuffle, rank=0, world_size=1),
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    for epoch in range(3):
        assert ids(batches) == expected(data, shuffle, epoch)


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (3, 2), (2, 4)])
@pytest.mark.parametrize("shuffle", MODES)
def test_a_run_goes_on_with_other_workers_where_its_batches_were_used(data, shuffle, before, after):
    loader = data.loader(10, shuffle=shuffle, rank=0, world_size=1)
    batches = data_loading.DataLoader(loader, batch_size=None, num_workers=before)
    assert ids(batches) == expected(data, shuffle, 0)
    used = ids(itertools.islice(batches, 4))  # workers have read ahead
    state = json.loads(json.dumps(loader.state_dict(batches=4)))
    again = data.loader(10, shuffle=shuffle, rank=0, world_size=1)
    again.load_state_dict(state)
    batches = data_loading.DataLoader(again, batch_size=None, num_workers=after)
    assert used + ids(batches) == expected(data, shuffle, 1)
    assert ids(batches) == expected(data, shuffle, 2)


def test_a_state_must_say_how_many_batches_were_used_where_workers_read_ahead(data):
    loader = data.loader(10, rank=0, world_size=1)
    for _ in data_loading.DataLoader(loader, batch_size=None, num_workers=1):
        break
    with pytest.raises(atdata.errors.UsageError, match="workers prefetch"):
        loader.state_dict()


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("shuffle", MODES)
def test_a_stateful_dataloader_goes_on_twice_and_across_the_end(data, shuffle, count):
    def made() -> Any:
        return stateful.StatefulDataLoader(
            data.loader(10, shuffle=shuffle, rank=0, world_size=1), batch_size=None, num_workers=count
        )

    batches = made()
    assert ids(batches) == expected(data, shuffle, 0)
    seen = []
    for stop in (4, 3):
        seen += ids(itertools.islice(batches, stop))
        state = batches.state_dict()
        batches = made()
        batches.load_state_dict(state)
    seen += ids(batches)
    assert seen == expected(data, shuffle, 1)
    assert ids(batches) == expected(data, shuffle, 2)


@pytest.mark.parametrize("other", [(10, 0, 2, 2), (10, 0, 1, 3), (20, 0, 1, 2), (10, 0, 1, 2)], ids=str)
def test_the_state_of_several_workers_is_refused_by_other_ranks_workers_and_batches(data, other):
    def made(size: int, rank: int, world_size: int, count: int) -> Any:
        loader = data.loader(size, shuffle="global", rank=rank, world_size=world_size)
        return stateful.StatefulDataLoader(loader, batch_size=None, num_workers=count)

    batches, again = made(10, 0, 1, 2), made(*other)
    seen = ids(itertools.islice(batches, 3))
    again.load_state_dict(batches.state_dict())
    if other == (10, 0, 1, 2):
        assert seen + ids(again) == expected(data, "global", 0)
    else:
        with pytest.raises(atdata.errors.ResumeError, match="of one of several workers"):
            ids(again)


def some(item: Item) -> bool:
    return 20 <= item.id < 40 or item.id == 71


KEPT = [[20, 21, 22, 23, 24, 25, 26, 27, 28, 29], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39], [71]]  # steps 2, 3 and 7


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_workers_pass_over_what_a_filter_empties(data, count):
    loader = data.filter(some).loader(10, rank=0, world_size=1)
    batches = data_loading.DataLoader(
        loader, batch_size=None, num_workers=count, multiprocessing_context="fork" if count else None
    )
    with pytest.raises(TypeError):
        len(batches)
    for _ in range(2):
        assert sorted(ids(batches)) == KEPT
    loader.set_epoch(0)
    used = list(itertools.islice(batches, 2))
    with pytest.raises(atdata.errors.UsageError, match=r"batch\.step"):
        loader.state_dict(batches=2)
    if count < 2:  # in the order of the steps
        assert [(batch.step, batch.id) for batch in used] == [(2, KEPT[0]), (3, KEPT[1])]
        state = loader.state_dict(step=used[-1].step)
        assert state["position"] == 40
        again = data.filter(some).loader(10, rank=0, world_size=1)
        again.load_state_dict(state)
        assert ids(again) == KEPT[2:]
    else:
        with pytest.raises(atdata.errors.UsageError, match="StatefulDataLoader"):
            loader.state_dict(step=used[-1].step)


@pytest.mark.parametrize("count", [0, 2])
def test_a_stateful_dataloader_knows_what_its_workers_passed_over(data, count):
    def made() -> Any:
        loader = data.filter(some).loader(10, rank=0, world_size=1)
        return stateful.StatefulDataLoader(loader, batch_size=None, num_workers=count)

    batches = made()
    seen = ids(itertools.islice(batches, 2))
    again = made()
    again.load_state_dict(batches.state_dict())
    seen += ids(again)
    assert sorted(seen) == KEPT


@pytest.mark.parametrize("count", [1, 2])
def test_filtered_dicts_from_workers_are_saved_as_the_error_says(data, count):
    def loader_of(**options: Any) -> Any:
        return data.filter(some).loader(10, rank=0, world_size=1, format="torch", **options)

    loader = loader_of()
    batches = data_loading.DataLoader(loader, batch_size=None, num_workers=count)
    assert type(next(iter(batches))) is dict
    for arguments in ({}, {"batches": 1}):
        with pytest.raises(atdata.errors.UsageError) as caught:
            loader.state_dict(**arguments)
        assert "StatefulDataLoader(loader, batch_size=None, num_workers=n)" in caught.value.hint
        assert "batch.step" not in caught.value.hint
    # The lines that it says.
    batches = stateful.StatefulDataLoader(loader_of(), batch_size=None, num_workers=count)
    used = [next(iter(batches))]
    state = batches.state_dict()
    again = stateful.StatefulDataLoader(loader_of(), batch_size=None, num_workers=count)
    again.load_state_dict(state)
    found = [batch["id"].tolist() for batch in (*used, *again)]
    assert sorted(found) == KEPT
    padded = loader_of(equal_steps="pad")
    whole = [batch["id"].tolist() for batch in padded]
    padded.set_epoch(0)
    batches = data_loading.DataLoader(padded, batch_size=None, num_workers=count)
    first = next(iter(batches))["id"].tolist()
    again = loader_of(equal_steps="pad")
    again.load_state_dict(padded.state_dict(batches=1))
    assert [first, *(batch["id"].tolist() for batch in again)] == whole


def test_workers_that_stay_learn_which_epoch_is_next(data):
    loader = data.loader(10, shuffle="global", rank=0, world_size=1)
    batches = data_loading.DataLoader(
        loader, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context="fork"
    )
    assert ids(batches) == expected(data, "global", 0)
    loader.set_epoch(5)
    assert loader.epoch == 5
    assert ids(batches) == expected(data, "global", 5)
    assert ids(batches) == expected(data, "global", 6)
    loader.load_state_dict({**loader.state_dict(batches=0), "epoch": 2, "position": 30})
    loader.set_epoch(2)
    assert ids(batches) == expected(data, "global", 2)[3:]
    assert loader.state_dict(batches=1)["position"] == 40
    assert ids(batches) == expected(data, "global", 3)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("size", [None, 1])
def test_columns_come_as_dicts_of_tensors(data, count, size):
    loader = data.loader(10, shuffle="global", rank=0, world_size=1, format="torch")
    if size is None and not count:
        assert [batch["id"].tolist() for batch in loader] == expected(data, "global", 0)
        loader.set_epoch(0)
    batches = data_loading.DataLoader(loader, batch_size=size, num_workers=count)
    for epoch in range(2):
        seen = list(batches)
        assert [batch["id"].tolist() for batch in seen] == expected(data, "global", epoch)
        assert {type(batch) for batch in seen} == {dict}
        assert {(batch["id"].dtype, batch["values"].dtype) for batch in seen} == {(torch.int64, torch.float32)}
        assert seen[-1]["values"].shape == (3, 4)


@pytest.mark.parametrize("count", [0, 2])
def test_batches_stay_whole_where_none_was_asked_for(data, count):
    """`DataLoader(loader)` collates one item at a time: that item is the batch."""
    batches = data_loading.DataLoader(data.loader(10, rank=0, world_size=1), num_workers=count)
    assert len(batches) == 11
    assert ids(batches) == expected(data, False, 0)


@pytest.mark.parametrize("format", [None, "torch"])
@pytest.mark.parametrize("count", [0, 1])
def test_several_batches_are_not_put_into_one(data, format, count):
    batches = data_loading.DataLoader(
        data.loader(10, rank=0, world_size=1, format=format), batch_size=4, num_workers=count
    )
    with pytest.raises(atdata.errors.UsageError, match=r"DataLoader\(dataset.loader\(batch_size\), batch_size=None"):
        next(iter(batches))


@pytest.mark.parametrize("kind", [data_loading.DataLoader, stateful.StatefulDataLoader])
def test_a_dataloader_that_would_shuffle_a_loader_is_told_the_right_line(data, kind):
    loader = data.loader(10, rank=0, world_size=1)
    for wrong in (
        {"shuffle": True},
        {"sampler": data_loading.SequentialSampler(range(3))},
        {"batch_sampler": data_loading.BatchSampler(range(3), 1, False)},
    ):
        with pytest.raises(atdata.errors.UsageError, match=r'loader\(batch_size, shuffle="global"\)'):
            kind(loader, **wrong)


@atdata.packable
class Sparse:
    id: int
    score: float | None
    name: str


def with_score(item: Any) -> bool:
    return item["score"] is not None


@pytest.mark.parametrize("count", [0, 1])
def test_every_batch_has_the_same_columns_whatever_is_missing_in_it(tmp_path, count):
    """Chosen or filtered, the fields are still those that the type declares."""
    rows = (Sparse(number, None if number < 20 else 1.0, "a") for number in range(40))
    sparse = atdata.write_samples(rows, tmp_path / "a.tar").as_type(Sparse)
    for chosen in (sparse, sparse.columns("id", "score"), sparse.columns("id", "score").filter(with_score)):
        loader = chosen.loader(10, rank=0, world_size=1, format="torch")
        looks = {
            tuple((name, value.dtype) for name, value in batch.items() if name != "name")
            for batch in data_loading.DataLoader(loader, batch_size=None, num_workers=count)
        }
        assert looks == {(("id", torch.int64), ("score", torch.float64), ("score_mask", torch.bool))}


def test_a_format_that_there_is_not_is_refused(data):
    with pytest.raises(atdata.errors.UsageError, match="'torch', 'jax'"):
        data.loader(10, format="numpy")


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
@pytest.mark.parametrize("typed", [True, False])
def test_a_dataloader_reads_a_dataset_as_one_that_has_places(data, method, typed):
    """Every sample once, in another order each epoch: `DataLoader(dataset, batch_size=..., shuffle=True)`."""
    dataset = data if typed else Dataset(list(map(str, data.shards)))
    options = {"num_workers": 2 if method else 0, "multiprocessing_context": method}
    batches = data_loading.DataLoader(dataset, batch_size=10, shuffle=True, **options)
    assert len(batches) == 11
    epochs = [list(batches) for _ in range(2)]
    orders = [[number for batch in epoch for number in batch["id"].tolist()] for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(103))
    assert orders[0] != orders[1]
    for batch in epochs[0]:
        assert (batch["id"].dtype, batch["values"].dtype) == (torch.int64, torch.float32)
        assert batch["values"][:, 0].tolist() == batch["id"].tolist()
    plain = data_loading.DataLoader(dataset, batch_size=10, **options)
    assert [batch["id"].tolist() for batch in plain] == expected(data, False, 0)


@atdata.packable
class Foreign:
    """A sample with arrays in the byte order of another machine."""

    number: int
    values: NDArray[np.float32]
    track: NDArray[np.int16]


def values_of(sample: Any) -> Any:
    return sample["values"] if isinstance(sample, dict) else sample.values


def pair_of(sample: Foreign) -> Any:
    return sample.number, [sample.values]


def named(sample: Foreign) -> Any:
    return {"values": sample.values}


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("size", [None, 2])
def test_whatever_a_view_gives_a_dataloader_gives_tensors_of_it(tmp_path, count, size):
    rows = [Foreign(n, np.arange(3, dtype=">f4"), np.full(n + 1, n, ">i2")) for n in range(4)]
    foreign = atdata.write_samples(rows, tmp_path / "a.tar")
    untyped = Dataset(tmp_path / "a.tar")
    views = {
        "columns": (foreign.columns("number", "values", "track"), lambda batch: batch["values"]),
        "untyped": (untyped, lambda batch: batch["values"]),
        "concat": (atdata.concat(untyped, untyped), lambda batch: batch["values"]),
        "dicts": (foreign.map(named), lambda batch: batch["values"]),
        "arrays": (foreign.map(values_of), lambda batch: batch),
        "pairs": (foreign.map(pair_of), lambda batch: batch[1][0]),
    }
    for name, (view, values) in views.items():
        for batch in data_loading.DataLoader(view, batch_size=size, num_workers=count):
            found = values(batch)
            assert (found.dtype, found.tolist()) == (torch.float32, [0, 1, 2] if size is None else [[0, 1, 2]] * 2), (
                name
            )
    whole = list(data_loading.DataLoader(foreign, batch_size=None))
    assert [sample.number for sample in whole] == [0, 1, 2, 3]


def test_a_filtered_dataset_has_no_places_and_says_what_has(data):
    with pytest.raises(TypeError, match=r"DataLoader\(dataset\.loader"):
        data_loading.DataLoader(data.filter(some), batch_size=10, shuffle=True)


def test_fewer_shards_than_workers_and_empty_ones_end(tmp_path):
    paths = []
    for shard, numbers in enumerate([[], [0, 1, 2], []]):
        path = tmp_path / f"{shard}.tar"
        atdata.shards.write_shard(path, [(str(n), Item(n, np.zeros(1, np.float32)).packed) for n in numbers])
        paths.append(str(path))
    loader = Dataset[Item](paths).loader(1, rank=0, world_size=1)
    assert ids(data_loading.DataLoader(loader, batch_size=None, num_workers=4)) == [[0], [1], [2]]


ORDER = """
import sys
import atdata

loader = atdata.Dataset(sys.argv[1]).loader(1, rank=0, world_size=1)
assert isinstance(loader, object) and not isinstance(loader, str), "asked before"
assert "torch" not in sys.modules
import copy, pickle
from torch.utils.data import DataLoader, Dataset, IterableDataset
for one in (loader, copy.copy(loader), pickle.loads(pickle.dumps(loader))):
    assert isinstance(one, IterableDataset) and isinstance(one, Dataset)
    assert isinstance(one, type(loader)) and type(one) is type(loader)
if __name__ == "__main__":
    for workers in (0, 2):
        print([batch["id"] for batch in DataLoader(loader, batch_size=None, num_workers=workers)])
"""


def test_it_does_not_matter_whether_the_loader_or_torch_was_there_first(tmp_path):
    atdata.write_samples([Item(n, np.zeros(1, "f4")) for n in range(3)], tmp_path / "a.tar")
    command = [sys.executable, "-c", ORDER, str(tmp_path / "a.tar")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[[0], [1], [2]]\n" * 2


def test_distributed_training_splits_an_epoch(data, tmp_path):
    """The example of the documentation: two processes under gloo."""
    script = Path(__file__).parents[2] / "docs" / "examples" / "train.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "['1000 of 1000', '1000 of 1000']" in done.stdout
    state = json.loads((tmp_path / "checkpoint.json").read_text())
    assert (state["epoch"], state["position"]) == (2, 0)
    (tmp_path / "checkpoint.json").write_text(json.dumps({**state, "epoch": 1, "position": 64 * 10}))
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "['0 of 1000', '384 of 1000']" in done.stdout  # 360 were left, and 24 to fill the last step


# --- mixtures


def odd(item: Item) -> bool:
    return item.id % 2 == 1


@pytest.fixture(scope="module")
def mixed(data: Dataset[Item], tmp_path_factory: pytest.TempPathFactory) -> Dataset[Item]:
    rows = [Item(1000 + n, np.full(4, n, np.float32)) for n in range(31)]
    other = atdata.write_samples(rows, tmp_path_factory.mktemp("other") / "o-%d.tar", maxcount=10)
    return atdata.mix([(data, 3), (other.filter(odd), 1), (data.repeat(2), 1)], seed=2, stop="longest")


@pytest.mark.parametrize(("count", "method"), [(0, None), (2, "fork"), (3, "spawn")])
def test_a_dataloader_reads_a_mixture(mixed, count, method):
    loader = mixed.loader(10, shuffle="global", seed=1, equal_steps="pad")
    alone = mixed.loader(10, shuffle="global", seed=1, equal_steps="pad")
    batches = data_loading.DataLoader(loader, batch_size=None, num_workers=count, multiprocessing_context=method)
    assert [ids(batches) for _ in range(2)] == [ids(alone) for _ in range(2)]


def test_a_stateful_dataloader_goes_on_in_a_mixture(mixed):
    def made() -> Any:
        return stateful.StatefulDataLoader(
            mixed.loader(10, shuffle="global", seed=1), batch_size=None, num_workers=2, multiprocessing_context="fork"
        )

    expected = ids(mixed.loader(10, shuffle="global", seed=1))
    first, again = made(), made()
    found = ids(itertools.islice(first, 6))
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert sorted(found + ids(again)) == sorted(expected)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_are_told_of_weights_that_change(mixed, persistent):
    """Those too that stay from pass to pass."""
    loader, alone = (mixed.loader(10, shuffle="global", seed=1, equal_steps="pad") for _ in range(2))
    batches = data_loading.DataLoader(
        loader, batch_size=None, num_workers=2, multiprocessing_context="fork", persistent_workers=persistent
    )
    assert ids(itertools.islice(batches, 4)) == ids(itertools.islice(alone, 4))
    loader.set_weights([1, 0, 5], batches=4)
    alone.set_weights([1, 0, 5])
    for _ in range(2):
        assert ids(batches) == ids(alone)
    loader.set_weights([0, 1, 1], step=1)
    state = loader.state_dict()
    alone.load_state_dict(json.loads(json.dumps(state)))
    assert ids(batches) == ids(alone)
