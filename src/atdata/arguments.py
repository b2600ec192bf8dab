"""Arguments of callers whose type nothing else tells: another one is an error that says what to give."""

from __future__ import annotations

import os
from typing import Any

from atdata.errors import ArgumentTypeError

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
    raise _wrong(given, path, _TEXT, hint)


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
    raise _wrong(given, path, f"must be of type {kind.__name__}", hint)


def checked_call(given: Any, path: str, hint: str | None = None) -> None:
    """Refuse what cannot be called.

    Raises:
        ArgumentTypeError: it cannot.
    """
    if not callable(given):
        raise _wrong(given, path, "must be a function", hint)


def _wrong(given: Any, path: str, must: str, hint: str | None) -> ArgumentTypeError:
    return ArgumentTypeError(f"{path} {must}", path=path, actual=type(given).__name__, hint=hint)
