"""URLs as text: their parts, and the server that each leads to. What may be dialled is another question (`transport.guard`)."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit

from atdata.errors import AddressError


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
