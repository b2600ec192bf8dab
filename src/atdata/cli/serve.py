"""`atdata serve`: an AppView in one process."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_network

import click

from atdata.appview.following import Following
from atdata.appview.ingest import IngestPace
from atdata.appview.opening import open_appview
from atdata.appview.previews import PublishedPreviews
from atdata.appview.server import AppViewServer
from atdata.appview.web.addresses import web_link
from atdata.appview.xrpc import LOOPBACK, AppViewService, MarkingFetcher, RateLimit, log_lines
from atdata.atproto.syntax import Did
from atdata.cli.ending import told_to_end
from atdata.cli.options import Number, bytes_in, json_option, kept_at
from atdata.cli.output import announce
from atdata.errors import AddressError, AtdataError, UsageError
from atdata.settings import Settings
from atdata.urls import http_form, origin_of

_CONTACTS = "https://... or mailto:..."


@click.command("serve")
@click.option("--listen", default="127.0.0.1:8470", help="HOST:PORT; port 0 takes one that is free.")
@click.option(
    "--upstream",
    multiple=True,
    help="wss://HOST of a server or relay to follow; may be given several times, or not at all.",
)
@click.option(
    "--doorbell",
    multiple=True,
    help="wss://HOST of a Jetstream, which says who has written, and is believed nothing else; may be given several times.",
)
@click.option("--database", help="sqlite:///PATH or postgresql://...; a file of your own by default.")
@click.option("--did", help="The service's DID; did:web of its address by default.")
@click.option("--contact", default="", help="How you are reached, https://... or mailto:...: the pages show it.")
@click.option(
    "--rate",
    type=Number(min=0, max=1e6),
    default=20.0,
    help="Questions a second that one address may ask; 0 for any.",
)
@click.option(
    "--preview-bytes",
    default="32MB",
    help="What may be fetched to show samples of one dataset, such as 32MB; 0 shows none.",
)
@click.option(
    "--keep-changes",
    type=Number(min=0.01),
    default=7.0,
    help="Days for which changes are kept for those who follow them.",
)
@click.option(
    "--ready-lag",
    type=Number(min=0),
    default=0.0,
    help="Seconds without an event after which /ready says no; 0 for never.",
)
@click.option(
    "--proxy",
    multiple=True,
    help="Address of a reverse proxy whose X-Forwarded-For is believed, loopback by default; may be given several times.",
)
@json_option
def serve(
    listen: str,
    upstream: tuple[str, ...],
    doorbell: tuple[str, ...],
    database: str | None,
    did: str | None,
    contact: str,
    rate: float,
    preview_bytes: str,
    keep_changes: float,
    ready_lag: float,
    proxy: tuple[str, ...],
    json: bool,
) -> None:
    """Serve an AppView: follow what is published, and answer questions about it, with proofs, until Ctrl-C.

    Logs are lines of JSON on standard error. With --json, the address is printed as {"url": ...} once it answers.
    """
    (host, port), config, fetched = _address(listen), Settings.of(), bytes_in(preview_bytes, "--preview-bytes")
    replica, ended = open_appview(kept_at(database)), threading.Event()
    try:
        pace = IngestPace(changes_seconds=keep_changes * 86_400)
        streams, bells = [[_stream(url) for url in given] for given in (upstream, doorbell)]
        following = Following(replica, streams, config, ended, doorbells=bells, pace=pace)
        replica.read(lambda reading: reading.sql.first("SELECT 1"))  # the tables are made, or it is said why not
        log_lines()
        service = AppViewService(
            replica,
            Did(did) if did else "",
            fetcher=MarkingFetcher(replica) if following.ingester else None,
            limit=RateLimit(rate, max(1, int(20 * rate))),
            ingest=following.ingester,
            ready_lag=ready_lag,
            proxies=_networks(proxy or LOOPBACK),
            contact=_contact(contact),
            previews=PublishedPreviews.of(fetched) if fetched else None,
        )
        server = AppViewServer(service, host, port, ended)
        with told_to_end(ended), following, server:
            announce(server.url, f"It answers at {server.url}; Ctrl-C ends it.", json)
            ended.wait()
        if server.failure:
            raise AtdataError("the web server has ended by itself", actual=server.failure)
    finally:
        replica.close()


def _stream(url: str) -> str:
    try:
        origin_of(http_form(url))
    except AddressError as error:
        raise UsageError(
            "not the address of a server whose stream can be followed",
            path="--upstream, --doorbell",
            expected="wss://HOST",
            actual=url,
            hint=error.what,
        ) from error
    return url


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65_535
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if is_port and (_is_six(bare) if bare != host else re.fullmatch(r"[\w.-]+", host)):
        return bare, int(port)
    hint = "Give a host, or an address of this machine, and a port; port 0 takes one that is free."
    if "/" in text:
        hint = "Leave the scheme and all behind the port out: it answers over plain HTTP, and a proxy before it does the rest."
    elif ":" in host and bare == host:
        hint = "Write an address of IPv6 in brackets: [::1]:0."
    expected = "HOST:PORT, such as 127.0.0.1:8470, or [::1]:8470 for IPv6"
    raise UsageError("not an address to listen on", path="--listen", expected=expected, actual=text, hint=hint)


def _is_six(text: str) -> bool:
    try:
        return IPv6Address(text) is not None
    except ValueError:
        return False


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(text)) for text in texts)
    except ValueError as error:
        hint = "Give the address from which the proxy asks, such as 10.0.0.2, or its network."
        raise UsageError("not the address of a proxy", path="--proxy", actual=str(error), hint=hint) from error


def _contact(text: str) -> str:
    if text and web_link(text) is None and not re.fullmatch(r"mailto:[^\s@]+@[^\s@]+", text):
        hint = "Everybody sees it: give one without spaces, and without a user or password before the host."
        said = "not an address on the web or for mail"
        raise UsageError(said, path="--contact", expected=_CONTACTS, actual=text, hint=hint)
    return text
