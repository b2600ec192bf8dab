"""`atdata schema`: the sample types that a team's index lists."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from atdata.cli.index import confirm
from atdata.cli.options import Index, Json, Limit, Prefix, Yes
from atdata.cli.output import facts, say, say_json, table
from atdata.errors import SchemaError
from atdata.local import LocalIndex
from atdata.records import Schema

app = typer.Typer(no_args_is_help=True, help="The sample types that your team's index lists.")

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


def _fields(schema: Schema) -> list[list[str]]:
    return [[field.name, field.shown, field.doc or ""] for field in schema.sample_schema.fields]


def _width(schema: Schema) -> int | str:
    """The number of its fields; `unknown` where they cannot be decoded here."""
    with suppress(SchemaError):
        return len(_fields(schema))
    return "unknown"
