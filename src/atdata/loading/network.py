"""Datasets on the network: found by their name or address, and verified from the identity to the record; and the lenses
through which datasets are seen, be they of the network or of one's own index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from atdata.arguments import did_you_mean
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, check_policy
from atdata.atmosphere.lens_network import FoundLens, LensNetwork
from atdata.atmosphere.opening import datasets_of
from atdata.atproto.syntax import AtUri
from atdata.dataset import Dataset
from atdata.errors import CompatibilityError, LensNotFoundError, NotFoundError, RetractedError
from atdata.index import NamedRecords, entry_of
from atdata.loading.references import LoadRequest, own_index, parts_of
from atdata.loading.splits import canonical
from atdata.records import Entry, LensRecord, Schema

if TYPE_CHECKING:
    from atdata.local import LocalIndex


def load_entry(client: AtmosphereClient, entry: Entry, wanted: LoadRequest) -> dict[str, Dataset[Any]]:
    """The splits of a verified entry; only the requested one, if there is one of that name.

    Raises:
        PolicyError: the trust policy in force refuses.
        UnverifiedError: a shard has no digest, and `allow_unverified` is off.
        CompatibilityError: the requested type does not read what the schema describes, and no lens leads to it.
        AmbiguousLensError: several lead there that are equally good, and show different samples.
    """
    way = choose_way(client, client.read(entry.schema_ref, Schema), wanted)
    same = {name for name in entry.splits if wanted.split and canonical(name) == canonical(wanted.split)}
    alone = {wanted.split} & entry.splits.keys() or same or entry.splits.keys()
    splits = {name: shards for name, shards in entry.splits.items() if name in alone}
    datasets = datasets_of(
        client,
        entry,
        way.stored_type,
        splits,
        allow_unverified=wanted.allow_unverified,
        source=wanted.source,
        manifests=wanted.manifests,
        policy=wanted.policy,
        through=way.through,
        own=way.own,
    )
    return way.seen(datasets)


def load_own(
    client: AtmosphereClient, index: LocalIndex, datasets: dict[str, Dataset[Any]], wanted: LoadRequest
) -> dict[str, Dataset[Any]]:
    """The splits of a dataset of one's own index, seen through lenses. A trust policy judges what of it is of the network.

    Raises:
        PolicyError: the trust policy in force refuses what is on the way.
        CompatibilityError, AmbiguousLensError: as `load_entry`.
    """
    entry = cast(Entry, next(iter(datasets.values())).entry)
    way = choose_way(client, index.get_schema(entry.schema_ref), replace(wanted, index=index))
    if any(record.evidence is not None for record in way.through):
        check_policy(client, entry, wanted.policy, way.through, index)
    return way.seen(datasets)


@dataclass(frozen=True)
class ChosenWay:
    """The way in which samples are read: as a type that reads what is stored, or as that and then through lenses.

    Attributes:
        stored_type: the type that reads what is stored.
        through: the records that the samples are read through: their schema, those of other schemas, and of lenses.
        found: the lenses, if any are needed.
        own: one's own index, where it was looked into.
    """

    stored_type: type[Any]
    through: tuple[Schema | LensRecord, ...]
    found: FoundLens | None = None
    own: LocalIndex | None = None

    def seen(self, datasets: dict[str, Dataset[Any]]) -> dict[str, Dataset[Any]]:
        """Datasets of the stored type as they are wanted."""
        if self.found is None:
            return datasets
        lens = self.found.lens
        return {name: dataset.as_type(lens.view_type, lens=lens) for name, dataset in datasets.items()}


def choose_way(client: AtmosphereClient, schema: Schema, wanted: LoadRequest) -> ChosenWay:
    """The way in which samples of a schema are read as the type that is asked for. Nothing of them is read yet.

    Raises:
        CompatibilityError: the type does not read what the schema describes, and no lens leads to it.
        AmbiguousLensError: several lead there that are equally good, and show different samples.
    """
    try:
        return ChosenWay(schema.type_for(wanted.sample_type), (schema,))
    except CompatibilityError as error:
        misfit = error
    own = own_index(wanted.index, client.settings)
    network = LensNetwork(client, wanted.lenses, wanted.policy, own, wanted.allow_code)
    try:
        found = network.find(schema, cast(type[Any], wanted.sample_type))
        others = (other for other in found.schemas if other.located != schema.located)
        return ChosenWay(schema.sample_type, (schema, *others, *found.records), found, own)
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
