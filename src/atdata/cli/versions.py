"""`atdata index add`, `append`, `history`, `diff`, `copy`, and `atdata retract`: datasets as they come, grow and go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.cli.account import logged_in
from atdata.cli.index import confirm, is_missing, is_public, known_index
from atdata.cli.options import (
    credentials_option,
    description_option,
    file_names,
    index_option,
    json_option,
    license_option,
    tag_option,
    type_option,
    yes_option,
)
from atdata.cli.output import facts, plural, say, say_json, size, table
from atdata.cli.promote import bucket_at
from atdata.dataset import Dataset
from atdata.errors import NotFoundError, UsageError
from atdata.importers import open_path, type_name_of
from atdata.index import RecordIndex, Withdrawal
from atdata.loading import load_dataset
from atdata.local import LocalDiskStore, LocalIndex
from atdata.records import Entry, Label, Schema, newest
from atdata.records.address import named_locally, named_publicly
from atdata.records.entry import SPLITS
from atdata.shards import FileSource, ShardRef
from atdata.shards.urls import scheme_of

dataset_argument = click.argument("ref", help="NAME or NAME@VERSION of the index, or @you/NAME of your own account.")
growing_argument = click.argument("ref", help="NAME of the index, or @you/NAME of your own account.")
source_argument = click.argument(
    "path", shell_complete=file_names, help="Shards, or whatever else `atdata publish` takes."
)
store_option = click.option(
    "--store",
    shell_complete=file_names,
    help="Copy the shards to a folder, or to s3://bucket/prefix; what is no shard needs it.",
)
SHOWN = 10


@click.command("add")
@source_argument
@click.option("--name", required=True, help="What to call it: @local/NAME finds it.")
@click.option("--version", help="A version, such as 1.0.0.")
@description_option
@tag_option
@license_option
@store_option
@credentials_option
@type_option
@index_option
@json_option
def add(
    path: str,
    name: str,
    version: str | None,
    description: str | None,
    tag: tuple[str, ...],
    license: str | None,  # noqa: A002
    store: str | None,
    credentials: str | None,
    type_name: str | None,
    index: str | None,
    json: bool,
) -> None:
    """List a dataset in your team's index: shards where they are, or copied to a store; other files as shards there."""
    team = LocalIndex(index, data_store=_store(store, credentials))
    with _dataset_at(path, type_name_of(name) if type_name is None else type_name, team) as dataset:
        entry = team.insert_dataset(
            dataset,
            name=name,
            version=version,
            description=description,
            tags=tag or None,
            license=license,
            metadata=dict(dataset.metadata) or None,
        )
    _report(team, entry, name, version, json)


@click.command("append")
@growing_argument
@source_argument
@click.option("--split", help="The split that the new shards are of; train by default.")
@click.option("--version", help="By default the next minor version.")
@click.option("--notes", help="What is particular about this version.")
@store_option
@credentials_option
@type_option
@index_option
@json_option
def append(
    ref: str,
    path: str,
    split: str | None,
    version: str | None,
    notes: str | None,
    store: str | None,
    credentials: str | None,
    type_name: str | None,
    index: str | None,
    json: bool,
) -> None:
    """Make a new version of a dataset: all shards of its newest one, and new ones."""
    with _index_of(ref, index, _store(store, credentials)) as (where, name, of_version):
        if of_version is not None:
            raise UsageError("a new version comes after the newest", actual=ref, hint="Leave the version out.")
        with _dataset_at(path, type_name_of(name) if type_name is None else type_name, where) as dataset:
            if SPLITS in dataset.metadata:
                raise UsageError("the files say splits of their own", hint="Append each split by itself, with --split.")
            entry = where.append(name, dataset, split=split, version=version, notes=notes)
        _report(where, entry, name, version, json)


@click.command("history")
@click.argument("ref", help="NAME of the index, or @handle/NAME of anybody's.")
@index_option
@json_option
def history(ref: str, index: str | None, json: bool) -> None:
    """Show the versions of a dataset: when, by whom, why, and what changed."""
    owner, name, version = named_publicly(ref) if is_public(ref) else (None, *named_locally(ref))
    if version is not None:
        raise UsageError("a history is that of all versions", actual=ref, hint="Leave the version out.")
    if ref.startswith("at://"):
        raise UsageError("a history is that of a name", expected="NAME, or @handle/NAME", actual=ref)
    items = (
        known_index(index).history(name) if owner is None else AtmosphereIndex(AtmosphereClient()).history(name, owner)
    )
    if json:
        say_json(
            [
                {
                    "version": item.version,
                    "created_at": item.created_at,
                    "author": item.author,
                    "notes": item.notes,
                    "retracted": None if item.retraction is None else item.retraction.reason,
                    "samples": None if item.entry is None else item.entry.size.samples,
                    "predecessor": item.predecessor,
                    "changes": None
                    if item.changes is None
                    else {
                        "shards_added": item.changes.added,
                        "shards_removed": item.changes.removed,
                        "samples": item.changes.samples,
                        "fields": _fields(item.changes.fields),
                    },
                }
                for item in items
            ]
        )
        return
    rows = [
        [item.version or "", item.created_at[:10], item.author or "", _changes(item), item.notes or ""]
        for item in items
    ]
    table(["version", "listed", "by", "changes", "notes"], rows)


@click.command("diff")
@click.argument("one", help="NAME@VERSION of the index, or @handle/NAME@VERSION.")
@click.argument("other", help="Another of the same place.")
@index_option
@json_option
def diff(one: str, other: str, index: str | None, json: bool) -> None:
    """Show what differs between two datasets: samples by key and digest, fields, and what is said of them."""
    if is_public(one) != is_public(other):
        raise UsageError("both must be of the index, or both of the network", actual=f"{one}, {other}")
    if is_public(one):
        found = AtmosphereIndex(AtmosphereClient()).diff(one, other)
    else:
        found = known_index(index).diff(one.removeprefix("@local/"), other.removeprefix("@local/"))
    samples = found.samples
    if json:
        say_json(
            {
                "added": samples.added,
                "removed": samples.removed,
                "changed": samples.changed,
                "same": samples.same,
                "fields": _fields(found.fields),
                "facts": list(found.facts),
                "shards": found.shards,
            }
        )
        return
    keys = (("added", samples.added), ("removed", samples.removed), ("changed", samples.changed))
    facts(
        {
            "same": f"{plural(samples.same or 0, 'sample')}, {plural(found.shards, 'shard')} of both",
            **{what: _some(some) for what, some in keys},
            "fields": "; ".join(_field_lines(_fields(found.fields))) or "the same",
            "said otherwise": ", ".join(found.facts) or "nothing",
        }
    )


@click.command("copy")
@click.argument("source", help="redis://, postgresql://, sqlite:/// or a file.")
@click.argument("target", help="Likewise; where both say something about a dataset, SOURCE is right.")
@json_option
def copy(source: str, target: str, json: bool) -> None:
    """Copy an index to another database, with everything in it. Once more goes on where it was interrupted."""
    given = None if is_missing(source) else LocalIndex(source)
    if given is None or not any(given.records.read_all(None, kind, limit=1) for kind in (Schema, Entry, Label)):
        raise NotFoundError("the index to copy lists nothing", actual=source, hint="Is its address right?")
    done = given.copy_to(LocalIndex(target))
    if json:
        say_json({**asdict(done), "unread": list(done.unread)})
        return
    say(
        f"{plural(done.copied, 'record')} copied, {done.changed} changed, {done.same} there already"
        + (f", {plural(done.withdrawn, 'entry')} withdrawn." if done.withdrawn else ".")
    )
    for uri in done.unread:
        say(f"passed over, since it cannot be read: {uri}", style="yellow")


@click.command("retract")
@dataset_argument
@click.option("--reason", required=True, help="Why, for everybody to read.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and stop.")
@index_option
@yes_option
@json_option
def retract(ref: str, reason: str, dry_run: bool, index: str | None, yes: bool, json: bool) -> None:
    """Withdraw a version of a dataset, or all of them. The version is never given to anything again."""
    with _index_of(ref, index) as (where, name, version):
        plan = where.retract(name, version, reason=reason, dry_run=True)
        if not json:
            _show_plan(ref, plan, is_public(ref))
        if not dry_run:
            if not yes:
                confirm(f"Retract {ref}? This cannot be taken back.", json)
            plan = where.retract(name, version, reason=reason)
            if not json:
                say(f"{ref} is retracted.", style="bold")
    if json:
        say_json(
            {
                "retracted": [{"name": label.name, "version": label.version} for label in plan.labels],
                "deleted": [str(entry.located) for entry in plan.entries],
                "kept": [str(entry.located) for entry in plan.kept],
                "blobs": [str(blob.cid) for blob in plan.blobs],
                "done": not dry_run,
            }
        )


def _show_plan(ref: str, plan: Withdrawal, public: bool) -> None:
    say(ref, style="bold")
    versions = ", ".join(label.version or "without a version" for label in plan.labels)
    blobs = f", with {plural(len(plan.blobs), 'blob')} ({size(sum(blob.size or 0 for blob in plan.blobs))})"
    facts(
        {
            "retracted": versions,
            "deleted": plural(len(plan.entries), "entry") + (blobs if plan.blobs else ""),
            "stays": (f"{plural(len(plan.kept), 'entry')} that other names stand for; " if plan.kept else "")
            + "schemas, shards elsewhere than in blobs, and the copies that others made",
            "others see": "that it was retracted, when and why" + ("; other software finds nothing" if public else ""),
        }
    )


@contextmanager
def _index_of(ref: str, index: str | None, store: Any = None) -> Iterator[tuple[RecordIndex[Any], str, str | None]]:
    """The index that a reference is of, where its own datasets may be changed, and name and version there."""
    if not is_public(ref):
        yield LocalIndex(index, data_store=store), *named_locally(ref)
        return
    owner, name, version = named_publicly(ref)
    if ref.startswith("at://") or not owner or not name:
        raise UsageError("a dataset of your account is named @you/NAME", actual=ref)
    with logged_in() as client:
        _check_own(client, owner)
        yield AtmosphereIndex(client, data_store=store or PDSBlobStore(client)), name, version


def _check_own(client: AtmosphereClient, owner: str) -> None:
    if client.reader.identity(owner).did != client.did:
        raise UsageError("the dataset is another account's", expected=str(client.handle or client.did), actual=owner)


@contextmanager
def _dataset_at(path: str, type_name: str, index: RecordIndex[Any]) -> Iterator[Dataset[Any]]:
    """The dataset of what is at a path: shards in place; of anything else shards that are there for a while."""
    imported = open_path(path, type_name)
    with tempfile.TemporaryDirectory(prefix="atdata-add-") as scratch:
        if imported.kind != "shards" and imported.layout is None:
            if index.data_store is None:
                raise UsageError(
                    f"what is no shard needs a store: {imported.kind}", path="--store", hint="Give --store FOLDER."
                )
            limit = getattr(getattr(index, "client", None), "blob_limit", None)
            yield imported.gather(Path(scratch), maxsize=limit)
            return
        if scheme_of(path) != "file":
            yield Dataset(path, sample_type=imported.sample_type, layout=imported.layout)
            return
        found = load_dataset(path, imported.sample_type)
        shards, splits = list[ShardRef](), dict[str, list[int]]()
        for name, dataset in found.items():
            splits[name] = list(range(len(shards), len(shards) + len(dataset.shards)))
            shards += dataset.shards
        metadata = {} if list(splits) == ["train"] else {SPLITS: splits}
        yield Dataset(
            FileSource(tuple(shards)), sample_type=imported.sample_type, metadata=metadata, layout=imported.layout
        )


def _store(where: str | None, credentials: str | None) -> Any:
    if where is None:
        return None
    if not where.strip():
        raise UsageError(
            "--store names no place", path="--store", actual=where, hint="Give a folder, or s3://bucket/prefix."
        )
    return bucket_at(where, credentials) if scheme_of(where) == "s3" else LocalDiskStore(where)


def _report(index: RecordIndex[Any], entry: Any, name: str, version: str | None, json: bool) -> None:
    stands = newest(label for label in index.labels_of(entry) if label.name == name)
    version = version or (None if stands is None else stands.version)
    if json:
        say_json(
            {
                "name": name,
                "version": version,
                "uri": str(entry.located),
                "cid": str(entry.cid),
                "samples": entry.size.samples,
                "shards": entry.data_urls,
            }
        )
        return
    say(f"Listed {name}" + (f"@{version}" if version else ""), style="bold green")
    facts({"record": entry.located, "samples": entry.size.samples, "shards": len(entry.shards)})


def _changes(item: Any) -> str:
    if item.retraction is not None:
        return f"retracted: {item.retraction.reason}"
    if item.changes is None:
        return "" if item.entry is not None else "gone"
    changes = item.changes
    parts = [] if changes.samples is None else [f"{changes.samples:+,} samples"]
    parts += [f"+{changes.added} -{changes.removed} shards", *_field_lines(_fields(changes.fields))]
    return ", ".join(parts)


def _fields(changes: Any) -> dict[str, Any]:
    return {
        "added": dict(changes.added),
        "removed": dict(changes.removed),
        "changed": {name: list(both) for name, both in changes.changed.items()},
    }


def _field_lines(fields: dict[str, Any]) -> list[str]:
    lines = [f"+{name}: {kind}" for name, kind in fields["added"].items()]
    lines += [f"-{name}" for name in fields["removed"]]
    return lines + [f"{name}: {before} -> {after}" for name, (before, after) in fields["changed"].items()]


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN:,} more" if len(keys) > SHOWN else ""
    return f"{plural(len(keys), 'sample')}" + (f": {', '.join(keys[:SHOWN])}{more}" if keys else "")
