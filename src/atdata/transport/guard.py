"""The addresses that may be dialled.

Text found in a record or a DID document is a stranger's: it may name only `https` servers on the public
network. The check is made on the address that is dialled, after name resolution, so a name cannot
resolve to one address for the check and to another for the connection.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

from atdata.errors import AddressError
from atdata.transport.addresses import Address, is_loopback, is_public

MAX_ADDRESSES = 4
"""Addresses of one name that are tried: each may take as long as a connection may."""
_WAY_OUT = "Addresses found in records must be https and public; ATDATA_ALLOW_LOOPBACK=1 allows this machine's own."


def split_url(url: str) -> SplitResult:
    """The parts of a URL, of any scheme, with a port that is a number.

    Raises:
        AddressError: it is no URL.
    """
    if not re.fullmatch(r"[!-~]+", url):  # urlsplit would drop some of the rest in silence
        raise AddressError(
            "an address is not a URL",
            actual=ascii(url)[:200],
            hint="Percent-encode what is not ASCII, and punycode such a host.",
        )
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # they are read only here
    except ValueError as error:
        raise AddressError("an address is not a URL", actual=ascii(url)[:200]) from error
    return parts


def join_url(base: str, location: str) -> str:
    """The URL that a reference in an answer leads to (RFC 3986, section 5: Reference Resolution).

    Raises:
        AddressError: it is no reference.
    """
    try:
        return urljoin(base, location)
    except ValueError as error:
        raise AddressError("an address is not a URL", uri=base, actual=ascii(location)[:200]) from error


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL.

    Raises:
        AddressError: it is no http or https URL, or it carries credentials.
    """
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError("an address is not an http or https URL", actual=ascii(url)[:200])
    if parts.username is not None or parts.password is not None:
        raise AddressError("an address contains credentials", actual=f"{parts.scheme}://...@{parts.hostname}")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def http_form(url: str) -> str:
    """The http or https URL of a ws or wss one: the same server, to which the same rules apply.

    Raises:
        AddressError: it is no ws or wss URL.
    """
    parts = split_url(url)
    if parts.scheme not in ("ws", "wss"):
        raise AddressError("an address is not a ws or wss URL", actual=ascii(url)[:200])
    return parts._replace(scheme="http" if parts.scheme == "ws" else "https").geturl()


def check_scheme(url: str, allow_loopback: bool) -> None:
    """Refuse plain http, except to this machine where that was allowed.

    Raises:
        AddressError: the URL is not one a stranger may give.
    """
    origin_of(url)
    parts = split_url(url)
    if parts.scheme == "https":
        return
    host = parts.hostname or ""
    if not (allow_loopback and is_loopback_host(host)):
        raise AddressError("an untrusted address is not https", uri=url[:200], hint=_WAY_OUT)


def resolve(host: str) -> list[Address]:
    """The addresses of a host, in the order to try them.

    Raises:
        AddressError: there are none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressError(
            "a host name does not resolve", actual=host, hint="Check the name and the network."
        ) from error
    return [ipaddress.ip_address(info[4][0]) for info in found]


def check_address(address: Address, host: str, allow_loopback: bool) -> None:
    """Refuse what is not on the public network.

    Raises:
        AddressError: a private, local, reserved or multicast address.
    """
    if not (is_public(address) or (allow_loopback and is_loopback(address))):
        raise AddressError("an untrusted address is not public", uri=host, actual=str(address), hint=_WAY_OUT)


def to_dial(host: str, allow_loopback: bool | None) -> Iterator[Address]:
    """The addresses of a host to try in turn, each checked as it is given; with `None` no address is refused.

    Raises:
        AddressError: there are none, or the next one must not be dialled.
    """
    for address in resolve(host)[:MAX_ADDRESSES]:
        if allow_loopback is not None:
            check_address(address, host, allow_loopback)
        yield address


def is_loopback_host(host: str) -> bool:
    """True if a host of an address is this machine, by its name or as an IP address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return is_loopback(ipaddress.ip_address(host))
    except ValueError:
        return False
