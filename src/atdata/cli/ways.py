"""Lenses on the way from a dataset to a type, as the command line names and shows them; and `atdata lens explain`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from atdata.atmosphere import AllowedCode, AtmosphereClient
from atdata.atmosphere.lens_network import FoundLens, LensNetwork
from atdata.atproto.syntax import AtUri
from atdata.cli.index import is_public, known_index
from atdata.cli.options import file_names, index_option, json_option
from atdata.cli.output import say, say_json, table
from atdata.cli.schema import described
from atdata.errors import AtdataError, UsageError
from atdata.loading.network import find_entry
from atdata.loading.references import own_index
from atdata.local import LocalIndex
from atdata.records import Schema
from atdata.schema import type_of

_CLASS = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")

TYPE = "MODULE:TYPE, a class of yours; or a schema: NAME, NAME@VERSION, an address, or shards."
repo_option = click.option("--repo", multiple=True, help="Whose lenses to look at too; may be given several times.")
code_option = click.option(
    "--allow-code",
    multiple=True,
    help="Code of lenses that may be fetched and run in a sandbox, https://REPOSITORY@COMMIT=sha256:DIGEST; may be given several times.",
)


@click.command("explain")
@click.argument("ref", help="A dataset, of the network or of your index, or the address of its schema.")
@click.option("--to", "target", required=True, help=f"The type to see it as. {TYPE}")
@repo_option
@click.option("--policy", shell_complete=file_names, help="The file of a policy; ATDATA_POLICY by default.")
@code_option
@index_option
@json_option
def explain(
    ref: str,
    target: str,
    repo: tuple[str, ...],
    policy: str | None,
    allow_code: tuple[str, ...],
    index: str | None,
    json: bool,
) -> None:
    """Show through which lenses a dataset would be seen as another type: where each is from, what it loses, and whether it
    is verified.
    """
    client = AtmosphereClient()
    own = own_index(searched_index(index), client.settings)
    network = LensNetwork(client, accounts(client, repo), policy, own, allowed_code(allow_code))
    found = network.find(_schema(client, ref, index), named_type(target, index, "--to"))
    if json:
        say_json(as_data(found))
        return
    if found.way.edges:
        table(*way_table(client, found))
    else:
        say("The types are one: no lens is needed.")
    for key, why in sorted(found.passed.items()):
        say(f"passed over {key}: {why}", style="yellow")


def _schema(client: AtmosphereClient, ref: str, index: str | None) -> Schema:
    if is_public(ref):
        if not ref.startswith("at://") or AtUri(ref).collection != Schema.NSID:
            ref = str(find_entry(client, ref).schema_ref)
        return client.read(ref, Schema)
    team = known_index(index)
    if not ref.startswith("at://") or AtUri(ref).collection != Schema.NSID:
        ref = str(team.get_dataset(ref).schema_ref)
    return team.get_schema(ref)


def named_type(text: str, index: str | None, option: str) -> Any:
    """The sample type that an option names."""
    return imported_type(text, option) if _CLASS.fullmatch(text) else type_of(described(text, index))


def imported_type(text: str, option: str) -> Any:
    """The class that `module:Type` names, of a module in the working folder, or one that is installed.

    Raises:
        UsageError: there is none.
    """
    module, _, name = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` has it
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            "there is no such sample type", path=option, actual=text, expected="module:Type", hint=str(error)
        ) from None


def account_of(text: str) -> str:
    """The DID or handle that somebody typed with an @."""
    return text.removeprefix("@")


def accounts(client: AtmosphereClient, repos: Iterable[str]) -> tuple[str, ...]:
    """The accounts, addresses of lenses, and services, that options name. One that is not there would else be passed over."""
    found = tuple(map(account_of, repos))
    for who in found:
        if "://" not in who:
            client.reader.identity(who)
    return found


def searched_index(index: str | None) -> LocalIndex | None:
    """The index that an option names, to look for lenses in; none is made by looking.

    Raises:
        UsageError: there is none.
    """
    return None if index is None else known_index(index)


def allowed_code(given: Iterable[str]) -> tuple[AllowedCode, ...]:
    """The code that options allow."""
    return tuple(AllowedCode(code, digest) for code, _, digest in (text.rpartition("=") for text in given))


def way_table(client: AtmosphereClient, found: FoundLens) -> tuple[list[str], list[list[str]]]:
    """A way as a table: its columns, and a row for each lens."""
    rows = [
        [
            str(number),
            edge.name,
            _place(client, edge.place),
            "yes" if edge.verified else "no",
            "; ".join(edge.losses) or "nothing",
            edge.key,
        ]
        for number, edge in enumerate(found.way.edges, 1)
    ]
    return ["", "lens", "from", "verified", "loses", "record"], rows


def as_data(found: FoundLens) -> dict[str, Any]:
    """A way for `--json`."""
    lenses = [
        {"lens": edge.key, "name": edge.name, "from": edge.place, "losses": edge.losses, "verified": edge.verified}
        for edge in found.way.edges
    ]
    return {"lenses": lenses, "passed": dict(found.passed)}


def _place(client: AtmosphereClient, place: str) -> str:
    """The place that a lens is from; an account by its handle, if it has one that is proven."""
    if place.startswith("did:"):
        with suppress(AtdataError):
            return client.reader.shown_handle(client.reader.identity(place).did) or place
    return place
