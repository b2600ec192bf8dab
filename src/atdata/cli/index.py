"""`atdata index`: the datasets of a team's index."""

from __future__ import annotations

import json as json_
from contextlib import suppress
from typing import Any

import click

from atdata.atmosphere import AtmosphereIndex
from atdata.cli.account import logged_in
from atdata.cli.groups import CommandGroup, Commands
from atdata.cli.options import (
    description_option,
    index_option,
    json_option,
    license_option,
    limit_option,
    prefix_argument,
    ref_argument,
    yes_option,
)
from atdata.cli.output import facts, plural, say, say_json, size, table
from atdata.databases import is_there
from atdata.errors import DataModelError, LexiconError, NotFoundError, UsageError, VerificationError
from atdata.json_reader import read_json
from atdata.local import LocalIndex
from atdata.records import Entry, Label
from atdata.records.address import AUTHORITY, SCHEMES, Address, named_locally

_ELSEWHERE = {
    "add": "versions.add",
    "append": "versions.append",
    "history": "versions.history",
    "diff": "versions.diff",
    "copy": "versions.copy",
}

app = CommandGroup("index", Commands(_ELSEWHERE), help="What your team's index lists.")


_CLEARABLE = ("description", "tags", "license", "metadata")


@app.command("ls")
@prefix_argument
@limit_option
@index_option
@json_option
def ls(prefix: str, limit: int, index: str | None, json: bool) -> None:
    """List datasets: the newest first, or those whose names begin with some text."""
    team = known_index(index)
    labels = team.list_labels(limit=limit, prefix=prefix)
    rows, unread = list[tuple[Label, Entry]](), len(labels.malformed)
    for label in labels:
        with suppress(NotFoundError):  # retracted since it was listed
            if not label.is_retracted:
                try:
                    rows.append((label, team.get_dataset(label.dataset_uri)))
                except (LexiconError, DataModelError, VerificationError):
                    unread += 1
    if json:
        say_json([_as_json(entry, label) for label, entry in rows])
        return
    if not rows and not unread:
        say("The index lists nothing" + (f" that begins with {prefix}." if prefix else "."))
        return
    columns = ["name", "version", "samples", "shards", "size", "listed"]
    table(columns, [[label.name, label.version or "", *_facts(entry), label.created_at[:10]] for label, entry in rows])
    if unread:
        say(f"{plural(unread, 'record')} of the index cannot be read; atdata doctor names them.", style="yellow")
    if len(rows) == limit:
        say(f"These are the first {limit}; --limit shows more.", style="dim")


@app.command("show")
@ref_argument
@index_option
@json_option
def show(ref: str, index: str | None, json: bool) -> None:
    """Show a dataset: its facts, its names, its fields, its shards."""
    team = known_index(index)
    _check_local(ref)
    entry = team.get_dataset(ref)
    schema, labels = team.get_schema(entry.schema_ref), team.labels_of(entry)
    if json:
        names = [{"name": label.name, "version": label.version} for label in labels]
        fields = {field.name: field.shown for field in schema.sample_schema.fields}
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
    table(["field", "type"], [[field.name, field.shown] for field in schema.sample_schema.fields])
    say()
    shown = entry.shards[:20]
    table(["shard", "digest"], [[shard.url, str(shard.digest or "unverified")[:26]] for shard in shown])
    if len(entry.shards) > len(shown):
        say(f"and {len(entry.shards) - len(shown)} more", style="dim")


@app.command("rm")
@ref_argument
@index_option
@yes_option
@json_option
def rm(ref: str, index: str | None, yes: bool, json: bool) -> None:
    """Take a name, or one version of it, out of the index. Its shards stay where they are."""
    team = known_index(index)
    _check_local(ref)
    name, version = named_locally(ref)
    team.get_label(name, version)
    if not yes:
        confirm(f"Take {ref} out of the index? Its shards stay where they are.", json)
    gone = team.remove(name, version)
    if json:
        say_json({"removed": ref, "entries": [str(entry.cid) for entry in gone]})
    else:
        say(
            f"{ref} is out of the index"
            + (f", and {plural(len(gone), 'entry')} that no other name stood for." if gone else ".")
        )


@app.command("update")
@ref_argument
@description_option
@click.option("--tag", multiple=True, help="A word to find it by; all of them, one option each.")
@license_option
@click.option(
    "--metadata",
    multiple=True,
    help="NAME=VALUE, a member to set: JSON, else text; null takes it out, others stay; may be given several times.",
)
@click.option(
    "--clear", multiple=True, type=click.Choice(_CLEARABLE), help="A fact to take out; may be given several times."
)
@index_option
@json_option
def update(
    ref: str,
    description: str | None,
    tag: tuple[str, ...],
    license: str | None,  # noqa: A002
    metadata: tuple[str, ...],
    clear: tuple[str, ...],
    index: str | None,
    json: bool,
) -> None:
    """Say something else about a dataset of the index, or, as @you/NAME, of your own account. What is not given stays."""
    given: dict[str, Any] = {"description": description, "tags": tag or None, "license": license}
    changes = {name: value for name, value in given.items() if value is not None}
    if metadata:
        changes["metadata"] = dict(map(_member, metadata))
    if both := [name for name in clear if name in changes]:
        raise UsageError(f"{both[0]} cannot be set and cleared at once", hint="Give one of the two options.")
    if not changes and not clear:
        raise UsageError("nothing to change", hint="Give --description, --tag, --license, --metadata or --clear.")
    changes |= dict.fromkeys(clear)
    if is_public(ref):
        with logged_in() as client:
            entry = AtmosphereIndex(client).update_dataset(ref, **changes)
    else:
        entry = known_index(index).update_dataset(ref, **changes)
    if json:
        say_json({**_as_json(entry), "metadata": dict(entry.metadata)})
        return
    say(f"{entry.name}: changed {', '.join(changes)}")


def _member(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError("--metadata must be NAME=VALUE", actual=text, hint="For example --metadata rate=0.5")
    try:
        return name, read_json(value)
    except DataModelError:
        return name, value


def is_missing(index: str) -> bool:
    """True if an address is of a file that is not there; of a server only using it can tell."""
    is_file = "://" not in index or index.lower().startswith("sqlite:")
    return bool(index) and is_file and not is_there(index, what="the index")


def known_index(index: str | None) -> LocalIndex:
    """The index that an option names, or the user's own. One that is named is not made by looking for something in it.

    Raises:
        UsageError: there is none.
    """
    if index is not None and is_missing(index):
        raise UsageError(
            "there is no index there", path="--index", actual=index, hint="Name the file of one, or a URL."
        )
    return LocalIndex(index)


def is_public(ref: str) -> bool:
    """True if a reference is of the network, not of the team's index."""
    if ref.startswith(SCHEMES):
        return not Address.parse(ref).is_local
    return ref.startswith(("@", "at://")) and not ref.startswith(("@local/", f"at://{AUTHORITY}/"))


def _check_local(ref: str) -> None:
    if is_public(ref):
        raise UsageError(
            "the dataset is one of the network, not of the team's index",
            actual=ref,
            hint="See: atdata show, atdata retract.",
        )


def confirm(question: str, json: bool) -> None:
    """Ask for a confirmation.

    Raises:
        UsageError: with `--json`.
    """
    if json:
        raise UsageError("--json asks no questions, and this command asks one", hint="Add --yes.")
    say(question)
    click.confirm("Go on?", abort=True)


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
