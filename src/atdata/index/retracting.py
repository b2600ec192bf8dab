"""Taking datasets out of an index: quietly, or so that it is known for ever (decision 31)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from atdata.index.deciding import Decision, Write, located
from atdata.index.ports import RecordState
from atdata.records import Blob, BlobStorage, Entry, Label, Retraction


@dataclass(frozen=True)
class Withdrawal:
    """The extent of a retraction, as it was done, or as it would be.

    Attributes:
        labels: the versions, as they say that they are retracted.
        entries: those that are deleted: no other version stands for them.
        kept: those that stay, since another name or version stands for them.
        blobs: what only the deleted entries named: the server that keeps them deletes them too.
    """

    labels: tuple[Label, ...]
    entries: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    blobs: tuple[Blob, ...] = ()


def removal(state: RecordState, name: str, version: str | None) -> Decision[list[Entry]]:
    """The writes that take a name, or a version of it, out of an index; the entries that go with it.

    What is retracted stays: its version is not to be given to anything else.
    """
    labels = _meant(state, name, version)
    gone, _ = _unlabelled(state, labels)
    return Decision(gone, [Write.delete(record.located, record) for record in (*labels, *gone)])


def retraction(state: RecordState, name: str, version: str | None, said: Retraction) -> Decision[Withdrawal]:
    """The writes that retract a name, or a version of it."""
    labels = _meant(state, name, version)
    gone, kept = _unlabelled(state, labels)
    if not labels:
        listed = [label for label in state.named(Label, name).all() if version in (None, label.version)]
        return Decision(Withdrawal(tuple(listed), (), ()))
    retracted = [located(replace(label, retraction=said, uri=None, cid=None), label.located) for label in labels]
    blobs = {blob.cid: blob for entry in gone for blob in _blobs_of(entry)}
    if blobs:
        addresses = {entry.uri for entry in gone}
        others = (entry for entry in state.all(Entry) if entry.uri not in addresses)
        for cid in {blob.cid for entry in others for blob in _blobs_of(entry)}:
            blobs.pop(cid, None)
    return Decision(
        Withdrawal(tuple(retracted), tuple(gone), tuple(kept), tuple(blobs.values())),
        [
            *(Write.update(*pair) for pair in zip(retracted, labels, strict=True)),
            *(Write.delete(entry.located, entry) for entry in gone),
        ],
    )


def _meant(state: RecordState, name: str, version: str | None) -> list[Label]:
    named = state.named(Label, name)
    return [label for label in named.all() if version in (None, label.version) and not label.is_retracted]


def _unlabelled(state: RecordState, labels: Sequence[Label]) -> tuple[list[Entry], list[Entry]]:
    """The entries to which some labels alone lead, and the others to which they lead."""
    ours = {label.uri for label in labels}
    found: tuple[list[Entry], list[Entry]] = [], []
    for uri in dict.fromkeys(label.dataset_uri for label in labels):
        entry = state.get(uri, Entry)
        if entry is not None:
            found[not {label.uri for label in state.labels_of(uri)} <= ours].append(entry)
    return found


def _blobs_of(entry: Entry) -> Iterator[Blob]:
    if isinstance(entry.storage, BlobStorage):
        yield from entry.storage.listed
    for manifest in entry.manifests:
        yield manifest.header
        if manifest.samples is not None:
            yield manifest.samples
