"""`atdata verify`: check a dataset from the handle to the last sample, and say what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from atdata.atmosphere import AtmosphereClient, Evidence
from atdata.atmosphere.evidence import as_record
from atdata.atproto.verify import Link
from atdata.cli.output import console, plain, say, say_json, size, some
from atdata.dataset import Dataset
from atdata.errors import UnverifiedError
from atdata.loading import load_dataset
from atdata.progress import progress
from atdata.records import Entry
from atdata.shards.tar import BLOCK


def verify(
    ref: Annotated[str, typer.Argument(help="@handle/name[@version], at://..., a path, or evidence kept with --keep.")],
    keep: Annotated[
        Path | None, typer.Option(help="Write the evidence to this file, to check it again offline.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON.")] = False,
) -> None:
    """Check every link of a dataset, then read every shard of every split. Any doubt ends with a non-zero exit."""
    if ref.endswith(".json") and Path(ref).is_file():
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
            keep.write_text(entry.evidence.to_json() + "\n", "utf-8")
    if not json:
        _print_links(links)
    found = {name: _read(name, dataset) for name, dataset in splits.items()}
    unproven = [shard.url for dataset in splits.values() for shard in dataset.shards if shard.digest is None]
    if unproven:
        raise UnverifiedError(
            "the shards are sound, but nothing says whose they are or what they should be",
            step="shard digest",
            uri=unproven[0],
            hint="Only a published dataset can be verified: @handle/name.",
        )
    if json:
        say_json({"ref": ref, "links": [vars(link) for link in links], "splits": found, "verified": True})
        return
    for name, counts in found.items():
        _tick(
            "shards", f"{name}: {some(counts['shards'], 'shard')}, {size(counts['bytes'])}", "every digest as published"
        )
        _tick("samples", f"{name}: {some(counts['samples'], 'sample')}", "every one read, and of its type")
    say("✓ verified", style="bold green")


def _read(name: str, dataset: Dataset[Any]) -> dict[str, int]:
    """One epoch: every shard hashed, every sample decoded."""
    sizes = [shard.size or 0 for shard in dataset.shards]
    samples = 0
    with progress(f"Reading {name}", sum(sizes)) as bars:
        for number, rows in enumerate(dataset.rows_by_shard()):
            bars.begin(f"shard {number + 1} of {len(sizes)}", sizes[number])
            for _, packed in rows:
                dataset.decode(packed)
                samples += 1
                bars.advance(BLOCK + len(packed) + -len(packed) % BLOCK)
    return {"shards": len(sizes), "bytes": sum(sizes), "samples": samples}


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
    line = (
        Text("✓ ", style="green")
        .append(f"{step:10}", style="bold")
        .append(plain(what))
        .append(f"  {plain(value)}", style="dim")
    )
    console().print(line)
