"""The ports: what atdata asks of places that hold shards, and of places that hold records.

Each is implemented by real adapters and by the fakes in `atdata.testing`, and each has a conformance suite there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from atdata.dataset import Dataset
    from atdata.shards import ShardRef
    from atdata.shards.planned import PlannedShard
    from atdata.shards.writer import Watch


@runtime_checkable
class DataSource(Protocol):
    """Shards that can be read. A source pickles: it holds addresses, never connections."""

    @property
    def shards(self) -> Sequence[ShardRef]:
        """The shards, in the dataset's order."""

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the shard's bytes from `offset` to its end.

        What comes out is not verified; `atdata.shards.open_shard` does that for every source alike.

        Raises:
            ShardNotFoundError: there is no such shard.
            NetworkError: it cannot be reached.
        """


@runtime_checkable
class RangeSource(DataSource, Protocol):
    """A source that gives parts of a shard, each for one request."""

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """The bytes of a shard in `[start, stop)`, so many and not verified.

        `None` where the server gives no such part: it knows no ranges, has other bytes there, or refuses. What is
        wrong, if anything is, shows when the shard is read whole.

        Raises:
            NetworkError: it cannot be reached, or keeps breaking off.
        """


@runtime_checkable
class AbstractDataStore(Protocol):
    """A place that shards can be written to."""

    def write_shards(
        self, dataset: Dataset[Any], *, prefix: str, maxcount: int | None = None, maxsize: float | None = None
    ) -> Sequence[str]:
        """Store a dataset's samples as shards, and give their addresses in order.

        Args:
            dataset: what to store.
            prefix: what people and listings call it; addresses may not depend on it.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.
        """

    def read_url(self, url: str) -> str:
        """The URL from which a plain HTTP client, or a local program, reads a stored shard."""

    def create_source(self, urls: Sequence[str]) -> DataSource:
        """The source that reads shards back from the addresses `write_shards` gave."""


@runtime_checkable
class ShardStore(AbstractDataStore, Protocol):
    """A data store that names shards by their content, so that it knows what it will hold before it holds it."""

    def plan(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: float | None = None,
        watch: Watch | None = None,
    ) -> Sequence[PlannedShard]:
        """The shards that `write_shards` would store, with address, digest and size; nothing is stored yet.

        The arguments are those of `write_shards`; `watch` writes the manifests of shards that are cut anew.
        """

    def upload(self, planned: Sequence[PlannedShard]) -> Sequence[ShardRef]:
        """Store what `plan` gave, and give references to it there. What is there already is not sent again."""

    def put(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: float | None = None,
        watch: Watch | None = None,
    ) -> Sequence[ShardRef]:
        """`write_shards`, with all that is known of each shard in place of its mere address."""


@runtime_checkable
class IndexEntry(Protocol):
    """A dataset as an index lists it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def schema_ref(self) -> str:
        """The address of the schema of its samples."""

    @property
    def data_urls(self) -> Sequence[str]:
        """The addresses of its shards, in order."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What its publisher says about it."""


@runtime_checkable
class AbstractIndex(Protocol):
    """A place where datasets and schemas are listed under names."""

    def publish_schema(self, sample_type: type, *, version: str | None = None, description: str | None = None) -> str:
        """List a sample type, and give the address of its schema."""

    def get_schema(self, ref: str) -> Mapping[str, Any]:
        """The schema at an address."""

    def list_schemas(self) -> Iterable[Mapping[str, Any]]:
        """Every schema listed."""

    def decode_schema(self, ref: str) -> type:
        """The sample type that a schema describes."""

    def insert_dataset(self, dataset: Dataset[Any], *, name: str, schema_ref: str | None = None) -> IndexEntry:
        """List a dataset under a name; its schema too, where none is given."""

    def get_dataset(self, ref: str) -> IndexEntry:
        """The entry at an address, or of a name."""

    def list_datasets(self) -> Iterable[IndexEntry]:
        """Every dataset listed."""
