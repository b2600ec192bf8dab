"""`atdata schema`: the sample types that a team's index lists."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
from rich.text import Text

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.cli.groups import CommandGroup
from atdata.cli.index import confirm, is_public, known_index
from atdata.cli.options import file_names, index_option, json_option, limit_option, prefix_argument, yes_option
from atdata.cli.output import facts, note, say, say_json, table
from atdata.errors import SchemaError, UsageError
from atdata.importers import open_path, type_name_of
from atdata.lens import Proposal, propose
from atdata.paths import checked_path
from atdata.records import Schema
from atdata.schema import (
    CompatibilityMode,
    FieldComparison,
    SampleSchema,
    SchemaComparison,
    compare,
    schema_of,
    type_of,
)
from atdata.shards.listing import SUFFIX

app = CommandGroup("schema", help="The sample types that your team's index lists.")

source_argument = partial(
    click.argument,
    shell_complete=file_names,
    help="NAME, NAME@VERSION, an address, or shards and whatever `atdata import` takes.",
)

_COLOURS = {"identical": "dim", "full": "green", "backward": "yellow", "forward": "yellow", "none": "red"}
_MEANINGS = {
    "identical": "identical",
    "full": "full: older and newer readers read both",
    "backward": "backward: newer readers read older samples, older readers do not read newer ones",
    "forward": "forward: older readers read newer samples, newer readers do not read older ones",
    "none": "none: neither reads the other's samples; a lens leads from one to the other",
}

ref_argument = click.argument("ref", help="NAME, NAME@VERSION, or an address.")


@app.command("ls")
@prefix_argument
@limit_option
@index_option
@json_option
def ls(prefix: str, limit: int, index: str | None, json: bool) -> None:
    """List schemas: the newest first, or those whose names begin with some text."""
    schemas = known_index(index).list_schemas(limit=limit, prefix=prefix)
    if json:
        shown = ("name", "version", "description", "createdAt")
        say_json([{"uri": str(schema.located), **{name: schema.get(name) for name in shown}} for schema in schemas])
        return
    if not schemas:
        say("The index has no schema" + (f" that begins with {prefix}." if prefix else "."))
        return
    rows = [[schema.name, schema.version, _width(schema), schema.created_at[:10]] for schema in schemas]
    table(["name", "version", "fields", "listed"], rows)


@app.command("show")
@ref_argument
@index_option
@json_option
def show(ref: str, index: str | None, json: bool) -> None:
    """Show a schema: its fields and their types."""
    schema = known_index(index).get_schema(ref)
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


@app.command("rm")
@ref_argument
@index_option
@yes_option
@json_option
def rm(ref: str, index: str | None, yes: bool, json: bool) -> None:
    """Take a schema out of the index that no dataset uses."""
    team = known_index(index)
    schema = team.get_schema(ref)
    if not yes:
        confirm(f"Take {schema.name} {schema.version} out of the index?", json)
    team.remove_schema(str(schema.located))
    if json:
        say_json({"removed": str(schema.located)})
    else:
        say(f"{schema.name} {schema.version} is out of the index.")


@app.command("diff")
@source_argument("before")
@source_argument("after")
@click.option(
    "--require",
    type=click.Choice(get_args(CompatibilityMode)),
    help="Fail where these readers would be stopped, with exit code 1.",
)
@click.option(
    "--lens",
    shell_complete=file_names,
    help="Write the program of the lens that is proposed to this new file; nothing runs it.",
)
@index_option
@json_option
def diff(
    before: str, after: str, require: CompatibilityMode | None, lens: str | None, index: str | None, json: bool
) -> None:
    """Compare two schemas field by field: who still reads whose samples, which number the change asks for, and, where it
    stops readers, which lens may lead from one to the other.
    """
    check_index(index, before, after)
    found = compare(described(before, index), described(after, index))
    broken = [] if require is None else found.breaking(require)
    proposal = _proposed(found, None if lens is None else checked_path(lens))
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
                "lens": None if proposal is None else _as_data(proposal),
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
        if proposal is not None:
            say()
            say(proposal.title, style="bold")
            for line in proposal.lines:
                say(line)
    if broken:
        raise click.exceptions.Exit(1)


def _proposed(found: SchemaComparison, file: Path | None) -> Proposal | None:
    """The lens that is proposed where a change stops readers, or where a file is to have it; written there."""
    if file is None and found.compatibility.holds_backward() and found.compatibility.holds_forward():
        return None
    try:
        proposal = propose(type_of(found.before), type_of(found.after))
    except SchemaError as error:
        if file is not None:
            raise
        note(f"no lens is proposed: {error.what}")
        return None
    if file is not None:
        if proposal.program is None:
            hint = "Run it without --lens to read the draft, answer, and write the program."
            raise UsageError("there is no program to write", path="--lens", actual=proposal.title, hint=hint)
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(f"{proposal.program}\n")
        except FileExistsError:
            raise UsageError("the file of a program exists", path=str(file), hint="Name a new one.") from None
        except OSError as error:
            hint = "Name a new file in a folder that is there."
            raise UsageError(
                "the file of a program cannot be written", path=str(file), actual=error.strerror, hint=hint
            ) from None
    return proposal


def _as_data(proposal: Proposal) -> dict[str, Any]:
    """A proposal for `--json`: its steps are text, as some have open places."""
    return {
        "program": None if proposal.program is None else proposal.program.value,
        "steps": [{"step": str(step), "why": step.why} for step in proposal.steps],
        "questions": proposal.questions,
        "problem": proposal.problem,
    }


def described(ref: str, index: str | None) -> SampleSchema:
    """The schema that a reference is of: of the index, of the network, or of what is at a path."""
    if not ref.strip():
        hint = "Give NAME, NAME@VERSION, an address, or shards."
        raise UsageError("a reference to a type is empty", actual=repr(ref), hint=hint)
    if is_public(ref):
        network = AtmosphereIndex(AtmosphereClient())
        if not ref.startswith("at://") or AtUri(ref).collection != Schema.NSID:
            ref = network.get_dataset(ref).schema_ref
        return network.get_schema(ref).sample_schema
    if not _is_listed(ref):
        return schema_of(open_path(ref, type_name_of(ref)).sample_type)
    return known_index(index).get_schema(ref).sample_schema


def check_index(index: str | None, *refs: str) -> None:
    """Refuse an index in which none of some references to types is looked up.

    Raises:
        UsageError: it is one.
    """
    if index is not None and not any(map(_is_listed, refs)):
        raise UsageError(
            "no type is looked up in an index", path="--index", actual=index, hint="Leave it out, or name a type there."
        )


def _is_listed(ref: str) -> bool:
    """True if a reference is of an index of one's own, and neither of the network nor of what is at a path."""
    if is_public(ref) or not ref.strip():
        return False
    is_path = "/" in ref or ref.endswith(SUFFIX) or os.path.exists(ref)  # noqa: PTH110  a name may be too long for a file
    return not is_path or ref.startswith(("at://", "atdata://", "@local/"))


def _word(field: FieldComparison) -> Text:
    return Text(field.compatibility, _COLOURS[field.compatibility])


def _fields(schema: Schema) -> list[list[str]]:
    return [[field.name, field.shown, field.doc or ""] for field in schema.sample_schema.fields]


def _width(schema: Schema) -> int | str:
    """The number of its fields; `unknown` where they cannot be decoded here."""
    with suppress(SchemaError):
        return len(_fields(schema))
    return "unknown"
