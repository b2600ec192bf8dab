"""The addresses that may be dialled.

Text found in a record or a DID document is a stranger's: it may name only `https` servers on the public
network. The check is made on the address that is dialled, after name resolution, so a name cannot
resolve to one address for the check and to another for the connection.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from atdata.errors import AddressError
from atdata.transport.addresses import Address, is_loopback, is_public
from atdata.urls import origin_of, split_url

MAX_ADDRESSES = 4
"""Addresses of one name that are tried: each may take as long as a connection may."""
_WAY_OUT = "Addresses found in records must be https and public; ATDATA_ALLOW_LOOPBACK=1 allows this machine's own."


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
