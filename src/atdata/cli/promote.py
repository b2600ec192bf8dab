"""`atdata promote`: from a team's index to the network."""

from __future__ import annotations

import click

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.cli.account import logged_in
from atdata.cli.index import confirm, known_index
from atdata.cli.options import (
    credentials_option,
    description_option,
    index_option,
    json_option,
    license_option,
    ref_argument,
    tag_option,
    yes_option,
)
from atdata.cli.output import facts, say, say_json, size
from atdata.dataset.stores import AbstractDataStore
from atdata.errors import UsageError
from atdata.local import S3DataStore
from atdata.promote import promote_to_atmosphere
from atdata.records import Entry
from atdata.shards.urls import scheme_of


@click.command("promote")
@ref_argument
@click.option("--to", help="Copy the shards: 'blobs' for your own repository, or s3://bucket/prefix.")
@credentials_option
@click.option("--name", help="Another name on the network.")
@click.option("--version", help="Another version than its labels say.")
@description_option
@tag_option
@license_option
@click.option("--schema-version", help="Another version for the schema.")
@click.option("--allow-private/--no-allow-private", help="Publish addresses that not everybody can read.")
@index_option
@yes_option
@json_option
def promote(
    ref: str,
    to: str | None,
    credentials: str | None,
    name: str | None,
    version: str | None,
    description: str | None,
    tag: tuple[str, ...],
    license: str | None,  # noqa: A002
    schema_version: str | None,
    allow_private: bool,
    index: str | None,
    yes: bool,
    json: bool,
) -> None:
    """Publish a dataset of your team's index under your own identity."""
    team = known_index(index)
    entry = team.get_dataset(ref)
    with logged_in() as client:
        if not json:
            _plan(entry, client, to)
        if not yes:
            confirm("Publish it? What is published stays public.", json)
        uri = promote_to_atmosphere(
            entry,
            team,
            client,
            name=name,
            version=version,
            description=description,
            tags=tag or None,
            license=license,
            schema_version=schema_version,
            data_store=_store(to, credentials, client),
            allow_private=allow_private,
        )
        published = AtmosphereIndex(client).get_dataset(uri)
        ref = f"@{client.handle or client.did}/{published.name}"
        if json:
            say_json({"uri": str(uri), "cid": str(published.cid), "ref": ref, "shards": published.data_urls})
            return
        say(f"Published {ref}", style="bold green")
        facts({"record": uri, "cid": published.cid, "schema": published.schema_ref})
        say(f"Anyone can now run: atdata verify {ref}")


def _plan(entry: Entry, client: AtmosphereClient, to: str | None) -> None:
    say(entry.name, style="bold")
    facts(
        {
            "account": client.handle or client.did,
            "samples": entry.size.samples,
            "shards": len(entry.shards),
            "size": size(entry.size.bytes) if entry.size.bytes else None,
            "shards go": {None: "nowhere: they stay where they are", "blobs": "to your repository"}.get(to, f"to {to}"),
        }
    )


def _store(to: str | None, credentials: str | None, client: AtmosphereClient) -> AbstractDataStore | None:
    """The store that shards are copied to."""
    if to is None:
        return None
    return PDSBlobStore(client) if to == "blobs" else bucket_at(to, credentials)


def bucket_at(to: str, credentials: str | None) -> S3DataStore:
    """The store in the bucket that `s3://bucket/prefix` names.

    Raises:
        UsageError: it names none.
    """
    bucket, _, prefix = to.removeprefix("s3://").partition("/")
    if scheme_of(to) != "s3" or not bucket:
        hint = "Give the address of a bucket."
        raise UsageError("the address names no bucket", expected="s3://bucket/prefix", actual=to, hint=hint)
    return S3DataStore(credentials, bucket=bucket, prefix=prefix)
