"""`atdata verify`: check a dataset from the handle to the last sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from atdata.atmosphere import AtmosphereClient, Evidence
from atdata.atmosphere.evidence import as_record, proved_by_file
from atdata.atproto.fetch import MAX_CAR
from atdata.atproto.verify import Link, VerifiedRecord
from atdata.cli.options import file_names, json_option
from atdata.cli.output import console, line, plural, say, say_json, size
from atdata.dataset.verdict import read_for_verdict
from atdata.errors import AtdataError, LimitError, NetworkError, NotFoundError, ProofError, UnverifiedError, UsageError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.loading import load_dataset
from atdata.paths import checked_path
from atdata.records import Entry, Record
from atdata.records.nsids import today
from atdata.replica.columns import KINDS
from atdata.shards.listing import is_file

MAX_EVIDENCE = 4 * MAX_CAR
"""Bytes of evidence that was kept: a proof as text, and the log of an account."""
_EVIDENCE = "Give a file that --keep has written, whole."
_PROOF = "Give a proof.car of an AppView's page, or what com.atproto.sync.getRecord serves, whole: fetch it again."


@click.command("verify")
@click.argument(
    "ref",
    shell_complete=file_names,
    help="@handle/name[@version], at://..., a path, evidence kept with --keep, or the .car file of a proof.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Write the evidence to this file, to check it again offline."
)
@json_option
def verify(ref: str, keep: Path | None, json: bool) -> None:
    """Check every link of a dataset, then read every shard of every split, now, whatever was checked before.

    Any doubt ends with a non-zero exit.
    """
    if keep is not None and keep.suffix.lower() != ".json":  # by which it is known when it is to be checked again
        raise UsageError("evidence is kept in a .json file", path="--keep", expected="NAME.json", actual=str(keep))
    client = AtmosphereClient()
    match _suffix(ref):
        case ".json":
            with _of_file(ref, _EVIDENCE):
                kept = Evidence.from_json(_read(ref, MAX_EVIDENCE, _EVIDENCE)).verify()
            _tell(kept, Entry, json)
            return
        case ".car":
            with _of_file(ref, _PROOF):
                record = proved_by_file(client.reader, _read(ref, MAX_CAR, _PROOF))
            _keep(record.evidence, keep)
            _tell(record, KINDS.get(today(str(record.uri.collection))), json)
            return
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
        _keep(entry.evidence, keep)
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


def _keep(evidence: Evidence, path: Path | None) -> None:
    if path:
        with atomic_file(path) as file:
            write_all(file, f"{evidence.to_json()}\n".encode(), path)


def _suffix(ref: str) -> str:
    """The end of the name of a file of evidence; empty where something else is meant."""
    return "" if ref.startswith("@") or "://" in ref else ref[ref.rfind(".") :].lower()


def _read(ref: str, most: int, hint: str) -> bytes:
    path = checked_path(ref, home=False)
    with disk_errors(path, "a file cannot be read", "May you read it?"):
        if not is_file(ref):
            if path.is_dir():
                raise UsageError("a folder is no file of a proof", uri=ref, hint=f"{hint} A folder of shards: {ref}/")
            raise NotFoundError("there is no such file", uri=ref, hint=f"Check the path. {hint}")
        with path.open("rb") as file:
            found = file.read(most + 1)
    if not found:
        raise ProofError("a file is empty, where a proof should be", uri=ref, hint=hint)
    if len(found) > most:
        raise LimitError("a file is too large for a proof", uri=ref, expected=f"at most {most:,} bytes", hint=hint)
    return found


@contextmanager
def _of_file(ref: str, hint: str) -> Iterator[None]:
    """Have errors say which file it is about, and what one has to be."""
    try:
        yield
    except NetworkError:  # it is about a server
        raise
    except AtdataError as error:
        error.uri, error.hint = error.uri or ref, error.hint or hint
        raise


def _tell(record: VerifiedRecord, kind: type[Record] | None, json: bool) -> None:
    links = record.links
    if kind is not None:
        links = [*links, Link("lexicon", str(as_record(record, kind).NSID), "valid")]
    if json:
        rev = str(record.commit.rev)
        say_json({"ref": str(record.uri), "rev": rev, "links": [vars(link) for link in links], "verified": True})
        return
    _print_links(links)
    say(f"✓ this record was in the repository at revision {record.commit.rev}", style="bold green")


def _print_links(links: list[Link]) -> None:
    for link in links:
        _tick(link.step, link.what, link.value)


def _tick(step: str, what: str, value: str) -> None:
    console().print(line("✓ ", "green"), line(f"{step:10}", "bold"), line(what), line(f"  {value}", "dim"), sep="")
