"""`atdata show`: a dataset's publisher, fields and first samples."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from atdata.arguments import did_you_mean
from atdata.atmosphere import AtmosphereClient
from atdata.cli.options import Whole, file_names, json_option, split_option, unverified_option
from atdata.cli.output import facts, fitting, say, say_json, size, table
from atdata.cli.pictures import pictures
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.looks import fields_grid
from atdata.display import Card, Grid
from atdata.errors import UsageError
from atdata.files import atomic_file, write_all
from atdata.importers import Imported, Inference, infer
from atdata.importers import open as open_data
from atdata.loading import load_dataset
from atdata.records import Entry, Malformed, Schema
from atdata.records.address import AUTHORITY
from atdata.samples import DictSample, fields_of
from atdata.samples.preview import as_picture, brief, preview, values_of
from atdata.shards.listing import SUFFIX, FileListing, is_file, is_folder
from atdata.shards.urls import scheme_of

PREVIEW = 8
SHOWN = 20  # of records that cannot be read


def _named(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a path without a name before anything is read."""
    if path is not None and not path.name:
        hint = "Give a file, such as page.html."
        raise UsageError("--html names no file", path="--html", actual=str(path), hint=hint)
    return path


@click.command("show")
@click.argument(
    "ref",
    shell_complete=file_names,
    help="@handle/name or @local/name[@version], at://..., a URL, or what `atdata import` takes: shards, images, tables ...",
)
@click.option("--samples", type=Whole(min=0, max=1_000_000), default=PREVIEW, help="How many samples to show.")
@split_option
@unverified_option
@click.option("--fields", help="Which fields to show, such as 'id,pixel*'; '*' shows all, however many there are.")
@click.option(
    "--html", type=click.Path(path_type=Path), callback=_named, help="Write it as a page of its own to this file."
)
@json_option
def show(
    ref: str, samples: int, split: str | None, allow_unverified: bool, fields: str | None, html: Path | None, json: bool
) -> None:
    """Show a dataset, or data on this machine: who published it, what its fields are, and its first samples."""
    if (data := _data_at(ref)) is not None:
        _show_data(ref, data if split is None else data.split(split), samples, fields, html, json)
        return
    client = AtmosphereClient()
    splits = load_dataset(ref, client=client, allow_unverified=allow_unverified)
    name, dataset = (split, splits[split]) if split else next(iter(splits.items()))
    first = list(itertools.islice(dataset, samples))
    entry = dataset.entry if isinstance(dataset.entry, Entry) else None
    about = _about(entry, client) if entry else {}
    columns = _columns(dataset, first)
    names = chosen([column for column, _ in columns], fields)
    declared, kinds = {field.name: field for field in dataset.schema.fields}, dict(columns)
    if declared:
        grid = fields_grid([declared[column] for column in names], whole=fields is not None)
    else:
        grid = Grid(["field", "type"], [(column, kinds[column]) for column in names], "fields", fields is not None)
    inferred = _inferred(ref, dataset)
    if html is not None:
        _write_page(html, entry.name if entry else ref, about, splits, name, first, grid, names)
    if json:
        shown = {column: kinds[column] for column in names}
        typed = {} if inferred is None else {"inferred": _typed(inferred), "notes": list(inferred.notes)}
        say_json({**_as_json(ref, entry, client, dataset, list(splits), first, shown), **typed})
        return
    say(entry.name if entry else ref, style="bold")
    facts({**about, "splits": ", ".join(splits), "shards": len(dataset.shards)})
    say()
    _table(grid)
    say()
    if inferred is not None:
        typed_rows = [[field, known["type"], known["files"]] for field, known in _typed(inferred).items()]
        table(["as a typed field", "type", "in the file"], Grid([], typed_rows).shown.rows)
        for doubt in inferred.notes:
            say(f"note: {doubt}", style="yellow")
        say()
    _preview(name, first, names)
    if passed := _malformed(entry, client):
        say()
        rows = [[record.uri, record.reason.what] for record in passed[:SHOWN]]
        table(["record of the account that cannot be read", "why"], rows)
        if len(passed) > SHOWN:
            say(f"and {len(passed) - SHOWN} more", style="dim")


def _inferred(ref: str, dataset: Dataset[Any]) -> Inference | None:
    """The typed fields of files without a type, where all of them are on this machine and are one file a field."""
    if dataset.sample_type is DictSample and dataset.entry is None and scheme_of(ref) == "file":
        with suppress(UsageError):  # packed
            return infer(ref)
    return None


def _typed(inferred: Inference) -> dict[str, dict[str, str]]:
    return {
        field.name: {"type": field.shown, "files": inferred.layout[field.name]}
        for field in fields_of(inferred.sample_type)
    }


def _data_at(ref: str) -> Imported | None:
    """The data at a path, where these are no shards."""
    if is_file(ref) and Path(ref).suffix.lower() != SUFFIX:
        with suppress(UsageError):  # of another name: shards may have any
            return open_data(ref)
    elif is_folder(ref) and not FileListing().walk(ref):
        return open_data(ref)
    return None


def chosen(names: Sequence[str], patterns: str | None) -> list[str]:
    """The names that patterns choose, with commas between them, in the order of the patterns; all, where there are none.

    Raises:
        UsageError: a pattern fits none.
    """
    if patterns is None:
        return list(names)
    found: dict[str, None] = {}
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        some = [name for name in names if name == pattern] or fnmatch.filter(names, pattern)
        if not some:
            what = f"there is no field {pattern!r}"
            raise UsageError(what, path="--fields", hint=did_you_mean(pattern, list(names)) or "Use * for any text.")
        found.update(dict.fromkeys(some))
    return list(found)


def _show_data(ref: str, data: Imported, samples: int, wanted: str | None, html: Path | None, json: bool) -> None:
    first, fields = data.head(samples), {field.name: field for field in fields_of(data.sample_type)}
    names = chosen(list(fields), wanted)
    grid = fields_grid([fields[name] for name in names], whole=wanted is not None)
    known = {"what": data.kind, "splits": ", ".join(f"{name}: {count:,}" for name, count in data.splits.items())}
    if html is not None:
        some = preview(first, f"first {len(first)}", names, whole=grid.whole)
        _write(html, Card(ref, {**known, "samples": data.count}, [grid, some], data.notes))
    if json:
        say_json(
            {
                "ref": ref,
                "source": data.kind,
                "fields": {name: str(fields[name].type) for name in names},
                "samples": data.count,
                "splits": dict(data.splits),
                "notes": list(data.notes),
                "first": [_brief(sample, names) for sample in first],
            }
        )
        return
    say(ref, style="bold")
    facts({**known, "samples": data.count})
    for note in data.notes:
        say(f"note: {note}", style="yellow")
    say()
    _table(grid)
    say()
    _preview(ref, first, names)
    say()
    say(f"As typed shards: atdata import {ref} -o out/")


def _table(grid: Grid) -> None:
    table(grid.columns, grid.shown.rows)
    if more := len(grid.rows) - len(grid.shown.rows):
        say(f"and {more:,} more; --fields 'a*,b' shows those of such names, --fields '*' all", style="dim")


def _brief(sample: Any, names: Collection[str]) -> dict[str, str]:
    return {name: brief(value) for name, value in values_of(sample).items() if name in names}


def _write(path: Path, card: Card) -> None:
    with atomic_file(path) as file:
        write_all(file, card.page().encode(), path)


def _write_page(
    path: Path,
    title: str,
    about: Mapping[str, object],
    splits: DatasetDict[Any],
    name: str,
    first: list[Any],
    fields: Grid,
    names: Sequence[str],
) -> None:
    """A page that loads nothing: facts, splits, fields, first samples."""
    dataset = splits[name]
    counts = Grid(["split", "shards"], [[split, len(some.shards)] for split, some in splits.items()], "splits")
    card = dataset.card(shown=0)
    samples = preview(first, f"first {len(first)} of {name}", names, whole=fields.whole)
    _write(path, Card(title, {**about, **card.facts}, [counts, fields, samples]))


def _malformed(entry: Entry | None, client: AtmosphereClient) -> list[Malformed]:
    """The publisher's records that cannot be read."""
    if entry is None or entry.located.authority == AUTHORITY:
        return []
    return client.reader.malformed(entry.located.authority)


def _about(entry: Entry, client: AtmosphereClient) -> dict[str, object]:
    return {
        **_publisher(entry.located.authority, client),
        "record": entry.located,
        "cid": entry.cid,
        "schema": entry.schema_ref,
        "form": _older_forms(entry, client),
        "published": entry.created_at,
        "license": entry.license,
        "tags": ", ".join(entry.tags),
        "description": entry.description,
        "samples": entry.size.samples,
        "size": size(entry.size.bytes) if entry.size.bytes else None,
    }


def _older_forms(entry: Entry, client: AtmosphereClient) -> str | None:
    """The parts of an entry and its schema that were published in the form of an older era."""
    schema = () if entry.located.authority == AUTHORITY else client.read(entry.schema_ref, Schema).older_forms
    forms = [*(f"entry: {form}" for form in entry.older_forms), *(f"schema: {form}" for form in schema)]
    return "of an older era: " + "; ".join(forms) if forms else None


def _publisher(authority: str, client: AtmosphereClient) -> dict[str, object]:
    """The publisher of a record; one in a team's index has none."""
    if authority == AUTHORITY:
        return {}
    handle = client.reader.shown_handle(client.reader.identity(authority).did)
    return {"publisher": f"@{handle}" if handle else None, "did": authority}


def _columns(dataset: Dataset[Any], first: list[Any]) -> list[tuple[str, str]]:
    if dataset.sample_type is not DictSample:
        return [(field.name, field.shown) for field in fields_of(dataset.sample_type)]
    kinds: dict[str, dict[str, None]] = {}  # each sample has its own fields
    for name, value in itertools.chain.from_iterable(sample.items() for sample in first):
        kinds.setdefault(name, {})[type(value).__name__] = None
    return [(name, " | ".join(some)) for name, some in kinds.items()]


def _preview(name: str, first: list[Any], columns: list[str]) -> None:
    samples = [values_of(sample) for sample in first]
    shown = {c: [as_picture(sample.get(c)) for sample in samples] for c in columns}
    images = next((c for c in columns if all(picture is not None for picture in shown[c])), None)
    if images and samples:
        rest = [column for column in columns if column != images]
        captions = [" ".join(brief(sample[column]) for column in rest if column in sample) for sample in samples]
        pictures([picture for picture in shown[images] if picture is not None], captions)
    else:
        rows = [[brief(sample[column]) if column in sample else "" for column in columns] for sample in samples]
        wide = fitting(columns, rows)
        part = f", {wide:,} of {len(columns):,} fields" if wide < len(columns) else ""
        table(columns[:wide], [row[:wide] for row in rows], title=f"first {len(first)} of {name}{part}")


def _as_json(
    ref: str,
    entry: Entry | None,
    client: AtmosphereClient,
    dataset: Dataset[Any],
    splits: list[str],
    first: list[Any],
    fields: Mapping[str, str],
) -> dict[str, Any]:
    about = _about(entry, client) if entry else {}
    return {
        "ref": ref,
        "name": entry.name if entry else None,
        **{name: value for name, value in about.items() if value is not None},
        "splits": splits,
        "shards": [
            {"url": s.url, "digest": str(s.digest) if s.digest else None, "size": s.size} for s in dataset.shards
        ],
        "fields": fields,
        "malformed": [{"uri": record.uri, "why": record.reason.what} for record in _malformed(entry, client)],
        "first": [_brief(sample, fields) for sample in first],
    }
