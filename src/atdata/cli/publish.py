"""`atdata publish`: files as a dataset under one's own identity."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.cli.account import logged_in, session_file
from atdata.cli.options import (
    Whole,
    description_option,
    file_names,
    json_option,
    license_option,
    tag_option,
    type_option,
    yes_option,
)
from atdata.cli.output import facts, plural, say, say_json, size, table
from atdata.dataset import Dataset
from atdata.errors import UsageError
from atdata.importers import Imported, open_path, type_name_of
from atdata.index.publication import Publication
from atdata.records import Entry, Schema
from atdata.records.facts import Facts
from atdata.samples import fields_of

_BLOB_LIMIT = 52_428_800  # of the lexicon; a server may take less


@click.command("publish")
@click.argument(
    "path", shell_complete=file_names, help="A folder of images, an .npz, a CSV or Parquet file, or shards."
)
@click.option("--name", required=True, help="What to call it: @you/NAME finds it.")
@click.option("--version", help="A version, such as 1.0.0; what is published under it never changes.")
@description_option
@tag_option
@license_option
@type_option
@click.option("--schema-version", help="The version of the sample type.")
@click.option("--maxcount", type=Whole(min=1), help="Most samples in a shard.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and stop.")
@yes_option
@json_option
def publish(
    path: str,
    name: str,
    version: str | None,
    description: str | None,
    tag: tuple[str, ...],
    license: str | None,  # noqa: A002
    type_name: str | None,
    schema_version: str | None,
    maxcount: int | None,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> None:
    """Publish data under your identity: infers the sample type, shows it and the plan, then publishes."""
    said = Facts.of(description, tag or None, license, None)
    Publication(name=name, version=version, schema_version=schema_version, facts=said)  # or no entry may say it
    with _account(dry_run) as client, tempfile.TemporaryDirectory(prefix="atdata-publish-") as scratch:
        imported = open_path(path, type_name_of(name) if type_name is None else type_name)
        limit = _BLOB_LIMIT if client is None else client.blob_limit
        dataset = imported.gather(Path(scratch), maxcount=maxcount, maxsize=limit)
        plan = _plan(client, limit, imported, dataset, name, version)
        if not json:
            _show(imported, plan)
        if client is None or dry_run:
            if json:
                say_json(plan)
            return
        if not yes:
            _ask(json)
        entry = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(
            dataset,
            name=name,
            version=version,
            schema_version=schema_version,
            description=description,
            tags=tag or None,
            license=license,
            metadata=dataset.metadata or None,
        )
        _report(client, entry, name, version, plan, json)


@contextmanager
def _account(dry_run: bool) -> Generator[AtmosphereClient | None]:
    """A client that is logged in; for a plan, none where nobody is."""
    if dry_run and not session_file().exists():
        yield None
        return
    with logged_in() as client:
        yield client


def _plan(
    client: AtmosphereClient | None,
    limit: int,
    imported: Imported,
    dataset: Dataset[Any],
    name: str,
    version: str | None,
) -> dict[str, Any]:
    """A table of what will be written, and how much of what the server allows."""
    total = sum(shard.size or 0 for shard in dataset.shards)
    return {
        "account": None if client is None else str(client.handle or client.did),
        "source": imported.kind,
        "name": name,
        "version": version,
        "type": dataset.sample_type.__name__,
        "fields": {field.name: field.shown for field in fields_of(dataset.sample_type)},
        "samples": imported.count,
        "splits": dict(imported.splits),
        "blobs": len(dataset.shards),
        "bytes": total,
        "blob_limit": limit,
        "records": [str(Schema.NSID), str(Entry.NSID), "science.alt.dataset.label"],
        "notes": list(imported.notes),
    }


def _show(imported: Imported, plan: dict[str, Any]) -> None:
    say(f"{imported.kind}: {plural(imported.count, 'sample')}", style="bold")
    table(["field", "type"], list(plan["fields"].items()))
    for note in imported.notes:
        say(f"note: {note}", style="yellow")
    say()
    facts(
        {
            "publish as": f"@{plan['account'] or 'you'}/{plan['name']}"
            + (f"@{plan['version']}" if plan["version"] else ""),
            "sample type": plan["type"],
            "splits": ", ".join(f"{name}: {plural(count, 'sample')}" for name, count in plan["splits"].items()),
            "blobs": f"{plan['blobs']} of at most {size(plan['blob_limit'])} each",
            "bytes": size(plan["bytes"]),
            "records": "schema, entry, label (a schema that is published already is used again)",
        }
    )


def _ask(json: bool) -> None:
    if json or not sys.stdin.isatty():
        what = "publishing asks for a confirmation, and standard input is not a terminal"
        raise UsageError(what, hint="Pass --yes, or --dry-run to see the plan.")
    if not click.confirm("Publish?"):
        raise click.exceptions.Exit(0)


def _report(
    client: AtmosphereClient, entry: Entry, name: str, version: str | None, plan: dict[str, Any], json: bool
) -> None:
    ref = f"@{client.handle}/{name}" + (f"@{version}" if version else "") if client.handle else str(entry.located)
    if json:
        say_json({**plan, "ref": ref, "uri": entry.located, "cid": str(entry.cid), "data_urls": entry.data_urls})
        return
    say(f"✓ published: {ref}", style="bold green")
    facts({"record": entry.located, "cid": entry.cid})
