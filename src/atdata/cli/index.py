"""`atdata index`: what a team's index lists."""

from __future__ import annotations

import json as json_
from typing import Annotated, Any

import typer

from atdata.cli.output import facts, say, say_json, size, some, table
from atdata.errors import UsageError
from atdata.local import LocalIndex
from atdata.records import Entry, Label

app = typer.Typer(no_args_is_help=True, help="What your team's index lists.")

Index = Annotated[
    str | None,
    typer.Option("--index", help="redis://, postgresql://, sqlite:/// or a file; ATDATA_INDEX_URL by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Say it in JSON.")]
Ref = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or @local/NAME.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def ls(
    prefix: Annotated[str, typer.Argument(help="Only names that begin with this.")] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 50,
    index: Index = None,
    json: Json = False,
) -> None:
    """List datasets: the newest first, or those whose names begin with some text."""
    team = LocalIndex(index)
    labels = team.list_labels(limit=limit, prefix=prefix)
    rows = [(label, team.get_dataset(label.dataset_uri)) for label in labels]
    if json:
        say_json([_as_json(entry, label) for label, entry in rows])
        return
    if not rows:
        say("The index lists nothing" + (f" that begins with {prefix}." if prefix else "."))
        return
    columns = ["name", "version", "samples", "shards", "size", "listed"]
    table(columns, [[label.name, label.version or "", *_facts(entry), label.created_at[:10]] for label, entry in rows])
    if len(rows) == limit:
        say(f"These are the first {limit}; --limit shows more.", style="dim")


@app.command()
def show(ref: Ref, index: Index = None, json: Json = False) -> None:
    """Show a dataset: its facts, its names, its fields, its shards."""
    team = LocalIndex(index)
    entry = team.get_dataset(ref)
    schema, labels = team.get_schema(entry.schema_ref), team.labels_of(entry)
    if json:
        names = [{"name": label.name, "version": label.version} for label in labels]
        fields = {field.name: str(field.type) for field in schema.sample_schema.fields}
        shards = [{"url": shard.url, "digest": str(shard.digest or "")} for shard in entry.shards]
        say_json({**_as_json(entry), "names": names, "fields": fields, "shards": shards})
        return
    say(entry.name, style="bold")
    facts(
        {
            "names": ", ".join(f"{label.name}@{label.version}" if label.version else label.name for label in labels),
            "record": entry.located,
            "cid": entry.cid,
            "identity": entry.identity(schema.identity),
            "schema": f"{schema.name} {schema.version}",
            "listed": entry.created_at,
            "license": entry.license,
            "tags": ", ".join(entry.tags),
            "description": entry.description,
            "samples": entry.size.samples,
            "size": size(entry.size.bytes) if entry.size.bytes else None,
            "metadata": json_.dumps(dict(entry.metadata), default=str) if entry.metadata else None,
        }
    )
    say()
    table(["field", "type"], [[field.name, str(field.type)] for field in schema.sample_schema.fields])
    say()
    shown = entry.shards[:20]
    table(["shard", "digest"], [[shard.url, str(shard.digest or "unverified")[:26]] for shard in shown])
    if len(entry.shards) > len(shown):
        say(f"and {len(entry.shards) - len(shown)} more", style="dim")


@app.command()
def rm(ref: Ref, index: Index = None, yes: Yes = False, json: Json = False) -> None:
    """Take a name, or one version of it, out of the index. Its shards stay where they are."""
    team = LocalIndex(index)
    name, _, version = ref.removeprefix("@local/").partition("@")
    team.get_label(name, version or None)
    if not yes:
        confirm(f"Take {ref} out of the index? Its shards stay where they are.", json)
    gone = team.remove(name, version or None)
    if json:
        say_json({"removed": ref, "entries": [str(entry.cid) for entry in gone]})
    else:
        say(
            f"{ref} is out of the index"
            + (f", and {some(len(gone), 'entry')} that no other name stood for." if gone else ".")
        )


def confirm(question: str, json: bool) -> None:
    """Ask, where somebody is there to answer.

    Raises:
        UsageError: nobody is.
    """
    if json:
        raise UsageError("with --json nobody is asked", hint="Add --yes.")
    typer.confirm(question, abort=True)


def _facts(entry: Entry) -> list[object]:
    samples = "" if entry.size.samples is None else f"{entry.size.samples:,}"
    return [samples, len(entry.shards), size(entry.size.bytes) if entry.size.bytes else ""]


def _as_json(entry: Entry, label: Label | None = None) -> dict[str, Any]:
    named = {} if label is None else {"version": label.version}
    return {
        "name": entry.name if label is None else label.name,
        **named,
        "uri": str(entry.located),
        "cid": str(entry.cid),
        "schema": str(entry.schema_ref),
        "samples": entry.size.samples,
        "bytes": entry.size.bytes,
        "shards": len(entry.shards),
        "license": entry.license,
        "tags": list(entry.tags),
        "description": entry.description,
        "created_at": entry.created_at,
    }
