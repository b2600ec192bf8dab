"""String formats that are no identifiers: datetimes, language tags, URIs, CIDs as text.

https://atproto.com/specs/lexicon#string-formats. For datetimes and languages two questions are kept apart: is the
text well-formed, and does it mean something. Lexicons ask both of a datetime and only the first of a language.

Every function raises `IdentifierError`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NoReturn, TypeAlias

from atdata.errors import IdentifierError

MAX_URI_LENGTH = 8192
_MAX_DATETIME_LENGTH = 64
_MAX_LANGUAGE_LENGTH = 128

_Parts: TypeAlias = tuple[int, int, int, int, int, int, int, int]
_DATETIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,80}:[!-~]+")
# The multibase prefixes of the text encodings in use; 'Q' would be the bare base58 of version 0.
_CID = re.compile(r"[079bBcCfFhkKmMtTuUvVzZ][A-Za-z0-9+/=_-]{7,255}")

# RFC 5646, 2.1, with two differences the AT Protocol makes: the language is in lower case, and the four-letter
# languages reserved for future use stay reserved.
# No pattern is made on import: few processes read a tag.
_LANGTAG = (
    r"(?:[a-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[a-z]{5,8})"
    r"(?:-[A-Za-z]{4})?"
    r"(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*)"
    r"(?P<extensions>(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*)"
    r"(?:-[xX](?:-[A-Za-z0-9]{1,8})+)?"
)
_PRIVATE_LANGTAG = r"[xX](?:-[A-Za-z0-9]{1,8})+"
# Registered before RFC 4646 and not covered by the grammar above.
_GRANDFATHERED_LANGTAG = (
    r"art-lojban|cel-gaulish|en-GB-oed|no-(?:bok|nyn)|sgn-(?:BE-FR|BE-NL|CH-DE)|zh-(?:guoyu|hakka|min|min-nan|xiang)"
    r"|i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)"
)


def refuse(kind: str, text: object, hint: str) -> NoReturn:
    """Raise the `IdentifierError` for text that is no `kind`."""
    actual = shown(text[:200]) if isinstance(text, str) else type(text).__name__
    raise IdentifierError(f"not {kind}", actual=actual, hint=hint)


def shown(text: str) -> str:
    """Text as an error shows it: as it is, or escaped where it holds what is not seen or looks like something else."""
    return text if text.isascii() and text.isprintable() and text else ascii(text)


def check_datetime_syntax(text: str) -> None:
    """Check that text has the form of a datetime: RFC 3339, ISO 8601 and WHATWG all at once (spec: `datetime`)."""
    _datetime_match(text)


def check_datetime(text: str) -> None:
    """Check that text is a moment that exists, from the year 0 on."""
    _existing_parts(text)


def _existing_parts(text: str) -> _Parts:
    parts = _datetime_parts(text)
    year, month, day, hour, minute, second, _, offset = parts
    try:  # Python begins with the year 1; the year 0 was a leap year, as 2000 was
        datetime(year or 2000, month, day, hour, minute, second, tzinfo=timezone(timedelta(minutes=offset)))
    except ValueError:
        refuse("a datetime", text, "The date or the time does not exist.")
    if (year, month, day) == (0, 1, 1) and hour * 60 + minute < offset:
        refuse("a datetime", text, "It lies before the year 0.")
    return parts


def parse_datetime(text: str) -> datetime:
    """The moment, in UTC; digits below a microsecond are cut off.

    The year 0, which the format allows, is refused: `datetime` begins with the year 1.
    """
    year, month, day, hour, minute, second, microsecond, offset = _existing_parts(text)
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, UTC) - timedelta(minutes=offset)
    except (ValueError, OverflowError):
        refuse("a datetime Python can hold", text, "Use a year from 1 to 9999, in UTC.")


def format_datetime(moment: datetime) -> str:
    """The preferred form: UTC, milliseconds, `Z`. Finer digits are cut off.

    Raises:
        IdentifierError: a moment without a time zone.
    """
    if moment.tzinfo is None:
        refuse("a moment", moment.isoformat(), "Give the datetime a time zone.")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_language_syntax(text: str) -> None:
    """Check that text is a well-formed language tag (RFC 5646, 2.2.9): what the `language` format asks."""
    tag = _limited(text, _MAX_LANGUAGE_LENGTH)
    if not any(re.fullmatch(form, tag) for form in (_LANGTAG, _PRIVATE_LANGTAG, _GRANDFATHERED_LANGTAG)):
        refuse("a language tag", text, "Write it like 'en', 'pt-BR' or 'zh-Hant'.")


def check_language(text: str) -> None:
    """Check that a well-formed tag could also be valid (RFC 5646, 2.2.9): it repeats no variant and no extension."""
    check_language_syntax(text)
    match = re.fullmatch(_LANGTAG, text)
    if match is None:
        return
    variants = match["variants"].lower().split("-")[1:]
    singletons = [subtag for subtag in match["extensions"].lower().split("-") if len(subtag) == 1]
    for subtags in (variants, singletons):
        if len(set(subtags)) < len(subtags):
            refuse("a valid language tag", text, "A variant or an extension is repeated.")


def check_uri(text: str) -> None:
    """Check that text is a URI with a scheme, in printable ASCII, of at most 8 KB (spec: `uri`; RFC 3986)."""
    if not _URI.fullmatch(_limited(text, MAX_URI_LENGTH)):
        refuse("a URI", text, "A URI is a scheme, a colon, and printable ASCII without spaces; encode the rest as %XX.")


def check_cid(text: str) -> None:
    """Check that text looks like a CID of version 1 in any base (spec: `cid`). For the blessed form use `Cid.parse`."""
    if not _CID.fullmatch(_limited(text, 256)):
        refuse("a CID", text, "A CID in text form begins with its base, such as 'b' for base32.")


def _limited(text: str, length: int) -> str:
    # Patterns never run over text longer than could match.
    return text if len(text) <= length else ""


def _datetime_match(text: str) -> re.Match[str]:
    match = _DATETIME.fullmatch(_limited(text, _MAX_DATETIME_LENGTH))
    if match is None or text.endswith("-00:00"):
        refuse("a datetime", text, "Write it like 1985-04-12T23:20:50.123Z.")
    return match


def _datetime_parts(text: str) -> _Parts:
    """Year, month, day, hour, minute, second, microsecond, and the offset from UTC in minutes."""
    match = _datetime_match(text)
    year, month, day, hour, minute, second, fraction, sign, *of_zone = match.groups()
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    # An hour or minute of the offset beyond its range gives an offset beyond a day, which is refused.
    hours, minutes = (int(part or 0) for part in of_zone)
    offset = hours * 60 + minutes if minutes < 60 else 24 * 60
    moment = int(year), int(month), int(day), int(hour), int(minute), int(second), microsecond
    return *moment, -offset if sign == "-" else offset
