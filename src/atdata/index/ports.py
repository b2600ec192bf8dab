"""The ports of indexes: what people ask of one, and what one asks of a store of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.index.deciding import Decision, Write
from atdata.records import Label, Listing, Record

if TYPE_CHECKING:
    from atdata.dataset import Dataset
    from atdata.dataset.entry import IndexEntry

R = TypeVar("R", bound=Record)
T = TypeVar("T")
S = TypeVar("S", bound=Record, covariant=True)


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


class RecordStore(Protocol):
    """A place that keeps small records by collection and record key, and finds them by name."""

    def read(self, ref: str, kind: type[R]) -> R:
        """The record at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: it is not proven to be what was published.
        """

    def read_all(self, owner: str | None, kind: type[R], limit: int | None = None) -> Listing[R]:
        """The records of a kind, newest first; of the store's own account where no owner is given."""

    def named(self, owner: str | None, kind: type[R], name: str) -> Named[R]:
        """The records of a kind under a name; of the store's own account where no owner is given."""

    def referring(self, record: Record, kind: type[R]) -> list[R]:
        """The records of a kind that refer to one, of those its account has; the newest first."""

    def state(self, kinds: Sequence[type[Record]]) -> RecordState:
        """The store's own records of some kinds, as they are now."""

    def transact(self, kinds: Sequence[type[Record]], decide: Callable[[RecordState], Decision[T]]) -> T:
        """Make true what a decision says, all of it or nothing, on the very state that it was made on.

        Args:
            kinds: of the records that are decided upon.
            decide: from a state, what to write. Called again, on the new state, whenever others were faster; so it must
                depend on the state alone, and find what it wrote itself.

        Raises:
            ContentionError: others were faster each time, for a minute; nothing was written.
        """

    def check(self, writes: Sequence[Write]) -> None:
        """Refuse what may not be written, before anything is sent.

        Raises:
            LexiconError, UsageError, LimitError: it may not.
        """

    def create(self, record: R, rkey: RecordKey, same: Callable[[R], bool]) -> R:
        """Write a record once; where the key is taken, `same` says whether the record there is as good.

        Raises:
            ConflictError: the key is taken by other content.
        """

    def swap(self, record: R, stands: R) -> R:
        """Put a record in the place of one that was read, if that is still there.

        Raises:
            ConflictError: another is there by now, or none.
            UsageError: it is somebody else's.
        """


class Named(Protocol[S]):
    """The records of one kind that have one name. Of several that qualify, each question gives the newest."""

    def newest(self) -> S | None:
        """The record that the name stands for: the newest (see `atdata.records.newest`) that is not retracted."""

    def last(self) -> S | None:
        """The newest, also where it is retracted: the next version comes after it."""

    def all(self) -> Sequence[S]:
        """All of them, the newest first."""

    def of_version(self, version: str) -> S | None:
        """The one of a version."""

    def of_content(self, content: Cid) -> S | None:
        """The one that says this (see `atdata.records.IndexKeys`)."""


class RecordState(Protocol):
    """The records that a decision is about: of the store's own account, as they are when it is written to."""

    def get(self, uri: AtUri, kind: type[R]) -> R | None:
        """The record at an address; `None` where none of the account's own is."""

    def all(self, kind: type[R]) -> Listing[R]:
        """Every record of a kind."""

    def named(self, kind: type[R], name: str) -> Named[R]:
        """The records of a kind under a name."""

    def labels_of(self, uri: AtUri) -> list[Label]:
        """The labels that lead to an entry, the newest first; none that are retracted."""

    def place(self, record: R, rkey: RecordKey) -> R:
        """A new record as it will be under a key.

        Raises:
            ConflictError: the key is taken.
        """
