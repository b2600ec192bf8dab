"""The style sheet and the icon, under addresses that change with what is in them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files

_FOLDER = files("atdata.appview.web") / "static"


@lru_cache(maxsize=8)
def static_file(name: str) -> bytes:
    """A file of ours."""
    return (_FOLDER / name).read_bytes()


def _address(name: str) -> str:
    stem, _, ending = name.partition(".")
    return f"/{stem}-{hashlib.sha256(static_file(name)).hexdigest()[:12]}.{ending}"


STYLE, ICON = _address("style.css"), _address("icon.svg")
TYPES = {STYLE: ("style.css", "text/css; charset=utf-8"), ICON: ("icon.svg", "image/svg+xml")}
"""The addresses: the file at each, and its type."""


def style_sheet() -> bytes:
    """The style sheet, to be served at `STYLE`."""
    return static_file("style.css")
