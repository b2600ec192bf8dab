"""`load_dataset`: one call for every way to say which dataset is meant."""

from __future__ import annotations

import os
from typing import Any, TypeVar, overload

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.datasets import dataset_of
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.dataset import Dataset, DatasetDict
from atdata.errors import NotFoundError, UsageError
from atdata.protocols import DataSource
from atdata.records import Entry, Schema
from atdata.samples import DictSample
from atdata.shards import source_of

T = TypeVar("T")


@overload
def load_dataset(ref: str | os.PathLike[str], sample_type: type[T], *, split: str, **options: Any) -> Dataset[T]: ...
@overload
def load_dataset(
    ref: str | os.PathLike[str], sample_type: None = None, *, split: str, **options: Any
) -> Dataset[Any]: ...
@overload
def load_dataset(
    ref: str | os.PathLike[str], sample_type: type[T], *, split: None = None, **options: Any
) -> DatasetDict[T]: ...
@overload
def load_dataset(
    ref: str | os.PathLike[str], sample_type: None = None, *, split: None = None, **options: Any
) -> DatasetDict[Any]: ...
def load_dataset(
    ref: str | os.PathLike[str],
    sample_type: type[Any] | None = None,
    *,
    split: str | None = None,
    allow_unverified: bool = False,
    source: DataSource | None = None,
    manifests: bool = True,
    client: AtmosphereClient | None = None,
    **settings: Any,
) -> Dataset[Any] | DatasetDict[Any]:
    """Load a dataset by its name, its address or its place.

    What comes from the network has been verified from the identity to the record before this returns, and each
    shard is verified against its digest before its first sample is given.

    Args:
        ref: `@handle/name`, `@handle/name@version`, `at://...` of an entry, or a path, URL or brace notation.
        sample_type: what to read the samples as; by default the type its schema describes.
        split: one split; without it, all of them in a `DatasetDict`.
        allow_unverified: accept shards for which the publisher gave no digest.
        source: a store of the caller's to read the shards from, with its own credentials.
        manifests: whether to use the manifests that an entry lists; without them every shard is read whole.
        client: to read with; by default one that is not logged in.
        settings: `plc_url=`, `resolver_url=`, `allow_loopback=`, `cache=`; see `atdata.settings`.

    Raises:
        NotFoundError (KeyError): there is no such name or record.
        UsageError (ValueError): there is no such split; it names those there are.
        UnverifiedError: a shard has no digest, and `allow_unverified` was not given.
        VerificationError: a link of the chain broke; `step` names it.
        ShardNotFoundError (FileNotFoundError): a path leads to no file.
    """
    text = os.fspath(ref)
    if not text.startswith(("@", "at://")):
        return _choose({"train": Dataset.of(source_of(text), sample_type or DictSample)}, split)
    client = client or AtmosphereClient(**settings)
    entry = find_entry(client, text)
    kind = sample_type or client.read(entry.schema_ref, Schema).sample_type
    splits = {split: entry.splits[split]} if split in entry.splits else entry.splits
    datasets = {
        name: dataset_of(client, entry, kind, shards, allow_unverified, source, manifests)
        for name, shards in splits.items()
    }
    return _choose(datasets, split)


def find_entry(client: AtmosphereClient, ref: str) -> Entry:
    """The verified entry that `@handle/name[@version]` or an AT URI stands for.

    Raises:
        NotFoundError: there is none.
        VerificationError: a link to it broke.
    """
    if ref.startswith("at://"):
        return client.read(AtUri(ref), Entry)
    owner, slash, name = ref.removeprefix("@").partition("/")
    name, _, version = name.partition("@")
    if not slash or not name:
        raise UsageError(
            "a reference that names no dataset", expected="@handle/name or @handle/name@version", actual=ref
        )
    index = AtmosphereIndex(client)
    try:
        uri = index.get_label(name, version or None, owner).dataset_uri
        identity = client.reader.identity(owner)
        if uri.authority == identity.did and identity.handle:
            uri = uri.with_authority(identity.handle)  # the same record; its evidence then covers the handle too
        return client.read(uri, Entry)
    except NotFoundError:
        named = [entry for entry in index.list_datasets(owner) if entry.name == name]
        if version or not named:
            raise
        return named[0]  # published without a label; the newest


def _choose(datasets: dict[str, Dataset[Any]], split: str | None) -> Dataset[Any] | DatasetDict[Any]:
    if split is None:
        return DatasetDict(datasets)
    if split not in datasets:
        raise UsageError(f"there is no split {split!r}", expected=f"one of {', '.join(datasets)}", actual=split)
    return datasets[split]
