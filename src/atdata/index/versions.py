"""Names and versions of datasets in a store of records: what they stand for, and how they come and go."""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atdata.arguments import checked_text, checked_type
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.stores import AbstractDataStore
from atdata.errors import LimitError, NotFoundError, NotTakenWarning, RetractedError, UsageError, XrpcError, warn
from atdata.index.appending import (
    Addition,
    Sending,
    StoredShards,
    appended,
    as_dataset,
    as_stored,
    check_adds,
    paths_of,
    warn_of_not_appended,
)
from atdata.index.deciding import Decision
from atdata.index.history import DatasetDiff, HistoryItem, difference, history_of
from atdata.index.names import check_listed, entry_of, label_in, retracted
from atdata.index.ports import RecordState, RecordStore
from atdata.index.publication import Publication
from atdata.index.retracting import Withdrawal, removal, retraction
from atdata.records import Entry, Label, Listing, Retraction, Schema
from atdata.records.facts import Facts, warn_of_not_taken
from atdata.records.record import check_named

if TYPE_CHECKING:
    import typing_extensions

    T = typing_extensions.TypeVar("T", default=Any)  # the type that a schema describes, where none is said
else:
    T = TypeVar("T")
Store = TypeVar("Store", bound=RecordStore)

_KINDS = (Schema, Entry, Label)
_NAMED = 50  # names to tell somebody who asked for one that is not there


class VersionedIndex(Generic[Store]):
    """Datasets under names and versions, in one store of records.

    Args:
        records: where the records are.
        data_store: where shards go; without one, only datasets whose shards have public addresses can be inserted.
    """

    def __init__(self, records: Store, data_store: AbstractDataStore | None = None) -> None:
        self.records = records
        self.data_store = data_store

    @abstractmethod
    def list_labels(self, repo: str | None = None, limit: int | None = None, *, prefix: str = "") -> Listing[Label]:
        """See `RecordIndex`."""

    def get_label(self, name: str, version: str | None = None, repo: str | None = None) -> Label:
        """The label of a name: of one version, or the newest (see `atdata.records.newest`) that is not retracted.

        Raises:
            RetractedError: the version was retracted, or all of them.
            NotFoundError: there is none; it names those there are.
            UsageError: the version is no text, or an empty one.
            LexiconError: a label of the name is malformed, and may be the one that is asked for.
        """
        if version is not None:
            check_named("?", version)
        named = self.records.named(repo, Label, name)
        found = named.newest() if version is None else named.of_version(version)
        if found is None and version is None:
            found = named.last()
        if found is not None and found.is_retracted:
            raise retracted(found, RetractedError, last=version is None)
        if found is None:
            listed = self.list_labels(repo, _NAMED)
            passed = f" {len(listed.malformed)} cannot be read: list_labels().malformed." if listed.malformed else ""
            versions = [label.version or "the one without a version" for label in listed if label.name == name]
            known = ", ".join(dict.fromkeys(versions or [label.name for label in listed]))
            raise NotFoundError(
                f"there is no dataset {name}" + (f"@{version}" if version else ""),
                uri=repo,
                expected=f"one of: {known}"[:300] if known else None,
                hint=("Check its spelling." if known else "No dataset has been published under a name.") + passed,
            )
        return found

    def labels_of(self, entry: Entry) -> list[Label]:
        """The labels of an entry, newest first; none that are retracted.

        Raises:
            ArgumentTypeError: it is no entry.
        """
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        return self.records.referring(entry, Label)

    def get_entry_by_name(self, name: str, version: str | None = None) -> Entry:
        """The entry that a name of one's own stands for: of one version, or the newest.

        Raises:
            RetractedError: the version was retracted, or all of them.
            NotFoundError: there is none; it names those there are.
        """
        return entry_of(partial(self.get_label, name, version), partial(self.records.read, kind=Entry))

    def add_label(
        self, entry: Entry, *, name: str, version: str | None = None, description: str | None = None
    ) -> Label:
        """Give an entry another name, or its name another version; one that it has already is no second one.

        Without a version a name that has versions gets the next patch, since it stands for its newest.

        Args:
            entry: one that is listed.
            name: of the dataset.
            version: of the name.
            description: what is particular about this version.

        Raises:
            ConflictError: the version stands for another dataset, or was retracted.
            RetractedError: all versions that stood for the entry were retracted.
            NotFoundError: the entry is not in this index.
            ContentionError, NetworkError: it could not be written.
        """
        check_named(name, version)
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        check_listed(self.records, entry)
        label = self.records.transact([Label], lambda state: label_in(state, entry, name, version, description))
        warn_of_not_taken(label, Facts.of(description).said, "A label stays as it is; give the name another version.")
        return label

    @abstractmethod
    def load(
        self,
        name: str,
        version: str | None = None,
        *,
        sample_type: type[T] | None = None,
        allow_unverified: bool = False,
    ) -> DatasetDict[T]:
        """The datasets of a name, by split; each shard is checked against its digest before its first sample.

        Args:
            name: of the dataset, or the address of an entry.
            version: which; the newest by default.
            sample_type: what to read the samples as; by default the type its schema describes.
            allow_unverified: accept shards that were listed without a digest.

        Raises:
            NotFoundError: there is no such name.
            UnverifiedError: a shard was listed without a digest, and that was not allowed.
            CompatibilityError: `sample_type` does not read what the dataset's schema describes.
        """

    @abstractmethod
    def dataset(self, entry: Entry) -> Dataset[Any]:
        """All shards of an entry, whatever split they are of, and whether or not they can be checked."""

    def history(self, name: str, repo: str | None = None) -> list[HistoryItem]:
        """The versions of a name, the newest first: when, by whom, why, and what changed; also those that are retracted.

        Raises:
            NotFoundError: there is no such name.
            LexiconError: a label of the name is malformed.
        """
        named = self.records.named(repo, Label, name)
        if named.last() is None:
            self.get_label(name, repo=repo)
        return history_of(
            named.all(), lambda uri: self.records.read(uri, Entry), lambda uri: self.records.read(uri, Schema)
        )

    def diff(self, one: str, other: str) -> DatasetDiff:
        """The difference between two datasets, as `get_dataset` takes them: samples by key and digest, fields and facts.

        Shards that both have are not looked at; of others the manifests, and only of shards without one the samples.

        Raises:
            NotFoundError: there is no such dataset.
            MissingExtraError: pyarrow is not installed.
            ShardNotFoundError, NetworkError, DigestError, ShardError: a manifest, or a shard without one, cannot be had.
        """
        entries = [self.get_dataset(ref) for ref in (one, other)]
        datasets = [self.dataset(entry) for entry in entries]
        return difference(datasets[0], datasets[1], entries, [self._schema(entry) for entry in entries])

    @abstractmethod
    def get_dataset(self, ref: str) -> Entry:
        """See `RecordIndex`."""

    def append(
        self,
        name: str,
        new: Dataset[Any] | str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Iterable[Any],
        *,
        split: str | None = None,
        version: str | None = None,
        notes: str | None = None,
        maxcount: int | None = None,
        maxsize: float | None = None,
        manifests: bool | None = None,
    ) -> Entry:
        """List a new version of a dataset of one's own: all shards of its newest version, and after them new ones.

        Only the new ones are read and stored. Entry and label appear together, and the entry names its predecessor.
        Shards that the dataset has already are not added again: the same call once more changes nothing, and one that
        was interrupted is taken up. Who appends at the same moment comes after: nobody's shards are lost. What is said
        of the dataset, its splits and its manifests are carried over.

        Samples may have fewer optional fields than those before, or more: then the schema with these is published first.

        Args:
            name: of the dataset.
            new: a dataset, paths or addresses of shards, or samples, which a data store must keep.
            split: that the new shards are of; by default `train`, or the only one there is.
            version: by default the next minor version; 1.0.0 of a name without versions.
            notes: what is particular about this version.
            maxcount: most samples in a stored shard.
            maxsize: most bytes in a stored shard.
            manifests: as of `insert_dataset`; the entry lists them where all its shards have one.

        Raises:
            NotFoundError: there is no such dataset.
            SchemaError, SampleError: the samples do not go with those of the dataset.
            ConflictError: the version is taken, or was retracted.
            UsageError: an argument cannot be meant, or the shards are in places of another kind than those before.
            ShardError, DigestError, LimitError, NetworkError, ContentionError: as of `insert_dataset`.
        """
        check_named(name, version)
        for what, text in (("split", split), ("notes", notes)):
            if text is not None:
                checked_text(text, what)
        base = self.get_entry_by_name(name)
        with tempfile.TemporaryDirectory(prefix="atdata-append-") as scratch:
            dataset = as_dataset(new, Path(scratch))
            if self.data_store is None and dataset is not new and not paths_of(new):
                raise UsageError(
                    "samples need a data store that keeps them",
                    path="new",
                    hint="Give the index one, data_store=..., or write them with write_samples(...) and append that.",
                )
            publication = Publication(
                name=name, version=version, maxcount=maxcount, maxsize=maxsize, manifests=manifests
            )
            while (entry := self._append(dataset, base, publication, split, notes)) is None:
                base = self.get_entry_by_name(name)
        return entry

    def _append(
        self, dataset: Dataset[Any], base: Entry, publication: Publication, split: str | None, notes: str | None
    ) -> Entry | None:
        """List a new version after one that was read; `None` where its schema has changed meanwhile."""
        schema = accepted = self._schema(base)
        dataset = as_stored(dataset, schema, base.layout)
        if check_adds(dataset, schema):
            accepted = self._put_schema(Schema.of(dataset.sample_type, version="0.0.0", name=schema.name))
        with self._sending(dataset, publication, accepted) as sending:

            def decide(state: RecordState, stored: StoredShards) -> Decision[Entry | None]:
                addition = Addition(
                    name=publication.name,
                    stored=stored,
                    schema=accepted,
                    base_schema=base.schema_ref,
                    identities=lambda entry: entry.identity(self._schema(entry).identity),
                    split=split,
                    version=publication.version,
                    notes=notes,
                )
                return appended(state, addition)

            planned = sending.planned
            decision = decide(self.records.state(_KINDS), planned)
            try:
                self.records.check(decision.writes)
            except LimitError:
                if publication.manifests or not planned.manifests:
                    raise
                sending = sending.without_manifests()
                self.records.check(decide(self.records.state(_KINDS), sending.planned).writes)
            if not decision.writes:
                if decision.result is not None:
                    warn_of_not_appended(decision.result, self.labels_of(decision.result), planned, split, notes)
                return decision.result
            for again in (False, True):
                stored = sending.send(again)
                try:
                    return self.records.transact(_KINDS, lambda state: decide(state, stored))  # noqa: B023  done at once
                except XrpcError as error:
                    if error.error != "BlobNotFound" or again:
                        raise
        raise AssertionError

    def _schema(self, entry: Entry) -> Schema:
        return self.records.read(entry.schema_ref, Schema)

    @abstractmethod
    def _put_schema(self, draft: Schema) -> Schema:
        """List a schema under the next version, or find that it is listed."""

    @abstractmethod
    def _sending(
        self, dataset: Dataset[Any], publication: Publication, schema: Schema
    ) -> AbstractContextManager[Sending]:
        """The shards of a dataset that are about to be stored, for an entry of a schema."""

    def remove(self, name: str, version: str | None = None) -> list[Entry]:
        """Take a name of one's own, or one version of it, out of the index, with the entries that no other label names.

        Nothing says then that it was there; `retract` leaves a trace. Shards stay where they are, but for blobs, which
        their server deletes with the last entry that names them. A schema stays: others may be using it.

        Returns:
            The entries that are gone.

        Raises:
            NotFoundError: there is no such name.
            RetractedError: it was retracted: what says so stays.
            ContentionError, NetworkError: nothing is removed.
        """
        self.get_label(name, version)
        return self.records.transact([Entry, Label], partial(removal, name=name, version=version))

    def retract(self, name: str, version: str | None = None, *, reason: str, dry_run: bool = False) -> Withdrawal:
        """Withdraw what a version of a name of one's own stands for, or all of its versions.

        The version says from now on that it was retracted, and why; nothing else is ever listed under it, and the name
        stands for the newest version that is left. Entries that no other label names are deleted, and with them the
        blobs that no other entry names. Shards elsewhere, and the schema, stay. Copies that others made stay theirs.
        What is retracted already stays as it is; where that was for another reason, a `NotTakenWarning` says so.

        Args:
            name: of the dataset.
            version: which; all of them by default.
            reason: for everybody to read.
            dry_run: whether to find out only what it would do.

        Raises:
            NotFoundError: there is no such name.
            UsageError: there is no reason.
            ContentionError, NetworkError: nothing is retracted.
        """
        given: Any = reason
        if not isinstance(given, str) or not given.strip():
            raise UsageError("a retraction needs a reason", path="reason", hint="Say why, for those who used it.")
        with suppress(RetractedError):  # then what stands is given
            self.get_label(name, version)
        decide = partial(retraction, name=name, version=version, said=Retraction(reason))
        if dry_run:
            return decide(self.records.state([Entry, Label])).result
        done = self.records.transact([Entry, Label], decide)
        if other := next(
            (label for label in done.labels if label.retraction and label.retraction.reason != reason), None
        ):
            warn(NotTakenWarning(name, ("reason",), "A retraction stays as it is.", other.uri))
        return done
