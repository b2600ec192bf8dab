"""The IP addresses of the public network, by our own table: each Python's own differs from the others'.

Nothing but the standard library is imported here, so that every version of Python can be asked about this file.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# The IANA IPv4 Special-Purpose Address Registry (RFC 6890), whole: also what is reachable in it is no server of
# anybody's (anycast of protocols, AS112's sinks). Beside it the space that no host has: multicast (RFC 5771).
_SPECIAL_4 = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
"""
# All that IANA gives to hosts (IPv6 Address Space registry, RFC 4291) ...
_UNICAST = ipaddress.IPv6Network("2000::/3")
# ... less the IANA IPv6 Special-Purpose Address Registry, as far as it lies in there; rest of the old 6bone (RFC 3701).
_SPECIAL_6 = "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 3ffe::/16"

_NOT_PUBLIC_4 = tuple(ipaddress.IPv4Network(text) for text in _SPECIAL_4.split())
_NOT_PUBLIC_6 = tuple(ipaddress.IPv6Network(text) for text in _SPECIAL_6.split())
_LOOPBACK_4, _LOOPBACK_6 = ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Address("::1")

_LOW = ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96")  # mapped; NAT64 (RFC 6052)
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380


def is_public(address: Address) -> bool:
    """True if an address is one of the public network, where it carries an IPv4 address that one too."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    inside = embedded(address)
    if inside is not None:
        return is_public(inside)
    return address in _UNICAST and not address.scope_id and not any(address in network for network in _NOT_PUBLIC_6)


def is_loopback(address: Address) -> bool:
    """True if an address is this machine's own, also as an IPv4 address in an IPv6 one."""
    inside = embedded(address)
    return inside in _LOOPBACK_4 if inside is not None else address == _LOOPBACK_6


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an address is or leads to: mapped, NAT64, 6to4, Teredo.

    Compatible (`::/96`) and local NAT64 (`64:ff9b:1::/48`) addresses lead nowhere that is public.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    bits = int(address)
    if any(address in network for network in _LOW):
        return ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        return ipaddress.IPv4Address(~bits & 0xFFFFFFFF)
    return None
