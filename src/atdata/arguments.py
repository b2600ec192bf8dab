"""Arguments of callers whose type nothing else tells: another one is an error that says what to give."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from atdata.errors import AddressError, ArgumentTypeError, UsageError
from atdata.redaction import redacted, revealed

T = TypeVar("T")

_TEXT, _PATH = "must be text", "must be a path"


def checked_text(given: Any, path: str, hint: str | None = None) -> str:
    """A text.

    Args:
        given: as the caller wrote it.
        path: the name of the argument.
        hint: what to give.

    Raises:
        ArgumentTypeError: it is none.
    """
    if isinstance(given, str):
        return given
    raise _wrong(given, path, _TEXT, hint or "Give text.")


def maybe_text(given: Any, path: str, hint: str | None = None) -> str | None:
    """A text, or `None`.

    Raises:
        ArgumentTypeError: it is neither.
    """
    return None if given is None else checked_text(given, path, hint or "Give text, or leave it out.")


def checked_map(given: Any, path: str, hint: str | None = None) -> dict[str, Any]:
    """A map as a dict of its own.

    Raises:
        ArgumentTypeError: it is none, or has a name that is no text.
    """
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return dict(given)
    raise _wrong(given, path, "must be a map", hint or "Give a dict, its names text.")


def checked_list(given: Any, kind: type[T], path: str, hint: str | None = None) -> tuple[T, ...]:
    """The items of a list, each an object of a class. One object alone is no list, and neither is a text or a map.

    Raises:
        ArgumentTypeError: it is none, or has another item.
    """
    must = f"must be a list of {'texts' if kind is str else kind.__name__}"
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise _wrong(given, path, must, hint or "Put what is meant into a list.")
    items = tuple(given)
    for item in items:
        if not isinstance(item, kind):
            raise _wrong(item, path, must, hint or "Each item has to be one.")
    return items


def path_text(given: Any, path: str = "path") -> str:
    """The text of a path or an address, as the caller wrote it.

    Raises:
        ArgumentTypeError: it is none.
    """
    text = given if isinstance(given, str) else os.fspath(given) if isinstance(given, os.PathLike) else None
    if isinstance(text, str):
        return text
    raise _wrong(given, path, _PATH, "Give text, or a pathlib.Path.")


def checked_type(given: Any, kind: Any, path: str, hint: str | None = None) -> Any:
    """An object of a class.

    Raises:
        ArgumentTypeError: it is none.
    """
    if isinstance(given, kind):
        return given
    name = getattr(kind, "__name__", str(kind))  # a union has none
    raise _wrong(given, path, f"must be of type {name}", hint or f"Give an object of type {name}.")


def checked_call(given: Any, path: str, hint: str | None = None) -> None:
    """Refuse what cannot be called.

    Raises:
        ArgumentTypeError: it cannot.
    """
    if not callable(given):
        raise _wrong(given, path, "must be a function", hint or "Give a function.")


def checked_service(given: str, name: str) -> str:
    """The root of a service, without a slash at its end.

    Args:
        given: as the caller wrote it, perhaps with credentials, which are not shown.
        name: the argument, option or variable.

    Raises:
        UsageError: it is no http or https URL, or has more in it than a host and the start of a path.
    """
    if redacted(revealed(given)) == revealed(given) and _is_root(revealed(given)):
        return revealed(given).rstrip("/")
    raise UsageError(
        f"{name} is not the address of a service",
        expected="https://HOST, such as https://appview.example.org",
        actual=revealed(given),
        hint="Give the address at which it answers, with https:// before it and no user, password or query in it.",
    )


def _is_root(url: str) -> bool:
    from atdata.urls import origin_of, split_url  # most that is imported names no service

    try:
        origin_of(url)
    except AddressError:
        return False
    parts = split_url(url)
    return parts.port != 0 and not (parts.query or parts.fragment)


def _wrong(given: Any, path: str, must: str, hint: str | None) -> ArgumentTypeError:
    return ArgumentTypeError(f"{path} {must}", path=path, actual=type(given).__name__, hint=hint)


def did_you_mean(given: str, known: Sequence[str]) -> str | None:
    """A question about the name that was meant, where one is close to what was given."""
    import difflib  # whoever makes no mistake need not wait for it

    close = difflib.get_close_matches(given, known, 1, 0.75)
    return f"Did you mean {close[0]!r}?" if close and close[0] != given else None
