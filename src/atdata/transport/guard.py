"""Which addresses may be dialled.

Text found in a record or a DID document is a stranger's: it may name only `https` servers on the public
network. The check is made on the address that is dialled, after name resolution, so a name cannot
resolve to one address for the check and to another for the connection.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TypeAlias
from urllib.parse import urlsplit

from atdata.errors import AddressError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network(
    "2000::/3"
)  # all that is assigned of IPv6; beside it `is_global` takes much for granted
_WAY_OUT = "Addresses found in records must be https and public; ATDATA_ALLOW_LOOPBACK=1 allows this machine's own."


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL.

    Raises:
        AddressError: it is no http or https URL, or it carries credentials.
    """
    if not re.fullmatch(r"[!-~]+", url):  # urlsplit would drop some of the rest in silence
        raise AddressError(
            "an address that is no URL",
            actual=repr(url)[:200],
            hint="Percent-encode what is not ASCII, and punycode such a host.",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressError("an address that is no URL", actual=url[:200]) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError("an address that is no http or https URL", actual=url[:200])
    if parts.username is not None or parts.password is not None:
        raise AddressError("an address with credentials in it", actual=f"{parts.scheme}://...@{parts.hostname}")
    return f"{parts.scheme}://{parts.hostname}:{port or (443 if parts.scheme == 'https' else 80)}"


def check_scheme(url: str, allow_loopback: bool) -> None:
    """Refuse plain http, except to this machine where that was allowed.

    Raises:
        AddressError: the URL is not one a stranger may give.
    """
    origin_of(url)
    parts = urlsplit(url)
    if parts.scheme == "https":
        return
    host = parts.hostname or ""
    if not (allow_loopback and (host == "localhost" or host.endswith(".localhost") or _is_loopback_literal(host))):
        raise AddressError("an address from a stranger is not https", uri=url[:200], hint=_WAY_OUT)


def resolve(host: str) -> list[Address]:
    """The addresses of a host, in the order to try them.

    Raises:
        AddressError: there are none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressError(
            "a server's name does not resolve", actual=host, hint="Check the name and the network."
        ) from error
    return [ipaddress.ip_address(info[4][0]) for info in found]


def check_address(address: Address, host: str, allow_loopback: bool) -> None:
    """Refuse what is not on the public network.

    Raises:
        AddressError: a private, local, reserved or multicast address.
    """
    effective = _embedded(address)
    if effective.is_loopback and allow_loopback:
        return
    public = effective.is_global and not effective.is_multicast
    if not public or (effective.version == 6 and effective not in _UNICAST):
        raise AddressError("an address from a stranger is not public", uri=host, actual=str(address), hint=_WAY_OUT)


def _is_loopback_literal(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where it is a transition address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped or address.sixtofour:
            return address.ipv4_mapped or address.sixtofour or address
        if address.teredo:
            return address.teredo[1]
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
