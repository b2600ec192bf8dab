"""Addresses of pages: each thing has one, made of its AT URI, which names its account by DID.

/at/DID                          an account
/at/DID/COLLECTION/RKEY          a record
/at/DID/COLLECTION/RKEY/proof    what proves it; `proof.car` is the proof itself
/@HANDLE/NAME@VERSION            leads to the dataset that the account gave this name, now; so does /@DID/NAME
"""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from atdata.atproto.syntax import AtUri
from atdata.errors import IdentifierError

MOST_HREF = 2000
"""Characters of a link that is followed."""

_WEB = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%")


def record_path(uri: str) -> str | None:
    """The address of the page of an account or a record; `None` where the text is no AT URI that has one."""
    try:
        found = AtUri(uri)
    except IdentifierError:
        return None
    parts = [part for part in (found.authority, found.collection, found.rkey) if part is not None]
    return None if len(parts) == 2 or len(uri) > MOST_HREF else "/at/" + "/".join(map(_part, parts))


def search_path(question: str, cursor: str | None = None) -> str:
    """The address of a page of what a question finds."""
    asked = {"q": question} if cursor is None else {"q": question, "cursor": cursor}
    return f"/search?{urlencode(asked, errors='replace')}"


def web_link(text: str | None) -> str | None:
    """The address on the web that a stranger's text is, as far as it may be followed; `None` where it is none."""
    if text is None or len(text) > MOST_HREF or not set(text) <= _WEB:
        return None
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
    except ValueError:
        return None
    return text if named else None


def _part(text: str) -> str:
    return quote(text, safe=":~", errors="replace")
