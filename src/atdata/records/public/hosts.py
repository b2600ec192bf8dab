"""An allow-list of the hosts that anybody can reach, over how they are written.

A host that is not written in one of the two plain forms, an IP address as everybody writes it or a name under a
top-level domain that there is, is none that strangers reach. So what other programs read as an address in `10.5`,
`0x0a000005`, `012.0.0.5`, full-width digits or percent-encoding need not be known here: it has neither form.
"""

from __future__ import annotations

import ipaddress
import re
from enum import Enum
from functools import cache
from importlib.resources import files

import msgspec

from atdata.transport.addresses import Address, is_loopback, is_public


class Reach(Enum):
    """The reach of a host: who can connect to it."""

    PUBLIC = "everybody"
    LOOPBACK = "this machine"
    PRIVATE = "some, or nobody"


_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LOOPBACK_NAME = re.compile(r"(?:[a-z0-9-]+\.)*localhost(?:\.localdomain)?|ip6-localhost|ip6-loopback")
# Names under which an address is read out of the name, or that lead to whoever asks. There is no list of all such; what
# is written as four numbers is found under any name.
_WILDCARDS = """
    nip.io sslip.io xip.io 1u.ms rbndr.us local-ip.co local-ip.sh traefik.me localtest.me lvh.me vcap.me fuf.me
    lacolhost.com localho.st lcl.host backname.io yoogle.com
"""
_WILDCARD_ENDS = tuple(f".{name}" for name in _WILDCARDS.split())
_EMBEDDED = re.compile(r"(?<![0-9a-z])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![0-9a-z])")


def reach(host: str) -> Reach:
    """The reach of a host, as its text says; nobody is asked.

    Args:
        host: as it stands in a URL, without port; an IPv6 address in brackets or not.
    """
    name = host.lower()
    if (address := _address(name)) is not None:
        return Reach.PUBLIC if is_public(address) else Reach.LOOPBACK if is_loopback(address) else Reach.PRIVATE
    name = name.removesuffix(".")
    if _LOOPBACK_NAME.fullmatch(name):
        return Reach.LOOPBACK
    labels = name.split(".")
    plain = len(name) <= 253 and len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels)
    if not plain or labels[-1] not in _top_level() or f".{name}".endswith(_WILDCARD_ENDS) or _embeds_private(name):
        return Reach.PRIVATE
    return Reach.PUBLIC


def _address(text: str) -> Address | None:
    """The IP address in its plain form: four decimal numbers without leading zeros, or IPv6."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return None if found.version == 4 and bare is not text else found


def _embeds_private(name: str) -> bool:
    """True if four labels, or numbers in one, are an address that is not public: `10-0-0-5.example.com`."""
    for found in _EMBEDDED.finditer(name):
        address = _address(".".join(str(int(number)) for number in found.groups()))
        if address is not None and not is_public(address):
            return True
    return False


@cache
def _top_level() -> frozenset[str]:
    """The top-level domains that IANA lists, less `arpa`, under which nobody's servers are."""
    listed = msgspec.json.decode((files("atdata.records.public") / "tlds.json").read_bytes())
    return frozenset(" ".join(listed["names"]).split())
