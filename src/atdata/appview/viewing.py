"""One dataset in a browser on this machine: the page that an AppView has of it, and all of its samples, page by page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar, TypeAlias
from urllib.parse import quote, urlsplit

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
from atdata.plain import plain
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
class ViewedSplit:
    """A split of a dataset that is looked at.

    Attributes:
        name: of the dataset.
        split: of the split.
        dataset: the samples.
        account: its publisher, of one of the network.
        load: Python that loads it.
        home: the address of its page, without a slash at the end.
    """

    name: str
    split: str
    dataset: Dataset[Any]
    account: Publisher | None
    load: tuple[str, ...]
    home: str


@dataclass(frozen=True)
class ViewedDataset:
    """A dataset that is looked at.

    Attributes:
        ref: as it loads the dataset from any folder.
        splits: what was loaded.
        first: the name of the split that is shown first.
        client: that read it, if it is of the network.
        allow_unverified: whether shards without a digest are read.
    """

    ref: str
    splits: DatasetDict[Any]
    first: str
    client: AtmosphereClient
    allow_unverified: bool = False

    def each(self) -> dict[str, ViewedSplit]:
        """The splits, the first one first."""
        names = [self.first, *(name for name in self.splits if name != self.first)]
        entry = self.splits[self.first].entry
        account = self._publisher(entry) if isinstance(entry, Entry) else None
        title = entry.name if isinstance(entry, Entry) else PurePath(self.ref).name or self.ref
        found = {}
        for name in names:
            home = "" if name == self.first else f"/splits/{quote(name, safe='')}"
            found[name] = ViewedSplit(title, name, self.splits[name], account, self._loading(name), home)
        return found

    def _publisher(self, entry: Entry) -> Publisher | None:
        if entry.located.authority == AUTHORITY:
            return None
        did = self.client.reader.identity(entry.located.authority).did
        handle = self.client.reader.shown_handle(did)
        return Publisher(str(did), None if handle is None else str(handle))

    def _loading(self, split: str) -> tuple[str, ...]:
        said = [json.dumps(self.ref, ensure_ascii=False), f"split={json.dumps(split, ensure_ascii=False)}"]
        called = ", ".join([*said, *(["allow_unverified=True"] if self.allow_unverified else [])])
        last = "for batch in dataset.shuffled(batch_size=32): ..."
        return ("import atdata", f"dataset = atdata.load_dataset({called})", last)


@dataclass(frozen=True, kw_only=True)
class SamplesPage(Page):
    """Some samples of a dataset that is looked at.

    Attributes:
        name: of the dataset.
        home: the address of its page.
        first: number of the first.
        single: whether it is one sample, shown large.
        preview: the samples.
    """

    TEMPLATE: ClassVar[str] = "samples.html"

    name: str
    home: str
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
        self._splits = viewed.each()
        self._first = next(iter(self._splits.values()))
        self._background: Background[_Looked] = Background(
            threads=2, waiting=64, kept=32, patience=0.8, lasting=lambda _: 60.0
        )

    @property
    def routes(self) -> list[Route]:
        """The routes, each with what answers it."""
        pages: dict[str, Callable[[Request], Page]] = {
            "": self._dataset,
            "/samples": lambda asked: self._samples(asked, asked.query_params.get("from", "0"), single=False),
            "/samples/{number}": lambda asked: self._samples(asked, asked.path_params["number"], single=True),
        }
        places = [(home + path or "/", page) for home in ("", "/splits/{split}") for path, page in pages.items()]
        return [*(Route(path, partial(_answer, page), methods=["GET"]) for path, page in places), *static_routes()]

    def _split(self, asked: Request) -> ViewedSplit | None:
        name = asked.path_params.get("split")
        return self._first if name is None else self._splits.get(name)

    def _dataset(self, asked: Request) -> Page:
        viewed = self._split(asked)
        if viewed is None:
            return problem(404, "The dataset has no such split.")
        section, size = self._look(viewed, _FIRST, 0, PreviewLimits(), viewed.home or "/")
        others = tuple((split.split, "" if split is viewed else split.home or "/") for split in self._splits.values())
        section = replace(section, each=f"{viewed.home}/samples/", browse=f"{viewed.home}/samples")
        return dataset_page(viewed, replace(section, splits=others if len(others) > 1 else ()), size)

    def _samples(self, asked: Request, text: str, *, single: bool) -> Page:
        viewed = self._split(asked)
        if viewed is None:
            return problem(404, "The dataset has no such split.")
        if not (text.isascii() and text.isdecimal() and int(text[:20]) <= _MOST and len(text) <= 16):
            return problem(400, f"A sample is asked for by its number, from 0 to {_MOST:,}.")
        first, step = int(text), 1 if single else PAGE
        way = viewed.home.replace("{", "{{").replace("}", "}}") + ("/samples/{}" if single else "/samples?from={}")
        limits = _LARGE if single else PreviewLimits(samples=PAGE)
        section, _ = self._look(viewed, _SINGLE if single else str(PAGE), first, limits, way.format(first))
        if single and section.state == "shown" and not section.preview.samples and not section.preview.why:
            return problem(404, f"The dataset has no sample {first:,}.")
        before = way.format(max(0, first - step)) if first else ""
        after = way.format(first + step) if section.preview.more else ""
        section = replace(section, before=before, after=after, each="" if single else f"{viewed.home}/samples/")
        return SamplesPage(name=viewed.name, home=viewed.home, first=first, single=single, preview=section)

    def _look(
        self, viewed: ViewedSplit, kind: str, first: int, limits: PreviewLimits, again: str
    ) -> tuple[PreviewSection, Size]:
        found = self._background.ask((viewed.split, kind, first), partial(_looked, viewed.dataset, kind, first, limits))
        if isinstance(found, str):
            return PreviewSection("pending", ask=again), Size()
        preview, statistics, size = found
        return PreviewSection("shown", preview, statistics, verified=viewed.account is not None), size


def _looked(dataset: Dataset[Any], kind: str, first: int, limits: PreviewLimits) -> _Looked:
    try:
        preview = preview_of(dataset, first, limits)
        known = (statistics_of_dataset(dataset), size_of(dataset)) if kind == _FIRST else (None, Size())
        return preview, *known
    except Exception as error:  # noqa: BLE001  of whatever library reads a field
        return Preview(why=plain(f"{type(error).__name__}: {error}", 300)), None, Size()


def dataset_page(viewed: ViewedSplit, section: PreviewSection, size: Size) -> DatasetPage:
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


def _storage(viewed: ViewedSplit, entry: Entry | None) -> ShardPlaces:
    if entry is not None and viewed.account is not None:
        return storage_of(entry, viewed.account.did)
    shards = viewed.dataset.shards
    rows = tuple(ShardRow(shard.url, str(shard.digest or ""), shard.size) for shard in shards[:_SHARDS])
    known = sum(shard.digest is not None for shard in shards)
    return ShardPlaces("in files", "", rows, len(shards), known or None)


def view_app(viewed: ViewedDataset, url: str) -> Starlette:
    """The application that shows a dataset.

    It answers to this machine's own names alone: a page of somebody else's, whose name leads here, gets nothing.

    Args:
        viewed: the dataset.
        url: where it is shown.
    """
    where = urlsplit(url)
    hosts = frozenset({where.netloc, *(f"{name}:{where.port}" for name in ("127.0.0.1", "localhost", "[::1]"))})

    def refused(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return page_response(request, replace(problem(status, "There is no such page here"), served=False))

    handlers: Any = {404: refused, 405: refused, 500: refused}
    guard = Middleware(_OnlyHosts, hosts=hosts)
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
