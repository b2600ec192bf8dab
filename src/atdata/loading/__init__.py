"""`load_dataset`: one call for every way to name a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from atdata.arguments import checked_text, checked_type, path_text
from atdata.dataset import Dataset, DatasetDict
from atdata.errors import CompatibilityError, ShardNotFoundError, UsageError
from atdata.loading.fetching import fetch_all
from atdata.loading.files import DataFiles, find_splits
from atdata.loading.references import (
    LoadRequest,
    NameIndex,
    cleaned,
    is_reference,
    load_named,
    may_be_name,
    own_index,
    parts_of,
    suggested_reference,
)
from atdata.loading.splits import find_split
from atdata.policy import Policy
from atdata.records.address import LOCAL, name_and_version
from atdata.samples import DictSample
from atdata.settings import Settings
from atdata.shards.addresses import source_at
from atdata.shards.listing import FileListing
from atdata.shards.ports import DataSource

if TYPE_CHECKING:
    from atdata.atmosphere import AllowedCode, AtmosphereClient

__all__ = ["NameIndex", "load_dataset"]

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
    data_files: DataFiles | None = None,
    streaming: bool = True,
    index: NameIndex | None = None,
    allow_unverified: bool = False,
    source: DataSource | None = None,
    manifests: bool = True,
    policy: Policy | str | os.PathLike[str] | None = None,
    lenses: Sequence[str] = (),
    allow_code: AllowedCode | Iterable[AllowedCode] | None = None,
    client: AtmosphereClient | None = None,
    **settings: Any,
) -> Dataset[Any] | DatasetDict[Any]:
    """Load a dataset by its name, its address or its place.

    What comes from the network has been verified from the identity to the record before this returns, and each
    shard is verified against its digest before its first sample is given.

    Args:
        ref: `@handle/name`, `@local/name`, either with `@version`; `at://...` of an entry; `atdata://...`; or shards:
            a path, a glob, a folder, brace notation, `file://`, `http(s)://`, `s3://`, `gs://`. A `Path` always names
            files.
        sample_type: what to read the samples as; by default the type its schema describes. Shards without a schema
            are read as `DictSample`s.
        split: one split; without it, all of them in a `DatasetDict`. The split of a shard is told by the names of folders
            and files; `val`, `valid` and `dev` stand for `validation`, `eval` for `test`, `training` for `train`.
        data_files: the shards in the folder or below the URL `ref`: patterns, or patterns by the name of a split.
        streaming: fetch shards when they are first read. Without it, all are fetched and verified before this returns.
        index: where `@local/name` is looked up, a `ref` that is no path, and lenses; by default the one that the settings
            name.
        allow_unverified: accept shards for which the publisher gave no digest.
        source: read an entry's shards from here, with the caller's credentials.
        manifests: whether to use the manifests that an entry lists; without them every shard is read whole.
        policy: a trust policy that the entry has to keep before any of its shards is read, or the path of its file; by
            default the file in `ATDATA_POLICY`, if it is set. It is about datasets of the network.
        lenses: where to look for lenses, where the samples are of another type than `sample_type`: DIDs, handles, or
            addresses of lenses, of the network or of the index; besides those that are registered here, those of one's own index, and those in the
            repositories of the publishers of the dataset's schema and of the schemas that are on the way.
        allow_code: the code of lenses that may be fetched and run in a sandbox, by repository, commit and digest; without
            it, lenses that are code are passed over.
        client: to read with; by default one that is not logged in.
        settings: `plc_url=`, `resolver_url=`, `allow_loopback=`, `cache=`, `patience=`, `least_rate=`; see `atdata.settings`.

    Raises:
        NotFoundError (KeyError): there is no such name or record.
        UsageError (ValueError): there is no such split, or arguments contradict each other.
        PolicyError: the trust policy refuses; its `verdict` names every fact.
        UnverifiedError: a shard has no digest, and `allow_unverified` was not given.
        VerificationError: a link of the chain does not hold; `step` names it.
        CompatibilityError (ValueError): `sample_type` does not read what the dataset's schema describes, and no lens leads
            to it.
        ShardNotFoundError (FileNotFoundError): no file is at a path, or matches a pattern.
    """
    if isinstance(ref, str):
        text = cleaned(ref)
    else:  # a path always names files
        text, index = path_text(ref, "ref"), None
        text = f"./{text}" if is_reference(text) else text
    hint = 'Give a list of DIDs, handles, or addresses: ["@lab.example"].'
    listed = lenses if isinstance(lenses, tuple) else checked_type(lenses, list, "lenses", hint)
    places = tuple(checked_text(place, "lenses", hint) for place in listed)
    if places:
        _check_places(places)
    allowed = () if allow_code is None else _permissions(allow_code)
    wanted = LoadRequest(sample_type, split, allow_unverified, source, manifests, policy, places, allowed, index)
    if is_reference(text) and data_files is not None:
        raise UsageError("data_files= needs a folder or a URL, not the name of a dataset", actual=text)
    if is_reference(text) and parts_of(text)[0] != LOCAL:
        from atdata.loading.network import find_entry, load_entry

        client = _client(client, settings)
        datasets, config = load_entry(client, find_entry(client, text), wanted), client.settings
    else:
        if policy is not None:
            hint = "Leave it out: nobody but you lists these."
            raise UsageError("policy= needs a dataset on the network", actual=text, hint=hint)
        config = client.settings if client else Settings.of(**settings)
        datasets = _load_own(text, data_files, wanted, config, partial(_client, client, settings))
    if split is not None:
        name = find_split(datasets, split)
        datasets = {name: datasets[name]}
    if not streaming:
        datasets = {name: fetch_all(dataset, name, config.cache) for name, dataset in datasets.items()}
    return DatasetDict(datasets) if split is None else datasets[name]


def _client(client: AtmosphereClient | None, settings: dict[str, Any]) -> AtmosphereClient:
    from atdata.atmosphere import AtmosphereClient

    return client or AtmosphereClient(**settings)


def _permissions(allowed: Any) -> tuple[AllowedCode, ...]:
    from atdata.atmosphere import AllowedCode

    return AllowedCode.all_of(allowed)


def _check_places(places: tuple[str, ...]) -> None:
    from atdata.index.lenses import lens_place

    for place in places:
        lens_place(place)


def _load_own(
    ref: str,
    data_files: DataFiles | None,
    wanted: LoadRequest,
    settings: Settings,
    client: Callable[[], AtmosphereClient],
) -> dict[str, Dataset[Any]]:
    """Datasets of the caller's own index, or of shards that the caller names."""
    if is_reference(ref):
        _, name, version = parts_of(ref)
        return _load_named(name, version, wanted, settings, client)
    if wanted.source is not None:
        raise UsageError(
            "source= needs an entry on the network", actual=ref, hint="Read a source itself with Dataset[T](source)."
        )
    if wanted.index is not None and data_files is None and may_be_name(ref):
        return _load_named(*name_and_version(ref), wanted, settings, client)
    listing = FileListing()
    try:
        found = find_splits(ref, data_files, listing)
    except ShardNotFoundError as error:
        if data_files is None and (hint := suggested_reference(ref)):
            raise ShardNotFoundError(error.what, uri=error.uri, hint=hint) from None
        raise
    sample_type, cache = wanted.sample_type or DictSample, settings.cache
    sources = {name: source_at(shards, settings, listing.states) for name, shards in found.items()}
    return {name: Dataset(source, sample_type=sample_type, cache=cache) for name, source in sources.items()}


def _load_named(
    name: str,
    version: str | None,
    wanted: LoadRequest,
    settings: Settings,
    client: Callable[[], AtmosphereClient],
) -> dict[str, Dataset[Any]]:
    """A dataset of the caller's own index; through lenses, where the type that is asked for does not read it."""
    try:
        return load_named(name, version, wanted, settings)
    except CompatibilityError:
        if (own := own_index(wanted.index, settings)) is None:
            raise
    from atdata.loading.network import load_own

    return load_own(client(), own, own.load(name, version, allow_unverified=wanted.allow_unverified), wanted)
