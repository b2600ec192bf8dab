"""Splits: disjoint, complete, and the same for each sample whatever else there is."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata import Dataset, DatasetDict
from atdata.errors import ArgumentTypeError, UsageError
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from support.rawhttp import FileServer


@atdata.packable
class Row:
    id: int


def even(row: Row) -> bool:
    return row.id % 2 == 0


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rows")
    made = []
    for shard, size in enumerate((400, 1, 250, 0, 349)):
        made.append(folder / f"{shard}.tar")
        write_shard(made[-1], [(f"{shard}-{n % 100}-{n}", Row(1000 * shard + n).packed) for n in range(size)])
    return made


def opened(paths: list[Path], *, digests: bool = False) -> Dataset[Row]:
    if not digests:
        return Dataset[Row](list(map(str, paths)))
    refs = [ShardRef(str(path), Digest.of_file(path)) for path in paths]
    return Dataset(FileSource(tuple(refs)), sample_type=Row)


def ids(dataset: Any) -> list[int]:
    return [row.id for row in dataset]


@settings(deadline=None, max_examples=25)
@given(
    shares=st.lists(st.sampled_from([0, 1, 0.1, 2.5, Fraction(1, 3)]), min_size=1, max_size=5).filter(any),
    seed=st.integers(),
    by=st.sampled_from(["sample", "key"]),
)
def test_each_sample_is_on_one_side(paths, shares, seed, by):
    data = opened(paths)
    named = {f"s{number}": share for number, share in enumerate(shares)}
    parts = data.split(named, seed=seed, by=by)
    assert isinstance(parts, DatasetDict)
    assert list(parts) == list(named)
    assert sorted(number for part in parts.values() for number in ids(part)) == ids(data)
    assert [len(part) for part in parts.values()] == [len(ids(part)) for part in parts.values()]
    for share, part in zip(shares, parts.values(), strict=True):
        expected = len(data) * float(share) / float(sum(shares))
        assert abs(len(part) - expected) < 6 * (expected + 1) ** 0.5
        assert ids(part) == sorted(ids(part))


def test_a_shard_is_known_by_its_digest_whoever_tells_it(paths, tmp_path):
    told, found = (opened(paths, digests=digests).split({"a": 1, "b": 1}) for digests in (True, False))
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in map(_copied, paths)]
    assert ids(told["a"]) == ids(found["a"]) == ids(opened(moved).split({"a": 1, "b": 1})["a"])


def _copied(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_suffix(".copy")))


def test_a_remote_shard_without_a_digest_is_split_by_keys(paths, tmp_path):
    with FileServer(files={"/0.tar": paths[0].read_bytes()}) as server:
        data = Dataset[Row](f"{server.url}/0.tar", cache=tmp_path)
        with pytest.raises(UsageError, match="digest of a remote shard"):
            data.split({"a": 1, "b": 1})
        parts = data.split({"a": 1, "b": 1}, by="key")
        assert ids(parts["a"]) == ids(opened(paths[:1]).split({"a": 1, "b": 1}, by="key")["a"])


@pytest.mark.parametrize("by", ["sample", "key"])
@pytest.mark.parametrize("digests", [False, True])
def test_a_sample_keeps_its_side(paths, by, digests):
    whole = opened(paths, digests=digests).split({"train": 0.8, "val": 0.2}, seed=7, by=by)
    assert ids(whole["val"]) == ids(opened(paths, digests=digests).split({"train": 8, "val": 2}, seed=7, by=by)["val"])
    fewer = opened(paths[:3], digests=digests).split({"train": 0.8, "val": 0.2}, seed=7, by=by)
    assert ids(fewer["val"]) == [number for number in ids(whole["val"]) if number < 3000]
    other = opened(paths[::-1], digests=digests).split({"train": 0.8, "val": 0.2}, seed=7, by=by)
    assert sorted(ids(other["val"])) == sorted(ids(whole["val"]))
    seeds = [opened(paths).split({"train": 0.8, "val": 0.2}, seed=seed, by=by) for seed in (1, 2)]
    assert ids(seeds[0]["val"]) != ids(seeds[1]["val"])
    smaller = opened(paths, digests=digests).split({"train": 0.9, "val": 0.1}, seed=7, by=by)
    assert set(ids(smaller["val"])) < set(ids(whole["val"]))  # a larger first part takes from the next


def test_one_key_is_on_one_side_wherever_it_is(tmp_path):
    for shard in range(4):
        rows = [(f"person-{n}", Row(100 * shard + n).packed) for n in range(50)]
        write_shard(tmp_path / f"{shard}.tar", rows)
    parts = Dataset[Row](str(tmp_path / "{0..3}.tar")).split({"a": 1, "b": 1}, by="key")
    people = [{number % 100 for number in ids(part)} for part in parts.values()]
    assert people[0].isdisjoint(people[1])
    assert all(len(part) == 4 * len(who) for part, who in zip(parts.values(), people, strict=True))


def test_a_part_does_what_a_dataset_does(paths):
    data = opened(paths)
    parts = data.split({"train": 0.9, "val": 0.1})
    train = parts["train"]
    expected = ids(train)
    assert [train[0].id, train[-1].id, train[500].id] == [expected[0], expected[-1], expected[500]]
    assert sorted(ids(train.shuffled(seed=1))) == expected
    assert ids(train.filter(even)) == [number for number in expected if number % 2 == 0]
    assert ids(train.take(5)) == expected[:5]
    loader = train.loader(64, shuffle="global", rank=0, world_size=1)
    state = loader.state_dict()
    assert len(loader) == -(-len(train) // 64)
    assert sorted(number for batch in loader for number in batch.id) == expected
    loader.load_state_dict(state)
    again = train.split({"a": 1, "b": 1}, seed=1)
    assert sorted(ids(again["a"]) + ids(again["b"])) == expected
    mixture = atdata.mix({train: 3, parts["val"]: 1}, stop="all")
    assert sorted(ids(mixture)) == ids(data)


def test_several_datasets_together_are_split(paths):
    one, two = opened(paths[:2]), opened(paths[2:])
    whole, apart = atdata.concat(one, two).split({"a": 1, "b": 1}), opened(paths).split({"a": 1, "b": 1})
    assert ids(whole["a"]) == ids(apart["a"])
    twice = atdata.mix([(one, 1), (one, 1)], stop="all").split({"a": 1, "b": 1})
    assert set(ids(twice["a"])).isdisjoint(ids(twice["b"]))


def test_what_cannot_be_split_is_refused(paths):
    data = opened(paths)
    wrongs: list[dict[str, Any]] = [{"shares": {}}, {"shares": {"a": -1, "b": 2}}, {"shares": {"a": "x"}}]
    wrongs += [{"shares": {"": 1}}, {"shares": {"a": 1}, "by": "label"}, {"shares": {"a": 1}, "seed": 1.5}]
    for wrong in wrongs:
        with pytest.raises(UsageError):
            data.split(**wrong)
    with pytest.raises(UsageError, match="filtered"):
        data.filter(even).split({"a": 1})


@pytest.mark.parametrize("by", ["sample", "key"])
def test_a_part_is_split_as_anything_else_is(paths, by):
    """Three parts are made by two splits, as a rule with the seed that nobody gives."""
    part = opened(paths)
    for _ in range(3):
        one, other = part.split({"a": 1, "b": 1}, by=by).values()
        assert sorted(ids(one) + ids(other)) == ids(part)
        assert abs(len(one) - len(other)) < 6 * len(part) ** 0.5
        part = one
    train, val = opened(paths).split({"train": 4, "val": 1}, by=by).values()
    halves = atdata.concat(train, val).split({"a": 1, "b": 1}, by=by)
    assert min(len(half) for half in halves.values()) > 400
    for wrong in (None, [0.5, 0.5]):
        with pytest.raises(ArgumentTypeError, match="shares must be"):
            part.split(wrong, by=by)
