"""The search through a record: every text and every byte string in it, however deep and however encoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from atdata.atproto.cid import Cid
from atdata.records.public.texts import decoded, is_secret_value, search_text, texts_in, unpacked
from atdata.records.public.urls import CREDENTIALS_HINT, Allowed, Fault, field_fault
from atdata.records.storage import ExternalStorage, HttpStorage, S3Storage
from atdata.redaction import TELLTALE

_MAX_DEPTH = 48
_NAME_OF_SECRET = re.compile(rf"[\w.-]*?(?:{TELLTALE})")


_TOO_DEEP = Fault("a value nested too deeply to be searched", "Make it flatter.")


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object, also those whose name stands there twice."""


class Violation(NamedTuple):
    """A finding of something that must not be public: `path` names the place without saying what stands there."""

    path: str
    fault: Fault


def first_found(value: Mapping[str, Any], allowed: Allowed) -> Violation | None:
    """The first thing in a record's wire form that must not be public; `None` where all of it may be."""
    for path, text, schemes in _address_fields(value):
        if fault := field_fault(text, schemes, allowed):
            return Violation(path, fault)
    return next(_search(value, "", 0, allowed), None)


def _address_fields(value: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The fields that are addresses and nothing else, each with the schemes that it takes."""
    for name in ("getterCode", "putterCode", "proofRef"):
        code = value.get(name)
        if isinstance(code, Mapping) and "repository" in code:
            yield f"{name}.repository", str(code["repository"]), ("https", "at")
    storage = value.get("storage")
    match storage:
        case {"$type": kind, "urls": [*urls]} if kind == ExternalStorage.KIND:
            yield from ((f"storage.urls[{n}]", str(url), ("https", "s3", "gs")) for n, url in enumerate(urls))
        case {"$type": kind, "shards": [*shards]} if kind == HttpStorage.KIND:
            yield from ((f"storage.shards[{n}].url", str(shard["url"]), ("https",)) for n, shard in enumerate(shards))
        case {"$type": kind, "bucket": bucket, **rest} if kind == S3Storage.KIND:
            yield "storage.bucket", f"s3://{bucket}/", ("s3",)
            if "endpoint" in rest:
                yield "storage.endpoint", str(rest["endpoint"]), ("https",)


def _search(value: Any, path: str, depth: int, allowed: Allowed) -> Iterator[Violation]:
    """Yields all that must not be public in a value and in what is nested in it, also in what is packed or encoded in it."""
    if depth > _MAX_DEPTH:
        yield Violation(path, _TOO_DEEP)
    elif isinstance(value, str):
        yield from _search_str(value, path, depth, allowed)
    elif isinstance(value, bytes):
        yield from _search_bytes(value, path, depth, allowed)
    elif isinstance(value, Mapping | _Members):
        members = value.items() if isinstance(value, Mapping) else value
        yield from _search_members(members, path, depth, allowed)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _search(item, f"{path}[{index}]", depth + 1, allowed)
    elif isinstance(value, msgspec.msgpack.Ext):
        yield from _search(bytes(value.data), path, depth + 1, allowed)
    elif not isinstance(value, Cid | datetime | bool | int | float | None):
        yield Violation(path, Fault("a value that cannot be searched", f"It is {type(value).__name__}."))


def _search_members(members: Iterable[tuple[Any, Any]], path: str, depth: int, allowed: Allowed) -> Iterator[Violation]:
    for number, (name, item) in enumerate(members):
        # A name may be what is wrong: only one that was searched becomes part of a path.
        yield from _search(name, f"{path}.(name {number})".lstrip("."), depth + 1, allowed)
        inner = f"{path}.{ascii(str(name))[1:-1][:80]}".lstrip(".")
        if (
            isinstance(item, str)
            and isinstance(name, str)
            and _NAME_OF_SECRET.fullmatch(name)
            and is_secret_value(item)
        ):
            yield Violation(inner, Fault("a record would publish a password or key", CREDENTIALS_HINT))
        yield from _search(item, inner, depth + 1, allowed)


def _search_str(text: str, path: str, depth: int, allowed: Allowed) -> Iterator[Violation]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            packed = json.loads(text, object_pairs_hook=_Members)
        except RecursionError:
            yield Violation(path, _TOO_DEEP)
        except ValueError:
            pass  # it only looks like JSON
        else:  # nothing is in it but what is searched now
            yield from _search(packed, path, depth + 1, allowed)
            return
    if fault := search_text(text, allowed):
        yield Violation(path, fault)
    for content in decoded(text):
        yield from _search(content, path, depth + 1, allowed)


def _search_bytes(content: bytes, path: str, depth: int, allowed: Allowed) -> Iterator[Violation]:
    try:
        packed = msgspec.msgpack.decode(content)
        whole = msgspec.msgpack.encode(packed) == content  # else a name may stand twice in it, and hide what it had
    except RecursionError:
        packed, whole = None, False
        yield Violation(path, _TOO_DEEP)
    except (msgspec.DecodeError, ValueError, OverflowError, TypeError):
        packed, whole = None, False
    if isinstance(packed, Mapping | list | msgspec.msgpack.Ext):
        yield from _search(packed, path, depth + 1, allowed)
        if whole:
            return
    try:
        inner = unpacked(content)
    except OverflowError:
        yield Violation(path, Fault("a compressed value too large to be searched", "Leave it unpacked, or out."))
        return
    if inner is not None:
        yield from _search(inner, path, depth + 1, allowed)
    for text in texts_in(content):
        yield from _search(text, path, depth + 1, allowed)
