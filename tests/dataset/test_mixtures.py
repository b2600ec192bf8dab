"""Mixtures, concatenations and repetitions: exact shares, each source in its own order, and all that a dataset does."""

from __future__ import annotations

import itertools
import json
import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset
from atdata.dataset import combined
from atdata.dataset.ranks import Worker
from atdata.errors import ArgumentTypeError, LensNotFoundError, ResumeError, ShardError, UnsizedError, UsageError
from atdata.shards import write_shard
from support import MANY

ROOT = Path(__file__).parents[2]
MODES: list[Any] = [False, "global", "window"]
STOPS: list[Any] = ["first", "longest", "all", 0, 1, 431]


@atdata.packable
class Item:
    source: str
    id: int
    values: NDArray[np.float32]


@atdata.packable
class Other:
    name: str
    number: int


@atdata.packable
class Stranger:
    x: int


@atdata.lens
def seen(other: Other) -> Item:
    return Item(other.name, other.number, np.full(2, other.number, np.float32))


def item(source: str, number: int) -> Item:
    return Item(source, number, np.full(2, number, np.float32))


def odd(sample: Item) -> bool:
    return sample.id % 2 == 1


def none(_: Item) -> bool:
    return False


SIZES = {"a": 100, "b": 37, "c": 60, "d": 1, "e": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset[Any]]:
    folder = tmp_path_factory.mktemp("sources")
    made: dict[str, Dataset[Any]] = {}
    write_shard(folder / "e.tar", [])
    made["e"] = Dataset[Item](str(folder / "e.tar"))
    for name, size in list(SIZES.items())[:-1]:
        rows = (item(name, number) for number in range(size))
        made[name] = atdata.write_samples(rows, folder / f"{name}-%03d.tar", maxcount=23)
    made["other"] = atdata.write_samples((Other("other", n) for n in range(50)), folder / "other-%03d.tar", maxcount=20)
    return made


def keys(samples: Iterable[Any]) -> list[tuple[str, int]]:
    return [(sample.source, sample.id) for sample in samples]


def of_batches(batches: Iterable[Any]) -> list[tuple[str, int]]:
    found = []
    for batch in batches:
        own = list(zip(batch.source, batch.id, strict=True))
        assert batch.values.shape == (len(own), 2)
        assert batch.values[:, 0].tolist() == [number for _, number in own]
        found += own
    return found


def mixed(data: dict[str, Dataset[Any]], stop: Any = "first", **weights: Any) -> Dataset[Item]:
    return atdata.mix([(data[name], weight) for name, weight in weights.items()], seed=3, stop=stop)


# --- what comes


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("shuffle", MODES)
def test_shares_hold_at_every_prefix_and_each_source_is_in_its_order(data, stop, shuffle):
    mixture = mixed(data, stop, a=0.7, b=0.2, c=0.1)
    shares = {"a": Fraction(7, 10), "b": Fraction(2, 10), "c": Fraction(1, 10)}
    for epoch in (0, 1):
        found = keys(mixture.shuffled(seed=1, epoch=epoch, mode=shuffle) if shuffle else mixture)
        assert len(found) == len(mixture)
        left, counts, owed = dict(shares), Counter[str](), Counter[str]()
        for source, _ in found:
            counts[source] += 1
            for name, share in left.items():
                owed[name] += share / sum(left.values())  # type: ignore[assignment]
            assert all(abs(counts[name] - owed[name]) < 1 for name in shares)
            if stop == "all" and counts[source] == SIZES[source]:
                del left[source]
        own = {name: [number for source, number in found if source == name] for name in shares}
        for name, numbers in own.items():
            laps = [numbers[at : at + SIZES[name]] for at in range(0, len(numbers), SIZES[name])]
            assert all(sorted(lap) == list(range(SIZES[name])) for lap in laps[:-1])
            assert all(len(set(lap)) == len(lap) for lap in laps)
            if shuffle and len(laps) > 2:
                assert laps[0] != laps[1]
        if stop == "first":
            assert max(Fraction(len(numbers), SIZES[name]) for name, numbers in own.items()) == 1
        if stop == "longest":
            assert min(Fraction(len(numbers), SIZES[name]) for name, numbers in own.items()) == 1
        if stop == "all":
            assert {name: len(numbers) for name, numbers in own.items()} == {name: SIZES[name] for name in own}
        if isinstance(stop, int):
            assert len(found) == stop


def test_epochs_and_seeds_differ(data):
    mixture = mixed(data, a=2, b=1)
    orders = [keys(mixture.shuffled(seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    other = atdata.mix([(data["a"], 2), (data["b"], 1)], seed=4)
    orders.append(keys(other.shuffled(seed=0)))
    assert len({tuple(order) for order in orders}) == 5
    assert len({tuple(source for source, _ in order) for order in orders}) == 1
    twice = keys(atdata.mix([(data["a"], 1), (data["a"], 1)], stop="all").shuffled())
    assert twice[::2] != twice[1::2]
    assert sorted(twice[::2]) == sorted(twice[1::2])


@pytest.mark.parametrize("weights", [(1,), (3, 0), (0.1, 0.2, 0.7), (1, 1, 1), (Fraction(1, 3), Decimal("0.5"), 2)])
@pytest.mark.parametrize("stop", STOPS)
def test_weights_of_any_kind_and_none_at_all(data, stop, weights):
    mixture = atdata.mix(list(zip((data[name] for name in "abc"), weights, strict=False)), stop=stop)
    found = keys(mixture)
    assert len(found) == len(mixture)
    assert {source for source, _ in found} == {
        name for name, w in zip("abc", weights, strict=False) if w and len(found) > 2
    } or len(found) < 3


def test_floats_are_the_numbers_that_they_print_as(data):
    assert 0.7 + 0.2 + 0.1 != 1
    as_text = atdata.mix([(data["a"], 7), (data["b"], 2), (data["c"], 1)])
    for kind in (float, Decimal, Fraction, np.float64, np.float32):
        weights = [kind("0.7"), kind("0.2"), kind("0.1")]
        mixture = atdata.mix(list(zip((data[name] for name in "abc"), weights, strict=True)))
        assert mixture.view.weights == as_text.view.weights
        assert mixture.view.fingerprint() == as_text.view.fingerprint()


def test_a_small_share_comes_when_its_turn_is_late(data):
    mixture = atdata.mix({data["a"]: 1, data["d"]: 1e-4}, stop=20_000)
    places = [place for place, (source, _) in enumerate(keys(mixture)) if source == "d"]
    assert places == [10_000]
    assert len(atdata.mix({data["a"]: 1, data["d"]: 1e-4}, stop="longest")) == 10_001


@pytest.mark.parametrize("weight", [-1, -0.5, math.nan, math.inf, -math.inf, "1", None, True, 1j, Decimal("NaN"), [1]])
def test_what_is_no_weight_is_refused(data, weight):
    with pytest.raises(UsageError, match="weights must be numbers, 0 or more"):
        atdata.mix({data["a"]: weight, data["b"]: 1})


def test_what_cannot_be_mixed_is_refused(data):
    with pytest.raises(UsageError, match="must not all be 0"):
        atdata.mix({data["a"]: 0, data["b"]: 0.0})
    with pytest.raises(UsageError, match="mix needs a dataset"):
        atdata.mix({})
    with pytest.raises(UsageError, match="concat needs a dataset"):
        atdata.concat()
    with pytest.raises(UsageError, match="with their weights"):
        atdata.mix([data["a"]])  # type: ignore[list-item]
    with pytest.raises(ArgumentTypeError):
        atdata.mix({"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ArgumentTypeError):
        atdata.concat([1])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="datasets must be"):
        atdata.mix(None)  # type: ignore[call-overload]
    with pytest.raises(ArgumentTypeError, match="weights must be"):
        mixed(data, "all", a=1, b=1).loader(4, rank=0, world_size=1).set_weights(None)  # type: ignore[arg-type]
    for stop in ("last", None, -1, 2.5):
        with pytest.raises(UsageError, match="stop"):
            atdata.mix({data["a"]: 1}, stop=stop)
    with pytest.raises(UsageError, match="seed"):
        atdata.mix({data["a"]: 1}, seed=0.5)  # type: ignore[arg-type]


def test_a_source_without_samples(data):
    assert list(mixed(data, "first", a=1, e=1)) in ([], [data["a"][0]])
    assert keys(mixed(data, "all", a=1, e=1)) == keys(data["a"])
    assert len(mixed(data, "longest", a=1, e=0)) == 100
    for stop in ("longest", 5):
        with pytest.raises(UsageError, match="without samples"):
            len(mixed(data, stop, a=1, e=1))
    assert list(mixed(data, "all", e=1)) == list(atdata.concat(data["e"])) == list(data["e"].repeat(3)) == []


def test_many_sources(data):
    pairs = [(data[name], 1 + number % 7) for number, name in enumerate("abcd" * 30)]
    mixture = atdata.mix(pairs, stop="all", seed=1)
    found = keys(mixture.shuffled())
    assert Counter(found) == Counter({(name, n): 30 for name in "abcd" for n in range(SIZES[name])})
    assert of_batches(mixture.shuffled(64)) == found
    state = mixture.loader(64, rank=0, world_size=1).state_dict()
    assert len(json.dumps(state)) < 4096


# --- types


def test_sources_of_other_types_are_seen_through_lenses(data):
    for mixture in (atdata.mix({data["a"]: 1, data["other"]: 1}), atdata.concat(data["a"], data["other"])):
        assert mixture.sample_type is Item
        assert {type(sample) for sample in mixture} == {Item}
        assert {source for source, _ in of_batches(mixture.ordered(7))} == {"a", "other"}
    with pytest.raises(LensNotFoundError, match="samples of Item cannot be seen as Other"):
        atdata.mix({data["other"]: 1, data["a"]: 1})
    with pytest.raises(LensNotFoundError, match="samples of DictSample cannot be seen as Item"):
        atdata.concat(data["a"], data["b"].columns("id"))
    with pytest.raises(LensNotFoundError):
        mixed(data, a=1, b=1).as_type(Stranger)


def test_views_of_a_mixture_are_mixtures_of_views(data):
    mixture = mixed(data, "all", a=3, other=1)
    whole = keys(mixture.shuffled(seed=2))
    assert of_batches(mixture.filter(odd).shuffled(7, seed=2)) == [key for key in whole if key[1] % 2]
    assert [row["id"] for row in mixture.columns("id").shuffled(seed=2)] == [number for _, number in whole]
    twice = mixture.map(lambda sample: {"n": 2 * sample.id})
    assert [row["n"] for row in twice.shuffled(seed=2)] == [2 * number for _, number in whole]
    assert [n for batch in twice.shuffled(9, seed=2) for n in batch["n"]] == [2 * number for _, number in whole]
    values = mixture.map(lambda sample: sample.id)
    assert [n for batch in values.shuffled(9, seed=2) for n in batch["value"]] == [number for _, number in whole]
    seen_again = atdata.mix({data["other"]: 1}).as_type(Item)
    assert keys(seen_again) == [("other", number) for number in range(50)]


def test_a_filter_on_a_source_leaves_the_others_where_they_are(data):
    plain = mixed(data, "all", a=2, b=1, c=1)
    some = atdata.mix([(data["a"].filter(odd), 2), (data["b"], 1), (data["c"].filter(none), 1)], seed=3, stop="all")
    expected = [key for key in keys(plain.shuffled(seed=1)) if key[0] == "b" or (key[0] == "a" and key[1] % 2)]
    assert keys(some.shuffled(seed=1)) == expected
    for size in (1, 5, 64, 500):
        assert of_batches(some.shuffled(size, seed=1)) == expected
    with pytest.raises(UnsizedError):
        len(some)
    assert repr(some) == "Dataset[Item](mix of 3, filtered)"
    assert some.view.extent == 197


def test_columns_of_sources_that_differ_in_form_are_joined(data, tmp_path):
    """Arrays of one shape here and of another there; missing numbers; rows of a type that makes itself."""

    @atdata.packable
    class Loose:
        values: NDArray[np.float32]
        n: int | None

    one = atdata.write_samples((Loose(np.zeros(3, np.float32), n) for n in range(9)), tmp_path / "one.tar")
    two = atdata.write_samples((Loose(np.ones(4, np.float32), None) for _ in range(9)), tmp_path / "two.tar")
    for batch in atdata.mix({one: 1, two: 1}).ordered(4):
        assert [len(values) for values in batch.values] == [3, 4, 3, 4][: len(batch)]
        assert [n is None for n in batch.n] == [False, True, False, True][: len(batch)]
    rows = atdata.mix({one.map(of_number): 1, two.map(of_number): 1})
    assert list(itertools.islice(rows, 2)) == [{"x": 0}, {"x": None}]
    assert [len(batch) for batch in rows.ordered(4)] == [4, 4, 4, 4, 2]


def of_number(sample: Any) -> Any:
    return {"x": sample.n}


# --- concatenations and repetitions


def test_datasets_one_after_the_other(data):
    whole = atdata.concat(data["a"], data["e"], data["b"], data["a"])
    expected = keys(data["a"]) + keys(data["b"]) + keys(data["a"])
    assert len(whole) == len(expected)
    assert keys(whole) == expected
    for size in (1, 7, 23, 100, 500):
        assert of_batches(whole.ordered(size)) == expected
    shuffled = keys(whole.shuffled(seed=1))
    assert Counter(shuffled) == Counter(expected)
    assert len({source for source, _ in shuffled[:20]}) == 2
    assert of_batches(whole.shuffled(16, seed=1)) == shuffled
    assert repr(whole) == "Dataset[Item](concat of 4, 237 samples)"


def test_a_dataset_that_comes_later_is_not_opened_before(data, tmp_path):
    paths = [str(ref) for ref in data["b"].shards]
    later = Dataset[Item](paths, cache=tmp_path)
    whole = atdata.concat(Dataset[Item]([str(ref) for ref in data["a"].shards], cache=tmp_path), later)
    assert keys(itertools.islice(whole, 50)) == keys(data["a"])[:50]
    next(iter(whole.ordered(8)))
    assert not later.view.table.shards._files.open


def test_a_dataset_several_times(data):
    again = data["b"].repeat(3)
    assert repr(again) == "Dataset[Item](3 times 2 shards, 111 samples)"
    assert keys(again) == keys(data["b"]) * 3
    found = keys(again.shuffled(seed=1))
    laps = [found[at : at + 37] for at in (0, 37, 74)]
    assert len({tuple(lap) for lap in laps}) == 3
    assert all(sorted(lap) == keys(data["b"]) for lap in laps)
    assert len(data["b"].repeat(0)) == 0
    for wrong in (-1, 1.5, None):
        with pytest.raises(UsageError, match="count"):
            data["b"].repeat(wrong)


# --- nested, selected, pickled


@pytest.mark.parametrize("shuffle", MODES)
def test_mixtures_of_mixtures(data, shuffle):
    inner = mixed(data, "longest", b=1, d=1)
    whole = atdata.mix(
        [(inner, 2), (atdata.concat(data["b"], data["c"]).filter(odd), 1), (data["a"].repeat(2).take(150), 1)],
        stop="all",
    )
    order = {"mode": shuffle, "seed": 5} if shuffle else {}
    found = keys(whole.shuffled(**order) if shuffle else whole)
    batches = whole.shuffled(11, **order) if shuffle else whole.ordered(11)
    assert of_batches(batches) == found
    assert keys(pickle.loads(pickle.dumps(whole)).shuffled(**order) if shuffle else whole) == found
    loader = whole.loader(11, shuffle=shuffle, seed=5, rank=0, world_size=1)
    assert of_batches(loader) == found
    assert len(found) == len(inner) + 48 + 150


def test_too_deep_a_mixture_is_refused(data):
    mixture = mixed(data, a=1, b=1)
    with pytest.raises(UsageError, match="too deeply"):
        for _ in range(30):
            mixture = atdata.mix([(mixture, 1), (mixture, 1)])


def test_single_samples_and_selections(data):
    for whole in (mixed(data, "longest", a=3, b=1), atdata.concat(data["a"], data["b"]), data["a"].repeat(2)):
        expected = keys(whole)
        assert keys([whole[0], whole[-1], whole[17]]) == [expected[0], expected[-1], expected[17]]
        assert keys(whole[[5, 90, 5]]) == [expected[5], expected[90], expected[5]]
        assert keys(whole[10:60:7]) == expected[10:60:7]
        assert len(whole[[]]) == len(whole.take(0)) == 0
        assert keys(whole.take(20)) == keys(whole.head(20)) == expected[:20]
        assert keys(whole.skip(20)) == expected[20:]
        some = whole.select([3, 100, 50, 3]).filter(odd)
        assert keys(some) == [key for key in (expected[n] for n in (3, 100, 50, 3)) if key[1] % 2]
        assert sorted(keys(whole.take(64).shuffled(seed=1))) == sorted(expected[:64])
        with pytest.raises(IndexError):
            whole[len(expected)]
    found = atdata.concat(data["d"], data["a"]).get("000000005")
    assert (found.source, found.id) == ("a", 5)
    with pytest.raises(KeyError):
        atdata.concat(data["a"], data["b"]).get("nobody")


def test_all_that_a_dataset_does(data, tmp_path):
    whole = mixed(data, "all", a=3, b=1)
    assert len(whole.shards) == len(data["a"].shards) + len(data["b"].shards)
    assert hash(whole) != hash(mixed(data, "all", a=3, b=1))
    assert bool(whole)
    assert list(whole.to_dict()["id"]) == [number for _, number in keys(whole)]
    assert whole.describe()["id"].count == 137
    assert whole.card().facts["samples"] == "137"
    assert [field.name for field in whole.schema.fields] == ["source", "id", "values"]
    again = atdata.write_samples(whole, tmp_path / "again-%d.tar", maxcount=50)
    assert keys(again) == keys(whole)
    with pytest.raises(UsageError, match="no shards of their own"):
        whole.map_shards(iter, tmp_path / "x-%d.tar")


def shown(sample: Any) -> Any:
    return {"name": str(sample)}


def shown_otherwise(sample: Any) -> Any:
    return {"text": str(sample)}


def by_type(sample: Any) -> Any:
    return {type(sample).__name__: 1}


def typed(sample: Any) -> Item:
    return item("typed", 1)


def test_samples_without_a_type_are_combined_only_where_they_are_alike(data, tmp_path):
    a, b, other = data["a"], data["b"], data["other"]
    rows = [Stranger(n) for n in range(9)]
    strangers = atdata.write_samples(rows, tmp_path / "s.tar")
    refused = [
        (a.columns("id"), a.columns("id", "source")),
        (a.columns("id"), a.columns("source")),
        (a.columns("source"), Dataset(str(b.shards[0])).columns("source")),
        (a.map(shown), a.map(shown_otherwise)),
        (a.map(shown), a.columns("source")),
        (a.map(shown), Dataset(str(b.shards[0]))),
        (atdata.concat(a, b).map(shown), a.map(shown_otherwise)),
    ]
    for pair in refused:
        for combine in (lambda one, two: atdata.mix([(one, 1), (two, 1)]), atdata.concat):
            with pytest.raises(UsageError, match="only be combined") as caught:
                combine(*pair)
            assert "sample_type=" in caught.value.hint
    reads = [
        (Dataset(str(a.shards[0])), Dataset(str(strangers.shards[0]))),
        (a.map(by_type), strangers.map(by_type)),
    ]
    for pair in reads:
        for whole in (atdata.concat(*pair), atdata.mix([(part, 1) for part in pair])):
            for way in (whole, whole.ordered(3), whole.shuffled(3, seed=1)):
                with pytest.raises(UsageError, match="only be combined") as caught:
                    list(way)
    assert {caught.value.expected, caught.value.actual} == {"DictSample(Item)", "DictSample(Stranger)"}
    with pytest.raises(LensNotFoundError) as unseen:
        atdata.concat(a.map(shown), b)
    assert "sample_type=" in unseen.value.hint
    fine = [
        (a.columns("id", "source"), b.columns("id", "source")),
        (a.map(shown), other.map(shown)),
        (a.map(typed), other.map(typed)),
        (Dataset(str(a.shards[0])), Dataset(str(b.shards[0]))),
        (a.columns("source").filter(bool), b.columns("source")),
        (atdata.concat(a, b).columns("id"), a.repeat(2).columns("id")),
    ]
    for pair in fine:
        assert len(list(atdata.concat(*pair))) == sum(len(list(part)) for part in pair)


# --- reading


def test_no_reader_runs_ahead_of_the_others(data, monkeypatch):
    """However seldom a source comes: numbers are asked for a few spans before they are due, and no more."""
    asked, due = [0], [0]

    def numbers(view: Any, ranges: Any) -> Any:
        for some in view.numbers(atdata.dataset.order.Order(0), ranges):
            asked[0] += 1
            yield some

    monkeypatch.setattr(combined._Feed, "_size", lambda *_: 16)
    view = atdata.mix({data["a"]: 1000, data["b"]: 1, data["c"]: 100}, stop=4000).view
    ranges = ((at, at + 8) for at in range(0, 4000, 8))
    for batch in view.read(numbers(view, ranges)):
        due[0] += 1
        assert len(batch) == 8
        assert asked[0] - due[0] <= 2 * (combined.BLOCKS + 2)
    assert due[0] == 500


@settings(deadline=None, max_examples=40)
@given(
    weights=st.lists(st.sampled_from([0, 1, 2, 7, 50, 400]), min_size=4, max_size=4).filter(any),
    size=st.sampled_from([1, 3, 16, 100]),
    block=st.sampled_from([1, 2, 5, 40]),
    kept=st.booleans(),
    stop=st.sampled_from([300, "all", "first"]),
)
def test_what_is_read_at_once_changes_nothing(data, weights, size, block, kept, stop):
    pairs = [
        (data[name].filter(odd) if kept and name == "b" else data[name], w)
        for name, w in zip("abcd", weights, strict=True)
    ]
    whole = atdata.mix(pairs, stop=stop, seed=size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(combined._Feed, "_size", lambda *_: block)
        patch.setattr("atdata.dataset.reading.reader.block_size", lambda *_: block)
        found = of_batches(whole.shuffled(size, seed=4))
    assert found == keys(whole.shuffled(seed=4))


def test_an_error_comes_when_its_batch_is_due(data, tmp_path):
    rows = (item("z", number) for number in range(40))
    broken = atdata.write_samples(rows, tmp_path / "z-%d.tar", maxcount=20)
    path = Path(str(broken.shards[1]))
    path.write_bytes(path.read_bytes()[:-3000])
    broken = Dataset[Item]([str(ref) for ref in broken.shards], cache=tmp_path / "cache")
    whole = atdata.concat(data["b"], broken)
    found: list[Any] = []
    with pytest.raises(ShardError):
        for batch in whole.ordered(5):
            found += zip(batch.source, batch.id, strict=True)
    assert found == (keys(data["b"]) + [("z", number) for number in range(20)])[: len(found)]
    assert len(found) >= 37


# --- ranks, workers, resuming


@pytest.mark.parametrize("shuffle", MODES)
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("stop", ["first", "longest", "all", 431])
def test_ranks_and_workers_share_one_order(data, shuffle, stop, kept):
    parts = [data["a"], data["b"].filter(odd) if kept else data["b"], data["other"]]
    whole = atdata.mix(list(zip(parts, (0.7, 0.2, 0.1), strict=True)), seed=3, stop=stop)
    order = {"shuffle": shuffle, "seed": 1}
    expected = of_batches(whole.loader(7, rank=0, world_size=1, **order))
    for world, workers in ((1, 3), (2, 1), (3, 2)):
        steps: dict[tuple[int, int], list[Any]] = {}
        for rank in range(world):
            loader = whole.loader(7, rank=rank, world_size=world, **order)
            if not kept:
                length = len(loader)
            count = 0
            for number in range(workers):
                for batch in loader._batches(loader._next, Worker(number, workers), loader.rank):
                    steps[batch.step, rank] = list(zip(batch.source, batch.id, strict=True))
                    count += 1
            assert kept or count == length
        assert [key for place in sorted(steps) for key in steps[place]] == expected


@settings(deadline=None, max_examples=20 if MANY else 8)
@given(st.data())
def test_any_stop_goes_on_with_any_other_world_size(data, given_data):
    draw = given_data.draw
    stop, shuffle = draw(st.sampled_from(["first", "longest", "all", 300])), draw(st.sampled_from(MODES))
    whole = atdata.mix([(data["a"], 7), (data["b"].filter(odd), 2), (data["other"], 1)], seed=3, stop=stop)

    def loaders(world: int, size: int) -> list[Any]:
        return [whole.loader(size, shuffle=shuffle, seed=1, rank=rank, world_size=world) for rank in range(world)]

    (alone,) = loaders(1, 5)
    expected = [(epoch, *key) for epoch in range(3) for key in of_batches(alone)]
    found: list[Any] = []
    state: Any = None
    while state is None or state["epoch"] < 3:
        world, size = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 4, 50]))
        epoch, reached = (0, 0) if state is None else (state["epoch"], state["position"])
        steps = min(draw(st.integers(1, 40)), -(-(whole.view.extent - reached) // (size * world)))
        taken: list[Any] = []
        for rank, loader in enumerate(loaders(world, size)):
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
            for batch in loader:
                if batch.step >= steps:
                    break
                taken.append((batch.step, rank, list(zip(batch.source, batch.id, strict=True))))
        (first, *_) = loaders(world, size)
        if state is not None:
            first.load_state_dict(state)
        iter(first)
        state = first.state_dict(step=steps - 1)
        found += [(epoch, *key) for _, _, own in sorted(taken) for key in own]
        assert len(json.dumps(state)) < 4096
        assert (state["epoch"], state["position"]) > (epoch, reached)
    assert found == expected


def test_a_state_of_another_mixture_is_refused(data):
    state = mixed(data, a=2, b=1).loader(4, rank=0, world_size=1).state_dict()
    same = mixed(data, a=4, b=2).loader(4, rank=0, world_size=1)
    same.load_state_dict(state)
    others = [
        mixed(data, a=1, b=1),
        mixed(data, "all", a=2, b=1),
        mixed(data, a=2, c=1),
        mixed(data, b=2, a=1),
        atdata.mix([(data["a"], 2), (data["b"], 1)], seed=4),
        atdata.concat(data["a"], data["b"]),
        mixed(data, a=2, b=1).filter(odd),
        data["a"],
    ]
    for other in others:
        with pytest.raises(ResumeError):
            other.loader(4, rank=0, world_size=1).load_state_dict(state)


def test_equal_steps_of_a_mixture(data):
    whole = mixed(data, "longest", a=3, b=1)
    expected = keys(whole.shuffled(seed=1))
    for rule in ("pad", "drop"):
        loaders = [
            whole.loader(8, shuffle="global", seed=1, rank=rank, world_size=3, equal_steps=rule) for rank in range(3)
        ]
        steps = [list(loader) for loader in loaders]
        assert {len(own) for own in steps} == {len(loaders[0])}
        found = [key for step in zip(*steps, strict=True) for key in of_batches(step)]
        assert found == list(itertools.islice(itertools.cycle(expected), len(found)))


KILLS = 20 if MANY else 2


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_uses_what_one_run_uses():
    """With other world sizes: the benchmark says how."""
    command = [sys.executable, str(ROOT / "benchmarks" / "mixtures.py"), "--kills", str(KILLS), "--rounds", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n{KILLS} kills" in done.stdout


# --- weights that change


def test_weights_change_at_a_step_of_a_run(data):
    whole = atdata.mix([(data["a"], 1), (data["b"], 1)], seed=3, stop="all")

    def loader(world: int = 1, rank: int = 0) -> Any:
        return whole.loader(4, shuffle="global", seed=1, rank=rank, world_size=world)

    one = loader()
    first = of_batches(itertools.islice(one, 5))
    assert Counter(source for source, _ in first) == {"a": 10, "b": 10}
    one.set_weights([9, 1])
    state = json.loads(json.dumps(one.state_dict()))
    changed = {"epoch": 0, "since": 20, "counts": [10, 10], "owed": [0, 0], "of": 1}
    assert state["mixture"] == {"weights": ["9/10", "1/10"], **changed}
    rest = of_batches(one)
    assert Counter(source for source, _ in rest[:60]) == {"a": 54, "b": 6}
    assert sorted(first + rest) == sorted(keys(data["a"]) + keys(data["b"]))
    second = of_batches(one)
    assert Counter(source for source, _ in second[:20]) == {"a": 18, "b": 2}
    assert sorted(second) == sorted(first + rest)

    # In a new process, with other numbers of ranks.
    two = [loader(2, rank) for rank in range(2)]
    for each in two:
        each.load_state_dict(state)
    assert [
        key for step in itertools.zip_longest(*two, fillvalue=None) for key in of_batches(filter(None, step))
    ] == rest
    halfway = two[0].state_dict()
    three = loader()
    three.load_state_dict(halfway)
    assert of_batches(three) == second
    three.set_weights([1, 3])
    assert Counter(source for source, _ in of_batches(three)[:20]) == {"a": 5, "b": 15}


def test_the_same_weights_again_change_nothing(data):
    """Else a dataset with a small share would never have its turn."""
    loader = mixed(data, "longest", a=95, b=5).loader(8, rank=0, world_size=1)
    whole = of_batches(itertools.islice(mixed(data, "longest", a=95, b=5).loader(8, rank=0, world_size=1), 8))
    found: list[Any] = []
    for _ in range(8):
        found += of_batches(itertools.islice(loader, 1))
        loader.set_weights([0.95, 0.05])
    assert found == whole
    assert {source for source, _ in found} == {"a", "b"}


def test_a_pass_whose_weights_were_changed_does_not_go_on(data):
    loader = mixed(data, "all", a=1, b=1).loader(4, rank=0, world_size=1)
    batches = iter(loader)
    next(batches)
    loader.set_weights([1, 2])
    with pytest.raises(UsageError, match="changed during this pass"):
        next(batches)
    assert next(iter(loader)).step == 0
    assert loader.state_dict()["position"] == 8


def test_an_epoch_that_is_begun_anew_has_its_weights_from_the_first_sample(data):
    whole = mixed(data, "all", a=1, b=1)
    loader = whole.loader(4, shuffle="global", seed=1, rank=0, world_size=1)
    list(itertools.islice(loader, 5))
    loader.set_weights([9, 1])
    next(iter(loader))
    loader.set_epoch(0)
    fresh = atdata.mix([(data["a"], 9), (data["b"], 1)], seed=3, stop="all")
    assert of_batches(loader) == keys(fresh.shuffled(seed=1))
    again = whole.loader(4, shuffle="global", seed=1, rank=0, world_size=1)
    again.load_state_dict(loader.state_dict())
    assert of_batches(again) == keys(fresh.shuffled(seed=1, epoch=1))
    again.load_state_dict(whole.loader(4, shuffle="global", seed=1, rank=0, world_size=1).state_dict())
    assert of_batches(again) == keys(whole.shuffled(seed=1))


@pytest.mark.parametrize("stop", ["first", "longest", "all", 300])
def test_shares_hold_over_all_changes(data, stop):
    whole = mixed(data, stop, a=0.7, b=0.2, c=0.1)
    loader = whole.loader(4, shuffle="window", seed=1, rank=0, world_size=1, equal_steps="pad")
    shares = [Fraction(7, 10), Fraction(2, 10), Fraction(1, 10)]
    found: list[Any] = []
    sums = [Fraction(0)] * 3
    for weights in ([1, 1, 1], [0, 5, 5], [Fraction(1, 2), 0, Fraction(1, 2)]):
        for source, number in of_batches(itertools.islice(loader, 6)):
            found.append((source, number))
            sums = [before + share for before, share in zip(sums, shares, strict=True)]
            counts = [sum(source == name for source, _ in found) for name in "abc"]
            assert all(abs(count - due) < 2 for count, due in zip(counts, sums, strict=True))
        loader.set_weights(weights)
        shares = [Fraction(weight) / sum(map(Fraction, weights)) for weight in weights]
    length = loader.view.of_epoch(0).extent
    assert len(loader) == -(-length // 4)
    found += of_batches(loader)
    assert len(found) == len(loader) * 4 or stop != 300
    if stop in ("first", "all"):
        assert len(set(found[:length])) == length
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (1, 0)
    assert len(json.dumps(state)) < 1000


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_weights_that_change_at_each_step_starve_nobody(data, given_data):
    """Not even a dataset whose share of a step is far below one sample, in a run that is saved and resumed on other ranks."""
    draw = given_data.draw
    whole = mixed(data, draw(st.sampled_from(["longest", "all", 400])), a=0.9, b=0.09, c=0.01)
    weights = [Fraction(9, 10), Fraction(9, 100), Fraction(1, 100)]
    counts, sums, state, steps = Counter[str](), [Fraction(0)] * 3, None, 0
    while steps < 25 and (state is None or state["epoch"] == 0) and counts["a"] < SIZES["a"] - 6:  # then "all" ends it
        world, size = draw(st.sampled_from([(1, 1), (1, 4), (2, 3)]))
        loaders = [whole.loader(size, shuffle="global", seed=1, rank=n, world_size=world) for n in range(world)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
        taken = [next(iter(loader)) for loader in loaders]
        for batch in taken:
            for source in batch.source:
                counts[source] += 1
                sums = [due + weight for due, weight in zip(sums, weights, strict=True)]
                assert all(-1 < due - counts[name] < 2 for name, due in zip("abc", sums, strict=True))
        shift = Fraction(draw(st.integers(-9, 9)), 1000)
        weights = [Fraction(9, 10) + shift, Fraction(9, 100) - shift, Fraction(1, 100)]
        for loader in loaders:
            loader.set_weights(weights)
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state, steps = states[0], steps + 1
        assert len(json.dumps(state)) < 4096


def test_states_stay_small_whatever_the_weights(data):
    """Fractions without a common denominator, changed again and again, of as many datasets as one is likely to mix."""
    many = atdata.mix([(data["a"], 1)] * 50, stop=10_000)
    loader = many.loader(7, rank=0, world_size=1)
    numbers = np.random.default_rng(0)
    for _ in range(40):
        next(iter(loader))
        loader.set_weights(numbers.random(50).round(9).tolist())
        assert len(json.dumps(loader.state_dict())) < 4096
    again = many.loader(7, rank=0, world_size=1)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert keys(next(iter(again)).samples) == keys(next(iter(loader)).samples)


@pytest.mark.parametrize("stop", ["first", "longest", "all"])
@pytest.mark.parametrize("changed", [[1, 30], [30, 1], [0, 1]])
def test_the_length_is_that_of_the_epoch_in_which_weights_were_changed(data, stop, changed):
    loader = mixed(data, stop, a=1, b=1).loader(4, rank=0, world_size=1)
    list(itertools.islice(loader, 5))
    loader.set_weights(changed)
    length = len(loader)
    assert 5 + len(list(loader)) == length
    assert len(loader) == len(list(loader))


def test_what_says_nothing_of_weights_is_refused(data):
    loader = mixed(data, "all", a=1, b=1).loader(4, rank=0, world_size=1)
    for weights in ([1], [1, 1, 1], [0, 0], [1, -1]):
        with pytest.raises(UsageError, match="weight"):
            loader.set_weights(weights)
    with pytest.raises(UsageError, match="have no weights any more") as caught:
        mixed(data, a=1, b=1).take(9).loader(4, rank=0, world_size=1).set_weights([1, 1])
    assert caught.value.actual == "9 of a mix of 2"
    for other in (data["a"], atdata.concat(data["a"]), data["a"].repeat(2)):
        with pytest.raises(UsageError, match="only a mixture has weights"):
            other.loader(4, rank=0, world_size=1).set_weights([1, 1])
    list(itertools.islice(loader, 3))
    for wrong in ({"batches": 10**15}, {"batches": 36}, {"step": 35}, {"step": 10**6}):
        with pytest.raises(UsageError, match="the pass has fewer steps") as caught:
            loader.set_weights([1, 3], **wrong)
        with pytest.raises(UsageError, match="the pass has fewer steps"):
            loader.state_dict(**wrong)
        assert caught.value.expected == f"35 steps at most, and {'step=34' if 'step' in wrong else 'batches=35'}"
    assert loader.state_dict(batches=35)["epoch"] == 1
    loader.set_weights([1, 3])
    state = loader.state_dict()
    said = state["mixture"]
    wrongs = [
        *(
            1,
            "x",
            [],
            {},
            {**said, "weights": ["1"]},
            {**said, "weights": ["1/0", "1"]},
            {**said, "weights": ["-1", "2"]},
        ),
        *({**said, "weights": ["9" * 2000, "1"]}, {**said, "counts": [6]}, {**said, "counts": [7, 6]}),
        *(
            {**said, "owed": [1, 0]},
            {**said, "owed": [0]},
            {**said, "of": 0},
            {**said, "of": 1 << 70},
            {**said, "of": "1"},
        ),
        *({**said, "owed": [1 << 60, -(1 << 60)]}, {**said, "owed": [0.5, -0.5]}, {**said, "owed": None}),
        *({**said, "counts": [6.5, 5.5]}, {**said, "since": 1 << 70}, {**said, "epoch": -1}, {**said, "epoch": 1}),
        *({**said, "since": 16, "counts": [8, 8]}, {**said, "weights": [1, 3]}, {**said, "weights": 5}),
    ]
    for wrong in wrongs:
        with pytest.raises(ResumeError, match="not the state of a loader"):
            loader.load_state_dict({**state, "mixture": wrong})
    plain = data["a"].loader(4, rank=0, world_size=1)
    with pytest.raises(ResumeError):
        plain.load_state_dict({**plain.state_dict(), "mixture": said})
