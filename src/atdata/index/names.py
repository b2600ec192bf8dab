"""Names among records: what one stands for, and the version that a new record is given under one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, RecordKey, Tid
from atdata.errors import AtdataError, ConflictError, LexiconError, LimitError, NotFoundError, RetractedError
from atdata.index.deciding import Decision, Write
from atdata.index.ports import Named, RecordState, RecordStore
from atdata.records import (
    Entry,
    Label,
    Listing,
    Malformed,
    Record,
    Version,
    is_semver,
    newest,
)
from atdata.records.record import newest_first

R = TypeVar("R", bound=Record)
E = TypeVar("E", bound=AtdataError)


@dataclass(frozen=True)
class NamedRecords(Generic[R]):
    """`Named`, where all the records are at hand.

    Attributes:
        records: of the name.
        malformed: of the name too, as far as can be told; what one of them may mean is no longer known.
    """

    records: Sequence[R]
    malformed: Sequence[Malformed] = ()

    @classmethod
    def among(cls, listing: Listing[R], name: str) -> Self:
        """The records of a listing that have a name."""
        records = [record for record in listing if record.name == name]
        return cls(records, [record for record in listing.malformed if record.name == name])

    def newest(self) -> R | None:
        """The newest of those that are not retracted.

        Raises:
            LexiconError: one of them is malformed, and might be the newest.
        """
        return next((record for record in self.all() if not record.is_retracted), None)

    def last(self) -> R | None:
        """The newest of all, also where it is retracted. Raises what `newest` does."""
        return next(iter(self.all()), None)

    def all(self) -> list[R]:
        """All of them, the newest first. Raises what `newest` does."""
        self._check(self.malformed)
        return newest_first(self.records)

    def of_version(self, version: str) -> R | None:
        """The newest of a version.

        Raises:
            LexiconError: one of them is malformed, and might be of that version.
        """
        self._check([record for record in self.malformed if record.may_be_of(version)])
        return newest(record for record in self.records if record.index_keys.version == version)

    def of_content(self, content: Cid) -> R | None:
        """The newest with a content."""
        return newest(record for record in self.records if record.index_keys.content == content)

    def _check(self, malformed: Sequence[Malformed]) -> None:
        if not malformed:
            return
        versions = ", ".join(record.index_keys.version for record in self.records if record.index_keys.version)[:200]
        until = f" Until then ask for another version ({versions}), or by address." if versions else ""
        raise LexiconError(
            f"a record of the name {malformed[0].name} is malformed, so what the name stands for cannot be told",
            step="lexicon",
            uri=malformed[0].uri,
            path=malformed[0].reason.path,
            actual=malformed[0].reason.what,
            hint=f"Its publisher can delete it, or write it again.{until}",
        )


def next_patch(newest_version: str | None) -> str:
    """The version after the newest one; 1.0.0 where there is none.

    Raises:
        LimitError: no version comes after it.
    """
    if newest_version is None or not is_semver(newest_version):
        return "1.0.0"
    version = Version.parse(newest_version)
    major, minor, patch = version.numbers
    after = f"{major}.{minor}.{patch + version.final}"
    if not is_semver(after):
        raise LimitError(
            "there is no patch after this version", actual=newest_version, hint="Choose a version yourself."
        )
    return after


def next_minor(newest_version: str | None) -> str:
    """The version of a dataset that has more than the newest one: the minor version after it, of one to come itself.

    Raises:
        LimitError: no version comes after it.
    """
    patch = next_patch(newest_version)
    if newest_version is None or not is_semver(newest_version) or not Version.parse(newest_version).final:
        return patch
    major, minor, _ = Version.parse(newest_version).numbers
    after = f"{major}.{minor + 1}.0"
    return after if is_semver(after) else patch


def next_version(newest_label: Label | None) -> str | None:
    """The version of a dataset that is given none: none while its name has no versions, else the next patch.

    A name stands for its newest version, so without one of its own the dataset could never be reached by it.
    """
    return None if newest_label is None or newest_label.version is None else next_patch(newest_label.version)


def retracted(label: Label, kind: type[E], *, last: bool = False) -> E:
    """The error for a version that is retracted: a `RetractedError` for who asks for it, a `ConflictError` for who would
    give it to something else. The `last` one is that of a name of which no version is left.
    """
    reason = None if label.retraction is None else label.retraction
    return kind(
        f"{label.name}{f'@{label.version}' if label.version else ''} was retracted by its publisher",
        uri=label.uri,
        actual=None if reason is None else f"{reason.reason} ({reason.created_at[:10]})"[:300],
        hint="No version of it is left; insert_dataset lists one."
        if last
        else "Ask for another version."
        if issubclass(kind, NotFoundError)
        else "A retracted version is never given to anything again. Choose another one.",
    )


def entry_of(label: Callable[[], Label], read: Callable[[AtUri], Entry]) -> Entry:
    """The entry that a label leads to, as it is looked up.

    It may be retracted between the two looks, and its entry be gone. Then the label is looked up again: it says so, or
    the name stands for another one.

    Raises:
        RetractedError: it was retracted.
        NotFoundError: there is no such label, or its entry is not there.
    """
    found = label()
    while True:
        try:
            return read(found.dataset_uri)
        except NotFoundError:
            before, found = found, label()
            if found.cid == before.cid:
                raise


def check_listed(records: RecordStore, entry: Entry) -> None:
    """Refuse an entry that is listed no longer.

    Raises:
        RetractedError: all versions of its name that stood for it were retracted.
        NotFoundError: it is not in this index.
    """
    try:
        records.read(entry.located, Entry)
    except NotFoundError as error:
        labels = records.named(str(entry.located.authority), Label, entry.name).all()
        if label := next((label for label in labels if label.dataset_uri == entry.located), None):
            raise retracted(label, RetractedError) from error
        raise


def label_in(
    state: RecordState, entry: Entry, name: str, version: str | None, description: str | None = None
) -> Decision[Label]:
    """The label that gives an entry a name and version: one that stands, or a new one; see `planned_label`.

    Raises:
        ConflictError: the version stands for another dataset, for ever.
    """
    draft = Label(name=name, dataset_uri=entry.located, version=version, description=description)
    label = planned_label(state.named(Label, name), draft)
    if label.uri is not None:
        return Decision(label)
    placed = state.place(label, Tid.now())
    return Decision(placed, [Write.create(placed)])


def once(state: RecordState, record: R, rkey: RecordKey, after: Record | None = None) -> Decision[R]:
    """A record that is there already, or will be under a key; then nothing newer than `after` has the name."""
    if record.uri is not None:
        return Decision(record)
    placed = state.place(record, rkey)
    return Decision(placed, [Write.create(placed)], after)


def planned_label(named: Named[Label], draft: Label) -> Label:
    """The listed label of a dataset under a name; where there is none the draft, under the version it would have.

    Args:
        named: the labels of the draft's name.
        draft: for the dataset at its `dataset_uri`; without a version it gets what `next_version` says.

    Raises:
        ConflictError: the version stands for another dataset.
    """
    if draft.version is None:
        last = named.last()  # first: what is listed after this look takes the next version, and is noticed
        found, version = named.of_content(draft.index_keys.content), next_version(last)
        if found is not None and found.retraction is not None:
            if version is None:
                raise retracted(found, ConflictError)
            found = None
        if found is not None and (version is None or found.version is not None):
            return found
        return replace(draft, version=version)
    taken = named.of_version(draft.version)
    if taken is not None and taken.retraction is not None:
        raise retracted(taken, ConflictError)
    if taken is not None and taken.dataset_uri != draft.dataset_uri:
        raise ConflictError(
            f"{draft.name}@{draft.version} already stands for another dataset",
            uri=taken.uri,
            expected=taken.dataset_uri,
            actual="other shards, or another schema",
            hint="List it under a new version.",
        )
    return taken or draft
