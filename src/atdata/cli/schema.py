"""`atdata schema`: the sample types that a team's index lists."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.cli.index import confirm, is_public
from atdata.cli.options import Index, Json, Limit, Prefix, Yes
from atdata.cli.output import facts, say, say_json, table
from atdata.errors import SchemaError
from atdata.importers import open_path, type_name_of
from atdata.local import LocalIndex
from atdata.records import Schema
from atdata.schema import CompatibilityMode, FieldComparison, SampleSchema, compare, schema_of
from atdata.shards.listing import SUFFIX

app = typer.Typer(no_args_is_help=True, help="The sample types that your team's index lists.")

Source = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, an address, or shards and whatever `infer` takes.")]

_COLOURS = {"identical": "dim", "full": "green", "backward": "yellow", "forward": "yellow", "none": "red"}
_MEANINGS = {
    "identical": "identical",
    "full": "full: older and newer readers read both",
    "backward": "backward: newer readers read older samples, older readers do not read newer ones",
    "forward": "forward: older readers read newer samples, newer readers do not read older ones",
    "none": "none: neither reads the other's samples; a lens leads from one to the other",
}

Ref = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or an address.")]


@app.command()
def ls(prefix: Prefix = "", limit: Limit = 50, index: Index = None, json: Json = False) -> None:
    """List schemas: the newest first, or those whose names begin with some text."""
    schemas = LocalIndex(index).list_schemas(limit=limit, prefix=prefix)
    if json:
        shown = ("name", "version", "description", "createdAt")
        say_json([{"uri": str(schema.located), **{name: schema.get(name) for name in shown}} for schema in schemas])
        return
    if not schemas:
        say("The index has no schema" + (f" that begins with {prefix}." if prefix else "."))
        return
    rows = [[schema.name, schema.version, _width(schema), schema.created_at[:10]] for schema in schemas]
    table(["name", "version", "fields", "listed"], rows)


@app.command()
def show(ref: Ref, index: Index = None, json: Json = False) -> None:
    """Show a schema: its fields and their types."""
    schema = LocalIndex(index).get_schema(ref)
    if json:
        say_json({"uri": str(schema.located), "cid": str(schema.cid), **{name: schema[name] for name in schema}})
        return
    say(f"{schema.name} {schema.version}", style="bold")
    facts(
        {
            "record": schema.located,
            "identity": schema.identity,
            "listed": schema.created_at,
            "description": schema.description,
        }
    )
    say()
    rows = _fields(schema)
    told = any(doc for *_, doc in rows)
    table(["field", "type", "what it is"] if told else ["field", "type"], rows if told else [row[:2] for row in rows])


@app.command()
def rm(ref: Ref, index: Index = None, yes: Yes = False, json: Json = False) -> None:
    """Take a schema out of the index that no dataset uses."""
    team = LocalIndex(index)
    schema = team.get_schema(ref)
    if not yes:
        confirm(f"Take {schema.name} {schema.version} out of the index?", json)
    team.remove_schema(str(schema.located))
    if json:
        say_json({"removed": str(schema.located)})
    else:
        say(f"{schema.name} {schema.version} is out of the index.")


@app.command()
def diff(
    before: Source,
    after: Source,
    require: Annotated[
        CompatibilityMode | None, typer.Option(help="Fail where these readers would be stopped, with exit code 1.")
    ] = None,
    index: Index = None,
    json: Json = False,
) -> None:
    """Compare two schemas field by field: who still reads whose samples, and which number the change asks for."""
    found = compare(described(before, index), described(after, index))
    broken = [] if require is None else found.breaking(require)
    if json:
        say_json(
            {
                "compatibility": found.compatibility,
                "step": found.step,
                "fields": [
                    {
                        "name": field.name,
                        "before": None if field.before is None else field.before.shown,
                        "after": None if field.after is None else field.after.shown,
                        "compatibility": field.compatibility,
                        "reason": field.reason,
                    }
                    for field in found.fields
                ],
            }
        )
    else:
        rows = [
            [
                field.name,
                *((kind and kind.shown) or "" for kind in (field.before, field.after)),
                _word(field),
                field.reason,
            ]
            for field in found.fields
        ]
        table(["field", "before", "after", "compatibility", "why"], rows)
        say()
        facts({"compatibility": _MEANINGS[found.compatibility], "asks for": found.step and f"a {found.step} version"})
    if broken:
        raise typer.Exit(1)


def described(ref: str, index: str | None) -> SampleSchema:
    """The schema that a reference is of: of the index, of the network, or of what is at a path."""
    if is_public(ref):
        network = AtmosphereIndex(AtmosphereClient())
        if not ref.startswith("at://") or AtUri(ref).collection != Schema.NSID:
            ref = network.get_dataset(ref).schema_ref
        return network.get_schema(ref).sample_schema
    is_path = "/" in ref or ref.endswith(SUFFIX) or Path(ref).exists()
    if is_path and not ref.startswith(("at://", "atdata://", "@local/")):
        return schema_of(open_path(ref, type_name_of(ref)).sample_type)
    return LocalIndex(index).get_schema(ref).sample_schema


def _word(field: FieldComparison) -> Text:
    return Text(field.compatibility, _COLOURS[field.compatibility])


def _fields(schema: Schema) -> list[list[str]]:
    return [[field.name, field.shown, field.doc or ""] for field in schema.sample_schema.fields]


def _width(schema: Schema) -> int | str:
    """The number of its fields; `unknown` where they cannot be decoded here."""
    with suppress(SchemaError):
        return len(_fields(schema))
    return "unknown"
