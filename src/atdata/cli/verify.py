"""`atdata verify`: check a dataset from the handle to the last sample."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from atdata.atmosphere import AtmosphereClient, Evidence
from atdata.atmosphere.evidence import as_record
from atdata.atproto.verify import Link
from atdata.cli.options import Json
from atdata.cli.output import console, line, plural, say, say_json, size
from atdata.dataset.verdict import read_for_verdict
from atdata.errors import UnverifiedError
from atdata.files import atomic_file, write_all
from atdata.loading import load_dataset
from atdata.records import Entry
from atdata.shards.listing import is_file


def verify(
    ref: Annotated[str, typer.Argument(help="@handle/name[@version], at://..., a path, or evidence kept with --keep.")],
    keep: Annotated[
        Path | None, typer.Option(help="Write the evidence to this file, to check it again offline.")
    ] = None,
    json: Json = False,
) -> None:
    """Check every link of a dataset, then read every shard of every split, now, whatever was checked before.

    Any doubt ends with a non-zero exit.
    """
    if ref.endswith(".json") and is_file(ref):
        _verify_kept(Path(ref), json)
        return
    client = AtmosphereClient()
    splits = load_dataset(ref, client=client)
    entry = next(iter(splits.values())).entry
    links: list[Link] = []
    if isinstance(entry, Entry) and entry.evidence:
        schema = client.reader.record(entry.schema_ref)
        links = [
            *entry.evidence.verify().links,
            Link("lexicon", str(entry.NSID), "valid"),
            Link("schema", str(schema.cid), "proven"),
        ]
        if keep:
            with atomic_file(keep) as file:
                write_all(file, f"{entry.evidence.to_json()}\n".encode(), keep)
    if not json:
        _print_links(links)
    found = {name: read_for_verdict(dataset.view, name) for name, dataset in splits.items()}
    unproven = [shard.url for dataset in splits.values() for shard in dataset.shards if shard.digest is None]
    if unproven:
        raise UnverifiedError(
            "the shards are valid, but no published digest says what they should be",
            step="shard digest",
            uri=unproven[0],
            hint="Only a published dataset can be verified: @handle/name.",
        )
    if json:
        counts = {name: asdict(verdict) for name, verdict in found.items()}
        say_json({"ref": ref, "links": [vars(link) for link in links], "splits": counts, "verified": True})
        return
    for name, verdict in found.items():
        read = f"{plural(verdict.shards, 'shard')}, {size(verdict.bytes)}"
        _tick("shards", f"{name}: {read}", "every digest as published")
        if verdict.manifests:
            _tick("manifests", f"{name}: {plural(verdict.manifests, 'manifest')}", "every one of its shard")
        _tick("samples", f"{name}: {plural(verdict.samples, 'sample')}", "every one read, and of its type")
    say("✓ verified", style="bold green")


def _verify_kept(path: Path, json: bool) -> None:
    record = Evidence.from_json(path.read_bytes()).verify()
    as_record(record, Entry)
    if json:
        say_json({"ref": str(record.uri), "links": [vars(link) for link in record.links], "verified": True})
        return
    _print_links(record.links)
    say(f"✓ this record was in the repository at revision {record.commit.rev}", style="bold green")


def _print_links(links: list[Link]) -> None:
    for link in links:
        _tick(link.step, link.what, link.value)


def _tick(step: str, what: str, value: str) -> None:
    console().print(line("✓ ", "green"), line(f"{step:10}", "bold"), line(what), line(f"  {value}", "dim"), sep="")
