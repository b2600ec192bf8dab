"""Credentials for S3, from a mapping or a file of `NAME=value` lines. No value of them is ever printed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atdata.errors import NotFoundError, UsageError
from atdata.paths import checked_path
from atdata.redaction import Secret, revealed
from atdata.shards.s3_client import Credentials

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


@dataclass(frozen=True)
class GivenAccess:
    """The credentials that were given.

    Attributes:
        keys: access key and secret key, and a session token where there is one.
        endpoint_url: the server.
        region: of the bucket.
    """

    keys: Credentials | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    region: str | None = None


def read_credentials(given: Mapping[str, str] | str | os.PathLike[str] | None) -> GivenAccess:
    """The credentials and options for S3 in a mapping, or a file. Names that mean nothing here are left alone.

    Raises:
        UsageError: half of a pair of keys, or a line that says nothing.
        NotFoundError: there is no such file.
    """
    if given is None:
        return GivenAccess()
    if isinstance(given, Mapping):
        given = values = sealed(given)
    elif isinstance(given, str | os.PathLike):
        values = parse_env(_text(checked_path(given)), str(given))
    else:
        raise UsageError(
            "credentials must be a mapping or the path of a file",
            expected="a mapping, a path, or None",
            actual=type(given).__name__,
        )
    values = {name: Secret(value.strip()) for name, value in values.items() if value.strip()}
    if (_KEY in values) != (_SECRET in values):
        there, lacking = (_KEY, _SECRET) if _KEY in values else (_SECRET, _KEY)
        raise UsageError("S3 credentials are incomplete", expected=f"{lacking} too", actual=there)
    return GivenAccess(
        tuple(values[name] for name in (_KEY, _SECRET, _TOKEN) if name in values) if _KEY in values else None,
        _plain(values, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        _plain(values, "AWS_REGION", "AWS_DEFAULT_REGION"),
    )


def sealed(given: Mapping[str, str]) -> dict[str, Secret]:
    """A mapping's values as secrets."""
    return {str(name): Secret(str(revealed(value))) for name, value in given.items()}


def _plain(values: Mapping[str, Secret], *names: str) -> str | None:
    """The first of some values that are no secrets."""
    return next((values[name].reveal() for name in names if name in values), None)


def _text(path: Path) -> Secret:
    try:
        return Secret(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise NotFoundError("the credentials file does not exist", uri=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the credentials file cannot be read", uri=str(path), actual=type(error).__name__) from None


def parse_env(text: str, uri: str) -> dict[str, Secret]:
    """The values in lines `NAME=value`: quoted or not, with `export` before or not, and comments.

    Raises:
        UsageError: a line says nothing; it is named by its number, never by what it holds.
    """
    text, values = Secret(text), {}
    for number, said in enumerate(map(_said, text.splitlines()), 1):
        if said is None:
            raise UsageError(
                "a line of the credentials file is not NAME=value",
                uri=uri,
                path=f"line {number}",
                expected="NAME=value",
            )
        values.update(said)
    return values


def _said(line: str) -> dict[str, Secret] | None:
    """The name and value in a line, `None` where there are none."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return {}
    match = _LINE.fullmatch(stripped)
    value = None if match is None else _value(match[2])
    return None if match is None or value is None else {match[1]: Secret(value)}


def _value(written: str) -> str | None:
    if written[:1] == '"':
        quoted = _DOUBLE.fullmatch(written)
        return quoted and re.sub(r"\\(.)", lambda mark: _ESCAPES.get(mark[1], mark[1]), quoted[1])
    if written[:1] == "'":
        quoted = _SINGLE.fullmatch(written)
        return quoted and quoted[1]
    return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()
