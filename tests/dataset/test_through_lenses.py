"""Training on samples seen through lenses: workers, mixtures, resuming, ranks and splits give the samples that the lens gives, and
a state or a mapped shard is of one lens alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset
from atdata.errors import ConflictError, NoHomeError, ResumeError
from atdata.lens import DataLens, Lens, Program

needs_torch = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
]


@atdata.packable
class Inner:
    x: float
    tag: str | None


@atdata.packable
class Stored:
    id: int
    mz: NDArray[np.float32]
    name: str
    inner: Inner


@atdata.packable
class Seen:
    id: int
    mass: NDArray[np.float32]
    first: str
    last: str
    inner: Inner


@atdata.packable
class Small:
    id: int
    first: str


def seen(sample: Stored) -> Seen:
    first, _, last = sample.name.partition(" ")
    return Seen(sample.id, sample.mz * np.float32(1000), first, last, sample.inner)


def small(sample: Seen) -> Small:
    return Small(sample.id, sample.first)


@atdata.lens
def registered(sample: Stored) -> Seen:
    return seen(sample)


def scaled(factor: int) -> Program:
    return Program.of(
        {"op": "scale", "field": "mz", "factor": factor},
        {"op": "rename", "field": "mz", "to": "mass"},
        {"op": "split", "field": "name", "separator": " ", "to": ["first", "last"]},
    )


PROGRAM = DataLens(scaled(1000), Stored, Seen)
LENSES: dict[str, Lens[Any, Any]] = {
    "function": Lens(seen),
    "registered": registered,
    "program": PROGRAM,
    "composed": PROGRAM | Lens(small),
}
COUNT, SIZE = 60, 8


def stored(number: int) -> Stored:
    return Stored(number, np.full(3, number, "f4"), f"{number} x", Inner(number / 4, None if number % 3 else "t"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Stored]:
    folder = tmp_path_factory.mktemp("stored")
    return atdata.write_samples(map(stored, range(COUNT)), folder / "s-%02d.tar", maxcount=17)


def packed(batches: Any) -> list[list[bytes]]:
    return [[sample.packed for sample in batch] for batch in batches]


def flat(batches: Any) -> list[bytes]:
    return list(itertools.chain.from_iterable(packed(batches)))


def views(data: Dataset[Stored]) -> dict[str, Dataset[Any]]:
    """The dataset through each lens, and a mixture of those of one type."""
    through = {name: data.as_type(lens.view_type, lens=lens) for name, lens in LENSES.items()}
    weights = zip((through[name] for name in ("function", "registered", "program")), (3, 2, 1), strict=True)
    return {**through, "mixture": atdata.mix(list(weights), stop="all")}


ALL = [*LENSES, "mixture"]


@pytest.fixture(params=ALL)
def view(data: Dataset[Stored], request: pytest.FixtureRequest) -> Dataset[Any]:
    return views(data)[request.param]


def test_each_way_of_reading_gives_what_the_lens_gives(data: Dataset[Stored]) -> None:
    for name, lens in LENSES.items():
        view = data.as_type(lens.view_type, lens=lens)
        want = [lens.get(sample).packed for sample in data]
        assert [sample.packed for sample in view] == want, name
        assert flat(view.ordered(batch_size=SIZE)) == want
        assert [view[number].packed for number in range(COUNT)] == want
        assert [sample.packed for sample in view.as_type(lens.view_type)] == want


def test_ranks_and_splits_share_the_samples(view: Dataset[Any]) -> None:
    want = sorted(sample.packed for sample in view)
    ranks = [view.loader(SIZE, shuffle="window", rank=rank, world_size=3) for rank in range(3)]
    assert sorted(itertools.chain.from_iterable(map(flat, ranks))) == want
    parts = view.split({"train": 3, "val": 1}, seed=5)
    assert sorted(sample.packed for part in parts.values() for sample in part) == want


@pytest.mark.parametrize("taken", [0, 3, 7])
def test_a_resumed_pass_goes_on_where_it_was(view: Dataset[Any], taken: int) -> None:
    def loader() -> Any:
        return view.loader(SIZE, shuffle="global", seed=4)

    first, second, whole = loader(), loader(), packed(loader())
    before = packed(itertools.islice(first, taken))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + packed(second) == whole


def test_a_state_is_of_one_program(data: Dataset[Stored]) -> None:
    """The name of a lens in a record stays where its program changes."""
    state = data.as_type(Seen, lens=PROGRAM).loader(SIZE).state_dict()
    other = DataLens(scaled(2000), Stored, Seen, PROGRAM.name)
    same = DataLens(scaled(1000), Stored, Seen, PROGRAM.name)
    data.as_type(Seen, lens=same).loader(SIZE).load_state_dict(state)
    for lens in (other, Lens.identity(Stored) | other, LENSES["function"]):
        with pytest.raises(ResumeError, match="pipeline"):
            data.as_type(Seen, lens=lens).loader(SIZE).load_state_dict(state)


def each(samples: Iterator[Seen]) -> Iterator[Seen]:
    return samples


def test_mapped_shards_are_of_one_program(data: Dataset[Stored], tmp_path: Path) -> None:
    out = tmp_path / "m-%02d.tar"
    data.as_type(Seen, lens=PROGRAM).map_shards(each, out, workers=1)
    other = data.as_type(Seen, lens=DataLens(scaled(2000), Stored, Seen))
    with pytest.raises(ConflictError):
        other.map_shards(each, out, workers=1)
    assert [sample.packed for sample in other.map_shards(each, out, workers=1, overwrite=True)] == [
        sample.packed for sample in other
    ]


def test_only_the_fields_that_are_needed_are_read(data: Dataset[Stored]) -> None:
    view = data.as_type(Seen, lens=PROGRAM)
    assert view.columns("first").view.reader().wanted == ["name"]  # type: ignore[attr-defined]
    assert set(view.columns("mass", "id").view.reader().wanted) == {"mz", "id"}  # type: ignore[attr-defined]
    assert view.columns("first").to_dict()["first"] == [str(number) for number in range(COUNT)]


class TestWorkers:
    pytestmark = needs_torch

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    @pytest.mark.parametrize("name", ALL)
    def test_workers_give_what_the_loader_gives_alone(self, data: Dataset[Stored], name: str, method: str) -> None:
        loading = pytest.importorskip("torch.utils.data", reason="torch is not installed: python3 dev.py frameworks")
        loader = views(data)[name].loader(SIZE, shuffle="global", seed=3)
        alone = packed(views(data)[name].loader(SIZE, shuffle="global", seed=3))
        batches = loading.DataLoader(loader, batch_size=None, num_workers=2, multiprocessing_context=method)
        assert packed(batches) == alone

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_an_error_in_a_worker_names_the_sample(self, data: Dataset[Stored], method: str) -> None:
        loading = pytest.importorskip("torch.utils.data", reason="torch is not installed: python3 dev.py frameworks")
        never = Program.of({"op": "map", "field": "id", "values": [[n, n] for n in range(COUNT) if n != 20]})
        view = data.as_type(Stored, lens=DataLens(never, Stored, Stored))
        for dataset, size in ((view.loader(SIZE), None), (view, SIZE)):
            batches = loading.DataLoader(
                dataset, batch_size=size, num_workers=1, multiprocessing_context=method, collate_fn=list
            )
            with pytest.raises(NoHomeError) as caught:
                list(batches)
            said = str(caught.value)
            assert "000000020 (sample 3 of the shard): id" in said
            assert data.shards[1].url in said
            assert "steps[0]" in said

    def test_a_state_of_workers_resumes(self, data: Dataset[Stored]) -> None:
        stateful = pytest.importorskip(
            "torchdata.stateful_dataloader", reason="torchdata is not installed: python3 dev.py frameworks"
        )

        def batches() -> Any:
            return stateful.StatefulDataLoader(
                views(data)["mixture"].loader(SIZE, shuffle="global"), batch_size=None, num_workers=2
            )

        first, second = batches(), batches()
        before = packed(itertools.islice(iter(first), 5))
        second.load_state_dict(first.state_dict())
        assert before + packed(second) == packed(views(data)["mixture"].loader(SIZE, shuffle="global"))
