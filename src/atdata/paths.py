"""Paths that callers give."""

from __future__ import annotations

import os
from pathlib import Path

from atdata.arguments import path_text
from atdata.errors import UsageError


def checked_path(given: str | os.PathLike[str], *, home: bool = True) -> Path:
    """A path that files can have.

    Args:
        given: as the caller wrote it.
        home: whether `~` is the home folder.

    Raises:
        UsageError: it is no path, or an empty one, or there is no such home folder, or it holds what none can: a NUL, or half of a surrogate pair.
    """
    text, hint = path_text(given), "Give the path of a file or folder of this machine."
    if not text:
        raise UsageError("a path is empty", actual=repr(text), hint=hint)
    try:
        if b"\0" in os.fsencode(text):
            raise UsageError("a path contains a NUL", actual=ascii(text)[:80], hint=hint)
        return Path(text).expanduser() if home else Path(text)
    except UnicodeEncodeError:
        raise UsageError("a path contains half of a surrogate pair", actual=ascii(text)[:80], hint=hint) from None
    except RuntimeError:
        raise UsageError("there is no such home folder", actual=text, hint="Write the whole path.") from None
