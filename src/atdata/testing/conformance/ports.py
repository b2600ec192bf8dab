"""The suites of what every implementation of a port must do. Subclass a suite, provide its fixture, and it becomes tests of yours."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.dataset.entry import IndexEntry
from atdata.dataset.stores import AbstractDataStore, ShardStore
from atdata.errors import ConflictError, NotFoundError, ShardNotFoundError
from atdata.index import AbstractIndex
from atdata.samples import packable
from atdata.shards.ports import DataSource, RangeSource, ShardRef


@packable
class Row:
    """The samples of these suites."""

    values: NDArray[np.float32]
    number: int


def rows(count: int, seed: int = 0) -> list[Any]:
    """Some samples; the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [Row(rng.random(8).astype(np.float32), number) for number in range(count)]


def raises(kind: type[BaseException] | tuple[type[BaseException], ...], action: Callable[[], Any]) -> BaseException:
    """The error of a kind that an action must raise."""
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


@dataclass
class SourceUnderTest:
    """A source, the bytes its shards must have, and the URL of a shard that is not there."""

    source: DataSource
    contents: Sequence[bytes]
    absent: str


class DataSourceSuite:
    """Tests of a `DataSource`: provide a fixture `made`, a `SourceUnderTest` with at least two shards of `Row`."""

    def test_it_implements_the_port(self, made: SourceUnderTest) -> None:
        assert isinstance(made.source, DataSource)
        assert len(made.source.shards) == len(made.contents) > 1

    def test_streams_give_every_byte(self, made: SourceUnderTest) -> None:
        for shard, content in zip(made.source.shards, made.contents, strict=True):
            with made.source.open(shard) as stream:
                assert stream.read() == content

    def test_streams_begin_where_they_are_told(self, made: SourceUnderTest) -> None:
        shard, content = made.source.shards[0], made.contents[0]
        for offset in (0, 1, 511, 512, len(content) - 1, len(content)):
            with made.source.open(shard, offset) as stream:
                assert stream.read() == content[offset:], offset

    def test_streams_are_read_in_pieces_of_any_size(self, made: SourceUnderTest) -> None:
        with made.source.open(made.source.shards[0]) as stream:
            pieces = []
            while piece := stream.read(777):
                pieces.append(piece)
        assert b"".join(pieces) == made.contents[0]

    def test_a_shard_that_is_not_there(self, made: SourceUnderTest) -> None:
        absent = replace(made.source.shards[0], url=made.absent)
        raises((ShardNotFoundError, NotFoundError), lambda: made.source.open(absent).read())

    def test_it_pickles(self, made: SourceUnderTest) -> None:
        again = pickle.loads(pickle.dumps(made.source))
        assert [shard.url for shard in again.shards] == [shard.url for shard in made.source.shards]
        with again.open(again.shards[1]) as stream:
            assert stream.read() == made.contents[1]

    def test_a_dataset_reads_it(self, made: SourceUnderTest) -> None:
        dataset = Dataset(made.source, sample_type=Row)
        first, second = list(dataset), list(dataset)
        assert first == second
        assert len(first) == len(dataset) > 0


class RangeSourceSuite(DataSourceSuite):
    """Tests of a `RangeSource`: the same, where the place gives ranges."""

    def test_it_implements_the_port_of_ranges(self, made: SourceUnderTest) -> None:
        assert isinstance(made.source, RangeSource)

    def test_a_range_is_just_those_bytes(self, made: SourceUnderTest) -> None:
        assert isinstance(made.source, RangeSource)
        for shard, content in zip(made.source.shards, made.contents, strict=True):
            for start, stop in ((0, 1), (0, 512), (511, 1500), (len(content) - 1, len(content)), (0, len(content))):
                assert made.source.read_range(shard, start, stop) == content[start:stop], (start, stop)

    def test_what_is_not_all_there_is_not_given(self, made: SourceUnderTest) -> None:
        assert isinstance(made.source, RangeSource)
        shard, size = made.source.shards[0], len(made.contents[0])
        assert made.source.read_range(shard, size - 1, size + 1) is None
        assert made.source.read_range(shard, size, size + 10) is None
        assert made.source.read_range(replace(shard, url=made.absent), 0, 10) is None


class DataStoreSuite:
    """Tests of an `AbstractDataStore`: provide a fixture `store`. The suite writes into the working folder."""

    def test_it_implements_the_port(self, store: AbstractDataStore) -> None:
        assert isinstance(store, AbstractDataStore)

    def test_what_is_written_is_read(self, store: AbstractDataStore) -> None:
        dataset = write_samples(rows(30), "written-%06d.tar", maxcount=12)
        urls = store.write_shards(dataset, prefix="suite/v1")
        assert all(isinstance(url, str) for url in urls)
        source = store.create_source(urls)
        assert isinstance(source, DataSource)
        assert list(Dataset(source, sample_type=Row)) == rows(30)

    def test_limits_cut(self, store: AbstractDataStore) -> None:
        dataset = write_samples(rows(30), "whole.tar")
        assert len(store.write_shards(dataset, prefix="suite/count", maxcount=7)) == 5
        by_size = store.create_source(store.write_shards(dataset, prefix="suite/size", maxsize=10e3))
        assert len(by_size.shards) > 1
        for shard in by_size.shards:
            assert shard.size is None or shard.size <= 10e3
        assert list(Dataset(by_size, sample_type=Row)) == rows(30)

    def test_writing_twice_is_harmless(self, store: AbstractDataStore) -> None:
        dataset = write_samples(rows(5), "twice.tar")
        first = store.write_shards(dataset, prefix="suite/twice")
        second = store.write_shards(dataset, prefix="suite/twice")
        assert list(Dataset(store.create_source(first), sample_type=Row)) == list(
            Dataset(store.create_source(second), sample_type=Row)
        )

    def test_a_read_url_is_for_plain_clients(self, store: AbstractDataStore) -> None:
        (url,) = store.write_shards(write_samples(rows(3), "url.tar"), prefix="suite/url")
        read = store.read_url(url)
        assert read.startswith(("http://", "https://")) or Path(read).exists()


class ShardStoreSuite(DataStoreSuite):
    """Tests of a `ShardStore`: likewise."""

    def test_it_knows_what_it_will_hold(self, store: ShardStore) -> None:
        assert isinstance(store, ShardStore)
        dataset = write_samples(rows(30), "planned.tar")
        planned = store.plan(dataset, prefix="suite/planned", maxcount=12)
        assert [shard.samples for shard in planned] == [12, 12, 6]
        assert all(shard.digest is not None and shard.size is not None for shard in planned)
        stored = store.upload(planned)
        assert list(stored) == [ShardRef(s.url, s.digest, s.size, s.samples) for s in planned]
        assert list(store.put(dataset, prefix="suite/planned", maxcount=12)) == list(stored)
        source = store.create_source([shard.url for shard in stored])
        assert list(Dataset(replace(source, shards=tuple(stored)), sample_type=Row)) == rows(30)  # type: ignore[type-var]


class IndexSuite:
    """Tests of an `AbstractIndex`: provide a fixture `index`, empty, that takes datasets of local files."""

    def test_it_implements_the_port(self, index: AbstractIndex) -> None:
        assert isinstance(index, AbstractIndex)

    def test_schemas(self, index: Any) -> None:
        ref = index.publish_schema(Row, version="1.0.0", description="a row")
        assert index.publish_schema(Row, version="1.0.0") == ref
        schema = index.get_schema(ref)
        assert (schema["name"], schema["version"], schema["description"]) == ("Row", "1.0.0", "a row")
        assert [listed["name"] for listed in index.list_schemas()] == ["Row"]
        decoded = index.decode_schema(ref)
        assert decoded is index.decode_schema(ref)
        sample = rows(1)[0]
        assert decoded.from_bytes(sample.packed).packed == sample.packed

    def test_a_published_version_is_immutable(self, index: Any) -> None:
        index.publish_schema(Row, version="1.0.0")

        @packable
        class Other:
            number: int

        raises(ConflictError, lambda: index.publish_schema(Other, name="Row", version="1.0.0"))
        assert index.decode_schema(index.publish_schema(Other, name="Row")).__name__ == "Row"
        assert sorted(schema["version"] for schema in index.list_schemas()) == ["1.0.0", "2.0.0"]

    def test_datasets(self, index: Any) -> None:
        dataset = write_samples(rows(20), "rows-%06d.tar", maxcount=8)
        entry = index.insert_dataset(
            dataset, name="rows", description="some rows", tags=["a"], license="MIT", metadata={"x": 0.5}
        )
        assert isinstance(entry, IndexEntry)
        assert (entry.name, dict(entry.metadata), len(entry.data_urls)) == ("rows", {"x": 0.5}, 3)
        (listed,) = index.list_datasets()
        assert listed.name == "rows"
        assert list(listed.data_urls) == list(entry.data_urls)
        assert index.decode_schema(entry.schema_ref).__name__ == "Row", "its schema was published with it"

    def test_inserting_twice_is_once(self, index: Any) -> None:
        dataset = write_samples(rows(20), "rows.tar")
        first = index.insert_dataset(dataset, name="rows", version="1.0.0")
        second = index.insert_dataset(dataset, name="rows", version="1.0.0")
        assert list(first.data_urls) == list(second.data_urls)
        assert len(list(index.list_datasets())) == len(list(index.list_schemas())) == 1

    def test_a_version_of_a_name_is_immutable(self, index: Any) -> None:
        index.insert_dataset(write_samples(rows(5), "one.tar"), name="rows", version="1.0.0")
        other = write_samples(rows(5, seed=1), "other.tar")
        raises(ConflictError, lambda: index.insert_dataset(other, name="rows", version="1.0.0"))
        index.insert_dataset(other, name="rows", version="1.1.0")
        assert len(list(index.list_datasets())) == 2
