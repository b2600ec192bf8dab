"""The common base of records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

import msgspec

from atdata.arguments import checked_text
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record, to_json
from atdata.atproto.lexicon import LexiconCatalog
from atdata.atproto.syntax import AtUri, Nsid
from atdata.errors import LexiconError, LimitError, NotFoundError, UsageError
from atdata.records import nsids, older
from atdata.records.version import Version

if TYPE_CHECKING:
    from atdata.atproto.verify import Evidence

R = TypeVar("R", bound="Record")

MAX_RECORD = 150_000
"""Bytes of JSON that every PDS takes (pds-facts.md, Records)."""


class IndexKeys(NamedTuple):
    """The keys under which an index files a record.

    Attributes:
        name: what people call it.
        version: of the name; `None` for a record without one.
        content: what it says, whatever it is called and whenever it was written.
        target: the record it is nothing without.
        occasion: tells it from others with its content, where the same may be said again.
    """

    name: str
    version: str | None
    content: Cid
    target: AtUri | None = None
    occasion: str = ""

    @property
    def unique_key(self) -> str:
        """The key that an index has only once under a name: a version, or, without one, a content, or an occasion of it."""
        if self.version is not None:
            return self.unique_key_of(self.version)
        return f"content:{self.content}" + (f" {self.occasion}" if self.occasion else "")

    @staticmethod
    def unique_key_of(version: str) -> str:
        """The unique key of a version."""
        return f"version:{version}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Record(Mapping[str, Any]):
    """A record: typed attributes, and a mapping over its wire form (`record["name"]`).

    Attributes:
        name: what people call it.
        created_at: when it was made, as an AT Protocol datetime.
        extra: members that this version knows nothing of, kept as they came.
        uri: where it is, once it is anywhere.
        cid: the CID of the record there.
        evidence: what proves that it is there.
        older_forms: what in it was of an older era when it was read (`atdata.records.older`); empty for today's form.
    """

    NSID: ClassVar[Nsid]
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Members that nothing else depends on: what is wrong with one shows where it is used."""

    name: str
    created_at: str = field(default_factory=lambda: now())
    extra: Mapping[str, Any] = field(default_factory=dict)
    uri: AtUri | None = None
    cid: Cid | None = None
    evidence: Evidence | None = field(default=None, repr=False)
    older_forms: tuple[str, ...] = field(default=(), repr=False)

    @abstractmethod
    def to_record(self) -> dict[str, Any]:
        """The wire form: values of the AT Protocol data model, with `$type`."""

    @property
    @abstractmethod
    def index_keys(self) -> IndexKeys:
        """The keys under which an index files it."""

    @property
    def is_retracted(self) -> bool:
        """True if it stands for nothing any more, and is there so that nothing else takes its place."""
        return False

    @classmethod
    def from_record(cls, value: Mapping[str, Any], collection: str | None = None, *, checked: bool = False) -> Self:
        """Read a wire form of today, or of an older era; `older_forms` then says what was older.

        Args:
            value: the wire form.
            collection: that it is in; the one that it names, unless given.
            checked: whether `check_record` was asked already.

        Raises:
            LexiconError: it is neither; `path` names the place.
        """
        collection = str(collection or value.get("$type", cls.NSID))
        if nsids.today(collection) != cls.NSID:
            raise LexiconError(f"the record is not of kind {cls.NSID.name}", expected=cls.NSID, actual=collection)
        today, forms = older.of_collection(dict(value), collection, cls.NSID)
        today, parts = cls._rewritten(today)
        older_forms = (*forms, *parts)
        wire = {n: item for n, item in today.items() if n not in cls.LATER}
        lexicons().validate_record(wire, cls.NSID, checked=checked and not older_forms)
        read = cls._read(today)
        return replace(read, older_forms=older_forms) if older_forms else read

    @classmethod
    def _rewritten(cls, value: dict[str, Any]) -> older.Rewritten:
        """A wire form with parts of an older era as today's."""
        return value, ()

    @classmethod
    @abstractmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        """Read a wire form that is valid today."""

    def check_complete(self) -> None:
        """Refuse to write what others may leave open, and we do not. Raises what `check_outgoing` does."""
        check_named(self.index_keys.name, self.index_keys.version)

    def at(self, uri: AtUri, cid: Cid, evidence: Evidence | None = None) -> Self:
        """The same record, known to be at a place."""
        return replace(self, uri=uri, cid=cid, evidence=evidence)

    @property
    def located(self) -> AtUri:
        """The address of a record that has one.

        Raises:
            NotFoundError: it was never published.
        """
        if self.uri is None:
            raise NotFoundError("the record has not been published yet", hint="Publish it first.")
        return self.uri

    @cached_property
    def _wire(self) -> dict[str, Any]:
        return self.to_record()

    def __getitem__(self, name: str) -> Any:
        return self._wire[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._wire)

    def __len__(self) -> int:
        return len(self._wire)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._wire == other._wire and (self.uri, self.cid) == (other.uri, other.cid)

    def __hash__(self) -> int:
        return hash((type(self), self.uri, self.cid, self.created_at))


def check_named(name: str, version: str | None) -> None:
    """Refuse what nobody could ask for.

    Raises:
        UsageError: one is no text, or an empty one.
    """
    for what, text in (("name", name), ("version", version)):
        if text is None and what == "version":
            continue
        if not checked_text(text, what).strip():
            raise UsageError(
                f"{what} must not be empty",
                path=what,
                actual=repr(text),
                hint="Give a name." if what == "name" else "Give a version, or leave it out.",
            )


def newest(records: Iterable[R]) -> R | None:
    """The record that a name stands for: the newest by version, then by time, then by record key.

    A time in the future counts as now, so nobody stays newest by dating ahead.
    """
    return next(iter(newest_first(records)), None)


def newest_first(records: Iterable[R]) -> list[R]:
    """The records of a name in the order of `newest`."""
    present = datetime.now(UTC)

    def rank(record: R) -> tuple[Version, datetime, str]:
        return Version.parse(record.index_keys.version), min(moment(record.created_at), present), str(record.uri)

    return sorted(records, key=rank, reverse=True)


@cache
def lexicons() -> LexiconCatalog:
    """The lexicons of `science.alt.dataset`, the only copy in the package."""
    folder = Path(__file__).parent / "lexicons" / "science" / "alt" / "dataset"
    return LexiconCatalog(msgspec.json.decode(file.read_bytes()) for file in folder.iterdir())


def now() -> str:
    """The present moment as an AT Protocol datetime."""
    return datetime_text(datetime.now(UTC))


def datetime_text(when: datetime) -> str:
    """A moment as an AT Protocol datetime."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """The moment that an AT Protocol datetime names; the beginning of time where it names none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def check_outgoing(record: Record, bounded: bool = True) -> dict[str, Any]:
    """The wire form of a record, once it is known that a server may take it: data model, lexicon, size.

    A PDS validates none of this for us (pds-facts.md, Records).

    Args:
        record: about to be written.
        bounded: whether it may be no larger than every PDS takes.

    Raises:
        DataModelError, LexiconError, UsageError: it breaks a rule; `path` names the place.
        DigestError: it lists a shard without a digest where readers look for one.
        LimitError: it is too large for a record.
    """
    value = check_record(record.to_record())
    record.check_complete()
    lexicons().validate_record(value, record.NSID)
    type(record).from_record(value)  # also what open unions leave unsaid: we read all that we write
    size = json_size(value) if bounded else 0
    if size > MAX_RECORD:
        raise LimitError(
            "a record is too large", uri=str(record.NSID), expected=f"at most {MAX_RECORD} bytes", actual=size
        )
    return value


def json_size(value: Any) -> int:
    """The bytes of JSON that a part of a record takes."""
    return len(msgspec.json.encode(to_json(value)))


def without_none(**members: Any) -> dict[str, Any]:
    """Members of a wire form, those that are not there left out."""
    return {name: value for name, value in members.items() if value is not None}


def rest_of(value: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The members of a wire form that are not among the known ones."""
    return {name: item for name, item in value.items() if name not in known and name != "$type"}
