"""One dataset in a browser on this machine: the page that an AppView has of it, and all of its samples, page by page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar, TypeAlias
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from atdata.appview.web import DatasetPage, Page, schema_table
from atdata.appview.web.datasets import storage_of
from atdata.appview.web.parts import FieldRow, Publisher, SchemaTable, ShardPlaces, ShardRow
from atdata.appview.web.serving import page_response, problem, static_routes
from atdata.atmosphere import AtmosphereClient
from atdata.dataset import Dataset, DatasetDict
from atdata.preview import (
    Background,
    DatasetStatistics,
    Preview,
    PreviewLimits,
    PreviewSection,
    preview_of,
    size_of,
    statistics_of_dataset,
)
from atdata.records import Entry, Size
from atdata.records.address import AUTHORITY

PAGE = 24
"""Samples on a page of them."""
_SHARDS = 20
_LARGE = PreviewLimits(samples=1, fields=500, text=4000, side=512, pictures=1 << 25)
_MOST = 10**15
_FIRST, _SINGLE = "first", "one"
_Looked: TypeAlias = tuple[Preview, DatasetStatistics | None, Size]


@dataclass(frozen=True)
class ViewedDataset:
    """A dataset that is looked at.

    Attributes:
        name: what it is called.
        split: the one that is shown.
        splits: the names of all.
        dataset: the samples.
        account: its publisher, of one of the network.
        load: Python that loads it.
    """

    name: str
    split: str
    splits: tuple[str, ...]
    dataset: Dataset[Any]
    account: Publisher | None = None
    load: tuple[str, ...] = ()

    @classmethod
    def of(cls, ref: str, splits: DatasetDict[Any], split: str, client: AtmosphereClient) -> ViewedDataset:
        """One split of what a reference stands for.

        Args:
            ref: as it loads the dataset from any folder.
            splits: what was loaded.
            split: the name of the one that is shown.
            client: that read it, if it is of the network.
        """
        dataset, account = splits[split], None
        entry = dataset.entry if isinstance(dataset.entry, Entry) else None
        if entry is not None and entry.located.authority != AUTHORITY:
            did = client.reader.identity(entry.located.authority).did
            handle = client.reader.shown_handle(did)
            account = Publisher(str(did), None if handle is None else str(handle))
        load = (
            "import atdata",
            f"dataset = atdata.load_dataset({json.dumps(ref, ensure_ascii=False)}, split={json.dumps(split)})",
            "for batch in dataset.shuffled(batch_size=32): ...",
        )
        return cls(entry.name if entry else PurePath(ref).name or ref, split, tuple(splits), dataset, account, load)


@dataclass(frozen=True, kw_only=True)
class SamplesPage(Page):
    """Some samples of a dataset that is looked at.

    Attributes:
        name: of the dataset.
        first: number of the first.
        single: whether it is one sample, shown large.
        preview: the samples.
    """

    TEMPLATE: ClassVar[str] = "samples.html"

    name: str
    first: int
    single: bool
    preview: PreviewSection
    served: bool = False

    @property
    def heading(self) -> str:
        """The heading of the page."""
        return f"Sample {self.first:,}" if self.single else f"Samples from {self.first:,}"

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"{self.heading} of {self.name}"

    @property
    def listed(self) -> bool:
        """See `Page`."""
        return False


class ViewEndpoints:
    """The addresses of a dataset that is looked at.

    Args:
        viewed: the dataset.
    """

    def __init__(self, viewed: ViewedDataset) -> None:
        self._viewed = viewed
        self._background: Background[_Looked] = Background(
            threads=2, waiting=64, kept=32, patience=0.8, lasting=lambda _: 60.0
        )

    @property
    def routes(self) -> list[Route]:
        """The routes, each with what answers it."""
        pages: dict[str, Callable[[Request], Page]] = {
            "/": lambda _: self._dataset(),
            "/samples": lambda asked: self._samples(asked.query_params.get("from", "0"), single=False),
            "/samples/{number}": lambda asked: self._samples(asked.path_params["number"], single=True),
        }
        return [
            *(Route(path, partial(_answer, page), methods=["GET"]) for path, page in pages.items()),
            *static_routes(),
        ]

    def _dataset(self) -> Page:
        section, size = self._look(_FIRST, 0, PreviewLimits(), "/")
        return dataset_page(self._viewed, replace(section, each="/samples/", browse="/samples"), size)

    def _samples(self, text: str, *, single: bool) -> Page:
        if not (text.isascii() and text.isdecimal() and int(text[:20]) <= _MOST and len(text) <= 16):
            return problem(400, f"A sample is asked for by its number, from 0 to {_MOST:,}.")
        first, step = int(text), 1 if single else PAGE
        way = "/samples/{}" if single else "/samples?from={}"
        limits = _LARGE if single else PreviewLimits(samples=PAGE)
        section, _ = self._look(_SINGLE if single else str(PAGE), first, limits, way.format(first))
        if single and section.state == "shown" and not section.preview.samples and not section.preview.why:
            return problem(404, f"The dataset has no sample {first:,}.")
        before = way.format(max(0, first - step)) if first else ""
        after = way.format(first + step) if section.preview.more else ""
        section = replace(section, before=before, after=after, each="" if single else "/samples/")
        return SamplesPage(name=self._viewed.name, first=first, single=single, preview=section)

    def _look(self, kind: str, first: int, limits: PreviewLimits, again: str) -> tuple[PreviewSection, Size]:
        def work() -> _Looked:
            dataset = self._viewed.dataset
            preview = preview_of(dataset, first, limits)
            return (
                (preview, statistics_of_dataset(dataset), size_of(dataset))
                if kind == _FIRST
                else (preview, None, Size())
            )

        found = self._background.ask((kind, first), work)
        if isinstance(found, str):
            return PreviewSection("pending", ask=again), Size()
        preview, statistics, size = found
        return PreviewSection("shown", preview, statistics, verified=self._viewed.account is not None), size


def dataset_page(viewed: ViewedDataset, section: PreviewSection, size: Size) -> DatasetPage:
    """The page of a dataset that is looked at."""
    dataset, entry = viewed.dataset, viewed.dataset.entry if isinstance(viewed.dataset.entry, Entry) else None
    fields = schema_table(dataset.schema.fields)
    if not dataset.schema.fields:
        fields = _seen_fields(section.preview)
    about = DatasetPage(
        served=False,
        name=viewed.name,
        account=viewed.account,
        fields=fields,
        preview=section,
        samples=size.samples,
        bytes=size.bytes,
        storage=_storage(viewed, entry),
        load=viewed.load,
        metadata="" if len(viewed.splits) == 1 else f"split {viewed.split} of {', '.join(viewed.splits)}",
    )
    if entry is None:
        return about
    return replace(
        about,
        uri=None if entry.uri is None else str(entry.uri),
        description=entry.description or "",
        license=entry.license,
        tags=entry.tags,
        created=entry.created_at[:10],
        samples=entry.size.samples if size.samples is None else size.samples,
        bytes=entry.size.bytes if size.bytes is None else size.bytes,
    )


def _seen_fields(preview: Preview) -> SchemaTable:
    """The fields of samples without a type, as far as the first samples show them."""
    sorts: dict[str, dict[str, None]] = {}
    for name, shown in (pair for sample in preview.samples for pair in sample.values):
        sorts.setdefault(name, {})[shown.sort] = None
    if not sorts:
        return SchemaTable(problem="No type is declared for its samples.")
    rows = tuple(FieldRow(name, " or ".join(some)) for name, some in sorts.items())
    return SchemaTable(rows, note="No type is declared for them: this is what the first ones hold.")


def _storage(viewed: ViewedDataset, entry: Entry | None) -> ShardPlaces:
    if entry is not None and viewed.account is not None:
        return storage_of(entry, viewed.account.did)
    shards = viewed.dataset.shards
    rows = tuple(ShardRow(shard.url, str(shard.digest or ""), shard.size) for shard in shards[:_SHARDS])
    known = sum(shard.digest is not None for shard in shards)
    return ShardPlaces("in files", "", rows, len(shards), known or None)


def view_app(ref: str, splits: DatasetDict[Any], split: str, client: AtmosphereClient, url: str) -> Starlette:
    """The application that shows a dataset; see `ViewedDataset.of`.

    It answers to this machine's own names alone: a page of somebody else's, whose name leads here, gets nothing.

    Args:
        ref: what it was loaded by.
        splits: what was loaded.
        split: the name of the one that is shown.
        client: that read it.
        url: where it is shown.
    """
    where = urlsplit(url)
    hosts = frozenset({where.netloc, *(f"{name}:{where.port}" for name in ("127.0.0.1", "localhost", "[::1]"))})

    def refused(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return page_response(request, replace(problem(status, "There is no such page here"), served=False))

    handlers: Any = {404: refused, 405: refused, 500: refused}
    guard = Middleware(_OnlyHosts, hosts=hosts)
    viewed = ViewedDataset.of(ref, splits, split, client)
    return Starlette(routes=ViewEndpoints(viewed).routes, middleware=[guard], exception_handlers=handlers)


class _OnlyHosts:
    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and Headers(scope=scope).getlist("host") not in ([host] for host in self._hosts):
            await Response("This address is not asked by that name.\n", 421, media_type="text/plain")(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


def _answer(page: Callable[[Request], Page], request: Request) -> Response:
    return page_response(request, replace(page(request), served=False))
