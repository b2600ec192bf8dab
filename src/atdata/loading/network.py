"""Datasets on the network: found by their name or address, and verified from the identity to the record."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atmosphere.lens_network import FoundLens, LensNetwork
from atdata.atmosphere.opening import datasets_of
from atdata.atproto.syntax import AtUri
from atdata.dataset import Dataset
from atdata.errors import CompatibilityError, LensNotFoundError, NotFoundError, RetractedError
from atdata.index import NamedRecords, entry_of
from atdata.loading.references import LoadRequest, parts_of
from atdata.loading.splits import canonical
from atdata.records import Entry, LensRecord, Schema
from atdata.shards.listing import did_you_mean


def load_entry(client: AtmosphereClient, entry: Entry, wanted: LoadRequest) -> dict[str, Dataset[Any]]:
    """The splits of a verified entry; only the requested one, if there is one of that name.

    Raises:
        PolicyError: the trust policy in force refuses.
        UnverifiedError: a shard has no digest, and `allow_unverified` is off.
        CompatibilityError: the requested type does not read what the schema describes, and no lens leads to it.
        AmbiguousLensError: several lead there that are equally good, and show different samples.
    """
    schema = client.read(entry.schema_ref, Schema)
    found: FoundLens | None = None
    try:
        kind = schema.type_for(wanted.sample_type)
    except CompatibilityError as error:
        kind, found = schema.sample_type, _lens_to(client, schema, wanted, error)
    same = {name for name in entry.splits if wanted.split and canonical(name) == canonical(wanted.split)}
    alone = {wanted.split} & entry.splits.keys() or same or entry.splits.keys()
    splits = {name: shards for name, shards in entry.splits.items() if name in alone}
    datasets = datasets_of(
        client,
        entry,
        kind,
        splits,
        allow_unverified=wanted.allow_unverified,
        source=wanted.source,
        manifests=wanted.manifests,
        policy=wanted.policy,
        through=[schema, *_on_the_way(schema, found)],
    )
    if found is None:
        return datasets
    return {name: dataset.as_type(found.lens.view_type, lens=found.lens) for name, dataset in datasets.items()}


def _on_the_way(schema: Schema, found: FoundLens | None) -> list[Schema | LensRecord]:
    """The records that samples are read through besides their schema."""
    if found is None:
        return []
    return [*(other for other in found.schemas if other.located != schema.located), *found.records]


def _lens_to(client: AtmosphereClient, schema: Schema, wanted: LoadRequest, misfit: CompatibilityError) -> FoundLens:
    """The best lens from a schema to the type that is asked for, which does not read it."""
    network = LensNetwork(client, wanted.lenses, wanted.policy)
    try:
        return network.find(schema, cast(type[Any], wanted.sample_type))
    except LensNotFoundError as none:
        passed = "".join(f" Passed over: {key}: {why}." for key, why in sorted(network.passed.items())[:3])
        misfit.hint = f"{none.what} ({none.actual}).{passed} {none.hint}"
        raise misfit from none


def find_entry(client: AtmosphereClient, ref: str) -> Entry:
    """The verified entry that `@handle/name[@version]`, `atdata://...` or an AT URI stands for; by default the newest.

    Raises:
        NotFoundError: there is none; the hint has a similar name, if there is one.
        UsageError: the address is not of a dataset.
        VerificationError: a link of the chain to it does not hold.
        LexiconError: a record of the name is malformed, and may be the requested one.
    """
    owner, name, version = parts_of(ref)
    if name.startswith("at://"):
        return client.read(AtUri(name), Entry)
    index = AtmosphereIndex(client)

    def read(uri: AtUri) -> Entry:
        identity = client.reader.identity(owner)
        if uri.authority == identity.did and identity.handle:
            uri = uri.with_authority(identity.handle)  # the same record; its evidence then covers the handle too
        return client.read(uri, Entry)

    try:
        return entry_of(partial(index.get_label, name, version, owner), read)
    except RetractedError:
        raise
    except NotFoundError as error:
        entries = index.list_datasets(owner)
        found = None if version else NamedRecords.among(entries, name).newest()
        if found is not None:
            return found  # published without a label
        if hint := did_you_mean(name, [entry.name for entry in entries]):
            raise NotFoundError(error.what, uri=error.uri, expected=error.expected, hint=hint) from error
        raise
