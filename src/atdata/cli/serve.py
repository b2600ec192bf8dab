"""`atdata serve`: an AppView in one process."""

from __future__ import annotations

import json as jsons
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from atdata.appview.following import Following
from atdata.appview.opening import open_appview
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, MarkingFetcher, RateLimit, log_lines
from atdata.cli.options import Json
from atdata.cli.output import say
from atdata.errors import AtdataError, UsageError
from atdata.settings import Settings


def serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes one that is free.")] = "127.0.0.1:8470",
    upstream: Annotated[
        list[str] | None,
        typer.Option(help="wss://HOST of a server or relay to follow; may be given several times, or not at all."),
    ] = None,
    doorbell: Annotated[
        list[str] | None,
        typer.Option(help="wss://HOST of a Jetstream, which says who has written; nothing else of it is believed."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="sqlite:///PATH or postgresql://...; a file of your own by default.")
    ] = None,
    did: Annotated[str | None, typer.Option(help="The service's DID; did:web of its address by default.")] = None,
    rate: Annotated[float, typer.Option(help="Questions a second that one address may ask; 0 for any.", min=0)] = 20.0,
    json: Json = False,
) -> None:
    """Serve an AppView: follow what is published, and answer questions about it, with proofs, until Ctrl-C.

    Logs are lines of JSON on standard error. With --json, the address is printed as {"url": ...} once it answers.
    """
    (host, port), config = _address(listen), Settings.of()
    replica, ended = open_appview(database or str(config.data / "appview.sqlite")), threading.Event()
    try:
        following = Following(replica, upstream or (), config, ended, doorbells=doorbell or ())
        replica.read(lambda reading: reading.sql.first("SELECT 1"))  # the tables are made, or it is said why not
        log_lines()
        limit, fetcher = (
            RateLimit(rate, max(1, int(20 * rate))),
            MarkingFetcher(replica) if upstream or doorbell else None,
        )
        service = AppViewService(replica, did or _did(host, port), fetcher=fetcher, limit=limit)
        server = AppViewServer(service, host, port, ended)
        with _told(ended), following, server:
            _announce(server.url, json)
            ended.wait()
        if server.failure:
            raise AtdataError("the web server has ended by itself", actual=server.failure)
    finally:
        replica.close()


def _announce(url: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(jsons.dumps({"url": url}) + "\n")
    else:
        say(f"It answers at {url}; Ctrl-C ends it.")
    sys.stdout.flush()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise UsageError("not an address to listen on", expected="HOST:PORT", actual=text)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _did(host: str, port: int) -> str:
    return f"did:web:{host.replace(':', '%3A')}%3A{port}"


@contextmanager
def _told(ended: threading.Event) -> Iterator[None]:
    """Have SIGTERM and SIGINT set an event."""

    def tell(_number: int, _frame: Any) -> None:
        ended.set()

    before = {each: signal.signal(each, tell) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
