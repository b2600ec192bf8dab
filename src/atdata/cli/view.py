"""`atdata view`: a dataset in a browser, on this machine."""

from __future__ import annotations

import ipaddress
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from atdata.appview.server import WebServer
from atdata.atmosphere import AtmosphereClient
from atdata.cli.ending import told_to_end
from atdata.cli.options import Whole, file_names, json_option, split_option, unverified_option
from atdata.cli.output import announce
from atdata.errors import AtdataError, UsageError
from atdata.loading import load_dataset
from atdata.loading.references import is_reference


@click.command("view")
@click.argument(
    "ref",
    shell_complete=file_names,
    help="Shards (a file, a folder, a pattern), @local/name, or a published dataset: @handle/name, at://...",
)
@split_option
@unverified_option
@click.option("--host", default="127.0.0.1", help="A name or address of this machine, and of no other.")
@click.option("--port", type=Whole(min=0, max=65_535), default=0, help="0 takes one that is free.")
@click.option("--open/--no-open", "browser", default=None, help="Open a browser; by default where there is a screen.")
@json_option
def view(
    ref: str, split: str | None, allow_unverified: bool, host: str, port: int, browser: bool | None, json: bool
) -> None:
    """Look at a dataset in a browser: its fields, its values, its samples page by page, until Ctrl-C.

    What is published is verified first. Only this machine can ask. With --json, the address is printed as {"url": ...}.
    """
    _check_loopback(host)
    client = AtmosphereClient()
    splits = load_dataset(ref, client=client, allow_unverified=allow_unverified)
    name = split if split is not None else next(iter(splits))
    splits[name]  # or it is said which there are
    ended = threading.Event()

    def make(url: str) -> Any:
        from atdata.appview.viewing import ViewedDataset, view_app  # only now: they need an extra

        return view_app(ViewedDataset(_shown_ref(ref), splits, name, client, allow_unverified), url)

    server = WebServer(make, "showing a dataset in a browser", host, port, ended)
    with told_to_end(ended), server:
        announce(server.url, f"{ref} is shown at {server.url}; Ctrl-C ends it.", json)
        if browser or (browser is None and not json and _has_screen()):
            with suppress(webbrowser.Error):
                webbrowser.open(server.url)
        ended.wait()
    if server.failure:
        raise AtdataError("the web server has ended by itself", actual=server.failure)


def _check_loopback(host: str) -> None:
    with suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    hint = "Look at it there through a tunnel: ssh -L PORT:127.0.0.1:PORT."
    raise UsageError(
        "only this machine may ask", path="--host", expected="127.0.0.1, ::1 or localhost", actual=host, hint=hint
    )


def _shown_ref(ref: str) -> str:
    """The reference as it loads the same from any folder."""
    is_path = not is_reference(ref) and "://" not in ref
    return str(Path(ref).absolute()) if is_path else ref


def _has_screen() -> bool:
    """True if there is a browser with a window of its own: others would take the terminal."""
    if not sys.stdout.isatty():
        return False
    with suppress(webbrowser.Error):
        found = webbrowser.get()
        return type(found) is not webbrowser.GenericBrowser and bool(getattr(found, "background", True))
    return False
