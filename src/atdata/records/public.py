"""What may stand in a public record: no secret, no address that only its publisher can reach.

A record is public for ever, and copied by strangers the moment it is written. So every text in it is looked at
first; a refusal names the field and shows nothing of the value (promises.md 5).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from atdata.errors import UsageError
from atdata.records.record import Record
from atdata.records.storage import EXTERNAL, HTTP, S3

_SECRETS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|xox[abprs]-[\w-]{20,}|glpat-[\w-]{20,})\b",
    "a JSON web token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "a URL with credentials": r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@",
    "a presigned URL": r"(?i)[?&](?:X-Amz-Signature|X-Amz-Credential|X-Goog-Signature|Signature|sig|AWSAccessKeyId|token|access_token)=",
}
_LOCAL_RECORD = re.compile(r"(?:at://atdata\.local|atdata://local)/")
_PATTERNS = {what: re.compile(pattern) for what, pattern in _SECRETS.items()}
_LOCAL_NAMES = (".local", ".localhost", ".internal", ".lan", ".home", ".corp", ".intranet", ".home.arpa")
_SCHEMES = {HTTP: ("https",), EXTERNAL: ("https", "s3", "gs"), S3: ("s3",)}


def check_public(record: Record, *, allow_loopback: bool = False) -> None:
    """Refuse a record that says what strangers must not, or cannot use.

    Args:
        record: about to be written.
        allow_loopback: addresses on this machine may stand in it, over http too; for networks that are all here.

    Raises:
        UsageError: `path` names the field; the value is not shown.
    """
    value = record.to_record()
    for path, text in _texts(value, ""):
        for what, pattern in _PATTERNS.items():
            if pattern.search(text):
                raise _refusal(f"a record would publish {what}", path, "A record is public for ever. Remove it.")
        if _LOCAL_RECORD.match(text):
            raise _refusal(
                "a record of a local index, which strangers cannot read",
                path,
                "Promote it: promote_to_atmosphere(...).",
            )
    storage = value.get("storage")
    if isinstance(storage, Mapping):
        kind = str(storage.get("$type"))
        for path, url in _urls(storage, kind):
            _check_address(url, path, _SCHEMES.get(kind, ("https",)), allow_loopback)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, bytes):  # packed metadata
        with suppress(msgspec.DecodeError, ValueError, RecursionError):
            yield from _texts(msgspec.msgpack.decode(value), path)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{path}.{name}".lstrip("."), str(name)
            yield from _texts(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _urls(storage: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    if kind == EXTERNAL:
        for index, url in enumerate(storage["urls"]):
            yield f"storage.urls[{index}]", str(url)
    elif kind == HTTP:
        for index, shard in enumerate(storage["shards"]):
            yield f"storage.shards[{index}].url", str(shard["url"])
    elif kind == S3 and "endpoint" in storage:
        yield "storage.endpoint", str(storage["endpoint"])


def _check_address(url: str, path: str, schemes: tuple[str, ...], allow_loopback: bool) -> None:
    if "://" not in url or url.lower().startswith("file:"):
        raise _refusal(
            "a path of this machine is never published",
            path,
            "Give the index a store: AtmosphereIndex(client, data_store=PDSBlobStore(client)).",
        )
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if (
        parts.username is not None
        or parts.password is not None
        or set(parse_qs(parts.query)) & {"key", "secret", "password"}
    ):
        raise _refusal("a record would publish a URL with credentials", path, "Remove them.")
    if path == "storage.endpoint" or parts.scheme in ("http", "https"):
        local = _is_local(host)
        if allow_loopback and local == "loopback":
            return
        if local:
            raise _refusal(
                "an address that strangers cannot reach",
                path,
                "Put the data where the public can read it; ATDATA_ALLOW_LOOPBACK=1 allows this machine's own addresses.",
            )
    if parts.scheme not in ("https", *schemes):
        raise _refusal(f"{parts.scheme}:// is nothing that strangers read from", path, f"Use {' or '.join(schemes)}.")


def _is_local(host: str) -> str | None:
    """How a host is out of the public's reach, if it is."""
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "private" if "." not in host or host.endswith(_LOCAL_NAMES) else None
    return "loopback" if address.is_loopback else None if address.is_global else "private"


def _refusal(what: str, path: str, hint: str) -> UsageError:
    return UsageError(what, path=path, actual="(not shown)", hint=hint)
