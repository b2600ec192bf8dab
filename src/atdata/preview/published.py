"""Previews of what others published: a few samples, verified before they are decoded, and decoded where they do no harm."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from atdata.atmosphere import AtmosphereClient
from atdata.atmosphere.opening import datasets_of
from atdata.dataset import Dataset
from atdata.dataset.stored import first_rows
from atdata.dataset.view import of_shards
from atdata.errors import AtdataError
from atdata.manifest import Header, pinned_header
from atdata.plain import plain
from atdata.preview.decoding import decoded
from atdata.preview.metered import FetchMeter, metered
from atdata.preview.shown import Preview, PreviewLimits
from atdata.preview.statistics import DatasetStatistics, statistics_of
from atdata.records import BlobStorage, Entry, Schema
from atdata.samples import DictSample

SHARDS = 16
"""Shards that are looked at, the first ones."""
_AT_ONCE = 4
_WHY = 400  # characters


@dataclass(frozen=True)
class FetchLimits:
    """The bounds of what is fetched for one preview.

    Attributes:
        bytes: of shards and manifests together.
        seconds: from its beginning.
    """

    bytes: int = 32_000_000
    seconds: float = 30.0


@dataclass(frozen=True)
class PublishedPreview:
    """A preview of a published dataset.

    Attributes:
        preview: its first samples, or why there are none.
        statistics: what its manifests say, if it lists any.
    """

    preview: Preview
    statistics: DatasetStatistics | None = None


def preview_published(
    client: AtmosphereClient,
    entry: Entry,
    schema: Schema | None,
    fetch: FetchLimits | None = None,
    limits: PreviewLimits | None = None,
) -> PublishedPreview:
    """The first samples of a verified entry, and what its manifests say; nothing of it was not verified.

    Single samples are fetched by Range where the entry lists manifests, by which each is verified, and its storage gives
    ranges; else a shard whole, if it is no larger than may be fetched.

    Args:
        client: to read with. How long it waits for a server should be short.
        entry: verified.
        schema: of its samples; `None` where it is not known.
        fetch: what may be fetched.
        limits: what may be looked at, and shown.
    """
    fetch, limits = fetch or FetchLimits(), limits or PreviewLimits()
    meter = FetchMeter(fetch.bytes, fetch.seconds)
    try:
        dataset = _dataset(client, entry, meter)
        samples = first_rows(dataset.view, limits.samples, limits.encoded)
        known, layout = None if schema is None else _content(schema), entry.layout
        shown = decoded(samples, known, layout, limits)
    except AtdataError as error:
        facts = [f"{name} {value}" for name, value in (("expected", error.expected), ("found", error.actual)) if value]
        return PublishedPreview(Preview(why=plain("; ".join([error.what, *facts]), _WHY)))
    return PublishedPreview(Preview(shown), _statistics(dataset, len(entry.shards)))


def reason_against(entry: Entry, fetch: FetchLimits) -> str:
    """The reason why an entry has no preview, as far as its record says it; empty where it may have one."""
    try:
        shards = entry.shards
    except AtdataError as error:
        return plain(error.what, _WHY)
    if not shards:
        return "it has no shards"
    first = shards[0]
    if first.digest is None:
        return "its publisher gave no digest of its first shard, so nothing can prove what is in it"
    if isinstance(entry.storage, BlobStorage) and first.size is not None and first.size > fetch.bytes:
        most = f"no more than {fetch.bytes:,} are fetched for a preview"
        return f"its first shard is a blob of {first.size:,} bytes, which can only be fetched whole, and {most}"
    return ""


def _dataset(client: AtmosphereClient, entry: Entry, meter: FetchMeter) -> Dataset[Any]:
    """The first shards of an entry, by a meter."""
    (opened,) = datasets_of(client, entry, DictSample, {"first": entry.shards[:SHARDS]}).values()
    table = of_shards(opened.view).table
    source = metered(table.shards.source, table.refs, meter)
    return Dataset(source, sample_type=DictSample, layout=opened.layout, cache=client.settings.cache)


def _content(schema: Schema) -> Mapping[str, Any] | None:
    """The JSON Schema of a type, if samples of it can be had here."""
    with suppress(AtdataError):
        _ = schema.sample_type
        return schema.content
    return None


def _statistics(dataset: Dataset[Any], shards: int) -> DatasetStatistics | None:
    table = of_shards(dataset.view).table

    def header(number: int) -> Header | None:
        with suppress(AtdataError):
            return pinned_header(table.refs[number], table.shards.cache)
        return None

    with ThreadPoolExecutor(_AT_ONCE, "atdata-manifest") as pool:
        found = list(pool.map(header, range(len(table.refs))))
    headers = [each for each in found if each is not None]
    return statistics_of(headers, shards) if len(headers) == len(found) else None
